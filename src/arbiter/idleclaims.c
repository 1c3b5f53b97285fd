// SPDX-License-Identifier: Apache-2.0
#include "arbiter/idleclaims.h"

#include <stdbool.h>
#include <stddef.h>

#define MS UINT64_C(1000000)

/* It has shown how fast it is since the last look. */
static bool has_news(const struct turns_unit *unit)
{
    return unit->is_active && unit->usual_per_s > 0 &&
           unit->turn_pace.n_windows != unit->n_windows_seen;
}

static bool is_slow(const struct turns_unit *unit)
{
    return unit->turn_pace.recent_per_s < unit->usual_per_s * IDLECLAIMS_FALL_PPM / 1e6;
}

static bool have_all_fallen(const struct turns_unit *units)
{
    size_t n = 0, n_slow = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (has_news(unit)) {
            n++;
            n_slow += is_slow(unit);
        }
    return n > 1 && n_slow == n;
}

static void learn(struct turns_unit *units, bool have_fallen, bool is_new)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next) {
        const double recent_per_s = unit->turn_pace.recent_per_s;
        const bool is_news = unit->turn_pace.n_windows != unit->n_windows_seen;

        if (is_new)
            unit->usual_per_s = 0;
        else if (is_news && unit->usual_per_s <= 0)
            unit->usual_per_s = recent_per_s;
        else if (is_news && !have_fallen)
            unit->usual_per_s += (recent_per_s - unit->usual_per_s) / IDLECLAIMS_LEARN_PART;
        unit->n_windows_seen = unit->turn_pace.n_windows;
    }
}

static void mark(struct turns_unit *units, bool are_suspects, uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        unit->is_suspect = are_suspects && now_ns - unit->worked_ns >= IDLECLAIMS_IDLE_MS * MS;
}

/* Who works, in a number. */
static uint64_t get_workers(const struct turns_unit *units)
{
    uint64_t number = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        number += unit->is_active ? (unit->id + 1) * UINT64_C(0x9e3779b97f4a7c15) : 0;
    return number;
}

void idleclaims_run(struct idleclaims *claims, struct turns_unit *units, uint64_t ns,
                    uint64_t now_ns)
{
    const uint64_t workers = get_workers(units);
    bool have_fallen;

    claims->has_changed = claims->has_changed || workers != claims->workers;
    claims->workers = workers;
    claims->passed_ns += ns;
    if (claims->passed_ns < IDLECLAIMS_LOOK_MS * MS)
        return;
    claims->passed_ns = 0;
    have_fallen = !claims->has_changed && have_all_fallen(units);
    claims->n_looks = have_fallen ? claims->n_looks + 1 : 0;
    learn(units, have_fallen, claims->has_changed);
    mark(units, claims->n_looks >= IDLECLAIMS_LOOKS, now_ns);
    claims->has_changed = false;
}
