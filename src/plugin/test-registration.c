// SPDX-License-Identifier: Apache-2.0
#include "plugin/registration.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plugin/test-bed.h"

struct world {
    struct bed bed;
    struct registration registration;
    bool wants_pre_start;
    unsigned n_answers;
    char why[300]; /* of the last answer; "" = registered */
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    registration_cancel(&world->registration);
    bed_deinit(&world->bed);
    free(world);
    return 0;
}

static void on_done(const char *why, void *userdata)
{
    struct world *world = userdata;

    world->n_answers++;
    snprintf(world->why, sizeof(world->why), "%s", why ? why : "");
}

static int call(struct world *world, struct error *err)
{
    return registration_call(&world->registration,
                             &(struct registration_setup){.loop = &world->bed.loop,
                                                          .kubelet_path = world->bed.kubelet_path,
                                                          .endpoint = "gpuslice-gpu.sock",
                                                          .resource = "nvidia.com/gpu",
                                                          .wants_pre_start = world->wants_pre_start,
                                                          .on_done = on_done,
                                                          .userdata = world},
                             err);
}

static void the_kubelet_is_notified(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    assert_int_equal(call(world, NULL), 0);
    assert_int_equal(world->n_answers, 0); /* never inside the call */
    bed_settle(&world->bed);
    assert_int_equal(world->n_answers, 1);
    assert_string_equal(world->why, "");
    assert_string_equal(world->bed.told, "v1beta1 gpuslice-gpu.sock nvidia.com/gpu");
    assert_null(world->registration.client); /* the connection is not kept */
}

static void a_resource_may_want_a_call_before_each_start(void **state)
{
    struct world *world = *state;

    world->wants_pre_start = true;
    bed_start_kubelet(&world->bed);
    assert_int_equal(call(world, NULL), 0);
    bed_settle(&world->bed);
    assert_string_equal(world->bed.told, "v1beta1 gpuslice-gpu.sock nvidia.com/gpu pre-start");
}

static void a_refusal_has_the_kubelets_words(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    world->bed.refuses = true;
    assert_int_equal(call(world, NULL), 0);
    bed_settle(&world->bed);
    assert_int_equal(world->n_answers, 1);
    assert_string_equal(world->why, "INVALID_ARGUMENT: not today");
}

static void a_kubelet_that_hangs_is_given_up(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    world->bed.hangs = true;
    assert_int_equal(call(world, NULL), 0);
    bed_advance(&world->bed, 4900);
    assert_int_equal(world->bed.n_registrations, 1);
    assert_int_equal(world->n_answers, 0);
    bed_advance(&world->bed, 200);
    assert_int_equal(world->n_answers, 1);
    assert_non_null(strstr(world->why, "DEADLINE_EXCEEDED"));
}

static void no_kubelet_is_told_from_trouble(void **state)
{
    struct world *world = *state;
    struct error err = ERROR_INIT;

    assert_int_equal(call(world, &err), -ENOENT);
    bed_start_kubelet(&world->bed);
    bed_stop_kubelet(&world->bed); /* its socket stays */
    assert_int_equal(call(world, &err), -ECONNREFUSED);
    assert_non_null(strstr(error_text(&err), "kubelet.sock"));
    bed_settle(&world->bed);
    assert_int_equal(world->n_answers, 0);
}

static void a_kubelet_that_ends_meanwhile_is_an_answer(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    world->bed.hangs = true;
    assert_int_equal(call(world, NULL), 0);
    bed_settle(&world->bed);
    bed_stop_kubelet(&world->bed);
    assert_int_equal(world->n_answers, 1);
    assert_non_null(strstr(world->why, "UNAVAILABLE"));
}

static void what_is_cancelled_is_not_answered(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    assert_int_equal(call(world, NULL), 0);
    registration_cancel(&world->registration);
    bed_advance(&world->bed, 10000);
    assert_int_equal(world->n_answers, 0);
    assert_int_equal(call(world, NULL), 0);
    assert_int_equal(call(world, NULL), 0); /* the one before is cancelled by it */
    bed_settle(&world->bed);
    assert_int_equal(world->n_answers, 1);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(the_kubelet_is_notified),
        IN_A_WORLD(a_resource_may_want_a_call_before_each_start),
        IN_A_WORLD(a_refusal_has_the_kubelets_words),
        IN_A_WORLD(a_kubelet_that_hangs_is_given_up),
        IN_A_WORLD(no_kubelet_is_told_from_trouble),
        IN_A_WORLD(a_kubelet_that_ends_meanwhile_is_an_answer),
        IN_A_WORLD(what_is_cancelled_is_not_answered),
    };

    return cmocka_run_group_tests_name("plugin/registration", tests, NULL, NULL);
}
