// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A timer of the loop that is finer than its own, which count milliseconds. Nothing wakes while it
 * is not set. */

#include <stdint.h>
#include <uv.h>

#include "base/error.h"

#define NANOTIMER_NEVER UINT64_MAX

struct nanotimer;

/* It may be set again from there. */
typedef void nanotimer_fn(void *userdata);

int nanotimer_new(uv_loop_t *loop, nanotimer_fn *fn, void *userdata, struct nanotimer **ret_timer,
                  struct error *err);

/* Once, at a time of CLOCK_MONOTONIC, at once if that is over; in place of the time before. */
void nanotimer_set(struct nanotimer *timer, uint64_t at_ns);

/* Its handle closes in a later turn of the loop. NULL is allowed. */
void nanotimer_free(struct nanotimer *timer);
