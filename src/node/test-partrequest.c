// SPDX-License-Identifier: Apache-2.0
#include "node/partrequest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "node/test-a100.h"

/* The kubelet and the driver that are asked, and the clock. */
struct world {
    struct hardware hw;
    struct partgpus gpus;
    struct partrequest request;
    struct gpu_change asked; /* of the driver */
    driver_changed_fn *done;
    podresources_list_fn *on_listed;
    bool has_no_memory;
    unsigned n_ended;
};

static struct world world;

static uint64_t now_ms(void *owner)
{
    return 1000;
}

static const char *pod_uid(const char *resource, const char *id, void *owner)
{
    return "uid-1";
}

static int list_pods(podresources_list_fn *on_listed, void *userdata, void *owner)
{
    assert_ptr_equal(userdata, &world.request);
    world.on_listed = on_listed;
    return world.has_no_memory ? -ENOMEM : 0;
}

static int change(const struct gpu_change *asked, driver_changed_fn *done, void *userdata,
                  void *owner)
{
    assert_ptr_equal(userdata, &world.request);
    world.asked = *asked;
    world.done = done;
    return world.has_no_memory ? -ENOMEM : 0;
}

static void on_end(void *userdata)
{
    assert_false(world.request.is_busy);
    world.n_ended++;
}

static int set_up(void **state)
{
    world = (struct world){.n_ended = 0};
    hardware_init(&world.hw);
    world.request.setup = (struct partrequest_setup){.machine = &world.hw.machine,
                                                     .gpus = &world.gpus,
                                                     .now_ms = now_ms,
                                                     .pod_uid = pod_uid,
                                                     .list_pods = list_pods,
                                                     .change = change,
                                                     .on_end = on_end};
    for (size_t i = 0; i < N_GPUS; i++)
        assert_non_null(partgpus_add(&world.gpus, world.hw.gpus[i].uuid));
    return 0;
}

static int tear_down(void **state)
{
    partgpus_deinit(&world.gpus);
    return 0;
}

static struct partgpu *own(void)
{
    return &world.gpus.items[1];
}

static int begin(enum mig_step_kind kind)
{
    const struct mig_step step = {.kind = kind, .enable = true};

    return partrequest_step(&world.request, own(), &world.hw.board, &step, MIGREPORT_STEPS);
}

static void end_step(int outcome, const char *reason, uint32_t n_holders)
{
    struct gpu_changed changed = {.outcome = outcome, .n_holders = n_holders};

    snprintf(changed.reason, sizeof(changed.reason), "%s", reason);
    world.done(&changed, &world.request);
}

static void a_step_ends(void **state)
{
    static const struct {
        enum mig_step_kind kind;
        int outcome;
        uint32_t n_holders;
        bool may_reboot;
        unsigned n_failures, n_refusals;
        bool needs_reboot;
        const char *problem; /* a part of it */
    } rows[] = {
        {MIG_STEP_SET_MODE, 0, 0, false, 0, 0, false, ""},
        {MIG_STEP_SET_MODE, GPU_RESET_PENDING, 0, false, 0, 0, false, ""},
        {MIG_STEP_SET_MODE, -EIO, 0, false, 1, 0, false, "why"},
        {MIG_STEP_SET_MODE, GPU_UNSUPPORTED, 0, false, 1, 0, false, "why"},
        {MIG_STEP_SET_MODE, GPU_IN_USE, 1, false, 0, 1, false, ""},
        {MIG_STEP_RESET, GPU_IN_USE, 0, false, 0, 1, false, ""},
        {MIG_STEP_RESET, -EIO, 0, false, 1, 0, false, "why"},
        {MIG_STEP_RESET, GPU_UNSUPPORTED, 0, false, 1, 0, true, "; reboot the node"},
        {MIG_STEP_RESET, -EPERM, 0, true, 1, 0, true, "why"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        tear_down(state);
        set_up(state);
        world.request.setup.may_reboot = rows[i].may_reboot;
        assert_int_equal(begin(rows[i].kind), 0);
        assert_true(world.request.is_busy && world.request.work == MIGREPORT_STEPS);
        assert_string_equal(world.asked.uuid, own()->uuid);
        end_step(rows[i].outcome, rows[i].outcome ? "why" : "", rows[i].n_holders);
        if (own()->n_failures != rows[i].n_failures || own()->n_refusals != rows[i].n_refusals ||
            own()->needs_reboot != rows[i].needs_reboot ||
            !strstr(own()->problem, rows[i].problem) || !!*own()->problem != !!*rows[i].problem)
            fail_msg("row %zu: %u failures, %u refusals, '%s'", i, own()->n_failures,
                     own()->n_refusals, own()->problem);
        if (rows[i].may_reboot)
            assert_null(strstr(own()->problem, "reboot the node"));
        assert_int_equal(world.n_ended, 1);
        assert_int_equal(world.request.n_steps, 1);
        assert_int_equal(world.request.n_failed_steps, rows[i].n_failures + rows[i].n_refusals);
    }
}

static void a_reset_that_fails_each_time_is_impossible(void **state)
{
    for (unsigned i = 1; i <= PARTGPU_TRIES; i++) {
        assert_int_equal(begin(MIG_STEP_RESET), 0);
        end_step(-EIO, "why", 0);
        assert_int_equal(own()->needs_reboot, i == PARTGPU_TRIES);
    }
}

static void list(bool is_complete)
{
    const struct podresources_device device = {
        .resource = "nvidia.com/gpu", .id = own()->uuid, .pod = {"default", "train"}};
    const struct podresources_list all = {
        .is_complete = is_complete, .devices = &device, .n_devices = is_complete};

    world.on_listed(&all, &world.request);
}

static void pods_and_processes_are_asked_for(void **state)
{
    const struct gpu_changed found = {.n_holders = 0};

    own()->is_withheld = true;
    assert_int_equal(partrequest_examine(&world.request, own()), 0);
    assert_true(world.request.is_busy && world.request.work == MIGREPORT_ASKS);
    assert_null(world.done);
    list(true);
    assert_int_equal(world.asked.verb, GPU_FIND_HOLDERS);
    assert_true(world.request.is_busy && !own()->is_examined);
    world.done(&found, &world.request);
    assert_true(own()->is_examined);
    assert_int_equal(own()->holders.n, 1);
    assert_string_equal(own()->holders.names[0], "pod default/train");
    assert_int_equal(world.n_ended, 1);
    assert_int_equal(world.request.n_steps, 0);
}

static void without_the_kubelet_nobody_knows(void **state)
{
    assert_int_equal(partrequest_examine(&world.request, own()), 0);
    list(false);
    assert_null(world.done);
    assert_false(own()->is_examined);
    assert_non_null(strstr(own()->problem, "kubelet"));
    assert_int_equal(world.n_ended, 1);
}

static void without_memory_it_is_tried_again(void **state)
{
    world.has_no_memory = true;
    assert_int_equal(begin(MIG_STEP_SET_MODE), -ENOMEM);
    assert_int_equal(world.request.n_failed_steps, 1);
    assert_int_equal(partrequest_examine(&world.request, own()), -ENOMEM);
    assert_false(world.request.is_busy);
    assert_int_equal(own()->n_failures, 2);
    assert_true(own()->retry_at_ms > now_ms(NULL));
    assert_int_equal(world.n_ended, 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_step_ends),
        CASE(a_reset_that_fails_each_time_is_impossible),
        CASE(pods_and_processes_are_asked_for),
        CASE(without_the_kubelet_nobody_knows),
        CASE(without_memory_it_is_tried_again),
    };

    return cmocka_run_group_tests_name("node/partrequest", tests, NULL, NULL);
}
