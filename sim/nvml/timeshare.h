// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The time of a GPU (timeslice.h) as the processes of a machine share it, in the running machine's
 * state.
 *
 * Nobody holds a lock: a process reads the record, works on its copy, and publishes that unless
 * somebody published another one meanwhile. So nobody waits for a process that is killed or stopped
 * at any point. A published record is never written to: each is a buffer that its writer took for
 * itself, and is free again when the next one is published. What a killed process left is taken
 * when nothing else is free.
 *
 * Between changes a record says all that will happen: each reader advances its copy to now.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "nvml/timeslice.h"

enum { TIMESHARE_BUFFERS = 8 /* processes that are in the middle of a change at once */ };

struct timeshare {
    atomic_ullong current;                       /* which buffer, and a number that only rises */
    atomic_ullong owners[TIMESHARE_BUFFERS];     /* clients; 0: free */
    atomic_ullong n_kernels[TIMESLICE_CONTEXTS]; /* done, of all contexts that ever had the place */
    struct timeslices buffers[TIMESHARE_BUFFERS];
};

/* The record, advanced to now. What it returns is the number to publish a change of it with. */
uint64_t timeshare_read(const struct timeshare *share, struct timeslices *ret_record);

/* How a publisher knows the others. */
struct timeshare_clients {
    uint64_t self;
    bool (*exist)(const void *data, uint64_t client);
    const void *data;
};

/* False if it changed meanwhile: read it again. One thread of a process at a time. */
bool timeshare_publish(struct timeshare *share, uint64_t number, const struct timeslices *record,
                       const struct timeshare_clients *clients);

/* Kernels that a context of the record has done. */
uint64_t timeshare_kernels(const struct timeshare *share, const struct timeslices *record,
                           unsigned context);

/* What the contexts that a client has now have received and done. */
void timeshare_of_client(const struct timeshare *share, uint64_t client, uint64_t *ret_received_ns,
                         uint64_t *ret_kernels);
