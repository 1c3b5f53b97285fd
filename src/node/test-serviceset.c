// SPDX-License-Identifier: Apache-2.0
#include "node/serviceset.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "node/test-played.h"
#include "plugin/test-bed.h"

#define HALVES \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, rename: half, replicas: 2}]}}\n"
#define TWO_RESOURCES                                                                        \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4, devices: [0]}," \
    " {name: nvidia.com/gpu, rename: half, replicas: 2, devices: [1]}]}}\n"

/* --- the world --- */

struct world {
    struct serviceset set;
    struct offer *offer;
};

static int set_up(void **state)
{
    played_reset();
    *state = calloc(1, sizeof(struct world));
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    serviceset_deinit(&world->set);
    if (world->offer)
        bed_offer_free(world->offer);
    played_reset();
    free(world);
    return 0;
}

static void offer(struct world *world, const char *yaml)
{
    struct offer *before = world->offer;

    world->offer = bed_offer(yaml);
    world->set.context.offer = world->offer;
    serviceset_sync(&world->set, before);
    if (before)
        bed_offer_free(before);
}

/* --- the cases --- */

static void services_follow_the_plan(void **state)
{
    struct world *world = *state;

    offer(world, BED_SHARED_BY_4);
    played_assert_done("+nvidia.com/gpu ");
    offer(world, BED_SHARED_BY_4); /* nothing that the kubelet could tell apart */
    played_assert_done("");
    offer(world, TWO_RESOURCES);
    played_assert_done("!nvidia.com/gpu +nvidia.com/half ");
    offer(world, HALVES);
    played_assert_done("-nvidia.com/gpu !nvidia.com/half ");
    assert_int_equal(world->set.n, 1);
}

/* One that could not start is no service, and is tried again. */
static void a_service_that_cannot_start_is_tried_again(void **state)
{
    struct world *world = *state;

    played.new_result = -EADDRINUSE;
    offer(world, BED_SHARED_BY_4);
    assert_int_equal(world->set.n, 0);
    played.new_result = 0;
    serviceset_sync(&world->set, world->offer);
    played_assert_done("+nvidia.com/gpu ");
}

static void health_is_announced_where_the_gpu_has_slices(void **state)
{
    struct world *world = *state;

    offer(world, TWO_RESOURCES);
    text_clear(&played.done);
    serviceset_announce(&world->set, (const bool[]){false, true});
    played_assert_done("!nvidia.com/half ");
    serviceset_announce(&world->set, (const bool[]){true, true});
    played_assert_done("!nvidia.com/gpu !nvidia.com/half ");
    serviceset_check(&world->set, "kubelet.sock");
    serviceset_node_changed(&world->set);
    played_assert_done(
        "?nvidia.com/gpu:kubelet.sock ?nvidia.com/half:kubelet.sock node:nvidia.com/gpu "
        "node:nvidia.com/half ");
}

static void who_serves(void **state)
{
    struct world *world = *state;

    assert_false(serviceset_serves(&world->set));
    assert_false(serviceset_stands_by(&world->set)); /* with nothing to serve nobody stands by */
    offer(world, TWO_RESOURCES);
    assert_false(serviceset_stands_by(&world->set));
    world->set.items[1]->ready = true;
    assert_true(serviceset_serves(&world->set));
    world->set.items[0]->foreign = "nvidia-gpu.sock";
    assert_false(serviceset_stands_by(&world->set)); /* one of two */
    world->set.items[1]->foreign = "nvidia-half.sock";
    assert_true(serviceset_stands_by(&world->set));
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(services_follow_the_plan),
        IN_A_WORLD(a_service_that_cannot_start_is_tried_again),
        IN_A_WORLD(health_is_announced_where_the_gpu_has_slices),
        IN_A_WORLD(who_serves),
    };

    return cmocka_run_group_tests_name("node/serviceset", tests, NULL, NULL);
}
