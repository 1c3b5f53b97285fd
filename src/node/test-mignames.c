// SPDX-License-Identifier: Apache-2.0
#include "node/mignames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "node/test-played.h"
#include "plugin/test-bed.h"

#define GPUS    "nvidia.com/gpu"
#define MIGS    "nvidia.com/mig-1g.6gb"
#define SINGLE  "flags: {migStrategy: single}\n"
#define BOTH    SINGLE "gpuslice: {mig: {names: both}}\n"
#define WAIT(n) MIGS "=" n

enum { N_DEVICES = 4 };

/* A node with four MIG devices, MIG-0 to MIG-3, and both resources registered. */
struct world {
    struct bed bed;
    struct service services[2];
    struct service *items[2];
    struct serviceset set;
    struct facts facts;
    struct mignames *names;
    char changed[N_DEVICES + 1]; /* what on_changed marked the last time: "x..x"; "" = not called */
};

static void on_changed(const bool *devices, void *userdata)
{
    struct world *world = userdata;

    for (size_t i = 0; i < N_DEVICES; i++)
        world->changed[i] = devices[i] ? 'x' : '.';
}

static struct offer *make_offer(const char *yaml)
{
    struct gpu gpu = {.uuid = "GPU-0", .model = "NVIDIA A30", .mig_enabled = true};
    struct device devices[N_DEVICES];
    const struct inventory inventory = {
        .gpus = &gpu, .n_gpus = 1, .mig_devices = devices, .n_mig_devices = N_DEVICES};

    for (unsigned i = 0; i < N_DEVICES; i++) {
        devices[i] = (struct device){.kind = DEVICE_MIG, .mig_index = i, .profile = "1g.6gb"};
        snprintf(devices[i].uuid, sizeof(devices[i].uuid), "MIG-%u", i);
    }
    return bed_offer_of(&inventory, yaml);
}

/* As the reconciler does. */
static void put_in_force(struct world *world, const char *yaml)
{
    struct offer *next = make_offer(yaml), *before = world->facts.offer;

    mignames_begin(world->names, next);
    world->facts.offer = next;
    if (before)
        bed_offer_free(before);
    mignames_touch(world->names);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const struct mignames_setup setup = {.loop = &world->bed.loop,
                                         .facts = &world->facts,
                                         .on_changed = on_changed,
                                         .userdata = world};

    played_reset();
    bed_init(&world->bed);
    world->services[0] = (struct service){.resource = GPUS, .ready = true};
    world->services[1] = (struct service){.resource = MIGS, .ready = true};
    for (size_t i = 0; i < ARRAY_SIZE(world->items); i++)
        world->items[i] = &world->services[i];
    world->set = (struct serviceset){.items = world->items, .n = ARRAY_SIZE(world->items)};
    world->facts = (struct facts){.services = &world->set,
                                  .grants = (const struct grants *)(const void *)world};
    assert_int_equal(mignames_new(&setup, &world->names), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    mignames_free(world->names);
    bed_offer_free(world->facts.offer);
    bed_deinit(&world->bed);
    free(world);
    return 0;
}

/* The name of each device: g, m, or - for neither. */
static void assert_names(const struct world *world, const char *expected)
{
    char names[N_DEVICES + 1] = "";

    for (size_t i = 0; i < N_DEVICES; i++)
        names[i] = "gm-"[world->facts.offer->names[i]];
    assert_string_equal(names, expected);
}

static void nothing_is_free_before_the_kubelet_has_told(void **state)
{
    struct world *world = *state;

    played.held = "MIG-3 " GPUS ";";
    put_in_force(world, BOTH);
    assert_names(world, "---g");
    world->services[1].ready = false; /* what pods hold of it is not taken over yet */
    mignames_seen(world->names);
    assert_names(world, "---g");
    world->services[1].ready = true;
    mignames_seen(world->names);
    assert_names(world, "gmmg");
    assert_string_equal(world->changed, "xxx.");
}

static void a_silent_kubelet_is_not_waited_for_for_ever(void **state)
{
    struct world *world = *state;

    put_in_force(world, BOTH);
    bed_advance(&world->bed, MIGNAMES_PATIENCE_MS - 1);
    assert_names(world, "----");
    bed_advance(&world->bed, 1);
    assert_names(world, "ggmm");
}

static void assert_told(const struct world *world, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;

    mignames_add_free(&world->facts, &text);
    assert_string_equal(text_string(&text), expected);
}

/* Whatever name the free ones have right now. */
static void the_controller_is_told_what_is_free(void **state)
{
    struct world *world = *state;

    put_in_force(world, SINGLE);
    assert_told(world, "");
    played.held = "MIG-3 " GPUS ";";
    put_in_force(world, BOTH);
    assert_told(world, GPUS "=3," MIGS "=3");
    mignames_seen(world->names);
    mignames_demand(world->names, WAIT("2"));
    assert_told(world, GPUS "=3," MIGS "=3");
    world->facts.offer->device_healthy[0] = false;
    assert_told(world, GPUS "=2," MIGS "=2");
    put_in_force(world,
                 BOTH "sharing: {timeSlicing: {resources: [{name: " GPUS ", replicas: 2}]}}\n");
    world->facts.offer->device_healthy[0] = true;
    assert_told(world, GPUS "=6," MIGS "=6");
}

/* Under neither name until the kubelet has surely read that it is gone. */
static void a_device_moves_in_two_steps(void **state)
{
    struct world *world = *state;

    put_in_force(world, BOTH);
    mignames_seen(world->names);
    assert_names(world, "ggmm");
    mignames_demand(world->names, WAIT("3"));
    assert_names(world, "g-mm");
    assert_string_equal(world->changed, ".x..");
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS - 1);
    assert_names(world, "g-mm");
    bed_advance(&world->bed, 1);
    assert_names(world, "gmmm");
    assert_string_equal(world->changed, ".x..");
}

static void the_split_is_restored_after_a_rest(void **state)
{
    struct world *world = *state;

    put_in_force(world, BOTH);
    mignames_seen(world->names);
    mignames_demand(world->names, WAIT("4"));
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS);
    assert_names(world, "mmmm");
    mignames_demand(world->names, NULL); /* the pods are bound, and not admitted yet */
    bed_advance(&world->bed, MIGNAMES_REST_MS - 1);
    assert_names(world, "mmmm");
    played.held = "MIG-1 " MIGS ";MIG-2 " MIGS ";MIG-3 " MIGS ";";
    bed_advance(&world->bed, 1);
    assert_names(world, "-mmm");
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS);
    assert_names(world, "gmmm");
    played.held = "MIG-3 " MIGS ";"; /* two pods ended */
    mignames_touch(world->names);
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS);
    assert_names(world, "ggmm");
}

/* A log that was lost, or a config of before: the pod has it, whatever was announced. */
static void what_a_pod_holds_has_its_name_at_once(void **state)
{
    struct world *world = *state;

    put_in_force(world, BOTH);
    mignames_seen(world->names);
    played.held = "MIG-0 " MIGS ";";
    mignames_touch(world->names);
    assert_names(world, "mg-m"); /* and the split is kept */
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS);
    assert_names(world, "mggm");
    played.held = "MIG-0 " MIGS ";MIG-0 " GPUS ";"; /* both: no third pod gets it */
    mignames_touch(world->names);
    assert_names(world, "mggm");
}

static void what_is_not_fit_stays_where_it_is(void **state)
{
    struct world *world = *state;

    put_in_force(world, BOTH);
    mignames_seen(world->names);
    world->facts.offer->device_healthy[1] = false;
    mignames_demand(world->names, WAIT("4"));
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS);
    assert_names(world, "mgmm");
}

static void another_offer_keeps_the_names(void **state)
{
    struct world *world = *state;

    put_in_force(world, SINGLE);
    put_in_force(world, BOTH); /* all were announced by their one name */
    assert_names(world, "gggg");
    mignames_seen(world->names);
    assert_names(world, "gg--");
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS / 2);
    put_in_force(world, BOTH);
    assert_names(world, "gg--");
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS / 2);
    assert_names(world, "ggmm");
    put_in_force(world, BOTH);
    assert_names(world, "ggmm");
}

static void without_a_grant_log_nothing_moves(void **state)
{
    struct world *world = *state;

    world->facts.grants = NULL;
    put_in_force(world, BOTH);
    mignames_seen(world->names);
    mignames_demand(world->names, WAIT("4"));
    bed_advance(&world->bed, MIGNAMES_PATIENCE_MS);
    assert_names(world, "gggg");
}

static void what_cannot_be_read_is_no_demand(void **state)
{
    struct world *world = *state;

    put_in_force(world, BOTH);
    mignames_seen(world->names);
    mignames_demand(world->names, WAIT("4") ",");
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS);
    assert_names(world, "ggmm");
    mignames_demand(world->names, "nvidia.com/other=4");
    bed_advance(&world->bed, MIGNAMES_SETTLE_MS);
    assert_names(world, "ggmm");
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(nothing_is_free_before_the_kubelet_has_told),
        IN_A_WORLD(the_controller_is_told_what_is_free),
        IN_A_WORLD(a_silent_kubelet_is_not_waited_for_for_ever),
        IN_A_WORLD(a_device_moves_in_two_steps),
        IN_A_WORLD(the_split_is_restored_after_a_rest),
        IN_A_WORLD(what_a_pod_holds_has_its_name_at_once),
        IN_A_WORLD(what_is_not_fit_stays_where_it_is),
        IN_A_WORLD(another_offer_keeps_the_names),
        IN_A_WORLD(without_a_grant_log_nothing_moves),
        IN_A_WORLD(what_cannot_be_read_is_no_demand),
    };

    return cmocka_run_group_tests_name("node/mignames", tests, NULL, NULL);
}
