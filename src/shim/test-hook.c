// SPDX-License-Identifier: Apache-2.0

/*
 * Hooks of memory that the driver takes in steps, or by itself, on a driver and a session of two
 * devices: what is charged is never less than what the driver has.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shim/devices.h"
#include "shim/gate.h"
#include "shim/growth.h"
#include "shim/hook.h"
#include "shim/session.h"
#include "shim/wire.h"

#define MIB UINT64_C(1048576)

enum {
    DEVICES = 2,
    POOLS = 4,
    CREATED = 2,   /* the first ones are the devices' own */
    STEP_MIB = 32, /* by which pools grow, and graphs' memory */
};

/* --- the session --- */

static uint64_t charged[DEVICES], limit[DEVICES];

bool session_start(void)
{
    return true;
}

bool session_has(int slot, uint64_t bytes)
{
    return charged[slot] + bytes <= limit[slot];
}

int session_take(int slot, uint64_t bytes)
{
    if (!session_has(slot, bytes))
        return SESSION_DENIED;
    charged[slot] += bytes;
    return 0;
}

void session_charge(int slot, uint64_t bytes)
{
    charged[slot] += bytes;
}

void session_give(int slot, uint64_t bytes)
{
    assert_true(bytes <= charged[slot]);
    charged[slot] -= bytes;
}

static uint64_t returned, hidden;

uint64_t session_returned(int slot)
{
    assert_int_equal(slot, 0);
    return returned;
}

int session_grew(int slot, uint64_t *bytes, uint64_t hidden_bytes)
{
    charged[slot] += *bytes;
    hidden += hidden_bytes;
    return charged[slot] <= limit[slot] ? 0 : SESSION_DENIED;
}

void session_shrank(int slot, uint64_t bytes)
{
    session_give(slot, bytes);
}

int devices_slot(const struct cuda_functions *driver, CUdevice device)
{
    assert_non_null(driver);
    return device;
}

static bool has_context = true;

/* The stream's, too. */
bool devices_current(const struct cuda_functions *driver, CUdevice *ret_device,
                     CUcontext *ret_context)
{
    assert_non_null(driver);
    *ret_device = 0;
    *ret_context = NULL;
    return has_context;
}

void devices_note_context(CUdevice device, int slot)
{
    assert_int_equal(device, slot);
}

/* No device is shared by turns. */
struct gate_launch gate_enter(const struct cuda_functions *driver, CUstream stream,
                              bool is_per_thread)
{
    return (struct gate_launch){NULL, NULL};
}

CUresult gate_leave(const struct cuda_functions *driver, struct gate_launch launch, CUresult r)
{
    return r;
}

struct await await_perhaps_all(const struct cuda_functions *driver)
{
    return (struct await){NULL};
}

CUresult await_end(const struct await *wait, CUresult r)
{
    return r;
}

void hook_note_shareable(const struct cuda_functions *driver, enum exchange_side side,
                         CUmemAllocationHandleType type, const void *handle)
{
}

uint64_t wire_now_ms(void)
{
    return 0;
}

/* --- the driver --- */

static struct pool {
    CUdevice device;
    uint64_t reserved, used;
} pools[POOLS];

static CUmemoryPool handle(unsigned pool)
{
    return (CUmemoryPool)&pools[pool];
}

static CUdeviceptr next_address = 1 << 20;

/* What other threads do meanwhile is done within the call. */
static void (*inside)(void);

static uint64_t whole_steps(uint64_t bytes)
{
    return (bytes + STEP_MIB * MIB - 1) / (STEP_MIB * MIB) * (STEP_MIB * MIB);
}

static CUresult take_from(CUdeviceptr *to, size_t bytes, CUmemoryPool from, CUstream stream)
{
    struct pool *pool = (struct pool *)from;
    void (*others)(void) = inside;

    (void)stream;
    inside = NULL;
    if (others)
        others();
    if (pool->reserved - pool->used < bytes)
        pool->reserved += whole_steps(bytes);
    pool->used += bytes;
    assert_true(pool->reserved <= charged[pool->device]);
    *to = next_address;
    next_address += bytes;
    return CUDA_SUCCESS;
}

static CUresult give_back(CUdeviceptr address, CUstream stream)
{
    (void)stream;
    assert_true(address < next_address);
    return CUDA_SUCCESS;
}

static CUresult own_pool(CUmemoryPool *to, CUdevice device)
{
    *to = handle((unsigned)device);
    return CUDA_SUCCESS;
}

static CUresult count(int *to)
{
    *to = DEVICES;
    return CUDA_SUCCESS;
}

static CUresult create(CUmemoryPool *to, const CUmemPoolProps *properties)
{
    *to = handle(CREATED);
    pools[CREATED] = (struct pool){.device = properties->location.id};
    return CUDA_SUCCESS;
}

static CUresult destroy(CUmemoryPool pool)
{
    assert_ptr_equal(pool, handle(CREATED));
    return CUDA_SUCCESS;
}

static void (*after_reading)(void);

static CUresult attribute_of(CUmemoryPool from, CUmemPool_attribute attribute, void *value)
{
    const struct pool *pool = (const struct pool *)from;
    void (*others)(void) = after_reading;

    *(uint64_t *)value =
        attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT ? pool->reserved : pool->used;
    if (others && attribute == CU_MEMPOOL_ATTR_USED_MEM_CURRENT) {
        after_reading = NULL;
        others();
    }
    return CUDA_SUCCESS;
}

static CUresult is_not_capturing(CUstream stream, CUstreamCaptureStatus *ret_status)
{
    (void)stream;
    *ret_status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

/* One graph: a node on the first device that allocates. */
static CUgraphNode node;
static CUgraph graph;
static CUgraphExec exec;
static uint64_t node_bytes, graph_reserved;

static CUresult nodes_of(CUgraph from, CUgraphNode *to, size_t *n)
{
    assert_ptr_equal(from, graph);
    *n = 1;
    if (to)
        *to = node;
    return CUDA_SUCCESS;
}

static CUresult type_of(CUgraphNode from, CUgraphNodeType *ret_type)
{
    assert_ptr_equal(from, node);
    *ret_type = CU_GRAPH_NODE_TYPE_MEM_ALLOC;
    return CUDA_SUCCESS;
}

static CUresult describe(CUgraphNode from, CUDA_MEM_ALLOC_NODE_PARAMS *ret_params)
{
    assert_ptr_equal(from, node);
    *ret_params = (CUDA_MEM_ALLOC_NODE_PARAMS){
        .poolProps = {.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}}, .bytesize = node_bytes};
    return CUDA_SUCCESS;
}

static CUresult upload(CUgraphExec from, CUstream stream)
{
    (void)stream;
    assert_ptr_equal(from, exec);
    graph_reserved = whole_steps(node_bytes);
    assert_true(graph_reserved <= charged[0]);
    return CUDA_SUCCESS;
}

static CUresult instantiate(CUgraphExec *to, CUgraph from, CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
    assert_ptr_equal(from, graph);
    *to = exec;
    if (params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)
        return upload(exec, params->hUploadStream);
    return CUDA_SUCCESS;
}

static CUresult destroy_exec(CUgraphExec from)
{
    assert_ptr_equal(from, exec);
    return CUDA_SUCCESS;
}

static CUresult graph_attribute_of(CUdevice device, CUgraphMem_attribute attribute, void *value)
{
    assert_int_equal(attribute, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT);
    *(uint64_t *)value = device == 0 ? graph_reserved : 0;
    return CUDA_SUCCESS;
}

/* One module at a time, whose variables take module_bytes, while neighbours free others_bytes. */
static uint64_t device_free, module_bytes, others_bytes, charged_inside;
static CUresult load_result;
static char module;

static CUresult load(CUmodule *to, const void *image)
{
    assert_non_null(image);
    charged_inside = charged[0];
    *to = (CUmodule)&module;
    if (load_result == CUDA_SUCCESS)
        device_free += others_bytes - module_bytes;
    returned += returned ? others_bytes : 0;
    return load_result;
}

static CUresult unload(CUmodule which)
{
    assert_ptr_equal(which, &module);
    return CUDA_SUCCESS;
}

static CUresult load_library(CUlibrary *to, const void *code, CUjit_option *options, void **values,
                             unsigned n, CUlibraryOption *of_library, void **of_library_values,
                             unsigned n_of_library)
{
    assert_non_null(code);
    (void)options, (void)values, (void)n;
    (void)of_library, (void)of_library_values, (void)n_of_library;
    *to = (CUlibrary)&module;
    return CUDA_SUCCESS;
}

static CUresult use_library(CUmodule *to, CUlibrary library)
{
    return load(to, library);
}

static CUresult unload_library(CUlibrary library)
{
    return unload((CUmodule)library);
}

static CUresult info(size_t *free_bytes, size_t *total)
{
    *free_bytes = device_free;
    *total = 2 * device_free;
    return CUDA_SUCCESS;
}

static const struct cuda_functions driver = {
    .cuDeviceGetCount = count,
    .cuDeviceGetDefaultMemPool = own_pool,
    .cuDeviceGetGraphMemAttribute = graph_attribute_of,
    .cuGraphExecDestroy = destroy_exec,
    .cuGraphGetNodes = nodes_of,
    .cuGraphInstantiateWithParams = instantiate,
    .cuGraphInstantiateWithParams_ptsz = instantiate,
    .cuGraphLaunch = upload,
    .cuGraphMemAllocNodeGetParams = describe,
    .cuGraphNodeGetType = type_of,
    .cuLibraryGetModule = use_library,
    .cuLibraryLoadData = load_library,
    .cuLibraryUnload = unload_library,
    .cuMemAllocFromPoolAsync = take_from,
    .cuMemFreeAsync = give_back,
    .cuMemGetInfo_v2 = info,
    .cuMemPoolCreate = create,
    .cuMemPoolDestroy = destroy,
    .cuMemPoolGetAttribute = attribute_of,
    .cuModuleLoadFatBinary = load,
    .cuModuleUnload = unload,
    .cuStreamIsCapturing = is_not_capturing,
};

const struct cuda_functions *driver_get(void)
{
    return &driver;
}

static int begin(void **state)
{
    (void)state;
    for (unsigned i = 0; i < POOLS; i++)
        growth_forget(&(struct growth_source){.pool = handle(i), .device = pools[i].device});
    memset(pools, 0, sizeof(pools));
    pools[1].device = 1;
    memset(charged, 0, sizeof(charged));
    for (unsigned i = 0; i < DEVICES; i++)
        limit[i] = 1000 * MIB;
    inside = NULL;
    after_reading = NULL;
    growth_forget(&(struct growth_source){.pool = NULL});
    graph = (CUgraph)&graph;
    exec = (CUgraphExec)&exec;
    node = (CUgraphNode)&node;
    graph_reserved = 0;
    node_bytes = 100 * MIB;
    device_free = 100000 * MIB;
    module_bytes = others_bytes = returned = hidden = 0;
    load_result = CUDA_SUCCESS;
    return 0;
}

static CUresult allocate(unsigned pool, uint64_t bytes, CUdeviceptr *ret_address)
{
    return cuMemAllocFromPoolAsync(ret_address, bytes, handle(pool), NULL);
}

/* --- pools --- */

static void allocate_another(void)
{
    CUdeviceptr address;

    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_SUCCESS);
}

/* The other one begins and ends within the first. */
static void test_calls_at_once_are_charged_each(void **state)
{
    CUdeviceptr address;

    (void)state;
    inside = allocate_another;
    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_SUCCESS);
    assert_int_equal(charged[0], 2 * STEP_MIB * MIB);
}

/* With room in the pool for one of the two. */
static void test_calls_at_once_want_the_same_room(void **state)
{
    CUdeviceptr address;

    (void)state;
    pools[0].reserved = STEP_MIB * MIB;
    inside = allocate_another;
    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_SUCCESS);
    assert_int_equal(charged[0], 2 * STEP_MIB * MIB);
}

/* The other one takes it after the first has seen that it is there. */
static void test_room_that_another_took_meanwhile(void **state)
{
    CUdeviceptr address;

    (void)state;
    pools[0].reserved = STEP_MIB * MIB;
    after_reading = allocate_another;
    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_SUCCESS);
    assert_int_equal(charged[0], 2 * STEP_MIB * MIB);
}

static void expect_denied(void)
{
    CUdeviceptr address;

    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_ERROR_OUT_OF_MEMORY);
}

static void test_calls_at_once_keep_to_the_limit(void **state)
{
    CUdeviceptr address;

    (void)state;
    limit[0] = (STEP_MIB + 1) * MIB;
    inside = expect_denied;
    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_SUCCESS);
    assert_int_equal(charged[0], STEP_MIB * MIB);
    assert_int_equal(pools[0].reserved, STEP_MIB * MIB);
}

static unsigned n_deep;

static void allocate_deeper(void)
{
    CUdeviceptr address;

    if (--n_deep > 0)
        inside = allocate_deeper;
    assert_int_equal(allocate(0, MIB, &address), CUDA_SUCCESS);
}

/* However many overlap, afterwards what the pool has is charged, and no more. */
static void test_nothing_is_left_of_many_at_once(void **state)
{
    CUdeviceptr address;

    (void)state;
    n_deep = 10;
    inside = allocate_deeper;
    assert_int_equal(allocate(0, MIB, &address), CUDA_SUCCESS);
    assert_int_equal(pools[0].reserved, STEP_MIB * MIB);
    assert_int_equal(charged[0], STEP_MIB * MIB);
}

/* After a reset that nobody saw. */
static void test_an_address_that_had_ended_is_not_charged_twice(void **state)
{
    CUdeviceptr address;
    struct charge charge = charge_device(&driver, 0, 100 * MIB);

    (void)state;
    charge_end(&charge, CUDA_SUCCESS, ALLOCATION_MEMORY, next_address);
    assert_int_equal(charged[0], 100 * MIB);
    assert_int_equal(allocate(0, MIB, &address), CUDA_SUCCESS);
    assert_int_equal(charged[0], STEP_MIB * MIB);
}

static void test_what_outlives_its_pool_is_given_back(void **state)
{
    const CUmemPoolProps properties = {.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUdeviceptr older, newer;
    CUmemoryPool pool;

    (void)state;
    assert_int_equal(cuMemPoolCreate(&pool, &properties), CUDA_SUCCESS);
    assert_int_equal(allocate(CREATED, 10 * MIB, &older), CUDA_SUCCESS);
    assert_int_equal(cuMemPoolDestroy(pool), CUDA_SUCCESS);
    assert_int_equal(charged[0], 10 * MIB);
    assert_int_equal(cuMemPoolCreate(&pool, &properties), CUDA_SUCCESS); /* the same handle */
    assert_int_equal(allocate(CREATED, MIB, &newer), CUDA_SUCCESS);
    assert_int_equal(charged[0], (10 + STEP_MIB) * MIB);
    assert_int_equal(cuMemFreeAsync(older, NULL), CUDA_SUCCESS);
    assert_int_equal(charged[0], STEP_MIB * MIB);
}

/* By the waits that follow; later ones cost nothing. */
static void test_what_a_pool_gave_back_is_seen_by_a_wait(void **state)
{
    CUdeviceptr address;

    (void)state;
    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_SUCCESS);
    assert_int_equal(cuMemFreeAsync(address, NULL), CUDA_SUCCESS);
    growth_waited(&driver); /* for another stream */
    assert_int_equal(charged[0], STEP_MIB * MIB);
    pools[0].used = pools[0].reserved = 0;
    growth_waited(&driver);
    assert_int_equal(charged[0], 0);
    assert_int_equal(allocate(0, STEP_MIB * MIB, &address), CUDA_SUCCESS);
    for (unsigned i = 0; i < 10; i++)
        growth_waited(&driver);
    pools[0].used = pools[0].reserved = 0;
    growth_waited(&driver);
    assert_int_equal(charged[0], STEP_MIB * MIB);
}

static void test_the_pool_of_another_device_is_charged_there(void **state)
{
    CUdeviceptr address;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(allocate(1, MIB, &address), CUDA_SUCCESS);
        assert_int_equal(charged[0], 0);
        assert_int_equal(charged[1], STEP_MIB * MIB);
    }
}

/* --- graphs --- */

static void test_a_graph_that_is_uploaded_at_once_is_charged(void **state)
{
    cuda_cuGraphInstantiateWithParams *const calls[] = {cuGraphInstantiateWithParams,
                                                        cuGraphInstantiateWithParams_ptsz};

    for (unsigned i = 0; i < 2; i++) {
        CUDA_GRAPH_INSTANTIATE_PARAMS params = {.flags = CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD};
        CUgraphExec made = NULL;

        begin(state);
        assert_int_equal(calls[i](&made, graph, &params), CUDA_SUCCESS);
        assert_int_equal(charged[0], whole_steps(node_bytes));
        assert_int_equal(cuGraphLaunch(made, NULL), CUDA_SUCCESS);
        assert_int_equal(charged[0], whole_steps(node_bytes));
        assert_int_equal(cuGraphExecDestroy(made), CUDA_SUCCESS);
    }
}

static void test_a_graph_beyond_the_limit_is_not_uploaded(void **state)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS params = {.flags = CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD};
    CUgraphExec made = NULL;

    (void)state;
    limit[0] = node_bytes - 1;
    assert_int_equal(cuGraphInstantiateWithParams(&made, graph, &params), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(params.result_out, CUDA_GRAPH_INSTANTIATE_ERROR);
    assert_int_equal(graph_reserved, 0);
    assert_int_equal(charged[0], 0);
}

/* It is charged when it is launched. */
static void test_a_graph_that_is_not_uploaded_costs_nothing_yet(void **state)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS params = {.flags = 0};
    CUgraphExec made = NULL;

    (void)state;
    assert_int_equal(cuGraphInstantiateWithParams(&made, graph, &params), CUDA_SUCCESS);
    assert_int_equal(charged[0], 0);
    assert_int_equal(cuGraphLaunch(made, NULL), CUDA_SUCCESS);
    assert_int_equal(charged[0], whole_steps(node_bytes));
    assert_int_equal(cuGraphExecDestroy(made), CUDA_SUCCESS);
}

/* --- modules --- */

/* Of which the driver takes one: with a variable of 100 MiB, or of 300. */
static const void *fatbin(void)
{
    static struct {
        uint32_t magic, version_and_size;
        uint64_t size;
        struct {
            uint32_t kind, header_size;
            uint64_t size;
            uint32_t unused[6];
            uint64_t flags, more[2];
            char ptx[64];
        } entries[2];
    } image;
    static const unsigned mib[] = {100, 300};

    image.magic = 0xba55ed50;
    image.version_and_size = 16u << 16 | 1;
    image.size = sizeof(image.entries);
    for (unsigned i = 0; i < 2; i++) {
        image.entries[i].kind = 0x101u << 16 | 1;
        image.entries[i].header_size = offsetof(typeof(image.entries[i]), ptx);
        image.entries[i].size = sizeof(image.entries[i].ptx);
        snprintf(image.entries[i].ptx, sizeof(image.entries[i].ptx),
                 ".version 8.0 .global .b8 a[%llu];", (unsigned long long)(mib[i] * MIB));
    }
    return &image;
}

/* What it takes, what others free meanwhile, and what is charged in the end, in MiB. */
static void test_a_choice_of_images(void **state)
{
    static const struct {
        unsigned takes, others, charged;
    } rows[] = {{100, 0, 100}, {300, 0, 300}, {200, 0, 200}, {300, 10000, 100}};
    CUmodule loaded;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(state);
        module_bytes = rows[i].takes * MIB;
        others_bytes = rows[i].others * MIB;
        assert_int_equal(cuModuleLoadFatBinary(&loaded, fatbin()), CUDA_SUCCESS);
        assert_int_equal(charged_inside, 300 * MIB);
        assert_int_equal(charged[0], rows[i].charged * MIB);
        assert_int_equal(cuModuleUnload(loaded), CUDA_SUCCESS);
        assert_int_equal(charged[0], 0);
    }
}

/* What neighbours take meanwhile is none of it, but for what its kernels may take: a granule, and
 * with 4 MiB of text some more. */
static void test_what_others_take_meanwhile_is_bounded_by_the_image(void **state)
{
    static char text[4 * MIB + 64];
    CUmodule loaded;

    (void)state;
    others_bytes = -(1000 * MIB);
    assert_int_equal(cuModuleLoadFatBinary(&loaded, ".version 8.0 .global .b8 a[1048576];"),
                     CUDA_SUCCESS);
    assert_int_equal(charged[0], 2 * MIB + 2 * MIB);
    assert_int_equal(cuModuleUnload(loaded), CUDA_SUCCESS);
    memset(text, ' ', 4 * MIB);
    memcpy(text, ".version 8.0", 12);
    assert_int_equal(cuModuleLoadFatBinary(&loaded, text), CUDA_SUCCESS);
    assert_in_range(charged[0], 4 * MIB, 18 * MIB);
    assert_int_equal(cuModuleUnload(loaded), CUDA_SUCCESS);
    assert_int_equal(charged[0], 0);
}

/* Then nothing of it is seen; of an image that tells, nobody wants to know. */
static void test_what_others_give_back_meanwhile_may_hide_a_module(void **state)
{
    CUmodule loaded;

    (void)state;
    module_bytes = 700 * MIB;
    others_bytes = 800 * MIB;
    assert_int_equal(cuModuleLoadFatBinary(&loaded, "compressed"), CUDA_SUCCESS);
    assert_int_equal(hidden, 0); /* the arbiter does not tell */
    returned = 1;
    assert_int_equal(cuModuleLoadFatBinary(&loaded, "compressed"), CUDA_SUCCESS);
    assert_int_equal(hidden, 800 * MIB);
    assert_int_equal(charged[0], 0);
    assert_int_equal(cuModuleLoadFatBinary(&loaded, ".version 8.0 .global .b8 a[1048576];"),
                     CUDA_SUCCESS);
    assert_int_equal(hidden, 800 * MIB);
    assert_int_equal(cuModuleUnload(loaded), CUDA_SUCCESS);
}

/* The driver takes the larger one, and what is seen is as if it was the smaller one. */
static void test_what_others_give_back_meanwhile_may_hide_a_choice(void **state)
{
    CUmodule loaded;

    (void)state;
    returned = 1;
    module_bytes = 300 * MIB;
    others_bytes = 500 * MIB;
    assert_int_equal(cuModuleLoadFatBinary(&loaded, fatbin()), CUDA_SUCCESS);
    assert_int_equal(charged[0], 100 * MIB);
    assert_int_equal(hidden, 200 * MIB); /* no more than the image may have */
    assert_int_equal(cuModuleUnload(loaded), CUDA_SUCCESS);
}

/* Of a module that the driver understands in another way, or of a neighbour. */
static void test_what_no_image_explains_is_suspected(void **state)
{
    CUmodule loaded;

    (void)state;
    module_bytes = 700 * MIB;
    assert_int_equal(cuModuleLoadFatBinary(&loaded, ".version 8.0 .global .b8 a[1048576];"),
                     CUDA_SUCCESS);
    assert_int_equal(charged[0], 2 * MIB + 2 * MIB);
    assert_int_equal(hidden, 696 * MIB);
    assert_int_equal(cuModuleUnload(loaded), CUDA_SUCCESS);
}

/* Of an image that does not tell, it is all that is known. */
static void test_an_image_that_does_not_tell_is_charged_as_it_is_found(void **state)
{
    CUmodule loaded;

    (void)state;
    module_bytes = 700 * MIB;
    assert_int_equal(cuModuleLoadFatBinary(&loaded, "compressed"), CUDA_SUCCESS);
    assert_int_equal(charged_inside, 0);
    assert_int_equal(charged[0], 700 * MIB);
    assert_int_equal(cuModuleLoadFatBinary(&loaded, "compressed"), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(charged[0], 0); /* the same handle: both are gone */
}

static void test_a_module_that_may_not_fit_is_not_loaded(void **state)
{
    CUmodule loaded;

    (void)state;
    limit[0] = 300 * MIB - 1;
    charged_inside = 1;
    assert_int_equal(cuModuleLoadFatBinary(&loaded, fatbin()), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(charged_inside, 1);
    assert_int_equal(charged[0], 0);
}

static void test_a_module_that_the_driver_refuses_costs_nothing(void **state)
{
    CUmodule loaded;

    (void)state;
    load_result = CUDA_ERROR_INVALID_IMAGE;
    assert_int_equal(cuModuleLoadFatBinary(&loaded, fatbin()), CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(charged[0], 0);
}

/* It may be loaded before there is a context. */
static void test_a_library_is_charged_where_it_is_used(void **state)
{
    CUlibrary library;
    CUmodule loaded;

    (void)state;
    has_context = false;
    assert_int_equal(cuLibraryLoadData(&library, fatbin(), NULL, NULL, 0, NULL, NULL, 0),
                     CUDA_SUCCESS);
    has_context = true;
    assert_int_equal(charged[0], 0);
    module_bytes = 300 * MIB;
    limit[0] = 299 * MIB;
    assert_int_equal(cuLibraryGetModule(&loaded, library), CUDA_ERROR_OUT_OF_MEMORY);
    limit[0] = 300 * MIB;
    assert_int_equal(cuLibraryGetModule(&loaded, library), CUDA_SUCCESS);
    assert_int_equal(charged_inside, 300 * MIB);
    module_bytes = 0;
    assert_int_equal(cuLibraryGetModule(&loaded, library), CUDA_SUCCESS);
    assert_int_equal(charged[0], 300 * MIB);
    assert_int_equal(cuLibraryUnload(library), CUDA_SUCCESS);
    assert_int_equal(charged[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_calls_at_once_are_charged_each, begin),
        cmocka_unit_test_setup(test_calls_at_once_want_the_same_room, begin),
        cmocka_unit_test_setup(test_room_that_another_took_meanwhile, begin),
        cmocka_unit_test_setup(test_calls_at_once_keep_to_the_limit, begin),
        cmocka_unit_test_setup(test_nothing_is_left_of_many_at_once, begin),
        cmocka_unit_test_setup(test_an_address_that_had_ended_is_not_charged_twice, begin),
        cmocka_unit_test_setup(test_what_outlives_its_pool_is_given_back, begin),
        cmocka_unit_test_setup(test_what_a_pool_gave_back_is_seen_by_a_wait, begin),
        cmocka_unit_test_setup(test_the_pool_of_another_device_is_charged_there, begin),
        cmocka_unit_test_setup(test_a_graph_that_is_uploaded_at_once_is_charged, begin),
        cmocka_unit_test_setup(test_a_graph_beyond_the_limit_is_not_uploaded, begin),
        cmocka_unit_test_setup(test_a_graph_that_is_not_uploaded_costs_nothing_yet, begin),
        cmocka_unit_test_setup(test_a_choice_of_images, begin),
        cmocka_unit_test_setup(test_what_others_take_meanwhile_is_bounded_by_the_image, begin),
        cmocka_unit_test_setup(test_what_others_give_back_meanwhile_may_hide_a_module, begin),
        cmocka_unit_test_setup(test_what_others_give_back_meanwhile_may_hide_a_choice, begin),
        cmocka_unit_test_setup(test_what_no_image_explains_is_suspected, begin),
        cmocka_unit_test_setup(test_an_image_that_does_not_tell_is_charged_as_it_is_found, begin),
        cmocka_unit_test_setup(test_a_module_that_may_not_fit_is_not_loaded, begin),
        cmocka_unit_test_setup(test_a_module_that_the_driver_refuses_costs_nothing, begin),
        cmocka_unit_test_setup(test_a_library_is_charged_where_it_is_used, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
