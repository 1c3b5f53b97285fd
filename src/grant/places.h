// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where this node's agent keeps its grants and where its kubelet keeps its checkpoint, for programs
 * beside the agent. They are options of the agent: it leaves links to both folders in its state
 * folder, `grants` and `device-plugins`.
 */

#include <limits.h>

#include "base/error.h"

struct places {
    char plugin_dir[PATH_MAX]; /* of the kubelet's checkpoint */
    char grant_dir[PATH_MAX];
};

/* Replaces earlier links. 0 or a negative errno. */
int places_leave(const char *state_dir, const char *plugin_dir, const char *grant_dir,
                 struct error *err);

/* By GPUSLICE_DEVICE_PLUGIN_DIR, KUBELET_SOCKET and GPUSLICE_GRANT_DIR, as the agent reads them;
 * else by the links; else the standard folders. */
void places_find(const char *state_dir, struct places *ret_places);

/* The same where the node's files are below another root: both as paths that lead there. */
int places_find_below(const char *root, const char *state_dir, struct places *ret_places,
                      struct error *err);
