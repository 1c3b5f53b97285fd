// SPDX-License-Identifier: Apache-2.0

/*
 * Memory and events of another process, by handles: the kernels of both processes may wait for
 * each other (handles.h). What is opened is charged to the process that allocated it.
 *
 * Handles of physical memory and pools are noted where they are bytes that both sides have. A
 * descriptor is another one on each side, of a file that says nothing of what is behind it, and the
 * data of cuMemPoolExportPointer only means something to who has opened the pool by such a handle.
 */

#include "shim/gate.h"
#include "shim/handles.h"
#include "shim/hook.h"
#include "shim/lanes.h"

/* Who launches nothing has no page of claims yet, and has to say so all the same. */
void hook_note_handle(const struct cuda_functions *driver, enum exchange_side side,
                      enum exchange_kind kind, const void *handle)
{
    handles_note(driver, side, kind, handle);
    if (gate_is_shared() && !lanes_are_on())
        (void)lanes_start();
}

#define NOTED(side, kind, handle, call)                   \
    do {                                                  \
        const CUresult r = driver->call;                  \
                                                          \
        if (r == CUDA_SUCCESS)                            \
            hook_note_handle(driver, side, kind, handle); \
        return r;                                         \
    } while (0)

CUresult cuIpcGetMemHandle(CUipcMemHandle *pHandle, CUdeviceptr dptr)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuIpcGetMemHandle);
    NOTED(EXCHANGE_GAVE, EXCHANGE_MEMORY, pHandle, cuIpcGetMemHandle(pHandle, dptr));
}

CUresult cuIpcOpenMemHandle(CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned Flags)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuIpcOpenMemHandle);
    NOTED(EXCHANGE_OPENED, EXCHANGE_MEMORY, &handle, cuIpcOpenMemHandle(pdptr, handle, Flags));
}

CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned Flags)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuIpcOpenMemHandle_v2);
    NOTED(EXCHANGE_OPENED, EXCHANGE_MEMORY, &handle, cuIpcOpenMemHandle_v2(pdptr, handle, Flags));
}

CUresult cuIpcGetEventHandle(CUipcEventHandle *pHandle, CUevent event)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuIpcGetEventHandle);
    NOTED(EXCHANGE_GAVE, EXCHANGE_EVENT, pHandle, cuIpcGetEventHandle(pHandle, event));
}

CUresult cuIpcOpenEventHandle(CUevent *phEvent, CUipcEventHandle handle)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuIpcOpenEventHandle);
    NOTED(EXCHANGE_OPENED, EXCHANGE_EVENT, &handle, cuIpcOpenEventHandle(phEvent, handle));
}

CUresult cuMemExportToShareableHandle(void *shareableHandle, CUmemGenericAllocationHandle handle,
                                      CUmemAllocationHandleType handleType,
                                      unsigned long long flags)
{
    const struct cuda_functions *driver;
    CUresult r;

    HOOK_DRIVER(driver, cuMemExportToShareableHandle);
    r = driver->cuMemExportToShareableHandle(shareableHandle, handle, handleType, flags);
    if (r == CUDA_SUCCESS && handleType == CU_MEM_HANDLE_TYPE_FABRIC)
        hook_note_handle(driver, EXCHANGE_GAVE, EXCHANGE_FABRIC, shareableHandle);
    return r;
}

CUresult cuMemPoolExportToShareableHandle(void *handle_out, CUmemoryPool pool,
                                          CUmemAllocationHandleType handleType,
                                          unsigned long long flags)
{
    const struct cuda_functions *driver;
    CUresult r;

    HOOK_DRIVER(driver, cuMemPoolExportToShareableHandle);
    r = driver->cuMemPoolExportToShareableHandle(handle_out, pool, handleType, flags);
    if (r == CUDA_SUCCESS && handleType == CU_MEM_HANDLE_TYPE_FABRIC)
        hook_note_handle(driver, EXCHANGE_GAVE, EXCHANGE_FABRIC, handle_out);
    return r;
}
