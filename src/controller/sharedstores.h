// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The collections that more than one duty needs, SliceProfiles and NodeOverlays: each is watched
 * once, its objects are kept whole, and every duty that listens is notified of each change.
 *
 * A duty listens before the loop runs: who comes later is not notified of what is there already. It
 * leaves before it is freed, and the stores outlive all duties.
 */

#include <uv.h>

#include "kube/store.h"

enum sharedstore { SHAREDSTORE_PROFILES, SHAREDSTORE_OVERLAYS, SHAREDSTORES };

struct sharedstores;

/* Starts watching. */
int sharedstores_new(uv_loop_t *loop, struct kube_client *client, struct sharedstores **ret_stores,
                     struct error *err);

/* As kube_store_free. */
void sharedstores_free(struct sharedstores *stores);

/* For what is kept, as JSON. Borrowed; not to be freed. */
struct kube_store *sharedstores_get(const struct sharedstores *stores, enum sharedstore which);

/* Both functions of events are needed. Duties are notified in the order in which they came. 0 or
 * -ENOMEM. */
int sharedstores_listen(struct sharedstores *stores, enum sharedstore which,
                        const struct store_events *events, void *userdata);

/* Who listened with this userdata is not notified any more. */
void sharedstores_leave(struct sharedstores *stores, const void *userdata);
