// SPDX-License-Identifier: Apache-2.0
#include "node/offerhealth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plugin/test-bed.h"

static struct text events;

void publisher_device_event(struct publisher *publisher, const char *uuid, bool warning,
                            const char *reason, const char *message)
{
    (void)publisher, (void)uuid;
    text_addf(&events, "%s%s: %s\n", warning ? "!" : "", reason, message);
}

struct world {
    struct facts facts;
    struct health health;
    struct offer *offer;
    bool changed[8];
};

static void see_xid(struct world *world, const char *uuid, uint64_t xid)
{
    struct gpu_event event = {
        .xid = xid, .gpu_instance = DEVICE_NO_INSTANCE, .compute_instance = DEVICE_NO_INSTANCE};

    snprintf(event.uuid, sizeof(event.uuid), "%s", uuid);
    health_event(&world->health, &event, xid_find(xid)->class, 5);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    world->offer = bed_offer(BED_SHARED_BY_4);
    world->facts.health = &world->health;
    health_inventory(&world->health, &world->offer->inventory, 1);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    bed_offer_free(world->offer);
    health_deinit(&world->health);
    text_deinit(&events);
    free(world);
    return 0;
}

static void restart(struct world *world)
{
    cleanup_text struct text text = TEXT_INIT;

    health_save(&world->health, "boot", &text);
    health_deinit(&world->health);
    assert_int_equal(health_restore(&world->health, "boot", text.data, text.length), 0);
    health_inventory(&world->health, &world->offer->inventory, 1);
}

static void begin(struct world *world)
{
    offerhealth_begin(&world->facts, NULL, world->offer);
    world->facts.offer = world->offer;
}

static void assert_events(const char *expected)
{
    assert_string_equal(text_string(&events), expected);
    text_clear(&events);
}

#define REMEMBERED                                                                   \
    "XID 48: double bit ECC error; reset the GPU (seen before the agent restarted; " \
    "DP_DISABLE_HEALTHCHECKS=48 overrules it)"

static void well_devices_are_not_mentioned(void **state)
{
    struct world *world = *state;

    begin(world);
    assert_events("");
    assert_false(offerhealth_refresh(&world->facts, NULL, world->changed));
    assert_true(world->offer->device_healthy[0] && world->offer->device_healthy[1]);
}

/* Else a node shows fewer slices than it has, and nobody can find out why. */
static void a_remembered_fault_is_reported_once(void **state)
{
    struct world *world = *state;

    see_xid(world, BED_UUID_1, 48);
    restart(world);
    begin(world);
    assert_events("!GPUUnhealthy: GPU 1 (" BED_UUID_1 ") is Unhealthy: " REMEMBERED "\n");
    assert_true(world->offer->device_healthy[0]);
    assert_false(world->offer->device_healthy[1]);
    assert_false(offerhealth_refresh(&world->facts, NULL, world->changed));
    offerhealth_begin(&world->facts, NULL, world->offer); /* another plan for the same machine */
    assert_events("");
}

static void a_change_is_reported_once(void **state)
{
    struct world *world = *state;
    struct gpu_probe probe = GPU_PROBE_INIT;

    begin(world);
    see_xid(world, BED_UUID_0, 999);
    assert_true(offerhealth_refresh(&world->facts, NULL, world->changed));
    assert_true(world->changed[0] && !world->changed[1]);
    assert_events("!GPUUnhealthy: GPU 0 (" BED_UUID_0 ") is Unhealthy: XID 999: unknown XID; "
                  "waiting until the GPU responds to a probe\n");
    assert_false(offerhealth_refresh(&world->facts, NULL, world->changed));
    assert_string_equal(health_take_due(&world->health, 5000), BED_UUID_0);
    probe.recovery = GPU_RECOVERY_NONE;
    health_probe(&world->health, BED_UUID_0, 0, &probe, "", 5000);
    assert_true(offerhealth_refresh(&world->facts, NULL, world->changed));
    assert_events("GPUHealthy: GPU 0 (" BED_UUID_0 ") is usable again\n");
}

/* Who excluded it may be about to repair it. It is reported when it comes back unrepaired. */
static void a_device_that_is_left_out_is_not_reported(void **state)
{
    struct world *world = *state;

    begin(world);
    strcpy(world->offer->plan->devices[1].left_out, "gpuslice.excludeDevices excludes it");
    see_xid(world, BED_UUID_1, 48);
    assert_true(offerhealth_refresh(&world->facts, NULL, world->changed));
    assert_false(world->offer->device_healthy[1]);
    assert_events("");
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(well_devices_are_not_mentioned),
        IN_A_WORLD(a_remembered_fault_is_reported_once),
        IN_A_WORLD(a_change_is_reported_once),
        IN_A_WORLD(a_device_that_is_left_out_is_not_reported),
    };

    return cmocka_run_group_tests_name("node/offerhealth", tests, NULL, NULL);
}
