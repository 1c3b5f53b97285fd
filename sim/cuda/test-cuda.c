// SPDX-License-Identifier: Apache-2.0

/* The two simulated libraries in one process, as a program that uses CUDA and NVML has them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu/nvml-abi.h"
#include "shim/cuda-abi.h"

#define MIB UINT64_C(1048576)

static struct {
#define CUDA_CALL(name, asked, since, variant, arguments, values) CUresult(*name) arguments;
#define CUDA_SAME(name, other, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
} cu;

static nvmlReturn_t (*nvml_memory)(nvmlDevice_t device, nvmlMemory_t *memory);
static nvmlReturn_t (*nvml_processes)(nvmlDevice_t device, unsigned *n, nvmlProcessInfo_t *infos);
static nvmlDevice_t gpu;

static void *library(const char *variable)
{
    void *handle = dlopen(getenv(variable), RTLD_NOW | RTLD_LOCAL);

    assert_non_null(handle);
    return handle;
}

static int setup(void **state)
{
    void *cuda = library("GPUSLICE_TEST_CUDA"), *nvml = library("GPUSLICE_TEST_LIBRARY");
    nvmlReturn_t (*init)(void), (*by_index)(unsigned, nvmlDevice_t *);
    char path[] = "/tmp/test-cuda-XXXXXX";
    int fd;

    fd = mkstemp(path);
    assert_int_equal(fchmod(fd, 0660), 0);
    assert_int_equal(close(fd), 0);
    setenv("GPUSLICE_SIM_STATE", path, 1);
    setenv("GPUSLICE_MACHINE", "p5en.48xlarge", 1);
    *state = strdup(path);
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    cu.name = (CUresult(*) arguments)dlsym(cuda, #name);          \
    assert_non_null(cu.name);
#define CUDA_SAME(name, other, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
    init = (nvmlReturn_t(*)(void))dlsym(nvml, "nvmlInit_v2");
    by_index =
        (nvmlReturn_t(*)(unsigned, nvmlDevice_t *))dlsym(nvml, "nvmlDeviceGetHandleByIndex_v2");
    nvml_memory =
        (nvmlReturn_t(*)(nvmlDevice_t, nvmlMemory_t *))dlsym(nvml, "nvmlDeviceGetMemoryInfo");
    nvml_processes = (nvmlReturn_t(*)(nvmlDevice_t, unsigned *, nvmlProcessInfo_t *))dlsym(
        nvml, "nvmlDeviceGetComputeRunningProcesses_v3");
    assert_int_equal(init(), NVML_SUCCESS);
    assert_int_equal(by_index(0, &gpu), NVML_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    char clients[80];

    snprintf(clients, sizeof(clients), "%s.clients", (char *)*state);
    unlink(clients);
    unlink(*state);
    free(*state);
    return 0;
}

static uint64_t used_bytes(void)
{
    nvmlMemory_t memory;

    assert_int_equal(nvml_memory(gpu, &memory), NVML_SUCCESS);
    return memory.used;
}

/* What NVML says that a process has; 0 if it is not listed. */
static uint64_t process_bytes(pid_t pid)
{
    nvmlProcessInfo_t infos[160];
    unsigned n = 160;

    assert_int_equal(nvml_processes(gpu, &n, infos), NVML_SUCCESS);
    for (unsigned i = 0; i < n; i++)
        if (infos[i].pid == (unsigned)pid)
            return infos[i].usedGpuMemory;
    return 0;
}

static void enter_context(void)
{
    CUcontext context;

    assert_int_equal(cu.cuInit(0), CUDA_SUCCESS);
    assert_int_equal(cu.cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
    assert_int_equal(cu.cuCtxSetCurrent(context), CUDA_SUCCESS);
}

/* A process that allocates, says so, and waits for its end. */
static pid_t start_child(uint64_t bytes)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        CUdeviceptr memory;

        enter_context();
        byte = cu.cuMemAlloc_v2(&memory, bytes) == CUDA_SUCCESS;
        (void)!write(ready[1], &byte, 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

/* Runs first: its child must be forked before this process initialises CUDA. */
static void test_a_killed_process_is_forgotten(void **state)
{
    const uint64_t before = used_bytes();
    pid_t child = start_child(1000 * MIB);

    assert_int_equal(process_bytes(child), (1000 + 518) * MIB);
    assert_int_equal(used_bytes() - before, (1000 + 518) * MIB);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(process_bytes(child), 0);
    assert_int_equal(used_bytes(), before);
}

/* More than a hundred on one GPU; NVML and cuMemGetInfo agree on each, and nothing is left of them.
 */
static void test_many_processes_are_forgotten(void **state)
{
    enum { N = 120 };
    const uint64_t before = used_bytes();
    pid_t children[N];

    for (unsigned i = 0; i < N; i++)
        children[i] = start_child((i + 1) * 2 * MIB);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(process_bytes(children[i]), (518 + (i + 1) * 2) * MIB);
    assert_int_equal(used_bytes() - before, (518 * N + N * (N + 1)) * MIB);
    for (unsigned i = 0; i < N; i++)
        kill(children[i], SIGKILL);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    assert_int_equal(used_bytes(), before);
}

/* Who may use the machine's state may register its processes. */
static void test_another_user_may_register(void **state)
{
    char clients[80];
    struct stat st;
    pid_t child = start_child(MIB);

    snprintf(clients, sizeof(clients), "%s.clients", (char *)*state);
    assert_int_equal(stat(clients, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* Also before this process initialises CUDA: the list ends with the first word that names no GPU.
 */
static void test_visible_devices(void **state)
{
    int status = -1, n = 0;
    char bus[2][32] = {"", ""};
    pid_t child = fork();

    if (child == 0) {
        setenv("CUDA_VISIBLE_DEVICES", "2,1,99,0", 1);
        (void)cu.cuInit(0);
        (void)cu.cuDeviceGetCount(&n);
        (void)cu.cuDeviceGetPCIBusId(bus[0], sizeof(bus[0]), 0);
        (void)cu.cuDeviceGetPCIBusId(bus[1], sizeof(bus[1]), 1);
        _exit(n == 2 && strcmp(bus[0], bus[1]) > 0); /* GPU 2 is behind GPU 1 on the bus */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

/* A kernel of any other name takes what the variable says. */
static void test_kernels_take_a_fixed_time(void **state)
{
    CUevent before, after;
    CUmodule module;
    CUfunction kernel;
    float ms = 0;

    enter_context();
    setenv("GPUSLICE_SIM_KERNEL_US", "20000", 1);
    assert_int_equal(cu.cuModuleLoadData(&module, "any image"), CUDA_SUCCESS);
    assert_int_equal(cu.cuModuleGetFunction(&kernel, module, "step"), CUDA_SUCCESS);
    assert_int_equal(cu.cuEventCreate(&before, CU_EVENT_DEFAULT), CUDA_SUCCESS);
    assert_int_equal(cu.cuEventCreate(&after, CU_EVENT_DEFAULT), CUDA_SUCCESS);
    assert_int_equal(cu.cuEventRecord(before, NULL), CUDA_SUCCESS);
    assert_int_equal(cu.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
                     CUDA_SUCCESS);
    assert_int_equal(cu.cuEventRecord(after, NULL), CUDA_SUCCESS);
    assert_int_equal(cu.cuEventSynchronize(after), CUDA_SUCCESS);
    assert_int_equal(cu.cuEventElapsedTime(&ms, before, after), CUDA_SUCCESS);
    assert_true(ms >= 20);
    unsetenv("GPUSLICE_SIM_KERNEL_US");
    assert_int_equal(cu.cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
}

static void test_nvml_shows_what_cuda_has(void **state)
{
    const uint64_t before = used_bytes();
    CUdeviceptr memory;

    enter_context();
    assert_int_equal(process_bytes(getpid()), 518 * MIB);
    assert_int_equal(cu.cuMemAlloc_v2(&memory, 100 * MIB + 1), CUDA_SUCCESS);
    assert_int_equal(process_bytes(getpid()), (518 + 102) * MIB);
    assert_int_equal(used_bytes() - before, (518 + 102) * MIB);
    assert_int_equal(cu.cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
    assert_int_equal(process_bytes(getpid()), 0);
    assert_int_equal(used_bytes(), before);
}

/* Neither without memory for it, nor in a thread whose stack of contexts is full. */
static void test_a_context_that_fails_costs_nothing(void **state)
{
    const uint64_t before = used_bytes();
    CUdeviceptr memory;
    CUcontext context;
    size_t free_now, total;
    unsigned n = 0;

    enter_context();
    assert_int_equal(cu.cuMemGetInfo_v2(&free_now, &total), CUDA_SUCCESS);
    assert_int_equal(cu.cuMemAlloc_v2(&memory, free_now - 100 * MIB), CUDA_SUCCESS);
    assert_int_equal(cu.cuCtxCreate_v2(&context, 0, 0), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(cu.cuMemFree_v2(memory), CUDA_SUCCESS);
    assert_int_equal(cu.cuCtxGetCurrent(&context), CUDA_SUCCESS);
    while (cu.cuCtxPushCurrent_v2(context) == CUDA_SUCCESS)
        n++;
    assert_true(n > 0);
    assert_int_equal(cu.cuCtxCreate_v2(&context, 0, 0), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(process_bytes(getpid()), 518 * MIB);
    while (n-- > 0)
        assert_int_equal(cu.cuCtxPopCurrent_v2(&context), CUDA_SUCCESS);
    assert_int_equal(cu.cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
    assert_int_equal(used_bytes(), before);
}

/* What its text declares, in whatever words; not what it names otherwise. */
static void test_variables_of_modules_take_memory(void **state)
{
    static const struct {
        const char *declarations;
        uint64_t mib;
    } rows[] = {
        {".visible .global .align 4 .b8 a[67108864];", 64},
        {".global .f64 a[1024][1024], b;", 8},
        {".global\t.align  256 .u32 a[262144] = {1};\n.extern .global .b8 b[1048577];", 4},
        {".global .b8 a[1000];", 0},
        {".entry f(.param .u64 .ptr .global .align 4 p) { ld.global.u32 %r1, [p]; }", 0},
        {".global .b8 a[", 0},
        {".global", 0},
    };

    enter_context();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char image[256];
        CUmodule module;

        snprintf(image, sizeof(image), ".version 6.3\n%s", rows[i].declarations);
        assert_int_equal(cu.cuModuleLoadData(&module, image), CUDA_SUCCESS);
        assert_int_equal(process_bytes(getpid()), (518 + rows[i].mib) * MIB);
        assert_int_equal(cu.cuModuleUnload(module), CUDA_SUCCESS);
        assert_int_equal(process_bytes(getpid()), 518 * MIB);
    }
    assert_int_equal(cu.cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
}

/* A forked child cannot use what its parent initialised, and takes nothing away from it. */
static void test_a_forked_child_has_no_context(void **state)
{
    CUdeviceptr memory;
    int status = -1;
    pid_t child;

    enter_context();
    child = fork();
    if (child == 0)
        _exit(cu.cuMemAlloc_v2(&memory, 1) == CUDA_ERROR_NOT_INITIALIZED &&
              cu.cuInit(0) == CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_equal(process_bytes(getpid()), 518 * MIB);
    assert_int_equal(cu.cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
}

/* Managed memory counts where it lies. */
static void test_managed_memory_moves(void **state)
{
    CUdeviceptr memory;

    enter_context();
    assert_int_equal(cu.cuMemAllocManaged(&memory, 64 * MIB, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
    assert_int_equal(process_bytes(getpid()), 518 * MIB);
    assert_int_equal(cu.cuMemPrefetchAsync(memory, 64 * MIB, 0, NULL), CUDA_SUCCESS);
    assert_int_equal(process_bytes(getpid()), (518 + 64) * MIB);
    assert_int_equal(cu.cuMemPrefetchAsync(memory, 64 * MIB, -1, NULL), CUDA_SUCCESS);
    assert_int_equal(process_bytes(getpid()), 518 * MIB);
    assert_int_equal(cu.cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
    assert_int_equal(process_bytes(getpid()), 0);
}

/* What a capture allocates is taken by the launch; of other memory it frees nothing. */
static void test_a_capture_takes_nothing(void **state)
{
    CUdeviceptr ordinary = 0, memory = 0;
    CUstream stream = NULL;
    CUgraph graph = NULL;
    uint64_t before;

    enter_context();
    assert_int_equal(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
    assert_int_equal(cu.cuMemAllocAsync(&ordinary, 4 * MIB, stream), CUDA_SUCCESS);
    before = process_bytes(getpid());
    assert_int_equal(cu.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED),
                     CUDA_SUCCESS);
    assert_int_equal(cu.cuMemAllocAsync(&memory, 64 * MIB, stream), CUDA_SUCCESS);
    assert_int_equal(process_bytes(getpid()), before);
    assert_int_equal(cu.cuMemFreeAsync(ordinary, stream), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cu.cuMemFreeAsync(memory, stream), CUDA_SUCCESS);
    assert_int_equal(cu.cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    assert_int_equal(cu.cuMemFreeAsync(ordinary, stream), CUDA_SUCCESS);
    assert_int_equal(cu.cuGraphDestroy(graph), CUDA_SUCCESS);
}

/* --- what waits without being asked to --- */

enum { PAGE = 4096 };

static CUdeviceptr taken;
static void *pinned;
static CUarray array;
static CUmipmappedArray mipmap;
static CUmodule module;
static CUlibrary library_of_code;
static char registered[PAGE] __attribute__((aligned(PAGE)));

static CUresult take(void)
{
    return cu.cuMemAlloc_v2(&taken, MIB);
}

static CUresult give(void)
{
    return cu.cuMemFree_v2(taken);
}

static CUresult take_managed(void)
{
    return cu.cuMemAllocManaged(&taken, MIB, CU_MEM_ATTACH_GLOBAL);
}

static CUresult take_pinned(void)
{
    return cu.cuMemHostAlloc(&pinned, PAGE, 0);
}

static CUresult give_pinned(void)
{
    return cu.cuMemFreeHost(pinned);
}

static CUresult take_registered(void)
{
    return cu.cuMemHostRegister_v2(registered, PAGE, 0);
}

static CUresult give_registered(void)
{
    return cu.cuMemHostUnregister(registered);
}

static const CUDA_ARRAY3D_DESCRIPTOR square = {
    .Width = 16, .Height = 16, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};

static CUresult take_array(void)
{
    return cu.cuArray3DCreate_v2(&array, &square);
}

static CUresult give_array(void)
{
    return cu.cuArrayDestroy(array);
}

static CUresult take_mipmap(void)
{
    return cu.cuMipmappedArrayCreate(&mipmap, &square, 2);
}

static CUresult give_mipmap(void)
{
    return cu.cuMipmappedArrayDestroy(mipmap);
}

static CUresult take_module(void)
{
    return cu.cuModuleLoadData(&module, "any image");
}

static CUresult give_module(void)
{
    return cu.cuModuleUnload(module);
}

static CUresult take_library(void)
{
    return cu.cuLibraryLoadData(&library_of_code, "any image", NULL, NULL, 0, NULL, NULL, 0);
}

static CUresult give_library(void)
{
    return cu.cuLibraryUnload(library_of_code);
}

static CUresult take_from_pool(void)
{
    return cu.cuMemAllocAsync(&taken, MIB, NULL);
}

/* Both on the default stream's context, in which a stream of its own is at work. */
static CUstream stream;
static CUfunction spin;

static void begin_stream(void)
{
    CUmodule code;

    enter_context();
    assert_int_equal(cu.cuModuleLoadData(&code, "any image"), CUDA_SUCCESS);
    assert_int_equal(cu.cuModuleGetFunction(&spin, code, "spin_us"), CUDA_SUCCESS);
    assert_int_equal(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
}

static void test_what_is_freed_waits_for_work(void **state)
{
    static const struct {
        CUresult (*take)(void), (*give)(void);
    } rows[] = {
        {take, give},
        {take_managed, give},
        {take_pinned, give_pinned},
        {take_registered, give_registered},
        {take_array, give_array},
        {take_mipmap, give_mipmap},
        {take_module, give_module},
        {take_library, give_library},
    };
    unsigned us = 20000;
    void *parameters[] = {&us};

    begin_stream();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(rows[i].take(), CUDA_SUCCESS);
        assert_int_equal(cu.cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL),
                         CUDA_SUCCESS);
        assert_int_equal(rows[i].give(), CUDA_SUCCESS);
        assert_int_equal(cu.cuStreamQuery(stream), CUDA_SUCCESS);
        assert_int_not_equal(rows[i].give(), CUDA_SUCCESS);
    }
    assert_int_equal(cu.cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
}

static CUmemGenericAllocationHandle handle;

static CUresult take_mapped(void)
{
    const CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};
    CUresult r = cu.cuMemCreate(&handle, 2 * MIB, &prop, 0);

    if (r == CUDA_SUCCESS)
        r = cu.cuMemAddressReserve(&taken, 2 * MIB, 0, 0, 0);
    return r == CUDA_SUCCESS ? cu.cuMemMap(taken, 2 * MIB, 0, handle, 0) : r;
}

static CUresult give_mapped(void)
{
    CUresult r = cu.cuMemUnmap(taken, 2 * MIB);

    return r == CUDA_SUCCESS ? cu.cuMemRelease(handle) : r;
}

static CUresult give_nothing(void)
{
    return cu.cuMemFree_v2(0);
}

/* NVIDIA documents it of memory that came from a pool, and programs found it of mappings. */
static void test_what_does_not_wait_for_work(void **state)
{
    static const struct {
        CUresult (*take)(void), (*give)(void);
    } rows[] = {{take_from_pool, give}, {take_mapped, give_mapped}, {NULL, give_nothing}};
    CUdeviceptr word;

    begin_stream();
    assert_int_equal(cu.cuMemAlloc_v2(&word, 4), CUDA_SUCCESS);
    assert_int_equal(cu.cuMemsetD32_v2(word, 0, 1), CUDA_SUCCESS);
    assert_int_equal(cu.cuStreamWaitValue32_v2(stream, word, 1, CU_STREAM_WAIT_VALUE_GEQ),
                     CUDA_SUCCESS);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].take)
            assert_int_equal(rows[i].take(), CUDA_SUCCESS);
        assert_int_equal(rows[i].give(), CUDA_SUCCESS);
        assert_int_equal(cu.cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
    }
    assert_int_equal(cu.cuMemsetD32_v2(word, 1, 1), CUDA_SUCCESS);
    assert_int_equal(cu.cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
}

static void test_copies_in_a_batch(void **state)
{
    static uint32_t from[4] = {1, 2, 3, 4}, to[4];
    CUdeviceptr sources[] = {(uintptr_t)&from[0], (uintptr_t)&from[2]},
                places[] = {(uintptr_t)&to[2], (uintptr_t)&to[0]};
    CUmemcpyAttributes attributes = {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    size_t sizes[] = {8, 4}, begin = 0, failed = 0;

    begin_stream();
    assert_int_equal(
        cu.cuMemcpyBatchAsync_v2(places, sources, sizes, 2, &attributes, &begin, 1, stream),
        CUDA_SUCCESS);
    assert_int_equal(cu.cuStreamSynchronize(stream), CUDA_SUCCESS);
    assert_memory_equal(to, ((uint32_t[]){3, 0, 1, 2}), sizeof(to));
    assert_int_equal(
        cu.cuMemcpyBatchAsync(places, sources, sizes, 2, &attributes, &begin, 1, &failed, NULL),
        CUDA_ERROR_INVALID_VALUE);
    assert_true(failed == SIZE_MAX);
    begin = 1;
    assert_int_equal(
        cu.cuMemcpyBatchAsync_v2(places, sources, sizes, 2, &attributes, &begin, 1, stream),
        CUDA_ERROR_INVALID_VALUE);
    begin = 0;
    attributes.srcAccessOrder = 0;
    assert_int_equal(
        cu.cuMemcpyBatchAsync_v2(places, sources, sizes, 2, &attributes, &begin, 1, stream),
        CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cu.cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
}

/* What is not acted out is there, and says so. */
static void test_the_rest_is_not_supported(void **state)
{
    void *cuda = dlopen(getenv("GPUSLICE_TEST_CUDA"), RTLD_NOW | RTLD_NOLOAD);
    CUresult (*absent)(void) = (CUresult(*)(void))dlsym(cuda, "cuGreenCtxCreate");

    assert_non_null(absent);
    assert_int_equal(absent(), CUDA_ERROR_NOT_SUPPORTED);
    dlclose(cuda);
}

static void inject(const char *arguments)
{
    char line[4096];

    snprintf(line, sizeof(line), "%s inject %s", getenv("GPUSLICE_TEST_SIM"), arguments);
    assert_int_equal(system(line), 0);
}

/* Faults of functions are CUDA's, and of every variant; a missing one is not found. */
static void test_faults(void **state)
{
    CUdriverProcAddressQueryResult status;
    CUdeviceptr memory = 0;
    void *address;

    enter_context();
    inject("error cuMemAlloc_v2 OUT_OF_MEMORY");
    assert_int_equal(cu.cuMemAlloc_v2(&memory, 1), CUDA_ERROR_OUT_OF_MEMORY);
    inject("error cuMemAlloc_v2 none");
    assert_int_equal(cu.cuMemAlloc_v2(&memory, 1), CUDA_SUCCESS);
    inject("error all GPU_IS_LOST");
    assert_int_equal(cu.cuMemFree_v2(memory), CUDA_SUCCESS);
    inject("error all none");
    inject("symbol cuMemAllocAsync missing");
    assert_int_equal(cu.cuGetProcAddress_v2("cuMemAllocAsync", &address, 12000, 0, &status),
                     CUDA_SUCCESS);
    assert_null(address);
    assert_int_equal(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    inject("symbol cuMemAllocAsync present");
    assert_int_equal(cu.cuMemAllocAsync(&memory, 1, NULL), CUDA_SUCCESS);
    assert_int_equal(cu.cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_killed_process_is_forgotten),
        cmocka_unit_test(test_another_user_may_register),
        cmocka_unit_test(test_many_processes_are_forgotten),
        cmocka_unit_test(test_visible_devices),
        cmocka_unit_test(test_nvml_shows_what_cuda_has),
        cmocka_unit_test(test_a_context_that_fails_costs_nothing),
        cmocka_unit_test(test_variables_of_modules_take_memory),
        cmocka_unit_test(test_a_forked_child_has_no_context),
        cmocka_unit_test(test_managed_memory_moves),
        cmocka_unit_test(test_a_capture_takes_nothing),
        cmocka_unit_test(test_kernels_take_a_fixed_time),
        cmocka_unit_test(test_copies_in_a_batch),
        cmocka_unit_test(test_what_is_freed_waits_for_work),
        cmocka_unit_test(test_what_does_not_wait_for_work),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_the_rest_is_not_supported),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
