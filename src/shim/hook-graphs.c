// SPDX-License-Identifier: Apache-2.0

/*
 * Graphs that allocate: the driver takes their memory when they are launched, and keeps it for the
 * device's graphs until that is trimmed. What a graph needs is summed up when it is instantiated,
 * or before if that uploads it, whichever way its nodes came about; a launch of one that needs none
 * costs one look at a flag.
 */

#include <stdlib.h>

#include "shim/devices.h"
#include "shim/gate.h"
#include "shim/growth.h"
#include "shim/hook.h"
#include "shim/session.h"

enum {
    DEEPEST = 16, /* graphs in graphs */
    DEVICES_OF_GRAPH = 8,
};

#define GRANULE_BYTES (UINT64_C(2) << 20)

/* What one instantiated graph allocates on each device. */
struct graph_need {
    bool is_ready; /* it was launched since memory was last trimmed */
    unsigned n_trims;
    size_t n_devices;
    struct {
        CUdevice device;
        uint64_t bytes;
    } devices[DEVICES_OF_GRAPH];
};

static bool has_any; /* an instantiated graph with needs, ever */
static unsigned n_trims;

static void add_node(const struct cuda_functions *driver, CUgraphNode node, struct graph_need *need)
{
    CUDA_MEM_ALLOC_NODE_PARAMS params;
    size_t i = 0;

    if (!driver->cuGraphMemAllocNodeGetParams ||
        driver->cuGraphMemAllocNodeGetParams(node, &params) != CUDA_SUCCESS)
        return;
    while (i < need->n_devices && need->devices[i].device != params.poolProps.location.id)
        i++;
    if (i == DEVICES_OF_GRAPH)
        return;
    if (i == need->n_devices) {
        need->devices[need->n_devices++].bytes = 0;
        need->devices[i].device = params.poolProps.location.id;
    }
    need->devices[i].bytes += (params.bytesize + GRANULE_BYTES - 1) / GRANULE_BYTES * GRANULE_BYTES;
}

static void add_graph(const struct cuda_functions *driver, CUgraph graph, struct graph_need *need,
                      unsigned depth)
{
    CUgraphNode *nodes = NULL;
    CUgraph child;
    size_t n = 0;

    if (depth == DEEPEST || !driver->cuGraphGetNodes || !driver->cuGraphNodeGetType ||
        driver->cuGraphGetNodes(graph, NULL, &n) != CUDA_SUCCESS || n == 0)
        return;
    nodes = calloc(n, sizeof(*nodes));
    if (nodes && driver->cuGraphGetNodes(graph, nodes, &n) != CUDA_SUCCESS)
        n = 0;
    for (size_t i = 0; nodes && i < n; i++) {
        CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;

        driver->cuGraphNodeGetType(nodes[i], &type);
        if (type == CU_GRAPH_NODE_TYPE_MEM_ALLOC)
            add_node(driver, nodes[i], need);
        else if (type == CU_GRAPH_NODE_TYPE_GRAPH && driver->cuGraphChildGraphNodeGetGraph &&
                 driver->cuGraphChildGraphNodeGetGraph(nodes[i], &child) == CUDA_SUCCESS)
            add_graph(driver, child, need, depth + 1);
    }
    free(nodes);
}

static void keep(const struct graph_need *need, CUgraphExec exec)
{
    struct allocated entry = {.kind = ALLOCATION_GRAPH, .key = (uintptr_t)exec}, older;
    struct graph_need *kept = need->n_devices ? malloc(sizeof(*kept)) : NULL;

    if (!kept)
        return;
    *kept = *need;
    entry.owner = (uintptr_t)kept;
    allocations_put(&entry, &older);
    __atomic_store_n(&has_any, true, __ATOMIC_RELEASE);
}

/* Returns r. */
static CUresult instantiated(const struct cuda_functions *driver, CUresult r,
                             const CUgraphExec *exec, CUgraph graph)
{
    struct graph_need need = {.n_devices = 0};

    if (r != CUDA_SUCCESS || !session_start())
        return r;
    add_graph(driver, graph, &need, 0);
    keep(&need, *exec);
    return r;
}

CUresult cuGraphInstantiate(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
                            char *logBuffer, size_t bufferSize)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuGraphInstantiate);
    return instantiated(
        driver, driver->cuGraphInstantiate(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize),
        phGraphExec, hGraph);
}

CUresult cuGraphInstantiate_v2(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
                               char *logBuffer, size_t bufferSize)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuGraphInstantiate_v2);
    return instantiated(
        driver,
        driver->cuGraphInstantiate_v2(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize),
        phGraphExec, hGraph);
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *phGraphExec, CUgraph hGraph,
                                     unsigned long long flags)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuGraphInstantiateWithFlags);
    return instantiated(driver, driver->cuGraphInstantiateWithFlags(phGraphExec, hGraph, flags),
                        phGraphExec, hGraph);
}

CUresult cuGraphExecDestroy(CUgraphExec hGraphExec)
{
    const struct cuda_functions *driver;
    struct allocated entry;
    bool is_known;
    CUresult r;

    HOOK_DRIVER(driver, cuGraphExecDestroy);
    is_known = allocations_take(ALLOCATION_GRAPH, (uintptr_t)hGraphExec, &entry);
    r = driver->cuGraphExecDestroy(hGraphExec);
    if (is_known && r == CUDA_SUCCESS)
        free((void *)(uintptr_t)entry.owner);
    else if (is_known)
        charge_freed(&entry, false);
    return r;
}

/* --- launches --- */

static struct graph_need *find_need(CUgraphExec exec)
{
    struct allocated entry;

    if (!__atomic_load_n(&has_any, __ATOMIC_RELAXED) ||
        !allocations_get(ALLOCATION_GRAPH, (uintptr_t)exec, &entry))
        return NULL;
    return (struct graph_need *)(uintptr_t)entry.owner;
}

static struct growth_source source_of(const struct cuda_functions *driver, CUdevice device)
{
    return (struct growth_source){.device = device, .slot = devices_slot(driver, device)};
}

/* What other graphs left is trimmed before this one gets none. */
static bool has_room(const struct cuda_functions *driver, const struct growth_source *source,
                     uint64_t bytes)
{
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;

    if (source->slot == SESSION_NO_SLOT || growth_prepare(driver, source, bytes, false) == 0)
        return true;
    if (driver->cuDeviceGraphMemTrim && driver->cuThreadExchangeStreamCaptureMode &&
        driver->cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS) {
        __atomic_add_fetch(&n_trims, 1, __ATOMIC_RELAXED);
        driver->cuDeviceGraphMemTrim(source->device);
        driver->cuThreadExchangeStreamCaptureMode(&mode);
    }
    growth_look(driver, source);
    charge_reclaim(driver, source->slot);
    return growth_prepare(driver, source, bytes, true) == 0;
}

static void settle(const struct cuda_functions *driver, const struct graph_need *need,
                   size_t n_devices)
{
    for (size_t i = 0; i < n_devices; i++) {
        const struct growth_source source = source_of(driver, need->devices[i].device);

        if (source.slot != SESSION_NO_SLOT)
            growth_settle(driver, &source, need->devices[i].bytes);
    }
}

static bool prepare(const struct cuda_functions *driver, const struct graph_need *need)
{
    for (size_t i = 0; i < need->n_devices; i++) {
        const struct growth_source source = source_of(driver, need->devices[i].device);

        if (has_room(driver, &source, need->devices[i].bytes))
            continue;
        settle(driver, need, i);
        return false;
    }
    return true;
}

static bool is_ready(const struct graph_need *need)
{
    return need->is_ready && need->n_trims == __atomic_load_n(&n_trims, __ATOMIC_RELAXED);
}

static CUresult launched(const struct cuda_functions *driver, struct graph_need *need, CUresult r)
{
    settle(driver, need, need->n_devices);
    need->is_ready = r == CUDA_SUCCESS;
    need->n_trims = __atomic_load_n(&n_trims, __ATOMIC_RELAXED);
    return r;
}

/* Both take the memory. */
static CUresult take(const struct cuda_functions *driver, cuda_cuGraphLaunch *call,
                     CUgraphExec exec, CUstream stream)
{
    struct graph_need *need = find_need(exec);

    if (!need || is_ready(need))
        return call(exec, stream);
    if (!prepare(driver, need))
        return CUDA_ERROR_OUT_OF_MEMORY;
    return launched(driver, need, call(exec, stream));
}

#define UPLOAD(name)                                        \
    CUresult name(CUgraphExec hGraph, CUstream hStream)     \
    {                                                       \
        const struct cuda_functions *driver;                \
                                                            \
        HOOK_DRIVER(driver, name);                          \
        return take(driver, driver->name, hGraph, hStream); \
    }

#define LAUNCH(name, is_per_thread)                                                     \
    CUresult name(CUgraphExec hGraph, CUstream hStream)                                 \
    {                                                                                   \
        const struct cuda_functions *driver;                                            \
        struct gate_launch launch;                                                      \
                                                                                        \
        HOOK_DRIVER(driver, name);                                                      \
        launch = gate_enter(driver, hStream, is_per_thread);                            \
        return gate_leave(driver, launch, take(driver, driver->name, hGraph, hStream)); \
    }

UPLOAD(cuGraphUpload)
UPLOAD(cuGraphUpload_ptsz)
LAUNCH(cuGraphLaunch, false)
LAUNCH(cuGraphLaunch_ptsz, true)

/* With the flag the driver uploads within the call, as by cuGraphUpload. */
static CUresult instantiate(const struct cuda_functions *driver,
                            cuda_cuGraphInstantiateWithParams *call, CUgraphExec *exec,
                            CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
    struct graph_need need = {.n_devices = 0};
    CUresult r;

    if (!params || !(params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) || !session_start())
        return instantiated(driver, call(exec, graph, params), exec, graph);
    add_graph(driver, graph, &need, 0);
    if (!prepare(driver, &need)) {
        params->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    r = launched(driver, &need, call(exec, graph, params));
    if (r == CUDA_SUCCESS)
        keep(&need, *exec);
    return r;
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *phGraphExec, CUgraph hGraph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuGraphInstantiateWithParams);
    return instantiate(driver, driver->cuGraphInstantiateWithParams, phGraphExec, hGraph,
                       instantiateParams);
}

CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec *phGraphExec, CUgraph hGraph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuGraphInstantiateWithParams_ptsz);
    return instantiate(driver, driver->cuGraphInstantiateWithParams_ptsz, phGraphExec, hGraph,
                       instantiateParams);
}

CUresult cuDeviceGraphMemTrim(CUdevice device)
{
    const struct cuda_functions *driver;
    struct growth_source source;
    CUresult r;

    HOOK_DRIVER(driver, cuDeviceGraphMemTrim);
    __atomic_add_fetch(&n_trims, 1, __ATOMIC_RELAXED);
    r = driver->cuDeviceGraphMemTrim(device);
    if (r != CUDA_SUCCESS || !__atomic_load_n(&has_any, __ATOMIC_RELAXED))
        return r;
    source = source_of(driver, device);
    if (source.slot != SESSION_NO_SLOT)
        growth_look(driver, &source);
    return r;
}
