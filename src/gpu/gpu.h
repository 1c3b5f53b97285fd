// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The driver's interface: a backend of named functions; "none" is one of them.
 *
 * nvml.c is the only file that uses NVML. Every function here may hang inside the driver: only the
 * helper process (helper.h) and short-lived tools call them. One thread may sit in wait_event while
 * another calls the rest.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "slice/inventory.h"

enum gpu_outcome {
    GPU_LOST = 1,      /* fell off the bus, or needs a reset to respond */
    GPU_TIMEOUT,       /* wait_event: nothing happened in time */
    GPU_UNSUPPORTED,   /* not supported by the driver or the model */
    GPU_RECONFIGURED,  /* wait_event: how the GPU of that UUID is partitioned has changed */
    GPU_IN_USE,        /* change: a process holds what it concerns */
    GPU_NO_ROOM,       /* change: no place on the GPU, or in the GPU instance, is free for it */
    GPU_NO_INSTANCE,   /* change: there is no such instance */
    GPU_RESET_PENDING, /* change: the mode is set, and is in force after a reset */
};

/* The action required according to the driver (NVML_FI_DEV_GET_GPU_RECOVERY_ACTION), if it reports
 * one. */
enum gpu_recovery {
    GPU_RECOVERY_UNKNOWN, /* the driver is too old */
    GPU_RECOVERY_NONE,
    GPU_RECOVERY_RESET,
    GPU_RECOVERY_REBOOT,
    GPU_RECOVERY_DRAIN, /* drain, then reset */
};

struct gpu_probe {
    enum gpu_recovery recovery;
    /* Consumed since the driver set the device up, so a reset lowers it; UINT64_MAX unknown. */
    uint64_t energy_millijoule;
};

#define GPU_PROBE_INIT                                                    \
    {                                                                     \
        .recovery = GPU_RECOVERY_UNKNOWN, .energy_millijoule = UINT64_MAX \
    }

struct gpu_event {
    char uuid[GPU_UUID_SIZE]; /* "" = the driver named no device: all are affected */
    uint64_t xid;
    uint32_t gpu_instance, compute_instance; /* UINT32_MAX = the whole device */
};

/*
 * How a GPU is partitioned changes by single steps. A step may take minutes, and is not undone when
 * it fails: what is there afterwards is read again.
 */
enum gpu_verb {
    GPU_SET_MIG_MODE,
    GPU_CREATE_INSTANCE,
    GPU_CREATE_COMPUTE,
    GPU_DESTROY_COMPUTE,
    GPU_DESTROY_INSTANCE, /* one without compute instances */
    GPU_RESET,
    GPU_FIND_HOLDERS, /* changes nothing */
    GPU_VERBS
};

struct gpu_change {
    char uuid[GPU_UUID_SIZE]; /* of the GPU */
    enum gpu_verb verb;
    bool enabled;     /* the wanted mode */
    uint32_t profile; /* what to create, by its `index` (struct mig_profile, mig_ci_profile) */
    uint32_t start;   /* the first memory slice; DEVICE_NO_INSTANCE: the driver chooses */
    struct device_instance instance; /* what to destroy, where to create; whose holders to find */
};

enum { GPU_HOLDERS_MAX = 64, GPU_PROCESS_NAME_SIZE = 64 };

/* A process that has a device open; the agent and its own processes are none. */
struct gpu_holder {
    uint32_t pid;                    /* in the namespace of the driver's helper */
    struct device_instance instance; /* that it uses, as far as the driver tells */
    char name[GPU_PROCESS_NAME_SIZE];
};

/* What became of a step. */
struct gpu_changed {
    int outcome;                     /* 0, enum gpu_outcome, -errno */
    struct device_instance instance; /* what was created */
    uint32_t n_holders;              /* of GPU_FIND_HOLDERS, and with GPU_IN_USE */
    struct gpu_holder holders[GPU_HOLDERS_MAX];
    char reason[256]; /* a sentence, for every outcome but 0 */
};

/* A process that uses a GPU, as the driver lists it. */
struct gpu_process {
    uint32_t pid;                    /* in the namespace of the driver's caller */
    struct device_instance instance; /* that it uses, as far as the driver tells */
    uint64_t mem_bytes;              /* that it has there; GPU_MEMORY_UNKNOWN */
};

#define GPU_MEMORY_UNKNOWN UINT64_MAX

struct gpu_processes {
    struct gpu_process *items; /* each once per instance */
    size_t n_items, capacity;
    uint64_t mem_free_bytes; /* of the whole GPU, at that time; 0 = unknown */
    char unseen[256]; /* why those that have memory and no context are not among them, or not all;
                         "" = they are */
};

#define GPU_PROCESSES_INIT \
    {                      \
        .items = NULL      \
    }

void gpu_processes_deinit(struct gpu_processes *processes);
#define cleanup_gpu_processes cleanup(gpu_processes_deinit)

struct gpu_driver; /* an open backend */

struct gpu_backend {
    const char *name; /* "nvml", "none" */
    /* library NULL = "libnvidia-ml.so.1" by the loader's search. -ENOENT: no library; -ENODEV: no
     * driver. */
    int (*open)(const char *library, struct gpu_driver **ret_driver, struct error *err);
    void (*close)(struct gpu_driver *driver);
    /* Avoids the device of that index, because a call for it hung: inventory lists it as unusable
     * without querying it. Before inventory. */
    void (*avoid)(struct gpu_driver *driver, unsigned index);
    /* Everything but inventory->machine. A GPU that fails is listed as unusable; the others are
     * read. Must be the first query, once, and not while another thread waits for events. */
    int (*inventory)(struct gpu_driver *driver, struct inventory *ret_inventory, struct error *err);
    /* Reads again how the GPUs of this session are partitioned, or the one of that UUID (NULL =
     * all), into its inventory: modes, boards, layouts and MIG devices. Also while another thread
     * waits for events. 0 or -errno. */
    int (*partitions)(struct gpu_driver *driver, struct inventory *inventory, const char *uuid,
                      struct error *err);
    /* Whether wait_event reports each change of how that GPU is partitioned; after watch. */
    bool (*reports_changes)(const struct gpu_driver *driver, const char *uuid);
    /* One step, but for GPU_RESET, which no session can make. *ret_changed is always written. */
    void (*change)(struct gpu_driver *driver, const struct gpu_change *change,
                   struct gpu_changed *ret_changed);
    /* Who uses a GPU, partitioned or not: processes that compute, draw, or do so through MPS, and
     * others that have memory of it. 0, an outcome above, or -errno with err. */
    int (*processes)(struct gpu_driver *driver, const char *uuid,
                     struct gpu_processes *ret_processes, struct error *err);
    /* 0, GPU_LOST, or -errno with err: whether this device responds, and what it needs. */
    int (*probe)(struct gpu_driver *driver, const char *uuid, struct gpu_probe *ret_probe,
                 struct error *err);
    /* Registers a device for XID events; may be tried again after a failure. err has the reason
     * for every return but 0, here and in wait_event and probe. */
    int (*watch)(struct gpu_driver *driver, const char *uuid, struct error *err);
    /* 0, GPU_TIMEOUT, GPU_RECONFIGURED, GPU_LOST (some device; probe them all), GPU_UNSUPPORTED (no
     * device is watched, so there will be no events), -errno. */
    int (*wait_event)(struct gpu_driver *driver, unsigned timeout_ms, struct gpu_event *ret_event,
                      struct error *err);
};

extern const struct gpu_backend gpu_nvml;
