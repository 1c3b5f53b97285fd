// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What an arbiter of one command (localgrant.h) tells who started it, on a pipe: "ready" once
 * processes can connect and it is known what a context of these GPUs costs; at its end a line
 * "<device uuid> <limit> <peak> <denied>" for each device, in bytes.
 */

#include <uv.h>

#include "arbiter/limiter.h"

struct localreport {
    uv_prepare_t turn;
    const struct limiter *limiter;
    int fd;
};

/* Checks in each turn of the loop, until it has reported. */
void localreport_start(struct localreport *report, uv_loop_t *loop, const struct limiter *limiter,
                       int fd);

/* The limiter is still there. */
void localreport_end(struct localreport *report);
