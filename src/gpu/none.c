// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <time.h>

#include "gpu/gpu.h"

/* Nothing is opened; the address only has to differ from NULL. */
static char nothing;

static int none_open(const char *library, struct gpu_driver **ret_driver, struct error *err)
{
    *ret_driver = (struct gpu_driver *)(void *)&nothing;
    return 0;
}

static void none_close(struct gpu_driver *driver)
{
}

static void none_avoid(struct gpu_driver *driver, unsigned index)
{
}

static int none_inventory(struct gpu_driver *driver, struct inventory *ret_inventory,
                          struct error *err)
{
    *ret_inventory = (struct inventory)INVENTORY_INIT;
    return 0;
}

static int none_probe(struct gpu_driver *driver, const char *uuid, struct gpu_probe *ret_probe,
                      struct error *err)
{
    return error_set(err, -ENXIO, "this machine has no GPU %s", uuid);
}

static int none_watch(struct gpu_driver *driver, const char *uuid, struct error *err)
{
    return error_set(err, -ENXIO, "this machine has no GPU %s", uuid);
}

static int none_wait_event(struct gpu_driver *driver, unsigned timeout_ms,
                           struct gpu_event *ret_event, struct error *err)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ms / 1000),
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};

    while (nanosleep(&timeout, &timeout) < 0 && errno == EINTR)
        ;
    return GPU_TIMEOUT;
}

const struct gpu_backend gpu_none = {
    .name = "none",
    .open = none_open,
    .close = none_close,
    .avoid = none_avoid,
    .inventory = none_inventory,
    .probe = none_probe,
    .watch = none_watch,
    .wait_event = none_wait_event,
};
