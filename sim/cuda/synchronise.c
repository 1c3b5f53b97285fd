// SPDX-License-Identifier: Apache-2.0

/* Calls that wait for work. Afterwards pools give back what they need not keep. */

#include "cuda/event.h"
#include "cuda/pool.h"
#include "cuda/stream.h"

CUresult sim_cuCtxSynchronize_v2(CUcontext context)
{
    CUresult r = context_given_or_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (stream_is_captured_in(context, NULL))
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    stream_wait_context(context);
    pool_synchronised(context->device);
    return CUDA_SUCCESS;
}

CUresult sim_cuCtxSynchronize(void)
{
    return sim_cuCtxSynchronize_v2(NULL);
}

CUresult sim_cuStreamSynchronize(CUstream handle)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (stream->capture)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    stream_drain(stream);
    pool_synchronised(stream->context->device);
    return CUDA_SUCCESS;
}

CUresult sim_cuEventSynchronize(CUevent event)
{
    struct stream_place place;
    CUresult r = event_place(event, &place);

    if (r != CUDA_SUCCESS)
        return r;
    event_wait_for_others(event);
    if (!place.stream)
        return CUDA_SUCCESS;
    stream_wait(&place);
    pool_synchronised(place.stream->context->device);
    stream_place_forget(&place);
    return CUDA_SUCCESS;
}
