// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The driver as we use it: a backend of named functions, and "none" is one of them.
 *
 * nvml.c is the only file that knows NVML. Every function here may hang inside the driver: only the
 * helper process (helper.h) and short-lived tools call them. One thread may sit in wait_event while
 * another calls the rest.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "slice/inventory.h"

enum gpu_outcome {
    GPU_LOST = 1,    /* fell off the bus, or needs a reset to answer */
    GPU_TIMEOUT,     /* wait_event: nothing happened in time */
    GPU_UNSUPPORTED, /* the driver or the model cannot answer this */
};

/* What the driver says it needs (NVML_FI_DEV_GET_GPU_RECOVERY_ACTION), where it can say so. */
enum gpu_recovery {
    GPU_RECOVERY_UNKNOWN, /* the driver is too old to tell */
    GPU_RECOVERY_NONE,
    GPU_RECOVERY_RESET,
    GPU_RECOVERY_REBOOT,
    GPU_RECOVERY_DRAIN, /* drain, then reset */
};

struct gpu_probe {
    enum gpu_recovery recovery;
    /* Used since the driver set the device up, so a reset makes it fall; UINT64_MAX unknown. */
    uint64_t energy_millijoule;
};

#define GPU_PROBE_INIT                                                    \
    {                                                                     \
        .recovery = GPU_RECOVERY_UNKNOWN, .energy_millijoule = UINT64_MAX \
    }

struct gpu_event {
    char uuid[GPU_UUID_SIZE]; /* "" = the driver named no device: all are concerned */
    uint64_t xid;
    uint32_t gpu_instance, compute_instance; /* UINT32_MAX = the whole device */
};

struct gpu_driver; /* an open backend */

struct gpu_backend {
    const char *name; /* "nvml", "none" */
    /* library NULL = "libnvidia-ml.so.1" by the loader's search. -ENOENT: no library; -ENODEV: no
     * driver. */
    int (*open)(const char *library, struct gpu_driver **ret_driver, struct error *err);
    void (*close)(struct gpu_driver *driver);
    /* Leaves the device of that index alone, because a call for it hung: inventory lists it as
       unusable without asking. Before inventory. */
    void (*avoid)(struct gpu_driver *driver, unsigned index);
    /* Everything but inventory->machine. A GPU that fails is listed as unusable; the rest goes on.
       Comes before any other question, once, and not while another thread waits for events. */
    int (*inventory)(struct gpu_driver *driver, struct inventory *ret_inventory, struct error *err);
    /* 0, GPU_LOST, or -errno with err: does this device answer, and what does it need? */
    int (*probe)(struct gpu_driver *driver, const char *uuid, struct gpu_probe *ret_probe,
                 struct error *err);
    /* Registers a device for XID events; GPU_UNSUPPORTED = it stays unmonitored. err says why for
       every return but 0, here and in wait_event and probe. */
    int (*watch)(struct gpu_driver *driver, const char *uuid, struct error *err);
    /* 0, GPU_TIMEOUT, GPU_LOST (some device; probe them all), GPU_UNSUPPORTED (no device is
       watched, so nothing will ever come), -errno. */
    int (*wait_event)(struct gpu_driver *driver, unsigned timeout_ms, struct gpu_event *ret_event,
                      struct error *err);
};

extern const struct gpu_backend gpu_nvml;
