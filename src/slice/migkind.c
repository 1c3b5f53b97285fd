// SPDX-License-Identifier: Apache-2.0
#include "slice/migkind.h"

#include <stdio.h>
#include <string.h>

static uint32_t find_compute(const struct mig_profile *profile, uint32_t slices)
{
    uint32_t i = 0;

    while (i < profile->n_computes && profile->computes[i].slices != slices)
        i++;
    return i;
}

uint32_t migkind_full_compute(const struct mig_profile *profile)
{
    return find_compute(profile, profile->shape.gi_slices);
}

int migkind_find(const struct mig_board *board, const struct mig_name *name,
                 struct mig_kind *ret_kind)
{
    for (uint32_t i = 0; i < board->n_profiles; i++) {
        const struct mig_profile *profile = &board->profiles[i];
        struct mig_name whole;
        uint32_t compute;

        if (migname_parse(profile->name, &whole, NULL) < 0)
            continue;
        compute = find_compute(profile, name->compute_slices);
        whole.compute_slices = name->compute_slices;
        if (!migname_equal(&whole, name) || compute == profile->n_computes)
            continue;
        *ret_kind = (struct mig_kind){i, compute};
        return 0;
    }
    return MIGKIND_ABSENT;
}

int migkind_of(const struct mig_board *board, const struct mig_instance *instance,
               const struct mig_compute *compute, struct mig_kind *ret_kind)
{
    const struct mig_profile *profile;

    if (instance->profile >= board->n_profiles)
        return MIGKIND_ABSENT;
    profile = &board->profiles[instance->profile];
    if (compute->profile >= profile->n_computes)
        return MIGKIND_ABSENT;
    *ret_kind = (struct mig_kind){
        instance->profile, find_compute(profile, profile->computes[compute->profile].slices)};
    return 0;
}

void migkind_format(const struct mig_board *board, struct mig_kind kind,
                    char ret_name[DEVICE_PROFILE_SIZE])
{
    const struct mig_profile *profile = &board->profiles[kind.profile];
    struct mig_name name;

    if (migname_parse(profile->name, &name, NULL) < 0 || kind.compute >= profile->n_computes) {
        snprintf(ret_name, DEVICE_PROFILE_SIZE, "%s", profile->name);
        return;
    }
    name.compute_slices = profile->computes[kind.compute].slices;
    migname_format(&name, ret_name);
}

void migkind_add_profiles(const struct mig_board *board, struct text *text)
{
    for (uint32_t i = 0; i < board->n_profiles; i++)
        text_addf(text, "%s%s (%u)", i ? ", " : "", board->profiles[i].name,
                  board->profiles[i].max_count);
}
