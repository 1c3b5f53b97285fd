// SPDX-License-Identifier: Apache-2.0
#include "arbiter/probe.h"

#include <stddef.h>

#define MS UINT64_C(1000000)

void probe_stop(struct unit_probe *probe)
{
    probe->unit = NULL;
}

static bool is_busy(const struct turns_unit *unit)
{
    return unit->duty.seems_busy || unit_is_heavy(unit);
}

bool probe_holds(const struct unit_probe *probe, const struct turns_unit *unit)
{
    return probe->unit && (probe->is_drained ? unit != probe->unit : is_busy(unit));
}

uint64_t probe_end_ns(const struct unit_probe *probe, uint64_t now_ns)
{
    return (probe->alone_ns ? probe->alone_ns : now_ns) + (PROBE_MS + PROBE_LATE_MS) * MS;
}

/* Of those that are held. */
static bool is_other_in_flight(const struct unit_probe *probe, const struct turns_unit *units)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (probe_holds(probe, unit) && (unit->is_in_flight || unit->n_new))
            return true;
    return false;
}

/* Beside one that launches whatever happens nobody is alone. */
static bool is_possible(const struct turns_unit *units, uint64_t now_ns)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit_is_excused(unit, now_ns) && unit->is_in_flight)
            return false;
    return true;
}

/* Alone on the device it is seen without a probe. */
static bool has_others(const struct turns_unit *units, const struct turns_unit *of)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit != of && unit->is_active)
            return true;
    return false;
}

/* It may be heavy and is not known to be, or how fast it is alone is not known. */
static bool is_due(const struct turns_unit *unit, uint64_t now_ns)
{
    const bool is_unknown =
        duty_is_suspicious(&unit->duty) || (unit_is_heavy(unit) && unit->pace.alone_per_s <= 0);
    const uint64_t due_ns = unit->duty.is_presumed ? unit->presumed_ns : unit->probe_ns;

    return is_unknown && unit->is_active && (now_ns >= due_ns || unit->duty.has_changed) &&
           !unit_is_excused(unit, now_ns);
}

static struct turns_unit *find_due(struct turns_unit *units, uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_due(unit, now_ns) && has_others(units, unit))
            return unit;
    return NULL;
}

/* When the unit may be asked again. */
static void put_off(struct turns_unit *unit, bool is_news, uint64_t now_ns)
{
    unit->probe_wait_ns =
        is_news || !unit->probe_wait_ns ? PROBE_AGAIN_MS * MS : unit->probe_wait_ns * 8;
    if (unit->probe_wait_ns > PROBE_AGAIN_MOST_MS * MS)
        unit->probe_wait_ns = PROBE_AGAIN_MOST_MS * MS;
    unit->probe_ns = unit->presumed_ns = now_ns + unit->probe_wait_ns;
    if (is_news)
        unit->duty.n_in_vain = 0;
    else if (unit->duty.has_changed && unit->duty.n_in_vain < DUTY_VAIN_MOST)
        unit->duty.n_in_vain++;
    unit->duty.seems_busy = unit->duty.has_changed = false;
}

/* Those that had work in flight ever since. They are probed as soon as others can be held; one that
 * was known to be light, and is found to be, is not taken for heavy again so soon. */
static void presume(struct turns_unit *units, uint64_t since_ns, uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_due(unit, now_ns) && !unit_is_heavy(unit) && unit->idle_ns < since_ns) {
            put_off(unit, !unit->duty.is_judged, now_ns);
            unit->presumed_ns = now_ns;
            duty_presume(&unit->duty);
        }
}

static uint64_t get_drain_ns(const struct turns_unit *units)
{
    uint64_t ms = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        ms += unit->is_active ? PROBE_DRAIN_MS : 0;
    ms = ms < PROBE_DRAIN_LEAST_MS ? PROBE_DRAIN_LEAST_MS : ms;
    return (ms < PROBE_DRAIN_MOST_MS ? ms : PROBE_DRAIN_MOST_MS) * MS;
}

bool probe_is_due(const struct unit_probe *probe, struct turns_unit *units, uint64_t now_ns)
{
    return probe->unit || (is_possible(units, now_ns) && find_due(units, now_ns));
}

static void begin(struct unit_probe *probe, struct turns_unit *unit, uint64_t now_ns)
{
    probe->unit = unit;
    probe->began_ns = now_ns;
    probe->alone_ns = 0;
    probe->is_drained = false;
    probe->n_probes++;
    probe->n_in_chain++;
    pace_end(&unit->pace);
}

static void fail(struct unit_probe *probe, struct turns_unit *units, uint64_t now_ns)
{
    const uint32_t n = probe->n_failed < 6 ? probe->n_failed : 6;

    presume(units, probe->began_ns, now_ns);
    duty_begin(&probe->unit->duty);
    probe->n_failed++;
    probe->earliest_ns = now_ns + (PROBE_APART_MS * MS << n);
    probe->n_in_chain = 0;
    probe->unit = NULL;
}

static void end(struct unit_probe *probe, uint64_t now_ns)
{
    struct turns_unit *unit = probe->unit;
    const bool was_judged = unit->duty.is_judged && !unit->duty.is_presumed;
    const bool was_heavy = unit->duty.is_heavy;

    duty_judge(&unit->duty);
    pace_end(&unit->pace);
    put_off(unit, was_judged ? was_heavy != unit->duty.is_heavy : !unit->probe_wait_ns, now_ns);
    probe->n_failed = 0;
    probe->unit = NULL;
}

static void go_on(struct unit_probe *probe, struct turns_unit *units, uint64_t now_ns)
{
    if (!probe->alone_ns && !is_other_in_flight(probe, units)) {
        probe->alone_ns = probe->is_drained ? now_ns : 0;
        probe->is_drained = true;
        duty_begin(&probe->unit->duty);
    }
    if (probe->alone_ns && now_ns >= probe->alone_ns + PROBE_MS * MS)
        end(probe, now_ns);
    else if (!probe->alone_ns && now_ns >= probe->began_ns + get_drain_ns(units))
        fail(probe, units, now_ns);
}

static struct turns_unit *find_next(struct unit_probe *probe, struct turns_unit *units,
                                    uint64_t now_ns)
{
    if (now_ns < probe->earliest_ns || probe->n_in_chain >= PROBE_CHAIN)
        return NULL;
    if (is_possible(units, now_ns))
        return find_due(units, now_ns);
    presume(units, now_ns - PROBE_DRAIN_MOST_MS * MS, now_ns);
    return NULL;
}

void probe_run(struct unit_probe *probe, struct turns_unit *units, bool may_begin, uint64_t now_ns)
{
    const bool was_on = probe->unit;
    struct turns_unit *unit;

    if (was_on)
        go_on(probe, units, now_ns);
    if (probe->unit || !may_begin)
        return;
    unit = find_next(probe, units, now_ns);
    if (unit) {
        begin(probe, unit, now_ns);
        return;
    }
    if (was_on && now_ns >= probe->earliest_ns)
        probe->earliest_ns = now_ns + PROBE_APART_MS * MS;
    probe->n_in_chain = 0;
}

static void presume_one(struct turns_unit *unit, uint64_t now_ns)
{
    if (!unit_is_heavy(unit))
        duty_presume(&unit->duty);
    put_off(unit, false, now_ns);
}

void probe_presume(struct unit_probe *probe, struct turns_unit *units, uint64_t now_ns)
{
    probe->unit = NULL;
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_due(unit, now_ns) && has_others(units, unit))
            presume_one(unit, now_ns);
}

static bool has_other_rings(const struct turns_unit *units, const struct turns_unit *of)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit != of && unit->is_active && unit->gang.peer)
            return true;
    return false;
}

void probe_presume_rings(struct turns_unit *units, uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit->gang.peer && unit->is_active &&
            (!unit->duty.is_judged || duty_is_suspicious(&unit->duty)) &&
            has_other_rings(units, unit))
            presume_one(unit, now_ns);
}
