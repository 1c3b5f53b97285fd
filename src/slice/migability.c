// SPDX-License-Identifier: Apache-2.0
#include "slice/migability.h"

#include <string.h>

#include "slice/migkind.h"

enum migability migability_of(const struct gpu *gpu)
{
    if (gpu->mig_capable)
        return MIGABILITY_CAN;
    return *gpu->unusable || gpu->gaps[FACT_MIG] ? MIGABILITY_UNKNOWN : MIGABILITY_CANNOT;
}

static const char *mode_of(const struct gpu *gpu)
{
    if (gpu->layout.pending != gpu->layout.enabled)
        return gpu->layout.pending ? "off, and on after a reset" : "on, and off after a reset";
    return gpu->layout.enabled ? "on" : "off";
}

static const char instead[] =
    "sharing.timeSlicing, for slices of one size, or gpuslice.slices, for several sizes: their "
    "resources and labels are those of GPUs";

void migability_describe(const struct inventory *inventory, const struct gpu *gpu,
                         struct text *text)
{
    const struct mig_board *board = inventory_board(inventory, gpu);

    switch (migability_of(gpu)) {
    case MIGABILITY_CAN:
        text_addf(text, "can be partitioned by MIG, which is %s: ", mode_of(gpu));
        if (board)
            migkind_add_profiles(board, text);
        else
            text_addf(text, "the driver lists its profiles only while MIG is on");
        break;
    case MIGABILITY_CANNOT:
        text_addf(text, "cannot be partitioned by MIG%s; use %s", migability_claim(gpu->model),
                  instead);
        break;
    case MIGABILITY_UNKNOWN:
        text_addf(text, "may or may not be partitioned by MIG: %s",
                  *gpu->unusable ? gpu->unusable : "the driver does not tell its mode");
    }
}

const char *migability_claim(const char *model)
{
    const char *name = strstr(model, "A10");
    const char *volta = strstr(model, "V100");

    if (name && (name[3] == '\0' || strchr("G -", name[3])))
        return "; guides that list the A10, and with it g5, for MIG are wrong";
    if (volta)
        return "; MIG came with the generation after it";
    return "";
}

static bool is_like(const struct gpu *a, const struct gpu *b)
{
    return strcmp(a->model, b->model) == 0 && a->index + 1 == b->index &&
           migability_of(a) == migability_of(b) && a->board == b->board &&
           a->layout.enabled == b->layout.enabled && a->layout.pending == b->layout.pending &&
           strcmp(a->unusable, b->unusable) == 0;
}

size_t migability_name_group(const struct inventory *inventory, size_t first, struct text *text)
{
    const struct gpu *gpus = inventory->gpus;
    size_t last = first;

    while (last + 1 < inventory->n_gpus && is_like(&gpus[last], &gpus[last + 1]))
        last++;
    if (last > first)
        text_addf(text, "GPUs %u-%u", gpus[first].index, gpus[last].index);
    else
        text_addf(text, "GPU %u", gpus[first].index);
    text_addf(text, " (%s)", *gpus[first].model ? gpus[first].model : "unknown model");
    return last + 1;
}
