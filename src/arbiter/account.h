// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The account of one container: what its processes are charged of the memory of each device.
 *
 * For each process on a device
 *
 *     charge = reserved + overhead
 *
 * `reserved` is what was granted and not released. `allocated` is how much of it the driver has
 * given as far as is known: the bytes of each granted request count from then on, and a process may
 * say that it is more, never more than `reserved`. `overhead` is what the driver shows beyond
 * `allocated` (contexts, modules, local memory): raised by any reading that shows more than was
 * allocated at any moment since it began, lowered by two in a row during which, and shortly
 * before which, the process sent nothing. So after a reading no process is charged less than the
 * driver shows, but for what it released since the reading began.
 *
 * A context costs an expected figure from before it is created until a reading that began after it
 * was. What the driver takes for a module is reported by the process, as a guess that holds for
 * as long; what it gave back, as well. A process that disconnects without having ended keeps
 * its charge, as overhead, until the next reading that begins afterwards; one that never connected
 * has what the driver shows. When either connects, what it says to have goes from that to
 * `reserved`.
 *
 * What a process says can make it pay more, and less only until the next reading.
 *
 * Pure: no I/O and no clock. Time is milliseconds of any clock that does not run backwards.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits/page.h"

enum {
    ACCOUNT_PROCESSES_MAX = 1024, /* of one container */
    ACCOUNT_SETTLE_MS = 200,      /* from a request until what it is for shows in the driver */
};

/* Of a process on a device; more is denied in every mode. So no sum overflows. */
#define ACCOUNT_BYTES_MAX (UINT64_C(1) << 50)

enum account_outcome {
    ACCOUNT_DENIED = 1, /* counted, if a limit denied it */
};

/* A process on a device. */
struct account_use {
    uint64_t reserved_bytes;
    uint64_t tracked_bytes; /* of those allocated, by its requests */
    uint64_t claimed_bytes; /* the same, as it said last */
    uint64_t overhead_bytes;
    uint64_t unclaimed_bytes; /* of the overhead: from before it connected */

    uint32_t n_entering;     /* contexts that are being created */
    uint32_t n_entered;      /* and that no reading has shown yet */
    uint64_t entered_ms;     /* the last of those */
    bool has_grown;          /* by a report that no reading has confirmed yet */
    uint64_t grown_ms;       /* the last time */
    uint64_t n_unread;       /* reports that may be beyond the limit: denied if a reading says so */
    uint64_t expected_bytes; /* overhead, while there is any of all three */
    bool had_context;

    uint64_t shown_bytes;   /* by the reading that is being taken */
    uint64_t highest_bytes; /* allocated at any moment since it began */
    uint64_t begun_bytes;   /* overhead when it began; of those ... */
    uint64_t shrunk_bytes;  /* ... as many were given back since */
    bool is_untold;         /* the driver lists the process, and does not tell its memory */
    bool is_shown; /* by the last reading of the device that ended: it has a context there */

    uint64_t quiet_ms, quiet_bytes; /* the last reading while it sent nothing: when, and overhead */

    uint64_t charged_bytes, counted_overhead_bytes; /* as they are in the device's sums */
};

struct account_process {
    struct account_process *next;
    uint32_t pid;
    bool is_registered;
    bool is_noted;     /* that it is registered, and takes turns as it does; its owner's */
    bool takes_turns;  /* its library can, and it was not refused; its owner's */
    uint64_t spoke_ms; /* its last message that changed something, or when it disconnected */
    struct account_use uses[]; /* one for each device */
};

struct account_device {
    uint64_t limit_bytes;   /* 0 = there is none */
    uint64_t context_bytes; /* expected of the next context; its owner's */
    uint64_t charged_bytes, overhead_bytes, peak_bytes, n_denied;
    /* What charges went down by, ever, of all accounts of the device; its owner's, NULL = nobody
     * wants to know. */
    uint64_t *returned_bytes;
    int64_t gap_bytes;               /* what the last reading showed, less the charge after it */
    bool has_gap;                    /* it showed of all processes how much */
    uint64_t measured_context_bytes; /* of the last first context of a process; 0 = none yet */
};

struct account {
    struct account_device *devices;
    size_t n_devices;
    struct account_process *processes;
    size_t n_processes, n_registered;
    uint64_t began_ms; /* the reading */
    bool is_reading;
    bool is_starved; /* while limits are enforced, nothing more is granted; its owner's */
    uint32_t n_begun, n_reading; /* its number; that of the last one that ended */
};

/* Whether nothing is granted, whatever is free. */
bool account_is_starved(const struct account *account, enum limits_mode mode);

/* NULL without memory. Limits and expected contexts are then set in its devices. */
struct account *account_new(size_t n_devices);

/* With all processes. NULL is allowed. */
void account_free(struct account *account);

/* --- processes --- */

/* Connects: a new process, or one that is known. -ENOMEM, -EEXIST if it is connected already, or
 * -ENOSPC with too many. */
int account_register(struct account *account, uint32_t pid, uint64_t now_ms,
                     struct account_process **ret_process);

/* It disconnected, and goes on. */
void account_disconnect(struct account *account, struct account_process *process, uint64_t now_ms);

/* It ended. */
void account_end(struct account *account, struct account_process *process);

struct account_process *account_find(const struct account *account, uint32_t pid);

struct account_contexts {
    size_t n_processes;     /* that have one, by the last reading of the device */
    size_t n_without_turns; /* of those, the ones that cannot take part in turns */
};

struct account_contexts account_count_contexts(const struct account *account, size_t device);

/* --- requests; device: below n_devices --- */

/* allocated_bytes of any message with a device. */
void account_hear(struct account *account, struct account_process *process, size_t device,
                  uint64_t allocated_bytes, uint64_t now_ms);

/* 0 with what was granted, from `bytes` to wanted_bytes, or ACCOUNT_DENIED with what is free. */
int account_reserve(struct account *account, struct account_process *process, size_t device,
                    uint64_t bytes, uint64_t wanted_bytes, enum limits_mode mode,
                    uint64_t *ret_bytes);

void account_release(struct account *account, struct account_process *process, size_t device,
                     uint64_t bytes);

/* It has them already: whatever the limit is, unless that would be absurd. */
void account_charge(struct account *account, struct account_process *process, size_t device,
                    uint64_t bytes);

/* Before a context is created. As account_reserve. */
int account_enter(struct account *account, struct account_process *process, size_t device,
                  enum limits_mode mode, uint64_t *ret_bytes);

void account_entered(struct account *account, struct account_process *process, size_t device,
                     uint64_t now_ms);

/* One was destroyed, or could not be created. */
void account_left(struct account *account, struct account_process *process, size_t device);

/* The driver took about as much by itself, which is charged whatever comes out. Up to most_bytes is
 * suspected and not charged: others of the container must not pay for that. 0, or ACCOUNT_DENIED
 * with the number of the next reading, which shows how much it was: only then it counts as denied.
 */
int account_grew(struct account *account, struct account_process *process, size_t device,
                 uint64_t bytes, uint64_t most_bytes, enum limits_mode mode, uint64_t now_ms,
                 uint64_t *ret_reading);

/* And gave so much of that back. */
void account_shrank(struct account *account, struct account_process *process, size_t device,
                    uint64_t bytes);

/* --- readings --- */

/* The driver is about to be asked. An earlier reading that was not ended is dropped. */
void account_begin_reading(struct account *account, uint64_t now_ms);

/* A process has so many bytes there, or it is not told how many (UINT64_MAX); one that was unknown
 * is known then. Several times for one are added up. 0 or -ENOMEM; -ENOSPC with too many
 * processes. */
int account_show(struct account *account, uint32_t pid, size_t device, uint64_t bytes);

/* Every process was shown. is_read: of each device, whether the driver told its processes. Those
 * that never connected, or disconnected, and are not shown any more are dropped. */
void account_end_reading(struct account *account, const bool *is_read);
