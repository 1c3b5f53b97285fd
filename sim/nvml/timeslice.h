// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How one device shares its time among the contexts that have work: one context runs at a time, in
 * turn, for a slice while others have work, and each change of context costs time. Pure: times are
 * given, and the same calls give the same result however often it is advanced between them.
 *
 * A context has a clock of its own, which runs while the context has the device. Work is a place on
 * that clock: a kernel that begins at 3 ms and takes 2 is done once its context has received 5. So
 * streams of one context run side by side, each at full speed (kernels here are small, and never
 * fill a device), and nothing but `wanted_ns` has to be known of them.
 *
 * A context that gets work joins the end of the queue; one with nothing left gives way at once. A
 * context that is alone is never interrupted.
 *
 * The words lie in memory that processes share: timeslice_repair makes foreign ones safe to use.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    TIMESLICE_CONTEXTS = 128,
    TIMESLICE_NONE = TIMESLICE_CONTEXTS, /* not a context */

    /* Measured on an H100 and an H200 under driver 580, without MPS. What other generations need is
     * not known, and taken to be the same. */
    TIMESLICE_SLICE_US = 2048,
    TIMESLICE_SWITCH_US = 127,  /* to another context, when the last one had nothing left */
    TIMESLICE_PREEMPT_US = 170, /* when it had, and its kernel is interrupted */

    TIMESLICE_SAMPLE_MS = 200, /* over which the busy share is counted; real ones take 1/6 to 1 s */
};

struct timeslice_context {
    uint64_t client; /* its process, alive_self(); 0: free */
    uint64_t number; /* among the contexts of that process */
    uint32_t slot;   /* of its process in the machine's list */
    uint32_t pad;
    uint64_t origin_ns;   /* its clock when it joined */
    uint64_t received_ns; /* its clock */
    uint64_t wanted_ns;   /* its clock once it has nothing left to do */
    uint64_t place;       /* in the queue, lower is sooner; 0: has no work */
    uint64_t n_slices;    /* how often it got the device */
    uint64_t n_foreign;   /* slices of others while it had work */
    uint64_t n_before;    /* kernels that were counted in its place before it joined */
};

struct timeslices {
    uint64_t now_ns; /* CLOCK_MONOTONIC up to which this is worked out */
    uint64_t last_place;
    uint64_t busy_ns, switch_ns; /* received by contexts; spent on changes */
    uint64_t n_slices;
    uint64_t change_ns;  /* left of the change to the current context */
    uint64_t slice_ns;   /* used of its slice */
    uint64_t active_ns;  /* of the present sample */
    uint32_t percent;    /* busy share of the last complete sample */
    uint32_t current;    /* whose state the device has, with work or without */
    uint32_t n_contexts; /* entries that may be in use */
    uint32_t pad;
    struct timeslice_context contexts[TIMESLICE_CONTEXTS];
};

/* Of a device that never worked. */
void timeslice_init(struct timeslices *s);

/* Limits indices and counts that came from outside. */
void timeslice_repair(struct timeslices *s);

/* What happens up to a time; nothing, if that is past. */
void timeslice_advance(struct timeslices *s, uint64_t now_ns);

/* Advances until a context's clock shows `clock_ns`, or to `limit_ns`. */
void timeslice_advance_until(struct timeslices *s, unsigned context, uint64_t clock_ns,
                             uint64_t limit_ns);

/* A context with this client, number, slot and clock: its index, or TIMESLICE_NONE if there are too
 * many. */
unsigned timeslice_join(struct timeslices *s, const struct timeslice_context *context);

/* Takes a context away, with its work. */
void timeslice_leave(struct timeslices *s, unsigned context);

/* Gives a context work up to a place on its clock. */
void timeslice_give(struct timeslices *s, unsigned context, uint64_t wanted_ns);

/* Does another context have work? */
bool timeslice_is_contested(const struct timeslices *s, unsigned context);

/* The share of time in which the device had work, in percent, in the last complete sample. */
unsigned timeslice_percent(const struct timeslices *s);
