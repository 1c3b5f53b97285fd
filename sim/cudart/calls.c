// SPDX-License-Identifier: Apache-2.0

/* The runtime's functions; those that launch kernels are in kernels.c. */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cudart/runtime.h"

#define cu     runtime_driver
#define EXPORT __attribute__((visibility("default")))

static CUresult give_device(int *number)
{
    CUcontext context = NULL;
    CUresult r = number ? cu.cuCtxGetCurrent(&context) : CUDA_ERROR_INVALID_VALUE;

    if (r != CUDA_SUCCESS)
        return r;
    if (context)
        return cu.cuCtxGetDevice(number);
    *number = runtime_device();
    return CUDA_SUCCESS;
}

/* Of no bytes there is no memory, and no error. */
static CUresult allocate(void **memory, size_t size)
{
    if (!memory)
        return CUDA_ERROR_INVALID_VALUE;
    if (size > 0)
        return cu.cuMemAlloc((CUdeviceptr *)memory, size);
    *memory = NULL;
    return CUDA_SUCCESS;
}

static CUresult copy(void *to, const void *from, size_t size, enum cudart_copy kind)
{
    if (kind == CUDART_HOST_TO_HOST) {
        memmove(to, from, size);
        return CUDA_SUCCESS;
    }
    if (kind == CUDART_HOST_TO_DEVICE)
        return cu.cuMemcpyHtoD((uintptr_t)to, from, size);
    if (kind == CUDART_DEVICE_TO_HOST)
        return cu.cuMemcpyDtoH(to, (uintptr_t)from, size);
    return cu.cuMemcpy((uintptr_t)to, (uintptr_t)from, size);
}

static CUresult copy_async(void *to, const void *from, size_t size, enum cudart_copy kind,
                           CUstream stream)
{
    if (kind == CUDART_HOST_TO_DEVICE)
        return cu.cuMemcpyHtoDAsync((uintptr_t)to, from, size, stream);
    if (kind == CUDART_DEVICE_TO_HOST)
        return cu.cuMemcpyDtoHAsync(to, (uintptr_t)from, size, stream);
    return cu.cuMemcpyAsync((uintptr_t)to, (uintptr_t)from, size, stream);
}

/* What CUDA does not know is memory of the host, and no error. */
static CUresult describe_pointer(struct cudart_pointer *pointer, const void *memory)
{
    const CUdeviceptr address = (uintptr_t)memory;
    CUmemorytype kind;
    unsigned is_managed = 0;

    if (!pointer)
        return CUDA_ERROR_INVALID_VALUE;
    *pointer = (struct cudart_pointer){.device = -2, .host_pointer = (void *)(uintptr_t)address};
    if (cu.cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address) != CUDA_SUCCESS)
        return CUDA_SUCCESS;
    (void)cu.cuPointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, address);
    (void)cu.cuPointerGetAttribute(&pointer->device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address);
    pointer->type = is_managed ? 3 : (int)kind;
    pointer->device_pointer = (void *)(uintptr_t)address;
    if (pointer->type == 2)
        pointer->host_pointer = NULL;
    return CUDA_SUCCESS;
}

static const struct {
    size_t place;
    CUdevice_attribute attribute;
} facts_of_device[] = {
#define FACT(field, name)                                                 \
    {                                                                     \
        offsetof(struct cudart_device, field), CU_DEVICE_ATTRIBUTE_##name \
    }
    FACT(registers_per_block, MAX_REGISTERS_PER_BLOCK),
    FACT(warp_size, WARP_SIZE),
    FACT(max_threads_per_block, MAX_THREADS_PER_BLOCK),
    FACT(max_block[0], MAX_BLOCK_DIM_X),
    FACT(max_block[1], MAX_BLOCK_DIM_Y),
    FACT(max_block[2], MAX_BLOCK_DIM_Z),
    FACT(max_grid[0], MAX_GRID_DIM_X),
    FACT(max_grid[1], MAX_GRID_DIM_Y),
    FACT(max_grid[2], MAX_GRID_DIM_Z),
    FACT(major, COMPUTE_CAPABILITY_MAJOR),
    FACT(minor, COMPUTE_CAPABILITY_MINOR),
    FACT(multiprocessors, MULTIPROCESSOR_COUNT),
    FACT(can_map_host, CAN_MAP_HOST_MEMORY),
    FACT(concurrent_kernels, CONCURRENT_KERNELS),
    FACT(ecc, ECC_ENABLED),
    FACT(pci_bus, PCI_BUS_ID),
    FACT(pci_device, PCI_DEVICE_ID),
    FACT(pci_domain, PCI_DOMAIN_ID),
    FACT(copy_engines, ASYNC_ENGINE_COUNT),
    FACT(unified_addressing, UNIFIED_ADDRESSING),
    FACT(bus_bits, GLOBAL_MEMORY_BUS_WIDTH),
    FACT(threads_per_multiprocessor, MAX_THREADS_PER_MULTIPROCESSOR),
    FACT(stream_priorities, STREAM_PRIORITIES_SUPPORTED),
    FACT(registers_per_multiprocessor, MAX_REGISTERS_PER_BLOCK),
    FACT(managed, MANAGED_MEMORY),
    FACT(concurrent_managed, CONCURRENT_MANAGED_ACCESS),
    FACT(preemption, COMPUTE_PREEMPTION_SUPPORTED),
    FACT(cooperative, COOPERATIVE_LAUNCH),
};

static CUresult describe_device(struct cudart_device *facts, int number)
{
    int shared = 0;
    CUresult r;

    if (!facts)
        return CUDA_ERROR_INVALID_VALUE;
    memset(facts, 0, sizeof(*facts));
    r = cu.cuDeviceGetName(facts->name, sizeof(facts->name), number);
    if (r == CUDA_SUCCESS)
        r = cu.cuDeviceGetUuid(&facts->uuid, number);
    if (r == CUDA_SUCCESS)
        r = cu.cuDeviceTotalMem(&facts->total_bytes, number);
    for (size_t i = 0; r == CUDA_SUCCESS && i < sizeof(facts_of_device) / sizeof(*facts_of_device);
         i++)
        r = cu.cuDeviceGetAttribute((int *)(void *)((char *)facts + facts_of_device[i].place),
                                    facts_of_device[i].attribute, number);
    if (r == CUDA_SUCCESS)
        r = cu.cuDeviceGetAttribute(&shared, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK,
                                    number);
    facts->shared_per_block = facts->shared_per_block_optin = facts->shared_per_multiprocessor =
        (size_t)shared;
    return r;
}

#define CUDART(name, arguments, value) \
    EXPORT CUresult name arguments;    \
    CUresult name arguments            \
    {                                  \
        CUresult r = runtime_enter();  \
                                       \
        if (r == CUDA_SUCCESS)         \
            r = value;                 \
        return runtime_leave(r);       \
    }
#define CUDART_START(name, arguments, value) \
    EXPORT CUresult name arguments;          \
    CUresult name arguments                  \
    {                                        \
        CUresult r = runtime_start();        \
                                             \
        if (r == CUDA_SUCCESS)               \
            r = value;                       \
        return runtime_leave(r);             \
    }
#include "cudart/calls.def"

EXPORT CUresult cudaRuntimeGetVersion(int *version);
CUresult cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return CUDA_SUCCESS;
}

/* Also without a driver. */
static const char *text_of(CUresult result, __typeof__(cuGetErrorName) *give, const char *otherwise)
{
    const char *text = NULL;

    if (give && give(result, &text) == CUDA_SUCCESS && text)
        return text;
    return result == CUDA_SUCCESS           ? "no error"
           : result == CUDA_ERROR_NO_DEVICE ? "no CUDA-capable device is detected"
                                            : otherwise;
}

EXPORT const char *cudaGetErrorName(CUresult result);
const char *cudaGetErrorName(CUresult result)
{
    return text_of(result, cu.cuGetErrorName, "cudaErrorUnknown");
}

EXPORT const char *cudaGetErrorString(CUresult result);
const char *cudaGetErrorString(CUresult result)
{
    return text_of(result, cu.cuGetErrorString, "unrecognized error code");
}

EXPORT CUresult cudaGetLastError(void);
CUresult cudaGetLastError(void)
{
    return runtime_last(true);
}

EXPORT CUresult cudaPeekAtLastError(void);
CUresult cudaPeekAtLastError(void)
{
    return runtime_last(false);
}

/* Nobody profiles, and a pool is its device's alone. */
#define NOTHING(name)           \
    EXPORT CUresult name(void); \
    CUresult name(void)         \
    {                           \
        return CUDA_SUCCESS;    \
    }
NOTHING(cudaProfilerStart)
NOTHING(cudaProfilerStop)
NOTHING(cudaMemPoolSetAccess)

/* As the simulated driver does, said once for each. */
#define ABSENT(name)                                                                               \
    EXPORT CUresult name(void);                                                                    \
    CUresult name(void)                                                                            \
    {                                                                                              \
        static atomic_flag is_said = ATOMIC_FLAG_INIT;                                             \
                                                                                                   \
        if (!atomic_flag_test_and_set(&is_said))                                                   \
            fputs("gpuslice-sim: " #name " is not acted out, and returns cudaErrorNotSupported\n", \
                  stderr);                                                                         \
        return runtime_leave(CUDA_ERROR_NOT_SUPPORTED);                                            \
    }
#include "cudart/absent.def"
