// SPDX-License-Identifier: Apache-2.0

/* MIG mode, and MIG devices as devices: names, handles, attributes. */

#include <stdio.h>

#include "nvml/library.h"

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *currentMode,
                                  unsigned int *pendingMode)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    struct mig_layout layout;

    if (r)
        return r;
    if (!currentMode || !pendingMode)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!v.model->mig.n_slots)
        return NVML_ERROR_NOT_SUPPORTED;
    migstate_read(v.state, v.index, &layout);
    *currentMode = layout.enabled;
    *pendingMode = layout.pending;
    return NVML_SUCCESS;
}

/* The call succeeds also where the mode only becomes pending; the second status has the reason. */
nvmlReturn_t nvmlDeviceSetMigMode(nvmlDevice_t device, unsigned int mode,
                                  nvmlReturn_t *activationStatus)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (mode > NVML_DEVICE_MIG_ENABLE || !activationStatus)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!v.model->mig.n_slots)
        return NVML_ERROR_NOT_SUPPORTED;
    switch (migstate_set_mode(v.file, v.index, mode == NVML_DEVICE_MIG_ENABLE)) {
    case MIGSTATE_IN_USE:
        *activationStatus = NVML_ERROR_IN_USE;
        break;
    case MIGSTATE_RESET_REQUIRED:
        *activationStatus = NVML_ERROR_RESET_REQUIRED;
        break;
    default:
        *activationStatus = NVML_SUCCESS;
    }
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    struct view v;
    nvmlReturn_t r = library_enter_any(__func__, device, &v);
    char profile[STATE_UUID], text[GPU_MODEL_NAME + STATE_UUID + 8];

    if (r)
        return r;
    if (!v.is_mig)
        return library_give_text(name, length, v.model->name);
    migstate_name(v.mig.profile, v.mig.compute.slices, profile);
    snprintf(text, sizeof(text), "%s MIG %s", v.model->name, profile);
    return library_give_text(name, length, text);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    struct view v;
    nvmlReturn_t r = library_enter_any(__func__, device, &v);
    char text[STATE_UUID];

    if (r)
        return r;
    if (!v.is_mig)
        return library_give_text(uuid, length, v.gpu->uuid);
    migstate_uuid(v.state, v.index, v.mig.instance.id, v.mig.compute.id, text);
    return library_give_text(uuid, length, text);
}

/* Of a MIG device: among those of its GPU. */
nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
    struct view v;
    nvmlReturn_t r = library_enter_any(__func__, device, &v);

    if (r)
        return r;
    if (!index)
        return NVML_ERROR_INVALID_ARGUMENT;
    *index = v.is_mig ? v.mig.index : v.index;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *isMigDevice)
{
    struct view v;
    nvmlReturn_t r = library_enter_any(__func__, device, &v);

    if (r)
        return r;
    if (!isMigDevice)
        return NVML_ERROR_INVALID_ARGUMENT;
    *isMigDevice = v.is_mig;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index,
                                                 nvmlDevice_t *migDevice)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    nvmlDevice_t found;

    if (r)
        return r;
    if (!migDevice)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!v.model->mig.n_slots)
        return NVML_ERROR_NOT_SUPPORTED;
    found = migdevice_by_index(v.state, v.index, index);
    if (!found)
        return NVML_ERROR_NOT_FOUND;
    *migDevice = found;
    return NVML_SUCCESS;
}

/* What only a MIG device has; a whole GPU's answers are an H200's. */
static nvmlReturn_t enter_mig(const char *call, nvmlDevice_t device, const void *value,
                              struct view *ret_view)
{
    nvmlReturn_t r = library_enter_any(call, device, ret_view);

    if (r)
        return r;
    if (!value)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (ret_view->is_mig)
        return NVML_SUCCESS;
    return ret_view->model->mig.n_slots ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id)
{
    struct view v;
    nvmlReturn_t r = enter_mig(__func__, device, id, &v);

    if (r == NVML_SUCCESS)
        *id = v.mig.instance.id;
    return r;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id)
{
    struct view v;
    nvmlReturn_t r = enter_mig(__func__, device, id, &v);

    if (r == NVML_SUCCESS)
        *id = v.mig.compute.id;
    return r;
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t migDevice,
                                                          nvmlDevice_t *device)
{
    struct view v;
    nvmlReturn_t r = enter_mig(__func__, migDevice, device, &v);

    if (r == NVML_SUCCESS)
        *device = library_handle(v.state, v.index);
    return r;
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes)
{
    struct view v;
    nvmlReturn_t r = enter_mig(__func__, device, attributes, &v);
    const struct mig_profile *profile = v.mig.profile;

    if (r)
        return r == NVML_ERROR_INVALID_ARGUMENT && attributes ? NVML_ERROR_NOT_SUPPORTED : r;
    *attributes = (nvmlDeviceAttributes_t){
        .multiprocessorCount = profile->computes[v.mig.compute.profile].multiprocessors,
        .sharedCopyEngineCount = profile->shape.copy_engines,
        .sharedDecoderCount = profile->shape.decoders,
        .sharedEncoderCount = profile->shape.encoders,
        .sharedJpegCount = profile->shape.jpeg_engines,
        .sharedOfaCount = profile->shape.ofa_engines,
        .gpuInstanceSliceCount = profile->shape.gi_slices,
        .computeInstanceSliceCount = v.mig.compute.slices,
        .memorySizeMB = profile->mem_bytes >> 20,
    };
    return NVML_SUCCESS;
}
