// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A collection kept in memory: what a caller needs of each object, as the API server last said it.
 * Each change of that is reported.
 *
 * An object is reduced when it arrives, so that thousands of them are small, and a change of what
 * was left out (the heartbeat of a Node) is none. Objects are in the order of their keys:
 * "namespace/name", or "name" in a cluster-scoped collection.
 *
 * Failures, relists and 410 are watch.h's. What is kept stays as it was last seen while the server
 * cannot be asked; objects that went meanwhile are reported when it can.
 */

#include <stdbool.h>
#include <stddef.h>

#include "kube/watch.h"

enum store_state {
    STORE_STARTING,    /* nothing is known yet */
    STORE_SYNCED,      /* the list was complete, and changes arrive (after trouble: again) */
    STORE_ABSENT,      /* 404: the server has no such collection, such as of a CRD not installed */
    STORE_FORBIDDEN,   /* 403 */
    STORE_UNREACHABLE, /* any other failure */
};

struct kube_store;

/* What is kept of an object, and how. */
struct store_kind {
    /* NULL = out of memory, which is logged; the object is then as it was before. */
    void *(*reduce)(const json_t *object, void *userdata);
    bool (*is_equal)(const void *a, const void *b);
    void (*release)(void *kept);
};

struct store_events {
    /* An object is new (was NULL), has another content, or is gone (is NULL). `was` is freed after
     * the call. May be NULL. */
    void (*on_change)(const char *key, const void *was, const void *is, void *userdata);
    /* Another state, another reason, or the first list is complete. May be NULL. */
    void (*on_state)(struct kube_store *store, void *userdata);
};

struct kube_store_setup {
    struct kube_client *client; /* borrowed */
    const char *path;           /* "/api/v1/nodes" */
    const char *query;          /* see watch.h; NULL = everything */
    const char *what;           /* for the log: "NodePools"; borrowed */
    const char *remedy;         /* for the log of a 403: "let our service account list and watch
                                   nodepools"; borrowed, NULL = none */
    const struct store_kind *kind;
    const struct store_events *events;
    void *userdata; /* for all functions above */
};

/* Callbacks come from the loop, never from within a function of this header, and must not free the
 * store. */
int kube_store_new(uv_loop_t *loop, const struct kube_store_setup *setup,
                   struct kube_store **ret_store, struct error *err);

/* All objects are released and nothing is reported. Before its client. NULL is allowed. */
void kube_store_free(struct kube_store *store);

enum store_state kube_store_state(const struct kube_store *store);

/* A list was complete at least once, so that what is not there does not exist (as far as the server
 * could be asked). False for NULL. */
bool kube_store_is_complete(const struct kube_store *store);

/* Why the state is none of the first two, for people: "" = it is one of them. Borrowed until the
 * loop runs. */
const char *kube_store_reason(const struct kube_store *store);

/* Borrowed until the loop runs. */
const void *kube_store_find(const struct kube_store *store, const char *key); /* or NULL */
size_t kube_store_count(const struct kube_store *store);                      /* 0 for NULL */
const void *kube_store_at(const struct kube_store *store, size_t i);

/* Objects kept as JSON: the functions of a kind beside its own `reduce`. kube_store_keep keeps all
 * of it but managedFields. */
bool kube_store_json_is_equal(const void *a, const void *b);
void kube_store_json_release(void *kept);
void *kube_store_keep(const json_t *object, void *userdata);
