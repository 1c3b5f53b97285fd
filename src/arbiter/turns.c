// SPDX-License-Identifier: Apache-2.0
#include "arbiter/turns.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "arbiter/mix.h"
#include "arbiter/turnsdevice.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum {
    /* Looks at claims. In between turns they are rotation.h's. */
    LOOK_US = 250,           /* while something is measured or capped */
    LOOK_SHARED_MS = 1,      /* several units have work, and nothing is to be done */
    LOOK_ALONE_MS = 5,       /* one has: how soon a second one is seen */
    LOOK_IDLE_MS = 100,      /* nobody has */
    ACTIVE_MS = 250,         /* a unit belongs to the mix for so long after its last work */
    PAUSE_MS = 5,            /* and is judged for so long: who has stopped is what he was */
    QUIET_US = 1000,         /* others had no work for so long: the time is clean */
    STEP_MOST_MS = 200,      /* what may pass between two runs; more was a pause of ours */
    BOUND_US = 512,          /* a quarter of a hardware slice */
    LAUNCH_LEAST_NS = 500,   /* nobody launches faster, ... */
    LAUNCHES_UNSEEN = 10000, /* but between two looks that were late */
    UNCLAIMED_MOST = 2048,   /* what is done and not claimed yet: two full queues */
};

/* --- life --- */

struct turns *turns_new(void)
{
    return calloc(1, sizeof(struct turns));
}

void turns_free(struct turns *turns)
{
    assert(!turns || !turns->units);
    free(turns);
}

/* From a mode to another nothing is kept of what goes on. */
static void stop(struct turns *turns)
{
    rotation_stop(&turns->rotation);
    probe_stop(&turns->probe);
    turns->trial.is_on = false;
}

void turns_set_mode(struct turns *turns, enum limits_compute mode)
{
    if (mode == turns->mode)
        return;
    turns->mode = mode;
    stop(turns);
    for (struct turns_unit *unit = turns->units; unit; unit = unit->next)
        ration_begin(&unit->ration);
}

int turns_add(struct turns *turns, const struct turns_terms *terms, struct turns_unit **ret_unit)
{
    struct turns_unit *unit;

    assert(terms->share_ppm > 0);
    if (turns->n_units >= TURNS_UNITS_MAX)
        return -ENOSPC;
    unit = calloc(1, sizeof(*unit));
    if (!unit)
        return -ENOMEM;
    unit->turns = turns;
    unit->id = ++turns->n_ever;
    unit->added_ns = turns->now_ns;
    unit->ration.share_ppm = terms->share_ppm;
    unit->next = turns->units;
    turns->units = unit;
    turns->n_units++;
    *ret_unit = unit;
    return 0;
}

void turns_remove(struct turns_unit *unit)
{
    struct turns *turns = unit->turns;
    struct turns_unit **link = &turns->units;

    if (turns->rotation.holder == unit)
        rotation_stop(&turns->rotation);
    if (turns->rotation.next == unit)
        turns->rotation.next = NULL;
    if (turns->probe.unit == unit)
        probe_stop(&turns->probe);
    while (*link != unit)
        link = &(*link)->next;
    *link = unit->next;
    turns->n_units--;
    turns_untie(unit);
    free(unit);
}

/* In the mixes of trials it is another one. */
void turns_change(struct turns_unit *unit, const struct turns_terms *terms)
{
    assert(terms->share_ppm > 0);
    unit->ration.share_ppm = terms->share_ppm;
    unit->id = ++unit->turns->n_ever;
    unit->pace = unit->turn_pace = (struct pace){0};
    unit->usual_per_s = 0;
    unit->n_windows_seen = 0;
    unit->n_overdue_in_row = 0;
    unit->excused_ns = 0;
}

void turns_tie(struct turns_unit *unit, struct turns_unit *other)
{
    struct turns_unit *after = unit->gang.peer ? unit->gang.peer : unit;

    assert(!other->gang.peer && other != unit);
    unit->gang.peer = other;
    other->gang.peer = after;
}

void turns_untie(struct turns_unit *unit)
{
    struct turns_unit *before = unit;

    while (before->gang.peer && before->gang.peer != unit)
        before = before->gang.peer;
    if (before != unit)
        before->gang.peer = unit->gang.peer != before ? unit->gang.peer : NULL;
    unit->gang = (struct unit_gang){.peer = NULL};
}

void turns_sample(struct turns_unit *unit, const struct turns_sample *sample)
{
    unit->sample = *sample;
}

const struct turns_gate *turns_gate(const struct turns_unit *unit)
{
    return &unit->gate;
}

/* --- what units did --- */

static bool may_launch(const struct turns_unit *unit)
{
    return unit->gate.gate != LIMITS_GATE_CLOSED;
}

/* A claim that goes back, or on by more than anybody can launch, is worth no more than that. */
static uint64_t pass_claim(struct turns_unit *unit, uint64_t *last, uint64_t claim, uint64_t ns,
                           uint64_t now_ns)
{
    const uint64_t n = claim - *last, most = ns / LAUNCH_LEAST_NS + LAUNCHES_UNSEEN;
    const bool is_back = claim < *last;

    if (is_back || (n > most && ns))
        unit->nonsense_ns = now_ns;
    *last = claim;
    return is_back ? 0 : n < most ? n : most;
}

static uint64_t get_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A process claims what is done when it launches again, which may be in its next turn. With nothing
 * in flight all is done that it launched. What is never claimed, since a process or a stream has
 * ended, adds up, and is forgotten. */
static uint64_t count_done(struct turns_unit *unit, uint64_t n_claimed)
{
    const uint64_t n_before = get_least(n_claimed, unit->n_ahead);
    uint64_t n = n_claimed - n_before;

    unit->n_ahead -= n_before;
    unit->n_open += unit->n_new;
    unit->n_open = get_least(unit->n_open - get_least(n, unit->n_open), UNCLAIMED_MOST);
    if (!unit->sample.is_in_flight) {
        n += unit->n_open;
        unit->n_ahead = get_least(unit->n_ahead + unit->n_open, UNCLAIMED_MOST);
        unit->n_open = 0;
    }
    return n;
}

static void observe_unit(struct turns_unit *unit, uint64_t ns, uint64_t now_ns)
{
    unit->n_new = pass_claim(unit, &unit->n_launched, unit->sample.n_launched, ns, now_ns);
    unit->n_newly_done =
        count_done(unit, pass_claim(unit, &unit->n_done, unit->sample.n_done, ns, now_ns));
    if (unit->n_newly_done || unit->n_passed != unit->sample.n_passed)
        unit->got_on_ns = now_ns;
    unit->n_passed = unit->sample.n_passed;
    unit->is_in_flight = unit->sample.is_in_flight;
    unit->is_waiting = unit->sample.n_waiting > 0;
    if (unit->is_in_flight || unit->n_new)
        unit->used_ns = now_ns;
    else
        unit->has_leftover = false;
    if (!unit->is_in_flight)
        unit->idle_ns = now_ns;
    if (unit->is_in_flight || unit->is_waiting || unit->n_new)
        unit->worked_ns = now_ns;
    unit->is_active = unit->worked_ns && now_ns - unit->worked_ns < ACTIVE_MS * MS;
}

static void observe(struct turns *turns, uint64_t ns)
{
    turns->n_active = 0;
    for (struct turns_unit *unit = turns->units; unit; unit = unit->next) {
        observe_unit(unit, ns, turns->now_ns);
        turns->n_active += unit->is_active;
    }
}

/* The two units that used the device last: of any unit, the last of the others is one of them. */
struct users {
    const struct turns_unit *last;
    uint64_t last_ns, before_ns;
};

static struct users find_users(const struct turns *turns, bool with_closed)
{
    struct users users = {0};

    for (const struct turns_unit *unit = turns->units; unit; unit = unit->next)
        if (!with_closed && !may_launch(unit) && unit->used_ns < turns->now_ns) {
            continue;
        } else if (unit->used_ns > users.last_ns) {
            users.before_ns = users.last_ns;
            users.last_ns = unit->used_ns;
            users.last = unit;
        } else if (unit->used_ns > users.before_ns) {
            users.before_ns = unit->used_ns;
        }
    return users;
}

/* Whether nobody else used the device, for long enough: somebody who waited is always busy in the
 * gaps that others leave. In its own time those who are held are no others. What it does not want
 * to use counts as much as what it used before. */
static bool is_clean(const struct turns *turns, const struct users *all, const struct users *open,
                     const struct turns_unit *unit)
{
    const struct users *users =
        turns->rotation.holder == unit || turns->probe.unit == unit ? open : all;
    const uint64_t other_ns = unit == users->last ? users->before_ns : users->last_ns;

    return may_launch(unit) ? turns->before_ns >= other_ns + QUIET_US * US : unit->was_clean;
}

/* Who may launch beside it? */
static bool is_own_time(const struct turns *turns, const struct turns_unit *unit)
{
    if (turns->probe.unit)
        return turns->probe.unit == unit && turns->probe.is_drained;
    return turns->n_active == 1 ||
           (turns->rotation.holder == unit && turns->n_taking == turns->n_active);
}

/* Time in which it could launch: with an open gate, or when it does not want to. */
static bool has_own_will(const struct turns_unit *unit)
{
    if (unit->gang.is_away)
        return unit->is_in_flight && may_launch(unit);
    return may_launch(unit) || (!unit->is_waiting && !unit->is_in_flight);
}

static void judge(struct turns *turns, uint64_t ns)
{
    const struct users all = find_users(turns, true), open = find_users(turns, false);

    for (struct turns_unit *unit = turns->units; unit; unit = unit->next) {
        const bool was_heavy = unit->duty.is_heavy;

        if (turns->now_ns - unit->worked_ns >= PAUSE_MS * MS)
            continue;
        unit->was_clean = is_clean(turns, &all, &open, unit);
        if (has_own_will(unit))
            duty_pass(&unit->duty, ns, unit->is_in_flight, unit->was_clean);
        if (unit->duty.is_heavy != was_heavy)
            unit->pace = (struct pace){0}; /* it does something else now */
        if (is_own_time(turns, unit))
            pace_pass(&unit->pace, unit->n_newly_done, ns);
        if (turns->rotation.holder == unit) /* the end of its last work is seen after it */
            pace_pass(&unit->turn_pace, unit->n_newly_done,
                      rotation_is_used(&turns->rotation, unit) ? ns : 0);
    }
}

/* --- the plan --- */

static enum turns_reason get_reason(const struct turns *turns, const struct trial_mix *mix)
{
    const struct trial_outcome *outcome = trial_find(&turns->trial);

    if (turns->mode == LIMITS_COMPUTE_STRICT && turns->n_heavy)
        return TURNS_STRICT;
    if (!mix->is_triable[TURNS_GIVEN])
        return TURNS_NO_NEED;
    if (!mix->is_triable[TURNS_FREE] && !mix->is_triable[TURNS_BOUNDED])
        return TURNS_NO_GAPS;
    if (turns->trial.is_on)
        return TURNS_TRYING;
    if (!outcome)
        return TURNS_NOT_TRIED;
    return outcome->is_decided ? TURNS_MEASURED : TURNS_UNDECIDED;
}

static void choose_plan(struct turns *turns, uint64_t ns)
{
    struct trial_mix mix;

    mix_make(&mix, turns->units, turns->mode, turns->n_rings_led, turns->now_ns);
    turns->n_heavy = mix.n_heavy;
    turns->is_crowd = mix.is_crowd;
    mix.is_deferred = !turns->has_gangs && probe_is_due(&turns->probe, turns->units, turns->now_ns);
    if (turns->leader) {
        turns->trial.is_on = false;
        turns->plan = turns->leader->plan;
        turns->reason = turns->leader->reason;
    } else {
        turns->plan = trial_run(&turns->trial, turns->units, &mix, ns, turns->now_ns);
        turns->reason = get_reason(turns, &mix);
    }
    turns->plan_ns[turns->plan] += ns;
}

static void assign_turns(struct turns *turns)
{
    turns->n_taking = 0;
    for (struct turns_unit *unit = turns->units; unit; unit = unit->next) {
        const bool takes_turns = !unit_is_excused(unit, turns->now_ns) &&
                                 unit_has_turns(unit, turns->plan, turns->is_crowd);

        if (takes_turns && !unit->takes_turns && unit->is_in_flight) {
            unit->has_leftover = true;
            unit->leftover_ns = turns->now_ns;
        }
        unit->takes_turns = takes_turns;
        turns->n_taking += takes_turns && unit->is_active;
    }
}

/* Where all run free nobody owes anybody; but for a unit that was excused from turns, since the
 * others did not choose that. */
static void settle_free(const struct turns *turns, struct turns_unit *unit)
{
    if (unit_is_excused(unit, turns->now_ns))
        ration_forget_credit(&unit->ration);
    else
        ration_forget(&unit->ration);
}

/* A trial begins and ends without debts, or it would measure them. */
static void settle_debts(struct turns *turns)
{
    const bool is_trying = turns->leader ? turns->leader->trial.is_on : turns->trial.is_on;
    const bool is_free = turns->plan == TURNS_FREE;

    for (struct turns_unit *unit = turns->units; unit; unit = unit->next)
        if (!is_trying && is_free)
            settle_free(turns, unit);
        else if (!is_trying)
            ration_put_back(&unit->ration);
        else if (is_free || !turns->was_trying)
            ration_put_aside(&unit->ration);
    turns->was_trying = is_trying;
}

/* --- gates --- */

static struct turns_gate get_turn(const struct turns *turns, uint64_t end_ns)
{
    return (struct turns_gate){
        .gate = LIMITS_GATE_TURN,
        .turn_end_ns = end_ns,
        .in_flight_us = turns_plan_is_bounded(turns->plan) ? BOUND_US : 0,
    };
}

static struct turns_gate get_gate(const struct turns *turns, const struct turns_unit *unit)
{
    const struct turns_gate closed = {.gate = LIMITS_GATE_CLOSED},
                            open = {.gate = LIMITS_GATE_OPEN},
                            one_more = {.gate = LIMITS_GATE_TURN, .in_flight_us = 1};
    const bool is_strict = turns->mode == LIMITS_COMPUTE_STRICT;

    if (turns->mode != LIMITS_COMPUTE_ELASTIC && !is_strict)
        return open;
    if (turns->probe.unit == unit && turns->probe.is_drained)
        return get_turn(turns, probe_end_ns(&turns->probe, turns->now_ns));
    if (unit->gang.is_behind && rotation_may_launch(&turns->rotation, unit))
        return one_more;
    if (is_strict && unit->ration.is_used_up && unit->gang.lead != UNIT_LED)
        return closed;
    if (unit_is_excused(unit, turns->now_ns))
        return open;
    if (probe_holds(&turns->probe, unit))
        return closed;
    if (unit->gang.is_contested && !unit->is_active && !unit->takes_turns)
        return closed;
    if (!unit->takes_turns || turns->probe.unit)
        return open;
    if (rotation_may_launch(&turns->rotation, unit))
        return get_turn(turns, turns->rotation.end_ns);
    return (struct turns_gate){.gate = LIMITS_GATE_CLOSED, .is_next = turns->rotation.next == unit};
}

static void set_gates(struct turns *turns)
{
    for (struct turns_unit *unit = turns->units; unit; unit = unit->next)
        unit->gate = get_gate(turns, unit);
}

/* --- the run --- */

static bool is_on(const struct turns *turns)
{
    return turns->mode == LIMITS_COMPUTE_ELASTIC || turns->mode == LIMITS_COMPUTE_STRICT;
}

static void decide(struct turns *turns, uint64_t ns)
{
    if (!is_on(turns)) {
        turns->plan = TURNS_FREE;
        turns->reason = TURNS_OFF;
        return;
    }
    probe_presume_rings(turns->units, turns->now_ns);
    if (turns->has_gangs)
        probe_presume(&turns->probe, turns->units, turns->now_ns);
    else
        probe_run(&turns->probe, turns->units, !turns->trial.is_on, turns->now_ns);
    choose_plan(turns, ns);
    assign_turns(turns);
    settle_debts(turns);
    if (turns->probe.unit || turns->plan == TURNS_FREE)
        rotation_stop(&turns->rotation);
    else
        rotation_run(&turns->rotation, turns->units, turns->mode == LIMITS_COMPUTE_STRICT,
                     turns->now_ns);
}

static uint64_t get_next(const struct turns *turns)
{
    const uint64_t now_ns = turns->now_ns;

    if (turns->mode == LIMITS_COMPUTE_NONE || !turns->units)
        return UINT64_MAX;
    if (!turns->n_active)
        return now_ns + LOOK_IDLE_MS * MS;
    if (turns->probe.unit || turns->trial.is_on || turns->mode == LIMITS_COMPUTE_STRICT)
        return turns->rotation.holder ? rotation_next(&turns->rotation, now_ns)
                                      : now_ns + LOOK_US * US;
    if (turns->plan != TURNS_FREE)
        return rotation_next(&turns->rotation, now_ns);
    return now_ns + (turns->n_active > 1 ? LOOK_SHARED_MS : LOOK_ALONE_MS) * MS;
}

uint64_t turns_run(struct turns *turns, uint64_t now_ns)
{
    uint64_t ns = now_ns > turns->now_ns && turns->now_ns ? now_ns - turns->now_ns : 0;

    if (now_ns < turns->now_ns)
        now_ns = turns->now_ns;
    if (ns > STEP_MOST_MS * MS)
        ns = STEP_MOST_MS * MS;
    turns->before_ns = turns->now_ns;
    turns->now_ns = now_ns;
    observe(turns, ns);
    judge(turns, ns);
    billing_run(&turns->billing, turns->units, &turns->rotation, &turns->probe, ns, now_ns);
    idleclaims_run(&turns->idleclaims, turns->units, ns, now_ns);
    decide(turns, ns);
    set_gates(turns);
    return get_next(turns);
}

/* --- what there is to show --- */

void turns_view(const struct turns_unit *unit, struct turns_view *ret_view)
{
    const struct ration *ration = &unit->ration;
    const struct turns *turns = unit->turns;

    *ret_view = (struct turns_view){
        .weight = unit_get_weight(unit),
        .duty_ppm = unit->duty.ppm,
        .entitled_ns = ration->entitled_ns,
        .received_ns = ration->received_ns,
        .borrowed_ns = ration->borrowed_ns,
        .lent_ns = ration->lent_ns,
        .waited_ns = unit->sample.waited_ns,
        .n_turns = unit->n_turns,
        .n_overdue = unit->n_overdue,
        .is_overdue = unit_is_excused(unit, turns->now_ns),
        .is_capped = turns->mode == LIMITS_COMPUTE_STRICT && ration->is_used_up,
        .is_suspect = unit->is_suspect,
        .alone_per_s = unit->pace.alone_per_s,
    };
}

void turns_state(const struct turns *turns, struct turns_state *ret_state)
{
    const struct trial_outcome *outcome = trial_find(&turns->trial);

    *ret_state = (struct turns_state){
        .mode = turns->mode,
        .plan = turns->plan,
        .reason = turns->reason,
        .is_probing = turns->probe.unit,
        .n_trials = turns->trial.n_trials,
        .n_probes = turns->probe.n_probes,
        .n_overdue = turns->rotation.n_overdue,
        .n_units = turns->n_units,
        .n_active = turns->n_active,
        .n_heavy = turns->n_heavy,
    };
    for (int i = 0; i < TURNS_N_PLANS; i++) {
        ret_state->plan_ns[i] = turns->plan_ns[i];
        ret_state->progress[i] = outcome ? outcome->scores[i] : 0;
    }
}
