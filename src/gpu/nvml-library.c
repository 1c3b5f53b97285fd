// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "gpu/nvml.h"
#include "gpu/rmclients.h"

struct symbol {
    const char *names[2]; /* newest first */
    size_t offset;
    bool required;
};

static const struct symbol symbols[] = {
#define NVML_ROW(symbol, older, is_required)          \
    {.names = {#symbol, older},                       \
     .offset = offsetof(struct nvml_library, symbol), \
     .required = is_required},
    NVML_SYMBOLS(NVML_ROW)
#undef NVML_ROW
};

static void *find_symbol(void *handle, const struct symbol *symbol)
{
    void *address = NULL;

    for (size_t i = 0; !address && i < ARRAY_SIZE(symbol->names) && symbol->names[i]; i++)
        address = dlsym(handle, symbol->names[i]);
    return address;
}

int nvml_library_load(struct nvml_library *library, const char *path, struct error *err)
{
    struct nvml_library loaded = {.handle = NULL};

    /* RTLD_NODELETE would keep an old driver's library after an upgrade: the helper restarts. */
    loaded.handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (!loaded.handle) {
        const char *why = dlerror();

        return error_set(err, -ENOENT, "cannot load the NVIDIA driver's library: %s",
                         why ? why : path);
    }
    for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
        void *address = find_symbol(loaded.handle, &symbols[i]);

        if (!address && symbols[i].required) {
            dlclose(loaded.handle);
            return error_set(err, -ELIBBAD, "%s is no usable NVML: it lacks the function %s", path,
                             symbols[i].names[0]);
        }
        memcpy((char *)&loaded + symbols[i].offset, &address, sizeof(address));
    }
    loaded.kernel = dlsym(loaded.handle, RM_KERNEL);
    if (!loaded.kernel)
        loaded.kernel = &rmclients_kernel;
    *library = loaded;
    return 0;
}

void nvml_library_unload(struct nvml_library *library)
{
    if (library->handle)
        dlclose(library->handle);
    library->handle = NULL;
}

/* How each status maps to our outcomes; the rest is -EIO with its number. -EREMOTEIO is a fault of
 * the GPU itself. */
static const struct meaning {
    nvmlReturn_t status;
    int outcome;
    const char *text;
} meanings[] = {
    {NVML_ERROR_GPU_IS_LOST, GPU_LOST, "the GPU has fallen off the bus"},
    {NVML_ERROR_RESET_REQUIRED, GPU_LOST, "the GPU needs a reset before it can be used again"},
    {NVML_ERROR_TIMEOUT, GPU_TIMEOUT, "nothing happened in time"},
    {NVML_ERROR_NOT_SUPPORTED, GPU_UNSUPPORTED, "this GPU does not support it"},
    {NVML_ERROR_FUNCTION_NOT_FOUND, GPU_UNSUPPORTED, "this driver does not have the function"},
    {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, GPU_UNSUPPORTED,
     "this driver does not know this version of the call"},
    {NVML_ERROR_DEPRECATED, GPU_UNSUPPORTED, "this driver no longer has the function"},
    {NVML_ERROR_UNINITIALIZED, -ENOTCONN, "the driver session has ended"},
    {NVML_ERROR_INVALID_ARGUMENT, -EINVAL, "the driver refused an argument"},
    {NVML_ERROR_NO_PERMISSION, -EPERM, "no permission to use the driver"},
    {NVML_ERROR_NOT_FOUND, -ENXIO, "the driver does not know the GPU"},
    {NVML_ERROR_GPU_NOT_FOUND, -ENXIO, "the driver finds no GPU"},
    {NVML_ERROR_INSUFFICIENT_SIZE, -ENOBUFS, "a buffer is too small for the driver's answer"},
    {NVML_ERROR_INSUFFICIENT_POWER, -EREMOTEIO, "the GPU's power cables are not attached"},
    {NVML_ERROR_DRIVER_NOT_LOADED, -ENODEV, "the NVIDIA kernel driver is not loaded"},
    {NVML_ERROR_IRQ_ISSUE, -EREMOTEIO, "the GPU has an interrupt problem"},
    {NVML_ERROR_LIBRARY_NOT_FOUND, -ENOENT, "the driver's library cannot load its own parts"},
    {NVML_ERROR_OPERATING_SYSTEM, -EACCES,
     "the operating system or its cgroups block the GPU's device files"},
    {NVML_ERROR_LIB_RM_VERSION_MISMATCH, -ESTALE,
     "the driver's library and its kernel module have different versions; was the driver updated "
     "without a reload?"},
    {NVML_ERROR_IN_USE, -EBUSY, "the GPU is in use"},
    {NVML_ERROR_MEMORY, -ENOMEM, "the driver is out of memory"},
    {NVML_ERROR_NO_DATA, GPU_UNSUPPORTED, "the driver has no data"},
    {NVML_ERROR_UNKNOWN, -EIO, "the driver reports an unknown error"},
    {NVML_ERROR_NOT_READY, -EAGAIN, "the system is not ready for the request"},
};

enum fact_gap nvml_gap(nvmlReturn_t status)
{
    switch (status) {
    case NVML_SUCCESS:
        return FACT_KNOWN;
    case NVML_ERROR_FUNCTION_NOT_FOUND:
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH:
    case NVML_ERROR_DEPRECATED:
        return FACT_MISSING;
    case NVML_ERROR_NOT_SUPPORTED:
    case NVML_ERROR_NO_DATA:
        return FACT_UNSUPPORTED;
    default:
        return FACT_FAILED;
    }
}

void nvml_note_gap(uint8_t *gap, enum fact_gap reason)
{
    if (reason > *gap)
        *gap = (uint8_t)reason;
}

int nvml_outcome(nvmlReturn_t status, struct error *err, const char *call)
{
    if (status == NVML_SUCCESS)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
        if (meanings[i].status != status)
            continue;
        /* An outcome is not an error, but its message is wanted too. */
        error_set(err, -EIO, "%s (%s)", meanings[i].text, call);
        if (err && meanings[i].outcome < 0)
            err->code = meanings[i].outcome;
        return meanings[i].outcome;
    }
    return error_set(err, -EIO, "%s failed with NVML status %d", call, (int)status);
}
