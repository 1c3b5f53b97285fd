// SPDX-License-Identifier: Apache-2.0

/* The versions of a board's infoROM, the memory that holds its serial number and its errors. */

#include <stdio.h>
#include <string.h>

#include "nvml/library.h"

/* As `nvidia-smi -q` shows them for a T4, V100, A100, L4, H100 and H200. */
static const struct {
    const char *oem, *ecc;
} versions[] = {
    [GPU_ARCHITECTURE_KEPLER] = {"1.1", "3.0"},     [GPU_ARCHITECTURE_MAXWELL] = {"1.1", "4.1"},
    [GPU_ARCHITECTURE_PASCAL] = {"1.1", "4.1"},     [GPU_ARCHITECTURE_VOLTA] = {"1.1", "5.0"},
    [GPU_ARCHITECTURE_TURING] = {"1.1", "5.0"},     [GPU_ARCHITECTURE_AMPERE] = {"2.0", "6.16"},
    [GPU_ARCHITECTURE_ADA] = {"2.1", "6.16"},       [GPU_ARCHITECTURE_HOPPER] = {"2.1", "7.16"},
    [GPU_ARCHITECTURE_BLACKWELL] = {"2.1", "7.16"},
};

nvmlReturn_t nvmlDeviceGetInforomVersion(nvmlDevice_t device, nvmlInforomObject_t object,
                                         char *version, unsigned int length)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!version || object > NVML_INFOROM_DEN)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (v.model->architecture >= sizeof(versions) / sizeof(*versions))
        return NVML_ERROR_NOT_SUPPORTED;
    if (object == NVML_INFOROM_OEM)
        return library_give_text(version, length, versions[v.model->architecture].oem);
    if (object == NVML_INFOROM_ECC && v.model->ecc)
        return library_give_text(version, length, versions[v.model->architecture].ecc);
    return NVML_ERROR_NOT_SUPPORTED; /* the power object: of boards before Volta */
}

/* "G520.0282.00.01" on a board with the part number 692-2G520-0282-001; a real one ends in the
 * image's own number. */
nvmlReturn_t nvmlDeviceGetInforomImageVersion(nvmlDevice_t device, char *version,
                                              unsigned int length)
{
    char project[5], sku[5], image[24];
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!version)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (sscanf(v.model->part, "%*3[0-9]-%*1[0-9]%4[A-Z0-9]-%4[A-Z0-9]", project, sku) != 2)
        return NVML_ERROR_NOT_SUPPORTED;
    snprintf(image, sizeof(image), "%s.%s.00.01", project, sku);
    return library_give_text(version, length, image);
}
