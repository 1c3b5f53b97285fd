// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Foreign device plugins in the kubelet's folder: does one serve a resource that we offer?
 *
 * The kubelet takes whoever registered last, so two plugins of one resource would undo each other
 * for ever. A plugin is known by its socket, whose name its maker fixed: NVIDIA's device plugin has
 * `nvidia-<what follows the slash>.sock` (its first releases: `nvidia.sock` for
 * nvidia.com/gpu). A socket by any other name is not ours to judge.
 *
 * A socket file proves nothing, because a killed process leaves its own behind: a rival is who
 * accepts connections. The connection is closed at once, which a gRPC server takes as a client that
 * changed its mind; one held open without a word would keep grpc-go's Stop waiting for two minutes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/policy.h"

enum { FOREIGNPLUGIN_NAME_SIZE = RESOURCE_NAME_SIZE + 16 };

/* Whether a socket of that name is a foreign device plugin's for that resource. */
bool foreignplugin_is_named(const char *name, const char *resource);

/* Whether somebody listens on the socket `name` in `folder`. Never blocks. */
bool foreignplugin_is_live(const char *folder, const char *name);

/* The socket of a live foreign device plugin for that resource; false = there is none. */
bool foreignplugin_find(const char *folder, const char *resource,
                        char ret_name[FOREIGNPLUGIN_NAME_SIZE]);

/* When the socket was made, which tells it from the next of that name, whose inode may be the same;
 * 0 = there is none. */
uint64_t foreignplugin_birth_ns(const char *folder, const char *name);
