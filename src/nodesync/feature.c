// SPDX-License-Identifier: Apache-2.0
#include "nodesync/feature.h"

#include <errno.h>

#include "kube/managedfields.h"
#include "nodesync/nodefeature.h"

static bool is_wanted(const struct observed *observed)
{
    return observed->state.labels_by == SYNC_LABELS_AUTO && observed->state.n_labels > 0;
}

/* To be freed; NULL without memory. */
static char *path_of(const struct sync_setup *setup)
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

    return kube_send(feature->observed->client, &request, done_userdata, ret_call, err);
}

/* 0, WRITER_IDLE, or the result of kube_apply. */
static int send_object(struct feature *feature, const char *path, kube_done_fn *on_done,
                       void *done_userdata, struct kube_call **ret_call, struct error *err)
{
    const struct observed *observed = feature->observed;
    const struct nodefeature_owner owner = {feature->owner->daemonset, feature->owner->uid};
    json_t *wanted = nodefeature_object(observed->setup->node, observed->setup->namespace_, &owner,
                                        &observed->state);
    int r = WRITER_IDLE;

    if (!wanted)
        return error_set_errno(err, -ENOMEM, "cannot create a NodeFeature");
    feature->step = FEATURE_WRITE;
    if (!nodefeature_is_as_wanted(feature->current, wanted))
        r = kube_apply(observed->client, path, KUBE_YIELD, wanted,
                       &(struct kube_waiter){
                           .on_done = on_done, .userdata = done_userdata, .ret_call = ret_call},
                       err);
    json_decref(wanted);
    return r;
}

static int send_next(void *userdata, kube_done_fn *on_done, void *done_userdata,
                     struct kube_call **ret_call, struct error *err)
{
    struct feature *feature = userdata;
    cleanup_free char *path = NULL;

    if (!feature->observed->has_state || feature->observed->state.keeps_labels ||
        !*feature->observed->setup->namespace_ || !owner_is_settled(feature->owner) ||
        (feature->is_discovered && !feature->is_offered))
        return WRITER_IDLE;
    path = path_of(feature->observed->setup);
    if (!path)
        return error_set_errno(err, -ENOMEM, "cannot build the name of our NodeFeature");
    if (!feature->is_discovered) {
        feature->step = FEATURE_DISCOVER;
        return send_plain(feature, "GET", NODEFEATURE_GROUP_PATH, on_done, done_userdata, ret_call,
                          err);
    }
    if (!feature->is_read) {
        feature->step = FEATURE_READ;
        return send_plain(feature, "GET", path, on_done, done_userdata, ret_call, err);
    }
    if (is_wanted(feature->observed))
        return send_object(feature, path, on_done, done_userdata, ret_call, err);
    if (!feature->current || !nodefeature_is_ours(feature->current))
        return WRITER_IDLE;
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
    /* The CRD has been removed in between. */
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

void feature_init(struct feature *feature, uv_loop_t *loop, const struct observed *observed,
                  const struct owner *owner, void (*on_change)(void *userdata), void *userdata)
{
    *feature = (struct feature){.observed = observed, .owner = owner};
    writer_init(&feature->writer, loop, &job, on_change, userdata, feature);
}

void feature_check(struct feature *feature)
{
    feature->is_discovered = feature->is_read = false;
    writer_sync(&feature->writer);
}

void feature_deinit(struct feature *feature)
{
    writer_deinit(&feature->writer);
    json_decref(TAKE_PTR(feature->current));
    json_decref(TAKE_PTR(feature->found));
}
