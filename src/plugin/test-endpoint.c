// SPDX-License-Identifier: Apache-2.0
#include "plugin/endpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "plugin/grants.h"
#include "plugin/test-bed.h"
#include "rpc/message.h"

#define SOCKET "gpuslice-gpu.sock"

struct world {
    struct bed bed;
    struct offer *now;
    const struct offer *offer, *offer_before; /* as the endpoint sees them */
    struct grants *grants;
    struct endpoint endpoint;
    unsigned n_let_go;
};

static void on_let_go(void *userdata)
{
    ((struct world *)userdata)->n_let_go++;
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const struct endpoint_setup setup = {
        .loop = &world->bed.loop,
        .folder = world->bed.folder,
        .resource = "nvidia.com/gpu",
        .offer = &world->offer,
        .earlier = &world->offer_before,
        .grants = &world->grants,
        .on_let_go = on_let_go,
        .userdata = world,
    };

    bed_init(&world->bed);
    world->offer = world->now = bed_offer(BED_SHARED_BY_4);
    endpoint_init(&world->endpoint, &setup);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    endpoint_deinit(&world->endpoint);
    bed_deinit(&world->bed);
    bed_offer_free(world->now);
    free(world);
    return 0;
}

static void serve(struct world *world)
{
    assert_int_equal(endpoint_listen(&world->endpoint, NULL), 0);
}

/* --- watches --- */

static void who_watches_gets_the_list_and_what_changes(void **state)
{
    struct world *world = *state;
    struct bed_call peer, second;

    serve(world);
    bed_watch(&world->bed, &peer, SOCKET);
    assert_string_equal(text_string(&peer.lists), "8+0 ");
    world->now->device_healthy[1] = false;
    bed_watch(&world->bed, &second, SOCKET);
    endpoint_announce(&world->endpoint);
    bed_settle(&world->bed);
    assert_string_equal(text_string(&peer.lists), "8+0 4+4 ");
    assert_string_equal(text_string(&second.lists), "4+4 4+4 ");
    assert_int_equal(world->endpoint.counters.lists_sent, 4);
    assert_false(peer.done);
    bed_hang_up(&world->bed, &peer);
    bed_hang_up(&world->bed, &second);
}

/* An offer is replaced as a whole; the endpoint has to see the one of now. */
static void the_current_offer_is_served(void **state)
{
    struct world *world = *state;
    struct offer *next = bed_offer("flags: {}\n");
    struct bed_call peer;

    serve(world);
    bed_watch(&world->bed, &peer, SOCKET);
    world->offer = next;
    bed_offer_free(world->now);
    world->now = next;
    endpoint_announce(&world->endpoint);
    bed_settle(&world->bed);
    assert_string_equal(text_string(&peer.lists), "8+0 2+0 ");
    bed_hang_up(&world->bed, &peer);
}

static void what_is_withdrawn_has_no_devices(void **state)
{
    struct world *world = *state;
    struct bed_call peer, late;

    serve(world);
    bed_watch(&world->bed, &peer, SOCKET);
    endpoint_withdraw(&world->endpoint);
    endpoint_announce(&world->endpoint);
    endpoint_end_watches(&world->endpoint);
    bed_settle(&world->bed);
    assert_string_equal(text_string(&peer.lists), "8+0 0+0 ");
    assert_true(peer.done);
    assert_int_equal(peer.status, RPC_OK);
    assert_int_equal(world->n_let_go, 0); /* that was our doing */
    bed_watch(&world->bed, &late, SOCKET);
    assert_string_equal(text_string(&late.lists), "0+0 ");
    bed_hang_up(&world->bed, &peer);
    bed_hang_up(&world->bed, &late);
}

static void the_end_of_an_old_watch_is_no_news(void **state)
{
    struct world *world = *state;
    struct bed_call old, now, second;

    serve(world);
    endpoint_begin_turn(&world->endpoint);
    bed_watch(&world->bed, &old, SOCKET);
    endpoint_begin_turn(&world->endpoint);
    bed_watch(&world->bed, &now, SOCKET);
    bed_watch(&world->bed, &second, SOCKET);
    bed_hang_up(&world->bed, &old);
    bed_hang_up(&world->bed, &second);
    assert_int_equal(world->n_let_go, 0);
    bed_hang_up(&world->bed, &now);
    assert_int_equal(world->n_let_go, 1);
    assert_int_equal(world->endpoint.n_watches, 0);
}

static void an_old_watch_does_not_stand_for_a_new_one(void **state)
{
    struct world *world = *state;
    struct bed_call old, now;

    serve(world);
    endpoint_begin_turn(&world->endpoint);
    bed_watch(&world->bed, &old, SOCKET);
    endpoint_begin_turn(&world->endpoint);
    bed_watch(&world->bed, &now, SOCKET);
    bed_hang_up(&world->bed, &now);
    assert_int_equal(world->n_let_go, 1);
    assert_false(old.done);
    bed_hang_up(&world->bed, &old);
}

/* The kubelet took the registration, hung up its stream from before, and never opened another. */
static void a_turn_without_a_watch_is_let_go(void **state)
{
    struct world *world = *state;
    struct bed_call old;

    serve(world);
    endpoint_begin_turn(&world->endpoint);
    bed_watch(&world->bed, &old, SOCKET);
    endpoint_begin_turn(&world->endpoint);
    bed_hang_up(&world->bed, &old);
    assert_int_equal(world->n_let_go, 1);
}

/* --- the socket --- */

#define DEFAULT_FOLDER "/var/lib/kubelet/device-plugins"
#define FORTY          "0123456789012345678901234567890123456789"
#define LONGEST        "nvidia.com/" FORTY "abcdefghijkl" /* 63 */

static void the_socket_is_named_after_the_resource(void **state)
{
    static const struct {
        const char *folder, *resource, *name;
    } rows[] = {
        {DEFAULT_FOLDER, "nvidia.com/gpu", "gpuslice-gpu.sock"},
        {DEFAULT_FOLDER, "nvidia.com/mig-1g.5gb", "gpuslice-mig-1g.5gb.sock"},
        {DEFAULT_FOLDER, "gpu", "gpuslice-gpu.sock"},
        {DEFAULT_FOLDER, LONGEST, "gpuslice-" FORTY "abcdefghijkl.sock"},
        {"/" FORTY FORTY "12345678", "nvidia.com/gpu", "gpuslice-gpu.sock"}, /* 107 in all */
        {"/" FORTY FORTY "123456789", "nvidia.com/gpu", "gpuslice-4f75cf4c78df7ee4.sock"},
    };
    char name[ENDPOINT_NAME_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        endpoint_name(rows[i].folder, rows[i].resource, name, sizeof(name));
        assert_string_equal(name, rows[i].name);
    }
}

/* The kubelet and we are bound to 107 bytes, whatever the resource is called. */
static void a_long_name_can_be_reached(void **state)
{
    struct world *world = *state;
    struct endpoint_setup setup = world->endpoint.setup;
    char folder[BED_PATH_SIZE], other[ENDPOINT_NAME_SIZE];
    struct error err = ERROR_INIT;

    snprintf(folder, sizeof(folder), "%s/" FORTY, world->bed.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    setup.folder = folder;
    setup.resource = LONGEST;
    endpoint_init(&world->endpoint, &setup);
    if (endpoint_listen(&world->endpoint, &err) < 0)
        fail_msg("%s", error_text(&err));
    assert_true(endpoint_is_reachable(&world->endpoint));
    endpoint_name(folder, LONGEST "x", other, sizeof(other));
    assert_string_not_equal(world->endpoint.name, other);
    endpoint_deinit(&world->endpoint);
    assert_int_equal(rmdir(folder), 0);
}

static void knows_whether_it_can_be_reached(void **state)
{
    struct world *world = *state;
    int fd;

    assert_false(endpoint_is_reachable(&world->endpoint));
    assert_false(endpoint_is_lost(&world->endpoint)); /* it never was */
    serve(world);
    assert_true(endpoint_is_reachable(&world->endpoint));
    assert_false(endpoint_is_lost(&world->endpoint));
    bed_remove(&world->bed, world->endpoint.name); /* as a kubelet that starts */
    assert_false(endpoint_is_reachable(&world->endpoint));
    assert_true(endpoint_is_lost(&world->endpoint));
    serve(world);
    assert_true(endpoint_is_reachable(&world->endpoint));
    fd = bed_listen(&world->bed, world->endpoint.name); /* as another agent */
    assert_true(endpoint_is_lost(&world->endpoint));
    endpoint_deinit(&world->endpoint);
    assert_int_equal(access(world->endpoint.path, F_OK), 0); /* his stays */
    close(fd);
}

static void listening_again_ends_the_watches(void **state)
{
    struct world *world = *state;
    struct bed_call peer;

    serve(world);
    endpoint_begin_turn(&world->endpoint);
    bed_watch(&world->bed, &peer, SOCKET);
    bed_remove(&world->bed, world->endpoint.name);
    serve(world);
    bed_settle(&world->bed);
    assert_int_equal(world->n_let_go, 1);
    assert_true(peer.done);
    assert_int_equal(peer.status, RPC_UNAVAILABLE);
    bed_hang_up(&world->bed, &peer);
    bed_watch(&world->bed, &peer, SOCKET);
    assert_string_equal(text_string(&peer.lists), "8+0 ");
    bed_hang_up(&world->bed, &peer);
}

static void a_missing_folder_is_reported(void **state)
{
    struct world *world = *state;
    struct error err = ERROR_INIT;

    snprintf(world->endpoint.path, sizeof(world->endpoint.path), "%s/none/gpuslice-gpu.sock",
             world->bed.folder);
    assert_true(endpoint_listen(&world->endpoint, &err) < 0);
    assert_non_null(strstr(error_text(&err), "none/gpuslice-gpu.sock"));
    assert_false(endpoint_is_reachable(&world->endpoint));
}

/* --- the other calls --- */

static void says_what_it_can_do(void **state)
{
    static const unsigned char bytes[] = {0x10, 0x01}; /* of the preference alone */
    v1beta1_DevicePluginOptions options;
    struct world *world = *state;
    struct bed_call peer;

    serve(world);
    bed_call(&world->bed, &peer, SOCKET, "GetDevicePluginOptions", "", 0);
    assert_int_equal(peer.status, RPC_OK);
    assert_int_equal(peer.answer_size, sizeof(bytes));
    assert_memory_equal(peer.answer, bytes, sizeof(bytes));
    assert_int_equal(
        message_decode(v1beta1_DevicePluginOptions_fields, peer.answer, peer.answer_size, &options),
        0);
    assert_true(options.get_preferred_allocation_available);
    assert_false(options.pre_start_required);
    bed_hang_up(&world->bed, &peer);
    bed_call(&world->bed, &peer, SOCKET, "PreStartContainer", "", 0);
    assert_int_equal(peer.status, RPC_OK);
    bed_hang_up(&world->bed, &peer);
}

static void a_resource_may_want_a_call_before_each_start(void **state)
{
    v1beta1_DevicePluginOptions options;
    struct world *world = *state;
    struct bed_call peer;

    world->endpoint.setup.wants_pre_start = true;
    serve(world);
    bed_call(&world->bed, &peer, SOCKET, "GetDevicePluginOptions", "", 0);
    assert_int_equal(peer.status, RPC_OK);
    assert_int_equal(
        message_decode(v1beta1_DevicePluginOptions_fields, peer.answer, peer.answer_size, &options),
        0);
    assert_true(options.get_preferred_allocation_available);
    assert_true(options.pre_start_required);
    bed_hang_up(&world->bed, &peer);
}

/* Nobody lists devices in these tests: what is unknown stays so. */
static int no_list(struct podresources *podresources, podresources_list_fn *on_listed,
                   void *userdata)
{
    (void)podresources, (void)on_listed, (void)userdata;
    return -EAGAIN;
}

static bool is_nothing_ours(const struct grant *held, void *userdata)
{
    (void)held, (void)userdata;
    return false;
}

static void ignore(void *userdata)
{
    (void)userdata;
}

static void a_start_with_an_unknown_grant_is_refused_with_a_sentence(void **state)
{
    char *ids[] = {message_lend(BED_UUID_0 "::1")};
    const v1beta1_PreStartContainerRequest request = {.devices_ids_count = 1, .devices_ids = ids};
    struct world *world = *state;
    const struct grants_setup setup = {.loop = &world->bed.loop,
                                       .folder = world->bed.folder,
                                       .kubelet_folder = world->bed.folder,
                                       .list = no_list,
                                       .is_ours = is_nothing_ours,
                                       .on_state = ignore,
                                       .on_stale_checkpoint = ignore,
                                       .userdata = world};
    cleanup_free void *data = NULL;
    struct bed_call peer;
    size_t size = 0;

    assert_int_equal(grants_new(&setup, &world->grants, NULL), 0);
    world->endpoint.setup.wants_pre_start = true;
    serve(world);
    assert_int_equal(
        message_encode(v1beta1_PreStartContainerRequest_fields, &request, &data, &size), 0);
    bed_call(&world->bed, &peer, SOCKET, "PreStartContainer", data, size);
    assert_int_equal(peer.status, RPC_FAILED_PRECONDITION);
    assert_string_equal(peer.text,
                        "the owner of these devices is unknown yet; the next try may find it");
    bed_hang_up(&world->bed, &peer);
    grants_free(TAKE_PTR(world->grants));
}

/* An AllocateRequest for one container and one device. */
static void allocate(struct world *world, struct bed_call *peer, const char *id)
{
    char *ids[] = {message_lend(id)};
    v1beta1_ContainerAllocateRequest one = {.devices_ids_count = 1, .devices_ids = ids};
    const v1beta1_AllocateRequest request = {.container_requests_count = 1,
                                             .container_requests = &one};
    cleanup_free void *data = NULL;
    size_t size = 0;

    assert_int_equal(message_encode(v1beta1_AllocateRequest_fields, &request, &data, &size), 0);
    bed_call(&world->bed, peer, SOCKET, "Allocate", data, size);
}

static void devices_are_allocated_and_counted(void **state)
{
    struct world *world = *state;
    struct bed_call peer;

    serve(world);
    allocate(world, &peer, BED_UUID_1 "::3");
    assert_int_equal(peer.status, RPC_OK);
    assert_true(peer.answer_size > 0);
    bed_hang_up(&world->bed, &peer);
    allocate(world, &peer, "GPU-none::0");
    assert_int_equal(peer.status, RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(peer.text, "GPU-none::0"));
    bed_hang_up(&world->bed, &peer);
    assert_int_equal(world->endpoint.counters.allocations, 2);
    assert_int_equal(world->endpoint.counters.failed_allocations, 1);
}

/* The kubelet may still ask for a device of the list before the last one. */
static void a_device_of_the_offer_before_is_allocated(void **state)
{
    struct world *world = *state;
    struct offer *before = bed_offer("flags: {}\n");
    struct bed_call peer;

    serve(world);
    allocate(world, &peer, BED_UUID_1);
    assert_int_equal(peer.status, RPC_INVALID_ARGUMENT);
    bed_hang_up(&world->bed, &peer);
    world->offer_before = before;
    allocate(world, &peer, BED_UUID_1);
    assert_int_equal(peer.status, RPC_OK);
    bed_hang_up(&world->bed, &peer);
    bed_offer_free(before);
}

static void what_is_no_request_is_refused(void **state)
{
    struct world *world = *state;
    struct bed_call peer;

    serve(world);
    bed_call(&world->bed, &peer, SOCKET, "GetPreferredAllocation", "\x0a\x7f", 2);
    assert_int_equal(peer.status, RPC_INVALID_ARGUMENT);
    bed_hang_up(&world->bed, &peer);
    assert_int_equal(world->endpoint.counters.preferences, 0);
    bed_call(&world->bed, &peer, SOCKET, "GetPreferredAllocation", "", 0);
    assert_int_equal(peer.status, RPC_OK);
    bed_hang_up(&world->bed, &peer);
    assert_int_equal(world->endpoint.counters.preferences, 1);
    bed_call(&world->bed, &peer, SOCKET, "Explode", "", 0);
    assert_int_equal(peer.status, RPC_UNIMPLEMENTED);
    bed_hang_up(&world->bed, &peer);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(who_watches_gets_the_list_and_what_changes),
        IN_A_WORLD(the_current_offer_is_served),
        IN_A_WORLD(what_is_withdrawn_has_no_devices),
        IN_A_WORLD(the_end_of_an_old_watch_is_no_news),
        IN_A_WORLD(an_old_watch_does_not_stand_for_a_new_one),
        IN_A_WORLD(a_turn_without_a_watch_is_let_go),
        cmocka_unit_test(the_socket_is_named_after_the_resource),
        IN_A_WORLD(a_long_name_can_be_reached),
        IN_A_WORLD(knows_whether_it_can_be_reached),
        IN_A_WORLD(listening_again_ends_the_watches),
        IN_A_WORLD(a_missing_folder_is_reported),
        IN_A_WORLD(says_what_it_can_do),
        IN_A_WORLD(a_resource_may_want_a_call_before_each_start),
        IN_A_WORLD(a_start_with_an_unknown_grant_is_refused_with_a_sentence),
        IN_A_WORLD(devices_are_allocated_and_counted),
        IN_A_WORLD(a_device_of_the_offer_before_is_allocated),
        IN_A_WORLD(what_is_no_request_is_refused),
    };

    return cmocka_run_group_tests_name("plugin/endpoint", tests, NULL, NULL);
}
