// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A collection, listed once and watched from there: the caller learns of every object that is
 * there, comes, changes or goes, in the order of the server, through any fault in between.
 *
 * Lists come in pages and are cut into objects while they stream, so memory is bounded by the
 * largest object and not by their number. A watch asks for bookmarks and resumes from the last
 * version seen; 410 Gone (or a server that makes no sense) means listing anew. After a list
 * on_synced tells the caller that what it was not shown since on_relist is gone.
 *
 * A fault is tried again with growing, random waits. One that a single new try cures is not told:
 * servers end watches as they please, and connections break.
 */

#include <jansson.h>

#include "kube/client.h"

struct kube_watch;

enum kube_change { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED };

struct kube_watch_events {
    /* A list begins, also one anew after half a list; forget nothing yet. May be NULL. */
    void (*on_relist)(void *userdata);
    /* object is borrowed for the call. KUBE_ADDED also for each object of a list. */
    void (*on_object)(enum kube_change change, json_t *object, void *userdata);
    /* The list is complete. */
    void (*on_synced)(void *userdata);
    /* reason: why the server cannot be heard at the moment; NULL = it can again. Each change once.
     * May be NULL. */
    void (*on_trouble)(const char *reason, void *userdata);
    unsigned idle_ms; /* so long may a watch be silent; 0 = 150 s: bookmarks come each minute */
};

/*
 * path: "/api/v1/nodes"; query: "fieldSelector=metadata.name%3Dx", NULL = everything. Callbacks
 * come from the loop, never from within kube_watch_new, and may free the watch.
 */
int kube_watch_new(uv_loop_t *loop, struct kube_client *client, const char *path, const char *query,
                   const struct kube_watch_events *events, void *userdata,
                   struct kube_watch **ret_watch, struct error *err);

/* Before its client. NULL is fine. */
void kube_watch_free(struct kube_watch *watch);
