// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which XIDs were logged a moment ago. A broken program or GPU repeats its XID many times a second:
 * the same one of the same device is worth one line in ten seconds. The metric counts each.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/gpu.h"

enum { XIDLOG_SIZE = 16, XIDLOG_QUIET_MS = 10000 };

struct xidlog {
    struct {
        char uuid[GPU_UUID_SIZE];
        uint64_t xid, until_ms;
    } said[XIDLOG_SIZE]; /* a ring: among more kinds than that, the oldest may be said again */
    size_t n_said;
};

/* True when the event is worth a line now; it then counts as said. */
bool xidlog_admit(struct xidlog *log, const struct gpu_event *event, uint64_t now_ms);
