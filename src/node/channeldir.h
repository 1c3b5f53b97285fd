// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The sockets below --channel-dir: one for each program, in a folder of its own.
 *
 * All containers beside the agent run as one user, so a hello proves nothing. What a program can
 * reach is decided by the folder that its container mounts: an attacker in gpuslice-http cannot
 * act as gpuslice-nodesync, nor keep the probe out. The probe's folder is for the agent's own user
 * and root.
 */

#include <limits.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct listener;

enum channeldir_program {
    CHANNELDIR_NODESYNC,
    CHANNELDIR_HTTP,
    CHANNELDIR_PROBE,
    CHANNELDIR_COUNT,
};

/* All NULL = there is no such folder, and our programs are children. */
struct channeldir {
    struct listener *listeners[CHANNELDIR_COUNT];
};

/* Writes the socket's path into path; a path that is too long fails when it is used. */
void channeldir_path(const char *folder, enum channeldir_program program, char path[PATH_MAX]);

/* Creates missing folders, and listens. */
int channeldir_open(struct channeldir *channeldir, uv_loop_t *loop, const char *folder,
                    uint64_t deadline_ms, struct error *err);

/* Ends what connects there, without callbacks. */
void channeldir_close_one(struct channeldir *channeldir, enum channeldir_program program);
void channeldir_close(struct channeldir *channeldir);
