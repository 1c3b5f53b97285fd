// SPDX-License-Identifier: Apache-2.0

/*
 * A container's limit, as a program in it meets it: each family of allocations up to the limit and
 * one granule more, several processes at once, and one that is killed. With libgpuslice.so
 * preloaded, on the simulator or on a real GPU; tests/conformance/cuda/limits starts it, with an
 * arbiter.
 *
 *     conformance-limits [-v] LIBCUDA     prints TAP
 *     conformance-limits --hog LIBCUDA    takes what there is, says so on stdout, waits for stdin
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shim/driver.h"
#include "tap.h"

#define MIB     UINT64_C(1048576)
#define GRANULE (2 * MIB)
#define STEP    (32 * MIB)  /* that pools grow by */
#define ROOM    (508 * MIB) /* not whole steps */

static struct cuda_functions cu;
static const char *library_path;
static CUdevice gpu;
static CUcontext primary;

static void check_return(CUresult got, CUresult wanted, const char *what, int line)
{
    if (got == wanted)
        return;
    n_failures++;
    printf("# line %d: %s: %d, not %d\n", line, what, got, wanted);
}

#define GIVES(wanted, call) check_return(call, wanted, #call, __LINE__)
#define SUCCEEDS(call)      GIVES(CUDA_SUCCESS, call)

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static size_t free_bytes(void)
{
    size_t free_now = 0, total = 0;

    SUCCEEDS(cu.cuMemGetInfo_v2(&free_now, &total));
    return free_now;
}

static size_t limit_bytes(void)
{
    size_t total = 0;

    SUCCEEDS(cu.cuDeviceTotalMem_v2(&total, gpu));
    return total;
}

/* Until as much is free again, give or take what contexts and modules keep; false: not within the
 * time. */
static bool comes_back(uint64_t wanted, uint64_t slack, uint64_t ms)
{
    const uint64_t deadline = now_ms() + ms;

    while (free_bytes() + slack < wanted) {
        if (now_ms() > deadline) {
            printf("# %llu MiB are free, not %llu\n", (unsigned long long)(free_bytes() / MIB),
                   (unsigned long long)(wanted / MIB));
            return false;
        }
        poll(NULL, 0, 20);
    }
    return true;
}

/* --- families --- */

struct piece {
    uint64_t what, place, extra;
};

struct family {
    const char *name;
    uint64_t unit;
    CUresult (*take)(struct piece *piece, uint64_t bytes);
    void (*give)(struct piece *piece);
};

static CUresult take_plain(struct piece *piece, uint64_t bytes)
{
    CUdeviceptr memory = 0;
    CUresult r = cu.cuMemAlloc_v2(&memory, bytes);

    piece->what = memory;
    return r;
}

static void give_plain(struct piece *piece)
{
    SUCCEEDS(cu.cuMemFree_v2(piece->what));
}

static CUresult take_pitch(struct piece *piece, uint64_t bytes)
{
    CUdeviceptr memory = 0;
    size_t pitch = 0;
    CUresult r = cu.cuMemAllocPitch_v2(&memory, &pitch, 65536, bytes / 65536, 4);

    piece->what = memory;
    return r;
}

static CUresult take_managed(struct piece *piece, uint64_t bytes)
{
    CUdeviceptr memory = 0;
    CUresult r = cu.cuMemAllocManaged(&memory, bytes, CU_MEM_ATTACH_GLOBAL);

    piece->what = memory;
    return r;
}

static CUresult take_async(struct piece *piece, uint64_t bytes)
{
    CUdeviceptr memory = 0;
    CUresult r = cu.cuMemAllocAsync(&memory, bytes, NULL);

    piece->what = memory;
    return r;
}

static CUresult take_async_ptsz(struct piece *piece, uint64_t bytes)
{
    CUdeviceptr memory = 0;
    CUresult r = cu.cuMemAllocAsync_ptsz(&memory, bytes, NULL);

    piece->what = memory;
    return r;
}

static void give_async(struct piece *piece)
{
    SUCCEEDS(cu.cuMemFreeAsync(piece->what, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
}

static CUmemPoolProps pool_properties(void)
{
    return (CUmemPoolProps){.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, gpu}};
}

static CUresult take_pool(struct piece *piece, uint64_t bytes)
{
    CUmemPoolProps properties = pool_properties();
    CUmemoryPool pool = NULL;
    CUdeviceptr memory = 0;
    CUresult r;

    SUCCEEDS(cu.cuMemPoolCreate(&pool, &properties));
    r = cu.cuMemAllocFromPoolAsync(&memory, bytes, pool, NULL);
    if (r != CUDA_SUCCESS)
        SUCCEEDS(cu.cuMemPoolDestroy(pool));
    piece->what = memory;
    piece->extra = (uintptr_t)pool;
    return r;
}

static void give_pool(struct piece *piece)
{
    give_async(piece);
    SUCCEEDS(cu.cuMemPoolDestroy((CUmemoryPool)(uintptr_t)piece->extra));
}

/* Destroyed while something of it is allocated. */
static void give_pool_late(struct piece *piece)
{
    SUCCEEDS(cu.cuMemPoolDestroy((CUmemoryPool)(uintptr_t)piece->extra));
    give_async(piece);
}

static CUresult take_physical(struct piece *piece, uint64_t bytes)
{
    const CUmemAllocationProp wanted = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .location = {CU_MEM_LOCATION_TYPE_DEVICE, gpu}};
    CUmemGenericAllocationHandle handle = 0;
    CUresult r = cu.cuMemCreate(&handle, bytes, &wanted, 0);

    piece->what = handle;
    return r;
}

static void give_physical(struct piece *piece)
{
    SUCCEEDS(cu.cuMemRelease(piece->what));
}

/* Mapped, and held by the mapping alone. */
static CUresult take_mapped(struct piece *piece, uint64_t bytes)
{
    CUdeviceptr place = 0;
    CUresult r = take_physical(piece, bytes);

    if (r != CUDA_SUCCESS)
        return r;
    SUCCEEDS(cu.cuMemAddressReserve(&place, bytes, 0, 0, 0));
    SUCCEEDS(cu.cuMemMap(place, bytes, 0, piece->what, 0));
    SUCCEEDS(cu.cuMemRelease(piece->what));
    piece->place = place;
    piece->extra = bytes;
    return r;
}

static void give_mapped(struct piece *piece)
{
    SUCCEEDS(cu.cuMemUnmap(piece->place, piece->extra));
    SUCCEEDS(cu.cuMemAddressFree(piece->place, piece->extra));
}

static CUresult take_array(struct piece *piece, uint64_t bytes)
{
    const CUDA_ARRAY_DESCRIPTOR wanted = {16384, bytes / 65536, CU_AD_FORMAT_FLOAT, 1};
    CUarray array = NULL;
    CUresult r = cu.cuArrayCreate_v2(&array, &wanted);

    piece->what = (uintptr_t)array;
    return r;
}

static CUresult take_array_3d(struct piece *piece, uint64_t bytes)
{
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {.Width = 1024,
                                            .Height = 1024,
                                            .Depth = bytes / (1024 * 1024 * 16),
                                            .Format = CU_AD_FORMAT_FLOAT,
                                            .NumChannels = 4};
    CUarray array = NULL;
    CUresult r = cu.cuArray3DCreate_v2(&array, &wanted);

    piece->what = (uintptr_t)array;
    return r;
}

static void give_array(struct piece *piece)
{
    SUCCEEDS(cu.cuArrayDestroy((CUarray)(uintptr_t)piece->what));
}

static CUresult take_mipmap(struct piece *piece, uint64_t bytes)
{
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {
        .Width = 16384, .Height = bytes / 65536, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    CUmipmappedArray array = NULL;
    CUresult r = cu.cuMipmappedArrayCreate(&array, &wanted, 1);

    piece->what = (uintptr_t)array;
    return r;
}

static void give_mipmap(struct piece *piece)
{
    SUCCEEDS(cu.cuMipmappedArrayDestroy((CUmipmappedArray)(uintptr_t)piece->what));
}

/* A graph that allocates and frees; its memory stays with the device until it is trimmed. */
static CUresult take_graph(struct piece *piece, uint64_t bytes)
{
    CUDA_MEM_ALLOC_NODE_PARAMS wanted = {.poolProps = pool_properties(), .bytesize = bytes};
    CUgraphNode node = NULL, end = NULL;
    CUgraphExec exec = NULL;
    CUgraph graph = NULL;
    CUresult r;

    SUCCEEDS(cu.cuGraphCreate(&graph, 0));
    r = cu.cuGraphAddMemAllocNode(&node, graph, NULL, 0, &wanted);
    if (r == CUDA_SUCCESS)
        SUCCEEDS(cu.cuGraphAddMemFreeNode(&end, graph, &node, 1, wanted.dptr));
    if (r == CUDA_SUCCESS)
        SUCCEEDS(cu.cuGraphInstantiateWithFlags(&exec, graph, 0));
    if (r == CUDA_SUCCESS)
        r = cu.cuGraphLaunch(exec, NULL);
    SUCCEEDS(cu.cuCtxSynchronize());
    piece->what = (uintptr_t)exec;
    piece->extra = (uintptr_t)graph;
    if (r != CUDA_SUCCESS && exec)
        SUCCEEDS(cu.cuGraphExecDestroy(exec));
    if (r != CUDA_SUCCESS)
        SUCCEEDS(cu.cuGraphDestroy(graph));
    return r;
}

static void give_graph(struct piece *piece)
{
    SUCCEEDS(cu.cuGraphExecDestroy((CUgraphExec)(uintptr_t)piece->what));
    SUCCEEDS(cu.cuGraphDestroy((CUgraph)(uintptr_t)piece->extra));
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
}

/* A variable of a module. */
static CUresult take_module(struct piece *piece, uint64_t bytes)
{
    CUmodule module = NULL;
    char image[256];
    CUresult r;

    snprintf(image, sizeof(image),
             ".version 6.3\n.target sm_70\n.address_size 64\n"
             ".visible .global .align 4 .b8 variable[%llu];\n"
             ".visible .entry nothing()\n{\n\tret;\n}\n",
             (unsigned long long)bytes);
    r = cu.cuModuleLoadData(&module, image);
    piece->what = (uintptr_t)module;
    return r;
}

static void give_module(struct piece *piece)
{
    SUCCEEDS(cu.cuModuleUnload((CUmodule)(uintptr_t)piece->what));
}

static const struct family families[] = {
    {"cuMemAlloc", GRANULE, take_plain, give_plain},
    {"cuMemAllocPitch", GRANULE, take_pitch, give_plain},
    {"cuMemAllocManaged", GRANULE, take_managed, give_plain},
    {"cuMemAllocAsync", STEP, take_async, give_async},
    {"cuMemAllocAsync per thread", STEP, take_async_ptsz, give_async},
    {"cuMemAllocAsync, cuMemFree", STEP, take_async, give_plain},
    {"cuMemAllocFromPoolAsync", STEP, take_pool, give_pool},
    {"cuMemAllocFromPoolAsync, pool first", STEP, take_pool, give_pool_late},
    {"cuMemCreate", GRANULE, take_physical, give_physical},
    {"cuMemCreate, mapped", GRANULE, take_mapped, give_mapped},
    {"cuArrayCreate", GRANULE, take_array, give_array},
    {"cuArray3DCreate", 16 * MIB, take_array_3d, give_array},
    {"cuMipmappedArrayCreate", GRANULE, take_mipmap, give_mipmap},
    {"graph", STEP, take_graph, give_graph},
    {"cuModuleLoadData", 4 * GRANULE, take_module, give_module}, /* its kernel takes some */
};

enum { N_FAMILIES = sizeof(families) / sizeof(families[0]), PIECES_MAX = 4096 };

static struct piece pieces[PIECES_MAX];

/* --- cases --- */

static void views_show_the_slice(void)
{
    size_t free_now = 0, total = 0;

    SUCCEEDS(cu.cuMemGetInfo_v2(&free_now, &total));
    note("%zu of %zu MiB are free", free_now / MIB, total / MIB);
    CHECK(total == limit_bytes());
    CHECK(free_now < total && free_now + 1024 * MIB > total);
}

/* Takes pieces of `bytes` until it gets none; returns how many. */
static unsigned take_all(const struct family *family, uint64_t bytes)
{
    unsigned n = 0;
    CUresult r = CUDA_SUCCESS;

    while (n < PIECES_MAX && (r = family->take(&pieces[n], bytes)) == CUDA_SUCCESS)
        n++;
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, r);
    return n;
}

static void give_all(const struct family *family, unsigned n)
{
    while (n > 0)
        family->give(&pieces[--n]);
}

/* Up to the limit, and not one piece more; then everything is free again. */
static void families_end_at_the_limit(void)
{
    for (unsigned i = 0; i < N_FAMILIES; i++) {
        const struct family *family = &families[i];
        const uint64_t unit = family->unit > 64 * MIB ? family->unit : 64 * MIB;
        const uint64_t before = free_bytes();
        uint64_t taken;
        unsigned n;

        if (family->take == take_graph)
            continue; /* one graph after the other has the same memory */
        n = take_all(family, unit);
        taken = n * unit;
        note("%s: %llu of %llu MiB", family->name, (unsigned long long)(taken / MIB),
             (unsigned long long)(before / MIB));
        if (taken > before || taken + 2 * unit + STEP < before)
            printf("# %s: %llu of %llu MiB were to be had\n", family->name,
                   (unsigned long long)(taken / MIB), (unsigned long long)(before / MIB));
        CHECK(taken <= before);
        CHECK(taken + 2 * unit + STEP >= before);
        give_all(family, n);
        SUCCEEDS(cu.cuCtxSynchronize());
        CHECK(comes_back(before, STEP, 2000));
    }
}

/* What cuMemGetInfo calls free is to be had in one piece, and no granule more than that. */
static void what_is_free_is_to_be_had(void)
{
    for (unsigned i = 0; i < N_FAMILIES; i++) {
        const struct family *family = &families[i];
        const uint64_t free_now = free_bytes(), bytes = free_now / family->unit * family->unit;
        struct piece piece;
        CUresult r;

        if (family->take == take_array || family->take == take_mipmap ||
            family->take == take_array_3d || family->take == take_pitch)
            continue; /* the hardware has limits of its own */
        r = family->take(&piece, bytes + family->unit);
        if (r != CUDA_ERROR_OUT_OF_MEMORY)
            printf("# %s: %d for more than is free\n", family->name, r);
        CHECK(r == CUDA_ERROR_OUT_OF_MEMORY);
        r = family->take(&piece, bytes);
        if (r != CUDA_SUCCESS)
            printf("# %s: %d for what is free, %llu MiB\n", family->name, r,
                   (unsigned long long)(bytes / MIB));
        CHECK(r == CUDA_SUCCESS);
        if (r == CUDA_SUCCESS) {
            CHECK(free_bytes() < family->unit + GRANULE);
            family->give(&piece);
        }
        SUCCEEDS(cu.cuCtxSynchronize());
        CHECK(comes_back(free_now, STEP, 2000));
    }
}

/* One family fills the slice; then no other gets anything. */
static void full_for_every_family(void)
{
    const unsigned n = take_all(&families[0], 64 * MIB);
    struct piece piece;

    for (unsigned i = 0; i < N_FAMILIES; i++)
        GIVES(CUDA_ERROR_OUT_OF_MEMORY, families[i].take(&piece, 128 * MIB));
    give_all(&families[0], n);
}

/* What frees much and takes much again gets it, in any order. */
static void freed_memory_is_free(void)
{
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < N_FAMILIES; i++) {
            struct piece piece;

            if (families[i].take(&piece, 1024 * MIB) == CUDA_SUCCESS)
                families[i].give(&piece);
            else if (families[i].take != take_array && families[i].take != take_mipmap)
                check(false, families[i].name, __LINE__);
        }
    SUCCEEDS(cu.cuCtxSynchronize());
}

/* A thousand small pieces: counted, and none of them asked for. */
static void small_pieces(void)
{
    const uint64_t before = free_bytes();
    uint64_t begin = now_ms();

    for (unsigned i = 0; i < 1000; i++)
        SUCCEEDS(take_plain(&pieces[i], 64 * 1024));
    note("1000 small pieces in %llu ms", (unsigned long long)(now_ms() - begin));
    CHECK(before - free_bytes() >= 60 * MIB && before - free_bytes() <= 80 * MIB);
    give_all(&families[0], 1000);
    CHECK(comes_back(before, STEP, 2000));
}

/* A pool keeps what was freed; it is charged until it is trimmed. */
static void pools_are_charged_for_what_they_keep(void)
{
    CUmemPoolProps properties = pool_properties();
    const uint64_t before = free_bytes();
    uint64_t keep = UINT64_MAX;
    CUmemoryPool pool = NULL;
    CUdeviceptr memory = 0;

    SUCCEEDS(cu.cuMemPoolCreate(&pool, &properties));
    SUCCEEDS(cu.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
    SUCCEEDS(cu.cuMemAllocFromPoolAsync(&memory, 512 * MIB, pool, NULL));
    SUCCEEDS(cu.cuMemFreeAsync(memory, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    CHECK(before - free_bytes() >= 512 * MIB);
    SUCCEEDS(cu.cuMemAllocFromPoolAsync(&memory, 512 * MIB, pool, NULL));
    CHECK(before - free_bytes() <= 512 * MIB + 2 * STEP);
    SUCCEEDS(cu.cuMemFreeAsync(memory, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuMemPoolTrimTo(pool, 0));
    CHECK(before - free_bytes() <= STEP);
    SUCCEEDS(cu.cuMemPoolDestroy(pool));
}

/* What one pool keeps does not stand in the way of anything else. */
static void kept_memory_makes_room(void)
{
    uint64_t keep = UINT64_MAX, none = 0;
    const uint64_t most = free_bytes() / STEP * STEP;
    struct piece piece;
    CUmemoryPool pool = NULL;

    SUCCEEDS(cu.cuDeviceGetDefaultMemPool(&pool, gpu));
    SUCCEEDS(cu.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
    for (unsigned round = 0; round < 3; round++) { /* the second is in the order of the stream */
        SUCCEEDS(take_async(&piece, most));
        SUCCEEDS(cu.cuMemFreeAsync(piece.what, NULL));
    }
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuMemPoolTrimTo(pool, 0));
    SUCCEEDS(take_plain(&piece, most));
    give_plain(&piece);
    SUCCEEDS(cu.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &none));
}

/* What is free in it is too small by piece, and it cannot grow: that is denied, and takes nothing.
 */
static void a_pool_in_pieces(void)
{
    CUmemPoolProps properties = pool_properties();
    CUmemoryPool pool = NULL;
    struct piece full;
    CUdeviceptr memory[64] = {0};
    uint64_t before;
    unsigned n = 0;

    SUCCEEDS(take_plain(&full, free_bytes() - ROOM));
    SUCCEEDS(cu.cuMemPoolCreate(&pool, &properties));
    while (n < 64 && cu.cuMemAllocFromPoolAsync(&memory[n], 20 * MIB, pool, NULL) == CUDA_SUCCESS)
        n++;
    CHECK(n > 0 && n < 64);
    before = free_bytes();
    GIVES(CUDA_ERROR_OUT_OF_MEMORY,
          cu.cuMemAllocFromPoolAsync(&memory[n], before + MIB, pool, NULL));
    CHECK(free_bytes() >= before);
    while (n > 0)
        SUCCEEDS(cu.cuMemFreeAsync(memory[--n], NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuMemPoolDestroy(pool));
    give_plain(&full);
}

/* It lives as long as a handle or a mapping of it. */
static void mappings_hold_memory(void)
{
    const uint64_t before = free_bytes(), bytes = 256 * MIB;
    CUmemGenericAllocationHandle again = 0;
    struct piece piece;

    SUCCEEDS(take_mapped(&piece, bytes));
    CHECK(before - free_bytes() >= bytes);
    SUCCEEDS(cu.cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(piece.place + 5)));
    give_mapped(&piece);
    CHECK(before - free_bytes() >= bytes);
    SUCCEEDS(cu.cuMemRelease(again));
    CHECK(before - free_bytes() <= GRANULE);
}

/* At two places, and charged once: until the last of them is gone. */
static void memory_at_two_places(void)
{
    const uint64_t before = free_bytes(), bytes = 256 * MIB;
    CUdeviceptr first = 0, second = 0;
    struct piece piece;

    SUCCEEDS(take_physical(&piece, bytes));
    SUCCEEDS(cu.cuMemAddressReserve(&first, bytes, 0, 0, 0));
    SUCCEEDS(cu.cuMemAddressReserve(&second, bytes, 0, 0, 0));
    SUCCEEDS(cu.cuMemMap(first, bytes, 0, piece.what, 0));
    SUCCEEDS(cu.cuMemMap(second, bytes, 0, piece.what, 0));
    CHECK(before - free_bytes() >= bytes && before - free_bytes() <= bytes + GRANULE);
    SUCCEEDS(cu.cuMemRelease(piece.what));
    SUCCEEDS(cu.cuMemUnmap(second, bytes));
    CHECK(before - free_bytes() >= bytes);
    SUCCEEDS(cu.cuMemUnmap(first, bytes));
    CHECK(before - free_bytes() <= GRANULE);
    SUCCEEDS(cu.cuMemAddressFree(first, bytes));
    SUCCEEDS(cu.cuMemAddressFree(second, bytes));
}

/* Each context costs; they end with error 2, too, and what belonged to one ends with it. */
static void contexts(void)
{
    const uint64_t before = free_bytes();
    CUcontext all[64];
    CUdeviceptr memory = 0;
    CUresult r = CUDA_SUCCESS;
    unsigned n = 0;

    while (n < 64 && (r = cu.cuCtxCreate_v2(&all[n], 0, gpu)) == CUDA_SUCCESS)
        n++;
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, r);
    note("%u contexts in %llu MiB", n, (unsigned long long)(before / MIB));
    CHECK(n > 0 && n <= before / (100 * MIB));
    while (n > 1)
        SUCCEEDS(cu.cuCtxDestroy_v2(all[--n]));
    SUCCEEDS(cu.cuCtxSetCurrent(all[0]));
    CHECK(comes_back(1500 * MIB < before ? 1000 * MIB : 0, 0, 5000));
    SUCCEEDS(cu.cuMemAlloc_v2(&memory, 256 * MIB));
    SUCCEEDS(cu.cuCtxDestroy_v2(all[0]));
    SUCCEEDS(cu.cuCtxSetCurrent(primary));
    CHECK(comes_back(before, STEP, 5000));
}

/* Beside each other, in sizes that fit into no step of the driver's: what was to be had is had, and
 * no granule more. */
static void graphs_share_steps(void)
{
    enum { N = 64 };
    const uint64_t before = free_bytes(), bytes = 24 * MIB;
    CUDA_MEM_ALLOC_NODE_PARAMS wanted = {.poolProps = pool_properties(), .bytesize = bytes};
    struct piece full;
    CUgraph graphs[N];
    CUgraphExec execs[N];
    CUdeviceptr memory[N];
    CUresult r = CUDA_SUCCESS;
    CUgraphNode node;
    uint64_t reserved = 0;
    unsigned n = 0, made = 0;

    SUCCEEDS(take_plain(&full, before - ROOM));
    while (made < N && r == CUDA_SUCCESS) {
        SUCCEEDS(cu.cuGraphCreate(&graphs[made], 0));
        SUCCEEDS(cu.cuGraphAddMemAllocNode(&node, graphs[made], NULL, 0, &wanted));
        memory[made] = wanted.dptr;
        SUCCEEDS(cu.cuGraphInstantiateWithFlags(&execs[made], graphs[made], 0));
        r = cu.cuGraphLaunch(execs[made++], NULL);
        n += r == CUDA_SUCCESS;
    }
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, r);
    SUCCEEDS(cu.cuCtxSynchronize());
    note("%u graphs with %llu MiB each in 508 MiB", n, (unsigned long long)(bytes / MIB));
    SUCCEEDS(
        cu.cuDeviceGetGraphMemAttribute(gpu, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &reserved));
    CHECK(reserved <= ROOM + GRANULE);
    CHECK(n * bytes <= ROOM && n * bytes + bytes + 2 * STEP >= ROOM);
    while (made > 0) {
        made--;
        if (made < n)
            SUCCEEDS(cu.cuMemFreeAsync(memory[made], NULL));
        SUCCEEDS(cu.cuGraphExecDestroy(execs[made]));
        SUCCEEDS(cu.cuGraphDestroy(graphs[made]));
    }
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
    give_plain(&full);
    CHECK(comes_back(before, GRANULE, 2000));
}

/* What is uploaded has its memory then: with cuGraphInstantiateWithParams at once. */
static void uploaded_graphs(void)
{
    const uint64_t before = free_bytes();
    CUDA_GRAPH_INSTANTIATE_PARAMS upload = {.flags = CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD};
    CUDA_MEM_ALLOC_NODE_PARAMS wanted = {.poolProps = pool_properties(), .bytesize = before};
    CUgraphNode node;
    CUgraphExec exec = NULL;
    CUgraph graph = NULL;

    if (!cu.cuGraphInstantiateWithParams)
        return note("this driver has no cuGraphInstantiateWithParams");
    for (unsigned i = 0; i < 2; i++) {
        const CUresult r = i == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;

        wanted.bytesize = i == 0 ? before + STEP : before / 2;
        SUCCEEDS(cu.cuGraphCreate(&graph, 0));
        SUCCEEDS(cu.cuGraphAddMemAllocNode(&node, graph, NULL, 0, &wanted));
        GIVES(r, cu.cuGraphInstantiateWithParams(&exec, graph, &upload));
        CHECK((upload.result_out == CUDA_GRAPH_INSTANTIATE_SUCCESS) == (r == CUDA_SUCCESS));
        if (r == CUDA_SUCCESS) {
            CHECK(before - free_bytes() >= before / 2);
            SUCCEEDS(cu.cuGraphExecDestroy(exec));
        }
        SUCCEEDS(cu.cuGraphDestroy(graph));
    }
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
    CHECK(comes_back(before, GRANULE, 2000));
}

/* A module that is refused is not there, and one that was loaded is charged until it is unloaded,
 * or until its context ends. */
static void modules_are_charged(void)
{
    const uint64_t before = free_bytes();
    struct piece piece, other;
    CUcontext context = NULL;

    GIVES(CUDA_ERROR_OUT_OF_MEMORY, take_module(&piece, before + 64 * MIB));
    CHECK(comes_back(before, GRANULE, 0));
    SUCCEEDS(take_module(&piece, before / 2));
    CHECK(before - free_bytes() >= before / 2);
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, take_plain(&other, before / 2 + 64 * MIB));
    give_module(&piece);
    CHECK(comes_back(before, GRANULE, 0));
    SUCCEEDS(cu.cuCtxCreate_v2(&context, 0, gpu));
    SUCCEEDS(take_module(&piece, before / 2));
    SUCCEEDS(cu.cuCtxDestroy_v2(context));
    SUCCEEDS(cu.cuCtxSetCurrent(primary));
    SUCCEEDS(take_plain(&piece, before / 2));
    give_plain(&piece);
    CHECK(comes_back(before, STEP, 5000));
}

/* In one piece, or nine tenths of it as often as it is refused. */
static uint64_t take_or_back_off(struct piece *piece, uint64_t bytes)
{
    CUresult r;

    while ((r = take_plain(piece, bytes)) == CUDA_ERROR_OUT_OF_MEMORY && bytes > GRANULE)
        bytes = bytes / 10 * 9 / GRANULE * GRANULE;
    CHECK(r == CUDA_SUCCESS);
    return bytes;
}

/* TensorFlow has what is free but for a twentieth, or 300 MiB. JAX has three quarters of the total,
 * whatever is in use. Who asks for more than there is gets most of it in the end. */
static void starts_that_take_most(void)
{
    const uint64_t before = free_bytes(), total = limit_bytes();
    const uint64_t spared = total / 20 > 300 * MIB ? total / 20 : 300 * MIB;
    const uint64_t wanted[] = {before - spared, total / 4 * 3, total, total * 2};
    struct piece piece;

    for (unsigned i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        const uint64_t taken = take_or_back_off(&piece, wanted[i]);

        note("%llu of %llu MiB", (unsigned long long)(taken / MIB),
             (unsigned long long)(wanted[i] / MIB));
        CHECK(wanted[i] > before ? taken >= before / 10 * 8 : taken == wanted[i]);
        CHECK(before - free_bytes() >= taken && before - free_bytes() <= taken + GRANULE);
        give_plain(&piece);
        CHECK(comes_back(before, GRANULE, 2000));
    }
}

/* vLLM does not start where less than nine tenths of the total are free. It tries how much a step
 * takes, and what is left of nine tenths is its cache, a piece for each layer; then it captures. */
static void starts_of_servers(void)
{
    enum { LAYERS = 32 };
    const uint64_t before = free_bytes(), wanted = limit_bytes() / 10 * 9, step = 256 * MIB;
    const uint64_t used = limit_bytes() - before;
    const uint64_t layer = (wanted - used - step) / LAYERS / GRANULE * GRANULE;
    struct piece tried, graph;

    CHECK(before >= wanted);
    SUCCEEDS(take_async(&tried, step));
    give_async(&tried);
    SUCCEEDS(cu.cuCtxSynchronize());
    for (unsigned i = 0; i < LAYERS; i++)
        SUCCEEDS(take_plain(&pieces[i], layer));
    SUCCEEDS(take_async(&tried, step));
    SUCCEEDS(take_graph(&graph, STEP));
    CHECK(limit_bytes() - free_bytes() >= used + LAYERS * layer + step);
    give_graph(&graph);
    give_async(&tried);
    give_all(&families[0], LAYERS);
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
    CHECK(comes_back(before, STEP, 2000));
}

/* Imported memory belongs to the process that has it, once. */
static void memory_is_charged_once(void)
{
    const uint64_t before = free_bytes();
    CUmemAllocationProp wanted = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                  .requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                                  .location = {CU_MEM_LOCATION_TYPE_DEVICE, gpu}};
    CUmemGenericAllocationHandle handle = 0, imported = 0;
    int fd = -1;

    SUCCEEDS(cu.cuMemCreate(&handle, 256 * MIB, &wanted, 0));
    SUCCEEDS(
        cu.cuMemExportToShareableHandle(&fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    SUCCEEDS(cu.cuMemImportFromShareableHandle(&imported, (void *)(intptr_t)fd,
                                               CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    close(fd);
    CHECK(before - free_bytes() >= 256 * MIB && before - free_bytes() <= 256 * MIB + GRANULE);
    SUCCEEDS(cu.cuMemRelease(imported));
    SUCCEEDS(cu.cuMemRelease(handle));
    CHECK(before - free_bytes() <= GRANULE);
}

/* --- several processes --- */

struct hog {
    pid_t pid;
    int to, from;
};

static struct hog start_hog(void)
{
    char *const arguments[] = {(char *)(uintptr_t) "conformance-limits",
                               (char *)(uintptr_t) "--hog", (char *)(uintptr_t)library_path, NULL};
    posix_spawn_file_actions_t actions;
    int down[2], up[2];
    struct hog hog = {0};

    if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC))
        abort();
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, down[0], 0);
    posix_spawn_file_actions_adddup2(&actions, up[1], 1);
    CHECK(posix_spawn(&hog.pid, "/proc/self/exe", &actions, NULL, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(down[0]);
    close(up[1]);
    hog.to = down[1];
    hog.from = up[0];
    return hog;
}

/* MiB that it has, by its own account. */
static uint64_t hog_takes(const struct hog *hog)
{
    uint64_t mib = 0;

    if (read(hog->from, &mib, sizeof(mib)) != sizeof(mib))
        check(false, "a hog said nothing", __LINE__);
    return mib;
}

static void end_hog(const struct hog *hog, int signal_number)
{
    int status;

    if (signal_number)
        kill(hog->pid, signal_number);
    close(hog->to);
    waitpid(hog->pid, &status, 0);
    close(hog->from);
    CHECK(signal_number || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

/* Takes all, in pieces of 16 MiB; then waits to be ended. */
static int be_hog(void)
{
    uint64_t mib = 0;
    CUdeviceptr memory;
    CUresult r;
    char byte;

    if (cu.cuInit(0) != CUDA_SUCCESS)
        return 1;
    r = cu.cuDevicePrimaryCtxRetain(&primary, gpu);
    if (r == CUDA_SUCCESS)
        r = cu.cuCtxSetCurrent(primary);
    while (r == CUDA_SUCCESS && (r = cu.cuMemAlloc_v2(&memory, 16 * MIB)) == CUDA_SUCCESS)
        mib += 16;
    if (r != CUDA_ERROR_OUT_OF_MEMORY || write(1, &mib, sizeof(mib)) != sizeof(mib))
        return 1;
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}

static void processes_share_the_limit(void)
{
    enum { N = 3 };
    const uint64_t before = free_bytes();
    struct hog hogs[N];
    uint64_t sum = 0;

    for (unsigned i = 0; i < N; i++)
        hogs[i] = start_hog();
    for (unsigned i = 0; i < N; i++)
        sum += hog_takes(&hogs[i]);
    note("%d processes at once took %llu of %llu MiB", N, (unsigned long long)sum,
         (unsigned long long)(before / MIB));
    CHECK(sum * MIB <= before && sum > 0);
    CHECK(free_bytes() <= 64 * MIB + N * 16 * MIB);
    for (unsigned i = 0; i < N; i++)
        end_hog(&hogs[i], 0);
    CHECK(comes_back(before, STEP, 2000));
}

static void killed_processes_leave_nothing(void)
{
    const uint64_t before = free_bytes();

    for (unsigned round = 0; round < 5; round++) {
        struct hog hog = start_hog();

        if (round % 2 == 0)
            hog_takes(&hog);
        else
            poll(NULL, 0, (int)(20 * round)); /* in the middle of it */
        end_hog(&hog, SIGKILL);
        CHECK(comes_back(before, STEP, 2000));
    }
}

/* --- the program --- */

static bool load(void)
{
    void *library = dlopen(library_path, RTLD_NOW);

    if (!library)
        return false;
#define LOAD(name, arguments) *(void **)&cu.name = dlsym(library, #name);
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(LOAD, name, arguments)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    DRIVER_##variant(LOAD, name, arguments)
#define CUDA_REST(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(LOAD, name, arguments)
#include "shim/cuda-calls.def"
    return true;
}

static const struct tapcase cases[] = {
    {"views show the slice", views_show_the_slice},
    {"small pieces are counted", small_pieces},
    {"families end at the limit", families_end_at_the_limit},
    {"what is free is to be had", what_is_free_is_to_be_had},
    {"full for every family", full_for_every_family},
    {"freed memory is free", freed_memory_is_free},
    {"pools are charged for what they keep", pools_are_charged_for_what_they_keep},
    {"kept memory makes room", kept_memory_makes_room},
    {"a pool in pieces", a_pool_in_pieces},
    {"mappings hold memory", mappings_hold_memory},
    {"memory at two places", memory_at_two_places},
    {"memory is charged once", memory_is_charged_once},
    {"contexts are charged", contexts},
    {"graphs share steps", graphs_share_steps},
    {"uploaded graphs are charged", uploaded_graphs},
    {"modules are charged", modules_are_charged},
    {"starts that take most of what is free", starts_that_take_most},
    {"starts of servers", starts_of_servers},
    {"processes share the limit", processes_share_the_limit},
    {"killed processes leave nothing", killed_processes_leave_nothing},
};

int main(int argc, char **argv)
{
    const bool is_hog = argc == 3 && strcmp(argv[1], "--hog") == 0;

    verbose = argc == 3 && strcmp(argv[1], "-v") == 0;
    library_path = argc == 2 || verbose || is_hog ? argv[argc - 1] : NULL;
    if (!library_path || !load())
        return 2;
    if (is_hog)
        return be_hog();
    setvbuf(stdout, NULL, _IOLBF, 0);
    SUCCEEDS(cu.cuInit(0));
    SUCCEEDS(cu.cuDeviceGet(&gpu, 0));
    SUCCEEDS(cu.cuDevicePrimaryCtxRetain(&primary, gpu));
    SUCCEEDS(cu.cuCtxSetCurrent(primary));
    return tap_run(cases, sizeof(cases) / sizeof(cases[0]));
}
