// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For tests: a partitioner, and the agent, the kubelet and the driver around it. Nothing is
 * answered but by run() and what calls it; the clock stands still but for pass_time().
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/text.h"
#include "node/partgpu.h"
#include "node/partitioner.h"
#include "node/test-a100.h"

struct partbed {
    uv_loop_t loop;
    uint64_t now_ms;    /* of a clock that the test turns */
    struct hardware hw; /* outlives the agents */
    struct partitioner_backend backend;
    struct partitioner *partitioner;
    const char *layout[N_GPUS]; /* a built-in name; NULL = nothing is wanted */
    bool is_unknown;
    bool is_stale;             /* what is wanted may be out of date */
    struct migbegun begun;     /* outlives the agents */
    struct gpu_change pending; /* what the driver is at, */
    driver_changed_fn *done;   /* NULL = at nothing */
    void *done_data;
    podresources_list_fn *on_listed; /* NULL = the kubelet was not asked */
    void *listed_data;
    bool kubelet_is_silent;
    struct podresources_device pods[4]; /* what pods have */
    size_t n_pods;
    const char *uid;             /* of each pod; NULL = not known yet */
    const char *wish;            /* the name of what is wanted, for sentences */
    const char *granted;         /* the UUID of a device that a grant has; NULL = none */
    bool may_reboot;             /* the node, as of the next agent */
    int reboot;                  /* what rebooter_need says */
    const char *reboot_sentence; /* with it */
    size_t n_need_reboot;        /* GPUs, by the last question */
    unsigned n_settled[N_GPUS];  /* times that a GPU was reported as settled */
    struct text events;
    unsigned n_withheld; /* times that on_withheld ran, */
    unsigned n_idle;     /* and on_idle, */
    unsigned n_waits;    /* and on_waits */
    struct text states;  /* "pending failed": as they followed each other */
};

/* For cmocka: *state is a bed without an agent. */
int partbed_setup(void **state);
int partbed_teardown(void **state);

/* An agent begins, which wants that layout of both GPUs; any earlier one is killed: what the driver
 * was at is never answered. */
void partbed_start(struct partbed *bed, const char *layout);

/* Another layout is wanted of a GPU, or of both; NULL = none. */
void partbed_want(struct partbed *bed, size_t gpu, const char *layout);
void partbed_want_all(struct partbed *bed, const char *layout);

/* Until nothing happens any more without a cause; at most `n` steps are answered. True: it came to
 * rest. */
bool partbed_run(struct partbed *bed, unsigned n);
void partbed_settle(struct partbed *bed);

/* Everything that waits for its time gets it. */
void partbed_pass_time(struct partbed *bed);

/* A pod has a device. */
void partbed_have(struct partbed *bed, const char *id, const char *pod);

/* True if a pod could get a device of that GPU now. */
bool partbed_is_offered(const struct partbed *bed, size_t gpu);

void partbed_assert_state(const struct partbed *bed, enum migreport_state state);
void partbed_assert_says(const struct partbed *bed, const char *part);

/* The GPU has exactly so many devices of that profile, all of them offered. */
void partbed_assert_offers(const struct partbed *bed, size_t gpu, const char *profile, size_t n);
