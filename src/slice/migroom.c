// SPDX-License-Identifier: Apache-2.0
#include "slice/migroom.h"

#include "slice/migfit.h"
#include "slice/migheld.h"
#include "slice/migplan.h"

static void count_new(const struct mig_plan *plan, uint8_t counts[MIG_GI_PROFILES_MAX])
{
    for (uint32_t i = 0; i < plan->fit.n_spots; i++)
        counts[plan->fit.spots[i].profile]++;
}

/* A plan destroys every empty instance that it does not fill; here those that leave room stay. */
static void keep_empty(const struct mig_board *board, const struct mig_layout *layout,
                       uint64_t *work, struct mig_plan *plan)
{
    uint8_t counts[MIG_GI_PROFILES_MAX] = {0};
    struct mig_spot stay[MIG_INSTANCES_MAX];
    uint32_t n_stay = 0;

    count_new(plan, counts);
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (plan->stays.instances >> i & 1)
            stay[n_stay++] =
                (struct mig_spot){layout->instances[i].profile, layout->instances[i].start};
    for (uint32_t i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *instance = &layout->instances[i];

        if (plan->stays.instances >> i & 1 || instance->n_computes ||
            instance->profile >= board->n_profiles)
            continue;
        stay[n_stay] = (struct mig_spot){instance->profile, instance->start};
        if (migfit_place(board, stay, n_stay + 1, counts, work, &plan->fit))
            continue;
        plan->stays.instances |= 1U << i;
        n_stay++;
    }
}

/* An instance that does not stay moves to a new place of its profile, or has only to go. */
static void pair(const struct mig_layout *layout, const struct mig_plan *plan, uint32_t held,
                 struct mig_room *room)
{
    bool used[MIG_INSTANCES_MAX] = {false};

    for (uint32_t i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *instance = &layout->instances[i];
        struct mig_move move;
        uint32_t spot = 0;

        if (plan->stays.instances >> i & 1)
            continue;
        while (spot < plan->fit.n_spots && (!instance->n_computes || used[spot] ||
                                            plan->fit.spots[spot].profile != instance->profile))
            spot++;
        move = (struct mig_move){instance->id, instance->start, MIG_START_ANY, held >> i & 1};
        if (spot < plan->fit.n_spots) {
            used[spot] = true;
            move.to = plan->fit.spots[spot].start;
        }
        room->moves[room->n_moves++] = move;
    }
}

int migroom_for_layout(const struct mig_board *board, const struct mig_layout *layout,
                       const struct mig_want *want, const struct device_instance *held,
                       size_t n_held, struct mig_room *ret_room)
{
    struct mig_held units;
    struct mig_subset stay;
    struct mig_room room = {0};
    struct mig_plan plan;
    uint32_t released;
    uint64_t work = 0;

    migheld_collect(layout, held, n_held, &units);
    if (migheld_fewest(board, layout, want, &units, &work, &released) == MIGHELD_NONE)
        return MIGROOM_NONE;
    stay = migheld_stay(&units, released);
    if (migplan_make(board, layout, want, &stay, &work, &plan) == MIGPLAN_NONE)
        return MIGROOM_NONE;
    keep_empty(board, layout, &work, &plan);
    pair(layout, &plan, migheld_stay(&units, 0).instances, &room);
    *ret_room = room;
    return 0;
}

int migroom_make(const struct mig_board *board, const struct mig_layout *layout,
                 struct mig_kind kind, const struct device_instance *held, size_t n_held,
                 struct mig_room *ret_room)
{
    struct mig_want want;

    migwant_of_layout(board, layout, &want);
    want.counts[kind.profile][kind.compute]++;
    return migroom_for_layout(board, layout, &want, held, n_held, ret_room);
}
