// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Writing objects: server-side apply under our own field manager, JSON patches that test before
 * they change, creation. Each is one kube_send; the response goes to on_done.
 */

#include <jansson.h>
#include <time.h>

#include "base/text.h"
#include "kube/client.h"

typedef void kube_done_fn(const struct kube_response *response, void *userdata);

enum kube_conflict {
    KUBE_YIELD,
    KUBE_FORCE
}; /* on fields owned by others: fail with 409, or take them */

/* Appends it with everything outside [A-Za-z0-9-._~] percent-encoded. */
void kube_add_escaped(struct text *url, const char *value);

struct kube_place {
    const char *api;        /* "/api/v1", "/apis/apps/v1" */
    const char *namespace_; /* NULL = cluster-scoped */
    const char *collection; /* "pods" */
    const char *name;       /* NULL = the collection itself */
};

/* The path, with names escaped; to be freed, NULL without memory. */
char *kube_path(const struct kube_place *place);

/* The receiver of the response, and where the open call is stored (NULL = nowhere). */
struct kube_waiter {
    kube_done_fn *on_done;
    void *userdata;
    struct kube_call **ret_call;
    unsigned timeout_ms; /* see client.h; 0 = its default */
};

/* PATCH application/apply-patch+yaml. object needs apiVersion, kind and metadata.name; borrowed. */
int kube_apply(struct kube_client *client, const char *path, enum kube_conflict conflict,
               const json_t *object, const struct kube_waiter *waiter, struct error *err);

/* PATCH application/json-patch+json; operations is an array. */
int kube_json_patch(struct kube_client *client, const char *path, const json_t *operations,
                    const struct kube_waiter *waiter, struct error *err);

/* POST to a collection. */
int kube_create(struct kube_client *client, const char *path, const json_t *object,
                const struct kube_waiter *waiter, struct error *err);

/* PUT of an object that was read before: 409 if it has changed since, by its resourceVersion. */
int kube_replace(struct kube_client *client, const char *path, const json_t *object,
                 const struct kube_waiter *waiter, struct error *err);

/* DELETE of the object with this uid, and of no later one of its name. */
int kube_delete(struct kube_client *client, const char *path, const char *uid,
                const struct kube_waiter *waiter, struct error *err);

/*
 * Whether a response is really the API server's: a proxy in between may respond instead, with 200
 * as well as 404, and so may an API server that does not serve the group yet.
 */

/* 2xx with an object of this kind. */
bool kube_is_kind(const struct kube_response *response, const char *kind);

/* 404 from the API server, about the object of this name. */
bool kube_is_gone(const struct kube_response *response, const char *name);

enum { KUBE_TIME_SIZE = 32 };

/* "2026-01-31T23:59:59Z", the API's time format. */
void kube_time_format(time_t when, char buffer[KUBE_TIME_SIZE]);

/* "2026-01-31T23:59:59.000000Z", its MicroTime. */
void kube_microtime_format(const struct timespec *when, char buffer[KUBE_TIME_SIZE]);

/* For a 409's body: calls for each field another manager owns:
 * ".metadata.labels.nvidia.com/gpu.count", "nfd-master". */
void kube_each_conflict(const struct kube_response *response,
                        void (*visit)(const char *field, const char *manager, void *userdata),
                        void *userdata);
