// SPDX-License-Identifier: Apache-2.0
#include "nvml/migplace.h"

#include <errno.h>
#include <string.h>

static uint32_t span(uint32_t start, uint32_t size)
{
    return ((1u << size) - 1) << start;
}

/* Bits of what is occupied, memory slices of a GPU or compute slices of a GPU instance. */
static uint32_t occupied(const struct mig_board *board, const struct mig_layout *layout)
{
    uint32_t bits = 0;

    for (uint32_t i = 0; i < layout->n_instances; i++)
        bits |=
            span(layout->instances[i].start, board->profiles[layout->instances[i].profile].slots);
    return bits;
}

static uint32_t occupied_computes(const struct mig_instance *instance)
{
    uint32_t bits = 0;

    for (uint32_t i = 0; i < instance->n_computes; i++)
        bits |= span(instance->computes[i].start, instance->computes[i].slices);
    return bits;
}

uint32_t migplace_id(const struct mig_board *board, uint32_t profile, uint32_t start)
{
    const uint32_t size = board->profiles[profile].slots;

    return board->n_slots / size - 1 + start / size;
}

/* Engines in use, or all of them: the profile that fills the GPU has every one. */
struct engines {
    uint32_t n[5];
};

static void add_engines(struct engines *sum, const struct device_shape *shape)
{
    const uint32_t n[] = {shape->copy_engines, shape->decoders, shape->encoders,
                          shape->jpeg_engines, shape->ofa_engines};

    for (int i = 0; i < 5; i++)
        sum->n[i] += n[i];
}

static bool has_engines(const struct mig_board *board, const struct mig_layout *layout,
                        uint32_t profile, uint32_t count)
{
    struct engines all = {{0}}, used = {{0}};

    for (uint32_t i = 0; i < board->n_profiles; i++) {
        struct engines one = {{0}};

        add_engines(&one, &board->profiles[i].shape);
        for (int j = 0; j < 5; j++)
            all.n[j] = one.n[j] > all.n[j] ? one.n[j] : all.n[j];
    }
    for (uint32_t i = 0; i < layout->n_instances; i++)
        add_engines(&used, &board->profiles[layout->instances[i].profile].shape);
    for (uint32_t i = 0; i < count; i++)
        add_engines(&used, &board->profiles[profile].shape);
    for (int j = 0; j < 5; j++)
        if (used.n[j] > all.n[j])
            return false;
    return true;
}

static uint32_t count_of(const struct mig_layout *layout, uint32_t profile)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < layout->n_instances; i++)
        n += layout->instances[i].profile == profile;
    return n;
}

/* How many places of all profiles would be left, by memory alone. */
static uint32_t count_free_places(const struct mig_board *board, uint32_t bits)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < board->n_profiles; i++)
        for (uint32_t start = 0; start < board->n_slots; start++)
            n += board->profiles[i].starts & 1u << start &&
                 !(bits & span(start, board->profiles[i].slots));
    return n;
}

int migplace_find(const struct mig_board *board, const struct mig_layout *layout, uint32_t profile,
                  uint32_t wanted_start, uint32_t *ret_start)
{
    const struct mig_profile *p = &board->profiles[profile];
    const uint32_t bits = occupied(board, layout);
    uint32_t best = 0, best_left = 0;
    bool found = false;

    if (wanted_start != MIGPLACE_ANY &&
        (wanted_start >= board->n_slots || !(p->starts & 1u << wanted_start)))
        return MIGPLACE_UNKNOWN_PLACE;
    if (layout->n_instances == MIG_INSTANCES_MAX || count_of(layout, profile) >= p->max_count ||
        !has_engines(board, layout, profile, 1))
        return MIGPLACE_NO_ROOM;
    for (uint32_t start = 0; start < board->n_slots; start++) {
        uint32_t left;

        if (!(p->starts & 1u << start) || bits & span(start, p->slots) ||
            (wanted_start != MIGPLACE_ANY && wanted_start != start))
            continue;
        left = count_free_places(board, bits | span(start, p->slots));
        if (!found || left > best_left) {
            best = start;
            best_left = left;
        }
        found = true;
    }
    if (found)
        *ret_start = best;
    return found ? 0 : MIGPLACE_NO_ROOM;
}

uint32_t migplace_capacity(const struct mig_board *board, const struct mig_layout *layout,
                           uint32_t profile)
{
    struct mig_layout filled = *layout;
    uint32_t n = 0, start;

    while (migplace_find(board, &filled, profile, MIGPLACE_ANY, &start) == 0 &&
           migplace_add(board, &filled, profile, start) == 0)
        n++;
    return n;
}

int migplace_add(const struct mig_board *board, struct mig_layout *layout, uint32_t profile,
                 uint32_t start)
{
    const uint32_t id = migplace_id(board, profile, start);
    uint32_t at = 0;

    if (layout->n_instances == MIG_INSTANCES_MAX)
        return -ENOSPC;
    while (at < layout->n_instances && layout->instances[at].id < id)
        at++;
    memmove(&layout->instances[at + 1], &layout->instances[at],
            (layout->n_instances - at) * sizeof(*layout->instances));
    layout->instances[at] = (struct mig_instance){.id = id, .profile = profile, .start = start};
    layout->n_instances++;
    return 0;
}

uint32_t migplace_compute_starts(const struct mig_board *board, const struct mig_instance *instance,
                                 uint32_t profile)
{
    const struct mig_profile *p = &board->profiles[instance->profile];

    return mig_compute_starts(p->shape.gi_slices, p->computes[profile].slices);
}

int migplace_find_compute(const struct mig_board *board, const struct mig_instance *instance,
                          uint32_t profile, uint32_t wanted_start, uint32_t *ret_start)
{
    const struct mig_profile *p = &board->profiles[instance->profile];
    const uint32_t slices = p->computes[profile].slices;
    const uint32_t starts = migplace_compute_starts(board, instance, profile);
    const uint32_t bits = occupied_computes(instance);

    if (wanted_start != MIGPLACE_ANY &&
        (wanted_start >= MIG_INSTANCES_MAX || !(starts & 1u << wanted_start)))
        return MIGPLACE_UNKNOWN_PLACE;
    if (instance->n_computes == MIG_INSTANCES_MAX)
        return MIGPLACE_NO_ROOM;
    for (uint32_t start = 0; starts >> start; start++)
        if (starts & 1u << start && !(bits & span(start, slices)) &&
            (wanted_start == MIGPLACE_ANY || wanted_start == start)) {
            *ret_start = start;
            return 0;
        }
    return MIGPLACE_NO_ROOM;
}

uint32_t migplace_compute_capacity(const struct mig_board *board,
                                   const struct mig_instance *instance, uint32_t profile)
{
    const uint32_t slices = board->profiles[instance->profile].computes[profile].slices;
    struct mig_instance filled = *instance;
    uint32_t n = 0, start;

    while (migplace_find_compute(board, &filled, profile, MIGPLACE_ANY, &start) == 0 &&
           migplace_add_compute(&filled, profile, slices, start) == 0)
        n++;
    return n;
}

int migplace_add_compute(struct mig_instance *instance, uint32_t profile, uint32_t slices,
                         uint32_t start)
{
    uint32_t id = 0, at = 0;

    if (instance->n_computes == MIG_INSTANCES_MAX)
        return -ENOSPC;
    while (at < instance->n_computes && instance->computes[at].id == id) {
        id++;
        at++;
    }
    memmove(&instance->computes[at + 1], &instance->computes[at],
            (instance->n_computes - at) * sizeof(*instance->computes));
    instance->computes[at] =
        (struct mig_compute){.id = id, .profile = profile, .start = start, .slices = slices};
    instance->n_computes++;
    return 0;
}
