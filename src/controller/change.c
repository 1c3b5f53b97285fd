// SPDX-License-Identifier: Apache-2.0
#include "controller/change.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "kube/field.h"

static int set(struct change *change, enum change_verb verb, const char *api,
               const char *collection, const char *name, json_t *body)
{
    if (!body)
        return -ENOMEM;
    *change = (struct change){.verb = verb, .api = api, .collection = collection, .body = body};
    snprintf(change->name, sizeof(change->name), "%s", name);
    return 0;
}

int change_apply(struct change *change, const char *api, const char *collection, json_t *body,
                 enum kube_conflict conflict)
{
    int r = set(change, CHANGE_APPLY, api, collection, kube_name(body), body);

    change->conflict = conflict;
    return r;
}

int change_patch(struct change *change, const char *api, const char *collection, const char *name,
                 json_t *operations)
{
    return set(change, CHANGE_PATCH, api, collection, name, operations);
}

void change_delete(struct change *change, const char *api, const char *collection,
                   const json_t *object)
{
    *change = (struct change){.verb = CHANGE_DELETE, .api = api, .collection = collection};
    snprintf(change->name, sizeof(change->name), "%s", kube_name(object));
    snprintf(change->uid, sizeof(change->uid), "%s", kube_uid(object));
}

bool change_is_of_pool(const struct change *change)
{
    return change->collection && str_equal(change->collection, "nodepools");
}

int change_send(const struct change *change, struct kube_client *client,
                const struct kube_waiter *waiter, struct error *err)
{
    cleanup_free char *path =
        kube_path(&(struct kube_place){change->api, NULL, change->collection, change->name});

    if (!path)
        return error_set_errno(err, -ENOMEM, "cannot write %s", change->collection);
    switch (change->verb) {
    case CHANGE_APPLY:
        return kube_apply(client, path, change->conflict, change->body, waiter, err);
    case CHANGE_PATCH:
        return kube_json_patch(client, path, change->body, waiter, err);
    case CHANGE_DELETE:
        return kube_delete(client, path, change->uid, waiter, err);
    case CHANGE_NOTHING:
        break;
    }
    assert(false);
    return -EINVAL;
}

void change_deinit(struct change *change)
{
    json_decref(change->body);
    *change = (struct change)CHANGE_INIT;
}
