// SPDX-License-Identifier: Apache-2.0

/* Memory errors of a device: ECC counters, retired pages, remapped rows. */

#include "nvml/library.h"

static nvmlReturn_t check_ecc(const struct view *v, nvmlMemoryErrorType_t error_type,
                              nvmlEccCounterType_t counter_type, const void *to)
{
    if (!to || error_type > NVML_MEMORY_ERROR_TYPE_UNCORRECTED || counter_type > NVML_AGGREGATE_ECC)
        return NVML_ERROR_INVALID_ARGUMENT;
    return v->model->ecc ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t errorType,
                                         nvmlEccCounterType_t counterType,
                                         unsigned long long *eccCounts)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r == NVML_SUCCESS)
        r = check_ecc(&v, errorType, counterType, eccCounts);
    if (r == NVML_SUCCESS)
        *eccCounts = atomic_load(&v.now->ecc_errors[errorType][counterType]);
    return r;
}

nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t errorType,
                                            nvmlEccCounterType_t counterType,
                                            nvmlEccErrorCounts_t *eccCounts)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r == NVML_SUCCESS)
        r = check_ecc(&v, errorType, counterType, eccCounts);
    if (r == NVML_SUCCESS)
        *eccCounts = (nvmlEccErrorCounts_t){
            .deviceMemory = atomic_load(&v.now->ecc_errors[errorType][counterType])};
    return r;
}

/* Where rows are remapped, on-chip memory is counted in one sum (an H200 under 580). */
static bool has_location(const struct view *v, nvmlMemoryLocation_t location)
{
    if (v->model->row_remapping)
        return location == NVML_MEMORY_LOCATION_DRAM || location == NVML_MEMORY_LOCATION_SRAM;
    return location != NVML_MEMORY_LOCATION_SRAM;
}

nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, nvmlMemoryErrorType_t errorType,
                                             nvmlEccCounterType_t counterType,
                                             nvmlMemoryLocation_t locationType,
                                             unsigned long long *count)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r == NVML_SUCCESS)
        r = check_ecc(&v, errorType, counterType, count);
    if (r != NVML_SUCCESS)
        return r;
    if (locationType > NVML_MEMORY_LOCATION_SRAM)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!has_location(&v, locationType))
        return NVML_ERROR_NOT_SUPPORTED;
    *count = locationType == NVML_MEMORY_LOCATION_DRAM
                 ? atomic_load(&v.now->ecc_errors[errorType][counterType])
                 : 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceClearEccErrorCounts(nvmlDevice_t device, nvmlEccCounterType_t counterType)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r == NVML_SUCCESS)
        r = check_ecc(&v, NVML_MEMORY_ERROR_TYPE_CORRECTED, counterType, &v);
    if (r != NVML_SUCCESS)
        return r;
    atomic_store(&v.now->ecc_errors[0][counterType], 0);
    atomic_store(&v.now->ecc_errors[1][counterType], 0);
    return NVML_SUCCESS;
}

/* Pages are retired up to Turing; from Ampere's data-centre GPUs on, rows are remapped instead. */
static nvmlReturn_t no_pages(const char *call, nvmlDevice_t device, nvmlPageRetirementCause_t cause,
                             unsigned *count)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(call, device, &v);

    if (r)
        return r;
    if (!count || cause > NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (v.model->row_remapping || !v.model->ecc)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, nvmlPageRetirementCause_t cause,
                                       unsigned int *pageCount, unsigned long long *addresses)
{
    return no_pages(__func__, device, cause, pageCount);
}

nvmlReturn_t nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, nvmlPageRetirementCause_t cause,
                                          unsigned int *pageCount, unsigned long long *addresses,
                                          unsigned long long *timestamps)
{
    return no_pages(__func__, device, cause, pageCount);
}

nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device,
                                                    nvmlEnableState_t *isPending)
{
    unsigned count;
    nvmlReturn_t r = no_pages(__func__, device, NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
                              isPending ? &count : NULL);

    if (r == NVML_SUCCESS)
        *isPending = NVML_FEATURE_DISABLED;
    return r;
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrRows,
                                       unsigned int *uncRows, unsigned int *isPending,
                                       unsigned int *failureOccurred)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!corrRows || !uncRows || !isPending || !failureOccurred)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!v.model->row_remapping)
        return NVML_ERROR_NOT_SUPPORTED;
    *corrRows = *uncRows = *isPending = *failureOccurred = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device,
                                               nvmlRowRemapperHistogramValues_t *values)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!values)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!v.model->row_remapping)
        return NVML_ERROR_NOT_SUPPORTED;
    *values = (nvmlRowRemapperHistogramValues_t){.max = 640};
    return NVML_SUCCESS;
}
