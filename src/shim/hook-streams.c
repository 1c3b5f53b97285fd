// SPDX-License-Identifier: Apache-2.0

/*
 * Streams: which are captured and which end; calls from them into the program, where nobody may be
 * kept waiting; and calls that wait for them, which put a fence behind what was launched before.
 */

#include <stdlib.h>

#include "shim/await.h"
#include "shim/captures.h"
#include "shim/gate.h"
#include "shim/growth.h"
#include "shim/hook.h"
#include "shim/quickpass.h"

/* --- ends --- */

#define DESTRUCTION(name)                    \
    CUresult name(CUstream hStream)          \
    {                                        \
        const struct cuda_functions *driver; \
                                             \
        HOOK_DRIVER(driver, name);           \
        quickpass_claim_all();               \
        lanes_end_stream(driver, hStream);   \
        captures_end(hStream);               \
        return driver->name(hStream);        \
    }

DESTRUCTION(cuStreamDestroy)
DESTRUCTION(cuStreamDestroy_v2)

/* --- captures --- */

/* Noted before it begins: what is launched meanwhile waits for nothing, and has no fences. */
#define BEGIN_CAPTURE(name, is_per_thread, arguments, values)   \
    CUresult name arguments                                     \
    {                                                           \
        CUstream handle = lanes_handle(hStream, is_per_thread); \
        const struct cuda_functions *driver;                    \
        bool is_new;                                            \
        CUresult r;                                             \
                                                                \
        HOOK_DRIVER(driver, name);                              \
        is_new = captures_begin(handle);                        \
        lanes_settle();                                         \
        r = driver->name values;                                \
        if (r != CUDA_SUCCESS && is_new)                        \
            captures_end(handle);                               \
        return r;                                               \
    }

#define END_CAPTURE(name, is_per_thread)                                                \
    CUresult name(CUstream hStream, CUgraph *phGraph)                                   \
    {                                                                                   \
        CUstream handle = lanes_handle(hStream, is_per_thread);                         \
        const struct cuda_functions *driver;                                            \
        CUresult r;                                                                     \
                                                                                        \
        HOOK_DRIVER(driver, name);                                                      \
        r = driver->name(hStream, phGraph);                                             \
        if (r == CUDA_SUCCESS || !gate_is_shared() || captures_is_none(driver, handle)) \
            captures_end(handle);                                                       \
        return r;                                                                       \
    }

#define TO_GRAPH_ARGUMENTS                                              \
    (CUstream hStream, CUgraph hGraph, const CUgraphNode *dependencies, \
     const CUgraphEdgeData *dependencyData, size_t numDependencies, CUstreamCaptureMode mode)
#define TO_GRAPH_VALUES (hStream, hGraph, dependencies, dependencyData, numDependencies, mode)

BEGIN_CAPTURE(cuStreamBeginCapture, false, (CUstream hStream), (hStream))
BEGIN_CAPTURE(cuStreamBeginCapture_ptsz, true, (CUstream hStream), (hStream))
BEGIN_CAPTURE(cuStreamBeginCapture_v2, false, (CUstream hStream, CUstreamCaptureMode mode),
              (hStream, mode))
BEGIN_CAPTURE(cuStreamBeginCapture_v2_ptsz, true, (CUstream hStream, CUstreamCaptureMode mode),
              (hStream, mode))
BEGIN_CAPTURE(cuStreamBeginCaptureToGraph, false, TO_GRAPH_ARGUMENTS, TO_GRAPH_VALUES)
BEGIN_CAPTURE(cuStreamBeginCaptureToGraph_ptsz, true, TO_GRAPH_ARGUMENTS, TO_GRAPH_VALUES)

END_CAPTURE(cuStreamEndCapture, false)
END_CAPTURE(cuStreamEndCapture_ptsz, true)

/* --- calls from a stream --- */

struct call {
    CUhostFn function;
    CUstreamCallback callback;
    void *data;
};

/* What a graph calls stays the program's: it may be called again, and be asked for. So does all
 * where there are no turns. NULL: so here.
 */
static struct call *new_call(const struct cuda_functions *driver, CUstream stream)
{
    if (!gate_is_shared() || captures_are_there() || !captures_is_none(driver, stream))
        return NULL;
    return calloc(1, sizeof(struct call));
}

static void call_function(void *data)
{
    const struct call call = *(struct call *)data;

    free(data);
    gate_begin_call();
    call.function(call.data);
    gate_end_call();
}

static void call_back(CUstream stream, CUresult status, void *data)
{
    const struct call call = *(struct call *)data;

    free(data);
    gate_begin_call();
    call.callback(stream, status, call.data);
    gate_end_call();
}

#define HOST_FUNCTION(name, is_per_thread)                                         \
    CUresult name(CUstream hStream, CUhostFn fn, void *userData)                   \
    {                                                                              \
        const struct cuda_functions *driver;                                       \
        struct call *call;                                                         \
        CUresult r;                                                                \
                                                                                   \
        HOOK_DRIVER(driver, name);                                                 \
        call = fn ? new_call(driver, lanes_handle(hStream, is_per_thread)) : NULL; \
        if (!call)                                                                 \
            return driver->name(hStream, fn, userData);                            \
        *call = (struct call){.function = fn, .data = userData};                   \
        r = driver->name(hStream, call_function, call);                            \
        if (r != CUDA_SUCCESS)                                                     \
            free(call);                                                            \
        return r;                                                                  \
    }

HOST_FUNCTION(cuLaunchHostFunc, false)
HOST_FUNCTION(cuLaunchHostFunc_ptsz, true)

#define CALLBACK(name, is_per_thread)                                                          \
    CUresult name(CUstream hStream, CUstreamCallback callback, void *userData, unsigned flags) \
    {                                                                                          \
        const struct cuda_functions *driver;                                                   \
        struct call *call;                                                                     \
        CUresult r;                                                                            \
                                                                                               \
        HOOK_DRIVER(driver, name);                                                             \
        call = callback ? new_call(driver, lanes_handle(hStream, is_per_thread)) : NULL;       \
        if (!call)                                                                             \
            return driver->name(hStream, callback, userData, flags);                           \
        *call = (struct call){.callback = callback, .data = userData};                         \
        r = driver->name(hStream, call_back, call, flags);                                     \
        if (r != CUDA_SUCCESS)                                                                 \
            free(call);                                                                        \
        return r;                                                                              \
    }

CALLBACK(cuStreamAddCallback, false)
CALLBACK(cuStreamAddCallback_ptsz, true)

/* --- calls that wait --- */

/* Returns r. Then the driver may have given back what was freed in the order of streams. */
static CUresult waited(const struct cuda_functions *driver, CUresult r)
{
    if (r == CUDA_SUCCESS)
        growth_waited(driver);
    return r;
}

CUresult cuCtxSynchronize(void)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuCtxSynchronize);
    await_all(driver);
    return waited(driver, driver->cuCtxSynchronize());
}

CUresult cuCtxSynchronize_v2(CUcontext ctx)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuCtxSynchronize_v2);
    await_all(driver);
    return waited(driver, driver->cuCtxSynchronize_v2(ctx));
}

/* The event may be in any stream. */
CUresult cuEventSynchronize(CUevent hEvent)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuEventSynchronize);
    await_all(driver);
    return waited(driver, driver->cuEventSynchronize(hEvent));
}

/* The legacy default stream waits for others. */
#define WAIT(name, is_per_thread)                                       \
    CUresult name(CUstream hStream)                                     \
    {                                                                   \
        const struct cuda_functions *driver;                            \
        struct await wait = {NULL};                                     \
                                                                        \
        HOOK_DRIVER(driver, name);                                      \
        if (lanes_handle(hStream, is_per_thread) == CU_STREAM_LEGACY)   \
            await_all(driver);                                          \
        else                                                            \
            wait = await_stream(driver, hStream, is_per_thread);        \
        return waited(driver, await_end(&wait, driver->name(hStream))); \
    }

WAIT(cuStreamSynchronize, false)
WAIT(cuStreamSynchronize_ptsz, true)

/* --- questions --- */

#define QUESTION(name, is_per_thread)                                           \
    CUresult name(CUstream hStream)                                             \
    {                                                                           \
        const struct cuda_functions *driver;                                    \
                                                                                \
        HOOK_DRIVER(driver, name);                                              \
        return await_asked_stream(driver, lanes_handle(hStream, is_per_thread), \
                                  driver->name(hStream));                       \
    }

QUESTION(cuStreamQuery, false)
QUESTION(cuStreamQuery_ptsz, true)

CUresult cuEventQuery(CUevent hEvent)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuEventQuery);
    return await_asked_event(driver, hEvent, driver->cuEventQuery(hEvent));
}
