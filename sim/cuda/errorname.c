// SPDX-License-Identifier: Apache-2.0

/* Results as text. */

#include "base/array.h"
#include "cuda/cuda.h"

static const struct {
    CUresult code;
    const char *name, *sentence;
} words[] = {
#define WORD(code, sentence)  \
    {                         \
        code, #code, sentence \
    }
    WORD(CUDA_SUCCESS, "no error"),
    WORD(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    WORD(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    WORD(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    WORD(CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
    WORD(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    WORD(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    WORD(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    WORD(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    WORD(CUDA_ERROR_MAP_FAILED, "mapping of buffer object failed"),
    WORD(CUDA_ERROR_UNMAP_FAILED, "unmapping of buffer object failed"),
    WORD(CUDA_ERROR_ALREADY_MAPPED, "resource already mapped"),
    WORD(CUDA_ERROR_NOT_MAPPED, "resource not mapped"),
    WORD(CUDA_ERROR_FILE_NOT_FOUND, "file not found"),
    WORD(CUDA_ERROR_OPERATING_SYSTEM, "OS call failed or operation not supported on this OS"),
    WORD(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    WORD(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
    WORD(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    WORD(CUDA_ERROR_NOT_READY, "device not ready"),
    WORD(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    WORD(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    WORD(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "peer access is already enabled"),
    WORD(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access has not been enabled"),
    WORD(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "cannot set while device is active in this process"),
    WORD(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    WORD(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
         "part or all of the requested memory range is already mapped"),
    WORD(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
         "pointer does not correspond to a registered memory region"),
    WORD(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    WORD(CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
    WORD(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    WORD(CUDA_ERROR_SYSTEM_NOT_READY, "system not yet initialized"),
    WORD(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    WORD(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
         "operation failed due to a previous error during capture"),
    WORD(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not initiated in this stream"),
    WORD(CUDA_ERROR_CAPTURED_EVENT,
         "operation not permitted on an event last recorded in a capturing stream"),
    WORD(CUDA_ERROR_UNKNOWN, "unknown error"),
};

static CUresult give(CUresult error, const char **ret_text, bool wants_name)
{
    if (!ret_text)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_text = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (words[i].code == error)
            *ret_text = wants_name ? words[i].name : words[i].sentence;
    return *ret_text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuGetErrorName(CUresult error, const char **text)
{
    return give(error, text, true);
}

CUresult sim_cuGetErrorString(CUresult error, const char **text)
{
    return give(error, text, false);
}
