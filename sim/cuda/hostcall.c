// SPDX-License-Identifier: Apache-2.0
#include "cuda/hostcall.h"

#include <string.h>

struct call {
    CUhostFn function;
    void *data;
};

static void call_function(const void *arguments)
{
    struct call call;

    memcpy(&call, arguments, sizeof(call));
    call.function(call.data);
}

struct work hostcall_work(CUhostFn function, void *data)
{
    const struct call call = {function, data};
    struct work work = stream_work(CU_GRAPH_NODE_TYPE_HOST, call_function, &call, sizeof(call));

    work.is_call = true;
    return work;
}

CUresult sim_cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data)
{
    const struct work work = hostcall_work(function, data);
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    return function ? stream_do(stream, &work, NULL) : CUDA_ERROR_INVALID_VALUE;
}

struct callback {
    CUstreamCallback function;
    CUstream stream;
    void *data;
};

static void call_back(const void *arguments)
{
    struct callback call;

    memcpy(&call, arguments, sizeof(call));
    call.function(call.stream, CUDA_SUCCESS, call.data);
}

CUresult sim_cuStreamAddCallback(CUstream handle, CUstreamCallback function, void *data,
                                 unsigned flags)
{
    const struct callback call = {function, handle, data};
    struct work work = stream_work(CU_GRAPH_NODE_TYPE_HOST, call_back, &call, sizeof(call));
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (!function || flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (stream->capture)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    work.is_call = true;
    return stream_do(stream, &work, NULL);
}
