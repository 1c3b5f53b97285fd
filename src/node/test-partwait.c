// SPDX-License-Identifier: Apache-2.0
#include "node/partwait.h"

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

struct world {
    struct hardware hw;
    struct partgpus gpus;
    struct partwait wait;
    struct migreport report;
    int answer; /* of rebooter_need */
    size_t n_asked;
};

static struct world world;

static int set_up(void **state)
{
    (void)state;
    world = (struct world){.answer = 0};
    hardware_init(&world.hw);
    for (size_t i = 0; i < N_GPUS; i++)
        assert_non_null(partgpus_add(&world.gpus, world.hw.gpus[i].uuid));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    partwait_deinit(&world.wait);
    partgpus_deinit(&world.gpus);
    migreport_deinit(&world.report);
    return 0;
}

static struct partgpu *own(size_t gpu)
{
    return partgpus_find(&world.gpus, world.hw.gpus[gpu].uuid);
}

static int reboot(const struct rebooter_need *needs, size_t n, struct error *err, void *owner)
{
    (void)needs;
    (void)owner;
    world.n_asked = n;
    if (world.answer)
        error_set(err, -EBUSY, "that is why");
    return world.answer;
}

static void begin(void)
{
    partwait_begin(&world.wait);
    migreport_begin(&world.report);
}

static void assert_concludes(enum migreport_state state, const char *part)
{
    migreport_conclude(&world.report, &(struct migreport_end){.wish = "X"});
    assert_int_equal(world.report.state, state);
    if (!strstr(world.report.message, part))
        fail_msg("%s", world.report.message);
}

/* Somebody uses GPU 0, whose MIG mode is to change. */
static void wait_for(bool is_process)
{
    static const struct mig_next next = {
        .step.kind = MIG_STEP_WAIT,
        .n_blockers = 1,
        .n_going = 1,
        .going = {{DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}},
    };
    static const struct mig_want want = {.enabled = true};
    struct gpuholders holders = {
        .n = 1,
        .instances = {{DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}},
        .is_process = {is_process},
    };
    const struct partwait_way way = {own(0), &world.hw.gpus[0], &world.hw.board,
                                     &want,  &holders,          &next};

    snprintf(holders.names[0], sizeof(holders.names[0]), "%s",
             is_process ? "process dcgm (pid 12)" : "pod default/train");
    begin();
    partwait_for_holders(&world.wait, &way, &world.gpus, &world.report);
}

static void a_pod_is_named_and_its_gpu_given_to_no_other(void **state)
{
    (void)state;
    wait_for(false);
    assert_concludes(MIGREPORT_PENDING, "GPU 0 waits for pod default/train");
    assert_true(own(0)->is_withheld && !own(1)->is_withheld);
    assert_true(world.wait.for_pods && !world.wait.for_clients);
    assert_true(partgpus_take_waits(&world.gpus));
    assert_false(partwait_take_clients(&world.wait));
}

static void a_monitoring_agent_leaves_its_gpu_offered(void **state)
{
    (void)state;
    wait_for(true);
    assert_concludes(MIGREPORT_PENDING, "GPU 0 waits for process dcgm (pid 12)");
    assert_false(own(0)->is_withheld || world.wait.for_pods);
    assert_true(world.wait.for_clients && partwait_take_clients(&world.wait));
    wait_for(false); /* it may come back while another is waited for */
    assert_true(world.wait.for_clients);
    assert_false(partwait_take_clients(&world.wait));
    partwait_end_for_clients(&world.wait);
    assert_true(!world.wait.for_clients && partwait_take_clients(&world.wait));
}

static void a_reboot_withholds_as_long_as_it_is_to_come(void **state)
{
    static const struct {
        int answer;
        bool withholds_it, withholds_all;
        enum migreport_state state;
        const char *says;
    } rows[] = {
        {0, true, true, MIGREPORT_REBOOTING, "GPU 0 has the wanted MIG mode after a reboot"},
        {REBOOTER_QUIET, true, true, MIGREPORT_PENDING, "GPU 0 needs a reboot of the node"},
        {REBOOTER_LOOKS, true, false, MIGREPORT_PENDING, "GPU 0 needs a reboot of the node"},
        {REBOOTER_WAITS, true, false, MIGREPORT_PENDING, "that is why; then the node is rebooted"},
        {-EPERM, false, false, MIGREPORT_FAILED, "GPU 0 cannot be reset; that is why"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        begin();
        world.answer = rows[i].answer;
        assert_true(partwait_for_reboot(&world.wait, &world.hw.gpus[0]));
        partwait_reboot(&world.wait, &world.hw.machine, &world.gpus, &world.report, reboot, NULL);
        assert_int_equal(world.n_asked, 1);
        assert_concludes(rows[i].state, rows[i].says);
        assert_int_equal(own(0)->is_withheld, rows[i].withholds_it);
        assert_int_equal(world.gpus.is_all_withheld, rows[i].withholds_all);
        assert_false(own(1)->is_withheld);
    }
}

/* The GPU that a pod has may need the reboot as well. */
static void no_reboot_before_the_pods_have_ended(void **state)
{
    (void)state;
    wait_for(false);
    assert_true(partwait_for_reboot(&world.wait, &world.hw.gpus[1]));
    partwait_reboot(&world.wait, &world.hw.machine, &world.gpus, &world.report, reboot, NULL);
    assert_int_equal(world.n_asked, 0);
    assert_false(world.gpus.is_all_withheld);
    assert_concludes(MIGREPORT_PENDING, "GPU 1 needs a reboot of the node");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pod_is_named_and_its_gpu_given_to_no_other),
        TEST(a_monitoring_agent_leaves_its_gpu_offered),
        TEST(a_reboot_withholds_as_long_as_it_is_to_come),
        TEST(no_reboot_before_the_pods_have_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
