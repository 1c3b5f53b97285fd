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
#include "plugin/test-bed.h"

#define HALVES \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, rename: half, replicas: 2}]}}\n"
#define TWO_RESOURCES                                                                        \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4, devices: [0]}," \
    " {name: nvidia.com/gpu, rename: half, replicas: 2, devices: [1]}]}}\n"

/* --- services, played: what is done to them, in order --- */

struct service {
    char resource[64];
    bool ready;
    const char *foreign;
};

static struct text done;
static int new_result;

int service_new(const struct service_context *context, const char *resource,
                struct service **ret_service, struct error *err)
{
    struct service *service;

    (void)context;
    if (new_result < 0)
        return error_set(err, new_result, "no socket");
    service = calloc(1, sizeof(*service));
    snprintf(service->resource, sizeof(service->resource), "%s", resource);
    text_addf(&done, "+%s ", resource);
    *ret_service = service;
    return 0;
}

void service_free(struct service *service)
{
    free(service);
}

void service_withdraw(struct service *service)
{
    text_addf(&done, "-%s ", service->resource);
    free(service);
}

void service_announce(struct service *service)
{
    text_addf(&done, "!%s ", service->resource);
}

void service_check(struct service *service, const char *name)
{
    text_addf(&done, "?%s:%s ", service->resource, name);
}

void service_node_changed(struct service *service)
{
    text_addf(&done, "node:%s ", service->resource);
}

bool service_is_ready(const struct service *service)
{
    return service->ready;
}

const char *service_foreign_plugin(const struct service *service)
{
    return service->foreign;
}

const char *service_resource(const struct service *service)
{
    return service->resource;
}

/* --- the world --- */

struct world {
    struct serviceset set;
    struct offer *offer;
};

static int set_up(void **state)
{
    new_result = 0;
    *state = calloc(1, sizeof(struct world));
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    serviceset_deinit(&world->set);
    if (world->offer)
        bed_offer_free(world->offer);
    text_deinit(&done);
    free(world);
    return 0;
}

static void assert_done(const char *expected)
{
    assert_string_equal(text_string(&done), expected);
    text_deinit(&done);
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
    assert_done("+nvidia.com/gpu ");
    offer(world, BED_SHARED_BY_4); /* nothing that the kubelet could tell apart */
    assert_done("");
    offer(world, TWO_RESOURCES);
    assert_done("!nvidia.com/gpu +nvidia.com/half ");
    offer(world, HALVES);
    assert_done("-nvidia.com/gpu !nvidia.com/half ");
    assert_int_equal(world->set.n, 1);
}

/* One that could not start is no service, and is tried again. */
static void a_service_that_cannot_start_is_tried_again(void **state)
{
    struct world *world = *state;

    new_result = -EADDRINUSE;
    offer(world, BED_SHARED_BY_4);
    assert_int_equal(world->set.n, 0);
    new_result = 0;
    serviceset_sync(&world->set, world->offer);
    assert_done("+nvidia.com/gpu ");
}

static void health_is_announced_where_the_gpu_has_slices(void **state)
{
    struct world *world = *state;

    offer(world, TWO_RESOURCES);
    text_deinit(&done);
    serviceset_announce(&world->set, (const bool[]){false, true});
    assert_done("!nvidia.com/half ");
    serviceset_announce(&world->set, (const bool[]){true, true});
    assert_done("!nvidia.com/gpu !nvidia.com/half ");
    serviceset_check(&world->set, "kubelet.sock");
    serviceset_node_changed(&world->set);
    assert_done("?nvidia.com/gpu:kubelet.sock ?nvidia.com/half:kubelet.sock node:nvidia.com/gpu "
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
