// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What several processes have of one event: how often it was recorded, and which record was passed
 * last. It is memory of the process that created it, which others map by a handle, and keep. Both
 * have to be in one PID namespace.
 */

#include <stdbool.h>
#include <stdint.h>

#include "shim/cuda-abi.h"

struct sharedevent {
    uint64_t n_recorded, n_passed;
};

/* NULL: it cannot be made. `ret_handle`: by which other processes open it. */
struct sharedevent *sharedevent_new(CUipcEventHandle *ret_handle);

/* NULL: it is no handle of an event that is there. */
struct sharedevent *sharedevent_open(const CUipcEventHandle *handle);

/* The process of a new one has its file for good: a handle means one event. */
void sharedevent_free(struct sharedevent *event);

/* The number of the record that begins, which is passed later. */
uint64_t sharedevent_record(struct sharedevent *event);
void sharedevent_pass(struct sharedevent *event, uint64_t number);

uint64_t sharedevent_last(const struct sharedevent *event);
bool sharedevent_is_past(const struct sharedevent *event, uint64_t number);
