// SPDX-License-Identifier: Apache-2.0
#include "node/test-partbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "slice/migwant.h"

/* --- what the partitioner asks --- */

static int want(const struct gpu *gpu, const struct mig_board *board, struct mig_want *ret_want,
                struct error *err, void *owner)
{
    const struct partbed *bed = owner;

    if (bed->is_unknown)
        return PARTITIONER_UNKNOWN;
    if (!bed->layout[gpu->index])
        return PARTITIONER_ADOPT;
    return migwant_builtin(board, bed->layout[gpu->index], ret_want, err);
}

static const char *wish(void *owner)
{
    const struct partbed *bed = owner;

    return bed->wish ? bed->wish : "X";
}

static bool may_change(void *owner)
{
    const struct partbed *bed = owner;

    return !bed->is_stale;
}

static uint64_t now_ms(void *owner)
{
    const struct partbed *bed = owner;

    return bed->now_ms;
}

static bool is_granted(const char *uuid, void *owner)
{
    const struct partbed *bed = owner;

    return bed->granted && str_equal(bed->granted, uuid);
}

static const char *pod_uid(const char *resource, const char *id, void *owner)
{
    const struct partbed *bed = owner;

    return bed->uid ? bed->uid : "";
}

static int list_pods(podresources_list_fn *on_listed, void *userdata, void *owner)
{
    struct partbed *bed = owner;

    assert_null(bed->on_listed);
    bed->on_listed = on_listed;
    bed->listed_data = userdata;
    return 0;
}

bool partbed_is_offered(const struct partbed *bed, size_t gpu)
{
    struct inventory copy;
    bool any = false;

    assert_int_equal(inventory_copy(&copy, &bed->hw.machine), 0);
    partitioner_mask(bed->partitioner, &copy);
    for (size_t i = 0; i < copy.n_mig_devices; i++)
        any |= copy.mig_devices[i].gpu == gpu && !copy.mig_devices[i].is_withheld;
    any |= !copy.gpus[gpu].layout.enabled && !*copy.gpus[gpu].withheld;
    inventory_deinit(&copy);
    return any;
}

/* A pending mode becomes the current one, which disturbs nobody. */
static bool takes_back(struct partbed *bed, const struct gpu_change *step)
{
    const struct gpu *gpu = hardware_gpu(&bed->hw, step);

    return step->verb == GPU_SET_MIG_MODE && step->enabled == gpu->layout.enabled;
}

static int change(const struct gpu_change *step, driver_changed_fn *done, void *userdata,
                  void *owner)
{
    struct partbed *bed = owner;

    assert_null(bed->done); /* one request at a time */
    /* Nobody can get what is being changed. */
    if (step->verb != GPU_FIND_HOLDERS && !takes_back(bed, step))
        assert_false(partbed_is_offered(bed, str_equal(step->uuid, "GPU-1")));
    bed->pending = *step;
    bed->done = done;
    bed->done_data = userdata;
    return 0;
}

static int reboot(const struct rebooter_need *needs, size_t n, struct error *err, void *owner)
{
    struct partbed *bed = owner;

    for (size_t i = 0; i < n; i++)
        assert_true(needs[i].enabled);
    bed->n_need_reboot = n;
    if (bed->reboot_sentence)
        error_set(err, -EIO, "%s", bed->reboot_sentence);
    return n ? bed->reboot : 0;
}

static void on_settled(const char *uuid, void *owner)
{
    struct partbed *bed = owner;

    bed->n_settled[str_equal(uuid, "GPU-1")]++;
}

static void on_withheld(void *owner)
{
    struct partbed *bed = owner;

    bed->n_withheld++;
}

static void on_waits(void *owner)
{
    struct partbed *bed = owner;

    bed->n_waits++;
}

static void on_state(void *owner)
{
    struct partbed *bed = owner;
    const char *name = migreport_state_name(partitioner_state(bed->partitioner));
    const char *last = strrchr(text_string(&bed->states), ' ');

    name = name ? name : "none";
    if (!last || !str_equal(last + 1, name))
        text_addf(&bed->states, " %s", name);
}

static void on_idle(void *owner)
{
    struct partbed *bed = owner;

    assert_null(bed->done);
    assert_null(bed->on_listed);
    bed->n_idle++;
}

static void on_event(bool warning, const char *reason, const char *message, void *owner)
{
    struct partbed *bed = owner;

    text_addf(&bed->events, "%s%s: %s\n", warning ? "!" : "", reason, message);
}

static const struct partitioner_backend backend = {
    .want = want,
    .wish = wish,
    .may_change = may_change,
    .now_ms = now_ms,
    .is_granted = is_granted,
    .pod_uid = pod_uid,
    .list_pods = list_pods,
    .change = change,
    .on_withheld = on_withheld,
    .on_waits = on_waits,
    .on_state = on_state,
    .on_idle = on_idle,
    .on_event = on_event,
};

/* --- life --- */

static void kill_agent(struct partbed *bed)
{
    if (!bed->partitioner)
        return;
    partitioner_free(TAKE_PTR(bed->partitioner));
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bed->loop), 0);
    text_deinit(&bed->events);
    text_deinit(&bed->states);
}

void partbed_start(struct partbed *bed, const char *layout)
{
    kill_agent(bed);
    *bed = (struct partbed){.hw = bed->hw,
                            .begun = bed->begun,
                            .may_reboot = bed->may_reboot,
                            .reboot = bed->reboot,
                            .backend = backend,
                            .layout = {layout, layout},
                            .now_ms = 1000};
    bed->backend.begun = &bed->begun;
    if (bed->may_reboot) {
        bed->backend.reboot = reboot;
        bed->backend.on_settled = on_settled;
    }
    uv_loop_init(&bed->loop);
    assert_int_equal(
        partitioner_new(&bed->loop, &bed->hw.machine, &bed->backend, bed, &bed->partitioner), 0);
    partitioner_touch(bed->partitioner);
}

int partbed_setup(void **state)
{
    struct partbed *bed = calloc(1, sizeof(*bed));

    if (!bed)
        return -1;
    hardware_init(&bed->hw);
    *state = bed;
    return 0;
}

int partbed_teardown(void **state)
{
    struct partbed *bed = *state;

    kill_agent(bed);
    migbegun_deinit(&bed->begun);
    free(bed);
    return 0;
}

/* --- what happens --- */

void partbed_want(struct partbed *bed, size_t gpu, const char *layout)
{
    bed->layout[gpu] = layout;
    partitioner_touch(bed->partitioner);
}

void partbed_want_all(struct partbed *bed, const char *layout)
{
    for (size_t i = 0; i < N_GPUS; i++)
        partbed_want(bed, i, layout);
}

static void answer_kubelet(struct partbed *bed)
{
    const struct podresources_list list = {
        .is_complete = !bed->kubelet_is_silent, .devices = bed->pods, .n_devices = bed->n_pods};
    podresources_list_fn *on_listed = bed->on_listed;

    bed->on_listed = NULL;
    on_listed(&list, bed->listed_data);
}

static void answer_driver(struct partbed *bed)
{
    struct gpu_changed *changed = calloc(1, sizeof(*changed));
    driver_changed_fn *done = bed->done;

    assert_non_null(changed);
    bed->done = NULL;
    hardware_work(&bed->hw, &bed->pending, changed);
    done(changed, bed->done_data);
    free(changed);
}

bool partbed_run(struct partbed *bed, unsigned n)
{
    const unsigned end = bed->hw.n_steps + n;

    for (unsigned idle = 0; idle < 2; idle++) {
        uv_run(&bed->loop, UV_RUN_NOWAIT);
        if (bed->on_listed)
            answer_kubelet(bed);
        else if (bed->done && (bed->pending.verb == GPU_FIND_HOLDERS || bed->hw.n_steps < end))
            answer_driver(bed);
        else if (bed->done)
            return false;
        else
            continue;
        idle = 0;
    }
    return true;
}

void partbed_settle(struct partbed *bed)
{
    assert_true(partbed_run(bed, 200));
}

void partbed_pass_time(struct partbed *bed)
{
    const unsigned n_idle = bed->n_idle;

    bed->now_ms += PARTGPU_RETRY_LAST_MS + PARTGPU_WAIT_MS;
    partitioner_touch(bed->partitioner);
    partbed_settle(bed);
    assert_true(bed->n_idle > n_idle);
}

void partbed_assert_state(const struct partbed *bed, enum migreport_state state)
{
    if (partitioner_state(bed->partitioner) != state)
        fail_msg("state %d, not %d: %s", partitioner_state(bed->partitioner), state,
                 partitioner_message(bed->partitioner));
}

void partbed_assert_says(const struct partbed *bed, const char *part)
{
    if (!strstr(partitioner_message(bed->partitioner), part))
        fail_msg("\"%s\" lacks \"%s\"", partitioner_message(bed->partitioner), part);
}

void partbed_assert_offers(const struct partbed *bed, size_t gpu, const char *profile, size_t n)
{
    const struct hardware *hw = &bed->hw;
    size_t found = 0, all = 0;

    for (size_t i = 0; i < hw->machine.n_mig_devices; i++)
        if (hw->devices[i].gpu == gpu) {
            found += str_equal(hw->devices[i].profile, profile);
            all++;
        }
    assert_int_equal(found, n);
    assert_int_equal(all, n);
    assert_true(partbed_is_offered(bed, gpu));
}

void partbed_have(struct partbed *bed, const char *id, const char *pod)
{
    bed->pods[bed->n_pods++] =
        (struct podresources_device){.resource = "nvidia.com/gpu",
                                     .id = id,
                                     .container = "c",
                                     .pod = {.namespace_ = "default", .name = pod}};
}
