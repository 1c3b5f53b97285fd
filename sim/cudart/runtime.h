// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A libcudart.so.13 on top of the CUDA driver's API, for programs that are linked with the shared
 * runtime library, such as PyTorch. NVIDIA's own does not start on a driver that is not NVIDIA's
 * (doc/design/0025).
 *
 * It finds the driver as NVIDIA's does, by dlopen and cuGetProcAddress, and uses each device's
 * primary context. Results are the driver's, by value.
 */

#include <stdbool.h>

#include "cudart/cudart-abi.h"

#define CUDA_CALL(name, asked, since, variant, arguments, values) CUresult name arguments;
#define CUDA_SAME(name, other, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME

/* The driver's functions by what is asked for; the second word is the export that has the type. */
#define RUNTIME_CALLS(CALL)                                                    \
    CALL(cuInit, cuInit)                                                       \
    CALL(cuDriverGetVersion, cuDriverGetVersion)                               \
    CALL(cuGetErrorString, cuGetErrorString)                                   \
    CALL(cuGetErrorName, cuGetErrorName)                                       \
    CALL(cuGetProcAddress, cuGetProcAddress_v2)                                \
    CALL(cuDeviceGetCount, cuDeviceGetCount)                                   \
    CALL(cuDeviceGetName, cuDeviceGetName)                                     \
    CALL(cuDeviceGetUuid, cuDeviceGetUuid_v2)                                  \
    CALL(cuDeviceTotalMem, cuDeviceTotalMem_v2)                                \
    CALL(cuDeviceGetAttribute, cuDeviceGetAttribute)                           \
    CALL(cuDeviceGetPCIBusId, cuDeviceGetPCIBusId)                             \
    CALL(cuDeviceCanAccessPeer, cuDeviceCanAccessPeer)                         \
    CALL(cuDeviceGetDefaultMemPool, cuDeviceGetDefaultMemPool)                 \
    CALL(cuDeviceGetGraphMemAttribute, cuDeviceGetGraphMemAttribute)           \
    CALL(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain)                   \
    CALL(cuCtxSetCurrent, cuCtxSetCurrent)                                     \
    CALL(cuCtxGetCurrent, cuCtxGetCurrent)                                     \
    CALL(cuCtxGetDevice, cuCtxGetDevice)                                       \
    CALL(cuCtxSynchronize, cuCtxSynchronize)                                   \
    CALL(cuCtxGetStreamPriorityRange, cuCtxGetStreamPriorityRange)             \
    CALL(cuMemGetInfo, cuMemGetInfo_v2)                                        \
    CALL(cuMemAlloc, cuMemAlloc_v2)                                            \
    CALL(cuMemAllocManaged, cuMemAllocManaged)                                 \
    CALL(cuMemAllocAsync, cuMemAllocAsync)                                     \
    CALL(cuMemFree, cuMemFree_v2)                                              \
    CALL(cuMemFreeAsync, cuMemFreeAsync)                                       \
    CALL(cuMemHostAlloc, cuMemHostAlloc)                                       \
    CALL(cuMemFreeHost, cuMemFreeHost)                                         \
    CALL(cuMemHostRegister, cuMemHostRegister_v2)                              \
    CALL(cuMemHostUnregister, cuMemHostUnregister)                             \
    CALL(cuMemPoolGetAttribute, cuMemPoolGetAttribute)                         \
    CALL(cuMemPoolSetAttribute, cuMemPoolSetAttribute)                         \
    CALL(cuMemPoolTrimTo, cuMemPoolTrimTo)                                     \
    CALL(cuPointerGetAttribute, cuPointerGetAttribute)                         \
    CALL(cuMemcpy, cuMemcpy)                                                   \
    CALL(cuMemcpyHtoD, cuMemcpyHtoD_v2)                                        \
    CALL(cuMemcpyDtoH, cuMemcpyDtoH_v2)                                        \
    CALL(cuMemcpyAsync, cuMemcpyAsync)                                         \
    CALL(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2)                              \
    CALL(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2)                              \
    CALL(cuMemsetD8, cuMemsetD8_v2)                                            \
    CALL(cuMemsetD8Async, cuMemsetD8Async)                                     \
    CALL(cuIpcGetMemHandle, cuIpcGetMemHandle)                                 \
    CALL(cuIpcOpenMemHandle, cuIpcOpenMemHandle_v2)                            \
    CALL(cuIpcCloseMemHandle, cuIpcCloseMemHandle)                             \
    CALL(cuStreamCreateWithPriority, cuStreamCreateWithPriority)               \
    CALL(cuStreamDestroy, cuStreamDestroy_v2)                                  \
    CALL(cuStreamQuery, cuStreamQuery)                                         \
    CALL(cuStreamSynchronize, cuStreamSynchronize)                             \
    CALL(cuStreamWaitEvent, cuStreamWaitEvent)                                 \
    CALL(cuStreamGetPriority, cuStreamGetPriority)                             \
    CALL(cuStreamAddCallback, cuStreamAddCallback)                             \
    CALL(cuStreamBeginCapture, cuStreamBeginCapture_v2)                        \
    CALL(cuStreamEndCapture, cuStreamEndCapture)                               \
    CALL(cuStreamIsCapturing, cuStreamIsCapturing)                             \
    CALL(cuStreamGetCaptureInfo, cuStreamGetCaptureInfo_v3)                    \
    CALL(cuThreadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode) \
    CALL(cuLaunchHostFunc, cuLaunchHostFunc)                                   \
    CALL(cuEventCreate, cuEventCreate)                                         \
    CALL(cuEventDestroy, cuEventDestroy_v2)                                    \
    CALL(cuEventRecord, cuEventRecord)                                         \
    CALL(cuEventRecordWithFlags, cuEventRecordWithFlags)                       \
    CALL(cuEventQuery, cuEventQuery)                                           \
    CALL(cuEventSynchronize, cuEventSynchronize)                               \
    CALL(cuEventElapsedTime, cuEventElapsedTime)                               \
    CALL(cuGraphDestroy, cuGraphDestroy)                                       \
    CALL(cuGraphGetNodes, cuGraphGetNodes)                                     \
    CALL(cuGraphInstantiateWithFlags, cuGraphInstantiateWithFlags)             \
    CALL(cuGraphExecDestroy, cuGraphExecDestroy)                               \
    CALL(cuGraphLaunch, cuGraphLaunch)                                         \
    CALL(cuLibraryLoadData, cuLibraryLoadData)                                 \
    CALL(cuLibraryLoadFromFile, cuLibraryLoadFromFile)                         \
    CALL(cuLibraryUnload, cuLibraryUnload)                                     \
    CALL(cuLibraryGetKernel, cuLibraryGetKernel)                               \
    CALL(cuKernelGetAttribute, cuKernelGetAttribute)                           \
    CALL(cuKernelSetAttribute, cuKernelSetAttribute)                           \
    CALL(cuLaunchKernel, cuLaunchKernel)

extern struct runtime_driver {
#define CALL(asked, name) __typeof__(name) *asked;
    RUNTIME_CALLS(CALL)
#undef CALL
} runtime_driver;

/* The driver is there and initialised. CUDA_ERROR_NO_DEVICE, or what the driver says. */
CUresult runtime_start(void);

/* And the calling thread has a context. */
CUresult runtime_enter(void);

/* The calling thread's device, and another one. */
CUdevice runtime_device(void);
CUresult runtime_set_device(CUdevice number);

/* Keeps it as the thread's last error, unless it is none, and returns it. */
CUresult runtime_leave(CUresult result);
CUresult runtime_last(bool forget);
