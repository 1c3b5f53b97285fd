// SPDX-License-Identifier: Apache-2.0
#include "node/partitioner.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "node/test-partbed.h"

static void a_layout_is_made(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    partbed_assert_offers(bed, 0, "1g.5gb", 7);
    partbed_assert_offers(bed, 1, "1g.5gb", 7);
    assert_int_equal(hw->n_steps, 2 * (1 + 7 + 7)); /* the mode, and two for each device */
    assert_string_equal(text_string(&bed->events),
                        "MIGLayoutApplied: the MIG layout X is in force\n");

    /* Another one, on one GPU: nothing happens to the other. */
    partbed_want(bed, 0, "all-3g.20gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    partbed_assert_offers(bed, 0, "3g.20gb", 2);
    partbed_assert_offers(bed, 1, "1g.5gb", 7);

    partbed_want_all(bed, "all-disabled");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    assert_false(hw->gpus[0].layout.enabled || hw->gpus[1].layout.enabled);
    assert_true(partbed_is_offered(bed, 0));
}

static void what_is_as_wanted_is_left_alone(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;
    unsigned n_steps;

    partbed_start(bed, "all-balanced");
    partbed_settle(bed);
    n_steps = hw->n_steps;

    partbed_start(bed, "all-balanced"); /* the next agent */
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    assert_int_equal(hw->n_steps, n_steps);
    assert_int_equal(bed->n_withheld, 0);
    assert_string_equal(text_string(&bed->events), ""); /* nothing was applied */

    partbed_want_all(bed, NULL); /* the label goes: what is there is adopted */
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_NONE);
    assert_null(migreport_state_name(partitioner_state(bed->partitioner)));
    assert_int_equal(hw->n_steps, n_steps);
}

/* kill -9 before and after every step of the way from one layout to another: the next agent
 * offers nothing of a GPU in between, and gets there. */
static void a_killed_agent_is_followed_by_one_that_goes_on(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;
    bool is_done = false;

    for (unsigned n = 0; !is_done; n++) {
        hardware_init(hw);
        hw->needs_reset = n % 2;
        partbed_start(bed, "all-balanced");
        partbed_settle(bed);
        partbed_assert_state(bed, MIGREPORT_SUCCESS);
        partbed_want_all(bed, "all-3g.20gb");
        is_done = partbed_run(bed, n);

        partbed_start(bed, "all-3g.20gb");
        bed->is_unknown = true; /* the label is not known yet */
        uv_run(&bed->loop, UV_RUN_NOWAIT);
        assert_false(partbed_is_offered(bed, 0) || partbed_is_offered(bed, 1));
        partbed_assert_state(bed, MIGREPORT_STARTING);
        bed->is_unknown = false;
        partitioner_touch(bed->partitioner);
        partbed_settle(bed);
        partbed_assert_state(bed, MIGREPORT_SUCCESS);
        partbed_assert_offers(bed, 0, "3g.20gb", 2);
        partbed_assert_offers(bed, 1, "3g.20gb", 2);
    }
    assert_true(hw->n_steps > 10);
}

/* Each step fails once, before or after it took effect. */
static void a_step_that_fails_is_retried(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;
    unsigned n_steps;

    hw->needs_reset = true;
    partbed_start(bed, "all-balanced");
    partbed_settle(bed);
    n_steps = hw->n_steps;
    for (unsigned n = 1; n <= 2 * n_steps; n++) {
        hardware_init(hw);
        hw->needs_reset = true;
        hw->fails_at = (n + 1) / 2;
        hw->fails_after = n % 2;
        partbed_start(bed, "all-balanced");
        partbed_settle(bed);
        if (hw->fails_after && hw->fails_at % (n_steps / 2) == 0) {
            partbed_assert_state(bed, MIGREPORT_SUCCESS); /* it was a GPU's last one */
            continue;
        }
        partbed_assert_state(bed, MIGREPORT_FAILED);
        partbed_assert_says(bed, "it does not work");
        assert_non_null(strstr(text_string(&bed->events), "!MIGLayoutFailed: "));
        /* Whole as long as MIG is off, then in between. */
        assert_int_equal(partbed_is_offered(bed, hw->fails_at > n_steps / 2),
                         !hw->gpus[hw->fails_at > n_steps / 2].layout.enabled);
        assert_true(partbed_is_offered(bed, hw->fails_at <= n_steps / 2)); /* the other is done */
        partbed_pass_time(bed);
        partbed_assert_state(bed, MIGREPORT_SUCCESS);
        assert_true(partbed_is_offered(bed, 0) && partbed_is_offered(bed, 1));
    }
}

static void what_a_pod_has_is_waited_for(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;
    unsigned n_steps;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    n_steps = hw->n_steps;
    partbed_have(bed, "MIG-0-3-0::2", "train");
    hw->used = (struct device_instance){3, 0};
    partbed_want(bed, 0, "all-7g.40gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "GPU 0 waits for pod default/train");
    assert_non_null(strstr(text_string(&bed->events), "!MIGLayoutWaits: "));
    assert_false(partitioner_waits_for_clients(bed->partitioner));
    assert_int_equal(hw->n_steps, n_steps);   /* nothing is destroyed before all of it can go */
    assert_false(partbed_is_offered(bed, 0)); /* but nothing of it is given out any more */
    assert_true(partbed_is_offered(bed, 1));

    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    assert_int_equal(hw->n_steps, n_steps);

    bed->n_pods = 0;
    hw->used.gpu = DEVICE_NO_INSTANCE;
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    partbed_assert_offers(bed, 0, "7g.40gb", 1);
    assert_int_equal(hw->n_destroyed_in_use, 0);
}

/* 3g.20gb needs half of the GPU: the pod in the other half's way has a place in this one. */
static void a_move_that_would_make_room_is_named(void **state)
{
    struct partbed *bed = *state;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_have(bed, "MIG-0-2-0", "left");  /* at memory slice 1 */
    partbed_have(bed, "MIG-0-6-0", "right"); /* at memory slice 5 */
    partbed_want(bed, 0, "all-balanced");    /* one 3g.20gb, one 2g.10gb, two 1g.5gb */
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "; there is room for all when pod default/");
    partbed_assert_says(bed, " moves from memory slice ");
}

/* The kubelet's list has a new pod late, and none of an init container: the grant is there. */
static void what_a_grant_has_is_waited_for(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    bed->granted = "MIG-0-1-0";
    hw->used = (struct device_instance){1, 0};
    partbed_want(bed, 0, "all-7g.40gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "GPU 0 waits for a pod that begins or has just ended");

    bed->granted = NULL;
    hw->used.gpu = DEVICE_NO_INSTANCE;
    partitioner_touch(bed->partitioner); /* as the grant ends */
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    assert_int_equal(hw->n_destroyed_in_use, 0);
}

static void assert_waits(const struct partbed *bed, const char *expected)
{
    cleanup_text struct text waits = TEXT_INIT;

    partitioner_add_waits(bed->partitioner, &waits);
    assert_string_equal(text_string(&waits), expected);
}

#define WAITS(uid)                                                                          \
    "{\"layout\":\"X\",\"gpus\":[{\"index\":0,\"uuid\":\"GPU-0\",\"pods\":[{\"namespace\":" \
    "\"default\","                                                                          \
    "\"name\":\"train\",\"uid\":\"" uid "\"}]}]}"

/* For the controller: as long as it waits, and with the uid once that is known. */
static void waits_for_pods_are_published(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_have(bed, "MIG-0-3-0::2", "train");
    hw->used = (struct device_instance){3, 0};
    assert_waits(bed, "");
    partbed_want(bed, 0, "all-7g.40gb");
    partbed_settle(bed);
    assert_waits(bed, WAITS(""));
    assert_int_equal(bed->n_waits, 1);
    partbed_pass_time(bed);
    assert_int_equal(bed->n_waits, 1); /* nothing is new */
    bed->uid = "u1";
    partbed_pass_time(bed);
    assert_waits(bed, WAITS("u1"));
    partbed_want(bed, 0, "all-1g.5gb"); /* what is there is wanted again */
    partbed_settle(bed);
    assert_waits(bed, "");
    partbed_want(bed, 0, "all-7g.40gb");
    partbed_settle(bed);
    assert_waits(bed, WAITS("u1"));
    partbed_want(bed, 0, NULL);
    partbed_settle(bed);
    assert_waits(bed, "");
    assert_int_equal(bed->n_waits, 5);
}

static void a_slice_that_may_stay_is_kept_with_its_pod(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-3g.20gb");
    partbed_settle(bed);
    partbed_have(bed, "MIG-0-2-0", "train"); /* the one at memory slice 4 */
    hw->used = (struct device_instance){2, 0};
    partbed_want(bed, 0, "all-balanced"); /* one 3g.20gb, one 2g.10gb, two 1g.5gb */
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    assert_int_equal(hw->n_destroyed_in_use, 0);
    assert_int_equal(hardware_find(&hw->gpus[0].layout, 2)->profile, 2);
    assert_int_equal(hw->gpus[0].layout.n_instances, 4);
}

static void a_whole_gpu_that_a_pod_has_is_waited_for(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-1g.5gb");
    partbed_have(bed, "GPU-0", "train");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "GPU 0 waits for pod default/train");
    assert_false(hw->gpus[0].layout.enabled);
    partbed_assert_offers(bed, 1, "1g.5gb", 7); /* the other one does not wait */
}

static void a_foreign_process_is_named(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;
    unsigned n_steps;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    n_steps = hw->n_steps;
    hw->tenant_pid = 4711;
    hw->watcher_pid = 12; /* hinders nobody: instances come and go while it watches */
    partbed_want(bed, 0, "all-7g.40gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "GPU 0 waits for process python (pid 4711)");
    assert_null(strstr(partitioner_message(bed->partitioner), "dcgm"));
    assert_int_equal(hw->n_steps, n_steps);
    hw->tenant_pid = 0;
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
}

/* A driver that refuses a step because of somebody that it named to nobody before. */
static void a_step_that_is_refused_as_in_use_waits(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;
    unsigned n_steps;

    hw->fails_at = 1;
    hw->outcome = GPU_IN_USE;
    hw->watcher_pid = 12;
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "GPU 0 waits for process dcgm (pid 12)");
    assert_true(partitioner_waits_for_clients(bed->partitioner));
    assert_true(partbed_is_offered(bed, 0));
    n_steps = hw->n_steps;
    partbed_pass_time(bed); /* nothing is tried while it is there */
    assert_int_equal(hw->n_steps, n_steps);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    hw->watcher_pid = 0;
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    assert_false(partitioner_waits_for_clients(bed->partitioner));

    hw->fails_at = hw->n_steps + 1;
    partbed_want(bed, 0, "all-disabled");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "GPU 0 waits for a process that is not seen from here");
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
}

static void without_the_kubelets_answer_nothing_is_destroyed(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-1g.5gb");
    bed->kubelet_is_silent = true;
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    partbed_assert_says(bed, "the kubelet does not tell which pods use it");
    assert_int_equal(hw->n_steps, 0);
    bed->kubelet_is_silent = false;
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
}

static void a_gpu_that_cannot_be_reset_fails_with_a_remedy(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    hw->needs_reset = true;
    hw->no_reset = "the hypervisor forbids it";
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    partbed_assert_says(bed, "the hypervisor forbids it; reboot the node");
    assert_int_equal(hw->n_steps, 4);

    for (size_t i = 0; i < N_GPUS; i++) /* it was rebooted: the pending mode is in force */
        hw->gpus[i].layout.enabled = hw->gpus[i].layout.pending;
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
}

/* Between the tries pods can have the GPUs, the state says so all the time, and when nobody wants
 * the layout any more no reboot brings its mode. */
static void where_a_reset_is_impossible_the_gpus_are_offered(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    hw->needs_reset = true;
    hw->no_reset = "the hypervisor forbids it";
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    for (unsigned i = 0; i < 5; i++) {
        partbed_assert_state(bed, MIGREPORT_FAILED);
        assert_true(partbed_is_offered(bed, 0) && partbed_is_offered(bed, 1));
        partbed_pass_time(bed);
    }
    assert_int_equal(hw->n_steps, 4 + 2 * 5);
    assert_string_equal(text_string(&bed->states), " pending failed");

    partbed_have(bed, "GPU-1", "train"); /* what was offered is used: nothing is tried */
    partbed_pass_time(bed);
    assert_int_equal(hw->n_steps, 4 + 2 * 5 + 1);
    partbed_assert_says(bed, "GPU 1 waits for pod default/train");

    bed->wish = "";
    partbed_want_all(bed, NULL);
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_NONE);
    assert_false(hw->gpus[0].layout.pending || hw->gpus[1].layout.pending);
    assert_true(partbed_is_offered(bed, 0) && partbed_is_offered(bed, 1));
}

/* Both GPUs need a reboot for their mode, which is allowed. */
static void need_reboot(struct partbed *bed, int answer)
{
    bed->hw.needs_reset = true;
    bed->hw.no_reset = "the hypervisor forbids it";
    bed->may_reboot = true;
    bed->reboot = answer;
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    assert_int_equal(bed->n_need_reboot, 2); /* one reboot is enough for both */
    assert_int_equal(bed->hw.n_steps, 4);    /* mode and reset, once each */
}

/* Once it is under way nobody gets anything of this node. */
static void a_node_is_rebooted_where_a_reset_is_impossible(void **state)
{
    struct partbed *bed = *state;

    need_reboot(bed, 0);
    partbed_assert_state(bed, MIGREPORT_REBOOTING);
    partbed_assert_says(bed, "GPU 0, GPU 1 have the wanted MIG mode after a reboot of the node");
    assert_non_null(strstr(text_string(&bed->events), "!MIGNodeReboots: "));
    assert_false(partbed_is_offered(bed, 0) || partbed_is_offered(bed, 1));
    partbed_pass_time(bed);
    assert_int_equal(bed->hw.n_steps, 4); /* nothing is tried meanwhile */
    assert_string_equal(text_string(&bed->states), " pending rebooting");

    for (size_t i = 0; i < N_GPUS; i++) /* it was rebooted: the pending mode is in force */
        bed->hw.gpus[i].layout.enabled = bed->hw.gpus[i].layout.pending;
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    assert_true(bed->n_settled[0] && bed->n_settled[1]);
    partbed_assert_offers(bed, 0, "1g.5gb", 7);
}

/* As a reset whose reason nobody knows: one failure may pass, three do not. */
static void a_reset_that_fails_again_and_again_is_impossible(void **state)
{
    struct partbed *bed = *state;

    bed->hw.needs_reset = true;
    bed->hw.reset_outcome = -EIO;
    bed->may_reboot = true;
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    for (unsigned i = 1; i < PARTGPU_TRIES; i++) {
        partbed_assert_state(bed, MIGREPORT_FAILED);
        assert_int_equal(bed->n_need_reboot, 0);
        partbed_pass_time(bed);
    }
    assert_int_equal(bed->n_need_reboot, 2);
    partbed_assert_state(bed, MIGREPORT_REBOOTING);
}

static void a_reboot_that_waits_for_pods_withholds_what_needs_it(void **state)
{
    struct partbed *bed = *state;

    need_reboot(bed, REBOOTER_WAITS);
    bed->reboot_sentence = "pod default/train";
    partbed_want(bed, 1, NULL);
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_says(bed, "GPU 0 waits for pod default/train; then the node is rebooted");
    assert_false(partbed_is_offered(bed, 0));
    assert_true(partbed_is_offered(bed, 1)); /* needs none; its mode was taken back */

    bed->reboot = REBOOTER_QUIET; /* they have ended */
    partitioner_touch(bed->partitioner);
    partbed_settle(bed);
    assert_false(partbed_is_offered(bed, 0) || partbed_is_offered(bed, 1));

    bed->reboot = REBOOTER_WAITS; /* one began in the last moment */
    partitioner_touch(bed->partitioner);
    partbed_settle(bed);
    assert_true(partbed_is_offered(bed, 1));
}

static void a_reboot_that_does_not_come_is_a_failure(void **state)
{
    struct partbed *bed = *state;

    need_reboot(bed, -EALREADY);
    bed->reboot_sentence = "the node was rebooted for it";
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    partbed_assert_says(bed, "GPU 0, GPU 1 cannot be reset; the node was rebooted for it");
    assert_true(partbed_is_offered(bed, 0) && partbed_is_offered(bed, 1));

    partbed_want_all(bed, NULL);
    bed->wish = "";
    partbed_settle(bed);
    assert_int_equal(bed->n_need_reboot, 0);
    partbed_assert_state(bed, MIGREPORT_NONE);
}

/* The mode is from an agent that was killed; the next one takes it back too. A pending mode that
 * nobody wanted through us stays. */
static void a_pending_mode_is_taken_back_by_the_next_agent(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    hw->needs_reset = true;
    hw->gpus[0].layout.pending = hw->gpus[1].layout.pending = true;
    hw->no_reset = "the hypervisor forbids it";
    partbed_start(bed, "all-1g.5gb");
    bed->layout[1] = NULL;
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    bed->wish = "Y";
    partbed_want(bed, 0, "all-9g.99gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    assert_false(hw->gpus[0].layout.pending);
    assert_true(hw->gpus[1].layout.pending);
}

static void a_layout_whose_first_step_fails_is_offered(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    hw->fails_at = hw->n_steps + 1;
    partbed_want(bed, 0, "all-7g.40gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    partbed_assert_offers(bed, 0, "1g.5gb", 7);
    hw->fails_at = hw->n_steps + 2; /* the one after it */
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    assert_false(partbed_is_offered(bed, 0));
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    partbed_assert_offers(bed, 0, "7g.40gb", 1);
}

/* A monitoring agent may stay for good. Whether one that nobody names has gone shows by trying. */
static void a_gpu_that_waits_for_foreign_processes_is_offered(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;
    unsigned n_steps;

    partbed_start(bed, "all-1g.5gb");
    bed->layout[1] = NULL;
    partbed_settle(bed);
    hw->tenant_pid = 4711;
    partbed_want(bed, 0, "all-7g.40gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_PENDING);
    partbed_assert_offers(bed, 0, "1g.5gb", 7);
    partbed_have(bed, "MIG-0-3-0", "train"); /* now a pod is waited for, so the rest is withheld */
    partbed_pass_time(bed);
    assert_false(partbed_is_offered(bed, 0));

    hardware_init(hw);
    hw->needs_reset = true;
    hw->reset_outcome = GPU_IN_USE;
    partbed_start(bed, "all-1g.5gb");
    bed->layout[1] = NULL;
    partbed_settle(bed);
    n_steps = hw->n_steps;
    for (unsigned i = 0; i < 5; i++) {
        partbed_assert_state(bed, MIGREPORT_PENDING);
        partbed_assert_says(bed, "GPU 0 waits for a process that is not seen from here");
        assert_null(strstr(partitioner_message(bed->partitioner), "pid 0"));
        assert_true(partbed_is_offered(bed, 0));
        bed->now_ms += PARTGPU_WAIT_MS / 2;
        partitioner_touch(bed->partitioner);
        partbed_settle(bed);
        assert_int_equal(hw->n_steps, n_steps + i);
        partbed_pass_time(bed);
    }
    hw->reset_outcome = 0;
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_SUCCESS);
    assert_string_equal(text_string(&bed->states), " pending success");
}

static void what_a_gpu_cannot_have_leaves_it_as_it_is(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    partbed_start(bed, "all-1g.5gb");
    bed->layout[1] = "all-9g.99gb";
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    partbed_assert_says(bed, "GPU 1 cannot have it: ");
    partbed_assert_offers(bed, 0, "1g.5gb", 7);
    assert_true(partbed_is_offered(bed, 1));
    assert_false(hw->gpus[1].layout.enabled);
}

/* What it does while the cluster has not told what is wanted. */
static void assert_changes_nothing(struct partbed *bed)
{
    const unsigned n_steps = bed->hw.n_steps;

    partbed_settle(bed);
    partbed_pass_time(bed);
    assert_int_equal(bed->hw.n_steps, n_steps);
}

/* Several GPUs may share the sentence. */
static void a_reason_names_no_gpu(void **state)
{
    struct partbed *bed = *state;

    bed->hw.needs_reset = true;
    bed->hw.no_reset = "Resetting GPU 0000GPU-0 is not supported. ";
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_assert_says(bed, "GPU 0 cannot be partitioned: Resetting the GPU is not supported; ");
}

static bool is_whole_layout(const struct partbed *bed, size_t gpu, const char *layout)
{
    struct mig_want want;

    assert_int_equal(migwant_builtin(&bed->hw.board, layout, &want, NULL), 0);
    return migwant_is_met(&bed->hw.board, &want, &bed->hw.gpus[gpu].layout);
}

static void assert_none_is_in_between(const struct partbed *bed, const char *from, const char *to)
{
    for (size_t i = 0; i < N_GPUS; i++) {
        const struct mig_layout *layout = &bed->hw.gpus[i].layout;

        assert_true(is_whole_layout(bed, i, from) || is_whole_layout(bed, i, to));
        for (uint32_t k = 0; k < layout->n_instances; k++)
            assert_true(layout->instances[k].n_computes > 0);
        assert_true(partbed_is_offered(bed, i));
    }
}

/* After each step of the way from one layout to another nobody wants it any more: with the same
 * agent, or with the one that follows a kill -9. */
static void what_is_begun_is_finished_though_nobody_wants_it(void **state)
{
    static const char *const ways[][2] = {{"all-disabled", "all-balanced"},
                                          {"all-1g.5gb", "all-balanced"},
                                          {"all-3g.20gb", "all-disabled"}};
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    for (unsigned w = 0; w < 3; w++) {
        bool is_done = false;

        for (unsigned n = 0; !is_done; n++) {
            hardware_init(hw);
            migbegun_deinit(&bed->begun);
            hw->needs_reset = n / 2 % 2;
            partbed_start(bed, ways[w][0]);
            partbed_settle(bed);
            partbed_want_all(bed, ways[w][1]);
            is_done = partbed_run(bed, n / 2);
            if (n % 2) {
                partbed_start(bed, NULL);
                bed->is_stale = true; /* the cluster has not told yet: nothing is changed */
                assert_changes_nothing(bed);
                bed->is_stale = false;
            }
            partbed_want_all(bed, NULL);
            partbed_settle(bed);
            partbed_assert_state(bed, MIGREPORT_NONE);
            assert_none_is_in_between(bed, ways[w][0], ways[w][1]);
            assert_int_equal(bed->begun.n, 0);
        }
    }
}

/* A layout whose steps fail each time, until nobody wants it any more. */
static void abandon(struct partbed *bed, const char *from, const char *to, enum gpu_verb refused)
{
    partbed_start(bed, from);
    partbed_settle(bed);
    bed->hw.refuses[refused] = true;
    partbed_want_all(bed, to);
    partbed_settle(bed);
    partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    partbed_assert_says(bed, "does not work; not offered until a retry succeeds, another layout is "
                             "chosen, or none (then what was there comes back)");
    assert_false(partbed_is_offered(bed, 0));
    partbed_want_all(bed, NULL);
}

static void settle_at_last(struct partbed *bed)
{
    for (int i = 0; i < 2 * PARTGPU_TRIES + 2; i++)
        partbed_pass_time(bed);
    partbed_assert_state(bed, MIGREPORT_NONE);
    assert_int_equal(bed->begun.n, 0);
    assert_changes_nothing(bed);
}

static void what_is_begun_and_cannot_be_finished_becomes_what_it_was(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    for (unsigned n = 0; n < 4; n++) {
        hardware_init(hw);
        hw->needs_reset = n % 2;
        abandon(bed, "all-disabled", "all-1g.5gb", GPU_CREATE_COMPUTE);
        if (n / 2) { /* the agent is killed while it turns back */
            for (int i = 0; i < PARTGPU_TRIES; i++)
                partbed_pass_time(bed);
            partbed_start(bed, NULL);
        }
        settle_at_last(bed);
        for (size_t i = 0; i < N_GPUS; i++)
            assert_true(is_whole_layout(bed, i, "all-disabled") && partbed_is_offered(bed, i));
    }
}

/* Neither way works. */
static void what_cannot_become_what_it_was_is_offered_as_it_is(void **state)
{
    struct partbed *bed = *state;

    abandon(bed, "all-balanced", "all-1g.5gb", GPU_CREATE_INSTANCE);
    settle_at_last(bed);
    assert_non_null(strstr(text_string(&bed->events),
                           "MIGLayoutFailed: GPU 0 is offered with the MIG devices that it has"));
    assert_true(partbed_is_offered(bed, 0));
}

/* Who wants something that cannot be gets nothing of a GPU in between. */
static void a_gpu_in_between_is_withheld_while_the_wish_is_wrong(void **state)
{
    struct partbed *bed = *state;

    partbed_start(bed, "all-1g.5gb");
    partbed_run(bed, 4);
    partbed_want_all(bed, "all-9g.99gb");
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_FAILED);
    assert_false(partbed_is_offered(bed, 0));
    assert_true(partbed_is_offered(bed, 1));
    partbed_want_all(bed, NULL);
    partbed_settle(bed);
    assert_none_is_in_between(bed, "all-disabled", "all-1g.5gb");
}

static void what_is_only_remembered_changes_nothing(void **state)
{
    struct partbed *bed = *state;

    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    partbed_start(bed, "all-1g.5gb");
    bed->layout[1] = "all-3g.20gb";
    bed->is_stale = true;
    assert_changes_nothing(bed);
    partbed_assert_offers(bed, 0, "1g.5gb", 7); /* it is as remembered */
    assert_false(partbed_is_offered(bed, 1));
    partbed_assert_state(bed, MIGREPORT_STARTING);
    bed->is_stale = false;
    partbed_want(bed, 1, NULL);
    partbed_settle(bed);
    partbed_assert_offers(bed, 1, "1g.5gb", 7);
}

static void a_pending_mode_is_taken_back_though_the_agent_was_away(void **state)
{
    struct partbed *bed = *state;
    struct hardware *hw = &bed->hw;

    hw->needs_reset = true;
    hw->no_reset = "the hypervisor forbids it";
    partbed_start(bed, "all-1g.5gb");
    partbed_settle(bed);
    assert_true(hw->gpus[0].layout.pending && hw->gpus[1].layout.pending);
    partbed_start(bed, NULL);
    bed->is_stale = true;
    assert_changes_nothing(bed);
    bed->is_stale = false;
    partitioner_touch(bed->partitioner);
    partbed_settle(bed);
    partbed_assert_state(bed, MIGREPORT_NONE);
    assert_false(hw->gpus[0].layout.pending || hw->gpus[1].layout.pending);
    assert_true(partbed_is_offered(bed, 0) && partbed_is_offered(bed, 1));
    assert_int_equal(bed->begun.n, 0);

    /* One that somebody else set is theirs. */
    hw->gpus[0].layout.pending = true;
    partbed_start(bed, NULL);
    partbed_settle(bed);
    assert_true(hw->gpus[0].layout.pending);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, partbed_setup, partbed_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_layout_is_made),
        TEST(what_is_as_wanted_is_left_alone),
        TEST(a_killed_agent_is_followed_by_one_that_goes_on),
        TEST(a_step_that_fails_is_retried),
        TEST(what_a_pod_has_is_waited_for),
        TEST(a_move_that_would_make_room_is_named),
        TEST(waits_for_pods_are_published),
        TEST(what_a_grant_has_is_waited_for),
        TEST(a_slice_that_may_stay_is_kept_with_its_pod),
        TEST(a_whole_gpu_that_a_pod_has_is_waited_for),
        TEST(a_foreign_process_is_named),
        TEST(a_step_that_is_refused_as_in_use_waits),
        TEST(without_the_kubelets_answer_nothing_is_destroyed),
        TEST(a_gpu_that_cannot_be_reset_fails_with_a_remedy),
        TEST(where_a_reset_is_impossible_the_gpus_are_offered),
        TEST(a_node_is_rebooted_where_a_reset_is_impossible),
        TEST(a_reset_that_fails_again_and_again_is_impossible),
        TEST(a_reboot_that_waits_for_pods_withholds_what_needs_it),
        TEST(a_reboot_that_does_not_come_is_a_failure),
        TEST(a_pending_mode_is_taken_back_by_the_next_agent),
        TEST(a_layout_whose_first_step_fails_is_offered),
        TEST(a_gpu_that_waits_for_foreign_processes_is_offered),
        TEST(what_a_gpu_cannot_have_leaves_it_as_it_is),
        TEST(a_reason_names_no_gpu),
        TEST(what_is_begun_is_finished_though_nobody_wants_it),
        TEST(what_is_begun_and_cannot_be_finished_becomes_what_it_was),
        TEST(what_cannot_become_what_it_was_is_offered_as_it_is),
        TEST(a_gpu_in_between_is_withheld_while_the_wish_is_wrong),
        TEST(what_is_only_remembered_changes_nothing),
        TEST(a_pending_mode_is_taken_back_though_the_agent_was_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
