// SPDX-License-Identifier: Apache-2.0
#include "node/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

void reach_deinit(struct reach *reach)
{
    free(TAKE_PTR(reach->gpus));
    reach->n_gpus = 0;
}

static struct reach_gpu *find(const struct reach *reach, const char *uuid)
{
    for (size_t i = 0; *uuid && i < reach->n_gpus; i++)
        if (strcasecmp(reach->gpus[i].uuid, uuid) == 0)
            return &reach->gpus[i];
    return NULL;
}

/* A GPU that is listed as usable is probed next; until then it is as before. */
static bool fails(const struct reach *before, const struct gpu *gpu)
{
    const struct reach_gpu *known = find(before, gpu->uuid);

    if (*gpu->unusable)
        return gpu->is_out_of_reach;
    return known && known->fails;
}

int reach_inventory(struct reach *reach, const struct inventory *seen)
{
    struct reach_gpu *gpus = calloc(seen->n_gpus + 1, sizeof(*gpus));

    if (!gpus)
        return -ENOMEM;
    for (size_t i = 0; i < seen->n_gpus; i++) {
        memcpy(gpus[i].uuid, seen->gpus[i].uuid, sizeof(gpus[i].uuid));
        gpus[i].fails = fails(reach, &seen->gpus[i]);
    }
    free(reach->gpus);
    *reach = (struct reach){.gpus = gpus, .n_gpus = seen->n_gpus};
    return 0;
}

static void set_all(struct reach *reach, bool is_failing)
{
    reach->unavailable = is_failing;
    for (size_t i = 0; i < reach->n_gpus; i++)
        reach->gpus[i].fails = is_failing;
}

void reach_unavailable(struct reach *reach)
{
    set_all(reach, true);
}

void reach_reset(struct reach *reach)
{
    set_all(reach, false);
}

/* -ENXIO: the driver does not list that GPU in this session, which shows nothing about the way.
 * -EREMOTEIO: the GPU's own fault. */
void reach_probe(struct reach *reach, const char *uuid, int outcome)
{
    struct reach_gpu *gpu = find(reach, uuid);

    if (gpu && outcome != -ENXIO)
        gpu->fails = outcome < 0 && outcome != -EREMOTEIO;
}

bool reach_is_lost(const struct reach *reach)
{
    for (size_t i = 0; i < reach->n_gpus; i++)
        if (!reach->gpus[i].fails)
            return false;
    return reach->n_gpus > 0 || reach->unavailable;
}
