// SPDX-License-Identifier: Apache-2.0
#include "node/test-a100.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/migname.h"

/* What an A100-SXM4-40GB reports. */
static const struct {
    const char *name;
    uint32_t id, max_count, slices, slots, starts;
} a100[] = {
    {"1g.5gb", 19, 7, 1, 1, 0x7f}, {"2g.10gb", 14, 3, 2, 2, 0x15}, {"3g.20gb", 9, 2, 3, 4, 0x11},
    {"4g.20gb", 5, 1, 4, 4, 0x01}, {"7g.40gb", 0, 1, 7, 8, 0x01},
};

static void board_init(struct mig_board *board)
{
    board->n_slots = 8;
    for (size_t i = 0; i < ARRAY_SIZE(a100); i++) {
        struct mig_profile *profile = &board->profiles[board->n_profiles++];

        snprintf(profile->name, sizeof(profile->name), "%s", a100[i].name);
        profile->index = (uint32_t)i + 3; /* unlike its position, and its id */
        profile->id = a100[i].id;
        profile->max_count = a100[i].max_count;
        profile->mem_bytes = 4864ull * a100[i].slots << 20;
        profile->shape.gi_slices = profile->shape.ci_slices = a100[i].slices;
        profile->shape.multiprocessors = 14 * a100[i].slices;
        profile->slots = a100[i].slots;
        profile->starts = a100[i].starts;
        profile->n_computes = 1;
        profile->computes[0] = (struct mig_ci_profile){.index = (uint32_t)i + 2,
                                                       .id = (uint32_t)i,
                                                       .slices = a100[i].slices,
                                                       .max_count = 1,
                                                       .multiprocessors = 14 * a100[i].slices};
    }
}

/* The UUIDs depend on the GPU and the two ids alone, as with R470 and later. */
static void list_devices(struct hardware *hw)
{
    hw->machine.n_mig_devices = 0;
    for (size_t g = 0; g < N_GPUS; g++)
        for (uint32_t i = 0; i < hw->gpus[g].layout.n_instances; i++) {
            const struct mig_instance *instance = &hw->gpus[g].layout.instances[i];

            for (uint32_t c = 0; c < instance->n_computes; c++) {
                struct device *device = &hw->devices[hw->machine.n_mig_devices++];

                *device = (struct device){.kind = DEVICE_MIG,
                                          .gpu = g,
                                          .instance = {instance->id, instance->computes[c].id}};
                snprintf(device->uuid, sizeof(device->uuid), "MIG-%zu-%u-%u", g, instance->id,
                         instance->computes[c].id);
                memcpy(device->profile, hw->board.profiles[instance->profile].name,
                       sizeof(device->profile));
            }
        }
}

void hardware_init(struct hardware *hw)
{
    *hw = (struct hardware){.outcome = -EIO, .used = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}};
    board_init(&hw->board);
    for (size_t g = 0; g < N_GPUS; g++) {
        hw->gpus[g].index = (unsigned)g;
        hw->gpus[g].board = 1;
        hw->gpus[g].mig_capable = true;
        snprintf(hw->gpus[g].uuid, sizeof(hw->gpus[g].uuid), "GPU-%zu", g);
    }
    hw->machine = (struct inventory){.gpus = hw->gpus,
                                     .n_gpus = N_GPUS,
                                     .mig_devices = hw->devices,
                                     .boards = &hw->board,
                                     .n_boards = 1};
}

struct mig_instance *hardware_find(struct mig_layout *layout, uint32_t id)
{
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].id == id)
            return &layout->instances[i];
    fail_msg("the partitioner named GPU instance %u, which is not there", id);
    return NULL;
}

static uint32_t position_of_profile(const struct hardware *hw, uint32_t index)
{
    for (uint32_t i = 0; i < hw->board.n_profiles; i++)
        if (hw->board.profiles[i].index == index)
            return i;
    fail_msg("no GPU instance profile has the index %u", index);
    return 0;
}

static bool overlaps(const struct hardware *hw, const struct mig_layout *layout, uint32_t profile,
                     uint32_t start)
{
    const uint32_t slots = hw->board.profiles[profile].slots;

    for (uint32_t i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *other = &layout->instances[i];

        if (start < other->start + hw->board.profiles[other->profile].slots &&
            other->start < start + slots)
            return true;
    }
    return false;
}

static int create_instance(struct hardware *hw, struct mig_layout *layout,
                           const struct gpu_change *change)
{
    const uint32_t profile = position_of_profile(hw, change->profile);
    uint32_t id = 1;

    assert_true(layout->enabled);
    assert_true(hw->board.profiles[profile].starts >> change->start & 1);
    if (overlaps(hw, layout, profile, change->start))
        return GPU_NO_ROOM;
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].id == id) {
            id++;
            i = UINT32_MAX; /* again, from the first */
        }
    layout->instances[layout->n_instances++] =
        (struct mig_instance){.id = id, .profile = profile, .start = change->start};
    return 0;
}

static int create_compute(struct hardware *hw, struct mig_layout *layout,
                          const struct gpu_change *change)
{
    struct mig_instance *instance = hardware_find(layout, change->instance.gpu);
    const struct mig_ci_profile *compute = &hw->board.profiles[instance->profile].computes[0];

    assert_int_equal(change->profile, compute->index);
    if (instance->n_computes)
        return GPU_NO_ROOM;
    instance->computes[instance->n_computes++] = (struct mig_compute){.slices = compute->slices};
    return 0;
}

static bool is_used(const struct hardware *hw, const struct gpu_change *change)
{
    return str_equal(change->uuid, "GPU-0") && hw->used.gpu == change->instance.gpu;
}

static int destroy_compute(struct hardware *hw, struct mig_layout *layout,
                           const struct gpu_change *change)
{
    struct mig_instance *instance = hardware_find(layout, change->instance.gpu);

    hw->n_destroyed_in_use += is_used(hw, change);
    if (hw->tenant_pid && str_equal(change->uuid, "GPU-0") &&
        instance->id == layout->instances[0].id)
        return GPU_IN_USE;
    assert_int_equal(instance->n_computes, 1);
    instance->n_computes = 0;
    return 0;
}

static int destroy_instance(struct hardware *hw, struct mig_layout *layout,
                            const struct gpu_change *change)
{
    struct mig_instance *instance = hardware_find(layout, change->instance.gpu);
    const size_t after = (size_t)(&layout->instances[layout->n_instances] - instance) - 1;

    hw->n_destroyed_in_use += is_used(hw, change);
    assert_int_equal(instance->n_computes, 0);
    memmove(instance, instance + 1, after * sizeof(*instance));
    layout->n_instances--;
    return 0;
}

static int set_mode(struct hardware *hw, struct mig_layout *layout, const struct gpu_change *change)
{
    assert_int_equal(layout->n_instances, 0);
    layout->pending = change->enabled;
    if (hw->needs_reset && layout->pending != layout->enabled)
        return GPU_RESET_PENDING;
    layout->enabled = change->enabled;
    return 0;
}

static int reset(struct hardware *hw, struct mig_layout *layout)
{
    if (hw->no_reset || hw->reset_outcome)
        return hw->no_reset ? GPU_UNSUPPORTED : hw->reset_outcome;
    layout->enabled = layout->pending;
    layout->n_instances = 0;
    return 0;
}

struct gpu *hardware_gpu(struct hardware *hw, const struct gpu_change *step)
{
    return &hw->gpus[str_equal(step->uuid, "GPU-1")];
}

static int act(struct hardware *hw, const struct gpu_change *change)
{
    struct gpu *gpu = hardware_gpu(hw, change);
    int r = 0;

    switch (change->verb) {
    case GPU_SET_MIG_MODE:
        r = set_mode(hw, &gpu->layout, change);
        break;
    case GPU_RESET:
        r = reset(hw, &gpu->layout);
        break;
    case GPU_CREATE_INSTANCE:
        r = create_instance(hw, &gpu->layout, change);
        break;
    case GPU_CREATE_COMPUTE:
        r = create_compute(hw, &gpu->layout, change);
        break;
    case GPU_DESTROY_COMPUTE:
        r = destroy_compute(hw, &gpu->layout, change);
        break;
    case GPU_DESTROY_INSTANCE:
        r = destroy_instance(hw, &gpu->layout, change);
        break;
    default:
        fail_msg("no step: %d", change->verb);
    }
    gpu->mig_enabled = gpu->layout.enabled;
    list_devices(hw);
    return r;
}

static void find_holders(const struct hardware *hw, const struct gpu_change *change,
                         struct gpu_changed *found)
{
    struct gpu_holder *holder = found->holders;

    if (!str_equal(change->uuid, "GPU-0"))
        return;
    if (hw->watcher_pid)
        *holder++ = (struct gpu_holder){.pid = hw->watcher_pid,
                                        .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE},
                                        .name = "dcgm"};
    if (hw->tenant_pid && hw->gpus[0].layout.n_instances)
        *holder++ = (struct gpu_holder){.pid = hw->tenant_pid,
                                        .instance = {hw->gpus[0].layout.instances[0].id, 0},
                                        .name = "python"};
    found->n_holders = (uint32_t)(holder - found->holders);
}

void hardware_work(struct hardware *hw, const struct gpu_change *step, struct gpu_changed *changed)
{
    bool fails;

    if (step->verb == GPU_FIND_HOLDERS) {
        find_holders(hw, step, changed);
        return;
    }
    fails = ++hw->n_steps == hw->fails_at || hw->refuses[step->verb];
    if (!fails || hw->fails_after)
        changed->outcome = act(hw, step);
    if (fails)
        changed->outcome = hw->outcome;
    if (changed->outcome == GPU_IN_USE)
        find_holders(hw, step, changed);
    if (changed->outcome)
        snprintf(changed->reason, sizeof(changed->reason), "%s",
                 hw->no_reset && step->verb == GPU_RESET ? hw->no_reset : "it does not work");
}
