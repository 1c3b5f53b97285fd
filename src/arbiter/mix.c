// SPDX-License-Identifier: Apache-2.0
#include "arbiter/mix.h"

static uint64_t scramble(uint64_t value)
{
    value = (value ^ (value >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return value ^ (value >> 29);
}

/* Of those that may take turns. */
struct sums {
    uint64_t duty_ppm;
    size_t n, n_full;
    size_t n_rings;   /* heavy ones of containers that use several devices, here or elsewhere */
    bool has_excused; /* besides, somebody launches without turns whatever happens */
};

/* Running free can be best only if somebody leaves gaps, and bounding only if somebody is there to
 * fill them. Those with gaps may be better off beside turns than in them. With somebody who is
 * excused the hardware shares the device equally: between him and all others, or him and the one
 * who has the turn; so it does between all light ones and him. Kernels that wait for others on
 * other devices may never end beside those of another container that do (gangs.h). */
static void find_choice(struct trial_mix *mix, const struct sums *sums)
{
    const bool may_run_free = sums->n_rings < 2;

    mix->is_triable[TURNS_FREE] =
        may_run_free && (mix->is_crowd || sums->n_full < mix->n_heavy || sums->has_excused);
    mix->may_be_unfair = may_run_free && sums->n > mix->n_heavy;
    mix->is_triable[TURNS_GIVEN] = true;
    mix->is_triable[TURNS_BOUNDED] = !mix->is_crowd && sums->n > mix->n_heavy;
    mix->is_triable[TURNS_FULL] = may_run_free && sums->n_full > 1 && sums->n_full < mix->n_heavy;
    mix->is_triable[TURNS_FULL_BOUNDED] = mix->is_triable[TURNS_FULL];
}

static void add(struct trial_mix *mix, struct sums *sums, const struct turns_unit *unit,
                uint64_t now_ns)
{
    mix->number += scramble(unit->id * 8 + (uint64_t)unit_get_weight(unit) * 2 +
                            unit_is_excused(unit, now_ns));
    if (unit_is_excused(unit, now_ns)) {
        sums->has_excused = true;
        return;
    }
    mix->n_heavy += unit_is_heavy(unit);
    sums->n_full += unit_is_full(unit);
    sums->duty_ppm += unit->duty.is_judged ? unit->duty.ppm : 0;
    sums->n++;
}

size_t mix_count_rings(const struct turns_unit *units, uint64_t now_ns)
{
    size_t n = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        n += unit->is_active && unit_is_heavy(unit) && unit->gang.is_at_work &&
             !unit_is_excused(unit, now_ns);
    return n;
}

void mix_make(struct trial_mix *mix, const struct turns_unit *units, enum limits_compute mode,
              size_t n_rings_led, uint64_t now_ns)
{
    struct sums sums = {.n_rings = mix_count_rings(units, now_ns)};

    if (sums.n_rings < n_rings_led)
        sums.n_rings = n_rings_led;
    *mix = (struct trial_mix){.number = 1 + (sums.n_rings > 1)};
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit->is_active)
            add(mix, &sums, unit, now_ns);
    mix->is_crowd = !mix->n_heavy && sums.n > 1 && sums.duty_ppm >= MIX_CROWD_PPM;
    mix->preset =
        mix->n_heavy > 1 && (!sums.has_excused || sums.n_rings > 1) ? TURNS_GIVEN : TURNS_FREE;
    if (mode == LIMITS_COMPUTE_STRICT)
        mix->preset = mix->n_heavy ? TURNS_GIVEN : TURNS_FREE;
    else if (mix->n_heavy > 1 || mix->is_crowd)
        find_choice(mix, &sums);
}
