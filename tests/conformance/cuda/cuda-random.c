// SPDX-License-Identifier: Apache-2.0

/*
 * Allocates and frees at random, of all families at once, in one process or two that take turns.
 * One line for each step: what was done, and what came of it; nothing in it depends on addresses.
 * So a seed gives the same lines with libgpuslice.so and without, below the limit.
 *
 *     cuda-random LIBCUDA SEED STEPS PROCESSES [DENIED]     (0 processes: one, which compares
 * nothing)
 *
 * With the library, and a limit: what the program is shown as used is compared with what the
 * simulator accounts, after every step; and what is denied with what there was. A line with `!` is
 * a difference. "denied N" names the calls that got error 2; without the library, those in DENIED
 * ("3,17") are left out, so that the rest can be compared.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nvml/state.h"
#include "shim/driver.h"

#define MIB     UINT64_C(1048576)
#define GRANULE (2 * MIB)
#define STEP    (32 * MIB) /* that pools grow by */
#define CREDIT  (32 * MIB) /* that another process may keep */

enum {
    PROCESSES = 2,
    OBJECTS = 48,
    CONTEXTS = 4,
    STREAMS = 3,
    GIVEN = 8,
    NODES = 3,
    WAIT_MS = 3000
};

enum family {
    NONE,
    PLAIN,
    ARRAY,
    MIPMAP,
    MODULE,
    POOL,
    POOLED,
    PHYSICAL,
    MAPPING,
    GRAPH,
    IMPORT, /* by an IPC handle */
};

struct object {
    enum family family;
    int context;    /* that it ends with; -1: none */
    uint64_t what;  /* handle or address */
    uint64_t bytes; /* POOLED: and its pool */
    uint64_t pool;
    unsigned n_references;
    CUdeviceptr nodes[NODES]; /* addresses of a graph, which a launch leaves behind */
    bool is_managed, is_out;
    /* How much less, and more, the library may count than the driver has. */
    uint64_t under, over;
};

/* Of both processes, which take turns. */
static struct shared {
    uint64_t random;
    unsigned n_takes, n_differences;
    sem_t turns[PROCESSES];
    struct {
        CUipcMemHandle handle;
        CUdeviceptr address; /* 0: gone */
    } given[PROCESSES][GIVEN];
    uint64_t under[PROCESSES], over[PROCESSES];
} * shared;

static struct cuda_functions cu;
static const struct state *machine;
static const char *denied;
static uint64_t limit; /* 0: none */
static int me, n_processes, sockets[PROCESSES];
static bool is_child; /* of one that compares */
static struct object objects[OBJECTS];
static struct {
    CUcontext handle;
    CUstream streams[STREAMS];
    CUfunction spin;
} contexts[CONTEXTS]; /* the first is the primary one */
static int current = -1;
static uint64_t pending; /* freed in a stream, and perhaps not yet */

/* --- choices --- */

static uint64_t draw(uint64_t below)
{
    uint64_t z = shared->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static uint64_t draw_size(void)
{
    static const uint64_t odd[] = {0,
                                   1,
                                   513,
                                   MIB - 1,
                                   MIB,
                                   MIB + 1,
                                   GRANULE,
                                   STEP,
                                   STEP + 1,
                                   UINT64_C(1) << 47,
                                   UINT64_C(1) << 63,
                                   UINT64_MAX};

    if (draw(3) == 0)
        return odd[draw(sizeof(odd) / sizeof(odd[0]))];
    return draw(2) ? (draw(300) + 1) * MIB + draw(2) * 4097 : draw(40 * MIB) + 1;
}

static struct object *draw_object(enum family family)
{
    struct object *found[OBJECTS];
    size_t n = 0;

    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].family == family)
            found[n++] = &objects[i];
    return n ? found[draw(n)] : NULL;
}

static CUstream draw_stream(void)
{
    return current < 0 ? NULL : contexts[current].streams[draw(STREAMS)];
}

/* NULL: there are many already. */
static struct object *new_object(enum family family)
{
    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].family == NONE) {
            objects[i] = (struct object){.family = family, .context = current, .n_references = 1};
            return &objects[i];
        }
    return NULL;
}

static void drop(struct object *object)
{
    *object = (struct object){.family = NONE};
}

/* --- what is printed, and compared --- */

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

static void __attribute__((format(printf, 1, 2))) differ(const char *format, ...)
{
    va_list arguments;

    printf("\n! ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    shared->n_differences++;
}

/* Of one that has ended, the simulator forgets it when somebody takes memory. */
static bool is_alive(pid_t pid)
{
    return pid > 0 && kill(pid, 0) == 0;
}

static uint64_t driver_bytes(void)
{
    uint64_t sum = 0;

    for (size_t i = 0; machine && i < STATE_MAX_PROCESSES; i++)
        if (machine->processes[i].gpu == 0 && is_alive((pid_t)machine->processes[i].pid))
            sum += machine->processes[i].memory_bytes;
    return sum;
}

static uint64_t shown_bytes(void)
{
    size_t free_now = 0, total = 0;

    return cu.cuMemGetInfo_v2(&free_now, &total) == CUDA_SUCCESS ? total - free_now : UINT64_MAX;
}

static void slack(uint64_t *ret_under, uint64_t *ret_over)
{
    shared->under[me] = pending;
    shared->over[me] = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        shared->under[me] += objects[i].under;
        shared->over[me] += objects[i].over;
    }
    *ret_under = *ret_over = 0;
    for (int i = 0; i < n_processes; i++) {
        *ret_under += shared->under[i];
        *ret_over += shared->over[i] + (i == me ? 0 : CREDIT);
    }
}

/* Processes that ended are noticed a moment later; a question, without a context as well, has the
 * arbiter know of all that this one freed. */
static void compare(void)
{
    uint64_t under, over, has = 0, shown = 0;
    size_t total;

    slack(&under, &over);
    cu.cuDeviceTotalMem_v2(&total, 0);
    for (int waited_ms = 0; limit && !shared->n_differences && waited_ms < WAIT_MS;
         waited_ms += 5) {
        shown = shown_bytes();
        has = driver_bytes();
        if (shown == UINT64_MAX || (shown <= has + over && has <= shown + under))
            return;
        poll(NULL, 0, 5);
    }
    if (limit && !shared->n_differences)
        differ("the driver has %.3f MiB, shown are %.3f (- %.3f, + %.3f)", (double)has / MIB,
               (double)shown / MIB, (double)under / MIB, (double)over / MIB);
}

static bool is_listed(unsigned number)
{
    char word[16];

    snprintf(word, sizeof(word), ",%u,", number);
    return denied && strstr(denied, word);
}

/* What the driver itself refuses is no matter of a limit. */
static bool is_absurd(uint64_t bytes)
{
    return bytes >= UINT64_C(1) << 37;
}

static void judge(unsigned number, CUresult r, uint64_t bytes, uint64_t before)
{
    uint64_t under, over;

    slack(&under, &over);
    if (!limit)
        return;
    if (shared->n_differences) {
        if (r == CUDA_ERROR_OUT_OF_MEMORY)
            printf("\ndenied %u\n", number);
        return;
    }
    if (r == CUDA_ERROR_OUT_OF_MEMORY) {
        printf("\ndenied %u\n", number);
        if (!is_absurd(bytes) && before + over + bytes <= limit)
            differ("%llu bytes are denied, with %llu of %llu", (unsigned long long)bytes,
                   (unsigned long long)before, (unsigned long long)limit);
    } else if (r == CUDA_SUCCESS && driver_bytes() > limit + under + GRANULE) {
        differ("%llu bytes are given, to %llu of %llu (%llu)", (unsigned long long)bytes,
               (unsigned long long)driver_bytes(), (unsigned long long)limit,
               (unsigned long long)under);
    }
}

/* A call that may be denied, and takes about so much. */
#define TAKE(size, call)                                                            \
    ({                                                                              \
        const unsigned number_ = ++shared->n_takes;                                 \
        const uint64_t before_ = driver_bytes(), size_ = (size);                    \
        const CUresult r_ = is_listed(number_) ? CUDA_ERROR_OUT_OF_MEMORY : (call); \
                                                                                    \
        judge(number_, r_, size_, before_);                                         \
        r_;                                                                         \
    })

static uint64_t whole(uint64_t bytes, uint64_t step)
{
    return is_absurd(bytes) ? bytes : (bytes + step - 1) / step * step;
}

static uint64_t under_of(uint64_t bytes)
{
    return bytes < MIB ? GRANULE : 0; /* small ones share granules, which only the driver knows */
}

/* All that was freed is free then. */
static void synchronise(void)
{
    for (int i = 0; i < CONTEXTS; i++)
        if (contexts[i].handle && cu.cuCtxSetCurrent(contexts[i].handle) == CUDA_SUCCESS)
            cu.cuCtxSynchronize();
    if (current >= 0)
        cu.cuCtxSetCurrent(contexts[current].handle);
    pending = 0;
}

/* --- memory of contexts --- */

static void added(struct object *object, CUresult r, uint64_t what, uint64_t bytes)
{
    if (r != CUDA_SUCCESS) {
        drop(object);
        return;
    }
    object->what = what;
    object->bytes = bytes;
    object->under = under_of(bytes);
}

static void take_plain(struct object *object)
{
    const uint64_t bytes = draw_size();
    CUdeviceptr address = 0;
    CUresult r = TAKE(whole(bytes, GRANULE), cu.cuMemAlloc_v2(&address, bytes));

    added(object, r, address, bytes);
    say("alloc %llu: %d", (unsigned long long)bytes, r);
}

static void take_pitch(struct object *object)
{
    const uint64_t width = draw(5000), height = draw(8) ? draw(20000) : draw_size();
    CUdeviceptr address = 0;
    size_t pitch = 0;
    uint64_t bytes;
    CUresult r;

    if (__builtin_mul_overflow(whole(width, 512), height, &bytes))
        bytes = UINT64_MAX;
    r = TAKE(whole(bytes, GRANULE), cu.cuMemAllocPitch_v2(&address, &pitch, width, height, 4));
    added(object, r, address, bytes);
    say("pitch %llu %llu: %d %zu", (unsigned long long)width, (unsigned long long)height, r, pitch);
}

/* It is counted in full, wherever it is. */
static void take_managed(struct object *object)
{
    const uint64_t bytes = draw_size() >> 2;
    CUdeviceptr address = 0;
    CUresult r = TAKE(whole(bytes, GRANULE), cu.cuMemAllocManaged(&address, bytes, 1));

    added(object, r, address, bytes);
    if (r == CUDA_SUCCESS) {
        object->is_managed = true;
        object->over = whole(bytes, GRANULE);
        object->under = GRANULE; /* it moves in whole ones */
    }
    say("managed %llu: %d", (unsigned long long)bytes, r);
}

static void take_array(struct object *object)
{
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {.Width = draw(2000),
                                            .Height = draw(2000),
                                            .Depth = draw(2) * draw(20),
                                            .Format = CU_AD_FORMAT_FLOAT,
                                            .NumChannels = (unsigned)draw(5)};
    const uint64_t bytes = wanted.Width * (wanted.Height ? wanted.Height : 1) *
                           (wanted.Depth ? wanted.Depth : 1) * wanted.NumChannels * 4;
    CUarray array = NULL;
    CUresult r = TAKE(whole(bytes, GRANULE), cu.cuArray3DCreate_v2(&array, &wanted));

    object->family = ARRAY;
    added(object, r, (uintptr_t)array, bytes);
    say("array %llu: %d", (unsigned long long)bytes, r);
}

static void take_mipmap(struct object *object)
{
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {.Width = draw(4000) + 1,
                                            .Height = draw(4000) + 1,
                                            .Format = CU_AD_FORMAT_FLOAT,
                                            .NumChannels = 4};
    const unsigned n_levels = (unsigned)draw(5);
    const uint64_t bytes = wanted.Width * wanted.Height * 16;
    CUmipmappedArray mipmap = NULL;
    CUresult r;

    object->family = MIPMAP;
    object->under = n_levels * GRANULE; /* each is rounded, or put to other small pieces */
    r = TAKE(2 * bytes + 8 * GRANULE, cu.cuMipmappedArrayCreate(&mipmap, &wanted, n_levels));
    added(object, r, (uintptr_t)mipmap, bytes);
    if (r == CUDA_SUCCESS) {
        object->under = n_levels * GRANULE;
        object->over = GRANULE;
    }
    say("mipmap %llu %u: %d", (unsigned long long)bytes, n_levels, r);
}

static void take_module(struct object *object)
{
    const uint64_t bytes = (draw(60) + 1) * MIB;
    char image[256];
    CUmodule module = NULL;
    CUresult r;

    snprintf(image, sizeof(image),
             ".version 6.3\n.target sm_70\n.address_size 64\n"
             ".visible .global .align 4 .b8 variable[%llu];\n",
             (unsigned long long)bytes);
    r = TAKE(whole(bytes, GRANULE), cu.cuModuleLoadData(&module, image));
    object->family = MODULE;
    added(object, r, (uintptr_t)module, bytes);
    say("module %llu: %d", (unsigned long long)bytes, r);
}

static void take_any(void)
{
    static void (*const ways[])(struct object * object) = {
        take_plain, take_plain, take_pitch, take_managed, take_array, take_mipmap, take_module,
    };
    struct object *object = new_object(PLAIN);

    if (object)
        ways[draw(sizeof(ways) / sizeof(ways[0]))](object);
}

static void forget_given(CUdeviceptr address)
{
    for (int i = 0; i < GIVEN; i++)
        if (shared->given[me][i].address == address)
            shared->given[me][i].address = 0;
}

/* Twice, and from within, too. */
static void free_plain(void)
{
    struct object *object = draw_object(PLAIN);
    CUresult r, again;

    if (!object)
        return;
    if (draw(4) == 0)
        say("inside %d, ", cu.cuMemFree_v2(object->what + 1));
    forget_given(object->what);
    if (draw(3) == 0 && object->bytes > 0) {
        r = cu.cuMemFreeAsync(object->what, draw_stream());
        pending += r == CUDA_SUCCESS ? whole(object->bytes, GRANULE) : 0;
        say("free in a stream %d", r);
    } else {
        r = cu.cuMemFree_v2(object->what);
        again = r == CUDA_SUCCESS ? cu.cuMemFree_v2(object->what) : r;
        say("free %d %d", r, again);
    }
    if (r == CUDA_SUCCESS)
        drop(object);
}

static void move_managed(void)
{
    struct object *object = draw_object(PLAIN);
    const int to = draw(3) ? 0 : -1;

    if (object && object->is_managed)
        say("move %d",
            cu.cuMemPrefetchAsync(object->what, object->bytes / (draw(2) + 1), to, NULL));
}

static void free_handles(void)
{
    struct object *array = draw_object(ARRAY), *mipmap = draw_object(MIPMAP),
                  *module = draw_object(MODULE);

    if (array && draw(2)) {
        say("array %d", cu.cuArrayDestroy((CUarray)(uintptr_t)array->what));
        say(" %d ", cu.cuArrayDestroy((CUarray)(uintptr_t)array->what));
        drop(array);
    }
    if (mipmap && draw(2)) {
        say("mipmap %d ", cu.cuMipmappedArrayDestroy((CUmipmappedArray)(uintptr_t)mipmap->what));
        drop(mipmap);
    }
    if (module && draw(2)) {
        say("module %d", cu.cuModuleUnload((CUmodule)(uintptr_t)module->what));
        say(" %d ", cu.cuModuleUnload((CUmodule)(uintptr_t)module->what));
        drop(module);
    }
}

/* --- pools --- */

static void make_pool(void)
{
    const CUmemPoolProps wanted = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                   .handleTypes = draw(2) ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
                                                          : CU_MEM_HANDLE_TYPE_NONE,
                                   .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemoryPool pool = NULL;
    struct object *object = new_object(POOL);
    CUresult r;

    if (!object)
        return;
    r = cu.cuMemPoolCreate(&pool, &wanted);
    added(object, r, (uintptr_t)pool, 0);
    object->context = -1;
    object->under = 0;
    say("pool %d", r);
}

static void take_pooled(void)
{
    struct object *pool = draw_object(POOL), *object = new_object(POOLED);
    const uint64_t bytes = draw_size();
    const bool is_own = pool && draw(3);
    CUmemoryPool from = is_own ? (CUmemoryPool)(uintptr_t)pool->what : NULL;
    CUdeviceptr address = 0;
    CUstream stream = draw_stream();
    CUresult r;

    if (!object)
        return;
    r = TAKE(whole(bytes, STEP), from ? cu.cuMemAllocFromPoolAsync(&address, bytes, from, stream)
                                      : cu.cuMemAllocAsync(&address, bytes, stream));
    if (!from && r == CUDA_SUCCESS)
        cu.cuDeviceGetMemPool(&from, 0);
    if (r == CUDA_ERROR_OUT_OF_MEMORY && !is_absurd(bytes))
        pending += whole(bytes, STEP); /* it may keep that as long as the stream has work */
    added(object, r, address, bytes);
    object->context = -1;
    object->under = 0;
    object->pool = (uintptr_t)from;
    say("pooled %llu: %d", (unsigned long long)bytes, r);
}

static void free_pooled(void)
{
    struct object *object = draw_object(POOLED);
    CUresult r;

    if (!object)
        return;
    r = draw(3) ? cu.cuMemFreeAsync(object->what, draw_stream()) : cu.cuMemFree_v2(object->what);
    say("free pooled %d", r);
    if (r != CUDA_SUCCESS)
        return;
    pending += object->under;
    drop(object);
}

/* What is left of it counts by itself; how much the driver keeps for that, only it knows. */
static void end_pool(struct object *pool)
{
    uint64_t kept = 0;
    CUresult r;

    synchronise(); /* what is freed in a stream is known to nobody then */
    cu.cuMemPoolGetAttribute((CUmemoryPool)(uintptr_t)pool->what,
                             CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &kept);
    r = cu.cuMemPoolDestroy((CUmemoryPool)(uintptr_t)pool->what);
    say("end of a pool %d", r);
    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].family == POOLED && objects[i].pool == pool->what) {
            objects[i].pool = 0;
            objects[i].under = kept;
        }
    drop(pool);
}

static void use_pool(void)
{
    struct object *pool = draw_object(POOL);
    CUmemoryPool handle, other = NULL;
    uint64_t value = draw(3) * 100 * MIB;
    int fd = -1;

    if (!pool)
        return;
    handle = (CUmemoryPool)(uintptr_t)pool->what;
    switch (draw(6)) {
    case 0:
        end_pool(pool);
        break;
    case 1:
        say("current pool %d", cu.cuDeviceSetMemPool(0, handle));
        break;
    case 2:
        say("trim %d", cu.cuMemPoolTrimTo(handle, value));
        break;
    case 3:
        say("threshold %d",
            cu.cuMemPoolSetAttribute(handle, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &value));
        break;
    case 4:
        say("export %d", cu.cuMemPoolExportToShareableHandle(
                             &fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
        if (fd >= 0) {
            say(" import %d",
                cu.cuMemPoolImportFromShareableHandle(&other, (void *)(intptr_t)fd,
                                                      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
            say(" end %d", other ? cu.cuMemPoolDestroy(other) : 0);
            close(fd);
        }
        break;
    default:
        cu.cuDeviceGetDefaultMemPool(&handle, 0);
        say("default pool %d", cu.cuDeviceSetMemPool(0, handle));
        say(" trim %d", cu.cuMemPoolTrimTo(handle, 0));
    }
}

/* --- physical memory --- */

static void make_physical(void)
{
    const CUmemAllocationProp wanted = {
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .requestedHandleTypes =
            draw(2) ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : CU_MEM_HANDLE_TYPE_NONE,
        .location = {CU_MEM_LOCATION_TYPE_DEVICE, draw(10) ? 0 : 99}};
    const uint64_t bytes = draw(5) ? (draw(80) + 1) * GRANULE : draw_size();
    CUmemGenericAllocationHandle handle = 0;
    struct object *object = new_object(PHYSICAL);
    CUresult r;

    if (!object)
        return;
    r = TAKE(whole(bytes, GRANULE), cu.cuMemCreate(&handle, bytes, &wanted, 0));
    added(object, r, handle, bytes);
    object->context = -1;
    object->under = 0;
    say("create %llu: %d", (unsigned long long)bytes, r);
}

static struct object *find_physical(uint64_t handle)
{
    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].family == PHYSICAL && objects[i].what == handle)
            return &objects[i];
    return NULL;
}

/* Held by another name, or once more. */
static void hold(CUmemGenericAllocationHandle handle, uint64_t bytes)
{
    struct object *object = find_physical(handle);

    if (object)
        object->n_references++;
    else if ((object = new_object(PHYSICAL))) {
        *object = (struct object){
            .family = PHYSICAL, .context = -1, .what = handle, .bytes = bytes, .n_references = 1};
    } else
        cu.cuMemRelease(handle);
}

/* Once too often, too. */
static void release_physical(void)
{
    struct object *object = draw_object(PHYSICAL);

    if (!object)
        return;
    say("release %d", cu.cuMemRelease(object->what));
    if (--object->n_references > 0)
        return;
    say(" %d", cu.cuMemRelease(object->what));
    drop(object);
}

static void map_physical(void)
{
    struct object *physical = draw_object(PHYSICAL);
    const unsigned n = (unsigned)draw(3) + 1;
    CUdeviceptr base = 0;
    CUresult r;

    if (!physical || cu.cuMemAddressReserve(&base, n * physical->bytes, 0, 0, 0) != CUDA_SUCCESS)
        return;
    say("map");
    r = CUDA_ERROR_UNKNOWN;
    for (unsigned i = 0; i < n; i++) {
        struct object *mapping = new_object(MAPPING);
        const CUdeviceptr at = base + i * physical->bytes;

        if (!mapping)
            break;
        r = cu.cuMemMap(at, physical->bytes, 0, physical->what, 0);
        say(" %d", r);
        added(mapping, r, at, physical->bytes);
        mapping->context = -1;
        mapping->under = 0;
    }
    if (draw(4) == 0 && r == CUDA_SUCCESS)
        say(" over it %d", cu.cuMemMap(base, physical->bytes, 0, physical->what, 0));
}

/* A half, one, or it and the one behind it. */
static void unmap_physical(void)
{
    struct object *mapping = draw_object(MAPPING), *next = NULL;
    uint64_t bytes;

    if (!mapping)
        return;
    bytes = mapping->bytes;
    if (draw(3) == 0 && bytes > GRANULE)
        say("half %d ", cu.cuMemUnmap(mapping->what + GRANULE, bytes));
    if (draw(3) == 0 && bytes > GRANULE)
        say("less %d ", cu.cuMemUnmap(mapping->what, bytes - GRANULE));
    for (size_t i = 0; i < OBJECTS && draw(3); i++)
        if (objects[i].family == MAPPING && objects[i].what == mapping->what + bytes)
            next = &objects[i];
    if (next)
        bytes += next->bytes;
    say("unmap %d", cu.cuMemUnmap(mapping->what, bytes));
    drop(mapping);
    if (next)
        drop(next);
}

static void retain_physical(void)
{
    struct object *mapping = draw_object(MAPPING);
    CUmemGenericAllocationHandle handle = 0;
    CUresult r;

    if (!mapping)
        return;
    r = cu.cuMemRetainAllocationHandle(
        &handle, (void *)(uintptr_t)(mapping->what + draw(2) * (mapping->bytes - 1)));
    say("retain %d", r);
    if (r == CUDA_SUCCESS)
        hold(handle, mapping->bytes);
}

static void send_descriptor(int fd)
{
    char byte = 0, room[CMSG_SPACE(sizeof(fd))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    (void)sendmsg(sockets[me], &message, MSG_DONTWAIT);
}

static int receive_descriptor(void)
{
    char byte, room[CMSG_SPACE(sizeof(int))];
    struct iovec data = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    int fd = -1;

    if (recvmsg(sockets[me], &message, MSG_DONTWAIT) == 1 && CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

static void import(int fd)
{
    CUmemGenericAllocationHandle handle = 0;
    const CUresult r = cu.cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd,
                                                         CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);

    say("import %d", r);
    if (r == CUDA_SUCCESS)
        hold(handle, (uint64_t)lseek(fd, 0, SEEK_END));
    close(fd);
}

static void share_physical(void)
{
    struct object *object = draw_object(PHYSICAL);
    int fd = n_processes > 1 ? receive_descriptor() : -1;

    if (fd >= 0)
        import(fd);
    if (!object)
        return;
    fd = -1;
    say(" export %d", cu.cuMemExportToShareableHandle(&fd, object->what,
                                                      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    if (fd < 0)
        return;
    if (n_processes > 1 && draw(2)) {
        send_descriptor(fd);
        close(fd);
    } else
        import(fd);
}

/* --- graphs --- */

static void keep_graph(CUgraph graph, CUresult r, const CUdeviceptr *nodes, uint64_t bytes)
{
    struct object *object = new_object(GRAPH);
    CUgraphExec exec = NULL;

    if (r == CUDA_SUCCESS)
        r = object ? cu.cuGraphInstantiateWithFlags(&exec, graph, 0) : CUDA_ERROR_UNKNOWN;
    if (graph)
        cu.cuGraphDestroy(graph);
    say(" graph %d", r);
    if (!object)
        return;
    added(object, r, (uintptr_t)exec, bytes);
    if (r == CUDA_SUCCESS)
        memcpy(object->nodes, nodes, sizeof(object->nodes));
    object->context = -1;
    object->under = 0;
}

static void make_graph(void)
{
    const unsigned n = (unsigned)draw(NODES) + 1;
    CUdeviceptr nodes[NODES] = {0};
    uint64_t sum = 0;
    CUgraph graph = NULL;
    CUgraphNode last;
    CUresult r = cu.cuGraphCreate(&graph, 0);

    for (unsigned i = 0; i < n && r == CUDA_SUCCESS; i++) {
        CUDA_MEM_ALLOC_NODE_PARAMS wanted = {
            .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                          .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}},
            .bytesize = draw(80 * MIB) + 1};

        r = cu.cuGraphAddMemAllocNode(&last, graph, NULL, 0, &wanted);
        nodes[i] = wanted.dptr;
        sum += whole(wanted.bytesize, GRANULE);
        if (r == CUDA_SUCCESS && draw(2)) {
            r = cu.cuGraphAddMemFreeNode(&last, graph, NULL, 0, nodes[i]);
            nodes[i] = 0;
        }
    }
    say("nodes %d", r);
    keep_graph(graph, r, nodes, sum);
}

/* What is not allowed there as well. */
static void capture(void)
{
    CUstream stream = draw_stream();
    CUdeviceptr nodes[NODES] = {0};
    const uint64_t bytes = draw(60 * MIB) + 1;
    struct object *pooled = draw_object(POOLED);
    CUgraph graph = NULL;
    CUdeviceptr address = 0;
    CUresult r;

    if (!stream)
        return;
    r = cu.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    say("capture %d", r);
    if (r != CUDA_SUCCESS)
        return;
    say(" %d", cu.cuMemAllocAsync(&nodes[0], bytes, stream));
    if (draw(2)) {
        say(" %d", cu.cuMemFreeAsync(nodes[0], stream));
        nodes[0] = 0;
    }
    if (pooled && draw(2))
        say(" of a pool %d", cu.cuMemFreeAsync(pooled->what, stream));
    r = TAKE(GRANULE, cu.cuMemAlloc_v2(&address, GRANULE));
    say(" alloc %d free %d", r, r == CUDA_SUCCESS ? cu.cuMemFree_v2(address) : 0);
    r = cu.cuStreamEndCapture(stream, &graph);
    keep_graph(graph, r, nodes, whole(bytes, GRANULE));
}

static void launch_graph(void)
{
    struct object *object = draw_object(GRAPH);
    CUstream stream = draw_stream();
    CUresult r;

    if (!object)
        return;
    r = TAKE(whole(object->bytes, STEP) + STEP,
             cu.cuGraphLaunch((CUgraphExec)(uintptr_t)object->what, stream));
    say("launch of a graph %d", r);
    object->is_out |= r == CUDA_SUCCESS;
}

static void free_of_graph(void)
{
    struct object *object = draw_object(GRAPH);
    CUresult r;

    if (!object || !object->is_out)
        return;
    synchronise();
    object->is_out = false;
    for (unsigned i = 0; i < NODES; i++) {
        if (!object->nodes[i])
            continue;
        r = draw(2) ? cu.cuMemFree_v2(object->nodes[i]) : cu.cuMemFreeAsync(object->nodes[i], NULL);
        say("free of a graph %d ", r);
        object->is_out |= r != CUDA_SUCCESS;
    }
}

static void use_graph(void)
{
    struct object *object = draw_object(GRAPH);

    if (draw(2))
        say("trim of graphs %d ", cu.cuDeviceGraphMemTrim(0));
    else if (object && draw(2))
        say("upload %d", TAKE(whole(object->bytes, STEP) + STEP,
                              cu.cuGraphUpload((CUgraphExec)(uintptr_t)object->what, NULL)));
    else if (object && !object->is_out) {
        say("end of a graph %d", cu.cuGraphExecDestroy((CUgraphExec)(uintptr_t)object->what));
        drop(object);
    }
}

/* --- contexts and streams --- */

static void begin_context(int at)
{
    static const char image[] = ".version 6.3\n.target sm_70\n.address_size 64\n"
                                ".visible .entry spin_us(.param .u32 us) { ret; }\n";
    CUmodule module = NULL;

    current = at;
    for (int i = 1; i < STREAMS; i++)
        cu.cuStreamCreate(&contexts[at].streams[i], i == 1 ? 0 : CU_STREAM_NON_BLOCKING);
    if (cu.cuModuleLoadData(&module, image) == CUDA_SUCCESS)
        cu.cuModuleGetFunction(&contexts[at].spin, module, "spin_us");
}

static void make_context(void)
{
    const int at = (int)draw(CONTEXTS);
    CUresult r;

    if (contexts[at].handle) {
        r = cu.cuCtxSetCurrent(contexts[at].handle);
        current = r == CUDA_SUCCESS ? at : current;
        say("context %d: %d", at, r);
        return;
    }
    r = TAKE(518 * MIB, at ? cu.cuCtxCreate_v2(&contexts[at].handle, 0, 0)
                           : cu.cuDevicePrimaryCtxRetain(&contexts[at].handle, 0));
    say("new context %d: %d", at, r);
    if (r != CUDA_SUCCESS) {
        contexts[at].handle = NULL;
        return;
    }
    cu.cuCtxSetCurrent(contexts[at].handle);
    begin_context(at);
}

static void context_ended(int at)
{
    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].context == at) {
            forget_given(objects[i].what);
            drop(&objects[i]);
        }
    memset(&contexts[at], 0, sizeof(contexts[at]));
    if (current == at)
        current = -1;
}

static void end_context(int at)
{
    CUresult r;

    if (!contexts[at].handle)
        return;
    r = at        ? cu.cuCtxDestroy_v2(contexts[at].handle)
        : draw(2) ? cu.cuDevicePrimaryCtxReset_v2(0)
                  : cu.cuDevicePrimaryCtxRelease_v2(0);
    say("end of context %d: %d", at, r);
    context_ended(at);
    for (at = 0; at < CONTEXTS && current < 0; at++)
        if (contexts[at].handle && cu.cuCtxSetCurrent(contexts[at].handle) == CUDA_SUCCESS)
            current = at;
}

static void use_context(void)
{
    if (draw(3))
        make_context();
    else
        end_context((int)draw(CONTEXTS));
}

static void call_in_stream(void *result)
{
    CUdeviceptr address = 0;

    *(CUresult *)result = cu.cuMemAlloc_v2(&address, MIB);
}

static void use_stream(void)
{
    unsigned us = (unsigned)draw(3000);
    void *parameters[] = {&us};
    CUresult result = CUDA_SUCCESS, r;
    CUstream stream = draw_stream();

    if (current < 0)
        return;
    switch (draw(4)) {
    case 0:
        r = contexts[current].spin ? cu.cuLaunchKernel(contexts[current].spin, 1, 1, 1, 1, 1, 1, 0,
                                                       stream, parameters, NULL)
                                   : 0;
        say("launch %d", r);
        break;
    case 1:
        r = cu.cuLaunchHostFunc(stream, call_in_stream, &result);
        synchronise();
        say("call %d: %d", r, result);
        break;
    case 2:
        synchronise();
        if (stream)
            say("end of a stream %d ", cu.cuStreamDestroy_v2(stream));
        for (int i = 1; i < STREAMS && stream; i++)
            if (contexts[current].streams[i] == stream)
                cu.cuStreamCreate(&contexts[current].streams[i], 0);
        break;
    default:
        synchronise();
        say("synchronise");
    }
}

/* --- other threads and processes --- */

static void *run_thread(void *nothing)
{
    CUdeviceptr address = 0, pooled = 0;

    if (contexts[current].handle && cu.cuCtxSetCurrent(contexts[current].handle) == CUDA_SUCCESS)
        for (unsigned i = 1; i < 20; i++) {
            if (cu.cuMemAlloc_v2(&address, i % 7 * 3 * MIB / 4 + 1) == CUDA_SUCCESS)
                cu.cuMemFree_v2(address);
            if (cu.cuMemAllocAsync_ptsz(&pooled, i % 5 * MIB + 1, NULL) == CUDA_SUCCESS)
                cu.cuMemFreeAsync_ptsz(pooled, NULL);
        }
    return nothing;
}

static void run_threads(void)
{
    pthread_t threads[4];

    if (current < 0)
        return;
    synchronise(); /* of what is denied to them nothing stays, then */
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, run_thread, NULL))
            abort();
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    synchronise();
    say("threads");
}

/* A forked child gets nothing of the driver; one that executes a program ends with what it has. */
static void run_child(void)
{
    CUdeviceptr address = 0;
    const bool executes = draw(2);
    char seed[24];
    int status = 0;
    pid_t child;

    if (current < 0)
        return; /* when its memory is free again cannot be seen without a context */
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)draw(1000));
    fflush(stdout);
    child = fork();
    if (child == 0 && executes) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(3);
        execl("/proc/self/exe", "cuda-random", getenv("CUDA_RANDOM_LIBRARY"), seed, "8", "0", NULL);
    }
    if (child == 0)
        _exit(cu.cuMemAlloc_v2(&address, MIB) == CUDA_ERROR_NOT_INITIALIZED &&
                      (!objects[0].what || cu.cuMemFree_v2(objects[0].what) != CUDA_SUCCESS)
                  ? 0
                  : 1);
    waitpid(child, &status, 0);
    say("child %d", executes || status == 0 ? 0 : status);
}

/* --- memory of the other process --- */

static void give(void)
{
    struct object *object = draw_object(PLAIN);
    const uint64_t at = draw(GIVEN);
    CUipcMemHandle handle;
    CUresult r;

    if (!object)
        return;
    r = cu.cuIpcGetMemHandle(&handle, object->what);
    say("give %d", r);
    if (r != CUDA_SUCCESS)
        return;
    shared->given[me][at].handle = handle;
    shared->given[me][at].address = object->what;
}

static void open_given(void)
{
    const int whose = (int)draw((uint64_t)n_processes), at = (int)draw(GIVEN);
    struct object *object = new_object(IMPORT);
    CUdeviceptr address = 0;
    CUresult r = CUDA_ERROR_NOT_FOUND;

    if (!object)
        return;
    if (shared->given[whose][at].address)
        r = cu.cuIpcOpenMemHandle_v2(&address, shared->given[whose][at].handle, 1);
    say("open %d", r);
    added(object, r, address, 0);
    object->under = 0;
}

static void close_given(void)
{
    struct object *object = draw_object(IMPORT);

    if (!object)
        return;
    if (draw(2))
        say("free of another's %d ", cu.cuMemFree_v2(object->what));
    say("close %d", cu.cuIpcCloseMemHandle(object->what));
    say(" %d", cu.cuIpcCloseMemHandle(object->what));
    drop(object);
}

/* --- a run --- */

static const struct step {
    void (*run)(void);
    unsigned weight;
} steps[] = {
    {take_any, 14},       {free_plain, 8},       {move_managed, 3}, {free_handles, 5},
    {make_pool, 2},       {take_pooled, 9},      {free_pooled, 6},  {use_pool, 5},
    {make_physical, 6},   {release_physical, 5}, {map_physical, 5}, {unmap_physical, 5},
    {retain_physical, 2}, {share_physical, 4},   {make_graph, 3},   {capture, 3},
    {launch_graph, 7},    {free_of_graph, 4},    {use_graph, 4},    {use_context, 4},
    {use_stream, 6},      {run_threads, 1},      {run_child, 1},    {give, 4},
    {open_given, 4},      {close_given, 3},
};

static void run_step(void)
{
    uint64_t sum = 0, at;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        sum += steps[i].weight;
    at = draw(sum);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (at < steps[i].weight) {
            steps[i].run();
            return;
        }
        at -= steps[i].weight;
    }
}

static void free_all(void)
{
    CUmemoryPool pool = NULL;

    synchronise();
    for (size_t i = 0; i < OBJECTS; i++) {
        struct object *o = &objects[i];

        if (o->family == POOLED || o->family == PLAIN)
            cu.cuMemFree_v2(o->what);
        else if (o->family == MAPPING)
            cu.cuMemUnmap(o->what, o->bytes);
        else if (o->family == GRAPH)
            for (unsigned k = 0; k < NODES; k++)
                cu.cuMemFree_v2(o->nodes[k]);
        else if (o->family == POOL)
            cu.cuMemPoolDestroy((CUmemoryPool)(uintptr_t)o->what);
        else if (o->family == ARRAY)
            cu.cuArrayDestroy((CUarray)(uintptr_t)o->what);
        else if (o->family == MIPMAP)
            cu.cuMipmappedArrayDestroy((CUmipmappedArray)(uintptr_t)o->what);
        else if (o->family == MODULE)
            cu.cuModuleUnload((CUmodule)(uintptr_t)o->what);
        while (o->family == PHYSICAL && o->n_references-- > 0)
            cu.cuMemRelease(o->what);
        drop(o);
    }
    if (cu.cuDeviceGetDefaultMemPool(&pool, 0) == CUDA_SUCCESS)
        cu.cuMemPoolTrimTo(pool, 0);
    cu.cuDeviceGraphMemTrim(0);
}

/* Contexts end last: then there is nothing left. */
static void end_all(void)
{
    uint64_t left;

    make_context();
    free_all();
    say("\n%d: all is freed", me);
    compare();
    for (int i = 0; i < CONTEXTS; i++)
        end_context(i);
    compare();
    left = driver_bytes();
    if (n_processes == 1 && !is_child && left > 0)
        differ("the driver has %.3f MiB at the end", (double)left / MIB);
    say("\n");
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);

#define LOAD(name, arguments) *(void **)&cu.name = dlsym(library, #name);
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(LOAD, name, arguments)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    DRIVER_##variant(LOAD, name, arguments)
#include "shim/cuda-calls.def"
}

static void look_at_machine(void)
{
    const int fd = open(getenv("GPUSLICE_SIM_STATE"), O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof(struct state), PROT_READ, MAP_SHARED, fd, 0);
    size_t total = 0;

    if (mapped == MAP_FAILED)
        abort();
    machine = mapped;
    close(fd);
    if (cu.cuDeviceTotalMem_v2(&total, 0) == CUDA_SUCCESS && getenv("LD_PRELOAD") && !is_child)
        limit = total;
}

static void run(unsigned n_steps)
{
    for (unsigned i = 0; i <= n_steps; i++) {
        sem_wait(&shared->turns[me]);
        if (i == 0) {
            cu.cuInit(0);
            look_at_machine();
            make_context();
        } else if (i == n_steps) {
            end_all();
        } else {
            say("%d.%u ", me, i);
            run_step();
            compare();
            say("\n");
        }
        fflush(stdout);
        sem_post(&shared->turns[(me + 1) % n_processes]);
    }
}

int main(int argc, char **argv)
{
    unsigned n_steps = argc > 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    int pair[2];

    if (n_steps == 0 || setenv("CUDA_RANDOM_LIBRARY", argv[1], 1) < 0)
        return 2;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 2;
    shared->random = strtoull(argv[2], NULL, 10);
    is_child = strcmp(argv[4], "0") == 0;
    n_processes = strcmp(argv[4], "2") == 0 ? 2 : 1;
    denied = argc > 5 ? argv[5] : NULL;
    memcpy(sockets, pair, sizeof(pair));
    for (int i = 0; i < PROCESSES; i++)
        sem_init(&shared->turns[i], 1, i == 0);
    load(argv[1]);
    if (n_processes > 1 && fork() == 0)
        me = 1;
    run(n_steps);
    if (me == 0)
        while (wait(NULL) > 0)
            ;
    return shared->n_differences > 0;
}
