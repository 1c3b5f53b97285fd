// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The messages of helper and agent over their channel: the kind of a frame is a record's type, its
 * body a struct of fixed layout. Both ends are the same program, but the helper runs the driver's
 * library in its address space, so the agent validates everything: sizes are exact, texts
 * terminated, counts bounded, booleans made 0 or 1.
 *
 * helper -> agent, notices: an inventory is RECORD_INVENTORY, then RECORD_GPU and RECORD_LINKS for
 * each GPU in order, then RECORD_BOARD for each board and RECORD_MIG for each MIG device, complete
 * before the next one starts; others may come in between. agent -> helper, requests: RECORD_ASK,
 * answered by RECORD_PROBE, RECORD_CHANGE, answered by RECORD_CHANGED, and RECORD_LIST, answered by
 * RECORD_LISTED.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/gpu.h"

enum {
    RECORD_GPUS_MAX = 256,
    RECORD_BOARDS_MAX = RECORD_GPUS_MAX,
    RECORD_MIG_MAX = 8 * RECORD_GPUS_MAX,
    RECORD_REASON_SIZE = 256,
    RECORD_PROCESSES_MAX = 1024, /* of a GPU */
};

enum record_type {
    RECORD_INVENTORY = 1,
    RECORD_GPU,
    RECORD_LINKS,
    RECORD_BOARD,
    RECORD_MIG,
    RECORD_UNAVAILABLE,
    RECORD_WATCH,
    RECORD_EVENT,
    RECORD_PROBE,
    RECORD_ASK,
    RECORD_CHANGE,
    RECORD_CHANGED,
    RECORD_LIST,
    RECORD_LISTED,
};

struct record_inventory {
    char driver_version[80];
    int32_t cuda_version;
    uint32_t n_gpus, n_boards, n_mig_devices;
    uint8_t gaps[N_FACTS];
    bool is_reread;
};

struct record_gpu {
    uint32_t position; /* in inventory->gpus */
    struct gpu gpu;
};

struct record_links {
    uint32_t position;
    struct gpu_link links[RECORD_GPUS_MAX]; /* a row; the first n_gpus count */
};

struct record_board {
    uint32_t position; /* in inventory->boards */
    struct mig_board board;
};

struct record_mig {
    uint32_t position; /* in inventory->mig_devices */
    struct device device;
};

struct record_reason {
    char uuid[GPU_UUID_SIZE];        /* "" = the driver */
    char reason[RECORD_REASON_SIZE]; /* RECORD_WATCH: "" = its events are watched */
};

struct record_probe {
    char uuid[GPU_UUID_SIZE];
    int32_t outcome;
    struct gpu_probe probe;
    char reason[RECORD_REASON_SIZE];
};

struct record_ask {
    char uuid[GPU_UUID_SIZE];
};

struct record_listed {
    int32_t outcome; /* as of gpu_backend.processes */
    uint32_t n_processes;
    uint64_t mem_free_bytes; /* as of struct gpu_processes */
    char reason[RECORD_REASON_SIZE];
    char unseen[RECORD_REASON_SIZE];                    /* as of struct gpu_processes */
    struct gpu_process processes[RECORD_PROCESSES_MAX]; /* the first n_processes count */
};

struct record {
    enum record_type type;
    union {
        struct record_inventory inventory;
        struct record_gpu gpu;
        struct record_links links;
        struct record_board board;
        struct record_mig mig;
        struct record_reason reason; /* RECORD_UNAVAILABLE, RECORD_WATCH */
        struct gpu_event event;
        struct record_probe probe;
        struct record_ask ask; /* RECORD_ASK, RECORD_LIST */
        struct gpu_change change;
        struct gpu_changed changed;
        struct record_listed listed;
    };
};

/* Size of the body of a record of this type, or 0 if there is no such type. */
size_t record_size(uint32_t type);

/* Copies and validates a body from outside. 0 or -EBADMSG. */
int record_load(uint32_t type, const void *body, size_t size, struct record *ret_record);
