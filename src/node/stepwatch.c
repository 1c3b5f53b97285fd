// SPDX-License-Identifier: Apache-2.0
#include "node/stepwatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

struct stepwatch_step {
    struct stepwatch *watch;
    driver_changed_fn *done;
    void *userdata;
    bool has_ended; /* without our knowing what came of it */
    size_t n_uuids;
    char (*uuids)[GPU_UUID_SIZE];
    struct stepwatch_step *next;
};

static void free_step(struct stepwatch_step *step)
{
    free(step->uuids);
    free(step);
}

DEFINE_CLEANUP(struct stepwatch_step *, free_step)

void stepwatch_deinit(struct stepwatch *watch)
{
    while (watch->steps) {
        struct stepwatch_step *step = watch->steps;

        watch->steps = step->next;
        free_step(step);
    }
    free(watch->uuids);
    *watch = (struct stepwatch)STEPWATCH_INIT;
}

/* The list of UUIDs shrinks in place. */
static void list_uuids(struct stepwatch *watch)
{
    watch->n_uuids = 0;
    for (struct stepwatch_step *step = watch->steps; step; step = step->next)
        for (size_t i = 0; i < step->n_uuids; i++)
            watch->uuids[watch->n_uuids++] = step->uuids[i];
}

static int add_uuids(struct stepwatch *watch, const struct stepwatch_step *step)
{
    const char **uuids =
        reallocarray(watch->uuids, watch->n_uuids + step->n_uuids + 1, sizeof(*uuids));

    if (!uuids)
        return -ENOMEM;
    watch->uuids = uuids;
    return 0;
}

static void remove_step(struct stepwatch_step *step)
{
    struct stepwatch_step **place = &step->watch->steps;

    while (*place != step)
        place = &(*place)->next;
    *place = step->next;
    list_uuids(step->watch);
    free_step(step);
}

/* What a step removes, if it succeeds. A change of the mode and a reset leave nothing. */
static bool removes(const struct gpu_change *change, const struct device *device)
{
    switch (change->verb) {
    case GPU_SET_MIG_MODE:
    case GPU_RESET:
        return true;
    case GPU_DESTROY_COMPUTE:
    case GPU_DESTROY_INSTANCE:
        return device_instances_overlap(change->instance, device->instance);
    case GPU_CREATE_INSTANCE:
    case GPU_CREATE_COMPUTE:
    case GPU_FIND_HOLDERS:
    case GPU_VERBS:
        break;
    }
    return false;
}

static int list_removed(struct stepwatch_step *step, const struct inventory *machine,
                        const struct gpu_change *change)
{
    step->uuids = calloc(machine->n_mig_devices + 1, sizeof(*step->uuids));
    if (!step->uuids)
        return -ENOMEM;
    for (size_t i = 0; i < machine->n_mig_devices; i++) {
        const struct device *device = &machine->mig_devices[i];

        if (strcasecmp(machine->gpus[device->gpu].uuid, change->uuid) == 0 &&
            removes(change, device))
            memcpy(step->uuids[step->n_uuids++], device->uuid, GPU_UUID_SIZE);
    }
    return 0;
}

/* The inventory that shows what came of it is in already, unless the helper ended. */
static void on_changed(const struct gpu_changed *changed, void *userdata)
{
    struct stepwatch_step *step = userdata;
    driver_changed_fn *done = step->done;
    void *done_userdata = step->userdata;

    if (changed->outcome == -ECANCELED || changed->outcome == -ETIMEDOUT)
        step->has_ended = true;
    else
        remove_step(step);
    done(changed, done_userdata);
}

int stepwatch_change(struct stepwatch *watch, struct driver *driver,
                     const struct inventory *machine, const struct gpu_change *change,
                     uint64_t deadline_ms, driver_changed_fn *done, void *userdata)
{
    cleanup(free_step_p) struct stepwatch_step *step = calloc(1, sizeof(*step));
    int r;

    if (!step)
        return -ENOMEM;
    step->watch = watch;
    step->done = done;
    step->userdata = userdata;
    r = list_removed(step, machine, change);
    if (r == 0)
        r = add_uuids(watch, step);
    if (r == 0)
        r = driver_change(driver, change, deadline_ms, on_changed, step);
    if (r < 0)
        return r;
    step->next = watch->steps;
    watch->steps = TAKE_PTR(step);
    list_uuids(watch);
    return 0;
}

void stepwatch_inventory(struct stepwatch *watch)
{
    struct stepwatch_step *next;

    for (struct stepwatch_step *step = watch->steps; step; step = next) {
        next = step->next;
        if (step->has_ended)
            remove_step(step);
    }
}
