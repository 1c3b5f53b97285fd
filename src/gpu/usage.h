// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Who uses each GPU of an inventory, as the driver lists its processes at one time. */

#include <stddef.h>

#include "gpu/gpu.h"

struct usage_gpu {
    struct gpu_processes list;
    char unread[256]; /* why the driver does not tell them; "" = it does, or the GPU is lost */
};

struct usage {
    struct usage_gpu *of_gpus; /* one for each of the inventory */
    size_t n;
};

#define USAGE_INIT      \
    {                   \
        .of_gpus = NULL \
    }

void usage_deinit(struct usage *usage);
#define cleanup_usage cleanup(usage_deinit)

/* For that many GPUs, without any process. 0 or -ENOMEM. */
int usage_init(struct usage *usage, size_t n_gpus);

/* Asks the driver for the processes of each GPU that it can use. A GPU that is lost has none to
 * tell of. 0 or -ENOMEM; any other failure is noted, and the other GPUs are read. */
int usage_read(const struct gpu_backend *backend, struct gpu_driver *driver,
               const struct inventory *inventory, struct usage *ret_usage);
