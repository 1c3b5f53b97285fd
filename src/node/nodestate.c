// SPDX-License-Identifier: Apache-2.0
#include "node/nodestate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "config/machinetype.h"
#include "node/labelfile.h"
#include "node/mignames.h"
#include "node/migwish.h"
#include "node/partitioner.h"
#include "node/verdict.h"

#define MACHINE_LABEL "nvidia.com/gpu.machine"

/* --- labels --- */

static int add_label(struct sync_label **labels, size_t *n, size_t *capacity, const char *key,
                     const char *value)
{
    cleanup_free char *own_key = strdup(key), *own_value = strdup(value);
    struct sync_label *label;

    if (!own_key || !own_value)
        return -ENOMEM;
    label = array_push(labels, n, capacity, sizeof(*label));
    if (!label)
        return -ENOMEM;
    label->key = TAKE_PTR(own_key);
    label->value = TAKE_PTR(own_value);
    return 0;
}

static int add_feature(struct sync_state *state, const char *key, const char *value)
{
    return add_label(&state->labels, &state->n_labels, &state->labels_capacity, key, value);
}

static int add_features(const struct facts *facts, struct sync_state *state)
{
    const struct plan *plan = facts->offer->plan;
    char machine[LABEL_VALUE_SIZE];
    int r = 0;

    (void)machinetype_read(facts->offer->config, facts->offer->inventory.machine, machine);
    for (size_t i = 0; r == 0 && i < plan->n_labels; i++) {
        const struct plan_label *label = &plan->labels[i];
        bool is_machine = str_equal(label->key, MACHINE_LABEL);

        r = add_feature(state, label->key, is_machine ? machine : label->value);
    }
    return r;
}

int nodestate_add_timestamp(const struct facts *facts, struct sync_state *state)
{
    char digits[24];

    if (!state->n_labels || facts->offer->config->gfd.no_timestamp == TRISTATE_TRUE)
        return 0;
    for (size_t i = 0; i < state->n_labels; i++)
        if (str_equal(state->labels[i].key, LABELFILE_TIMESTAMP))
            return 0;
    snprintf(digits, sizeof(digits), "%lld", (long long)facts->config_taken_at);
    return add_feature(state, LABELFILE_TIMESTAMP, digits);
}

static int add_extras(const struct config *config, struct sync_state *state)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < config->n_labels; i++)
        r = add_label(&state->extra_labels, &state->n_extra_labels, &state->extra_labels_capacity,
                      config->labels[i].key, config->labels[i].value);
    for (size_t i = 0; r == 0 && i < config->n_taints; i++) {
        const struct extra_taint *from = &config->taints[i];
        struct sync_taint *taint =
            array_push(&state->taints, &state->n_taints, &state->taints_capacity, sizeof(*taint));

        if (!taint)
            return -ENOMEM;
        taint->key = strdup(from->key);
        taint->value = strdup(from->value ? from->value : "");
        taint->effect = strdup(from->effect);
        r = taint->key && taint->value && taint->effect ? 0 : -ENOMEM;
    }
    return r;
}

const char *nodestate_label_file(const struct facts *facts)
{
    return facts->offer ? facts->offer->config->gfd.output_file : NULL;
}

static int add_labels(const struct facts *facts, struct sync_state *state)
{
    const struct config *config = facts->offer->config;
    int r = add_features(facts, state);

    state->labels_by = config->gfd.output_file        ? SYNC_LABELS_NONE
                       : config->use_node_feature_api ? SYNC_LABELS_AUTO
                                                      : SYNC_LABELS_NODE;
    /* A time that changes with each start would cause a write with each start: it must be enabled
     * explicitly, except in a file. */
    if (r == 0 && config->gfd.no_timestamp == TRISTATE_FALSE)
        r = nodestate_add_timestamp(facts, state);
    return r == 0 ? add_extras(config, state) : r;
}

/* Even while the GPUs cannot be planned: a layout may be the cause. */
static int add_mig_state(const struct facts *facts, struct sync_state *state)
{
    const char *word = migreport_state_name(partitioner_state(facts->partitioner));

    return word ? add_label(&state->extra_labels, &state->n_extra_labels,
                            &state->extra_labels_capacity, MIGWISH_STATE, word)
                : 0;
}

/* "nvidia.com/gpu=0,nvidia.com/gpu.shared=16" (karpenter/nodekeys.h). */
static void add_advertised(const struct facts *facts, struct text *out)
{
    const struct plan *plan = facts->offer->plan;

    for (size_t i = 0; i < plan->n_resources; i++)
        text_addf(out, "%s%s=%zu", i ? "," : "", plan->resources[i].name,
                  plan->resources[i].n_slices);
}

static int add_annotations(const struct facts *facts, struct sync_state *state)
{
    cleanup_text struct text waits = TEXT_INIT, advertises = TEXT_INIT, names = TEXT_INIT;

    partitioner_add_waits(facts->partitioner, &waits);
    if (facts_is_planned(facts) && !facts_is_held_back(facts))
        add_advertised(facts, &advertises);
    mignames_add_free(facts, &names);
    if (text_failed(&waits) || text_failed(&advertises) || text_failed(&names))
        return -ENOMEM;
    state->mig_waits = waits.length ? text_take(&waits) : NULL;
    state->advertises = advertises.length ? text_take(&advertises) : NULL;
    state->mig_names = names.length ? text_take(&names) : NULL;
    return 0;
}

static int add_promise(const struct namedemand *counts, struct sync_state *state)
{
    for (size_t i = 0; i < counts->n_items; i++) {
        struct sync_count *count = array_push(&state->promise, &state->n_promise,
                                              &state->promise_capacity, sizeof(*count));

        if (!count)
            return -ENOMEM;
        count->count = counts->items[i].count;
        count->name = strdup(counts->items[i].name);
        if (!count->name)
            return -ENOMEM;
    }
    return 0;
}

/* --- the condition --- */

static int set_condition(const struct verdict *verdict, struct sync_state *state)
{
    state->has_condition = true;
    state->ready = verdict_is_ready(verdict);
    state->reason = strdup(verdict->reason);
    state->message = strdup(verdict->message);
    return state->reason && state->message ? 0 : -ENOMEM;
}

int nodestate_make(const struct facts *facts, struct sync_state *ret_state)
{
    struct sync_state state = {.labels_by = SYNC_LABELS_AUTO};
    struct verdict verdict;
    int r = 0;

    verdict_make(facts, &verdict);
    if (verdict.state == VERDICT_STARTING ||
        partitioner_state(facts->partitioner) == MIGREPORT_STARTING)
        return NODESTATE_UNKNOWN;
    if (verdict.state != VERDICT_NO_GPU) {
        const bool serves = verdict.state != VERDICT_NOT_OURS;

        state.keeps_labels = serves && !facts_is_planned(facts);
        if (serves && facts_is_planned(facts))
            r = add_labels(facts, &state);
        if (r == 0)
            r = add_mig_state(facts, &state);
        state.handles_clients = facts->partitioner && facts->flags->mig_pause_clients;
        state.pauses_clients = partitioner_waits_for_clients(facts->partitioner);
        if (r == 0)
            r = add_annotations(facts, &state);
        if (r == 0)
            r = add_promise(&facts->promise.counts, &state);
        if (r == 0)
            r = set_condition(&verdict, &state);
    }
    if (r < 0) {
        sync_state_deinit(&state);
        return r;
    }
    *ret_state = state;
    return verdict.state == VERDICT_SETTLING ? NODESTATE_SETTLING : 0;
}
