// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The kubelet's device-plugin folder, watched: is its registration socket there, and is it a new
 * one?
 *
 * The kubelet empties the folder when it starts and creates its socket anew; the folder itself may
 * be missing at first or be deleted under us. inotify tells at once; while the folder or the socket
 * is absent a timer looks as well, because a folder that does not exist cannot be watched.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct kubeletdir;

/* The folder changed: sockets may be gone, the kubelet may have come or gone. `name` is the entry
 * that was seen to come, go or change; NULL = any may have. */
typedef void kubeletdir_changed_fn(const char *name, void *userdata);

/* socket_path "" = there is no kubelet to register with; the folder of our sockets is watched
 * still. */
int kubeletdir_new(uv_loop_t *loop, const char *socket_path, const char *folder,
                   kubeletdir_changed_fn *on_changed, void *userdata,
                   struct kubeletdir **ret_kubelet, struct error *err);

/* NULL is allowed. */
void kubeletdir_free(struct kubeletdir *kubelet);

/* Looks now, as a safety net for events that inotify lost; may run on_changed. */
void kubeletdir_check(struct kubeletdir *kubelet);

/* Number of the socket seen last, which grows with each new socket; 0 while there is none. */
uint64_t kubeletdir_generation(const struct kubeletdir *kubelet);

const char *kubeletdir_socket_path(const struct kubeletdir *kubelet);
const char *kubeletdir_path(const struct kubeletdir *kubelet);
