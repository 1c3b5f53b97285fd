// SPDX-License-Identifier: Apache-2.0
#include "nvml/tool/shares.h"

static unsigned long long us(uint64_t ns)
{
    return ns / 1000;
}

static void context_json(struct text *out, const struct state *state, unsigned gpu,
                         const struct timeslices *record, unsigned i)
{
    const struct timeslice_context *c = &record->contexts[i];

    text_addf(out,
              "{\"pid\": %u, \"context\": %llu, \"received_us\": %llu, \"backlog_us\": %llu, "
              "\"kernels\": %llu, \"slices\": %llu, \"foreign_slices\": %llu}",
              c->slot < STATE_MAX_PROCESSES ? state_process_pid(state, c->slot) : 0,
              (unsigned long long)c->number, us(c->received_ns - c->origin_ns),
              us(c->wanted_ns - c->received_ns),
              (unsigned long long)timeshare_kernels(&state->shares[gpu], record, i),
              (unsigned long long)c->n_slices, (unsigned long long)c->n_foreign);
}

void shares_json(struct text *out, const struct state *state, unsigned gpu)
{
    struct timeslices record;
    const char *comma = "";

    (void)timeshare_read(&state->shares[gpu], &record);
    text_addf(out, "{\"busy_us\": %llu, \"switch_us\": %llu, \"slices\": %llu, \"contexts\": [",
              us(record.busy_ns), us(record.switch_ns), (unsigned long long)record.n_slices);
    for (unsigned i = 0; i < record.n_contexts; i++) {
        if (!record.contexts[i].client ||
            !state_has_client(state, record.contexts[i].slot, record.contexts[i].client))
            continue;
        text_addf(out, "%s\n    ", comma);
        context_json(out, state, gpu, &record, i);
        comma = ",";
    }
    text_add(out, "]}");
}

void shares_list(struct text *out, const struct state *state, unsigned gpu)
{
    struct timeslices record;

    (void)timeshare_read(&state->shares[gpu], &record);
    if (record.n_slices)
        text_addf(out, "     worked %llu ms in %llu slices, and changed contexts for %llu ms\n",
                  us(record.busy_ns) / 1000, (unsigned long long)record.n_slices,
                  us(record.switch_ns) / 1000);
}

void shares_process_json(struct text *out, const struct state *state,
                         const struct state_process *process)
{
    uint64_t received_ns, n_kernels;

    timeshare_of_client(&state->shares[process->gpu], process->client, &received_ns, &n_kernels);
    text_addf(out, "\"received_us\": %llu, \"kernels\": %llu, ", us(received_ns),
              (unsigned long long)n_kernels);
}

void shares_process_list(struct text *out, const struct state *state,
                         const struct state_process *process)
{
    uint64_t received_ns, n_kernels;

    timeshare_of_client(&state->shares[process->gpu], process->client, &received_ns, &n_kernels);
    if (n_kernels)
        text_addf(out, ", %llu kernels in %llu ms", (unsigned long long)n_kernels,
                  us(received_ns) / 1000);
}
