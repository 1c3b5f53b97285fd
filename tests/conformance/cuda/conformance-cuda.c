// SPDX-License-Identifier: Apache-2.0

/*
 * The behaviour of every libcuda.so.1, simulated or real: the same cases run on both, so a real GPU
 * validates the simulator. Needs a GPU that nobody else uses, and depends only on the ABI.
 *
 *     conformance-cuda [-v] [-l] [LIBRARY]    prints TAP; -l: with a limit, by which managed
 *                                             memory is charged when it is allocated
 *     conformance-cuda --child LIBRARY    what the cases about several processes start
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
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shim/cuda-abi.h"
#include "tap.h"

#define MIB UINT64_C(1048576)

static struct {
#define CUDA_CALL(name, asked, since, variant, arguments, values)        CUresult(*name) arguments;
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) CUresult(*name) arguments;
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
} cu;

static const char *library_path = "libcuda.so.1";
static bool is_limited;
static CUdevice gpu;

static void check_return(CUresult got, CUresult wanted, const char *what, int line)
{
    if (got == wanted)
        return;
    n_failures++;
    printf("# line %d: %s: %d, not %d\n", line, what, got, wanted);
}

#define GIVES(wanted, call) check_return(call, wanted, #call, __LINE__)
#define SUCCEEDS(call)      GIVES(CUDA_SUCCESS, call)
#define REFUSES(call)       GIVES(CUDA_ERROR_INVALID_VALUE, call)

static uint64_t free_bytes(void)
{
    size_t free_now = 0, total = 0;

    SUCCEEDS(cu.cuMemGetInfo_v2(&free_now, &total));
    return free_now;
}

/* None where more is free than before: under a limit a reading of the driver may replace a figure
 * meanwhile. */
static uint64_t taken_since(uint64_t before)
{
    const uint64_t now = free_bytes();

    return before > now ? before - now : 0;
}

/* With a limit, what a context took is free once the driver was asked, which is done each second.
 */
static bool comes_back(uint64_t before, uint64_t slack)
{
    for (unsigned i = 0; is_limited && i < 100 && free_bytes() + slack < before; i++)
        poll(NULL, 0, 50);
    return free_bytes() + slack >= before;
}

static void before_init(void)
{
    CUcontext context;
    int n;

    GIVES(CUDA_ERROR_NOT_INITIALIZED, cu.cuDeviceGetCount(&n));
    GIVES(CUDA_ERROR_NOT_INITIALIZED, cu.cuDevicePrimaryCtxRetain(&context, 0));
    REFUSES(cu.cuInit(1));
    SUCCEEDS(cu.cuInit(0));
    SUCCEEDS(cu.cuInit(0));
}

static void devices(void)
{
    char name[128] = "", bus[32] = "";
    int n = 0, major = 0, minor = 0, value = 0, version = 0;
    CUdevice same = -1;
    size_t total = 0;
    CUuuid uuid = {""}, zero = {""};

    SUCCEEDS(cu.cuDriverGetVersion(&version));
    CHECK(version >= 11000);
    SUCCEEDS(cu.cuDeviceGetCount(&n));
    CHECK(n > 0);
    SUCCEEDS(cu.cuDeviceGet(&gpu, 0));
    GIVES(CUDA_ERROR_INVALID_DEVICE, cu.cuDeviceGet(&same, n));
    SUCCEEDS(cu.cuDeviceGetName(name, sizeof(name), gpu));
    SUCCEEDS(cu.cuDeviceTotalMem_v2(&total, gpu));
    CHECK(total > 1024 * MIB);
    SUCCEEDS(cu.cuDeviceGetUuid_v2(&uuid, gpu));
    CHECK(memcmp(&uuid, &zero, sizeof(uuid)) != 0);
    SUCCEEDS(cu.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu));
    SUCCEEDS(cu.cuDeviceComputeCapability(&value, &minor, gpu));
    CHECK(value == major && major >= 7);
    SUCCEEDS(cu.cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, gpu));
    CHECK(value == 32);
    SUCCEEDS(cu.cuDeviceGetPCIBusId(bus, sizeof(bus), gpu));
    SUCCEEDS(cu.cuDeviceGetByPCIBusId(&same, bus));
    CHECK(same == gpu);
    note("%s, CUDA %d, %d.%d, %s, %zu MiB", name, version, major, minor, bus, total / MIB);
}

static void without_context(void)
{
    CUcontext context = (CUcontext)&context;
    CUdeviceptr memory;
    size_t a, b;

    SUCCEEDS(cu.cuCtxGetCurrent(&context));
    CHECK(!context);
    GIVES(CUDA_ERROR_INVALID_CONTEXT, cu.cuMemAlloc_v2(&memory, 1));
    GIVES(CUDA_ERROR_INVALID_CONTEXT, cu.cuMemGetInfo_v2(&a, &b));
    GIVES(CUDA_ERROR_INVALID_CONTEXT, cu.cuCtxSynchronize());
}

static bool primary_is_active(void)
{
    unsigned flags = 99;
    int active = 99;

    SUCCEEDS(cu.cuDevicePrimaryCtxGetState(gpu, &flags, &active));
    return active;
}

static void primary_context(void)
{
    CUcontext first = NULL, second = NULL;
    CUdevice device = -1;
    CUdeviceptr memory = 0;

    CHECK(!primary_is_active());
    SUCCEEDS(cu.cuDevicePrimaryCtxRetain(&first, gpu));
    SUCCEEDS(cu.cuDevicePrimaryCtxRetain(&second, gpu));
    CHECK(first && first == second && primary_is_active());
    SUCCEEDS(cu.cuCtxSetCurrent(first));
    SUCCEEDS(cu.cuCtxGetDevice(&device));
    CHECK(device == gpu);
    SUCCEEDS(cu.cuMemAlloc_v2(&memory, 4 * MIB));
    SUCCEEDS(cu.cuDevicePrimaryCtxRelease_v2(gpu));
    CHECK(primary_is_active());
    SUCCEEDS(cu.cuMemFree_v2(memory));
    SUCCEEDS(cu.cuDevicePrimaryCtxRelease_v2(gpu));
    CHECK(!primary_is_active());
    GIVES(CUDA_ERROR_INVALID_CONTEXT, cu.cuDevicePrimaryCtxRelease_v2(gpu));
    SUCCEEDS(cu.cuDevicePrimaryCtxRetain(&second, gpu));
    CHECK(first == second);
    SUCCEEDS(cu.cuCtxSetCurrent(second));
}

static void context_stack(void)
{
    CUcontext primary = NULL, own = NULL, now = NULL;
    uint64_t before = free_bytes(), cost;

    SUCCEEDS(cu.cuCtxGetCurrent(&primary));
    SUCCEEDS(cu.cuCtxCreate_v2(&own, 0, gpu));
    SUCCEEDS(cu.cuCtxGetCurrent(&now));
    CHECK(now == own && own != primary);
    cost = taken_since(before);
    note("a second context takes %llu MiB", (unsigned long long)(cost / MIB));
    CHECK(cost >= 50 * MIB);
    SUCCEEDS(cu.cuCtxPushCurrent_v2(primary));
    SUCCEEDS(cu.cuCtxPopCurrent_v2(&now));
    CHECK(now == primary);
    SUCCEEDS(cu.cuCtxDestroy_v2(own));
    if (cu.cuCtxCreate_v4) { /* of CUDA 12.5 and later */
        SUCCEEDS(cu.cuCtxCreate_v4(&own, NULL, 0, gpu));
        SUCCEEDS(cu.cuCtxDestroy_v2(own));
    }
    CHECK(comes_back(before, 4 * MIB));
    SUCCEEDS(cu.cuCtxGetCurrent(&now));
    CHECK(now == primary);
}

/* A family of allocations: takes bytes, and gives them back. */
struct family {
    const char *name;
    CUresult (*take)(uint64_t bytes);
    void (*give)(void);
};

static CUdeviceptr taken;

static CUresult take_plain(uint64_t bytes)
{
    return cu.cuMemAlloc_v2(&taken, bytes);
}

static void give_plain(void)
{
    SUCCEEDS(cu.cuMemFree_v2(taken));
}

static CUresult take_pitch(uint64_t bytes)
{
    size_t pitch = 0;
    CUresult r = cu.cuMemAllocPitch_v2(&taken, &pitch, 65536, bytes / 65536, 4);

    CHECK(r || pitch == 65536);
    return r;
}

static CUresult take_async(uint64_t bytes)
{
    return cu.cuMemAllocAsync(&taken, bytes, NULL);
}

static void give_async(void)
{
    SUCCEEDS(cu.cuMemFreeAsync(taken, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
}

static CUmemoryPool own_pool;

static CUmemPoolProps pool_properties(void)
{
    return (CUmemPoolProps){.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, gpu}};
}

static CUresult take_pool(uint64_t bytes)
{
    CUmemPoolProps properties = pool_properties();
    CUresult r;

    SUCCEEDS(cu.cuMemPoolCreate(&own_pool, &properties));
    r = cu.cuMemAllocFromPoolAsync(&taken, bytes, own_pool, NULL);
    if (r != CUDA_SUCCESS)
        SUCCEEDS(cu.cuMemPoolDestroy(own_pool));
    return r;
}

static void give_pool(void)
{
    give_async();
    SUCCEEDS(cu.cuMemPoolDestroy(own_pool));
}

static CUmemGenericAllocationHandle taken_handle;

static CUmemAllocationProp properties(void)
{
    return (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                 .location = {CU_MEM_LOCATION_TYPE_DEVICE, gpu}};
}

static CUresult take_physical(uint64_t bytes)
{
    CUmemAllocationProp wanted = properties();

    return cu.cuMemCreate(&taken_handle, bytes, &wanted, 0);
}

static void give_physical(void)
{
    SUCCEEDS(cu.cuMemRelease(taken_handle));
}

static CUarray taken_array;

static CUresult take_array(uint64_t bytes)
{
    const CUDA_ARRAY_DESCRIPTOR wanted = {16384, bytes / 65536, CU_AD_FORMAT_FLOAT, 1};

    return cu.cuArrayCreate_v2(&taken_array, &wanted);
}

static void give_array(void)
{
    SUCCEEDS(cu.cuArrayDestroy(taken_array));
}

/* As large as the hardware allows an array to be in two dimensions, it is far from a GPU's memory.
 */
static CUresult take_array_3d(uint64_t bytes)
{
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {.Width = 4096,
                                            .Height = 4096,
                                            .Depth = bytes / (4096 * 4096 * 16),
                                            .Format = CU_AD_FORMAT_FLOAT,
                                            .NumChannels = 4};

    return cu.cuArray3DCreate_v2(&taken_array, &wanted);
}

static CUmipmappedArray taken_mipmap;

static CUresult take_mipmap(uint64_t bytes)
{
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {
        .Width = 16384, .Height = bytes / 65536, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};

    return cu.cuMipmappedArrayCreate(&taken_mipmap, &wanted, 1);
}

static void give_mipmap(void)
{
    SUCCEEDS(cu.cuMipmappedArrayDestroy(taken_mipmap));
}

static const struct family families[] = {
    {"cuMemAlloc", take_plain, give_plain},
    {"cuMemAllocPitch", take_pitch, give_plain},
    {"cuMemAllocAsync", take_async, give_async},
    {"cuMemAllocAsync, cuMemFree", take_async, give_plain},
    {"cuMemAllocFromPoolAsync", take_pool, give_pool},
    {"cuMemCreate", take_physical, give_physical},
    {"cuArrayCreate", take_array, give_array},
    {"cuArray3DCreate", take_array_3d, give_array},
    {"cuMipmappedArrayCreate", take_mipmap, give_mipmap},
};
enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

/* What is taken is seen by cuMemGetInfo at once, and is back afterwards. */
static void families_are_accounted(void)
{
    const uint64_t bytes = 512 * MIB, slack = 40 * MIB;

    for (unsigned i = 0; i < N_FAMILIES; i++) {
        uint64_t before = free_bytes(), during, after;

        SUCCEEDS(families[i].take(bytes));
        during = free_bytes();
        families[i].give();
        SUCCEEDS(cu.cuCtxSynchronize());
        after = free_bytes();
        note("%s of %llu MiB: %llu MiB, %lld MiB stay", families[i].name,
             (unsigned long long)(bytes / MIB), (unsigned long long)((before - during) / MIB),
             ((long long)before - (long long)after) / (long long)MIB);
        CHECK(before - during >= bytes && before - during <= bytes + slack);
        CHECK(after <= before && before - after <= slack);
    }
}

static bool has_no_limit_of_its_own(const struct family *family)
{
    return family->take != take_array && family->take != take_mipmap &&
           family->take != take_array_3d && family->take != take_pitch;
}

static void out_of_memory_is_code_2(void)
{
    for (unsigned i = 0; i < N_FAMILIES; i++) {
        uint64_t free_now = free_bytes();

        if (!has_no_limit_of_its_own(&families[i]))
            continue;
        GIVES(CUDA_ERROR_OUT_OF_MEMORY, families[i].take((free_now / MIB / 2 * 2 + 64) * MIB));
        SUCCEEDS(cu.cuCtxSynchronize());
        CHECK(free_bytes() >= free_now - 40 * MIB);
    }
}

/* The device is full by one family; others then get code 2 as well. */
static void full_for_every_family(void)
{
    CUdeviceptr most = 0;
    uint64_t bytes = free_bytes() / (2 * MIB) * 2 * MIB;

    while (bytes > 0 && cu.cuMemAlloc_v2(&most, bytes) == CUDA_ERROR_OUT_OF_MEMORY)
        bytes -= 2 * MIB;
    note("%llu of %llu MiB are to be had", (unsigned long long)(bytes / MIB),
         (unsigned long long)(free_bytes() / MIB));
    for (unsigned i = 0; i < N_FAMILIES; i++)
        GIVES(CUDA_ERROR_OUT_OF_MEMORY, families[i].take(512 * MIB));
    SUCCEEDS(cu.cuMemFree_v2(most));
}

static void granules(void)
{
    CUdeviceptr small[64];
    uint64_t before = free_bytes(), one, many;

    SUCCEEDS(cu.cuMemAlloc_v2(&small[0], 1));
    one = taken_since(before);
    for (unsigned i = 1; i < 64; i++)
        SUCCEEDS(cu.cuMemAlloc_v2(&small[i], 1024));
    many = taken_since(before);
    note("1 byte takes %llu KiB, 64 small pieces %llu KiB", (unsigned long long)(one / 1024),
         (unsigned long long)(many / 1024));
    CHECK(one <= 2 * MIB && many <= 2 * MIB);
    for (unsigned i = 0; i < 64; i++)
        SUCCEEDS(cu.cuMemFree_v2(small[i]));
    CHECK(taken_since(before) <= 2 * MIB);
    REFUSES(cu.cuMemAlloc_v2(&small[0], 0));
    REFUSES(cu.cuMemAlloc_v2(NULL, 1));
    SUCCEEDS(cu.cuMemFree_v2(0));
    REFUSES(cu.cuMemFree_v2(4096));
}

static void ranges_and_attributes(void)
{
    CUdeviceptr memory = 0, base = 0;
    size_t size = 0;
    unsigned type = 0;
    int ordinal = -1;
    bool is_managed = true;

    SUCCEEDS(cu.cuMemAlloc_v2(&memory, 3 * MIB));
    SUCCEEDS(cu.cuMemGetAddressRange_v2(&base, &size, memory + 5));
    CHECK(base == memory && size == 3 * MIB);
    SUCCEEDS(cu.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory));
    CHECK(type == CU_MEMORYTYPE_DEVICE);
    SUCCEEDS(cu.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory));
    CHECK(ordinal == gpu);
    SUCCEEDS(cu.cuPointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, memory));
    CHECK(!is_managed);
    SUCCEEDS(cu.cuMemFree_v2(memory));
    REFUSES(cu.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory));
    GIVES(CUDA_ERROR_NOT_FOUND, cu.cuMemGetAddressRange_v2(&base, &size, memory));
}

static void host_and_managed_memory(void)
{
    uint64_t before = free_bytes();
    CUdeviceptr device = 0, managed = 0;
    void *pinned = NULL;
    bool is_managed = false;
    char page[8192];

    SUCCEEDS(cu.cuMemHostAlloc(&pinned, 64 * MIB, 0));
    memset(pinned, 1, 64 * MIB);
    SUCCEEDS(cu.cuMemHostGetDevicePointer_v2(&device, pinned, 0));
    SUCCEEDS(cu.cuMemAllocManaged(&managed, 64 * MIB, CU_MEM_ATTACH_GLOBAL));
    memset((void *)(uintptr_t)managed, 2, 64 * MIB);
    SUCCEEDS(cu.cuPointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, managed));
    CHECK(is_managed);
    note("both take %lld KiB of the device", ((long long)before - (long long)free_bytes()) / 1024);
    CHECK(taken_since(before) <= (is_limited ? 64 + 16 : 16) * MIB);
    SUCCEEDS(cu.cuMemHostRegister_v2(page, sizeof(page), 0));
    GIVES(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
          cu.cuMemHostRegister_v2(page, sizeof(page), 0));
    SUCCEEDS(cu.cuMemHostUnregister(page));
    GIVES(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cu.cuMemHostUnregister(page));
    SUCCEEDS(cu.cuMemFree_v2(managed));
    SUCCEEDS(cu.cuMemFreeHost(pinned));
}

static void copies_and_fills(void)
{
    enum { N = 4096 };
    static unsigned from[N], to[N];
    CUdeviceptr a = 0, b = 0;
    CUDA_MEMCPY2D rows = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcPitch = 128,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = to,
                          .dstPitch = 64,
                          .WidthInBytes = 64,
                          .Height = 32};

    for (unsigned i = 0; i < N; i++)
        from[i] = i * 2654435761u;
    SUCCEEDS(cu.cuMemAlloc_v2(&a, sizeof(from)));
    SUCCEEDS(cu.cuMemAlloc_v2(&b, sizeof(from)));
    SUCCEEDS(cu.cuMemcpyHtoD_v2(a, from, sizeof(from)));
    SUCCEEDS(cu.cuMemcpyDtoD_v2(b, a, sizeof(from)));
    SUCCEEDS(cu.cuMemcpyDtoH_v2(to, b, sizeof(to)));
    CHECK(memcmp(from, to, sizeof(to)) == 0);
    SUCCEEDS(cu.cuMemsetD32_v2(a, 0x01020304, N / 2));
    SUCCEEDS(cu.cuMemsetD8_v2(a + 2, 9, 1));
    SUCCEEDS(cu.cuMemcpyDtoHAsync_v2(to, a, sizeof(to), NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    CHECK(to[0] == 0x01090304 && to[N / 2 - 1] == 0x01020304 && to[N / 2] == from[N / 2]);
    rows.srcDevice = b;
    SUCCEEDS(cu.cuMemcpy2D_v2(&rows));
    CHECK(to[16] == from[32] && to[15] == from[15] && to[511] == from[31 * 32 + 15]);
    REFUSES(cu.cuMemcpyDtoH_v2(to, 4096, 16));
    SUCCEEDS(cu.cuMemFree_v2(a));
    SUCCEEDS(cu.cuMemFree_v2(b));
}

static uint64_t pool_value(CUmemoryPool pool, CUmemPool_attribute attribute)
{
    uint64_t value = 0;

    SUCCEEDS(cu.cuMemPoolGetAttribute(pool, attribute, &value));
    return value;
}

static void pools_keep_what_is_freed(void)
{
    CUmemPoolProps wanted = pool_properties();
    CUmemoryPool pool = NULL;
    CUdeviceptr memory = 0;
    uint64_t keep = 1024 * MIB, zero = 0, before = free_bytes(), held;

    SUCCEEDS(cu.cuMemPoolCreate(&pool, &wanted));
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) == 0);
    SUCCEEDS(cu.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
    SUCCEEDS(cu.cuMemAllocFromPoolAsync(&memory, 100 * MIB, pool, NULL));
    held = pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
    note("100 MiB reserve %llu MiB", (unsigned long long)(held / MIB));
    CHECK(held >= 100 * MIB && held <= 160 * MIB);
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 100 * MIB);
    SUCCEEDS(cu.cuMemFreeAsync(memory, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0);
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == held);
    CHECK(taken_since(before) >= held);
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH) == 100 * MIB);
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH) == held);
    SUCCEEDS(cu.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &zero));
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH) == 0);
    SUCCEEDS(cu.cuMemPoolTrimTo(pool, 0));
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0);
    SUCCEEDS(cu.cuMemPoolDestroy(pool));
}

#define BY_FD CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR

/* A lock of what is no part of any contents, against other open files. */
static bool lock_alone(int fd)
{
    struct flock alone = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1L << 62, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &alone) == 0;
}

/* Whether they are one open file; a lock of it ends with the last of its descriptors. */
static void check_descriptors(int one, int other, bool are_same)
{
    const int copy = dup(one);

    CHECK((fcntl(one, F_GETFL) & O_ACCMODE) == O_RDWR);
    CHECK(lock_alone(one) && lock_alone(copy) && lock_alone(other) == are_same);
    close(one);
    CHECK(lock_alone(other) == are_same);
    close(copy);
    CHECK(lock_alone(other));
}

/* Each is an open file of its own. */
static void descriptors_of_memory(void)
{
    CUmemAllocationProp wanted = properties();
    CUmemGenericAllocationHandle handle = 0, imported[2] = {0, 0};
    int one = -1, other = -1;

    SUCCEEDS(cu.cuMemCreate(&handle, 32 * MIB, &wanted, 0));
    REFUSES(cu.cuMemExportToShareableHandle(&one, handle, BY_FD, 0));
    SUCCEEDS(cu.cuMemRelease(handle));
    wanted.requestedHandleTypes = BY_FD;
    SUCCEEDS(cu.cuMemCreate(&handle, 32 * MIB, &wanted, 0));
    SUCCEEDS(cu.cuMemExportToShareableHandle(&one, handle, BY_FD, 0));
    SUCCEEDS(cu.cuMemExportToShareableHandle(&other, handle, BY_FD, 0));
    check_descriptors(one, other, false);
    for (int i = 0; i < 2; i++)
        SUCCEEDS(cu.cuMemImportFromShareableHandle(&imported[i], (void *)(intptr_t)other, BY_FD));
    close(other);
    for (int i = 0; i < 2; i++)
        SUCCEEDS(cu.cuMemRelease(imported[i]));
    SUCCEEDS(cu.cuMemRelease(handle));
}

/* Those of one pool are one open file. */
static void descriptors_of_pools(void)
{
    CUmemPoolProps wanted = pool_properties();
    CUmemoryPool pool = NULL, imported = NULL;
    CUdeviceptr memory;
    int one = -1, other = -1;

    SUCCEEDS(cu.cuMemPoolCreate(&pool, &wanted));
    REFUSES(cu.cuMemPoolExportToShareableHandle(&one, pool, BY_FD, 0));
    SUCCEEDS(cu.cuMemPoolDestroy(pool));
    wanted.handleTypes = BY_FD;
    SUCCEEDS(cu.cuMemPoolCreate(&pool, &wanted));
    SUCCEEDS(cu.cuMemPoolExportToShareableHandle(&one, pool, BY_FD, 0));
    SUCCEEDS(cu.cuMemPoolExportToShareableHandle(&other, pool, BY_FD, 0));
    check_descriptors(one, other, true);
    SUCCEEDS(cu.cuMemPoolImportFromShareableHandle(&imported, (void *)(intptr_t)other, BY_FD, 0));
    close(other);
    REFUSES(cu.cuMemAllocFromPoolAsync(&memory, MIB, imported, NULL));
    SUCCEEDS(cu.cuMemPoolDestroy(imported));
    SUCCEEDS(cu.cuMemPoolDestroy(pool));
}

static void virtual_memory(void)
{
    CUmemAllocationProp wanted = properties();
    const CUmemAccessDesc both = {{CU_MEM_LOCATION_TYPE_DEVICE, gpu},
                                  CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemGenericAllocationHandle handle = 0, again = 0;
    CUdeviceptr place = 0;
    size_t step = 0;
    unsigned seen = 0;
    unsigned long long access = 99;
    uint64_t before = free_bytes();

    SUCCEEDS(cu.cuMemGetAllocationGranularity(&step, &wanted, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    CHECK(step == 2 * MIB);
    SUCCEEDS(cu.cuMemAddressReserve(&place, 64 * step, 0, 0, 0));
    CHECK(taken_since(before) <= 2 * MIB);
    REFUSES(cu.cuMemCreate(&handle, step / 2, &wanted, 0));
    SUCCEEDS(cu.cuMemCreate(&handle, 32 * step, &wanted, 0));
    CHECK(taken_since(before) >= 32 * step);
    SUCCEEDS(cu.cuMemMap(place, 32 * step, 0, handle, 0));
    SUCCEEDS(cu.cuMemSetAccess(place, 32 * step, &both, 1));
    SUCCEEDS(cu.cuMemGetAccess(&access, &both.location, place));
    CHECK(access == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    SUCCEEDS(cu.cuMemsetD32_v2(place, 7, 100));
    SUCCEEDS(cu.cuMemcpyDtoH_v2(&seen, place + 4, sizeof(seen)));
    CHECK(seen == 7);
    SUCCEEDS(cu.cuMemRelease(handle));
    CHECK(taken_since(before) >= 32 * step); /* it is still mapped */
    SUCCEEDS(cu.cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)place));
    SUCCEEDS(cu.cuMemUnmap(place, 32 * step));
    CHECK(taken_since(before) >= 32 * step);
    SUCCEEDS(cu.cuMemRelease(again));
    CHECK(taken_since(before) <= 4 * MIB);
    SUCCEEDS(cu.cuMemAddressFree(place, 64 * step));
}

/* Keeps one thread of the device busy for as many microseconds as its parameter says. */
static const char spin_image[] = ".version 7.0\n"
                                 ".target sm_70\n"
                                 ".address_size 64\n"
                                 ".visible .entry spin_us(.param .u32 us)\n"
                                 "{\n"
                                 "    .reg .pred %p;\n"
                                 "    .reg .u32 %r;\n"
                                 "    .reg .u64 %begin, %now, %wanted;\n"
                                 "    ld.param.u32 %r, [us];\n"
                                 "    mul.wide.u32 %wanted, %r, 1000;\n"
                                 "    mov.u64 %begin, %globaltimer;\n"
                                 "again:\n"
                                 "    mov.u64 %now, %globaltimer;\n"
                                 "    sub.u64 %now, %now, %begin;\n"
                                 "    setp.lt.u64 %p, %now, %wanted;\n"
                                 "    @%p bra again;\n"
                                 "    ret;\n"
                                 "}\n";

static CUmodule spin_module;
static CUfunction spin_kernel;

static void modules(void)
{
    CUfunction none = NULL;
    int threads = 0;

    SUCCEEDS(cu.cuModuleLoadData(&spin_module, spin_image));
    SUCCEEDS(cu.cuModuleGetFunction(&spin_kernel, spin_module, "spin_us"));
    GIVES(CUDA_ERROR_NOT_FOUND, cu.cuModuleGetFunction(&none, spin_module, "spin"));
    SUCCEEDS(cu.cuFuncGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, spin_kernel));
    CHECK(threads == 1024);
}

static CUresult spin(unsigned us, CUstream stream)
{
    void *parameters[] = {&us};

    return cu.cuLaunchKernel(spin_kernel, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}

/* A kernel of a library is launched as it is, and is also a function of the current context. */
static void libraries(void)
{
    CUlibrary library = NULL, same = NULL;
    CUkernel kernel = NULL;
    CUfunction function = NULL;
    unsigned us = 1;
    void *parameters[] = {&us};
    int threads = 0;

    SUCCEEDS(cu.cuLibraryLoadData(&library, spin_image, NULL, NULL, 0, NULL, NULL, 0));
    GIVES(CUDA_ERROR_NOT_FOUND, cu.cuLibraryGetKernel(&kernel, library, "spin"));
    SUCCEEDS(cu.cuLibraryGetKernel(&kernel, library, "spin_us"));
    SUCCEEDS(cu.cuKernelGetFunction(&function, kernel));
    SUCCEEDS(
        cu.cuLaunchKernel((CUfunction)(void *)kernel, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    SUCCEEDS(cu.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    SUCCEEDS(cu.cuKernelGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 0));
    CHECK(threads == 1024);
    SUCCEEDS(cu.cuKernelGetLibrary(&same, kernel));
    CHECK(same == library);
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuLibraryUnload(library));
}

static double now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Not ready, while the work that began there is not over: a machine may have been late in between.
 */
#define BUSY(begin, ms, call)                                                              \
    ({                                                                                     \
        CUresult _got = call;                                                              \
        check_return(_got, now_ms() - (begin) < (ms) ? CUDA_ERROR_NOT_READY : _got, #call, \
                     __LINE__);                                                            \
    })

static void kernels_take_time(void)
{
    CUevent before = NULL, after = NULL, never = NULL;
    double begin;
    float ms = 0;

    SUCCEEDS(cu.cuEventCreate(&before, CU_EVENT_DEFAULT));
    SUCCEEDS(cu.cuEventCreate(&after, CU_EVENT_DEFAULT));
    SUCCEEDS(cu.cuEventCreate(&never, CU_EVENT_DEFAULT));
    SUCCEEDS(spin(1, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    begin = now_ms();
    SUCCEEDS(cu.cuEventRecord(before, NULL));
    SUCCEEDS(spin(100000, NULL));
    SUCCEEDS(cu.cuEventRecord(after, NULL));
    BUSY(begin, 100, cu.cuEventQuery(after));
    BUSY(begin, 100, cu.cuStreamQuery(NULL));
    BUSY(begin, 100, cu.cuEventElapsedTime(&ms, before, after));
    SUCCEEDS(cu.cuEventSynchronize(after));
    CHECK(now_ms() - begin >= 100);
    SUCCEEDS(cu.cuEventQuery(after));
    SUCCEEDS(cu.cuEventElapsedTime(&ms, before, after));
    note("a kernel of 100 ms takes %.3f ms", ms);
    CHECK(ms >= 99.9f);
    SUCCEEDS(cu.cuEventQuery(never));
    GIVES(CUDA_ERROR_INVALID_HANDLE, cu.cuEventElapsedTime(&ms, before, never));
    SUCCEEDS(cu.cuEventDestroy_v2(before));
    SUCCEEDS(cu.cuEventDestroy_v2(after));
    SUCCEEDS(cu.cuEventDestroy_v2(never));
}

/* Two streams at once take as long as one; the default stream waits for blocking streams alone. */
static void streams_run_side_by_side(void)
{
    CUstream one = NULL, two = NULL, free_one = NULL;
    double begin;

    SUCCEEDS(cu.cuStreamCreate(&one, CU_STREAM_DEFAULT));
    SUCCEEDS(cu.cuStreamCreate(&two, CU_STREAM_DEFAULT));
    SUCCEEDS(cu.cuStreamCreate(&free_one, CU_STREAM_NON_BLOCKING));
    begin = now_ms();
    SUCCEEDS(spin(150000, one));
    SUCCEEDS(spin(150000, two));
    SUCCEEDS(cu.cuStreamSynchronize(one));
    SUCCEEDS(cu.cuStreamSynchronize(two));
    note("150 ms twice, side by side: %.1f ms", now_ms() - begin);
    CHECK(now_ms() - begin >= 150);

    begin = now_ms();
    SUCCEEDS(spin(100000, one));
    SUCCEEDS(spin(1, NULL));
    SUCCEEDS(spin(1, two));
    BUSY(begin, 100, cu.cuStreamQuery(two));
    SUCCEEDS(cu.cuStreamSynchronize(two));
    SUCCEEDS(cu.cuStreamQuery(one));

    begin = now_ms();
    SUCCEEDS(spin(300000, free_one));
    SUCCEEDS(spin(1, NULL));
    SUCCEEDS(cu.cuStreamSynchronize(NULL));
    BUSY(begin, 300, cu.cuStreamQuery(free_one));
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuStreamQuery(free_one));
    SUCCEEDS(cu.cuStreamDestroy_v2(one));
    SUCCEEDS(cu.cuStreamDestroy_v2(two));
    SUCCEEDS(cu.cuStreamDestroy_v2(free_one));
}

static void add_ten(void *number)
{
    *(unsigned *)number += 10;
}

static void times_two(void *number)
{
    *(unsigned *)number *= 2;
}

/* Work of a stream is done in order, also copies and calls, and that of another waits for an event.
 */
static void work_is_done_in_order(void)
{
    CUstream one = NULL, two = NULL;
    CUevent event = NULL;
    CUdeviceptr memory = 0;
    unsigned number = 1, *seen = NULL;
    double begin;

    SUCCEEDS(cu.cuMemAlloc_v2(&memory, 4096));
    SUCCEEDS(cu.cuMemHostAlloc((void **)&seen, sizeof(*seen), 0));
    SUCCEEDS(cu.cuMemsetD32_v2(memory, 1, 1));
    SUCCEEDS(cu.cuStreamCreate(&one, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuStreamCreate(&two, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    SUCCEEDS(cu.cuCtxSynchronize());
    begin = now_ms();
    SUCCEEDS(spin(50000, one));
    SUCCEEDS(cu.cuLaunchHostFunc(one, add_ten, &number));
    SUCCEEDS(cu.cuMemsetD32Async(memory, 2, 1, one));
    SUCCEEDS(cu.cuEventRecord(event, one));
    SUCCEEDS(cu.cuStreamWaitEvent(two, event, 0));
    SUCCEEDS(cu.cuLaunchHostFunc(two, times_two, &number));
    SUCCEEDS(cu.cuMemcpyDtoHAsync_v2(seen, memory, sizeof(*seen), two));
    BUSY(begin, 50, cu.cuStreamQuery(two));
    SUCCEEDS(cu.cuStreamSynchronize(two));
    CHECK(number == 22 && *seen == 2);
    SUCCEEDS(cu.cuEventDestroy_v2(event));
    SUCCEEDS(cu.cuStreamDestroy_v2(one));
    SUCCEEDS(cu.cuStreamDestroy_v2(two));
    SUCCEEDS(cu.cuMemFreeHost(seen));
    SUCCEEDS(cu.cuMemFree_v2(memory));
}

/* A page that other processes can map as well, and the device write to. */
struct shared_page {
    int fd;
    uint32_t *words;
    CUdeviceptr device;
};

static struct shared_page begin_page(void)
{
    const unsigned portable_and_mapped = 3; /* CU_MEMHOSTREGISTER_PORTABLE | _DEVICEMAP */
    struct shared_page page = {.fd = memfd_create("fences", MFD_CLOEXEC)};

    CHECK(page.fd >= 0 && ftruncate(page.fd, 4096) == 0);
    page.words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page.fd, 0);
    CHECK(page.words != MAP_FAILED);
    SUCCEEDS(cu.cuMemHostRegister_v2(page.words, 4096, portable_and_mapped));
    SUCCEEDS(cu.cuMemHostGetDevicePointer_v2(&page.device, page.words, 0));
    return page;
}

static void end_page(struct shared_page *page)
{
    SUCCEEDS(cu.cuMemHostUnregister(page->words));
    munmap(page->words, 4096);
    close(page->fd);
}

static uint32_t word(const struct shared_page *page, unsigned i)
{
    return __atomic_load_n(&page->words[i], __ATOMIC_ACQUIRE);
}

static void set_word(struct shared_page *page, unsigned i, uint32_t value)
{
    __atomic_store_n(&page->words[i], value, __ATOMIC_RELEASE);
}

/* Fences: behind all that was launched before, and before what comes after. */
static void values_are_written_in_order(void)
{
    struct shared_page page = begin_page();
    CUdeviceptr memory = 0;
    CUstream stream = NULL;
    uint64_t wide = 0;
    unsigned seen = 0;
    double begin;

    SUCCEEDS(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuMemAlloc_v2(&memory, 4096));
    begin = now_ms();
    SUCCEEDS(spin(50000, stream));
    SUCCEEDS(cu.cuStreamWriteValue32_v2(stream, page.device, 1, 0));
    SUCCEEDS(cu.cuStreamWriteValue32_v2(stream, page.device + 4, 7, 1));
    SUCCEEDS(spin(50000, stream));
    SUCCEEDS(cu.cuStreamWriteValue32_v2(stream, page.device, 2, 0));
    seen = word(&page, 0);
    CHECK(seen == 0 || now_ms() - begin >= 50);
    for (unsigned i = 0; word(&page, 0) < 1 && i < 20000; i++)
        poll(NULL, 0, 1);
    CHECK(now_ms() - begin >= 50);
    seen = word(&page, 0);
    CHECK(seen == 1 || (seen == 2 && now_ms() - begin >= 100));
    SUCCEEDS(cu.cuStreamSynchronize(stream));
    CHECK(word(&page, 0) == 2 && word(&page, 1) == 7);

    SUCCEEDS(cu.cuStreamWriteValue64_v2(stream, memory + 8, UINT64_C(5) << 40, 0));
    SUCCEEDS(cu.cuStreamSynchronize(stream));
    SUCCEEDS(cu.cuMemcpyDtoH_v2(&wide, memory + 8, sizeof(wide)));
    CHECK(wide == UINT64_C(5) << 40);
    SUCCEEDS(cu.cuMemFree_v2(memory));
    SUCCEEDS(cu.cuStreamDestroy_v2(stream));
    end_page(&page);
}

static void values_have_to_be_the_devices(void)
{
    static uint32_t nowhere[1024];
    struct shared_page page = begin_page();
    CUdeviceptr managed = 0;

    REFUSES(cu.cuStreamWriteValue32_v2(NULL, (CUdeviceptr)(uintptr_t)nowhere, 1, 0));
    REFUSES(cu.cuStreamWaitValue32_v2(NULL, (CUdeviceptr)(uintptr_t)nowhere, 0, 0));
    REFUSES(cu.cuStreamWriteValue32_v2(NULL, page.device + 2, 1, 0));
    REFUSES(cu.cuStreamWriteValue64_v2(NULL, page.device + 4, 1, 0));
    REFUSES(cu.cuStreamWriteValue32_v2(NULL, page.device, 1, 8));
    SUCCEEDS(cu.cuMemAllocManaged(&managed, 4096, CU_MEM_ATTACH_GLOBAL));
    CHECK(cu.cuStreamWriteValue32_v2(NULL, managed, 1, 0) != CUDA_SUCCESS);
    SUCCEEDS(cu.cuMemFree_v2(managed));
    SUCCEEDS(cu.cuCtxSynchronize());
    CHECK(word(&page, 0) == 0);
    end_page(&page);
}

/* For each comparison: a value for which it does not hold, and one for which it does. */
static void streams_wait_for_values(void)
{
    static const struct {
        unsigned compare;
        uint32_t wanted, before, after;
    } rows[] = {
        {CU_STREAM_WAIT_VALUE_GEQ, 5, 4, 6},          {CU_STREAM_WAIT_VALUE_EQ, 5, 6, 5},
        {CU_STREAM_WAIT_VALUE_GEQ, 2, 0xfffffffe, 3}, /* on a circle */
        {CU_STREAM_WAIT_VALUE_AND, 12, 3, 8},         {CU_STREAM_WAIT_VALUE_NOR, 1, 0xfffffffe, 0},
    };
    struct shared_page page = begin_page();
    CUstream one = NULL, two = NULL;

    SUCCEEDS(cu.cuStreamCreate(&one, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuStreamCreate(&two, CU_STREAM_NON_BLOCKING));
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_word(&page, 0, rows[i].before);
        set_word(&page, 1, 0);
        SUCCEEDS(cu.cuStreamWaitValue32_v2(one, page.device, rows[i].wanted, rows[i].compare));
        SUCCEEDS(cu.cuStreamWriteValue32_v2(one, page.device + 4, 1, 0));
        GIVES(CUDA_ERROR_NOT_READY, cu.cuStreamQuery(one));
        poll(NULL, 0, 5); /* the time to do it wrong */
        CHECK(word(&page, 1) == 0);
        set_word(&page, 0, rows[i].after);
        SUCCEEDS(cu.cuStreamSynchronize(one));
        CHECK(word(&page, 1) == 1);
    }
    SUCCEEDS(cu.cuStreamWaitValue64_v2(one, page.device + 8, 9, CU_STREAM_WAIT_VALUE_EQ));
    GIVES(CUDA_ERROR_NOT_READY, cu.cuStreamQuery(one));
    SUCCEEDS(cu.cuStreamWriteValue64_v2(two, page.device + 8, 9, 0));
    SUCCEEDS(cu.cuStreamSynchronize(one));
    SUCCEEDS(cu.cuStreamDestroy_v2(one));
    SUCCEEDS(cu.cuStreamDestroy_v2(two));
    end_page(&page);
}

static void values_in_graphs(void)
{
    struct shared_page page = begin_page();
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    CUstream stream = NULL;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUgraphNode nodes[4];
    size_t n = 4;

    SUCCEEDS(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    SUCCEEDS(cu.cuStreamWriteValue32_v2(stream, page.device, 3, 0));
    SUCCEEDS(cu.cuStreamEndCapture(stream, &graph));
    SUCCEEDS(cu.cuGraphGetNodes(graph, nodes, &n));
    CHECK(n == 1);
    SUCCEEDS(cu.cuGraphNodeGetType(nodes[0], &type));
    CHECK(type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);
    SUCCEEDS(cu.cuGraphInstantiateWithFlags(&exec, graph, 0));
    CHECK(word(&page, 0) == 0);
    SUCCEEDS(cu.cuGraphLaunch(exec, stream));
    SUCCEEDS(cu.cuStreamSynchronize(stream));
    CHECK(word(&page, 0) == 3);
    SUCCEEDS(cu.cuGraphExecDestroy(exec));
    SUCCEEDS(cu.cuGraphDestroy(graph));
    SUCCEEDS(cu.cuStreamDestroy_v2(stream));
    end_page(&page);
}

/* Captured work is not done, but with every launch of the graph. */
static void graphs_do_what_was_captured(void)
{
    CUstream stream = NULL;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    CUgraphNodeType type;
    CUgraphNode nodes[8];
    size_t n = 0;
    unsigned number = 1;
    double begin;

    SUCCEEDS(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    SUCCEEDS(cu.cuStreamIsCapturing(stream, &status));
    CHECK(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
    SUCCEEDS(spin(40000, stream));
    SUCCEEDS(cu.cuLaunchHostFunc(stream, times_two, &number));
    SUCCEEDS(cu.cuStreamEndCapture(stream, &graph));
    SUCCEEDS(cu.cuGraphGetNodes(graph, NULL, &n));
    CHECK(n == 2);
    SUCCEEDS(cu.cuGraphGetNodes(graph, nodes, &n));
    SUCCEEDS(cu.cuGraphNodeGetType(nodes[0], &type));
    CHECK(type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_HOST);
    SUCCEEDS(cu.cuGraphInstantiateWithFlags(&exec, graph, 0));
    SUCCEEDS(cu.cuStreamSynchronize(stream));
    CHECK(number == 1);
    begin = now_ms();
    SUCCEEDS(cu.cuGraphLaunch(exec, stream));
    SUCCEEDS(cu.cuGraphLaunch(exec, stream));
    SUCCEEDS(cu.cuStreamSynchronize(stream));
    CHECK(number == 4 && now_ms() - begin >= 80);
    SUCCEEDS(cu.cuGraphExecDestroy(exec));
    SUCCEEDS(cu.cuGraphDestroy(graph));
    SUCCEEDS(cu.cuStreamDestroy_v2(stream));
}

/* Memory that is allocated in a capture is the graph's, and there from its launch on. */
static void captured_allocations(void)
{
    CUdeviceptr memory = 0, ordinary = 0;
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    CUstream stream = NULL;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUgraphNode nodes[2];
    size_t n = 2;

    SUCCEEDS(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuMemAllocAsync(&ordinary, 4096, stream));
    SUCCEEDS(cu.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    SUCCEEDS(cu.cuMemAllocAsync(&memory, 4096, stream));
    SUCCEEDS(cu.cuMemFreeAsync(memory, stream));
    SUCCEEDS(cu.cuStreamEndCapture(stream, &graph));
    SUCCEEDS(cu.cuGraphGetNodes(graph, nodes, &n));
    CHECK(n == 2);
    SUCCEEDS(cu.cuGraphNodeGetType(nodes[0], &type));
    CHECK(type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || type == CU_GRAPH_NODE_TYPE_MEM_FREE);
    SUCCEEDS(cu.cuGraphInstantiateWithFlags(&exec, graph, 0));
    SUCCEEDS(cu.cuGraphLaunch(exec, stream));
    SUCCEEDS(cu.cuGraphLaunch(exec, stream));
    SUCCEEDS(cu.cuMemFreeAsync(ordinary, stream));
    SUCCEEDS(cu.cuStreamSynchronize(stream));
    SUCCEEDS(cu.cuGraphExecDestroy(exec));
    SUCCEEDS(cu.cuGraphDestroy(graph));
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
    SUCCEEDS(cu.cuStreamDestroy_v2(stream));
}

static void graphs_by_hand(void)
{
    unsigned us = 30000;
    void *parameters[] = {&us};
    const CUDA_KERNEL_NODE_PARAMS kernel = {spin_kernel, 1, 1,          1,    1,    1,
                                            1,           0, parameters, NULL, NULL, NULL};
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUgraphNode first = NULL, second = NULL;
    double begin;

    SUCCEEDS(cu.cuGraphCreate(&graph, 0));
    SUCCEEDS(cu.cuGraphAddKernelNode_v2(&first, graph, NULL, 0, &kernel));
    SUCCEEDS(cu.cuGraphAddEmptyNode(&second, graph, &first, 1));
    SUCCEEDS(cu.cuGraphAddKernelNode_v2(&second, graph, &second, 1, &kernel));
    SUCCEEDS(cu.cuGraphInstantiateWithFlags(&exec, graph, 0));
    SUCCEEDS(cu.cuGraphDestroy(graph));
    begin = now_ms();
    SUCCEEDS(cu.cuGraphLaunch(exec, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    CHECK(now_ms() - begin >= 60);
    SUCCEEDS(cu.cuGraphExecDestroy(exec));
}

static uint64_t graph_memory(CUgraphMem_attribute attribute)
{
    uint64_t value = 99;

    SUCCEEDS(cu.cuDeviceGetGraphMemAttribute(gpu, attribute, &value));
    return value;
}

/* It is taken by the launch, not by the node, and kept until it is trimmed. */
static void graphs_have_memory(void)
{
    CUDA_MEM_ALLOC_NODE_PARAMS wanted = {.poolProps = pool_properties(), .bytesize = 64 * MIB};
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUgraphNode allocate = NULL, free_it = NULL;
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    uint64_t before = free_bytes();

    SUCCEEDS(cu.cuGraphCreate(&graph, 0));
    SUCCEEDS(cu.cuGraphAddMemAllocNode(&allocate, graph, NULL, 0, &wanted));
    CHECK(wanted.dptr);
    SUCCEEDS(cu.cuGraphAddMemFreeNode(&free_it, graph, &allocate, 1, wanted.dptr));
    SUCCEEDS(cu.cuGraphNodeGetType(allocate, &type));
    CHECK(type == CU_GRAPH_NODE_TYPE_MEM_ALLOC);
    SUCCEEDS(cu.cuGraphInstantiateWithFlags(&exec, graph, 0));
    note("a graph with 64 MiB takes %llu MiB before it is launched",
         (unsigned long long)((taken_since(before)) / MIB));
    SUCCEEDS(cu.cuGraphLaunch(exec, NULL));
    SUCCEEDS(cu.cuGraphLaunch(exec, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    note("and %llu MiB afterwards, of which %llu MiB are reserved",
         (unsigned long long)((taken_since(before)) / MIB),
         (unsigned long long)(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT) / MIB));
    CHECK(taken_since(before) >= 64 * MIB);
    CHECK(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) >= 64 * MIB); /* though it is freed */
    CHECK(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT) >= 64 * MIB);
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
    CHECK(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT) == 0);
    CHECK(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) == 0);
    CHECK(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) >= 64 * MIB);
    CHECK(taken_since(before) <= 8 * MIB);
    SUCCEEDS(cu.cuGraphExecDestroy(exec));
    SUCCEEDS(cu.cuGraphDestroy(graph));
}

/* A graph that does not free what it allocates can be launched again when somebody did. */
static void memory_outlives_a_graph(void)
{
    CUDA_MEM_ALLOC_NODE_PARAMS wanted = {.poolProps = pool_properties(), .bytesize = 64 * MIB};
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUgraphNode allocate = NULL;
    unsigned seen = 0;

    SUCCEEDS(cu.cuGraphCreate(&graph, 0));
    SUCCEEDS(cu.cuGraphAddMemAllocNode(&allocate, graph, NULL, 0, &wanted));
    SUCCEEDS(cu.cuGraphInstantiateWithFlags(&exec, graph, 0));
    SUCCEEDS(cu.cuGraphLaunch(exec, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    REFUSES(cu.cuGraphLaunch(exec, NULL));
    SUCCEEDS(cu.cuMemsetD32_v2(wanted.dptr, 5, 1));
    SUCCEEDS(cu.cuMemcpyDtoH_v2(&seen, wanted.dptr, sizeof(seen)));
    CHECK(seen == 5);
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
    CHECK(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT) >= 64 * MIB);
    SUCCEEDS(cu.cuMemFree_v2(wanted.dptr));
    SUCCEEDS(cu.cuGraphLaunch(exec, NULL));
    SUCCEEDS(cu.cuMemFreeAsync(wanted.dptr, NULL));
    SUCCEEDS(cu.cuCtxSynchronize());
    SUCCEEDS(cu.cuDeviceGraphMemTrim(gpu));
    CHECK(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT) == 0);
    SUCCEEDS(cu.cuGraphExecDestroy(exec));
    SUCCEEDS(cu.cuGraphDestroy(graph));
}

/* Memory that is freed in a stream may be used by the work before it. */
static void frees_are_in_order(void)
{
    CUstream stream = NULL;
    CUmemoryPool pool = NULL;
    CUdeviceptr memory = 0;
    uint64_t used;

    SUCCEEDS(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    SUCCEEDS(cu.cuDeviceGetDefaultMemPool(&pool, gpu));
    used = pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT); /* cuMemFree may have left some */
    SUCCEEDS(cu.cuMemAllocAsync(&memory, 8 * MIB, stream));
    SUCCEEDS(spin(50000, stream));
    SUCCEEDS(cu.cuMemFreeAsync(memory, stream));
    SUCCEEDS(cu.cuStreamSynchronize(stream));
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == used);
    CHECK(pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0);
    SUCCEEDS(cu.cuStreamDestroy_v2(stream));
}

/* Every name and version is the symbol that the library exports for it. */
static void addresses_by_name(void)
{
    static const struct {
        const char *asked;
        int version;
        uint64_t flags;
        const char *symbol;
    } rows[] = {
        {"cuMemAlloc", 12000, 0, "cuMemAlloc_v2"},
        {"cuMemGetInfo", 11000, 0, "cuMemGetInfo_v2"},
        {"cuMemcpyHtoD", 12000, 0, "cuMemcpyHtoD_v2"},
        {"cuMemcpyHtoD", 12000, 2, "cuMemcpyHtoD_v2_ptds"},
        {"cuMemcpyHtoDAsync", 12000, 2, "cuMemcpyHtoDAsync_v2_ptsz"},
        {"cuMemAllocAsync", 12000, 0, "cuMemAllocAsync"},
        {"cuMemAllocAsync", 12000, 2, "cuMemAllocAsync_ptsz"},
        {"cuLaunchKernel", 12000, 1, "cuLaunchKernel"},
        {"cuLaunchKernel", 12000, 2, "cuLaunchKernel_ptsz"},
        {"cuDevicePrimaryCtxRelease", 10000, 0, "cuDevicePrimaryCtxRelease"},
        {"cuDevicePrimaryCtxRelease", 11000, 0, "cuDevicePrimaryCtxRelease_v2"},
        {"cuCtxCreate", 11000, 0, "cuCtxCreate_v2"},
        {"cuCtxCreate", 11040, 0, "cuCtxCreate_v3"},
        {"cuGetProcAddress", 11030, 0, "cuGetProcAddress"},
        {"cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"},
        {"cuStreamBeginCapture", 12000, 0, "cuStreamBeginCapture_v2"},
        {"cuGraphInstantiateWithFlags", 12000, 0, "cuGraphInstantiateWithFlags"},
        {"cuInit", 12000, 0, "cuInit"},
    };
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL), *address;
    CUdriverProcAddressQueryResult status;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *exported = dlsym(library, rows[i].symbol);

        address = NULL;
        SUCCEEDS(cu.cuGetProcAddress_v2(rows[i].asked, &address, rows[i].version, rows[i].flags,
                                        &status));
        check(address && address == exported && status == CU_GET_PROC_ADDRESS_SUCCESS,
              rows[i].symbol, __LINE__);
        address = NULL;
        SUCCEEDS(cu.cuGetProcAddress(rows[i].asked, &address, rows[i].version, rows[i].flags));
        check(address && address == exported, rows[i].symbol, __LINE__);
    }
    address = &address;
    SUCCEEDS(cu.cuGetProcAddress_v2("cuNoSuchThing", &address, 12000, 0, &status));
    CHECK(!address && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    GIVES(CUDA_ERROR_NOT_FOUND, cu.cuGetProcAddress("cuNoSuchThing", &address, 12000, 0));
    SUCCEEDS(cu.cuGetProcAddress_v2("cuMemAlloc_v2", &address, 12000, 0, &status));
    CHECK(!address && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    SUCCEEDS(cu.cuGetProcAddress_v2("cuMemAllocAsync", &address, 10000, 0, &status));
    CHECK(!address && status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    REFUSES(cu.cuGetProcAddress_v2("cuInit", &address, 99000, 0, &status));
    dlclose(library);
}

/* Another process: lines to its standard input are requests, those of its output the answers.
 */
struct child {
    pid_t pid;
    FILE *to, *from;
};

static char self[] = "/proc/self/exe", child_option[] = "--child";

static struct child child_start(void)
{
    char *const arguments[] = {self, child_option, (char *)(uintptr_t)library_path, NULL};
    struct child child = {0};
    posix_spawn_file_actions_t actions;
    int in[2], out[2];

    if (pipe(in) < 0 || pipe(out) < 0)
        abort();
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    for (unsigned i = 0; i < 2; i++) {
        posix_spawn_file_actions_addclose(&actions, in[i]);
        posix_spawn_file_actions_addclose(&actions, out[i]);
    }
    CHECK(posix_spawn(&child.pid, self, &actions, NULL, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    child.to = fdopen(in[1], "w");
    child.from = fdopen(out[0], "r");
    return child;
}

/* A line to it, and its answer, which is a number. */
static long long child_ask(struct child *child, const char *line)
{
    char answer[64] = "";

    fprintf(child->to, "%s\n", line);
    fflush(child->to);
    return fgets(answer, sizeof(answer), child->from) ? strtoll(answer, NULL, 0) : -1;
}

static void child_end(struct child *child, int signal)
{
    if (signal)
        kill(child->pid, signal);
    fclose(child->to);
    fclose(child->from);
    waitpid(child->pid, NULL, 0);
}

/* Within five seconds. */
static bool becomes_free(uint64_t bytes)
{
    for (unsigned i = 0; i < 500; i++) {
        if (free_bytes() >= bytes)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

static void killed_process_leaves_nothing(void)
{
    uint64_t before = free_bytes(), with_context;
    struct child child = child_start();

    CHECK(child_ask(&child, "context") == 0);
    with_context = free_bytes();
    note("a context of another process takes %llu MiB",
         (unsigned long long)((before - with_context) / MIB));
    CHECK(before - with_context >= 50 * MIB);
    CHECK(child_ask(&child, "alloc 1024") == 0);
    CHECK(with_context - free_bytes() >= 1024 * MIB);
    child_end(&child, SIGKILL);
    CHECK(becomes_free(before - 2 * MIB));
}

/* What one has taken, another cannot have. */
static void memory_is_shared_by_processes(void)
{
    struct child child = child_start();
    uint64_t free_now;
    char line[64];

    CHECK(child_ask(&child, "context") == 0);
    free_now = free_bytes();
    snprintf(line, sizeof(line), "alloc %llu", (unsigned long long)(free_now / MIB * 3 / 4));
    CHECK(child_ask(&child, line) == 0);
    CHECK(child_ask(&child, line) == CUDA_ERROR_OUT_OF_MEMORY);
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, take_plain(free_now / 2));
    child_end(&child, 0);
    CHECK(becomes_free(free_now));
    SUCCEEDS(take_plain(free_now / 2));
    give_plain();
}

static void write_hex(char *to, const void *handle, size_t size)
{
    for (size_t i = 0; i < size; i++)
        snprintf(to + 2 * i, 3, "%02x", ((const unsigned char *)handle)[i]);
}

static void memory_by_handle(void)
{
    struct child child = child_start();
    CUipcMemHandle handle;
    CUdeviceptr memory = 0;
    char line[256] = "ipc ";
    unsigned seen = 0;
    uint64_t before;

    SUCCEEDS(cu.cuMemAlloc_v2(&memory, 4 * MIB));
    SUCCEEDS(cu.cuMemsetD32_v2(memory, 42, MIB));
    SUCCEEDS(cu.cuIpcGetMemHandle(&handle, memory));
    write_hex(line + 4, &handle, sizeof(handle));
    CHECK(child_ask(&child, "context") == 0);
    before = free_bytes();
    CHECK(child_ask(&child, line) == 42);
    SUCCEEDS(cu.cuMemcpyDtoH_v2(&seen, memory, sizeof(seen)));
    CHECK(seen == 43);
    CHECK(taken_since(before) <= 2 * MIB);
    child_end(&child, 0);
    SUCCEEDS(cu.cuMemFree_v2(memory));
}

/* The other one waits on its device for what is recorded here; then both see that it is over. */
static void event_by_handle(void)
{
    const unsigned flags = CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING;
    struct child child = child_start();
    CUipcEventHandle handle;
    CUevent event = NULL, plain = NULL;
    char line[256] = "event ";

    SUCCEEDS(cu.cuEventCreate(&plain, CU_EVENT_DISABLE_TIMING));
    REFUSES(cu.cuIpcGetEventHandle(&handle, plain));
    SUCCEEDS(cu.cuEventCreate(&event, flags));
    SUCCEEDS(cu.cuIpcGetEventHandle(&handle, event));
    write_hex(line + 6, &handle, sizeof(handle));
    CHECK(child_ask(&child, "context") == 0);
    SUCCEEDS(spin(20000, NULL));
    SUCCEEDS(cu.cuEventRecord(event, NULL));
    CHECK(child_ask(&child, line) == CUDA_SUCCESS);
    SUCCEEDS(cu.cuEventQuery(event));
    child_end(&child, 0);
    SUCCEEDS(cu.cuEventDestroy_v2(event));
    SUCCEEDS(cu.cuEventDestroy_v2(plain));
}

/* The other one has no context, and sees memory alone. */
static void fences_in_another_process(void)
{
    struct shared_page page = begin_page();
    struct child child = child_start();
    char line[64];

    snprintf(line, sizeof(line), "word /proc/%d/fd/%d", (int)getpid(), page.fd);
    CHECK(child_ask(&child, line) == 0);
    SUCCEEDS(spin(20000, NULL));
    SUCCEEDS(cu.cuStreamWriteValue32_v2(NULL, page.device, 77, 0));
    for (unsigned i = 0; word(&page, 0) != 77 && i < 20000; i++)
        poll(NULL, 0, 1);
    CHECK(child_ask(&child, line) == 77);
    SUCCEEDS(cu.cuCtxSynchronize());
    child_end(&child, 0);
    end_page(&page);
}

/* The first word of a file. */
static long long child_read(char *path)
{
    uint32_t value = 0;
    FILE *file;

    path[strcspn(path, "\n")] = '\0';
    file = fopen(path, "r");
    if (!file || fread(&value, sizeof(value), 1, file) != 1)
        return -1;
    fclose(file);
    return value;
}

static void read_hex(const char *hex, void *handle, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        ((unsigned char *)handle)[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
}

/* Opens the handle, and returns what is known of the event once a stream has waited for it. */
static long long child_wait(const char *hex)
{
    CUipcEventHandle handle;
    CUevent event = NULL;

    read_hex(hex, &handle, sizeof(handle));
    if (cu.cuIpcOpenEventHandle(&event, handle) || cu.cuStreamWaitEvent(NULL, event, 0) ||
        cu.cuCtxSynchronize())
        return -1;
    return cu.cuEventQuery(event);
}

/* Opens the handle, returns the first word, and leaves one more there. */
static long long child_open(const char *hex)
{
    CUipcMemHandle handle;
    CUdeviceptr memory = 0;
    unsigned value = 0;

    read_hex(hex, &handle, sizeof(handle));
    if (cu.cuIpcOpenMemHandle_v2(&memory, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) ||
        cu.cuMemcpyDtoH_v2(&value, memory, sizeof(value)) ||
        cu.cuMemsetD32_v2(memory, value + 1, 1) || cu.cuCtxSynchronize() ||
        cu.cuIpcCloseMemHandle(memory))
        return -1;
    return value;
}

static int child_main(void)
{
    CUcontext context;
    CUdeviceptr memory;
    char line[256];

    while (fgets(line, sizeof(line), stdin)) {
        long long r = -1;

        if (strncmp(line, "context", 7) == 0) {
            r = cu.cuInit(0);
            r = r ? r : cu.cuDevicePrimaryCtxRetain(&context, 0);
            r = r ? r : cu.cuCtxSetCurrent(context);
        } else if (strncmp(line, "alloc ", 6) == 0) {
            r = cu.cuMemAlloc_v2(&memory, strtoull(line + 6, NULL, 10) * MIB);
        } else if (strncmp(line, "word ", 5) == 0) {
            r = child_read(line + 5);
        } else if (strncmp(line, "ipc ", 4) == 0 && strlen(line) >= 132) {
            r = child_open(line + 4);
        } else if (strncmp(line, "event ", 6) == 0 && strlen(line) >= 134) {
            r = child_wait(line + 6);
        }
        printf("%lld\n", r);
        fflush(stdout);
    }
    return 0;
}

static void texts(void)
{
    const char *text = NULL;

    SUCCEEDS(cu.cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &text));
    CHECK(text && strcmp(text, "CUDA_ERROR_OUT_OF_MEMORY") == 0);
    SUCCEEDS(cu.cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
    CHECK(text && strcmp(text, "out of memory") == 0);
    REFUSES(cu.cuGetErrorName((CUresult)98765, &text));
}

/* Everything of a context ends with it. */
static void reset(void)
{
    CUcontext context = NULL;
    CUdeviceptr memory = 0;
    uint64_t before = free_bytes();

    SUCCEEDS(cu.cuMemAlloc_v2(&memory, 256 * MIB));
    SUCCEEDS(cu.cuDevicePrimaryCtxReset_v2(gpu));
    CHECK(!primary_is_active());
    GIVES(CUDA_ERROR_CONTEXT_IS_DESTROYED, cu.cuMemAlloc_v2(&memory, 1));
    SUCCEEDS(cu.cuDevicePrimaryCtxRetain(&context, gpu));
    SUCCEEDS(cu.cuCtxSetCurrent(context));
    CHECK(comes_back(before, 40 * MIB));
    SUCCEEDS(cu.cuDevicePrimaryCtxRelease_v2(gpu));
}

static const struct tapcase cases[] = {
    {"before cuInit every call says so", before_init},
    {"devices", devices},
    {"errors as text", texts},
    {"addresses by name, version and default stream", addresses_by_name},
    {"without a context there is no memory", without_context},
    {"the primary context is counted", primary_context},
    {"each thread has a stack of contexts", context_stack},
    {"every family is accounted", families_are_accounted},
    {"too much is error 2 for every family", out_of_memory_is_code_2},
    {"a full device is full for every family", full_for_every_family},
    {"small allocations share a granule", granules},
    {"ranges and attributes of pointers", ranges_and_attributes},
    {"memory of the host is not the device's", host_and_managed_memory},
    {"copies and fills have results", copies_and_fills},
    {"pools keep what is freed, up to a threshold", pools_keep_what_is_freed},
    {"virtual memory: created, mapped, unmapped", virtual_memory},
    {"descriptors of memory", descriptors_of_memory},
    {"descriptors of pools", descriptors_of_pools},
    {"modules have kernels", modules},
    {"libraries have kernels", libraries},
    {"kernels take time, and events tell it", kernels_take_time},
    {"streams run side by side", streams_run_side_by_side},
    {"work is done in order", work_is_done_in_order},
    {"values are written in order", values_are_written_in_order},
    {"values have to be in memory of the device", values_have_to_be_the_devices},
    {"streams wait for values", streams_wait_for_values},
    {"values in graphs", values_in_graphs},
    {"graphs do what was captured", graphs_do_what_was_captured},
    {"captured allocations", captured_allocations},
    {"graphs made by hand", graphs_by_hand},
    {"graphs have memory of their own", graphs_have_memory},
    {"memory of a graph may outlive its launch", memory_outlives_a_graph},
    {"frees are in order", frees_are_in_order},
    {"a killed process leaves nothing", killed_process_leaves_nothing},
    {"processes share the memory of a device", memory_is_shared_by_processes},
    {"memory by handle in another process", memory_by_handle},
    {"events by handle in another process", event_by_handle},
    {"fences are seen by another process", fences_in_another_process},
    {"a reset ends everything of a context", reset},
};

static void load_library(void)
{
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        printf("1..0 # SKIP %s\n", dlerror());
        exit(77);
    }
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    cu.name = (CUresult(*) arguments)dlsym(library, #name);       \
    if (!cu.name)                                                 \
        note("this library has no " #name);
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    CUDA_CALL(name, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
}

int main(int argc, char **argv)
{
    const char *state = getenv("GPUSLICE_SIM_STATE");
    bool is_child = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            verbose = true;
        else if (strcmp(argv[i], "-l") == 0)
            is_limited = true;
        else if (strcmp(argv[i], "--child") == 0)
            is_child = true;
        else
            library_path = argv[i];
    }
    /* A simulated machine is new, whatever an earlier run or version of the simulator left. */
    if (state && !is_child)
        unlink(state);
    load_library();
    if (is_child)
        return child_main();
    return tap_run(cases, sizeof(cases) / sizeof(cases[0]));
}
