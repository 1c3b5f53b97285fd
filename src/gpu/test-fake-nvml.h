// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A small libnvidia-ml.so.1 for the tests of this room: four GPUs, and faults that a test switches
 * on and off in memory shared with all users of the library (FAKE_NVML names the file).
 * The real simulator is sim/nvml; this one exists so that this room can be tested alone and to the
 * last corner (libraries that lack symbols, an endless storm of events).
 */

#include <stdatomic.h>
#include <stdint.h>

enum { FAKE_GPUS = 4 };

struct fake {
    _Atomic uint32_t not_loaded;
    _Atomic uint32_t lists_none;      /* of its GPUs */
    _Atomic uint32_t n_init;          /* sessions begun so far */
    char hang_call[64];               /* "" = none; a call by name, */
    _Atomic int32_t hang_index;       /* for this GPU, or -1 for any */
    _Atomic uint32_t lost[FAKE_GPUS]; /* off the bus; a session that saw it so never sees it back */
    _Atomic uint32_t recovery[FAKE_GPUS];
    _Atomic uint32_t event_turn;  /* one event for each step: */
    _Atomic uint32_t event_index; /* GPU, or FAKE_GPUS for none */
    _Atomic uint64_t event_xid;
    _Atomic uint32_t storm; /* events as fast as they are taken */
};
