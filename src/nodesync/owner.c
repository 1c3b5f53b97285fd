// SPDX-License-Identifier: Apache-2.0
#include "nodesync/owner.h"

#include <errno.h>
#include <string.h>

#include "kube/field.h"

static int send_lookup(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    struct owner *owner = userdata;
    const struct sync_setup *setup = owner->observed->setup;
    struct kube_request request = {.method = "GET", .on_done = on_done};
    cleanup_free char *path = NULL;

    if (owner->is_looked_up || !*setup->pod || !*setup->namespace_)
        return WRITER_IDLE;
    path = kube_path(&(struct kube_place){"/api/v1", setup->namespace_, "pods", setup->pod});
    if (!path)
        return error_set_errno(err, -ENOMEM, "cannot get our pod");
    request.path = path;
    return kube_send(owner->observed->client, &request, done_userdata, ret_call, err);
}

static void take_reference(struct owner *owner, const json_t *reference)
{
    const char *name = json_string_value(json_object_get(reference, "name"));
    const char *uid = json_string_value(json_object_get(reference, "uid"));

    if (!kube_says(reference, "kind", "DaemonSet") || !name || !uid || owner->daemonset)
        return;
    owner->daemonset = strdup(name);
    owner->uid = strdup(uid);
}

static void on_answer(const struct kube_response *response, void *userdata)
{
    struct owner *owner = userdata;
    json_t *pod = json_loadb(response->body, response->size, 0, NULL);
    const json_t *reference;
    size_t i;

    json_array_foreach(json_object_get(kube_metadata(pod), "ownerReferences"), i, reference)
        take_reference(owner, reference);
    owner->is_looked_up = true;
    json_decref(pod);
}

static bool is_about_our_pod(const struct kube_response *response, void *userdata)
{
    const struct owner *owner = userdata;

    return kube_is_kind(response, "Pod") || kube_is_gone(response, owner->observed->setup->pod);
}

static const struct writer_job lookup = {
    .what = "owner of our pod, which is read first",
    .remedy = "let our service account get pods in its namespace",
    .send = send_lookup,
    .on_answer = on_answer,
    .absent_is_fine = true,
    .is_ours = is_about_our_pod,
};

void owner_init(struct owner *owner, uv_loop_t *loop, const struct observed *observed,
                void (*on_change)(void *userdata), void *userdata)
{
    *owner = (struct owner){.observed = observed};
    writer_init(&owner->writer, loop, &lookup, on_change, userdata, owner);
}

bool owner_is_settled(const struct owner *owner)
{
    return owner->writer.idle || owner->writer.is_failing;
}

int owner_path(const struct owner *owner, char **ret_path)
{
    if (!owner->daemonset)
        return -ENOENT;
    *ret_path = kube_path(&(struct kube_place){"/apis/apps/v1", owner->observed->setup->namespace_,
                                               "daemonsets", owner->daemonset});
    return *ret_path ? 0 : -ENOMEM;
}

/* The simplest way to select nodes, and the usual one. An unknown Node never counts as excluded. */
static bool chooses(const json_t *daemonset, const json_t *node)
{
    json_t *selector = NULL;
    const char *key;
    json_t *value;

    json_unpack((json_t *)daemonset, "{s:{s:{s:{s:o}}}}", "spec", "template", "spec",
                "nodeSelector", &selector);
    json_object_foreach(selector, key, value)
    {
        const char *has = node ? kube_label(node, key) : NULL;

        if (node && json_is_string(value) && (!has || !str_equal(has, json_string_value(value))))
            return false;
    }
    return true;
}

bool owner_leaves(const struct owner *owner, const struct kube_response *response)
{
    json_t *daemonset, *metadata;
    const char *uid;
    bool leaves;

    if (response->error)
        return false;
    if (response->http_status == 404)
        return owner->daemonset && kube_is_gone(response, owner->daemonset);
    daemonset = json_loadb(response->body, response->size, 0, NULL);
    metadata = kube_metadata(daemonset);
    uid = json_string_value(json_object_get(metadata, "uid"));
    /* A different one of the same name is a new installation, whose agent follows us. */
    leaves = kube_is_success(response->http_status) && uid && owner->uid &&
             str_equal(uid, owner->uid) &&
             (json_object_get(metadata, "deletionTimestamp") ||
              !chooses(daemonset, owner->observed->node));
    json_decref(daemonset);
    return leaves;
}

void owner_deinit(struct owner *owner)
{
    writer_deinit(&owner->writer);
    free(TAKE_PTR(owner->daemonset));
    free(TAKE_PTR(owner->uid));
}
