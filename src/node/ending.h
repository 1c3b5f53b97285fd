// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * When the agent ends: what is under way is finished first, within ENDING_MS.
 *
 * An Allocate that fails leaves a dead pod behind, so calls that wait for the disk are answered.
 */

#include <stdbool.h>
#include <uv.h>

#include "plugin/grants.h"

enum { ENDING_MS = 3000 };

struct ending {
    uv_timer_t timer;
    bool is_draining;      /* somebody asked for the end, and calls wait for the disk */
    int status;            /* of the end that is due */
    struct grants *grants; /* borrowed; NULL = no call waits for a disk */
    void (*on_end)(int status, void *userdata);
    void *userdata;
};

/* on_end may run more than once. The grants are set later. */
void ending_init(struct ending *ending, uv_loop_t *loop, void (*on_end)(int status, void *userdata),
                 void *userdata);

/* Somebody asks for the end. Who asks again does not wait any more. */
void ending_asked(struct ending *ending);

/* The agent gives up: the time lets an event leave. Nothing happens while it is draining. */
void ending_give_up(struct ending *ending, int status);

/* The handle closes in the next turns of the loop. */
void ending_close(struct ending *ending);
