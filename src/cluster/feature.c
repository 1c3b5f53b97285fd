// SPDX-License-Identifier: Apache-2.0
#include "cluster/feature.h"

#include <errno.h>

#include "cluster/managed.h"
#include "cluster/nodefeature.h"

static bool is_wanted(const struct scene *scene)
{
    return scene->state.labels_by == CLUSTER_LABELS_AUTO && scene->state.n_labels > 0;
}

/* To be freed; NULL for want of memory. */
static char *path_of(const struct cluster_setup *setup)
{
    cleanup_free char *name = nodefeature_name(setup->node);

    return name ? kube_path(&(struct kube_place){NODEFEATURE_GROUP_PATH, setup->namespace_,
                                                 "nodefeatures", name})
                : NULL;
}

static int send_plain(struct feature *feature, const char *method, const char *path,
                      kube_done_fn *on_done, void *done_userdata, struct kube_call **ret_call,
                      struct error *err)
{
    const struct kube_request request = {.method = method, .path = path, .on_done = on_done};

    return kube_send(feature->scene->client, &request, done_userdata, ret_call, err);
}

/* 0, WRITER_AT_REST, or what kube_apply says. */
static int send_object(struct feature *feature, const char *path, kube_done_fn *on_done,
                       void *done_userdata, struct kube_call **ret_call, struct error *err)
{
    const struct scene *scene = feature->scene;
    const struct nodefeature_owner owner = {feature->owner->daemonset, feature->owner->uid};
    json_t *wanted =
        nodefeature_object(scene->setup->node, scene->setup->namespace_, &owner, &scene->state);
    int r = WRITER_AT_REST;

    if (!wanted)
        return error_set_errno(err, -ENOMEM, "cannot make a NodeFeature");
    feature->step = FEATURE_WRITE;
    if (!nodefeature_is_as_wanted(feature->current, wanted))
        r = kube_apply(scene->client, path, FIELD_MANAGER, KUBE_YIELD, wanted, on_done,
                       done_userdata, ret_call, err);
    json_decref(wanted);
    return r;
}

static int send_next(void *userdata, kube_done_fn *on_done, void *done_userdata,
                     struct kube_call **ret_call, struct error *err)
{
    struct feature *feature = userdata;
    cleanup_free char *path = NULL;

    if (!feature->scene->has_state || !*feature->scene->setup->namespace_ ||
        !owner_is_settled(feature->owner) || (feature->is_discovered && !feature->is_offered))
        return WRITER_AT_REST;
    path = path_of(feature->scene->setup);
    if (!path)
        return error_set_errno(err, -ENOMEM, "cannot name our NodeFeature");
    if (!feature->is_discovered) {
        feature->step = FEATURE_DISCOVER;
        return send_plain(feature, "GET", NODEFEATURE_GROUP_PATH, on_done, done_userdata, ret_call,
                          err);
    }
    if (!feature->is_read) {
        feature->step = FEATURE_READ;
        return send_plain(feature, "GET", path, on_done, done_userdata, ret_call, err);
    }
    if (is_wanted(feature->scene))
        return send_object(feature, path, on_done, done_userdata, ret_call, err);
    if (!feature->current || !nodefeature_is_ours(feature->current))
        return WRITER_AT_REST;
    feature->step = FEATURE_DELETE;
    return send_plain(feature, "DELETE", path, on_done, done_userdata, ret_call, err);
}

static void on_answer(const struct kube_response *response, void *userdata)
{
    struct feature *feature = userdata;
    const bool is_there = response->http_status != 404;

    if (feature->step == FEATURE_DISCOVER) {
        feature->is_discovered = true;
        feature->is_offered = is_there && nodefeature_is_offered(response->body);
        return;
    }
    json_decref(TAKE_PTR(feature->current));
    feature->is_read = true;
    if (is_there && feature->step != FEATURE_DELETE)
        feature->current = json_loadb(response->body, response->size, 0, NULL);
    if (feature->step == FEATURE_READ) {
        json_decref(feature->found);
        feature->found =
            json_incref(json_object_get(json_object_get(feature->current, "spec"), "labels"));
    }
    /* The CRD has gone meanwhile. */
    if (!is_there && feature->step == FEATURE_WRITE)
        feature->is_offered = false;
}

static const struct writer_job job = {
    .what = "NodeFeature for node-feature-discovery",
    .remedy = "let our service account get, create, patch and delete nodefeatures in its namespace",
    .send = send_next,
    .on_answer = on_answer,
    .absent_is_fine = true,
};

void feature_init(struct feature *feature, uv_loop_t *loop, const struct scene *scene,
                  const struct owner *owner, void (*on_change)(void *userdata), void *userdata)
{
    *feature = (struct feature){.scene = scene, .owner = owner};
    writer_init(&feature->writer, loop, &job, on_change, userdata, feature);
}

void feature_check(struct feature *feature)
{
    feature->is_discovered = feature->is_read = false;
    writer_look(&feature->writer);
}

void feature_deinit(struct feature *feature)
{
    writer_deinit(&feature->writer);
    json_decref(TAKE_PTR(feature->current));
    json_decref(TAKE_PTR(feature->found));
}
