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
    return rotation->holder == unit && !rotation->is_draining;
}

bool rotation_is_used(const struct rotation *rotation, const struct turns_unit *unit)
{
    if (rotation->holder == unit && rotation->is_draining)
        return unit->is_in_flight;
    return rotation->holder == unit &&
           (rotation->active_ns > rotation->granted_ns || unit->is_in_flight || unit->n_new);
}

/* --- the next one --- */

/* Only with a waiting thread: work in flight of a closed gate is from before, and needs no turn. */
static bool is_contender(const struct turns_unit *unit, bool is_strict)
{
    return unit->takes_turns && unit->is_waiting && !(is_strict && unit->ration.is_used_up);
}

static struct turns_unit *find_next(struct turns_unit *units, const struct turns_unit *but,
                                    bool is_strict)
{
    struct turns_unit *next = NULL;

    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit != but && is_contender(unit, is_strict) &&
            (!next || ration_urgency(&unit->ration) > ration_urgency(&next->ration)))
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

static void note_overdue(struct rotation *rotation, struct turns_unit *units, uint64_t now_ns)
{
    struct turns_unit *holder = rotation->holder, *unit = find_overdue(rotation, units, now_ns);

    rotation->n_overdue++;
    holder->n_overdue++;
    if (!holder->has_leftover)
        holder->leftover_ns = now_ns;
    holder->has_leftover = true;
    if (!unit || now_ns - unit->idle_ns < ROTATION_DRAIN_MS * MS) /* it was hurried */
        return;
    unit->n_overdue += unit != holder;
    if (++unit->n_overdue_in_row >= ROTATION_OVERDUE)
        excuse(unit, now_ns);
}

/* Of those that take turns, somebody who has none has work in flight from before; from long before
 * it is no use to wait for it. */
static bool is_other_in_flight(const struct turns_unit *units, const struct turns_unit *but,
                               uint64_t now_ns)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit != but && unit_has_leftover(unit) &&
            now_ns < unit->leftover_ns + ROTATION_LEFTOVER_MS * MS)
            return true;
    return false;
}

/* How long work is awaited now: not long each time, or a unit that claims to have some could stop
 * others. That of somebody else not at all then.
 */
static uint64_t get_drain_ns(const struct rotation *rotation, bool is_busy, bool is_shared)
{
    const uint64_t ns = (is_shared ? ROTATION_DRAIN_SHARED_MS : ROTATION_DRAIN_MS) * MS;

    if (rotation->patience_ns < ROTATION_DRAIN_LEAST_MS * MS)
        return is_busy ? ROTATION_DRAIN_LEAST_MS * MS : 0;
    return ns < rotation->patience_ns ? ns : rotation->patience_ns;
}

static void grow_patience(struct rotation *rotation, uint64_t now_ns)
{
    rotation->patience_ns += (now_ns - rotation->run_ns) / ROTATION_PATIENCE_PART;
    if (rotation->patience_ns > ROTATION_PATIENCE_MS * MS)
        rotation->patience_ns = ROTATION_PATIENCE_MS * MS;
    rotation->run_ns = now_ns;
}

/* Whether the turn is over for good. */
static bool has_drained(struct rotation *rotation, struct turns_unit *units, uint64_t now_ns)
{
    struct turns_unit *holder = rotation->holder;
    const bool is_busy = holder->is_in_flight || holder->n_new;
    const bool is_shared = is_other_in_flight(units, holder, now_ns);
    const uint64_t ns = now_ns - rotation->drain_ns;

    if (!is_busy)
        holder->n_overdue_in_row = 0;
    if (!is_busy && !is_shared)
        return true;
    if (ns < get_drain_ns(rotation, is_busy, is_shared))
        return false;
    rotation->patience_ns -= ns < rotation->patience_ns ? ns : rotation->patience_ns;
    if (is_busy)
        note_overdue(rotation, units, now_ns);
    return true;
}

/* It has nothing to do, or says that it wants to and does nothing. */
static bool gives_way(struct rotation *rotation, uint64_t now_ns)
{
    const struct turns_unit *holder = rotation->holder;

    if (holder->is_in_flight || holder->n_new)
        rotation->active_ns = now_ns;
    return now_ns >=
           rotation->active_ns + (holder->is_waiting ? ROTATION_WAKE_US : ROTATION_IDLE_US) * US;
}

/* Whether the holder's turn ends now. */
static void hold(struct rotation *rotation, struct turns_unit *units, bool is_strict,
                 uint64_t now_ns)
{
    struct turns_unit *holder = rotation->holder;
    struct turns_unit *next = find_next(units, holder, is_strict);
    const bool has_had_enough = is_strict && holder->ration.is_used_up;

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

void rotation_run(struct rotation *rotation, struct turns_unit *units, bool is_strict,
                  uint64_t now_ns)
{
    grow_patience(rotation, now_ns);
    if (rotation->holder && !rotation->holder->takes_turns)
        rotation_stop(rotation);
    if (rotation->holder && !rotation->is_draining)
        hold(rotation, units, is_strict, now_ns);
    if (rotation->holder && rotation->is_draining && has_drained(rotation, units, now_ns))
        rotation_stop(rotation);
    if (!rotation->holder)
        grant(rotation, units, find_next(units, NULL, is_strict), is_strict, now_ns);
    rotation->next =
        is_ending(rotation, now_ns) ? find_next(units, rotation->holder, is_strict) : NULL;
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
