// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A collection, listed once and watched from there: the caller sees every object that exists, is
 * added, modified or deleted, in the server's order, across any failures.
 *
 * Lists come in pages and are cut into objects while they stream, so memory is bounded by the
 * largest object and not by their number. A watch asks for bookmarks and resumes from the last
 * version seen; 410 Gone (or invalid data) means listing again. After a list, on_synced means that
 * every object not seen since on_relist is gone.
 *
 * Failures are retried with a growing, random delay. One that a single retry cures is not reported:
 * servers end watches at will, and connections break.
 */

#include <jansson.h>

#include "kube/client.h"

struct kube_watch;

enum kube_change { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED };

struct kube_watch_events {
    /* A list starts, possibly again after half a list; do not forget anything yet. May be NULL. */
    void (*on_relist)(void *userdata);
    /* object is borrowed for the call. KUBE_ADDED also for each object of a list. */
    void (*on_object)(enum kube_change change, json_t *object, void *userdata);
    /* The list is complete. */
    void (*on_synced)(void *userdata);
    /* reason: why the server is unreachable; NULL = reachable again. Called on each change. May be
     * NULL. */
    void (*on_trouble)(const char *reason, void *userdata);
    unsigned idle_ms; /* the longest silence of a watch; 0 = 150 s: bookmarks arrive each minute */
};

struct kube_watch_setup {
    struct kube_client *client; /* borrowed */
    const char *path;           /* "/api/v1/nodes" */
    const char *query;          /* "fieldSelector=metadata.name%3Dx", NULL = everything */
    const struct kube_watch_events *events;
    void *userdata;
};

/* Callbacks come from the loop, never from within this function, and may free the watch. */
int kube_watch_new(uv_loop_t *loop, const struct kube_watch_setup *setup,
                   struct kube_watch **ret_watch, struct error *err);

/* Why on_trouble was called last: the server's refusal (403, 404); 0 = there was none, but no
 * response, or a senseless one. */
unsigned kube_watch_refusal(const struct kube_watch *watch);

/* Must be freed before its client. NULL is allowed. */
void kube_watch_free(struct kube_watch *watch);
