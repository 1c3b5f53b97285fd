// SPDX-License-Identifier: Apache-2.0

/*
 * Graphs: work that is kept, and done as often as it is launched. Nodes are done in the order in
 * which they were added, so that what an edge says always holds; work that could be done side by
 * side is not.
 */

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "cuda/copy.h"
#include "cuda/graphmemory.h"
#include "cuda/hostcall.h"
#include "cuda/kernel.h"
#include "cuda/stream.h"

struct CUgraphNode_st {
    CUgraph graph;
    struct work work;
};

struct CUgraph_st {
    CUgraphNode *nodes;
    size_t n_nodes, capacity;
    CUstream origin; /* where its capture began; NULL: none goes on */
    uint64_t capture_id;
    CUgraph next;
};

struct CUgraphExec_st {
    struct work *works;
    size_t n_works;
    CUgraphExec next;
};

static CUgraph graphs;
static CUgraphExec execs;
static uint64_t last_capture;

static CUgraph *find(CUgraph graph)
{
    for (CUgraph *link = &graphs; *link; link = &(*link)->next)
        if (*link == graph)
            return link;
    return NULL;
}

static CUgraphExec *find_exec(CUgraphExec exec)
{
    for (CUgraphExec *link = &execs; *link; link = &(*link)->next)
        if (*link == exec)
            return link;
    return NULL;
}

static CUgraph new_graph(void)
{
    CUgraph graph = calloc(1, sizeof(*graph));

    if (!graph)
        return NULL;
    graph->next = graphs;
    graphs = graph;
    return graph;
}

static CUresult add(CUgraph graph, const struct work *work, CUgraphNode *to)
{
    CUgraphNode node = calloc(1, sizeof(*node)), *slot;

    slot =
        node ? array_push(&graph->nodes, &graph->n_nodes, &graph->capacity, sizeof(*slot)) : NULL;
    if (!slot) {
        free(node);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *node = (struct CUgraphNode_st){graph, *work};
    *slot = node;
    if (to)
        *to = node;
    return CUDA_SUCCESS;
}

CUresult sim_cuGraphCreate(CUgraph *to, unsigned flags)
{
    if (!to || flags)
        return CUDA_ERROR_INVALID_VALUE;
    *to = new_graph();
    return *to ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sim_cuGraphDestroy(CUgraph graph)
{
    CUgraph *link = find(graph);

    if (!link)
        return CUDA_ERROR_INVALID_VALUE;
    *link = graph->next;
    for (size_t i = 0; i < graph->n_nodes; i++)
        free(graph->nodes[i]);
    free(graph->nodes);
    free(graph);
    return CUDA_SUCCESS;
}

/* The nodes that a new one waits for have to be there before it. */
static bool are_of(CUgraph graph, const CUgraphNode *others, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool is_there = false;

        for (size_t k = 0; k < graph->n_nodes; k++)
            is_there |= graph->nodes[k] == others[i];
        if (!is_there)
            return false;
    }
    return true;
}

static CUresult add_after(CUgraphNode *to, CUgraph graph, const CUgraphNode *others, size_t n,
                          const struct work *work)
{
    if (!to || !find(graph) || (n && !others) || !are_of(graph, others, n))
        return CUDA_ERROR_INVALID_VALUE;
    return add(graph, work, to);
}

CUresult sim_cuGraphAddEmptyNode(CUgraphNode *to, CUgraph graph, const CUgraphNode *others,
                                 size_t n)
{
    const struct work work = stream_work(CU_GRAPH_NODE_TYPE_EMPTY, NULL, NULL, 0);

    return add_after(to, graph, others, n, &work);
}

CUresult sim_cuGraphAddKernelNode_v2(CUgraphNode *to, CUgraph graph, const CUgraphNode *others,
                                     size_t n, const CUDA_KERNEL_NODE_PARAMS *parameters)
{
    struct work work;
    CUresult r;

    if (!parameters)
        return CUDA_ERROR_INVALID_VALUE;
    r = kernel_work(parameters->func, parameters->kernelParams, &work);
    return r == CUDA_SUCCESS ? add_after(to, graph, others, n, &work) : r;
}

CUresult sim_cuGraphAddHostNode(CUgraphNode *to, CUgraph graph, const CUgraphNode *others, size_t n,
                                const CUDA_HOST_NODE_PARAMS *parameters)
{
    struct work work;

    if (!parameters || !parameters->fn)
        return CUDA_ERROR_INVALID_VALUE;
    work = hostcall_work(parameters->fn, parameters->userData);
    return add_after(to, graph, others, n, &work);
}

CUresult sim_cuGraphAddMemsetNode(CUgraphNode *to, CUgraph graph, const CUgraphNode *others,
                                  size_t n, const CUDA_MEMSET_NODE_PARAMS *parameters,
                                  CUcontext context)
{
    struct work work;
    CUresult r = parameters ? copy_fill_work(parameters, &work) : CUDA_ERROR_INVALID_VALUE;

    return r == CUDA_SUCCESS ? add_after(to, graph, others, n, &work) : r;
}

CUresult sim_cuGraphAddMemAllocNode(CUgraphNode *to, CUgraph graph, const CUgraphNode *others,
                                    size_t n, CUDA_MEM_ALLOC_NODE_PARAMS *parameters)
{
    struct work work;
    CUresult r;

    if (!parameters || !parameters->bytesize)
        return CUDA_ERROR_INVALID_VALUE;
    r = graphmemory_reserve(cuda_device(parameters->poolProps.location.id), parameters->bytesize,
                            &parameters->dptr, &work);
    return r == CUDA_SUCCESS ? add_after(to, graph, others, n, &work) : r;
}

CUresult sim_cuGraphMemAllocNodeGetParams(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS *parameters)
{
    if (!node || !parameters || !find(node->graph) ||
        node->work.type != CU_GRAPH_NODE_TYPE_MEM_ALLOC)
        return CUDA_ERROR_INVALID_VALUE;
    graphmemory_describe(&node->work, parameters);
    return CUDA_SUCCESS;
}

CUresult sim_cuGraphAddMemFreeNode(CUgraphNode *to, CUgraph graph, const CUgraphNode *others,
                                   size_t n, CUdeviceptr address)
{
    struct work work;
    CUresult r = graphmemory_free_work(address, &work);

    return r == CUDA_SUCCESS ? add_after(to, graph, others, n, &work) : r;
}

CUresult sim_cuGraphGetNodes(CUgraph graph, CUgraphNode *to, size_t *n)
{
    if (!find(graph) || !n)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; to && i < *n; i++)
        to[i] = i < graph->n_nodes ? graph->nodes[i] : NULL;
    *n = to && *n < graph->n_nodes ? *n : graph->n_nodes;
    return CUDA_SUCCESS;
}

CUresult sim_cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *to)
{
    if (!node || !to || !find(node->graph))
        return CUDA_ERROR_INVALID_VALUE;
    *to = node->work.type;
    return CUDA_SUCCESS;
}

CUresult sim_cuGraphInstantiateWithFlags(CUgraphExec *to, CUgraph graph, unsigned long long flags)
{
    CUgraphExec exec;

    if (!to || !find(graph))
        return CUDA_ERROR_INVALID_VALUE;
    exec = calloc(1, sizeof(*exec));
    if (!exec || !(exec->works = calloc(graph->n_nodes + 1, sizeof(*exec->works)))) {
        free(exec);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    exec->n_works = graph->n_nodes;
    for (size_t i = 0; i < graph->n_nodes; i++)
        exec->works[i] = graph->nodes[i]->work;
    exec->next = execs;
    execs = exec;
    *to = exec;
    return CUDA_SUCCESS;
}

static CUresult upload(CUgraphExec exec, CUstream handle)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    return r == CUDA_SUCCESS ? graphmemory_upload(exec->works, exec->n_works) : r;
}

/* Of the flags, uploading is acted out. */
CUresult sim_cuGraphInstantiateWithParams(CUgraphExec *to, CUgraph graph,
                                          CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
    CUgraphExec exec = NULL;
    CUresult r = CUDA_ERROR_INVALID_VALUE;

    if (!to || !parameters)
        return r;
    r = sim_cuGraphInstantiateWithFlags(&exec, graph, parameters->flags);
    if (r == CUDA_SUCCESS && parameters->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)
        r = upload(exec, parameters->hUploadStream);
    if (r == CUDA_SUCCESS)
        *to = exec;
    else if (exec)
        (void)sim_cuGraphExecDestroy(exec);
    parameters->hErrNode_out = NULL;
    parameters->result_out =
        r == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
    return r;
}

CUresult sim_cuGraphExecDestroy(CUgraphExec exec)
{
    CUgraphExec *link = find_exec(exec);

    if (!link)
        return CUDA_ERROR_INVALID_VALUE;
    *link = exec->next;
    free(exec->works);
    free(exec);
    return CUDA_SUCCESS;
}

CUresult sim_cuGraphUpload(CUgraphExec exec, CUstream handle)
{
    return find_exec(exec) ? upload(exec, handle) : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuGraphLaunch(CUgraphExec exec, CUstream handle)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r == CUDA_SUCCESS && !find_exec(exec))
        r = CUDA_ERROR_INVALID_VALUE;
    if (r == CUDA_SUCCESS)
        r = graphmemory_prepare(exec->works, exec->n_works);
    for (size_t i = 0; r == CUDA_SUCCESS && i < exec->n_works; i++)
        r = stream_do(stream, &exec->works[i], NULL);
    return r;
}

static CUresult capture(CUstream stream, const struct work *work)
{
    return add(stream->graph, work, NULL);
}

CUresult sim_cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (stream->kind == STREAM_LEGACY)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture)
        return CUDA_ERROR_ILLEGAL_STATE;
    if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    stream->graph = new_graph();
    if (!stream->graph)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->graph->origin = stream;
    stream->graph->capture_id = ++last_capture;
    stream->capture = capture;
    return CUDA_SUCCESS;
}

/* Others that joined it are streams again. */
CUresult sim_cuStreamEndCapture(CUstream handle, CUgraph *to)
{
    CUstream stream;
    CUgraph graph;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    if (!stream->capture)
        return CUDA_ERROR_ILLEGAL_STATE;
    graph = stream->graph;
    if (graph->origin != stream)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    for (CUstream s = stream->context->streams; s; s = s->next)
        if (s->graph == graph) {
            s->capture = NULL;
            s->graph = NULL;
        }
    graph->origin = NULL;
    *to = graph;
    return CUDA_SUCCESS;
}

static CUstreamCaptureStatus status_of(CUstream stream)
{
    return stream->capture ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
}

CUresult sim_cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *to)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r == CUDA_SUCCESS && !to)
        r = CUDA_ERROR_INVALID_VALUE;
    if (r == CUDA_SUCCESS)
        *to = status_of(stream);
    return r;
}

CUresult sim_cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus *status, uint64_t *id,
                                       CUgraph *graph, const CUgraphNode **others,
                                       const CUgraphEdgeData **edges, size_t *n_others)
{
    if (edges)
        *edges = NULL;
    return sim_cuStreamGetCaptureInfo_v2(handle, status, id, graph, others, n_others);
}

/* Which calls are forbidden while a stream is captured is not acted out: the mode is kept. */
CUresult sim_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    static _Thread_local CUstreamCaptureMode now = CU_STREAM_CAPTURE_MODE_GLOBAL;
    CUstreamCaptureMode before = now;

    if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    now = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}

CUresult sim_cuStreamGetCaptureInfo_v2(CUstream handle, CUstreamCaptureStatus *status, uint64_t *id,
                                       CUgraph *graph, const CUgraphNode **others, size_t *n_others)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r == CUDA_SUCCESS && !status)
        r = CUDA_ERROR_INVALID_VALUE;
    if (r != CUDA_SUCCESS)
        return r;
    *status = status_of(stream);
    if (id && stream->graph)
        *id = stream->graph->capture_id;
    if (graph)
        *graph = stream->graph;
    if (others)
        *others = NULL;
    if (n_others)
        *n_others = 0;
    return CUDA_SUCCESS;
}
