// SPDX-License-Identifier: Apache-2.0
#include "controller/sharedstores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

struct listener {
    struct store_events events;
    void *userdata;
};

struct shared {
    struct kube_store *store;
    struct listener *listeners;
    size_t n_listeners, capacity;
};

struct sharedstores {
    struct shared items[SHAREDSTORES];
};

static const struct {
    const char *path, *what, *remedy;
} collections[SHAREDSTORES] = {
    [SHAREDSTORE_PROFILES] = {"/apis/gpuslice.dev/v1alpha1/sliceprofiles", "SliceProfiles",
                              "let our service account list and watch sliceprofiles"},
    [SHAREDSTORE_OVERLAYS] = {"/apis/karpenter.sh/v1alpha1/nodeoverlays", "NodeOverlays",
                              "let our service account list and watch nodeoverlays"},
};

/* -- events ------------------------------------------------------------------------------------ */

static void on_change(const char *key, const void *was, const void *is, void *userdata)
{
    const struct shared *shared = userdata;

    for (size_t i = 0; i < shared->n_listeners; i++)
        shared->listeners[i].events.on_change(key, was, is, shared->listeners[i].userdata);
}

static void on_state(struct kube_store *store, void *userdata)
{
    const struct shared *shared = userdata;

    for (size_t i = 0; i < shared->n_listeners; i++)
        shared->listeners[i].events.on_state(store, shared->listeners[i].userdata);
}

int sharedstores_listen(struct sharedstores *stores, enum sharedstore which,
                        const struct store_events *events, void *userdata)
{
    struct shared *shared = &stores->items[which];
    struct listener *place =
        array_push(&shared->listeners, &shared->n_listeners, &shared->capacity, sizeof(*place));

    if (!place)
        return -ENOMEM;
    *place = (struct listener){*events, userdata};
    return 0;
}

static void leave(struct shared *shared, const void *userdata)
{
    size_t n = 0;

    for (size_t i = 0; i < shared->n_listeners; i++)
        if (shared->listeners[i].userdata != userdata)
            shared->listeners[n++] = shared->listeners[i];
    shared->n_listeners = n;
}

void sharedstores_leave(struct sharedstores *stores, const void *userdata)
{
    for (size_t i = 0; i < SHAREDSTORES; i++)
        leave(&stores->items[i], userdata);
}

/* -- life -------------------------------------------------------------------------------------- */

int sharedstores_new(uv_loop_t *loop, struct kube_client *client, struct sharedstores **ret_stores,
                     struct error *err)
{
    static const struct store_kind kind = {kube_store_keep, kube_store_json_is_equal,
                                           kube_store_json_release};
    static const struct store_events events = {on_change, on_state};
    struct sharedstores *stores = calloc(1, sizeof(*stores));
    int r = 0;

    if (!stores)
        return error_set_errno(err, -ENOMEM, "cannot watch SliceProfiles");
    for (size_t i = 0; i < SHAREDSTORES && r == 0; i++)
        r = kube_store_new(loop,
                           &(struct kube_store_setup){.client = client,
                                                      .path = collections[i].path,
                                                      .what = collections[i].what,
                                                      .remedy = collections[i].remedy,
                                                      .kind = &kind,
                                                      .events = &events,
                                                      .userdata = &stores->items[i]},
                           &stores->items[i].store, err);
    if (r < 0)
        sharedstores_free(stores);
    else
        *ret_stores = stores;
    return r;
}

void sharedstores_free(struct sharedstores *stores)
{
    if (!stores)
        return;
    for (size_t i = 0; i < SHAREDSTORES; i++) {
        kube_store_free(stores->items[i].store);
        free(stores->items[i].listeners);
    }
    free(stores);
}

struct kube_store *sharedstores_get(const struct sharedstores *stores, enum sharedstore which)
{
    return stores->items[which].store;
}
