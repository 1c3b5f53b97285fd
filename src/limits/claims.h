// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What one process says of its work on devices: a page that it and the arbiter map writable
 * (doc/design/0028).
 *
 * It is a memfd of the arbiter, sealed against growing and shrinking (CLAIMS_SEALS), for one
 * process alone. All of it are claims: the arbiter reads each word once, and nothing but turns
 * depends on it. Layout: little-endian, fixed, and the same for every release of CLAIMS_VERSION.
 *
 * A stream has a lane. Its fences are numbered from 1 on; `fence` is the last one that was put into
 * the stream, `done` the last one that the device passed and wrote here. Work is in flight while
 * they differ. A lane whose stream ended, with nothing in flight, may be another stream's.
 *
 * Behind short work that a thread waits for right away there is no fence: there is work in flight
 * while such a thread waits.
 */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "limits/page.h"

enum {
    CLAIMS_VERSION = 1,
    CLAIMS_LANES = 48,     /* of a device, of one process */
    CLAIMS_WAIT_BINS = 16, /* bin n: waits below 2^n * 64 us; the last one: all longer ones */
    CLAIMS_SIZE = 32768,
};

#define CLAIMS_MAGIC 0x63737067u /* "gpsc" */

/* F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW */
#define CLAIMS_SEALS 0x7

struct claims_lane {
    uint32_t fence; /* by the process */
    uint32_t done;  /* by the device */
};

/* By its position in limits_page.devices. */
struct claims_device {
    uint64_t n_launched; /* commands that passed the gate: kernels, graphs; a moment late; */
    uint64_t n_done;     /* of those, as far as the process has seen */
    uint64_t waited_ns;  /* by threads at the gate, whose wait is over */
    uint32_t n_waiting;  /* threads at the gate */
    uint32_t n_late;     /* launches that passed a closed gate: capture, callbacks */
    uint32_t n_awaiting; /* threads that wait for their work, without a fence behind it */
    uint32_t n_awaits;   /* each time that one of them begins or ends to */
    uint32_t waits[CLAIMS_WAIT_BINS];
    struct claims_lane lanes[CLAIMS_LANES];
};

struct claims {
    uint32_t magic, version; /* by the arbiter, before it is handed out */
    uint8_t unused[56];
    struct claims_device devices[LIMITS_DEVICES_MAX];
};

static_assert(sizeof(struct claims_device) == 488, "the same in every release");
static_assert(sizeof(struct claims) <= CLAIMS_SIZE, "the pages of one process");
