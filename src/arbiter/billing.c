// SPDX-License-Identifier: Apache-2.0
#include "arbiter/billing.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static uint32_t count_in_flight(const struct turns_unit *units)
{
    uint32_t n = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        n += unit->is_in_flight;
    return n;
}

/* Those of others that were not done when their turns ended. */
static uint32_t count_leftovers(const struct turns_unit *units, const struct turns_unit *but)
{
    uint32_t n = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        n += unit != but && unit_has_leftover(unit);
    return n;
}

/* Who has the turn has the time, but for what others' earlier work takes of it; others that use the
 * device have what the hardware gives them, light ones no more than they can use. */
static uint64_t get_charge(const struct turns_unit *unit, const struct turns_unit *units,
                           const struct rotation *rotation, const struct unit_probe *probe,
                           uint32_t n_in_flight, uint64_t ns, uint64_t now_ns)
{
    uint64_t charge_ns = 0;

    if (rotation_is_used(rotation, unit) && rotation->granted_ns == now_ns - ns)
        return ns > BILLING_HANDOVER_US * US ? ns - BILLING_HANDOVER_US * US : 0;
    if (probe->unit == unit)
        return ns;
    if (rotation_is_used(rotation, unit))
        return ns / (1 + count_leftovers(units, unit));
    if (unit->is_in_flight)
        charge_ns = ns / n_in_flight;
    if (unit->duty.is_judged && !unit->duty.is_heavy && n_in_flight > 1 &&
        charge_ns > ns * unit->duty.ppm / 1000000)
        charge_ns = ns * unit->duty.ppm / 1000000;
    return charge_ns;
}

/* Whether it is owed what others have. */
static bool is_wanting(const struct turns_unit *unit, uint64_t now_ns)
{
    return (unit_is_heavy(unit) || unit->takes_turns) && unit->worked_ns &&
           now_ns - unit->worked_ns < BILLING_WANTING_MS * MS;
}

static void close_window(struct turns_unit *units)
{
    bool has_borrowers = false;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        has_borrowers =
            has_borrowers || unit->ration.window_received_ns > unit->ration.window_entitled_ns;
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        ration_close_window(&unit->ration, has_borrowers);
}

/* Those who want it at the same time owe each other what one has. */
static void settle(struct turns_unit *units, uint64_t charged_ns, uint64_t shares_ppm,
                   uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_wanting(unit, now_ns))
            ration_owe(&unit->ration, unit->charged_ns, charged_ns, shares_ppm);
}

void billing_run(struct billing *billing, struct turns_unit *units, const struct rotation *rotation,
                 const struct unit_probe *probe, uint64_t ns, uint64_t now_ns)
{
    const uint32_t n_in_flight = count_in_flight(units);
    uint64_t charged_ns = 0, shares_ppm = 0;

    for (struct turns_unit *unit = units; unit; unit = unit->next) {
        unit->charged_ns = get_charge(unit, units, rotation, probe, n_in_flight, ns, now_ns);
        ration_pass(&unit->ration, ns);
        ration_receive(&unit->ration, unit->charged_ns);
        if (!is_wanting(unit, now_ns))
            continue;
        charged_ns += unit->charged_ns;
        shares_ppm += unit->ration.share_ppm;
    }
    settle(units, charged_ns, shares_ppm, now_ns);
    billing->window_ns += ns;
    if (billing->window_ns < BILLING_WINDOW_MS * MS)
        return;
    close_window(units);
    billing->window_ns = 0;
}
