// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who may use which MIG device: the driver gives each GPU instance and each compute instance a
 * device node, /dev/nvidia-caps/nvidia-cap<minor>, and lists the minor numbers in
 * /proc/driver/nvidia-caps/mig-minors, for instances to come as well:
 *
 *     config 1
 *     gpu0/gi1/access 12
 *     gpu0/gi1/ci0/access 13
 *
 * Where GPU instances get their own numbers, the GPU is named by the minor number of its node.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct migminor {
    uint32_t gpu, gpu_instance, compute_instance; /* DEVICE_NO_INSTANCE: of the GPU instance */
    int minor;
};

struct migminors {
    struct migminor *items;
    size_t n_items;
};

#define MIGMINORS_INIT \
    {                  \
        .items = NULL  \
    }

void migminors_deinit(struct migminors *minors);
#define cleanup_migminors cleanup(migminors_deinit)

/* The kernel's file; GPUSLICE_PROC names another place than /proc. 0; -ENOENT: the driver has no
 * such file. */
int migminors_load(struct migminors *ret_minors, struct error *err);

/* Lines of other forms are skipped: a later driver may add some. 0 or -ENOMEM. */
int migminors_parse(const char *text, struct migminors *ret_minors);

/* The minor number of that instance, or -1. */
int migminors_find(const struct migminors *minors, uint32_t gpu, uint32_t gpu_instance,
                   uint32_t compute_instance);
