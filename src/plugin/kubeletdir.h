// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Watches the kubelet's device-plugin directory: whether the registration socket exists, and
 * whether it is a new one.
 *
 * The kubelet empties the directory when it starts and recreates its socket; the directory itself
 * may be missing at first or be deleted later. inotify reports changes; while the directory or the
 * socket is absent a timer polls as well, because a missing directory cannot be watched.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct kubeletdir;

/* The directory changed: sockets may be gone, the kubelet may have started or stopped. `name` is
 * the entry that was created, deleted or changed; NULL = any may have. */
typedef void kubeletdir_changed_fn(const char *name, void *userdata);

/* socket_path "" = there is no kubelet to register with; the directory of our sockets is still
 * watched. */
int kubeletdir_new(uv_loop_t *loop, const char *socket_path, const char *folder,
                   kubeletdir_changed_fn *on_changed, void *userdata,
                   struct kubeletdir **ret_kubelet, struct error *err);

/* NULL is allowed. */
void kubeletdir_free(struct kubeletdir *kubelet);

/* Checks now, in case inotify lost events; may run on_changed. */
void kubeletdir_check(struct kubeletdir *kubelet);

/* Generation of the last seen socket, which increases with each new socket; 0 while there is
 * none. */
uint64_t kubeletdir_generation(const struct kubeletdir *kubelet);

const char *kubeletdir_socket_path(const struct kubeletdir *kubelet);
const char *kubeletdir_path(const struct kubeletdir *kubelet);
