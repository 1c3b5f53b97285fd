// SPDX-License-Identifier: Apache-2.0
#include "cluster/upkeep.h"

#include <errno.h>
#include <string.h>

#include "cluster/condition.h"
#include "cluster/managed.h"
#include "cluster/taints.h"

static bool is_ready(const struct scene *scene)
{
    return scene->node && scene->has_state;
}

static void on_answer(const struct kube_response *response, void *userdata)
{
    scene_see_answer(userdata, response);
}

int upkeep_plan_labels(const struct scene *scene, struct labels_plan *ret_plan)
{
    const struct labels_known known = {scene->nfd_left, scene->nfd_lost, scene->yielded};

    return labels_make_plan(scene->node, scene->setup->node, &scene->state, &known, ret_plan);
}

static int send_labels(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    const struct scene *scene = userdata;
    cleanup_labels_plan struct labels_plan plan = {.object = NULL};

    if (!is_ready(scene))
        return WRITER_AT_REST;
    if (upkeep_plan_labels(scene, &plan) < 0)
        return error_set_errno(err, -ENOMEM, "cannot label the Node");
    if (plan.release)
        return kube_json_patch(scene->client, scene->node_path, FIELD_MANAGER, plan.release,
                               on_done, done_userdata, ret_call, err);
    if (plan.object)
        return kube_apply(scene->client, scene->node_path, FIELD_MANAGER,
                          plan.force ? KUBE_FORCE : KUBE_YIELD, plan.object, on_done, done_userdata,
                          ret_call, err);
    return WRITER_AT_REST;
}

static int send_taints(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    const struct scene *scene = userdata;
    json_t *patch = NULL;
    int r;

    if (!is_ready(scene))
        return WRITER_AT_REST;
    r = taints_plan(scene->node, scene->state.taints, scene->state.n_taints, &patch);
    if (r < 0)
        return error_set_errno(err, r, "cannot taint the Node");
    if (r == TAINTS_AS_WANTED)
        return WRITER_AT_REST;
    r = kube_json_patch(scene->client, scene->node_path, FIELD_MANAGER, patch, on_done,
                        done_userdata, ret_call, err);
    json_decref(patch);
    return r;
}

static int send_condition(void *userdata, kube_done_fn *on_done, void *done_userdata,
                          struct kube_call **ret_call, struct error *err)
{
    const struct scene *scene = userdata;
    cleanup_text struct text path = TEXT_INIT;
    json_t *object = NULL;
    int r;

    if (!is_ready(scene))
        return WRITER_AT_REST;
    text_addf(&path, "%s/status", scene->node_path);
    r = condition_plan(scene->node, scene->setup->node, &scene->state, scene->state_since, &object);
    if (r < 0 || text_failed(&path))
        return error_set_errno(err, -ENOMEM, "cannot set the Node's condition");
    if (r == CONDITION_AS_WANTED)
        return WRITER_AT_REST;
    r = kube_apply(scene->client, text_string(&path), FIELD_MANAGER, KUBE_FORCE, object, on_done,
                   done_userdata, ret_call, err);
    json_decref(object);
    return r;
}

static void yield(const char *field, const char *manager, void *userdata)
{
    static const char labels[] = ".metadata.labels.";
    struct scene *scene = userdata;

    if (!scene->yielded)
        scene->yielded = json_object();
    if (str_starts_with(field, labels))
        json_object_set_new(scene->yielded, field + strlen(labels), json_string(manager));
}

static void on_labels_conflict(const struct kube_response *response, void *userdata)
{
    struct scene *scene = userdata;
    const size_t n_before = json_object_size(scene->yielded);

    kube_each_conflict(response, yield, scene);
    if (json_object_size(scene->yielded) > n_before) /* else only a newer Node makes it better */
        scene->on_node(scene->userdata);
}

static const struct writer_job jobs[UPKEEP_WRITERS] = {
    [UPKEEP_LABELS] =
        {
            .what = "labels of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_labels,
            .on_answer = on_answer,
            .on_conflict = on_labels_conflict,
        },
    [UPKEEP_TAINTS] =
        {
            .what = "taints of the Node",
            .remedy = "let our service account patch nodes",
            .send = send_taints,
            .on_answer = on_answer,
        },
    [UPKEEP_CONDITION] =
        {
            .what = "condition " CONDITION_TYPE " of the Node",
            .remedy = "let our service account patch nodes/status",
            .send = send_condition,
            .on_answer = on_answer,
        },
};

void upkeep_init(struct upkeep *upkeep, uv_loop_t *loop, struct scene *scene,
                 void (*on_change)(void *userdata), void *userdata)
{
    for (size_t i = 0; i < UPKEEP_WRITERS; i++)
        writer_init(&upkeep->writers[i], loop, &jobs[i], on_change, userdata, scene);
}

void upkeep_look(struct upkeep *upkeep)
{
    for (size_t i = 0; i < UPKEEP_WRITERS; i++)
        writer_look(&upkeep->writers[i]);
}

void upkeep_hurry(struct upkeep *upkeep)
{
    for (size_t i = 0; i < UPKEEP_WRITERS; i++)
        writer_hurry(&upkeep->writers[i]);
}

bool upkeep_is_at_rest(const struct upkeep *upkeep)
{
    for (size_t i = 0; i < UPKEEP_WRITERS; i++)
        if (!upkeep->writers[i].at_rest)
            return false;
    return true;
}

void upkeep_deinit(struct upkeep *upkeep)
{
    for (size_t i = 0; i < UPKEEP_WRITERS; i++)
        writer_deinit(&upkeep->writers[i]);
}
