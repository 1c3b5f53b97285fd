// SPDX-License-Identifier: Apache-2.0
#include "arbiter/rotation.h"

#include <stddef.h>

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

void rotation_stop(struct rotation *rotation)
{
    rotation->holder = rotation->next = NULL;
    rotation->is_draining = false;
}

bool rotation_may_launch(const struct rotation *rotation, const struct turns_unit *unit)
{
    if (rotation->holder == unit && unit->gang.is_behind)
        return true;
    return rotation->holder == unit && !rotation->is_draining && !unit->gang.is_settling;
}

bool rotation_is_used(const struct rotation *rotation, const struct turns_unit *unit)
{
    if (rotation->holder == unit && rotation->is_draining)
        return unit->is_in_flight;
    return rotation->holder == unit &&
           (rotation->active_ns > rotation->granted_ns || unit->is_in_flight || unit->n_new);
}

/* --- the next one --- */

/* Here or on another device, whose turns are decided here. */
static bool is_busy(const struct turns_unit *unit)
{
    return unit->is_in_flight || unit->n_new || unit->gang.is_in_flight;
}

static bool is_waiting(const struct turns_unit *unit)
{
    return unit->is_waiting || unit->gang.is_waiting;
}

static bool is_used_up(const struct turns_unit *unit)
{
    return unit->ration.is_used_up || unit->gang.is_used_up;
}

/* Only with a waiting thread: work in flight of a closed gate is from before, and needs no turn. */
static bool is_contender(const struct turns_unit *unit, bool is_strict)
{
    return unit->takes_turns && is_waiting(unit) && !(is_strict && is_used_up(unit)) &&
           unit->gang.lead == UNIT_ALONE && !unit->gang.is_blocked;
}

bool rotation_has_waited(const struct turns_unit *unit, uint64_t now_ns)
{
    return unit->wanted_ns && now_ns >= unit->wanted_ns + ROTATION_WAIT_MS * MS;
}

/* What a ring has in flight is charged to it, and may wait for what its turn would let through: one
 * that has waited too long comes first, and of several the one that has waited longest. */
static bool is_before(const struct turns_unit *a, const struct turns_unit *b, uint64_t now_ns)
{
    const bool has_a = a->gang.peer && rotation_has_waited(a, now_ns),
               has_b = b->gang.peer && rotation_has_waited(b, now_ns);

    if (has_a != has_b)
        return has_a;
    if (has_a)
        return a->wanted_ns < b->wanted_ns;
    return ration_urgency(&a->ration) > ration_urgency(&b->ration);
}

static struct turns_unit *find_next(struct turns_unit *units, const struct turns_unit *but,
                                    bool is_strict, uint64_t now_ns)
{
    struct turns_unit *next = NULL;

    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit != but && is_contender(unit, is_strict) &&
            (!next || is_before(unit, next, now_ns)))
            next = unit;
    return next;
}

static uint64_t bound(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* By share, so that small shares have their turns as often as great ones: in each second the
 * received time is right to a part of a turn. */
static uint64_t get_turn_ns(const struct turns_unit *of, const struct turns_unit *units,
                            bool is_strict)
{
    uint64_t n = 0, shares_ppm = 0, us;

    for (const struct turns_unit *unit = units; unit; unit = unit->next) {
        n += unit->takes_turns && unit->is_active;
        shares_ppm += unit->takes_turns && unit->is_active ? unit->ration.share_ppm : 0;
    }
    us = bound(n ? ROTATION_ROUND_US / n : 0, ROTATION_EVEN_LEAST_US, ROTATION_EVEN_MOST_US);
    if (shares_ppm)
        us = us * n * of->ration.share_ppm / shares_ppm;
    us = bound(us, ROTATION_TURN_LEAST_US, ROTATION_TURN_MOST_US);
    if (is_strict && of->ration.allowance_ns < (int64_t)(us * US))
        return of->ration.allowance_ns > 0 ? (uint64_t)of->ration.allowance_ns : 0;
    return us * US;
}

static void grant(struct rotation *rotation, struct turns_unit *units, struct turns_unit *unit,
                  bool is_strict, uint64_t now_ns)
{
    rotation->holder = unit;
    rotation->is_draining = false;
    if (!unit)
        return;
    rotation->granted_ns = rotation->active_ns = now_ns;
    rotation->end_ns = now_ns + get_turn_ns(unit, units, is_strict);
    unit->n_turns++;
    unit->wanted_ns = 0;
}

/* --- the end of a turn --- */

/* What claims nonsense may as well claim work that never ends: it is soon looked at again. */
static uint64_t get_excuse_s(const struct turns_unit *unit, uint64_t now_ns)
{
    const uint64_t s = (uint64_t)ROTATION_EXCUSE_S << (unit->n_excused < 8 ? unit->n_excused : 8);

    if (!unit_is_credible(unit, now_ns))
        return ROTATION_EXCUSE_LEAST_S;
    return s < ROTATION_EXCUSE_MOST_S ? s : ROTATION_EXCUSE_MOST_S;
}

static void excuse(struct turns_unit *unit, uint64_t now_ns)
{
    if (now_ns >= unit->excused_ns + ROTATION_FORGIVEN_S * S)
        unit->n_excused = 0;
    unit->excused_ns = now_ns + get_excuse_s(unit, now_ns) * S;
    unit->n_excused++;
    unit->n_overdue_in_row = 0;
    unit->takes_turns = false;
}

/* It has had work in flight for so long that nothing which it shares the device with is to blame:
 * long queues get on. */
static bool is_endless(const struct turns_unit *unit, uint64_t now_ns)
{
    const uint64_t since_ns =
        unit->got_on_ns > unit->leftover_ns ? unit->got_on_ns : unit->leftover_ns;

    return unit_has_leftover(unit) && (now_ns >= since_ns + ROTATION_LEFTOVER_MS * MS ||
                                       now_ns >= unit->leftover_ns + ROTATION_LONGEST_MS * MS);
}

/* Whether somebody's earlier work, or its own, has shared the device with it, or somebody who takes
 * no turns. */
static bool was_shared(const struct turns_unit *units, uint64_t now_ns)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if ((unit->takes_turns && unit->has_leftover && !is_endless(unit, now_ns)) ||
            (unit_is_excused(unit, now_ns) && unit->is_in_flight))
            return true;
    return false;
}

/* Whose work does not end: its own, or somebody's, which makes the holder's slow. NULL: nobody's,
 * as far as is known. */
static struct turns_unit *find_overdue(const struct rotation *rotation, struct turns_unit *units,
                                       uint64_t now_ns)
{
    if (is_endless(rotation->holder, now_ns))
        return rotation->holder;
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_endless(unit, now_ns))
            return unit;
    return was_shared(units, now_ns) ? NULL : rotation->holder;
}

/* Several rings may wait for each other's slices of the hardware, and none is to blame; unless one
 * does not get on at all. */
static bool is_beside_ring(const struct turns_unit *units, const struct turns_unit *but,
                           uint64_t now_ns)
{
    if (now_ns >= but->got_on_ns + ROTATION_STUCK_MS * MS)
        return false;
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit != but && unit->gang.peer && unit->is_in_flight)
            return but->gang.peer;
    return false;
}

static void note_overdue(struct rotation *rotation, struct turns_unit *units, uint64_t now_ns)
{
    struct turns_unit *holder = rotation->holder, *unit = find_overdue(rotation, units, now_ns);

    rotation->n_overdue++;
    holder->n_overdue++;
    if (!holder->has_leftover)
        holder->leftover_ns = now_ns;
    holder->has_leftover = true;
    if (!unit || is_beside_ring(units, unit, now_ns) ||
        now_ns - unit->idle_ns < ROTATION_DRAIN_MS * MS) /* it was hurried */
        return;
    unit->n_overdue += unit != holder;
    if (++unit->n_overdue_in_row >= ROTATION_OVERDUE)
        excuse(unit, now_ns);
}

/* Of those that take turns, somebody who has none has work in flight from before; from long before
 * it is no use to wait for it. That of a ring may need its own turn. */
static bool is_other_in_flight(const struct turns_unit *units, const struct turns_unit *but,
                               uint64_t now_ns)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit != but && unit_has_leftover(unit) && !unit->gang.peer &&
            now_ns < unit->leftover_ns + ROTATION_LEFTOVER_MS * MS)
            return true;
    return false;
}

/* Kernels of a ring (gangs.h) that are not awaited long enough make those of the next one slow, so
 * that they are not awaited long enough either. For these it is saved until it is enough. */
static bool is_hurried(const struct rotation *rotation)
{
    return rotation->patience_ns < ROTATION_DRAIN_LEAST_MS * MS ||
           (rotation->holder->gang.peer && rotation->is_hurried);
}

static void spend_patience(struct rotation *rotation, uint64_t ns)
{
    if (rotation->holder->gang.peer && is_hurried(rotation)) {
        rotation->is_hurried = true;
        return;
    }
    rotation->patience_ns -= ns < rotation->patience_ns ? ns : rotation->patience_ns;
}

static uint64_t get_least_ns(const struct turns_unit *units, const struct turns_unit *holder)
{
    uint64_t n = 0;

    for (const struct turns_unit *unit = units; unit && holder->gang.peer; unit = unit->next)
        n += unit->takes_turns && unit->is_active && unit->gang.peer;
    if (n && holder->gang.gets_on)
        return bound(ROTATION_FINISH_RINGS_MS / n, ROTATION_DRAIN_LEAST_MS, ROTATION_DRAIN_MS) * MS;
    return bound(n ? ROTATION_DRAIN_RINGS_MS / n : 0, ROTATION_DRAIN_LEAST_MS,
                 ROTATION_DRAIN_RING_MS) *
           MS;
}

/* How long work is awaited now: not long each time, or a unit that claims to have some could stop
 * others. That of somebody else not at all then.
 */
static uint64_t get_drain_ns(const struct rotation *rotation, const struct turns_unit *units,
                             bool is_busy, bool is_shared)
{
    const uint64_t ns = (is_shared ? ROTATION_DRAIN_SHARED_MS : ROTATION_DRAIN_MS) * MS;
    const uint64_t least_ns = get_least_ns(units, rotation->holder);

    if (is_hurried(rotation))
        return is_busy ? least_ns : 0;
    return bound(rotation->patience_ns, least_ns, ns);
}

static void grow_patience(struct rotation *rotation, uint64_t now_ns)
{
    rotation->patience_ns += (now_ns - rotation->run_ns) / ROTATION_PATIENCE_PART;
    if (rotation->patience_ns > ROTATION_PATIENCE_MS * MS)
        rotation->patience_ns = ROTATION_PATIENCE_MS * MS;
    if (rotation->patience_ns >= ROTATION_DRAIN_MS * MS)
        rotation->is_hurried = false;
    rotation->run_ns = now_ns;
}

/* Whether the turn is over for good. */
static bool has_drained(struct rotation *rotation, struct turns_unit *units, uint64_t now_ns)
{
    struct turns_unit *holder = rotation->holder;
    const bool has_work = is_busy(holder);
    const bool is_shared = is_other_in_flight(units, holder, now_ns);
    const uint64_t ns = now_ns - rotation->drain_ns;

    if (!has_work)
        holder->n_overdue_in_row = 0;
    if (!has_work && !is_shared)
        return true;
    if (ns < get_drain_ns(rotation, units, has_work, is_shared))
        return false;
    spend_patience(rotation, ns);
    if (has_work)
        note_overdue(rotation, units, now_ns);
    return true;
}

/* It has nothing to do, or says that it wants to and does nothing. */
static bool gives_way(struct rotation *rotation, uint64_t now_ns)
{
    const struct turns_unit *holder = rotation->holder;

    if (is_busy(holder))
        rotation->active_ns = now_ns;
    return now_ns >=
           rotation->active_ns + (is_waiting(holder) ? ROTATION_WAKE_US : ROTATION_IDLE_US) * US;
}

/* Whether the holder's turn ends now. */
static void hold(struct rotation *rotation, struct turns_unit *units, bool is_strict,
                 uint64_t now_ns)
{
    struct turns_unit *holder = rotation->holder;
    struct turns_unit *next = find_next(units, holder, is_strict, now_ns);
    const bool has_had_enough = is_strict && is_used_up(holder);

    if (next && gives_way(rotation, now_ns)) {
        grant(rotation, units, next, is_strict, now_ns);
        return;
    }
    if (!next && !has_had_enough && now_ns + ROTATION_LOOK_US * US >= rotation->end_ns)
        rotation->end_ns = now_ns + get_turn_ns(holder, units, is_strict) + ROTATION_LOOK_US * US;
    if (now_ns < rotation->end_ns && !has_had_enough)
        return;
    rotation->is_draining = true;
    rotation->drain_ns = now_ns;
}

static bool is_ending(const struct rotation *rotation, uint64_t now_ns)
{
    return rotation->holder &&
           (rotation->is_draining || now_ns + ROTATION_READY_US * US >= rotation->end_ns);
}

/* --- turns that another device decides on --- */

/* There its work was awaited, as long as it may be. */
static void leave(struct rotation *rotation, uint64_t now_ns)
{
    struct turns_unit *holder = rotation->holder;

    if (holder->is_in_flight && !holder->has_leftover)
        holder->leftover_ns = now_ns;
    holder->has_leftover = holder->has_leftover || holder->is_in_flight;
    rotation_stop(rotation);
}

/* Of one that is not led. */
static void cut_short(struct rotation *rotation, struct turns_unit *units, uint64_t now_ns)
{
    if (!rotation->is_draining)
        rotation->drain_ns = now_ns;
    rotation->is_draining = true;
    if (has_drained(rotation, units, now_ns))
        rotation_stop(rotation);
}

/* Its turn begins when the device is free, and ends as there. */
static void follow(struct rotation *rotation, struct turns_unit *units, struct turns_unit *led,
                   bool is_strict, uint64_t now_ns)
{
    if (rotation->holder && rotation->holder != led)
        cut_short(rotation, units, now_ns);
    if (!rotation->holder)
        grant(rotation, units, led, is_strict, now_ns);
    if (rotation->holder != led)
        return;
    rotation->end_ns = led->gang.by->end_ns;
    rotation->is_draining = led->gang.by->is_draining;
    rotation->drain_ns = led->gang.by->drain_ns;
}

/* Of several, which other devices decided on, the one that has the turn, or waits too long. NULL:
 * there is none. */
static struct turns_unit *find_led(const struct rotation *rotation, struct turns_unit *units,
                                   uint64_t now_ns)
{
    struct turns_unit *led = NULL;

    for (struct turns_unit *unit = units; unit; unit = unit->next) {
        if (unit->gang.lead != UNIT_LED || !unit->takes_turns || !unit->is_active)
            continue;
        if (!led || rotation_has_waited(unit, now_ns) ||
            (unit == rotation->holder && !rotation_has_waited(led, now_ns)))
            led = unit;
    }
    return led;
}

static struct turns_unit *find_led_next(struct turns_unit *units)
{
    while (units && !(units->gang.is_next && units->takes_turns && units->is_active))
        units = units->next;
    return units;
}

/* When a turn of somebody else, that is about to be one of a ring, may begin elsewhere: until then
 * it queues, and not for longer. */
static uint64_t get_end_ns(const struct rotation *rotation, const struct turns_unit *units,
                           uint64_t now_ns)
{
    uint64_t end_ns = rotation->end_ns;

    for (const struct turns_unit *unit = units; unit; unit = unit->next) {
        const struct rotation *by = unit->gang.by;

        if (unit->gang.lead != UNIT_HELD || !by->holder || !unit->takes_turns || !unit->is_active)
            continue;
        if (by->is_draining || by->end_ns < end_ns)
            end_ns = by->is_draining ? now_ns : by->end_ns;
    }
    return end_ns;
}

/* --- the run --- */

/* Where turns begin, what a ring launched before is done first: kernels of two rings at the same
 * time may wait for each other's slices of the hardware. */
static void finish_earlier(struct rotation *rotation, struct turns_unit *units, bool is_strict,
                           uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit && !rotation->holder; unit = unit->next)
        if (unit->gang.peer && unit->gang.lead == UNIT_ALONE && unit_has_leftover(unit)) {
            grant(rotation, units, unit, is_strict, now_ns);
            rotation->is_draining = true;
            rotation->drain_ns = now_ns;
        }
}

static void run_alone(struct rotation *rotation, struct turns_unit *units, bool is_strict,
                      uint64_t now_ns)
{
    if (!rotation->holder)
        finish_earlier(rotation, units, is_strict, now_ns);
    if (rotation->holder && !rotation->is_draining)
        hold(rotation, units, is_strict, now_ns);
    if (rotation->holder && rotation->is_draining && has_drained(rotation, units, now_ns))
        rotation_stop(rotation);
    if (!rotation->holder)
        grant(rotation, units, find_next(units, NULL, is_strict, now_ns), is_strict, now_ns);
    if (rotation->holder)
        rotation->end_ns = get_end_ns(rotation, units, now_ns);
}

static void note_wants(const struct rotation *rotation, struct turns_unit *units, uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (!unit->takes_turns || !is_waiting(unit) || rotation->holder == unit)
            unit->wanted_ns = 0;
        else if (!unit->wanted_ns)
            unit->wanted_ns = now_ns;
}

void rotation_run(struct rotation *rotation, struct turns_unit *units, bool is_strict,
                  uint64_t now_ns)
{
    struct turns_unit *led = find_led(rotation, units, now_ns), *led_next = find_led_next(units);

    grow_patience(rotation, now_ns);
    if (rotation->holder && !rotation->holder->takes_turns)
        rotation_stop(rotation);
    if (rotation->holder && rotation->holder != led && rotation->holder->gang.lead != UNIT_ALONE)
        leave(rotation, now_ns);
    if (led)
        follow(rotation, units, led, is_strict, now_ns);
    else
        run_alone(rotation, units, is_strict, now_ns);
    rotation->next = led_next;
    if (!led_next && is_ending(rotation, now_ns))
        rotation->next = find_next(units, rotation->holder, is_strict, now_ns);
    note_wants(rotation, units, now_ns);
}

static uint64_t get_drain_look_ns(const struct rotation *rotation, uint64_t now_ns)
{
    return (now_ns < rotation->drain_ns + ROTATION_SOON_US * US ? ROTATION_DRAIN_SOON_US
                                                                : ROTATION_DRAIN_LOOK_US) *
           US;
}

uint64_t rotation_next(const struct rotation *rotation, uint64_t now_ns)
{
    const uint64_t look_ns = now_ns + ROTATION_LOOK_US * US;
    const uint64_t end_ns = rotation->end_ns, ahead_ns = end_ns - ROTATION_AHEAD_US * US;

    if (rotation->is_draining)
        return now_ns + get_drain_look_ns(rotation, now_ns);
    if (!rotation->holder || end_ns <= now_ns)
        return look_ns;
    if (ahead_ns > now_ns)
        return ahead_ns < look_ns ? ahead_ns : look_ns;
    return end_ns;
}
