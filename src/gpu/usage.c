// SPDX-License-Identifier: Apache-2.0
#include "gpu/usage.h"

#include <errno.h>
#include <stdio.h>

int usage_init(struct usage *usage, size_t n_gpus)
{
    *usage = (struct usage){.of_gpus = calloc(n_gpus + 1, sizeof(*usage->of_gpus)), .n = n_gpus};
    return usage->of_gpus ? 0 : -ENOMEM;
}

void usage_deinit(struct usage *usage)
{
    for (size_t i = 0; usage->of_gpus && i < usage->n; i++)
        gpu_processes_deinit(&usage->of_gpus[i].list);
    free(usage->of_gpus);
    *usage = (struct usage)USAGE_INIT;
}

static int read_gpu(const struct gpu_backend *backend, struct gpu_driver *driver, const char *uuid,
                    struct usage_gpu *ret_gpu)
{
    struct error err = ERROR_INIT;
    const int r = backend->processes(driver, uuid, &ret_gpu->list, &err);

    if (r != 0 && r != -ENOMEM && r != GPU_LOST)
        snprintf(ret_gpu->unread, sizeof(ret_gpu->unread), "%s", error_text(&err));
    return r == -ENOMEM ? r : 0;
}

int usage_read(const struct gpu_backend *backend, struct gpu_driver *driver,
               const struct inventory *inventory, struct usage *ret_usage)
{
    cleanup_usage struct usage usage = USAGE_INIT;
    int r = usage_init(&usage, inventory->n_gpus);

    for (size_t i = 0; i < inventory->n_gpus && r == 0; i++)
        if (!*inventory->gpus[i].unusable)
            r = read_gpu(backend, driver, inventory->gpus[i].uuid, &usage.of_gpus[i]);
    if (r < 0)
        return r;
    *ret_usage = usage;
    usage = (struct usage)USAGE_INIT;
    return 0;
}
