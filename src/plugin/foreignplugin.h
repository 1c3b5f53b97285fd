// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Foreign device plugins in the kubelet's directory: detects whether one serves a resource that we
 * offer.
 *
 * The kubelet uses the last plugin that registered, so two plugins of one resource would replace
 * each other endlessly. A plugin is identified by its socket, which has a fixed name: NVIDIA's
 * device plugin has `nvidia-<what follows the slash>.sock` (its first releases: `nvidia.sock` for
 * nvidia.com/gpu). Sockets with other names are ignored.
 *
 * A socket file proves nothing, because a killed process leaves its own behind: a live plugin
 * accepts connections. The connection is closed immediately, which a gRPC server treats as an
 * aborted client; a silent open one would keep grpc-go's Stop waiting for two minutes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/policy.h"

enum { FOREIGNPLUGIN_NAME_SIZE = RESOURCE_NAME_SIZE + 16 };

/* Whether a socket of that name belongs to a foreign device plugin for that resource. */
bool foreignplugin_is_named(const char *name, const char *resource);

/* Whether the socket `name` in `folder` has a listener. Never blocks. */
bool foreignplugin_is_live(const char *folder, const char *name);

/* The socket of a live foreign device plugin for that resource; false = there is none. */
bool foreignplugin_find(const char *folder, const char *resource,
                        char ret_name[FOREIGNPLUGIN_NAME_SIZE]);

/* When the socket was created, which distinguishes it from a later one of that name, whose inode
 * may be the same; 0 = there is none. */
uint64_t foreignplugin_birth_ns(const char *folder, const char *name);
