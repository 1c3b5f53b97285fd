// SPDX-License-Identifier: Apache-2.0
#include "verify/pace.h"

#include "base/clock.h"
#include "verify/kernelimage.h"

enum { ALLOC_BATCH = 50 };

static CUresult load_kernel(const struct cudalib *cuda, CUmodule *ret_module,
                            CUfunction *ret_function)
{
    CUresult r = kernelimage_load(cuda, 0, ret_module);

    return r == CUDA_SUCCESS ? cuda->cuModuleGetFunction(ret_function, *ret_module, "nothing") : r;
}

/* One of the two is there. */
struct work {
    CUfunction function;
    CUgraphExec graph;
};

static CUresult launch(const struct cudalib *cuda, const struct work *work)
{
    if (work->graph)
        return cuda->cuGraphLaunch(work->graph, NULL);
    return cuda->cuLaunchKernel(work->function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

static CUresult pace(const struct cudalib *cuda, const struct work *work, unsigned n_batches,
                     double *ret_ns)
{
    CUresult r = CUDA_SUCCESS;

    for (unsigned batch = 0; r == CUDA_SUCCESS && batch < n_batches; batch++) {
        const uint64_t begun = clock_now_ns();

        for (unsigned i = 0; r == CUDA_SUCCESS && i < PACE_BATCH; i++)
            r = launch(cuda, work);
        ret_ns[batch] = (double)(clock_now_ns() - begun) / PACE_BATCH;
        if (r == CUDA_SUCCESS)
            r = cuda->cuCtxSynchronize();
    }
    return r;
}

CUresult pace_launch(const struct cudalib *cuda, unsigned n_batches, double *ret_ns)
{
    struct work work = {.function = NULL};
    CUmodule module = NULL;
    CUresult r = load_kernel(cuda, &module, &work.function);

    return r == CUDA_SUCCESS ? pace(cuda, &work, n_batches, ret_ns) : r;
}

static CUresult make_graph(const struct cudalib *cuda, CUfunction function, CUgraphExec *ret_exec)
{
    const CUDA_KERNEL_NODE_PARAMS params = {.func = function,
                                            .gridDimX = 1,
                                            .gridDimY = 1,
                                            .gridDimZ = 1,
                                            .blockDimX = 1,
                                            .blockDimY = 1,
                                            .blockDimZ = 1};
    CUgraph graph = NULL;
    CUgraphNode node;
    CUresult r = cuda->cuGraphCreate(&graph, 0);

    if (r == CUDA_SUCCESS)
        r = cuda->cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &params);
    return r == CUDA_SUCCESS ? cuda->cuGraphInstantiateWithFlags(ret_exec, graph, 0) : r;
}

CUresult pace_graph(const struct cudalib *cuda, unsigned n_batches, double *ret_ns)
{
    struct work work = {.function = NULL};
    CUmodule module = NULL;
    CUresult r = load_kernel(cuda, &module, &work.function);

    if (r == CUDA_SUCCESS)
        r = make_graph(cuda, work.function, &work.graph);
    return r == CUDA_SUCCESS ? pace(cuda, &work, n_batches, ret_ns) : r;
}

CUresult pace_alloc(const struct cudalib *cuda, uint64_t bytes, unsigned n_batches, double *ret_ns)
{
    CUresult r = CUDA_SUCCESS;

    for (unsigned batch = 0; r == CUDA_SUCCESS && batch < n_batches; batch++) {
        const uint64_t begun = clock_now_ns();

        for (unsigned i = 0; r == CUDA_SUCCESS && i < ALLOC_BATCH; i++) {
            CUdeviceptr address;

            r = cuda->cuMemAlloc_v2(&address, bytes);
            if (r == CUDA_SUCCESS)
                r = cuda->cuMemFree_v2(address);
        }
        ret_ns[batch] = (double)(clock_now_ns() - begun) / ALLOC_BATCH;
    }
    return r;
}
