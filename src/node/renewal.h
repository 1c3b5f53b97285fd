// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * When to end, because only a new container can reach the GPUs again (reach.h): the fault lasted
 * for the patience, and the last such end is RENEWAL_GAP_MS ago.
 *
 * The time of the last end is kept in the file `renewed` of the state folder, which survives the
 * container: the kernel's boot id, and the milliseconds of CLOCK_MONOTONIC, which all containers of
 * a boot share and which no change of the date moves. A file that cannot be read, or is of the
 * future, counts as written now. Without a file that can be written there is no end: it could not
 * be told how many there were.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

enum { RENEWAL_GAP_MS = 10 * 60 * 1000 };

struct renewal;

struct renewal_setup {
    uv_loop_t *loop;
    const char *state_dir; /* borrowed */
    uint64_t patience_ms;  /* 0 = never end: a new process reaches no more than this one */
    /* It is time; the end counts as made. */
    void (*on_due)(void *userdata);
    void *userdata;
};

int renewal_new(const struct renewal_setup *setup, struct renewal **ret_renewal, struct error *err);

/* NULL is allowed. */
void renewal_free(struct renewal *renewal);

/* The fault is there, or over; only changes have an effect. */
void renewal_fault(struct renewal *renewal, bool is_there);

/* The last end is less than RENEWAL_GAP_MS ago: this container is the new one. */
bool renewal_is_recent(const struct renewal *renewal);
