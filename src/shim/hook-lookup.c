// SPDX-License-Identifier: Apache-2.0

/* cuGetProcAddress: the driver's own choice for name, version and flags, then our hook of that. */

#include "shim/hook.h"
#include "shim/lookup.h"

CUresult cuGetProcAddress(const char *symbol, void **pfn, int cudaVersion, uint64_t flags)
{
    const struct cuda_functions *driver;
    CUresult r;

    HOOK_DRIVER(driver, cuGetProcAddress);
    r = driver->cuGetProcAddress(symbol, pfn, cudaVersion, flags);
    if (r == CUDA_SUCCESS)
        *pfn = lookup_hook(symbol, *pfn);
    return r;
}

#define SECOND_VERSION(name)                                                         \
    CUresult name(const char *symbol, void **pfn, int driverVersion, uint64_t flags, \
                  CUdriverProcAddressQueryResult *symbolFound)                       \
    {                                                                                \
        const struct cuda_functions *driver;                                         \
        CUresult r;                                                                  \
                                                                                     \
        HOOK_DRIVER(driver, name);                                                   \
        r = driver->name(symbol, pfn, driverVersion, flags, symbolFound);            \
        if (r == CUDA_SUCCESS)                                                       \
            *pfn = lookup_hook(symbol, *pfn);                                        \
        return r;                                                                    \
    }

SECOND_VERSION(cuGetProcAddress_v2)
SECOND_VERSION(cuGetProcAddress_v2_ptsz)
