// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "slice/migstep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static uint32_t take(struct input *input, uint32_t below)
{
    if (!input->size)
        return 0;
    input->size--;
    return *input->data++ % below;
}

/* Of a driver that may report anything. 255 stands for numbers out of all bounds. */
static uint32_t take_any(struct input *input)
{
    uint32_t value = take(input, 256);

    return value == 255 ? UINT32_MAX : value;
}

static void take_profile(struct input *input, struct mig_profile *profile)
{
    static const char *const names[] = {"1g.5gb", "3g.20gb", "1g.5gb+me", "?", ""};

    memset(profile, 0, sizeof(*profile));
    strncpy(profile->name, names[take(input, 5)], sizeof(profile->name) - 1);
    profile->max_count = take(input, 9);
    profile->shape.gi_slices = take(input, 10);
    profile->shape.copy_engines = take_any(input);
    profile->slots = take(input, 18);
    profile->starts = take(input, 256) << take(input, 9);
    profile->n_computes = take(input, 4);
    for (uint32_t i = 0; i < profile->n_computes; i++) {
        profile->computes[i].slices = take(input, 10);
        profile->computes[i].max_count = take(input, 9);
        profile->computes[i].starts = take(input, 256);
    }
}

static void take_board(struct input *input, struct mig_board *board)
{
    memset(board, 0, sizeof(*board));
    board->n_slots = take(input, 4) ? take(input, 17) : take_any(input);
    board->n_profiles = take(input, 6);
    for (uint32_t i = 0; i < board->n_profiles; i++)
        take_profile(input, &board->profiles[i]);
}

static void take_layout(struct input *input, struct mig_layout *layout)
{
    memset(layout, 0, sizeof(*layout));
    layout->enabled = take(input, 4) > 0;
    layout->pending = take(input, 4) > 0;
    layout->n_instances = take(input, 5);
    for (uint32_t i = 0; i < layout->n_instances; i++) {
        struct mig_instance *instance = &layout->instances[i];

        *instance = (struct mig_instance){.id = take_any(input),
                                          .profile = take_any(input),
                                          .start = take_any(input),
                                          .n_computes = take(input, 4)};
        for (uint32_t j = 0; j < instance->n_computes; j++)
            instance->computes[j] = (struct mig_compute){take_any(input), take_any(input),
                                                         take_any(input), take_any(input)};
    }
}

static void take_want(struct input *input, const struct mig_board *board, struct mig_want *want)
{
    *want = (struct mig_want){.enabled = take(input, 4) > 0, .mode_only = take(input, 8) == 1};
    for (uint32_t i = 0; i < board->n_profiles; i++)
        for (uint32_t j = 0; j < board->profiles[i].n_computes; j++)
            want->counts[i][j] = (uint8_t)take(input, 4);
}

/* Whatever board, layout and wishes are: steps that end, and nothing held is destroyed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct mig_board board;
    struct mig_layout layout;
    struct mig_want want;
    struct device_instance held[3];
    struct mig_next next;

    take_board(&input, &board);
    take_layout(&input, &layout);
    take_want(&input, &board, &want);
    for (size_t i = 0; i < 3; i++)
        held[i] = (struct device_instance){take_any(&input), take_any(&input)};
    migstep_next(&board, &layout, &want, held, take(&input, 4), &next);
    if (next.step.kind == MIG_STEP_WAIT && !next.n_blockers)
        abort();
    if (next.step.kind != MIG_STEP_WAIT && next.n_blockers)
        abort();
    for (int n = 0; n < 100; n++) {
        migstep_next(&board, &layout, &want, NULL, 0, &next);
        if (next.step.kind == MIG_STEP_WAIT)
            abort();
        if (next.step.kind == MIG_STEP_DONE || next.step.kind == MIG_STEP_IMPOSSIBLE)
            return 0;
        migstep_apply(&board, &next.step, false, &layout);
    }
    return 0;
}
