// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the arbiter tells the processes of one container about its memory: a page that they map
 * read-only.
 *
 * A page is a memfd of the arbiter, sealed (LIMITS_SEALS) before it is handed out: nobody but the
 * arbiter, which mapped it before, can write to it, whatever rights the container has. Each
 * container has one of its own, with all devices of all its slices.
 *
 * Layout: little-endian, fixed, and the same for every release of LIMITS_VERSION; fields are added
 * where a struct has room, and older readers ignore them. A reader that does
 * not know the version takes none of it. What changes while the page is in use is read and written
 * by limits_load and limits_store.
 *
 * An arbiter that is restarted makes new pages: what is in an old one stays as it was.
 */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LIMITS_VERSION = 1,
    LIMITS_DEVICES_MAX = 32, /* of one container */
    LIMITS_PAGE_SIZE = 4096,
    LIMITS_UUID_SIZE = 16, /* bytes, as cuDeviceGetUuid tells them, also of a MIG device */
};

#define LIMITS_MAGIC 0x6c737067u /* "gpsl" */

/* F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE (Linux 5.1) */
#define LIMITS_SEALS 0x17

/* What becomes of an allocation beyond the limit; live. A reader takes others for the last one. */
enum limits_mode {
    LIMITS_NONE = 0,     /* nothing; programs see the whole device */
    LIMITS_OBSERVE = 1,  /* it is counted, nothing else; programs see the whole device */
    LIMITS_ENFORCED = 2, /* CUDA error 2; programs see the slice */
};

/* Whether launches pass. */
enum limits_gate {
    LIMITS_GATE_OPEN = 0,
    LIMITS_GATE_TURN = 1,   /* until turn_end_ns */
    LIMITS_GATE_CLOSED = 2, /* they wait */
};

/* How a device's time is shared; live. */
enum limits_compute {
    LIMITS_COMPUTE_NONE = 0,    /* by the hardware */
    LIMITS_COMPUTE_OBSERVE = 1, /* the same, and what each receives is worked out */
    LIMITS_COMPUTE_ELASTIC = 2, /* by turns; who is alone has all */
    LIMITS_COMPUTE_STRICT = 3,  /* by turns; nobody gets more than his share */
};

/* The container's slices of one device, summed up. */
struct limits_device {
    uint8_t uuid[LIMITS_UUID_SIZE];
    uint64_t limit_bytes; /* fixed while the container lives; 0 = there is none */
    /* live: */
    /* By all processes: reserved, or in use by the driver's account. At least the limit while the
     * container gets no more. */
    uint64_t charged_bytes;
    uint64_t overhead_bytes;    /* of those: contexts, modules, what no allocation asked for */
    uint64_t n_denied;          /* allocations; with LIMITS_OBSERVE those that would have been */
    uint32_t n_processes;       /* that are registered */
    uint32_t context_bytes_mib; /* what the next context is charged before it is created, in MiB */
    /* Turns (doc/design/0028): the gate that launches pass. All live. */
    uint32_t gate;         /* enum limits_gate; a reader takes others for LIMITS_GATE_OPEN */
    uint32_t gate_number;  /* raised with each change of the gate: a futex */
    uint64_t turn_end_ns;  /* CLOCK_MONOTONIC; of LIMITS_GATE_TURN: launches wait from then on */
    uint32_t in_flight_us; /* during its turn it may have so much queued; 0 = any */
    uint32_t compute;      /* enum limits_compute */
    uint32_t share_ppm;    /* of the device's time while the arbiter is away; 0 = all of it */
    uint8_t unused[4];
    /* Of the device, by the processes of all containers, ever: only its growth means something.
     * Live; 0 = not known. */
    uint64_t returned_bytes;
};

struct limits_page {
    uint32_t magic, version;
    uint32_t n_devices; /* at most LIMITS_DEVICES_MAX; fixed */
    uint32_t mode;      /* enum limits_mode; live */
    uint32_t n_reading; /* the number of the last reading of the driver that is in it; live */
    uint32_t beat_ms;   /* CLOCK_MONOTONIC, its low 32 bits: while a gate is not open, at most 20 ms
                           old as long as the arbiter lives; live */
    uint8_t unused[40];
    struct limits_device devices[LIMITS_DEVICES_MAX];
};

static_assert(sizeof(struct limits_device) == 96, "the same in every release");
static_assert(offsetof(struct limits_page, devices) == 64, "the same in every release");
static_assert(sizeof(struct limits_page) <= LIMITS_PAGE_SIZE, "one page");

/* Live fields, of 4 or 8 bytes. */
#define limits_load(field)         __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define limits_store(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
