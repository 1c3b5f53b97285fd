// SPDX-License-Identifier: Apache-2.0
#include "nvml/abi.h"

#include "base/array.h"

#define ARCHITECTURE_UNKNOWN UINT32_MAX /* NVML_DEVICE_ARCH_UNKNOWN */

static const nvmlBrandType_t brands[] = {
    [GPU_BRAND_TESLA] = NVML_BRAND_TESLA,
    [GPU_BRAND_QUADRO] = NVML_BRAND_QUADRO,
    [GPU_BRAND_GEFORCE] = NVML_BRAND_GEFORCE,
    [GPU_BRAND_TITAN] = NVML_BRAND_TITAN,
    [GPU_BRAND_QUADRO_RTX] = NVML_BRAND_QUADRO_RTX,
    [GPU_BRAND_NVIDIA_RTX] = NVML_BRAND_NVIDIA_RTX,
    [GPU_BRAND_NVIDIA] = NVML_BRAND_NVIDIA,
    [GPU_BRAND_GEFORCE_RTX] = NVML_BRAND_GEFORCE_RTX,
};

static const nvmlDeviceArchitecture_t architectures[] = {
    [GPU_ARCHITECTURE_KEPLER] = NVML_DEVICE_ARCH_KEPLER,
    [GPU_ARCHITECTURE_MAXWELL] = NVML_DEVICE_ARCH_MAXWELL,
    [GPU_ARCHITECTURE_PASCAL] = NVML_DEVICE_ARCH_PASCAL,
    [GPU_ARCHITECTURE_VOLTA] = NVML_DEVICE_ARCH_VOLTA,
    [GPU_ARCHITECTURE_TURING] = NVML_DEVICE_ARCH_TURING,
    [GPU_ARCHITECTURE_AMPERE] = NVML_DEVICE_ARCH_AMPERE,
    [GPU_ARCHITECTURE_ADA] = NVML_DEVICE_ARCH_ADA,
    [GPU_ARCHITECTURE_HOPPER] = NVML_DEVICE_ARCH_HOPPER,
    [GPU_ARCHITECTURE_BLACKWELL] = NVML_DEVICE_ARCH_BLACKWELL,
};

static const struct {
    uint32_t version;
    unsigned code;
} nvlink_versions[] = {
    {10, NVML_NVLINK_VERSION_1_0}, {20, NVML_NVLINK_VERSION_2_0}, {22, NVML_NVLINK_VERSION_2_2},
    {30, NVML_NVLINK_VERSION_3_0}, {31, NVML_NVLINK_VERSION_3_1}, {40, NVML_NVLINK_VERSION_4_0},
    {50, NVML_NVLINK_VERSION_5_0},
};

/* Models come from a file that others may write: none of its numbers is used as an index
 * unchecked. */
nvmlBrandType_t abi_brand(const struct gpu_model *model)
{
    return model->brand < ARRAY_SIZE(brands) ? brands[model->brand] : NVML_BRAND_UNKNOWN;
}

nvmlDeviceArchitecture_t abi_architecture(const struct gpu_model *model)
{
    return model->architecture < ARRAY_SIZE(architectures) ? architectures[model->architecture]
                                                           : ARCHITECTURE_UNKNOWN;
}

unsigned abi_nvlink_version(const struct gpu_model *model)
{
    for (size_t i = 0; i < ARRAY_SIZE(nvlink_versions); i++)
        if (nvlink_versions[i].version == model->nvlink_version)
            return nvlink_versions[i].code;
    return NVML_NVLINK_VERSION_INVALID;
}
