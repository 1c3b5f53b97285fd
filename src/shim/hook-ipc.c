// SPDX-License-Identifier: Apache-2.0

/*
 * Memory and events of another process, by handles: the kernels of both processes may wait for
 * each other (handles.h). What is opened is charged to the process that allocated it.
 *
 * Handles of physical memory and pools are bytes that both sides have, or descriptors, which are
 * marked (filemark.h): only where time is shared, since that takes system calls. The data of
 * cuMemPoolExportPointer only means something to who has opened the pool by such a handle.
 */

#include <errno.h>

#include "shim/gate.h"
#include "shim/handles.h"
#include "shim/hook.h"
#include "shim/lanes.h"

/* Who launches nothing has no page of claims yet, and has to say so all the same. */
static void ask_for_page(void)
{
    if (gate_is_shared() && !lanes_are_on())
        (void)lanes_start();
}

static void note_handle(const struct cuda_functions *driver, enum exchange_side side,
                        enum exchange_kind kind, const void *handle)
{
    handles_note(driver, side, kind, handle);
    ask_for_page();
}

void hook_note_shareable(const struct cuda_functions *driver, enum exchange_side side,
                         CUmemAllocationHandleType type, const void *handle)
{
    const int error = errno;

    if (type == CU_MEM_HANDLE_TYPE_FABRIC) {
        note_handle(driver, side, EXCHANGE_FABRIC, handle);
    } else if (type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR && gate_is_shared()) {
        handles_note_descriptor(
            driver, side, side == EXCHANGE_GAVE ? *(const int *)handle : (int)(intptr_t)handle);
        ask_for_page();
    }
    errno = error;
}

#define NOTED(side, kind, handle, call)              \
    do {                                             \
        const CUresult r = driver->call;             \
                                                     \
        if (r == CUDA_SUCCESS)                       \
            note_handle(driver, side, kind, handle); \
        return r;                                    \
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

CUresult cuIpcCloseMemHandle(CUdeviceptr dptr)
{
    HOOK_END(cuIpcCloseMemHandle, (dptr));
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
    if (r == CUDA_SUCCESS)
        hook_note_shareable(driver, EXCHANGE_GAVE, handleType, shareableHandle);
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
    if (r == CUDA_SUCCESS)
        hook_note_shareable(driver, EXCHANGE_GAVE, handleType, handle_out);
    return r;
}
