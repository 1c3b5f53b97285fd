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

#include "base/error.h"
#include "slice/inventory.h"

enum gpu_outcome {
    GPU_LOST = 1,    /* fell off the bus, or needs a reset to respond */
    GPU_TIMEOUT,     /* wait_event: nothing happened in time */
    GPU_UNSUPPORTED, /* not supported by the driver or the model */
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
    /* 0, GPU_LOST, or -errno with err: whether this device responds, and what it needs. */
    int (*probe)(struct gpu_driver *driver, const char *uuid, struct gpu_probe *ret_probe,
                 struct error *err);
    /* Registers a device for XID events; may be tried again after a failure. err has the reason
     * for every return but 0, here and in wait_event and probe. */
    int (*watch)(struct gpu_driver *driver, const char *uuid, struct error *err);
    /* 0, GPU_TIMEOUT, GPU_LOST (some device; probe them all), GPU_UNSUPPORTED (no device is
     * watched, so there will be no events), -errno. */
    int (*wait_event)(struct gpu_driver *driver, unsigned timeout_ms, struct gpu_event *ret_event,
                      struct error *err);
};

extern const struct gpu_backend gpu_nvml;
