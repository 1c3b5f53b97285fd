// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static CUfunction functions;

static bool is_function(CUfunction function)
{
    for (CUfunction f = functions; f; f = f->next)
        if (f == function)
            return true;
    return false;
}

CUresult kernel_find(CUmodule module, const char *name, CUresult (*place)(CUmodule module),
                     CUfunction *ret_function)
{
    CUfunction function;

    for (function = functions; function; function = function->next)
        if (function->module == module && strcmp(function->name, name) == 0)
            break;
    if (!function) {
        function = calloc(1, sizeof(*function));
        if (!function)
            return CUDA_ERROR_OUT_OF_MEMORY;
        snprintf(function->name, sizeof(function->name), "%s", name);
        function->module = module;
        function->place = place;
        function->next = functions;
        functions = function;
    }
    *ret_function = function;
    return CUDA_SUCCESS;
}

void kernel_end_module(CUmodule module)
{
    for (CUfunction *link = &functions; *link;) {
        CUfunction function = *link;

        if (function->module != module) {
            link = &function->next;
            continue;
        }
        *link = function->next;
        free(function);
    }
}

static uint64_t duration_ns(CUfunction function, void **parameters)
{
    const char *fixed = getenv("GPUSLICE_SIM_KERNEL_US");
    unsigned us = 0;

    if (strcmp(function->name, "spin_us") == 0 && parameters && parameters[0])
        memcpy(&us, parameters[0], sizeof(us));
    else if (fixed)
        us = (unsigned)strtoul(fixed, NULL, 10);
    return us * UINT64_C(1000);
}

CUresult kernel_work(CUfunction function, void **parameters, struct work *ret_work)
{
    CUresult r =
        is_function(function) ? function->place(function->module) : CUDA_ERROR_INVALID_HANDLE;

    if (r != CUDA_SUCCESS)
        return r;
    *ret_work = stream_work(CU_GRAPH_NODE_TYPE_KERNEL, NULL, NULL, 0);
    ret_work->duration_ns = duration_ns(function, parameters);
    return CUDA_SUCCESS;
}

static CUresult launch(CUfunction function, const unsigned dimensions[6], CUstream handle,
                       void **parameters)
{
    const uint64_t threads = (uint64_t)dimensions[3] * dimensions[4] * dimensions[5];
    struct work work;
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r == CUDA_SUCCESS)
        r = kernel_work(function, parameters, &work);
    if (r != CUDA_SUCCESS)
        return r;
    for (unsigned i = 0; i < 6; i++)
        if (dimensions[i] == 0)
            return CUDA_ERROR_INVALID_VALUE;
    return threads <= 1024 ? stream_do(stream, &work, NULL) : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                            unsigned block_x, unsigned block_y, unsigned block_z,
                            unsigned shared_bytes, CUstream stream, void **parameters, void **extra)
{
    const unsigned dimensions[] = {grid_x, grid_y, grid_z, block_x, block_y, block_z};

    return launch(function, dimensions, stream, parameters);
}

CUresult sim_cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                       unsigned grid_z, unsigned block_x, unsigned block_y,
                                       unsigned block_z, unsigned shared_bytes, CUstream stream,
                                       void **parameters)
{
    const unsigned dimensions[] = {grid_x, grid_y, grid_z, block_x, block_y, block_z};

    return launch(function, dimensions, stream, parameters);
}

CUresult sim_cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction function, void **parameters,
                              void **extra)
{
    if (!c)
        return CUDA_ERROR_INVALID_VALUE;
    return launch(function,
                  (unsigned[]){c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->blockDimY,
                               c->blockDimZ},
                  c->hStream, parameters);
}

CUresult sim_cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
    if (!is_function(function))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
             : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 32
                                                                  : 0;
    return CUDA_SUCCESS;
}

CUresult sim_cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value)
{
    return is_function(function) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult sim_cuFuncGetModule(CUmodule *to, CUfunction function)
{
    if (!is_function(function))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    *to = function->module;
    return CUDA_SUCCESS;
}

CUresult sim_cuFuncGetName(const char **to, CUfunction function)
{
    if (!is_function(function))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    *to = function->name;
    return CUDA_SUCCESS;
}

CUresult sim_cuFuncLoad(CUfunction function)
{
    return is_function(function) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
