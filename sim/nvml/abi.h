// SPDX-License-Identifier: Apache-2.0
#pragma once

/* NVML's numbers for the catalog's model data. */

#include "catalog/model.h"
#include "gpu/nvml-abi.h"

nvmlBrandType_t abi_brand(const struct gpu_model *model);
nvmlDeviceArchitecture_t abi_architecture(const struct gpu_model *model);

/* NVML_NVLINK_VERSION_INVALID if it has no NVLink. */
unsigned abi_nvlink_version(const struct gpu_model *model);
