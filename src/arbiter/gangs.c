// SPDX-License-Identifier: Apache-2.0
#include "arbiter/gangs.h"

#include <stdbool.h>

#include "arbiter/mix.h"
#include "arbiter/turnsdevice.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum {
    STUCK_MS = 1,    /* a command takes longer than this ... */
    STUCK_TIMES = 2, /* ... and than so many of its kind */
    ABOUT_S = 60,    /* who did nothing for so long begins when nobody else does */
};

/* --- rings --- */

static struct turns_unit *next_of(struct turns_unit *unit)
{
    return unit->gang.peer ? unit->gang.peer : unit;
}

static bool is_waiting(const struct turns_unit *unit)
{
    return unit->sample.n_waiting > 0;
}

static bool is_busy(const struct turns_unit *unit)
{
    return unit->sample.is_in_flight || unit->sample.n_launched != unit->n_launched;
}

static bool has_part(const struct turns_unit *unit)
{
    return unit->takes_turns && unit->is_active;
}

/* The one of the ring on whose device its turns are decided. NULL: it takes turns nowhere. */
static struct turns_unit *find_first(struct turns_unit *unit)
{
    struct turns_unit *first = NULL, *one = unit;

    do {
        if (has_part(one) && (!first || one->turns->rank < first->turns->rank))
            first = one;
    } while ((one = next_of(one)) != unit);
    return first;
}

/* Where it has the turn it stays until that is over, or the other device gave it the turn, too. */
static struct turns_unit *find_lead(struct turns_unit *unit)
{
    struct turns_unit *first = find_first(unit), *one = unit;

    if (!first)
        return NULL;
    do {
        const struct rotation *rotation = &one->turns->rotation;

        if (one != first && has_part(one) && rotation->holder == one &&
            one->gang.lead == UNIT_ALONE &&
            (rotation->is_draining || first->turns->rotation.holder != first))
            return one;
    } while ((one = next_of(one)) != unit);
    return first;
}

/* --- what a device knows of others --- */

/* Whether a turn there is another device's decision, and not this one's. */
static bool is_taken(const struct turns_unit *unit, const struct turns *by)
{
    const struct turns_unit *holder = unit->turns->rotation.holder;

    return holder && holder != unit && holder->gang.lead == UNIT_LED &&
           holder->gang.by != &by->rotation;
}

/* Its work does not end, by what it usually takes. */
static bool is_stuck(const struct turns_unit *unit, uint64_t now_ns)
{
    const double per_s = unit->turn_pace.alone_per_s;
    const uint64_t since_ns = unit->got_on_ns > unit->idle_ns ? unit->got_on_ns : unit->idle_ns;

    return now_ns >=
           since_ns + STUCK_MS * MS + (per_s > 0 ? (uint64_t)(STUCK_TIMES * 1e9 / per_s) : 0);
}

/* As far as what it claims can be believed. */
static bool gets_on(const struct turns_unit *unit, uint64_t now_ns)
{
    return unit_is_credible(unit, now_ns) && is_busy(unit) && !is_stuck(unit, now_ns);
}

static void tell_lead(struct turns_unit *unit, uint64_t now_ns)
{
    struct unit_gang *gang = &unit->gang;

    gang->gets_on = gets_on(unit, now_ns);
    for (struct turns_unit *one = next_of(unit); one != unit; one = next_of(one)) {
        if (!has_part(one))
            continue;
        gang->is_waiting = gang->is_waiting || is_waiting(one);
        gang->is_in_flight = gang->is_in_flight || is_busy(one);
        gang->gets_on = gang->gets_on || gets_on(one, now_ns);
        gang->is_used_up = gang->is_used_up || one->ration.is_used_up;
        gang->is_blocked = gang->is_blocked || is_taken(one, unit->turns);
    }
    gang->is_blocked = gang->is_blocked && !rotation_has_waited(unit, now_ns);
}

static void tell_led(struct turns_unit *unit, const struct turns_unit *lead)
{
    const struct rotation *by = &lead->turns->rotation;

    unit->gang.lead = by->holder == lead ? UNIT_LED : UNIT_HELD;
    unit->gang.by = by;
    unit->gang.is_next = by->next == lead;
}

/* Whether the ring launches nothing but what is behind: its turn is over, or what is left of
 * earlier comes first. */
static bool is_settling(struct turns_unit *lead)
{
    const struct rotation *rotation = &lead->turns->rotation;
    struct turns_unit *one = lead;

    if (rotation->holder == lead && rotation->is_draining)
        return true;
    do {
        if (unit_has_leftover(one))
            return true;
    } while ((one = next_of(one)) != lead);
    return false;
}

static uint64_t count_launched(const struct turns_unit *unit)
{
    return unit->sample.n_launched - unit->gang.n_settled;
}

/* Another one launched more, or does not get on without it; or that takes too long. */
static bool is_behind(struct turns_unit *unit, uint64_t now_ns)
{
    if (is_busy(unit) || !is_waiting(unit))
        return false;
    if (now_ns >= unit->got_on_ns + ROTATION_WAIT_MS * MS)
        return true;
    for (struct turns_unit *one = next_of(unit); one != unit; one = next_of(one))
        if (has_part(one) && is_busy(one) &&
            (is_stuck(one, now_ns) ||
             (!unit->gang.is_uneven && count_launched(unit) < count_launched(one))))
            return true;
    return false;
}

/* Where nothing is in flight after a turn: where the same is launched on all devices, who launched
 * less than others is known from then on. */
static void settle(struct turns_unit *lead)
{
    struct turns_unit *one = lead;
    bool is_any = false, is_uneven = false;

    do {
        if (has_part(one) && is_busy(one))
            return;
        is_any = is_any || count_launched(one);
        is_uneven = is_uneven || (has_part(one) && count_launched(one) != count_launched(lead));
    } while ((one = next_of(one)) != lead);
    do {
        one->gang.is_uneven = is_any ? is_uneven : one->gang.is_uneven;
        one->gang.n_settled = one->sample.n_launched;
    } while ((one = next_of(one)) != lead);
}

static bool is_light(const struct turns_unit *unit)
{
    return unit->duty.is_judged && !unit->duty.is_heavy;
}

static bool is_away(struct turns_unit *unit)
{
    for (struct turns_unit *one = next_of(unit); one != unit; one = next_of(one))
        if (is_waiting(one))
            return true;
    return false;
}

static bool is_at_work(struct turns_unit *unit)
{
    for (struct turns_unit *one = next_of(unit); one != unit && unit->is_active; one = next_of(one))
        if (one->is_active)
            return true;
    return false;
}

/* Whether it may begin any time, as far as is known. */
static bool is_about(const struct turns_unit *unit, uint64_t now_ns)
{
    const uint64_t last_ns = unit->worked_ns ? unit->worked_ns : unit->added_ns;

    return unit->gang.peer && !is_light(unit) && now_ns < last_ns + ABOUT_S * S;
}

/* Two rings that both begin before anybody looks may wait for each other's slices of the hardware
 * forever. */
static bool is_contested(const struct turns_unit *unit, uint64_t now_ns)
{
    if (unit->is_active || !unit->gang.peer || is_light(unit))
        return false;
    for (const struct turns_unit *one = unit->turns->units; one; one = one->next)
        if (one != unit && is_about(one, now_ns))
            return true;
    return false;
}

static void tell_unit(struct turns_unit *unit, uint64_t now_ns)
{
    struct turns_unit *lead = find_lead(unit);

    unit->gang = (struct unit_gang){.peer = unit->gang.peer,
                                    .n_settled = unit->gang.n_settled,
                                    .is_uneven = unit->gang.is_uneven,
                                    .is_at_work = is_at_work(unit),
                                    .is_away = is_away(unit),
                                    .is_contested = is_contested(unit, now_ns)};
    if (!unit->gang.peer || !lead)
        return;
    if (lead == unit)
        tell_lead(unit, now_ns);
    else
        tell_led(unit, lead);
    unit->gang.is_settling = has_part(unit) && is_settling(lead);
    unit->gang.is_behind = unit->gang.is_settling && is_behind(unit, now_ns);
    if (lead == unit && unit->turns->rotation.is_draining && unit->turns->rotation.holder == unit)
        settle(unit);
}

/* Whose plan it has: that of the first device on which some unit of both is at work, if several
 * heavy ones are there. */
static void tell_device(struct turns *device)
{
    const struct turns *first = device;

    device->has_gangs = false;
    for (struct turns_unit *unit = device->units; unit; unit = unit->next)
        for (struct turns_unit *one = next_of(unit); one != unit; one = next_of(one)) {
            if (!unit->is_active || !one->is_active)
                continue;
            device->has_gangs = true;
            first = one->turns->rank < first->rank ? one->turns : first;
        }
    device->leader = first != device && first->n_heavy > 1 ? first : NULL;
}

/* What its plan must be good for: two rings that may not run free beside each other may meet on a
 * device that it leads. */
static void tell_leader(struct turns *device, struct turns *const *devices, size_t n,
                        uint64_t now_ns)
{
    device->n_rings_led = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t n_rings =
            devices[i]->leader == device ? mix_count_rings(devices[i]->units, now_ns) : 0;

        if (n_rings > device->n_rings_led)
            device->n_rings_led = n_rings;
    }
}

/* --- the order of devices --- */

struct standing {
    struct turns *device;
    bool has_waiting;  /* too long, whichever device decides */
    uint64_t own_ppm;  /* of its time, of units that are at work on it alone */
    uint64_t busy_ppm; /* of all */
};

static bool is_alone(struct turns_unit *unit)
{
    for (const struct turns_unit *one = next_of(unit); one != unit; one = one->gang.peer)
        if (one->is_active && unit_is_heavy(one))
            return false;
    return true;
}

/* It would have the turn if the device decided: one that owes more than who has it would wait all
 * the same. */
static bool waits_too_long(const struct turns_unit *unit, uint64_t now_ns)
{
    const struct turns_unit *holder = unit->turns->rotation.holder;

    return has_part(unit) && rotation_has_waited(unit, now_ns) &&
           (unit->gang.peer || !holder ||
            ration_urgency(&unit->ration) > ration_urgency(&holder->ration));
}

static struct standing get_standing(struct turns *device, uint64_t now_ns)
{
    struct standing standing = {.device = device};

    for (struct turns_unit *unit = device->units; unit; unit = unit->next) {
        standing.has_waiting = standing.has_waiting || waits_too_long(unit, now_ns);
        if (!unit->is_active || !unit_is_heavy(unit))
            continue;
        standing.busy_ppm += unit->ration.share_ppm;
        standing.own_ppm += is_alone(unit) ? unit->ration.share_ppm : 0;
    }
    if (standing.busy_ppm)
        standing.own_ppm = standing.own_ppm * 1000000 / standing.busy_ppm;
    return standing;
}

static bool is_before(const struct standing *a, const struct standing *b)
{
    if (a->has_waiting != b->has_waiting)
        return a->has_waiting;
    if (a->own_ppm != b->own_ppm)
        return a->own_ppm > b->own_ppm;
    return a->busy_ppm > b->busy_ppm;
}

/* Few, and nearly always sorted already. */
static void sort(struct turns **devices, size_t n, uint64_t now_ns)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0; k--) {
            const struct standing one = get_standing(devices[k], now_ns),
                                  before = get_standing(devices[k - 1], now_ns);

            if (!is_before(&one, &before))
                break;
            devices[k] = before.device;
            devices[k - 1] = one.device;
        }
    for (size_t i = 0; i < n; i++)
        devices[i]->rank = i;
}

/* --- the run --- */

uint64_t gangs_run(struct turns **devices, size_t n, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;

    sort(devices, n, now_ns);
    for (size_t i = 0; i < n; i++) {
        uint64_t one_ns;

        tell_device(devices[i]);
        tell_leader(devices[i], devices, n, now_ns);
        for (struct turns_unit *unit = devices[i]->units; unit; unit = unit->next)
            tell_unit(unit, now_ns);
        one_ns = turns_run(devices[i], now_ns);
        next_ns = one_ns < next_ns ? one_ns : next_ns;
    }
    return next_ns;
}
