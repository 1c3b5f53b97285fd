// SPDX-License-Identifier: Apache-2.0
#include "node/healthwatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "plugin/test-bed.h"

struct world {
    struct bed bed;
    struct agent_flags flags;
    struct healthwatch watch;
    struct offer *offer; /* lends its machine: two whole GPUs */
    struct text probed;
    unsigned n_changes;
    bool is_closed;
};

static void probe(const char *uuid, void *userdata)
{
    struct world *world = userdata;

    text_addf(&world->probed, "%s ", uuid);
}

static void on_change(void *userdata)
{
    ((struct world *)userdata)->n_changes++;
}

static void on_closed(void *userdata)
{
    ((struct world *)userdata)->is_closed = true;
}

static void start(struct world *world)
{
    const struct healthwatch_setup setup = {.loop = &world->bed.loop,
                                            .flags = &world->flags,
                                            .probe = probe,
                                            .on_change = on_change,
                                            .userdata = world};
    const struct inventory *machine = &world->offer->inventory;

    assert_int_equal(healthwatch_init(&world->watch, &setup, NULL), 0);
    healthwatch_apply(&world->watch, healthwatch_inventory(&world->watch, machine, machine));
    world->n_changes = 0;
}

static void stop(struct world *world)
{
    world->is_closed = false;
    healthwatch_close(&world->watch, on_closed);
    bed_settle(&world->bed);
    assert_true(world->is_closed);
    healthwatch_deinit(&world->watch);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    world->flags.state_dir = world->bed.folder;
    world->flags.disable_health_checks = world->flags.enable_health_checks = "";
    world->offer = bed_offer("");
    start(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    stop(world);
    unlink(world->watch.file.path);
    bed_offer_free(world->offer);
    bed_deinit(&world->bed);
    text_deinit(&world->probed);
    free(world);
    return 0;
}

static void see_xid(struct world *world, uint64_t xid)
{
    struct gpu_event event = {.uuid = BED_UUID_1,
                              .xid = xid,
                              .gpu_instance = DEVICE_NO_INSTANCE,
                              .compute_instance = DEVICE_NO_INSTANCE};

    healthwatch_event(&world->watch, &event);
}

static bool is_well(const struct world *world, const char *uuid)
{
    return health_is_well(&world->watch.health, uuid);
}

static void a_fault_is_a_change_once(void **state)
{
    struct world *world = *state;

    see_xid(world, 48);
    see_xid(world, 48);
    assert_int_equal(world->n_changes, 1);
    assert_false(is_well(world, BED_UUID_1));
    assert_true(is_well(world, BED_UUID_0));
    see_xid(world, 31); /* of an application */
    assert_int_equal(world->n_changes, 1);
}

static void a_device_is_probed_while_it_is_unhealthy(void **state)
{
    struct world *world = *state;
    struct gpu_probe answer = GPU_PROBE_INIT;

    healthwatch_hang(&world->watch, "nvmlDeviceGetName", BED_UUID_1);
    assert_int_equal(world->n_changes, 1);
    bed_advance(&world->bed, 60000);
    assert_string_equal(text_string(&world->probed), BED_UUID_1 " ");
    healthwatch_probed(&world->watch, BED_UUID_1, 0, &answer, "");
    assert_int_equal(world->n_changes, 2);
    text_clear(&world->probed);
    bed_advance(&world->bed, 10 * 60000);
    assert_string_equal(text_string(&world->probed), "");
}

static void a_fault_outlives_the_agent(void **state)
{
    struct world *world = *state;

    see_xid(world, 48);
    stop(world);
    start(world);
    assert_false(is_well(world, BED_UUID_1));
    stop(world);
    world->flags.disable_health_checks = "48"; /* overrules what was saved */
    start(world);
    assert_true(is_well(world, BED_UUID_1));
}

/* The next input notices. */
static void who_removes_the_file_clears_the_faults(void **state)
{
    struct world *world = *state;

    see_xid(world, 48);
    assert_int_equal(unlink(world->watch.file.path), 0);
    bed_advance(&world->bed, 1000);
    see_xid(world, 31);
    assert_true(is_well(world, BED_UUID_1));
    assert_int_equal(world->n_changes, 2);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(a_fault_is_a_change_once),
        IN_A_WORLD(a_device_is_probed_while_it_is_unhealthy),
        IN_A_WORLD(a_fault_outlives_the_agent),
        IN_A_WORLD(who_removes_the_file_clears_the_faults),
    };

    return cmocka_run_group_tests_name("node/healthwatch", tests, NULL, NULL);
}
