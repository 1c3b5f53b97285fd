// SPDX-License-Identifier: Apache-2.0
#include "plugin/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "plugin/test-bed.h"

#define RESOURCE "nvidia.com/gpu"
#define SOCKET   "gpuslice-gpu.sock"
#define NVIDIA   "nvidia-gpu.sock"

struct world {
    struct bed bed;
    struct kubeletdir *kubelet;
    struct offer *offer;
    struct nodestatus node;
    struct service_context context;
    struct service *service;
    unsigned n_notified; /* number of state changes reported to the agent */
};

static void on_folder_changed(const char *name, void *userdata)
{
    struct world *world = userdata;

    if (world->service)
        service_check(world->service, name);
}

static void on_state(void *userdata)
{
    ((struct world *)userdata)->n_notified++;
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    world->offer = bed_offer(BED_SHARED_BY_4);
    assert_int_equal(kubeletdir_new(&world->bed.loop, world->bed.kubelet_path, world->bed.folder,
                                    on_folder_changed, world, &world->kubelet, NULL),
                     0);
    world->context = (struct service_context){
        .loop = &world->bed.loop,
        .kubelet = world->kubelet,
        .offer = world->offer,
        .node = &world->node,
        .on_state = on_state,
        .userdata = world,
    };
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    service_free(world->service);
    kubeletdir_free(world->kubelet);
    bed_deinit(&world->bed);
    bed_offer_free(world->offer);
    nodestatus_deinit(&world->node);
    free(world);
    return 0;
}

static void offer(struct world *world)
{
    assert_int_equal(service_new(&world->context, RESOURCE, &world->service, NULL), 0);
    bed_settle(&world->bed);
}

/* A kubelet, and the service registered with it and watched by it. */
static void offer_and_watch(struct world *world, struct bed_call *watch)
{
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    offer(world);
    assert_int_equal(world->bed.n_registrations, 1);
    bed_watch(&world->bed, watch, SOCKET);
    assert_string_equal(text_string(&watch->lists), "8+0 ");
}

/* A kubelet, and a foreign plugin that already serves the resource. Returns its socket, to close.
 */
static int offer_behind_foreign_plugin(struct world *world)
{
    int fd = bed_listen(&world->bed, NVIDIA);

    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    offer(world);
    return fd;
}

/* The Node shows so many devices, and the service is notified. */
static void show_on_node(struct world *world, int64_t n)
{
    nodestatus_clear(&world->node);
    if (n)
        assert_int_equal(nodestatus_add(&world->node, RESOURCE, n, n), 0);
    service_node_changed(world->service);
}

static void assert_registrations(const struct world *world, unsigned n)
{
    assert_int_equal(world->bed.n_registrations, n);
}

/* --- the kubelet --- */

static void registers_with_a_kubelet_that_is_there(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    offer(world);
    assert_registrations(world, 1);
    assert_string_equal(world->bed.told, "v1beta1 " SOCKET " " RESOURCE);
    assert_true(service_is_ready(world->service));
    assert_int_equal(world->n_notified, 1);
    assert_int_equal(service_counters(world->service).registrations, 1);
    bed_advance(&world->bed, 3600000); /* and that is all */
    assert_registrations(world, 1);
}

static void registers_with_each_new_kubelet(void **state)
{
    struct world *world = *state;

    offer(world);
    assert_false(service_is_ready(world->service));
    for (unsigned i = 1; i <= 3; i++) {
        bed_start_kubelet(&world->bed);
        bed_settle(&world->bed);
        assert_registrations(world, i);
        assert_true(service_is_ready(world->service));
    }
}

/* Refused for ten minutes: at first again at once, then every 5 seconds. */
static void tries_again_less_and_less_often(void **state)
{
    struct world *world = *state;

    world->bed.refuses = true;
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    offer(world);
    assert_registrations(world, 1);
    for (int ms = 0; ms < 600000; ms += 50)
        bed_advance(&world->bed, 50);
    assert_in_range(world->bed.n_registrations, 120, 130);
    assert_int_equal(service_counters(world->service).failed_registrations,
                     world->bed.n_registrations);
    assert_int_equal(world->n_notified, 0);
    world->bed.n_registrations = 0;
    bed_start_kubelet(&world->bed); /* another one: perhaps this one is willing */
    bed_advance(&world->bed, 50);
    assert_registrations(world, 2);
    world->bed.refuses = false;
    bed_advance(&world->bed, 5000);
    assert_true(service_is_ready(world->service));
}

static void a_kubelet_that_is_away_is_waited_for(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    offer_and_watch(world, &watch);
    bed_stop_kubelet(&world->bed); /* its socket stays */
    bed_hang_up(&world->bed, &watch);
    for (int i = 0; i < 20; i++)
        bed_advance(&world->bed, 5000);
    assert_false(service_is_ready(world->service));
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed); /* at once, not when the next try is due */
    assert_registrations(world, 2);
    assert_true(service_is_ready(world->service));
}

/* The kubelet opens its stream before it answers Register. */
static void a_stream_that_ends_before_the_answer_is_no_watch(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    world->bed.hangs = true;
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    offer(world);
    bed_settle(&world->bed);
    bed_watch(&world->bed, &watch, SOCKET);
    bed_hang_up(&world->bed, &watch);
    world->bed.hangs = false;
    bed_answer_register(&world->bed);
    assert_false(service_is_ready(world->service));
    bed_advance(&world->bed, 50);
    assert_registrations(world, 2);
    bed_watch(&world->bed, &watch, SOCKET);
    assert_true(service_is_ready(world->service));
    bed_hang_up(&world->bed, &watch);
}

static void a_kubelet_that_stops_watching_is_notified_again(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    offer_and_watch(world, &watch);
    bed_hang_up(&world->bed, &watch);
    assert_false(service_is_ready(world->service));
    bed_advance(&world->bed, 50);
    assert_registrations(world, 2);
}

static void a_socket_that_was_removed_is_recreated(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    offer_and_watch(world, &watch);
    bed_remove(&world->bed, SOCKET);
    bed_settle(&world->bed);
    assert_registrations(world, 1); /* another plugin may be about to create its own */
    bed_advance(&world->bed, 50);
    assert_true(watch.done);
    assert_registrations(world, 1); /* or the end of the old stream would be taken for the new's */
    bed_advance(&world->bed, 50);
    assert_registrations(world, 2);
    bed_hang_up(&world->bed, &watch);
    bed_watch(&world->bed, &watch, SOCKET);
    assert_string_equal(text_string(&watch.lists), "8+0 ");
    bed_hang_up(&world->bed, &watch);
}

/* A peer that opens one stream after the other, while it has us register again each time. */
static void streams_do_not_pile_up(void **state)
{
    struct world *world = *state;
    struct bed_call watches[17];

    offer_and_watch(world, &watches[0]);
    for (size_t i = 1; i < ARRAY_SIZE(watches); i++)
        bed_watch(&world->bed, &watches[i], SOCKET);
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    for (size_t i = 0; i < ARRAY_SIZE(watches); i++) {
        assert_true(watches[i].done);
        bed_hang_up(&world->bed, &watches[i]);
    }
    bed_advance(&world->bed, 50);
    assert_registrations(world, 2);
    assert_true(service_is_ready(world->service));
}

static void without_a_kubelet_it_serves(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    kubeletdir_free(world->kubelet);
    assert_int_equal(kubeletdir_new(&world->bed.loop, "", world->bed.folder, on_folder_changed,
                                    world, &world->kubelet, NULL),
                     0);
    world->context.kubelet = world->kubelet;
    offer(world);
    assert_true(service_is_ready(world->service));
    bed_watch(&world->bed, &watch, SOCKET);
    assert_string_equal(text_string(&watch.lists), "8+0 ");
    bed_hang_up(&world->bed, &watch);
    assert_true(service_is_ready(world->service));
}

/* --- rivals --- */

static void a_serving_plugin_is_left_alone(void **state)
{
    struct world *world = *state;
    int fd = offer_behind_foreign_plugin(world);

    assert_int_equal(world->n_notified, 1);
    for (int s = 0; s < 60; s++)
        bed_advance(&world->bed, 1000);
    assert_registrations(world, 0);
    assert_string_equal(service_foreign_plugin(world->service), NVIDIA);
    assert_false(service_is_ready(world->service));
    close(fd); /* killed: nothing changes in the folder */
    bed_advance(&world->bed, 250);
    assert_registrations(world, 0); /* by then he is looked at every 5 seconds */
    bed_advance(&world->bed, 5000);
    assert_registrations(world, 1);
    assert_null(service_foreign_plugin(world->service));
    assert_true(service_is_ready(world->service));
}

static void who_comes_later_takes_over_and_gives_back(void **state)
{
    struct world *world = *state;
    struct bed_call watch;
    int fd;

    offer_and_watch(world, &watch);
    world->n_notified = 0;
    fd = bed_listen(&world->bed, NVIDIA);
    bed_settle(&world->bed);
    assert_string_equal(service_foreign_plugin(world->service), NVIDIA);
    assert_true(world->n_notified > 0);
    service_announce(world->service); /* his list is the kubelet's now */
    bed_settle(&world->bed);
    assert_string_equal(text_string(&watch.lists), "8+0 ");
    assert_false(watch.done); /* its end would be taken for the end of him */
    close(fd);
    bed_remove(&world->bed, NVIDIA);
    bed_settle(&world->bed);
    assert_registrations(world, 1);
    bed_advance(&world->bed, 100); /* then the kubelet has seen the end of his stream */
    assert_registrations(world, 2);
    assert_null(service_foreign_plugin(world->service));
    bed_hang_up(&world->bed, &watch);
}

/* The kubelet has dropped its newest plugin, him, and told nobody: our stream goes on. */
static void who_came_and_went_unseen_may_have_served(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    offer_and_watch(world, &watch);
    close(bed_listen(&world->bed, NVIDIA)); /* killed */
    bed_settle(&world->bed);
    bed_advance(&world->bed, 50);
    assert_registrations(world, 2);
    bed_remove(&world->bed, NVIDIA);
    close(bed_listen(&world->bed, NVIDIA));
    bed_remove(&world->bed, NVIDIA); /* uninstalled */
    bed_settle(&world->bed);
    bed_advance(&world->bed, 50);
    assert_registrations(world, 3);
    close(bed_listen(&world->bed, "nvidia-mig-1g.5gb.sock")); /* not ours */
    bed_remove(&world->bed, "nvidia-mig-1g.5gb.sock");
    bed_settle(&world->bed);
    bed_advance(&world->bed, 3600000);
    assert_registrations(world, 3);
    assert_false(watch.done);
    assert_true(service_is_ready(world->service));
    bed_hang_up(&world->bed, &watch);
}

static void a_newer_agent_serves(void **state)
{
    struct world *world = *state;
    struct bed_call watch;
    int fd;

    offer_and_watch(world, &watch);
    fd = bed_listen(&world->bed, SOCKET);
    bed_settle(&world->bed);
    assert_string_equal(service_foreign_plugin(world->service), SOCKET);
    bed_advance(&world->bed, 60000);
    assert_registrations(world, 1);
    close(fd);
    bed_advance(&world->bed, 5000);
    bed_advance(&world->bed, 50); /* after the end of the old stream was seen */
    assert_registrations(world, 2);
    bed_hang_up(&world->bed, &watch);
}

/* A starting kubelet wipes both sockets; the foreign plugin recreates its own, as we do. */
static void after_a_kubelet_restart_the_foreign_plugin_goes_first(void **state)
{
    struct world *world = *state;
    int fd = offer_behind_foreign_plugin(world);

    close(fd);
    bed_remove(&world->bed, NVIDIA);
    bed_start_kubelet(&world->bed);
    bed_advance(&world->bed, 3000);
    assert_registrations(world, 0);
    fd = bed_listen(&world->bed, NVIDIA);
    bed_advance(&world->bed, 60000);
    assert_registrations(world, 0);
    close(fd);
    bed_start_kubelet(&world->bed); /* this time he does not come back */
    bed_advance(&world->bed, 4900);
    assert_registrations(world, 0);
    bed_advance(&world->bed, 200);
    assert_registrations(world, 1);
}

/* --- what the Node shows --- */

static void a_node_without_our_devices_is_noticed(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    offer_and_watch(world, &watch);
    show_on_node(world, 0);
    bed_advance(&world->bed, 29000);
    assert_registrations(world, 1);
    bed_advance(&world->bed, 2000); /* its streams end first */
    assert_true(watch.done);
    bed_advance(&world->bed, 50);
    assert_registrations(world, 2);
    show_on_node(world, 8);
    bed_advance(&world->bed, 3600000);
    assert_registrations(world, 2);
    bed_hang_up(&world->bed, &watch);
}

/* The kubelet has dropped it without notice, and the resource would stay unserved. */
static void a_foreign_plugin_that_the_kubelet_forgot_is_replaced(void **state)
{
    struct world *world = *state;
    int fd = offer_behind_foreign_plugin(world);

    show_on_node(world, 0);
    for (int s = 0; s < 29; s++)
        bed_advance(&world->bed, 1000);
    assert_registrations(world, 0);
    for (int s = 0; s < 45; s++) /* he is looked at every 5 seconds by then */
        bed_advance(&world->bed, 1000);
    assert_registrations(world, 1);
    assert_null(service_foreign_plugin(world->service));
    show_on_node(world, 8);
    close(fd);
    fd = bed_listen(&world->bed, NVIDIA); /* it comes back with a new socket, and counts */
    bed_settle(&world->bed);
    assert_string_equal(service_foreign_plugin(world->service), NVIDIA);
    close(fd);
}

/* Doubt of who served before is none of who has just come. */
static void a_foreign_plugin_that_returns_gets_its_full_time(void **state)
{
    struct world *world = *state;
    int fd = offer_behind_foreign_plugin(world);

    show_on_node(world, 0);
    for (int s = 0; s < 28; s++)
        bed_advance(&world->bed, 1000);
    close(fd);
    fd = bed_listen(&world->bed, NVIDIA);
    bed_settle(&world->bed);
    for (int s = 0; s < 20; s++)
        bed_advance(&world->bed, 1000);
    assert_registrations(world, 0);
    assert_string_equal(service_foreign_plugin(world->service), NVIDIA);
    close(fd);
}

/* Who looks at each change of a busy folder has not waited any less. */
static void a_busy_folder_does_not_delay_the_check(void **state)
{
    struct world *world = *state;
    int fd = offer_behind_foreign_plugin(world);

    show_on_node(world, 0);
    for (int s = 0; s < 90; s++) {
        bed_advance(&world->bed, 1000);
        service_check(world->service, "kubelet_internal_checkpoint");
        bed_settle(&world->bed);
    }
    assert_registrations(world, 1);
    assert_null(service_foreign_plugin(world->service));
    close(fd);
}

/* --- the end --- */

static void what_is_withdrawn_is_an_empty_list_at_once(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    offer_and_watch(world, &watch);
    service_withdraw(TAKE_PTR(world->service));
    bed_settle(&world->bed);
    assert_string_equal(text_string(&watch.lists), "8+0 0+0 ");
    assert_true(watch.done);
    bed_hang_up(&world->bed, &watch);
    bed_advance(&world->bed, 600); /* freed by then: bed_deinit and LSan look */
    assert_registrations(world, 1);
}

static void a_foreign_list_stays_when_ours_is_withdrawn(void **state)
{
    struct world *world = *state;
    struct bed_call watch;
    int fd;

    offer_and_watch(world, &watch);
    fd = bed_listen(&world->bed, NVIDIA);
    bed_settle(&world->bed);
    service_withdraw(TAKE_PTR(world->service));
    bed_advance(&world->bed, 600);
    assert_string_equal(text_string(&watch.lists), "8+0 ");
    bed_hang_up(&world->bed, &watch);
    close(fd);
}

static void an_agent_that_ends_registers_no_more(void **state)
{
    struct world *world = *state;
    struct bed_call watch;

    offer_and_watch(world, &watch);
    world->n_notified = 0;
    service_free(TAKE_PTR(world->service));
    bed_advance(&world->bed, 60000);
    assert_true(watch.done);
    assert_int_equal(watch.status, RPC_UNAVAILABLE);
    assert_registrations(world, 1);
    assert_int_equal(world->n_notified, 0);
    bed_hang_up(&world->bed, &watch);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(registers_with_a_kubelet_that_is_there),
        IN_A_WORLD(registers_with_each_new_kubelet),
        IN_A_WORLD(tries_again_less_and_less_often),
        IN_A_WORLD(a_kubelet_that_is_away_is_waited_for),
        IN_A_WORLD(a_stream_that_ends_before_the_answer_is_no_watch),
        IN_A_WORLD(a_kubelet_that_stops_watching_is_notified_again),
        IN_A_WORLD(a_socket_that_was_removed_is_recreated),
        IN_A_WORLD(streams_do_not_pile_up),
        IN_A_WORLD(without_a_kubelet_it_serves),
        IN_A_WORLD(a_serving_plugin_is_left_alone),
        IN_A_WORLD(who_comes_later_takes_over_and_gives_back),
        IN_A_WORLD(who_came_and_went_unseen_may_have_served),
        IN_A_WORLD(a_newer_agent_serves),
        IN_A_WORLD(after_a_kubelet_restart_the_foreign_plugin_goes_first),
        IN_A_WORLD(a_node_without_our_devices_is_noticed),
        IN_A_WORLD(a_foreign_plugin_that_the_kubelet_forgot_is_replaced),
        IN_A_WORLD(a_foreign_plugin_that_returns_gets_its_full_time),
        IN_A_WORLD(a_busy_folder_does_not_delay_the_check),
        IN_A_WORLD(what_is_withdrawn_is_an_empty_list_at_once),
        IN_A_WORLD(a_foreign_list_stays_when_ours_is_withdrawn),
        IN_A_WORLD(an_agent_that_ends_registers_no_more),
    };

    return cmocka_run_group_tests_name("plugin/service", tests, NULL, NULL);
}
