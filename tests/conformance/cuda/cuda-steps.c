// SPDX-License-Identifier: Apache-2.0

/*
 * A program that uses a GPU step by step: one command in each line of its standard input, one line
 * of its standard output for each. It is linked to nothing, and knows nothing of limits.
 *
 *     cuda-steps LIBCUDA LIBNVML
 *
 *     start          cuInit, and the primary context of device 0 -> the last status
 *     start N        of device N
 *     alloc MIB      -> status of cuMemAlloc
 *     free           the last of those -> status
 *     context        one more context of device 0 -> status
 *     pass MIB       memory of a pool, freed in the stream's order, and a wait -> the last status
 *     load MIB       a module with a variable as large -> status of cuModuleLoadData
 *     library MIB    the same of a library, and of its use -> both statuses
 *     file PATH      the module of a file -> status of cuModuleLoad
 *     unload         the last module -> status
 *     info           -> free and total MiB by cuMemGetInfo
 *     total          -> MiB by cuDeviceTotalMem
 *     nvml           -> total, free and used MiB, and how many processes, by NVML
 *     memory N       -> total, reserved, used and free MiB of device N, by NVML's second version
 *     fork           a child carries out what follows until its `exit`
 *     exec           the program starts again
 *     close          closes every socket, of whomever, and opens files in their place
 *     daemon         closes its standard streams, and reads and writes elsewhere
 *     threads N      so many allocate and free at once -> what was denied
 *     kernel         a module with a kernel that takes its time -> status
 *     stream         a stream, into which the next ones launch -> status
 *     launch US      -> status
 *     launches N US  -> the last status
 *     batches N D US D launches and a wait for the stream, N times -> the first status that is bad
 *     batches N D US HOW     the same, where HOW is another way to wait: copy (cuMemcpyDtoH), async
 *                    (cuMemcpyDtoHAsync), second (copy, behind one into the stream), query
 *                    (cuStreamQuery again and again), event (the same of an event) or batch
 *                    (cuMemcpyBatchAsync, which need not wait); or by taking something and giving
 *                    it back: free (cuMemFree), pinned, registered, array, mipmap, mapped, module,
 *                    library or primary
 *     copies N MIB   so much to the device by cuMemcpyHtoDAsync and a wait, N times -> as batches
 *     copies N MIB D the same, behind D launches of 50 us each time
 *     tasks N US GAP a launch, a wait, and GAP us without work, N times -> the same
 *     second         a kernel and a stream on device 1, too -> the last status
 *     pairs N D US   D launches on each of the two and a wait for both, N times -> as batches
 *     sync           by cuCtxSynchronize -> status
 *     wait           for the stream -> status
 *     asks N         so many questions whether the stream is done, by cuStreamQuery -> the last
 *                    status
 *     destroy        the stream -> status
 *     capture        the stream, from here on -> status
 *     captured       that ends -> status of the graph
 *     graph          launches it -> status
 *     elsewhere      another thread captures another stream -> status
 *     over           that ends -> status
 *     churn N        so many threads use own streams at once, and capture some -> what failed
 *     give           the last piece of memory to another process -> its handle
 *     open HANDLE    that of another process, -> status
 *     give event     an event -> its handle
 *     open event HANDLE  that of another process -> status
 *     inbox PATH     a socket, where descriptors arrive -> status
 *     export PATH    a descriptor of memory to such a socket, and closes it -> status
 *     export pool PATH   one of a pool -> status
 *     import         what has arrived, twice, and closes it -> status
 *     import pool    the same -> status
 *     record         the event in the stream, given or opened -> status
 *     await          it in the stream -> status
 *     callback       a call from the stream launches into the default stream -> its status
 *     exit
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/driver.h"

#define MIB 1048576

static struct cuda_functions cu;
static struct nvml_functions nvml;
static char **arguments;
static CUdeviceptr pieces[1024];
static unsigned n_pieces;
static CUmodule modules[1024];
static unsigned n_modules;
static CUfunction spin;
static CUcontext context;
static CUstream stream;
static CUgraphExec graph;
static struct {
    CUcontext context;
    CUfunction spin;
    CUstream stream;
} second; /* on another device */
static int input = STDIN_FILENO;

static void load(void)
{
    void *library = dlopen(arguments[1], RTLD_NOW);

#define LOAD(name, arguments) *(void **)&cu.name = dlsym(library, #name);
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(LOAD, name, arguments)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    DRIVER_##variant(LOAD, name, arguments)
#include "shim/cuda-calls.def"
    library = dlopen(arguments[2], RTLD_NOW);
#define NVML_CALL(name, arguments) *(void **)&nvml.name = dlsym(library, #name);
#include "gpu/nvml-calls.def"
}

/* Unbuffered: a forked child or another program reads on. */
static bool read_line(char *line, size_t size)
{
    size_t n = 0;

    while (n + 1 < size && read(input, &line[n], 1) == 1 && line[n] != '\n')
        n++;
    line[n] = '\0';
    return n > 0;
}

static CUresult start(CUdevice device)
{
    CUresult r = cu.cuInit(0);

    if (r == CUDA_SUCCESS)
        r = cu.cuDevicePrimaryCtxRetain(&context, device);
    return r == CUDA_SUCCESS ? cu.cuCtxSetCurrent(context) : r;
}

static CUresult allocate(size_t mib)
{
    CUresult r = cu.cuMemAlloc_v2(&pieces[n_pieces], mib * MIB);

    n_pieces += r == CUDA_SUCCESS;
    return r;
}

static CUresult create_context(void)
{
    CUcontext another;

    return cu.cuCtxCreate_v2(&another, 0, 0);
}

static CUresult pass(size_t mib)
{
    CUdeviceptr memory = 0;
    CUresult r = cu.cuMemAllocAsync(&memory, mib * MIB, NULL);

    if (r == CUDA_SUCCESS)
        r = cu.cuMemFreeAsync(memory, NULL);
    return r == CUDA_SUCCESS ? cu.cuStreamSynchronize(NULL) : r;
}

static const char *image_of(unsigned mib)
{
    static char image[256];

    snprintf(image, sizeof(image),
             ".version 6.3\n.target sm_70\n.address_size 64\n"
             ".visible .global .align 4 .b8 variable[%llu];\n.visible .entry nothing() { ret; }\n",
             mib * 1ull * MIB);
    return image;
}

static CUresult load_module(unsigned mib)
{
    CUresult r = cu.cuModuleLoadData(&modules[n_modules], image_of(mib));

    n_modules += r == CUDA_SUCCESS;
    return r;
}

static CUresult load_file(const char *path)
{
    CUresult r = cu.cuModuleLoad(&modules[n_modules], path);

    n_modules += r == CUDA_SUCCESS;
    return r;
}

static void load_library(unsigned mib)
{
    CUlibrary library = NULL;
    CUmodule module = NULL;
    CUresult r = cu.cuLibraryLoadData(&library, image_of(mib), NULL, NULL, 0, NULL, NULL, 0);

    printf("%d %d\n", r, cu.cuLibraryGetModule(&module, library));
}

static void show_nvml(void)
{
    nvmlProcessInfo_t infos[64];
    nvmlMemory_t memory = {0};
    nvmlProcessDetail_v1_t details[64];
    nvmlProcessDetailList_t list = {.version = NVML_STRUCT_VERSION_OF(nvmlProcessDetailList_t, 1),
                                    .numProcArrayEntries = 64,
                                    .procArray = details};
    nvmlDevice_t device;
    unsigned n = 64;

    if (nvml.nvmlInit_v2() != NVML_SUCCESS ||
        nvml.nvmlDeviceGetHandleByIndex_v2(0, &device) != NVML_SUCCESS ||
        nvml.nvmlDeviceGetMemoryInfo(device, &memory) != NVML_SUCCESS ||
        nvml.nvmlDeviceGetComputeRunningProcesses_v3(device, &n, infos) != NVML_SUCCESS ||
        nvml.nvmlDeviceGetRunningProcessDetailList(device, &list) != NVML_SUCCESS ||
        list.numProcArrayEntries != n)
        printf("NVML failed\n");
    else
        printf("%llu %llu %llu %u\n", memory.total / MIB, memory.free / MIB, memory.used / MIB, n);
}

static void show_memory(unsigned index)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlDevice_t device;

    if (nvml.nvmlInit_v2() != NVML_SUCCESS ||
        nvml.nvmlDeviceGetHandleByIndex_v2(index, &device) != NVML_SUCCESS ||
        nvml.nvmlDeviceGetMemoryInfo_v2(device, &memory) != NVML_SUCCESS)
        printf("NVML failed\n");
    else
        printf("%llu %llu %llu %llu\n", memory.total / MIB, memory.reserved / MIB,
               memory.used / MIB, memory.free / MIB);
}

static void close_sockets(void)
{
    struct stat status;

    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) {
            close(fd);
            if (open("/dev/null", O_WRONLY) != fd)
                printf("another descriptor\n");
        }
    printf("closed\n");
}

static void close_standard_streams(void)
{
    input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 64);
    stdout = fdopen(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 64), "w");
    if (!stdout)
        abort();
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        close(fd);
    printf("closed\n");
}

static void *churn(void *n_denied)
{
    CUcontext own;

    cu.cuDevicePrimaryCtxRetain(&own, 0);
    cu.cuCtxSetCurrent(own);
    for (unsigned i = 0; i < 200; i++) {
        CUdeviceptr memory, pooled;

        if (cu.cuMemAlloc_v2(&memory, (i % 7 + 1) * 3 * MIB / 4) != CUDA_SUCCESS)
            __atomic_add_fetch((unsigned *)n_denied, 1, __ATOMIC_RELAXED);
        else
            cu.cuMemFree_v2(memory);
        if (cu.cuMemAllocAsync_ptsz(&pooled, (i % 5 + 1) * MIB, NULL) == CUDA_SUCCESS)
            cu.cuMemFreeAsync_ptsz(pooled, NULL);
    }
    cu.cuDevicePrimaryCtxRelease_v2(0);
    return NULL;
}

/* What `run` counts in so many threads, in sum. */
static unsigned count_in_threads(unsigned n, void *(*run)(void *count))
{
    pthread_t threads[64];
    unsigned count = 0;

    for (unsigned i = 0; i < n && i < 64; i++)
        if (pthread_create(&threads[i], NULL, run, &count))
            abort();
    for (unsigned i = 0; i < n && i < 64; i++)
        pthread_join(threads[i], NULL);
    return count;
}

static void run_threads(unsigned n)
{
    const unsigned n_denied = count_in_threads(n, churn);

    cu.cuCtxSynchronize();
    printf("%u\n", n_denied);
}

static void show_info(void)
{
    size_t free_now = 0, total = 0;
    CUresult r = cu.cuMemGetInfo_v2(&free_now, &total);

    printf("%zu %zu\n", r ? 0 : free_now / MIB, r ? 0 : total / MIB);
}

static void show_total(void)
{
    size_t total = 0;
    CUresult r = cu.cuInit(0);

    if (r == CUDA_SUCCESS)
        r = cu.cuDeviceTotalMem_v2(&total, 0);
    printf("%d %zu\n", (int)r, total / MIB);
}

/* --- launches --- */

static CUresult load_kernel(void)
{
    static const char image[] = ".version 6.3\n.target sm_70\n.address_size 64\n"
                                ".visible .entry spin_us(.param .u32 us) { ret; }\n";
    CUresult r = cu.cuModuleLoadData(&modules[n_modules], image);

    return r == CUDA_SUCCESS ? cu.cuModuleGetFunction(&spin, modules[n_modules++], "spin_us") : r;
}

static CUresult launch_of(CUfunction kernel, CUstream into, unsigned us)
{
    void *parameters[] = {&us};

    return cu.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, into, parameters, NULL);
}

static CUresult launch(CUstream into, unsigned us)
{
    return launch_of(spin, into, us);
}

static CUresult launch_many(unsigned n, unsigned us)
{
    CUresult r = CUDA_SUCCESS;

    for (unsigned i = 0; i < n; i++)
        r = launch(stream, us);
    return r;
}

/* --- ways to wait for what was launched --- */

static CUdeviceptr word;

static CUresult wait_by_stream(void)
{
    return cu.cuStreamSynchronize(stream);
}

static CUresult wait_by_copy(void)
{
    unsigned result;
    CUresult r = word ? CUDA_SUCCESS : cu.cuMemAlloc_v2(&word, sizeof(result));

    return r == CUDA_SUCCESS ? cu.cuMemcpyDtoH_v2(&result, word, sizeof(result)) : r;
}

static CUresult wait_by_async_copy(void)
{
    unsigned result;
    CUresult r = word ? CUDA_SUCCESS : cu.cuMemAlloc_v2(&word, sizeof(result));

    if (r == CUDA_SUCCESS)
        r = cu.cuMemcpyDtoHAsync_v2(&result, word, sizeof(result), stream);
    return r == CUDA_SUCCESS ? cu.cuStreamSynchronize(stream) : r;
}

static CUresult wait_by_batch(void)
{
    static CUdeviceptr result;
    CUdeviceptr to = (uintptr_t)&result;
    CUmemcpyAttributes attributes = {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    size_t size = sizeof(result), begin = 0;
    CUresult r = word ? CUDA_SUCCESS : cu.cuMemAlloc_v2(&word, sizeof(result));

    return r == CUDA_SUCCESS
               ? cu.cuMemcpyBatchAsync_v2(&to, &word, &size, 1, &attributes, &begin, 1, stream)
               : r;
}

/* The first one does not wait. */
static CUresult wait_by_second_copy(void)
{
    static void *result;
    CUresult r = result ? CUDA_SUCCESS : cu.cuMemHostAlloc(&result, sizeof(unsigned), 0);

    if (r == CUDA_SUCCESS && !word)
        r = cu.cuMemAlloc_v2(&word, sizeof(unsigned));
    if (r == CUDA_SUCCESS)
        r = cu.cuMemcpyDtoHAsync_v2(result, word, sizeof(unsigned), stream);
    return r == CUDA_SUCCESS ? wait_by_copy() : r;
}

static CUresult wait_by_query(void)
{
    CUresult r;

    while ((r = cu.cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY)
        sched_yield();
    return r;
}

static CUresult ask(unsigned n)
{
    CUresult r = CUDA_SUCCESS;

    while (n-- > 0)
        r = cu.cuStreamQuery(stream);
    return r;
}

static CUresult wait_by_event(void)
{
    static CUevent last;
    CUresult r = last ? CUDA_SUCCESS : cu.cuEventCreate(&last, CU_EVENT_DISABLE_TIMING);

    if (r == CUDA_SUCCESS)
        r = cu.cuEventRecord(last, stream);
    if (r != CUDA_SUCCESS)
        return r;
    while ((r = cu.cuEventQuery(last)) == CUDA_ERROR_NOT_READY)
        sched_yield();
    return r;
}

static CUresult wait_by_free(void)
{
    CUdeviceptr block = 0;
    CUresult r = cu.cuMemAlloc_v2(&block, MIB);

    return r == CUDA_SUCCESS ? cu.cuMemFree_v2(block) : r;
}

static CUresult wait_by_pinned(void)
{
    void *memory = NULL;
    CUresult r = cu.cuMemHostAlloc(&memory, 4096, 0);

    return r == CUDA_SUCCESS ? cu.cuMemFreeHost(memory) : r;
}

static CUresult wait_by_registered(void)
{
    static _Alignas(4096) char memory[4096];
    CUresult r = cu.cuMemHostRegister_v2(memory, sizeof(memory), 0);

    return r == CUDA_SUCCESS ? cu.cuMemHostUnregister(memory) : r;
}

static const CUDA_ARRAY3D_DESCRIPTOR square = {
    .Width = 16, .Height = 16, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};

static CUresult wait_by_array(void)
{
    CUarray array = NULL;
    CUresult r = cu.cuArray3DCreate_v2(&array, &square);

    return r == CUDA_SUCCESS ? cu.cuArrayDestroy(array) : r;
}

static CUresult wait_by_mipmap(void)
{
    CUmipmappedArray mipmap = NULL;
    CUresult r = cu.cuMipmappedArrayCreate(&mipmap, &square, 2);

    return r == CUDA_SUCCESS ? cu.cuMipmappedArrayDestroy(mipmap) : r;
}

static CUresult wait_by_mapped(void)
{
    const CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};
    CUmemGenericAllocationHandle handle = 0;
    CUdeviceptr at = 0;
    CUresult r = cu.cuMemCreate(&handle, 2 * MIB, &prop, 0);

    if (r == CUDA_SUCCESS)
        r = cu.cuMemAddressReserve(&at, 2 * MIB, 0, 0, 0);
    if (r == CUDA_SUCCESS)
        r = cu.cuMemMap(at, 2 * MIB, 0, handle, 0);
    return r == CUDA_SUCCESS ? cu.cuMemUnmap(at, 2 * MIB) : r;
}

static CUresult wait_by_module(void)
{
    CUmodule module = NULL;
    CUresult r = cu.cuModuleLoadData(&module, "any image");

    return r == CUDA_SUCCESS ? cu.cuModuleUnload(module) : r;
}

static CUresult wait_by_library(void)
{
    CUlibrary library = NULL;
    CUresult r = cu.cuLibraryLoadData(&library, "any image", NULL, NULL, 0, NULL, NULL, 0);

    return r == CUDA_SUCCESS ? cu.cuLibraryUnload(library) : r;
}

/* It is held by another one still. */
static CUresult wait_by_primary(void)
{
    CUcontext primary = NULL;
    CUresult r = cu.cuDevicePrimaryCtxRetain(&primary, 0);

    return r == CUDA_SUCCESS ? cu.cuDevicePrimaryCtxRelease_v2(0) : r;
}

static const struct way {
    const char *name;
    CUresult (*wait)(void);
} ways[] = {
    {"", wait_by_stream},
    {"copy", wait_by_copy},
    {"async", wait_by_async_copy},
    {"batch", wait_by_batch},
    {"query", wait_by_query},
    {"event", wait_by_event},
    {"free", wait_by_free},
    {"pinned", wait_by_pinned},
    {"registered", wait_by_registered},
    {"array", wait_by_array},
    {"mipmap", wait_by_mipmap},
    {"mapped", wait_by_mapped},
    {"module", wait_by_module},
    {"library", wait_by_library},
    {"primary", wait_by_primary},
    {"second", wait_by_second_copy},
};

static CUresult work_in_batches(unsigned n, unsigned depth, unsigned us, unsigned gap_us,
                                const char *how)
{
    const struct way *way = ways;
    CUresult r = CUDA_SUCCESS;

    while (strcmp(way->name, how) != 0)
        if (++way == ways + sizeof(ways) / sizeof(ways[0]))
            return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < n && r == CUDA_SUCCESS; i++) {
        r = launch_many(depth, us);
        if (r == CUDA_SUCCESS)
            r = way->wait();
        if (gap_us > 0)
            usleep(gap_us);
    }
    return r;
}

static CUresult copy_in(unsigned n, unsigned mib, unsigned launches)
{
    CUdeviceptr to = 0;
    void *from = NULL;
    CUresult r = cu.cuMemAlloc_v2(&to, mib * (size_t)MIB);

    if (r == CUDA_SUCCESS)
        r = cu.cuMemHostAlloc(&from, mib * (size_t)MIB, 0);
    for (unsigned i = 0; i < n && r == CUDA_SUCCESS; i++) {
        r = launch_many(launches, 50);
        if (r == CUDA_SUCCESS)
            r = cu.cuMemcpyHtoDAsync_v2(to, from, mib * (size_t)MIB, stream);
        r = r == CUDA_SUCCESS ? cu.cuStreamSynchronize(stream) : r;
    }
    return r;
}

static CUresult start_second(void)
{
    const CUfunction first = spin;
    CUresult r = cu.cuDevicePrimaryCtxRetain(&second.context, 1);

    if (r == CUDA_SUCCESS)
        r = cu.cuCtxSetCurrent(second.context);
    if (r == CUDA_SUCCESS)
        r = load_kernel();
    second.spin = spin;
    spin = first;
    if (r == CUDA_SUCCESS)
        r = cu.cuStreamCreate(&second.stream, CU_STREAM_NON_BLOCKING);
    return cu.cuCtxSetCurrent(context) == CUDA_SUCCESS ? r : CUDA_ERROR_UNKNOWN;
}

static CUresult launch_second(unsigned us)
{
    CUresult r = cu.cuCtxSetCurrent(second.context);

    if (r == CUDA_SUCCESS)
        r = launch_of(second.spin, second.stream, us);
    return cu.cuCtxSetCurrent(context) == CUDA_SUCCESS ? r : CUDA_ERROR_UNKNOWN;
}

static CUresult await_second(void)
{
    CUresult r = cu.cuCtxSetCurrent(second.context);

    if (r == CUDA_SUCCESS)
        r = cu.cuStreamSynchronize(second.stream);
    return cu.cuCtxSetCurrent(context) == CUDA_SUCCESS ? r : CUDA_ERROR_UNKNOWN;
}

static CUresult work_in_pairs(unsigned n, unsigned depth, unsigned us)
{
    CUresult r = CUDA_SUCCESS;

    for (unsigned i = 0; i < n && r == CUDA_SUCCESS; i++) {
        for (unsigned k = 0; k < depth && r == CUDA_SUCCESS; k++) {
            r = launch(stream, us);
            r = r == CUDA_SUCCESS ? launch_second(us) : r;
        }
        r = r == CUDA_SUCCESS ? cu.cuStreamSynchronize(stream) : r;
        r = r == CUDA_SUCCESS ? await_second() : r;
    }
    return r;
}

static CUresult end_capture(void)
{
    CUgraph captured = NULL;
    CUresult r = cu.cuStreamEndCapture(stream, &captured);

    return r == CUDA_SUCCESS ? cu.cuGraphInstantiateWithFlags(&graph, captured, 0) : r;
}

static struct {
    pthread_t thread;
    sem_t begun, over;
    CUresult status;
} elsewhere;

static void *capture_elsewhere(void *unused)
{
    CUgraph captured = NULL;
    CUstream own = NULL;

    cu.cuCtxSetCurrent(context);
    cu.cuStreamCreate(&own, CU_STREAM_NON_BLOCKING);
    elsewhere.status = cu.cuStreamBeginCapture_v2(own, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    sem_post(&elsewhere.begun);
    sem_wait(&elsewhere.over);
    elsewhere.status = cu.cuStreamEndCapture(own, &captured);
    return NULL;
}

static CUresult begin_elsewhere(void)
{
    sem_init(&elsewhere.begun, 0, 0);
    sem_init(&elsewhere.over, 0, 0);
    if (pthread_create(&elsewhere.thread, NULL, capture_elsewhere, NULL))
        abort();
    sem_wait(&elsewhere.begun);
    return elsewhere.status;
}

static CUresult end_elsewhere(void)
{
    sem_post(&elsewhere.over);
    pthread_join(elsewhere.thread, NULL);
    return elsewhere.status;
}

/* 400 launches, and 20 times ten others that are captured. */
static void *churn_streams(void *n_failed)
{
    unsigned failures = (unsigned)cu.cuCtxSetCurrent(context);

    for (unsigned i = 0; i < 100; i++) {
        CUstream own = NULL;
        CUgraph captured = NULL;

        failures += cu.cuStreamCreate(&own, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS;
        for (unsigned j = 0; j < 4; j++)
            failures += launch(own, i % 3 * 20) != CUDA_SUCCESS;
        if (i % 2 == 0)
            failures += cu.cuStreamSynchronize(own) != CUDA_SUCCESS;
        if (i % 5 == 0) {
            failures += cu.cuStreamBeginCapture_v2(own, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) != 0;
            for (unsigned j = 0; j < 10; j++)
                failures += launch(own, 0) != CUDA_SUCCESS;
            failures += cu.cuStreamEndCapture(own, &captured) != CUDA_SUCCESS;
            cu.cuGraphDestroy(captured);
        }
        failures += cu.cuStreamDestroy_v2(own) != CUDA_SUCCESS;
    }
    __atomic_add_fetch((unsigned *)n_failed, failures, __ATOMIC_RELAXED);
    return NULL;
}

static CUresult churn_all(unsigned n)
{
    return (CUresult)count_in_threads(n, churn_streams);
}

struct call {
    sem_t done;
    CUresult status;
};

static void launch_within(void *data)
{
    struct call *call = data;

    cu.cuCtxSetCurrent(context);
    call->status = launch(NULL, 0);
    sem_post(&call->done);
}

static CUresult call_back(void)
{
    struct call call = {.status = CUDA_SUCCESS};
    CUresult r;

    sem_init(&call.done, 0, 0);
    r = cu.cuLaunchHostFunc(stream, launch_within, &call);
    if (r != CUDA_SUCCESS)
        return r;
    sem_wait(&call.done);
    return call.status;
}

/* --- handles --- */

static CUevent event;

static void show_handle(CUresult r, const void *handle)
{
    for (size_t i = 0; r == CUDA_SUCCESS && i < sizeof(CUipcMemHandle); i++)
        printf("%02x", ((const unsigned char *)handle)[i]);
    printf(r == CUDA_SUCCESS ? "\n" : "%d\n", (int)r);
}

static void give_memory(void)
{
    CUipcMemHandle handle;

    show_handle(cu.cuIpcGetMemHandle(&handle, n_pieces ? pieces[n_pieces - 1] : 0), &handle);
}

static void give_event(void)
{
    CUipcEventHandle handle;
    CUresult r = cu.cuEventCreate(&event, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);

    show_handle(r == CUDA_SUCCESS ? cu.cuIpcGetEventHandle(&handle, event) : r, &handle);
}

static void read_handle(const char *text, void *to)
{
    for (size_t i = 0; i < sizeof(CUipcMemHandle) && strlen(text) >= 2 * i + 2; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};

        ((unsigned char *)to)[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
}

static CUresult open_memory(const char *text)
{
    CUipcMemHandle handle = {{0}};
    CUdeviceptr memory;

    read_handle(text, &handle);
    return cu.cuIpcOpenMemHandle_v2(&memory, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
}

static CUresult open_event(const char *text)
{
    CUipcEventHandle handle = {{0}};

    read_handle(text, &handle);
    return cu.cuIpcOpenEventHandle(&event, handle);
}

static int inbox = -1;

static int name_socket(struct sockaddr_un *to, const char *path)
{
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(to->sun_path, sizeof(to->sun_path), "%s", path);
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static CUresult open_inbox(const char *path)
{
    struct sockaddr_un address;

    inbox = name_socket(&address, path);
    return bind(inbox, (struct sockaddr *)&address, sizeof(address)) == 0
               ? CUDA_SUCCESS
               : CUDA_ERROR_OPERATING_SYSTEM;
}

/* A byte, and with it a descriptor. */
struct parcel {
    char byte;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct iovec vector;
    struct msghdr message;
};

static struct msghdr *pack(struct parcel *parcel)
{
    *parcel = (struct parcel){.byte = 0};
    parcel->vector = (struct iovec){&parcel->byte, 1};
    parcel->message = (struct msghdr){.msg_iov = &parcel->vector,
                                      .msg_iovlen = 1,
                                      .msg_control = parcel->control,
                                      .msg_controllen = sizeof(parcel->control)};
    return &parcel->message;
}

static CUresult send_away(int fd, const char *path)
{
    struct sockaddr_un address;
    struct parcel parcel;
    const int to = name_socket(&address, path);
    struct msghdr *message = pack(&parcel);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    ssize_t n;

    message->msg_name = &address;
    message->msg_namelen = sizeof(address);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    n = sendmsg(to, message, 0);
    close(fd);
    close(to);
    return n == 1 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}

static int receive(void)
{
    struct parcel parcel;
    struct msghdr *message = pack(&parcel);
    int fd = -1;

    if (recvmsg(inbox, message, 0) == 1 && CMSG_FIRSTHDR(message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(message)), sizeof(fd));
    return fd;
}

#define BY_FD CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR

static CUresult export_memory(const char *path)
{
    const CUmemAllocationProp wanted = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .requestedHandleTypes = BY_FD,
                                        .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemGenericAllocationHandle handle;
    int fd = -1;
    CUresult r = cu.cuMemCreate(&handle, 2 * MIB, &wanted, 0);

    if (r == CUDA_SUCCESS)
        r = cu.cuMemExportToShareableHandle(&fd, handle, BY_FD, 0);
    return r == CUDA_SUCCESS ? send_away(fd, path) : r;
}

static CUresult export_pool(const char *path)
{
    const CUmemPoolProps wanted = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                   .handleTypes = BY_FD,
                                   .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemoryPool pool;
    int fd = -1;
    CUresult r = cu.cuMemPoolCreate(&pool, &wanted);

    if (r == CUDA_SUCCESS)
        r = cu.cuMemPoolExportToShareableHandle(&fd, pool, BY_FD, 0);
    return r == CUDA_SUCCESS ? send_away(fd, path) : r;
}

static CUresult import_arrived(bool is_pool)
{
    const int fd = receive();
    CUmemGenericAllocationHandle handle;
    CUmemoryPool pool;
    CUresult r = fd < 0 ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;

    for (int i = 0; i < 2 && r == CUDA_SUCCESS; i++)
        r = is_pool ? cu.cuMemPoolImportFromShareableHandle(&pool, (void *)(intptr_t)fd, BY_FD, 0)
                    : cu.cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd, BY_FD);
    close(fd);
    return r;
}

/* False: it is no such command. */
static bool step_of_descriptors(const char *line)
{
    if (strncmp(line, "inbox ", 6) == 0)
        printf("%d\n", (int)open_inbox(line + 6));
    else if (strncmp(line, "export pool ", 12) == 0)
        printf("%d\n", (int)export_pool(line + 12));
    else if (strncmp(line, "export ", 7) == 0)
        printf("%d\n", (int)export_memory(line + 7));
    else if (strcmp(line, "import pool") == 0)
        printf("%d\n", (int)import_arrived(true));
    else if (strcmp(line, "import") == 0)
        printf("%d\n", (int)import_arrived(false));
    else
        return false;
    return true;
}

/* False: it is no such command. */
static bool step_of_handles(const char *line)
{
    if (strcmp(line, "give") == 0)
        give_memory();
    else if (strcmp(line, "give event") == 0)
        give_event();
    else if (strncmp(line, "open event ", 11) == 0)
        printf("%d\n", (int)open_event(line + 11));
    else if (strncmp(line, "open ", 5) == 0)
        printf("%d\n", (int)open_memory(line + 5));
    else if (strcmp(line, "record") == 0)
        printf("%d\n", (int)cu.cuEventRecord(event, stream));
    else if (strcmp(line, "await") == 0)
        printf("%d\n", (int)cu.cuStreamWaitEvent(stream, event, 0));
    else
        return false;
    return true;
}

/* False: it is no such command. */
static bool step_of_launches(const char *line)
{
    unsigned n = 0, us = 0, more = 0;
    char how[16] = "";
    CUresult r;

    if (strcmp(line, "kernel") == 0)
        r = load_kernel();
    else if (strcmp(line, "stream") == 0)
        r = cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
    else if (sscanf(line, "launches %u %u", &n, &us) == 2)
        r = launch_many(n, us);
    else if (sscanf(line, "launch %u", &us) == 1)
        r = launch(stream, us);
    else if (sscanf(line, "batches %u %u %u %15s", &n, &more, &us, how) >= 3)
        r = work_in_batches(n, more, us, 0, how);
    else if (sscanf(line, "tasks %u %u %u", &n, &us, &more) == 3)
        r = work_in_batches(n, 1, us, more, how);
    else if (sscanf(line, "copies %u %u %u", &n, &more, &us) >= 2)
        r = copy_in(n, more, us);
    else if (strcmp(line, "second") == 0)
        r = start_second();
    else if (sscanf(line, "pairs %u %u %u", &n, &more, &us) == 3)
        r = work_in_pairs(n, more, us);
    else if (strcmp(line, "sync") == 0)
        r = cu.cuCtxSynchronize();
    else if (strcmp(line, "wait") == 0)
        r = cu.cuStreamSynchronize(stream);
    else if (sscanf(line, "asks %u", &n) == 1)
        r = ask(n);
    else if (strcmp(line, "destroy") == 0) {
        r = cu.cuStreamDestroy_v2(stream);
        stream = NULL;
    } else if (strcmp(line, "capture") == 0)
        r = cu.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
    else if (strcmp(line, "captured") == 0)
        r = end_capture();
    else if (strcmp(line, "graph") == 0)
        r = cu.cuGraphLaunch(graph, stream);
    else if (strcmp(line, "elsewhere") == 0)
        r = begin_elsewhere();
    else if (strcmp(line, "over") == 0)
        r = end_elsewhere();
    else if (sscanf(line, "churn %u", &n) == 1)
        r = churn_all(n);
    else if (strcmp(line, "callback") == 0)
        r = call_back();
    else
        return false;
    printf("%d\n", (int)r);
    return true;
}

/* False: the program ends. */
static bool step(const char *line)
{
    unsigned n = 0;
    pid_t child;

    if (strcmp(line, "start") == 0)
        printf("%d\n", (int)start(0));
    else if (sscanf(line, "start %u", &n) == 1)
        printf("%d\n", (int)start((CUdevice)n));
    else if (sscanf(line, "alloc %u", &n) == 1)
        printf("%d\n", allocate(n));
    else if (strcmp(line, "free") == 0 && n_pieces > 0)
        printf("%d\n", cu.cuMemFree_v2(pieces[--n_pieces]));
    else if (strcmp(line, "context") == 0)
        printf("%d\n", create_context());
    else if (sscanf(line, "pass %u", &n) == 1)
        printf("%d\n", pass(n));
    else if (sscanf(line, "load %u", &n) == 1)
        printf("%d\n", load_module(n));
    else if (strncmp(line, "file ", 5) == 0)
        printf("%d\n", load_file(line + 5));
    else if (sscanf(line, "library %u", &n) == 1)
        load_library(n);
    else if (strcmp(line, "unload") == 0 && n_modules > 0)
        printf("%d\n", cu.cuModuleUnload(modules[--n_modules]));
    else if (strcmp(line, "info") == 0)
        show_info();
    else if (strcmp(line, "total") == 0)
        show_total();
    else if (sscanf(line, "memory %u", &n) == 1)
        show_memory(n);
    else if (strcmp(line, "nvml") == 0)
        show_nvml();
    else if (strcmp(line, "close") == 0)
        close_sockets();
    else if (strcmp(line, "daemon") == 0)
        close_standard_streams();
    else if (sscanf(line, "threads %u", &n) == 1)
        run_threads(n);
    else if (strcmp(line, "fork") == 0) {
        child = fork();
        if (child > 0)
            waitpid(child, NULL, 0);
        printf(child ? "joined\n" : "forked\n");
    } else if (strcmp(line, "exec") == 0)
        execv("/proc/self/exe", arguments);
    else
        return step_of_descriptors(line) || step_of_handles(line) || step_of_launches(line);
    return true;
}

int main(int argc, char **argv)
{
    char line[512];

    if (argc != 3)
        return 2;
    arguments = argv;
    setvbuf(stdout, NULL, _IOLBF, 0);
    load();
    printf("ready\n");
    while (read_line(line, sizeof(line)) && step(line))
        ;
    printf("ended\n");
    fflush(stdout);
    _exit(0);
}
