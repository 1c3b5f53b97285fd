// SPDX-License-Identifier: Apache-2.0
#include "cuda/context.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "cuda/address.h"

enum { STACK_MAX = 64 };

/* What each context costs, beside what the program allocates, by its GPU's architecture. Measured
 * by NVML on an H200 under driver 580: 518 MiB for the first, and as much for each further one of
 * the same process. Others are nominal. */
static const unsigned overhead_mib[] = {
    [GPU_ARCHITECTURE_VOLTA] = 306,  [GPU_ARCHITECTURE_TURING] = 104,
    [GPU_ARCHITECTURE_AMPERE] = 414, [GPU_ARCHITECTURE_ADA] = 364,
    [GPU_ARCHITECTURE_HOPPER] = 518, [GPU_ARCHITECTURE_BLACKWELL] = 540,
};
enum { OVERHEAD_UNKNOWN_MIB = 300 };

/* Of a new context, on an H200 under driver 580. */
static const size_t first_limits[CONTEXT_LIMITS] = {
    [CU_LIMIT_STACK_SIZE] = 1024,
    [CU_LIMIT_PRINTF_FIFO_SIZE] = 8650752,
    [CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20,
};

static CUcontext contexts; /* all that ever were: a handle of a destroyed one is still recognised */
static uint64_t last_id;
static _Thread_local struct {
    CUcontext items[STACK_MAX];
    unsigned n;
} stack;

static uint64_t overhead(const struct cuda_device *device)
{
    uint32_t architecture = device->gpu->model.architecture;
    uint64_t mib = architecture < ARRAY_SIZE(overhead_mib) ? overhead_mib[architecture] : 0;

    return (mib ? mib : OVERHEAD_UNKNOWN_MIB) << 20;
}

static bool is_known(CUcontext context)
{
    for (CUcontext c = contexts; c; c = c->next)
        if (c == context)
            return true;
    return false;
}

/* NULL or a context that lives. */
static CUresult check(CUcontext context)
{
    if (!is_known(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    return context->is_alive ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

/* May it be made current? A primary context that was reset may: it lives again when it is retained.
 */
static bool is_usable(CUcontext context)
{
    return is_known(context) && (context->is_alive || context->is_primary);
}

CUresult context_current(CUcontext *ret_context)
{
    CUcontext top = stack.n > 0 ? stack.items[stack.n - 1] : NULL;

    if (!top)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!top->is_alive)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    *ret_context = top;
    return CUDA_SUCCESS;
}

static CUresult push(CUcontext context)
{
    if (stack.n == STACK_MAX)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stack.items[stack.n++] = context;
    return CUDA_SUCCESS;
}

static CUresult start(CUcontext context)
{
    struct cuda_device *device = context->device;
    CUresult r = cuda_charge(device, overhead(device));

    if (r != CUDA_SUCCESS)
        return r;
    context->is_alive = true;
    context->id = ++last_id;
    context->engine = (struct engine){.device = device, .number = context->id};
    memcpy(context->limits, first_limits, sizeof(first_limits));
    context->heap = (struct arena){.device = device, .unit = 512, .chunk_bytes = CUDA_GRANULE};
    return CUDA_SUCCESS;
}

static void end(CUcontext context)
{
    if (context->end_streams)
        context->end_streams(context);
    if (context->end_modules)
        context->end_modules(context);
    engine_end(&context->engine);
    address_end_context(context);
    arena_deinit(&context->heap);
    context->is_alive = false;
    cuda_refund(context->device, overhead(context->device));
}

static CUcontext new_context(struct cuda_device *device, unsigned flags)
{
    CUcontext context = calloc(1, sizeof(*context));

    if (!context)
        return NULL;
    *context = (struct CUctx_st){.device = device, .flags = flags, .next = contexts};
    contexts = context;
    return context;
}

/* It never was. */
static void forget(CUcontext context)
{
    contexts = context->next;
    free(context);
}

static CUcontext primary_of(struct cuda_device *device)
{
    if (!device->primary && (device->primary = new_context(device, 0)))
        device->primary->is_primary = true;
    return device->primary;
}

CUresult sim_cuDevicePrimaryCtxRetain(CUcontext *ret_context, CUdevice ordinal)
{
    struct cuda_device *device = cuda_device(ordinal);
    CUcontext context = device ? primary_of(device) : NULL;
    CUresult r = CUDA_SUCCESS;

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!ret_context)
        return CUDA_ERROR_INVALID_VALUE;
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!context->is_alive)
        r = start(context);
    if (r != CUDA_SUCCESS)
        return r;
    context->n_retained++;
    *ret_context = context;
    return CUDA_SUCCESS;
}

CUresult sim_cuDevicePrimaryCtxRelease_v2(CUdevice ordinal)
{
    struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!device->primary || device->primary->n_retained == 0)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (--device->primary->n_retained == 0 && device->primary->is_alive)
        end(device->primary);
    return CUDA_SUCCESS;
}

/* It has to be retained again. */
CUresult sim_cuDevicePrimaryCtxReset_v2(CUdevice ordinal)
{
    struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (device->primary && device->primary->is_alive) {
        end(device->primary);
        device->primary->n_retained = 0;
    }
    return CUDA_SUCCESS;
}

CUresult sim_cuDevicePrimaryCtxSetFlags_v2(CUdevice ordinal, unsigned flags)
{
    struct cuda_device *device = cuda_device(ordinal);
    CUcontext context = device ? primary_of(device) : NULL;

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    context->flags = flags;
    return CUDA_SUCCESS;
}

CUresult sim_cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned *flags, int *active)
{
    struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!flags || !active)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = device->primary ? device->primary->flags : 0;
    *active = device->primary && device->primary->is_alive;
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxCreate_v2(CUcontext *ret_context, unsigned flags, CUdevice ordinal)
{
    struct cuda_device *device = cuda_device(ordinal);
    CUcontext context;
    CUresult r;

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!ret_context)
        return CUDA_ERROR_INVALID_VALUE;
    context = stack.n < STACK_MAX ? new_context(device, flags) : NULL;
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    r = start(context);
    if (r != CUDA_SUCCESS) {
        forget(context);
        return r;
    }
    *ret_context = context;
    return push(context);
}

/* Affinity to multiprocessors belongs to MPS, and none of it is acted out. */
CUresult sim_cuCtxCreate_v3(CUcontext *ret_context, CUexecAffinityParam *affinity, int n_affinity,
                            unsigned flags, CUdevice ordinal)
{
    return n_affinity ? CUDA_ERROR_NOT_SUPPORTED : sim_cuCtxCreate_v2(ret_context, flags, ordinal);
}

CUresult sim_cuCtxCreate_v4(CUcontext *ret_context, CUctxCreateParams *parameters, unsigned flags,
                            CUdevice ordinal)
{
    if (parameters && (parameters->numExecAffinityParams || parameters->cigParams))
        return CUDA_ERROR_NOT_SUPPORTED;
    return sim_cuCtxCreate_v2(ret_context, flags, ordinal);
}

CUresult sim_cuCtxDestroy_v2(CUcontext context)
{
    CUresult r = check(context);

    if (r != CUDA_SUCCESS)
        return r;
    if (context->is_primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (stack.n > 0 && stack.items[stack.n - 1] == context)
        stack.n--;
    end(context);
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxPushCurrent_v2(CUcontext context)
{
    return is_usable(context) ? push(context) : check(context);
}

CUresult sim_cuCtxPopCurrent_v2(CUcontext *ret_context)
{
    if (stack.n == 0)
        return CUDA_ERROR_INVALID_CONTEXT;
    stack.n--;
    if (ret_context)
        *ret_context = stack.items[stack.n];
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxSetCurrent(CUcontext context)
{
    if (context && !is_usable(context))
        return check(context);
    if (stack.n > 0)
        stack.n--;
    return context ? push(context) : CUDA_SUCCESS;
}

CUresult sim_cuCtxGetCurrent(CUcontext *ret_context)
{
    if (!ret_context)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_context = stack.n > 0 ? stack.items[stack.n - 1] : NULL;
    return CUDA_SUCCESS;
}

CUresult context_given_or_current(CUcontext *context)
{
    return *context ? check(*context) : context_current(context);
}

CUresult sim_cuCtxGetDevice_v2(CUdevice *ret_ordinal, CUcontext context)
{
    CUresult r = context_given_or_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!ret_ordinal)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_ordinal = context->device->ordinal;
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetDevice(CUdevice *ret_ordinal)
{
    return sim_cuCtxGetDevice_v2(ret_ordinal, NULL);
}

CUresult sim_cuCtxGetFlags(unsigned *flags)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = context->flags;
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetId(CUcontext context, unsigned long long *id)
{
    CUresult r = context_given_or_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!id)
        return CUDA_ERROR_INVALID_VALUE;
    *id = context->id;
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetApiVersion(CUcontext context, unsigned *version)
{
    CUresult r = context_given_or_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = 3020;
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r == CUDA_SUCCESS && least)
        *least = 0;
    if (r == CUDA_SUCCESS && greatest)
        *greatest = CONTEXT_HIGHEST;
    return r;
}

/* What a limit costs is not acted out: it is kept, and told again. */
CUresult sim_cuCtxSetLimit(CUlimit limit, size_t value)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if ((unsigned)limit >= ARRAY_SIZE(context->limits))
        return CUDA_ERROR_INVALID_VALUE;
    context->limits[limit] = value;
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetLimit(size_t *value, CUlimit limit)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!value || (unsigned)limit >= ARRAY_SIZE(context->limits))
        return CUDA_ERROR_INVALID_VALUE;
    *value = context->limits[limit];
    return CUDA_SUCCESS;
}
