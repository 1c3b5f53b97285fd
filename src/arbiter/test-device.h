// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A device and its tenants as discrete events, in a time of its own: what the hardware does with
 * contexts that have work (as measured on H100 and H200, driver 580), how programs launch, and how
 * the preloaded library holds them to their gates. The policy of turns (turns.h) runs beside them
 * as the arbiter would run it.
 *
 * The hardware: one context runs at a time, for a slice of 2,048 us while another one has work; a
 * context without work gives way at once. A switch takes 127 us, or 170 us in the middle of a
 * kernel. Commands of a context run one after another.
 *
 * The library: each launch asks the gate; what has to wait is fenced first. Of work that is bounded
 * a tenant queues as much as its gate allows, and then waits until none of it is left. Otherwise it
 * launches what will begin before its turn ends.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/turns.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum {
    DEVICE_TENANTS = 16,
    DEVICE_QUEUE = 1024, /* commands of a context */
    DEVICE_LATENCIES = 1 << 16,
};

/* How a program launches: n_batch commands with launch_us between them, then it waits for all of
 * them, then it thinks. */
struct behaviour {
    uint32_t kernel_us;
    uint32_t launch_us; /* host time of each launch */
    uint32_t n_depth;   /* commands that are queued at most */
    uint32_t n_batch;   /* 0: it never waits */
    uint32_t think_us;
};

struct tenant_kind {
    const char *name;
    struct behaviour behaviour;
    struct behaviour other;        /* every second one, if it has a kernel */
    uint32_t on_ms, off_ms;        /* idle for off_ms after each on_ms; 0: never */
    uint32_t start_ms, end_ms;     /* nothing before; 0: no end */
    uint32_t share_ppm;            /* 0: as many as all others */
    bool is_lying;                 /* passes any gate, and claims to be idle */
    bool is_garbage;               /* claims nonsense, and uses nothing */
    uint32_t stops_ms, removed_ms; /* then its host stops; then its processes have ended */
};

/* What its thread does, or waits for. */
enum host {
    HOST_LAUNCHES,
    HOST_AT_GATE,
    HOST_FULL,    /* until a command is done */
    HOST_BOUNDED, /* until all are */
    HOST_SYNCS,
    HOST_STOPPED,
};

struct tenant {
    const struct tenant_kind *kind;
    struct turns_unit *unit; /* NULL: native */
    /* host */
    uint64_t host_ns; /* when it goes on; UINT64_MAX: something has to happen */
    enum host host;
    uint32_t n_in_batch;
    uint64_t batch_ns; /* when it began */
    uint64_t waiting_ns;
    uint64_t waited_ns;
    bool is_alternate;
    /* context */
    uint64_t left_ns[DEVICE_QUEUE];
    uint64_t n_launched, n_done, n_before; /* done when results began */
    uint64_t queued_ns;                    /* launched since it had nothing in flight, ... */
    uint64_t ahead_ns;                     /* ... and what of it is still to do */
    /* fences */
    uint64_t n_fenced, fence_ns;
    uint64_t n_seen; /* done, when the library looked last */
    /* results */
    uint64_t busy_ns; /* of the device */
    uint64_t n_batches;
    uint64_t progress_ns; /* when its last command was done */
    uint64_t longest_ns;  /* between two of them, while it had work or waited */
    uint64_t n_latencies;
    uint32_t latencies_us[DEVICE_LATENCIES];
};

struct device {
    uint64_t now_ns, random;
    struct tenant tenants[DEVICE_TENANTS];
    size_t n_tenants;
    /* hardware */
    size_t current;
    uint64_t slice_ns, switched_ns;   /* the slice's end; when the switch is over */
    uint64_t progress_ns, longest_ns; /* the last command, while any was wanted; between two */
    /* policy */
    struct turns *turns;
    uint64_t run_ns;
    uint64_t n_runs;
    bool had_two_turns;
};

/* Without turns if mode is LIMITS_COMPUTE_NONE. Ends the test without memory. */
struct device *device_new(const struct tenant_kind *kinds, size_t n_kinds,
                          enum limits_compute mode);
void device_free(struct device *device);

/* Until so much time is over, from the beginning. */
void device_run(struct device *device, uint64_t until_ns);

/* Results begin again. */
void device_forget(struct device *device);

/* Commands per second since device_forget, which is ns ago. */
double tenant_rate(const struct tenant *tenant, uint64_t ns);

/* Of the latencies of its batches. */
uint32_t tenant_percentile_us(struct tenant *tenant, double percent);
