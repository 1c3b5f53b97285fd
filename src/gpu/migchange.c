// SPDX-License-Identifier: Apache-2.0
#include "gpu/migchange.h"

#include <string.h>

struct gpu_change migchange_of(const struct gpu *gpu, const struct mig_board *board,
                               const struct mig_step *step)
{
    static const enum gpu_verb verbs[] = {
        [MIG_STEP_SET_MODE] = GPU_SET_MIG_MODE,
        [MIG_STEP_RESET] = GPU_RESET,
        [MIG_STEP_DESTROY_COMPUTE] = GPU_DESTROY_COMPUTE,
        [MIG_STEP_DESTROY_GPU] = GPU_DESTROY_INSTANCE,
        [MIG_STEP_CREATE_GPU] = GPU_CREATE_INSTANCE,
        [MIG_STEP_CREATE_COMPUTE] = GPU_CREATE_COMPUTE,
    };
    struct gpu_change change = {
        .verb = verbs[step->kind],
        .enabled = step->enable,
        .start = step->start,
        .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE},
    };

    memcpy(change.uuid, gpu->uuid, sizeof(change.uuid));
    if (step->kind == MIG_STEP_CREATE_GPU)
        change.profile = board->profiles[step->profile].index;
    if (step->kind == MIG_STEP_CREATE_COMPUTE)
        change.profile = board->profiles[step->profile].computes[step->compute_profile].index;
    if (step->kind >= MIG_STEP_DESTROY_COMPUTE && step->kind != MIG_STEP_CREATE_GPU)
        change.instance.gpu = step->instance;
    if (step->kind == MIG_STEP_DESTROY_COMPUTE)
        change.instance.compute = step->compute;
    return change;
}
