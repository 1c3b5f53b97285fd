// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nodewriters.h"

#include <errno.h>
#include <string.h>

#include "karpenter/nodekeys.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"
#include "kube/managedfields.h"
#include "nodesync/condition.h"
#include "nodesync/deploylabels.h"
#include "nodesync/taints.h"

static bool is_ready(const struct observed *observed)
{
    return observed->node && observed->has_state;
}

/* Then what an earlier agent wrote stays. */
static bool has_labels(const struct observed *observed)
{
    return is_ready(observed) && !observed->state.keeps_labels;
}

static void on_answer(const struct kube_response *response, void *userdata)
{
    observed_update_from_answer(userdata, response);
}

static int send_patch(const struct observed *observed, json_t *patch, kube_done_fn *on_done,
                      void *done_userdata, struct kube_call **ret_call, struct error *err)
{
    return kube_json_patch(
        observed->client, observed->node_path, patch,
        &(struct kube_waiter){.on_done = on_done, .userdata = done_userdata, .ret_call = ret_call},
        err);
}

int nodewriters_plan_labels(const struct observed *observed, struct labels_plan *ret_plan)
{
    const struct labels_known known = {observed->nfd_left, observed->nfd_lost, observed->yielded};

    return labels_make_plan(observed->node, observed->setup->node, &observed->state, &known,
                            ret_plan);
}

static int send_labels(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = userdata;
    cleanup_labels_plan struct labels_plan plan = {.object = NULL};

    if (!has_labels(observed))
        return WRITER_IDLE;
    if (nodewriters_plan_labels(observed, &plan) < 0)
        return error_set_errno(err, -ENOMEM, "cannot label the Node");
    if (plan.release)
        return send_patch(observed, plan.release, on_done, done_userdata, ret_call, err);
    if (plan.object)
        return kube_apply(observed->client, observed->node_path,
                          plan.force ? KUBE_FORCE : KUBE_YIELD, plan.object,
                          &(struct kube_waiter){
                              .on_done = on_done, .userdata = done_userdata, .ret_call = ret_call},
                          err);
    return WRITER_IDLE;
}

static int send_taints(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = userdata;
    json_t *patch = NULL;
    int r;

    if (!has_labels(observed))
        return WRITER_IDLE;
    r = taints_plan(observed->node, observed->state.taints, observed->state.n_taints, &patch);
    if (r < 0)
        return error_set_errno(err, r, "cannot taint the Node");
    if (r == TAINTS_AS_WANTED)
        return WRITER_IDLE;
    r = send_patch(observed, patch, on_done, done_userdata, ret_call, err);
    json_decref(patch);
    return r;
}

static int send_clients(void *userdata, kube_done_fn *on_done, void *done_userdata,
                        struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = userdata;
    json_t *patch = NULL;
    int r;

    if (!is_ready(observed) || !observed->state.handles_clients)
        return WRITER_IDLE;
    r = deploylabels_plan(observed->node, observed->state.pauses_clients, &patch);
    if (r < 0)
        return error_set_errno(err, r, "cannot pause what keeps GPUs open");
    if (r == DEPLOYLABELS_AS_WANTED)
        return WRITER_IDLE;
    r = send_patch(observed, patch, on_done, done_userdata, ret_call, err);
    json_decref(patch);
    return r;
}

static int send_condition(void *userdata, kube_done_fn *on_done, void *done_userdata,
                          struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = userdata;
    cleanup_text struct text path = TEXT_INIT;
    json_t *object = NULL;
    int r;

    if (!is_ready(observed))
        return WRITER_IDLE;
    text_addf(&path, "%s/status", observed->node_path);
    r = condition_plan(observed->node, observed->setup->node, &observed->state,
                       observed->state_since, &object);
    if (r < 0 || text_failed(&path))
        return error_set_errno(err, -ENOMEM, "cannot set the Node's condition");
    if (r == CONDITION_AS_WANTED)
        return WRITER_IDLE;
    r = kube_apply(
        observed->client, text_string(&path), KUBE_FORCE, object,
        &(struct kube_waiter){.on_done = on_done, .userdata = done_userdata, .ret_call = ret_call},
        err);
    json_decref(object);
    return r;
}

/* Ours alone by its name, so it is simply set. wanted: NULL or "" = it is to be absent. */
static int send_annotation(const struct observed *observed, const char *key, const char *wanted,
                           const struct kube_waiter *waiter, struct error *err)
{
    const char *current = is_ready(observed) ? kube_annotation(observed->node, key) : NULL;
    json_t *patch;
    int r;

    wanted = is_ready(observed) && wanted && *wanted ? wanted : NULL;
    if (wanted ? current && str_equal(current, wanted) : !current)
        return WRITER_IDLE;
    patch = json_array();
    if (!patch || jsonpatch_annotation(patch, observed->node, key, wanted) < 0)
        r = error_set_errno(err, -ENOMEM, "cannot annotate the Node");
    else
        r = send_patch(observed, patch, waiter->on_done, waiter->userdata, waiter->ret_call, err);
    json_decref(patch);
    return r;
}

static int send_waits(void *userdata, kube_done_fn *on_done, void *done_userdata,
                      struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = userdata;

    return send_annotation(
        observed, NODEWRITERS_WAITS_KEY, observed->state.mig_waits,
        &(struct kube_waiter){.on_done = on_done, .userdata = done_userdata, .ret_call = ret_call},
        err);
}

static int send_advertises(void *userdata, kube_done_fn *on_done, void *done_userdata,
                           struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = userdata;

    return send_annotation(
        observed, SLICEPROFILE_ADVERTISES, observed->state.advertises,
        &(struct kube_waiter){.on_done = on_done, .userdata = done_userdata, .ret_call = ret_call},
        err);
}

static int send_names(void *userdata, kube_done_fn *on_done, void *done_userdata,
                      struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = userdata;

    return send_annotation(
        observed, NODEWRITERS_NAMES_KEY, observed->state.mig_names,
        &(struct kube_waiter){.on_done = on_done, .userdata = done_userdata, .ret_call = ret_call},
        err);
}

static void yield(const char *field, const char *manager, void *userdata)
{
    static const char labels[] = ".metadata.labels.";
    struct observed *observed = userdata;

    if (!observed->yielded)
        observed->yielded = json_object();
    if (str_starts_with(field, labels))
        json_object_set_new(observed->yielded, field + strlen(labels), json_string(manager));
}

static void on_labels_conflict(const struct kube_response *response, void *userdata)
{
    struct observed *observed = userdata;
    const size_t n_before = json_object_size(observed->yielded);

    kube_each_conflict(response, yield, observed);
    if (json_object_size(observed->yielded) > n_before) /* otherwise only a newer Node helps */
        observed->on_node(observed->userdata);
}

static const struct writer_job jobs[NODEWRITERS_WRITERS] = {
    [NODEWRITERS_LABELS] =
        {
            .what = "labels of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_labels,
            .on_answer = on_answer,
            .on_conflict = on_labels_conflict,
        },
    [NODEWRITERS_TAINTS] =
        {
            .what = "taints of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_taints,
            .on_answer = on_answer,
        },
    [NODEWRITERS_CLIENTS] =
        {
            .what = "labels nvidia.com/gpu.deploy.* of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_clients,
            .on_answer = on_answer,
        },
    [NODEWRITERS_CONDITION] =
        {
            .what = "condition " CONDITION_TYPE " of the Node",
            .remedy = "let our service account patch nodes/status",
            .send = send_condition,
            .on_answer = on_answer,
        },
    [NODEWRITERS_WAITS] =
        {
            .what = "annotation " NODEWRITERS_WAITS_KEY " of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_waits,
            .on_answer = on_answer,
        },
    [NODEWRITERS_ADVERTISES] =
        {
            .what = "annotation " SLICEPROFILE_ADVERTISES " of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_advertises,
            .on_answer = on_answer,
        },
    [NODEWRITERS_NAMES] =
        {
            .what = "annotation " NODEWRITERS_NAMES_KEY " of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_names,
            .on_answer = on_answer,
        },
};

void nodewriters_init(struct nodewriters *nodewriters, uv_loop_t *loop, struct observed *observed,
                      void (*on_change)(void *userdata), void *userdata)
{
    for (size_t i = 0; i < NODEWRITERS_WRITERS; i++)
        writer_init(&nodewriters->writers[i], loop, &jobs[i], on_change, userdata, observed);
}

void nodewriters_sync(struct nodewriters *nodewriters)
{
    for (size_t i = 0; i < NODEWRITERS_WRITERS; i++)
        writer_sync(&nodewriters->writers[i]);
}

void nodewriters_kick(struct nodewriters *nodewriters)
{
    for (size_t i = 0; i < NODEWRITERS_WRITERS; i++)
        writer_kick(&nodewriters->writers[i]);
}

bool nodewriters_is_idle(const struct nodewriters *nodewriters)
{
    for (size_t i = 0; i < NODEWRITERS_WRITERS; i++)
        if (!nodewriters->writers[i].idle)
            return false;
    return true;
}

void nodewriters_deinit(struct nodewriters *nodewriters)
{
    for (size_t i = 0; i < NODEWRITERS_WRITERS; i++)
        writer_deinit(&nodewriters->writers[i]);
}
