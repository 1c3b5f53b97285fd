// SPDX-License-Identifier: Apache-2.0
#include "cudart/runtime.h"

#include <dlfcn.h>
#include <pthread.h>

/* Each is asked for by the version in which its name came to mean the function that is declared. */
enum {
#define CUDA_CALL(name, asked, since, variant, arguments, values)        SINCE_##name = (since),
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) SINCE_##name = (since),
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
};

struct runtime_driver runtime_driver;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CUresult outcome = CUDA_ERROR_NO_DEVICE;
static _Thread_local CUresult last;
static _Thread_local CUdevice device;

static bool find(__typeof__(cuGetProcAddress_v2) *get, int version, const char *name, void **to)
{
    CUdriverProcAddressQueryResult status;

    return get(name, to, version, CU_GET_PROC_ADDRESS_DEFAULT, &status) == CUDA_SUCCESS && *to;
}

/* A driver of an earlier CUDA lacks some: the outcome says so. */
static void find_driver(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    __typeof__(cuGetProcAddress_v2) *get = NULL;

    if (library)
        get = (__typeof__(get))dlsym(library, "cuGetProcAddress_v2");
    if (!get)
        return;
    outcome = CUDA_ERROR_NOT_FOUND;
#define CALL(asked, name)                                                 \
    if (!find(get, SINCE_##name, #asked, (void **)&runtime_driver.asked)) \
        return;
    RUNTIME_CALLS(CALL)
#undef CALL
    outcome = runtime_driver.cuInit(0);
}

CUresult runtime_start(void)
{
    pthread_once(&once, find_driver);
    return outcome;
}

CUresult runtime_enter(void)
{
    CUcontext context = NULL;
    CUresult r = runtime_start();

    if (r == CUDA_SUCCESS)
        r = runtime_driver.cuCtxGetCurrent(&context);
    if (r != CUDA_SUCCESS || context)
        return r;
    return runtime_set_device(device);
}

CUdevice runtime_device(void)
{
    return device;
}

/* Retained once for each thread that comes: it lives as long as the process. */
CUresult runtime_set_device(CUdevice number)
{
    CUcontext context;
    CUresult r = runtime_start();

    if (r == CUDA_SUCCESS)
        r = runtime_driver.cuDevicePrimaryCtxRetain(&context, number);
    if (r == CUDA_SUCCESS)
        r = runtime_driver.cuCtxSetCurrent(context);
    if (r == CUDA_SUCCESS)
        device = number;
    return r;
}

CUresult runtime_leave(CUresult result)
{
    if (result != CUDA_SUCCESS)
        last = result;
    return result;
}

CUresult runtime_last(bool forget)
{
    CUresult result = last;

    if (forget)
        last = CUDA_SUCCESS;
    return result;
}
