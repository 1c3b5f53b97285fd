// SPDX-License-Identifier: Apache-2.0
#include "verify/family.h"

#include "base/array.h"
#include "base/text.h"
#include "verify/kernelimage.h"

enum { ROW_BYTES = 4096, LAYERS = 16 };

/* --- linear memory --- */

static CUresult take_linear(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    return site->cuda->cuMemAlloc_v2(&piece->address, bytes);
}

static CUresult take_pitched(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    size_t pitch;

    return site->cuda->cuMemAllocPitch_v2(&piece->address, &pitch, ROW_BYTES, bytes / ROW_BYTES, 4);
}

static CUresult give_linear(struct family_site *site, const struct family_piece *piece)
{
    return site->cuda->cuMemFree_v2(piece->address);
}

/* Moved to the device: before that the driver has given nothing. */
static CUresult take_managed(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    const struct cudalib *cuda = site->cuda;
    CUresult r = cuda->cuMemAllocManaged(&piece->address, bytes, CU_MEM_ATTACH_GLOBAL);

    if (r != CUDA_SUCCESS)
        return r;
    r = cuda->cuMemPrefetchAsync(piece->address, bytes, site->device, NULL);
    if (r == CUDA_SUCCESS)
        r = cuda->cuStreamSynchronize(NULL);
    if (r != CUDA_SUCCESS)
        cuda->cuMemFree_v2(piece->address);
    return r;
}

/* --- in the order of a stream --- */

static CUresult take_async(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    CUresult r = site->cuda->cuMemAllocAsync(&piece->address, bytes, NULL);

    return r == CUDA_SUCCESS ? site->cuda->cuStreamSynchronize(NULL) : r;
}

static CUresult make_pool(struct family_site *site)
{
    const CUmemPoolProps props = {
        .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
        .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = site->device},
    };

    return site->pool ? CUDA_SUCCESS : site->cuda->cuMemPoolCreate(&site->pool, &props);
}

static CUresult take_from_pool(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    CUresult r = make_pool(site);

    if (r == CUDA_SUCCESS)
        r = site->cuda->cuMemAllocFromPoolAsync(&piece->address, bytes, site->pool, NULL);
    return r == CUDA_SUCCESS ? site->cuda->cuStreamSynchronize(NULL) : r;
}

static CUresult give_async(struct family_site *site, const struct family_piece *piece)
{
    CUresult r = site->cuda->cuMemFreeAsync(piece->address, NULL);

    return r == CUDA_SUCCESS ? site->cuda->cuStreamSynchronize(NULL) : r;
}

/* --- physical memory, mapped --- */

static CUresult take_physical(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    const struct cudalib *cuda = site->cuda;
    const CUmemAllocationProp props = {
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = site->device},
    };
    CUmemGenericAllocationHandle handle;
    CUresult r = cuda->cuMemCreate(&handle, bytes, &props, 0);

    if (r != CUDA_SUCCESS)
        return r;
    r = cuda->cuMemAddressReserve(&piece->address, bytes, 0, 0, 0);
    if (r == CUDA_SUCCESS)
        r = cuda->cuMemMap(piece->address, bytes, 0, handle, 0);
    cuda->cuMemRelease(handle); /* the mapping keeps it */
    return r;
}

static CUresult give_physical(struct family_site *site, const struct family_piece *piece)
{
    CUresult r = site->cuda->cuMemUnmap(piece->address, piece->bytes);

    return r == CUDA_SUCCESS ? site->cuda->cuMemAddressFree(piece->address, piece->bytes) : r;
}

/* --- arrays --- */

static CUresult take_array(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    const CUDA_ARRAY_DESCRIPTOR shape = {.Width = ROW_BYTES / 4,
                                         .Height = bytes / ROW_BYTES,
                                         .Format = CU_AD_FORMAT_FLOAT,
                                         .NumChannels = 1};

    return site->cuda->cuArrayCreate_v2((CUarray *)&piece->handles[0], &shape);
}

static CUDA_ARRAY3D_DESCRIPTOR cube(uint64_t bytes)
{
    return (CUDA_ARRAY3D_DESCRIPTOR){.Width = ROW_BYTES / 4,
                                     .Height = bytes / ROW_BYTES / LAYERS,
                                     .Depth = LAYERS,
                                     .Format = CU_AD_FORMAT_FLOAT,
                                     .NumChannels = 1};
}

static CUresult take_cube(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    const CUDA_ARRAY3D_DESCRIPTOR shape = cube(bytes);

    return site->cuda->cuArray3DCreate_v2((CUarray *)&piece->handles[0], &shape);
}

static CUresult give_array(struct family_site *site, const struct family_piece *piece)
{
    return site->cuda->cuArrayDestroy(piece->handles[0]);
}

static CUresult take_mipmapped(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    const CUDA_ARRAY3D_DESCRIPTOR shape = cube(bytes);

    return site->cuda->cuMipmappedArrayCreate((CUmipmappedArray *)&piece->handles[0], &shape, 1);
}

static CUresult give_mipmapped(struct family_site *site, const struct family_piece *piece)
{
    return site->cuda->cuMipmappedArrayDestroy(piece->handles[0]);
}

/* --- memory of a graph --- */

static CUresult launch_graph(const struct cudalib *cuda, CUgraph graph, CUgraphExec *ret_exec)
{
    CUresult r = cuda->cuGraphInstantiateWithFlags(ret_exec, graph, 0);

    if (r == CUDA_SUCCESS)
        r = cuda->cuGraphLaunch(*ret_exec, NULL);
    return r == CUDA_SUCCESS ? cuda->cuStreamSynchronize(NULL) : r;
}

static CUresult take_graph(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    const struct cudalib *cuda = site->cuda;
    CUDA_MEM_ALLOC_NODE_PARAMS params = {
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = site->device}},
        .bytesize = bytes,
    };
    CUgraphExec exec = NULL;
    CUgraph graph = NULL;
    CUgraphNode node;
    CUresult r = cuda->cuGraphCreate(&graph, 0);

    if (r == CUDA_SUCCESS)
        r = cuda->cuGraphAddMemAllocNode(&node, graph, NULL, 0, &params);
    if (r == CUDA_SUCCESS)
        r = launch_graph(cuda, graph, &exec);
    piece->address = params.dptr;
    piece->handles[0] = graph;
    piece->handles[1] = exec;
    return r;
}

static CUresult give_graph(struct family_site *site, const struct family_piece *piece)
{
    CUresult r = give_async(site, piece);

    site->cuda->cuGraphExecDestroy(piece->handles[1]);
    site->cuda->cuGraphDestroy(piece->handles[0]);
    site->cuda->cuDeviceGraphMemTrim(site->device);
    return r;
}

/* --- what is no allocation to the program --- */

static CUresult take_context(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    CUcontext current = NULL;
    CUresult r = site->cuda->cuCtxGetCurrent(&current);

    (void)bytes; /* as large as the driver makes it */
    if (r == CUDA_SUCCESS)
        r = site->cuda->cuCtxCreate_v2((CUcontext *)&piece->handles[0], 0, site->device);
    if (r == CUDA_SUCCESS)
        r = site->cuda->cuCtxSetCurrent(current);
    return r;
}

static CUresult give_context(struct family_site *site, const struct family_piece *piece)
{
    return site->cuda->cuCtxDestroy_v2(piece->handles[0]);
}

/* A variable of the module is as large as is asked for. */
static CUresult take_module(struct family_site *site, uint64_t bytes, struct family_piece *piece)
{
    return kernelimage_load(site->cuda, bytes, (CUmodule *)&piece->handles[0]);
}

static CUresult give_module(struct family_site *site, const struct family_piece *piece)
{
    return site->cuda->cuModuleUnload(piece->handles[0]);
}

static const struct family families[] = {
    {"cuMemAlloc", take_linear, give_linear},
    {"cuMemAllocPitch", take_pitched, give_linear},
    {"cuMemAllocManaged", take_managed, give_linear},
    {"cuMemAllocAsync", take_async, give_async},
    {"cuMemAllocFromPoolAsync", take_from_pool, give_async},
    {"cuMemCreate", take_physical, give_physical},
    {"cuArrayCreate", take_array, give_array},
    {"cuArray3DCreate", take_cube, give_array},
    {"cuMipmappedArrayCreate", take_mipmapped, give_mipmapped},
    {"cuGraphAddMemAllocNode", take_graph, give_graph},
    {"cuCtxCreate", take_context, give_context},
    {"cuModuleLoadData", take_module, give_module},
};

const struct family *family_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        if (str_equal(families[i].name, name))
            return &families[i];
    return NULL;
}
