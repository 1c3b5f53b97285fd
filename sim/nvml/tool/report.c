// SPDX-License-Identifier: Apache-2.0
#include "nvml/tool/report.h"

#include "base/array.h"
#include "base/clock.h"
#include "nvml/tool/partition.h"
#include "nvml/tool/shares.h"

static void add_json_text(struct text *out, const char *text)
{
    text_add_char(out, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            text_addf(out, "\\%c", c);
        else if (c < 0x20)
            text_addf(out, "\\u%04x", c);
        else
            text_add_char(out, (char)c);
    }
    text_add_char(out, '"');
}

static void add_member(struct text *out, const char *key, const char *text)
{
    text_addf(out, "\"%s\": ", key);
    add_json_text(out, text);
    text_add(out, ", ");
}

static void add_pci(struct text *out, struct pci_address pci)
{
    text_addf(out, "%08x:%02x:%02x.0", pci.domain, pci.bus, pci.device);
}

static void add_links(struct text *out, const struct machine *m, const struct machine_gpu *gpu)
{
    unsigned to_switch = 0;
    const char *comma = "";

    for (unsigned i = 0; i < MACHINE_MAX_LINKS; i++)
        to_switch += gpu->links[i].end == LINK_SWITCH;
    if (to_switch)
        text_addf(out, "%u to %u switches", to_switch, m->n_switches);
    for (unsigned peer = 0; peer < m->n_gpus; peer++) {
        unsigned n = 0;

        for (unsigned i = 0; i < MACHINE_MAX_LINKS; i++)
            n += gpu->links[i].end == LINK_GPU && gpu->links[i].peer == peer;
        if (n) {
            text_addf(out, "%s%u to GPU %u", comma, n, peer);
            comma = ", ";
        }
    }
}

static void machine_json(struct text *out, const struct machine *m)
{
    text_add(out, "{");
    add_member(out, "machine", m->name);
    add_member(out, "driver", m->driver);
    text_addf(out, "\"cuda\": \"%u.%u\", \"gpus\": [", m->cuda / 1000, m->cuda % 1000 / 10);
    for (unsigned i = 0; i < m->n_gpus; i++) {
        const struct machine_gpu *gpu = &m->gpus[i];

        text_addf(out, "%s\n  {\"index\": %u, ", i ? "," : "", i);
        add_member(out, "name", gpu->model.name);
        add_member(out, "uuid", gpu->uuid);
        text_add(out, "\"pci\": \"");
        add_pci(out, gpu->pci);
        text_addf(out, "\", \"minor\": %u, \"node\": %d, \"memory_bytes\": %llu, ", gpu->minor,
                  (int)gpu->node, (unsigned long long)gpu->model.memory_bytes);
        text_addf(out, "\"reserved_bytes\": %llu, \"nvlink\": \"",
                  (unsigned long long)gpu->model.reserved_bytes);
        add_links(out, m, gpu);
        text_add(out, "\"}");
    }
    text_add(out, "]}\n");
}

static void machine_table(struct text *out, const struct machine *m)
{
    text_addf(out, "%s: %u GPU%s, driver %s, CUDA %u.%u\n", m->name, m->n_gpus,
              m->n_gpus == 1 ? "" : "s", m->driver, m->cuda / 1000, m->cuda % 1000 / 10);
    for (unsigned i = 0; i < m->n_gpus; i++) {
        const struct machine_gpu *gpu = &m->gpus[i];

        text_addf(out, "%3u  %s  %llu MiB (%llu reserved)  ", i, gpu->model.name,
                  (unsigned long long)(gpu->model.memory_bytes >> 20),
                  (unsigned long long)(gpu->model.reserved_bytes >> 20));
        add_pci(out, gpu->pci);
        text_addf(out, "  node %d\n     %s\n", (int)gpu->node, gpu->uuid);
        if (gpu->links[0].end != LINK_NONE) {
            text_add(out, "     NVLink: ");
            add_links(out, m, gpu);
            text_add_char(out, '\n');
        }
    }
    if (m->n_faults)
        text_addf(out, "%u faults await\n", m->n_faults);
}

void report_machine(struct text *out, const struct machine *machine, bool json)
{
    if (json)
        machine_json(out, machine);
    else
        machine_table(out, machine);
}

static const char *const kind_names[] = {"compute", "graphics", "mps", "client", "raw"};

static const char *kind_name(unsigned kind)
{
    return kind_names[kind < ARRAY_SIZE(kind_names) ? kind : 0];
}

static const char *rule_name(const struct state_rule *rule)
{
    return rule->kind == FAULT_HANG    ? "hang"
           : rule->kind == FAULT_ERROR ? word_error_name(rule->call, rule->code)
           : rule->kind == FAULT_DEATH ? "death"
                                       : "missing";
}

static void state_json(struct text *out, const struct state_file *file)
{
    const struct state *s = file->state;
    const char *comma = "";

    text_add(out, "{");
    add_member(out, "state", file->path);
    add_member(out, "machine", s->machine.name);
    text_addf(out, "\"seconds\": %llu, \"events\": %llu, \"gpus\": [",
              (unsigned long long)((clock_now_ns() - s->started_ns) / 1000000000u),
              (unsigned long long)atomic_load(&s->n_events));
    for (unsigned i = 0; i < s->machine.n_gpus; i++) {
        const struct state_gpu *g = &s->gpus[i];

        text_addf(out, "%s\n  {\"index\": %u, ", i ? "," : "", i);
        add_member(out, "uuid", s->machine.gpus[i].uuid);
        text_addf(out,
                  "\"lost\": %s, \"recovery_action\": %u, \"used_bytes\": %llu, "
                  "\"utilization\": %u, \"xids\": %llu, \"resets\": %u, \"mig\": ",
                  atomic_load(&g->lost) ? "true" : "false", atomic_load(&g->recovery_action),
                  (unsigned long long)state_used_bytes(s, i), state_utilization(s, i),
                  (unsigned long long)atomic_load(&g->xids), atomic_load(&g->resets));
        partition_json(out, s, i);
        text_add(out, ", \"time\": ");
        shares_json(out, s, i);
        text_add(out, "}");
    }
    text_add(out, "],\n  \"processes\": [");
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++) {
        const struct state_process *p = &s->processes[i];
        unsigned pid = state_process_pid(s, i);

        if (!pid)
            continue;
        text_addf(out,
                  "%s\n  {\"gpu\": %u, \"pid\": %u, \"kind\": \"%s\", \"memory_bytes\": %llu, ",
                  comma, p->gpu, pid, kind_name(p->kind), atomic_load(&p->memory_bytes));
        shares_process_json(out, s, p);
        text_add(out, "\"name\": ");
        add_json_text(out, p->name);
        text_add(out, "}");
        comma = ",";
    }
    text_add(out, "],\n  \"rules\": [");
    comma = "";
    for (unsigned i = 0; i < STATE_MAX_RULES; i++) {
        const struct state_rule *rule = &s->rules[i];

        if (!atomic_load(&rule->active))
            continue;
        text_addf(out, "%s\n  {\"call\": \"%s\", \"gpu\": %d, \"does\": \"%s\"}", comma,
                  *rule->call ? rule->call : "all", (int)rule->gpu, rule_name(rule));
        comma = ",";
    }
    text_add(out, "]}\n");
}

static void add_rules(struct text *out, const struct state *s)
{
    for (unsigned i = 0; i < STATE_MAX_RULES; i++) {
        const struct state_rule *rule = &s->rules[i];

        if (!atomic_load(&rule->active))
            continue;
        text_addf(out, "  %s", *rule->call ? rule->call : "every call");
        if (rule->gpu == MACHINE_ALL_GPUS)
            text_add(out, " on every GPU: ");
        else
            text_addf(out, " on GPU %d: ", (int)rule->gpu);
        text_addf(out, "%s\n", rule_name(rule));
    }
}

static void state_table(struct text *out, const struct state_file *file)
{
    const struct state *s = file->state;

    text_addf(out, "%s, for %llu s, in %s\n", s->machine.name,
              (unsigned long long)((clock_now_ns() - s->started_ns) / 1000000000u), file->path);
    text_add(out, "GPU  STATE   USED MiB  UTIL  XIDS  RESETS  RECOVERY\n");
    for (unsigned i = 0; i < s->machine.n_gpus; i++) {
        const struct state_gpu *g = &s->gpus[i];
        static const char *const actions[] = {"none", "reset", "reboot", "drain-p2p",
                                              "drain-and-reset"};
        unsigned action = atomic_load(&g->recovery_action);

        text_addf(out, "%3u  %-6s  %8llu  %3u%%  %4llu  %6u  %s\n", i,
                  atomic_load(&g->lost) ? "lost" : "ok",
                  (unsigned long long)(state_used_bytes(s, i) >> 20), state_utilization(s, i),
                  (unsigned long long)atomic_load(&g->xids), atomic_load(&g->resets),
                  actions[action < 5 ? action : 0]);
        partition_list(out, s, i);
        shares_list(out, s, i);
    }
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++) {
        const struct state_process *p = &s->processes[i];
        unsigned pid = state_process_pid(s, i);

        if (!pid)
            continue;
        text_addf(out, "  GPU %u", p->gpu);
        if (p->gpu_instance != STATE_NO_INSTANCE)
            text_addf(out, ", GPU instance %u", p->gpu_instance);
        text_addf(out, ": process %u (%s), %s, %llu MiB", pid, *p->name ? p->name : "?",
                  kind_name(p->kind), atomic_load(&p->memory_bytes) >> 20);
        shares_process_list(out, s, p);
        text_add_char(out, '\n');
    }
    add_rules(out, s);
}

void report_state(struct text *out, const struct state_file *file, bool json)
{
    if (json)
        state_json(out, file);
    else
        state_table(out, file);
}
