// SPDX-License-Identifier: Apache-2.0
#include "arbiter/duty.h"

#define MS UINT64_C(1000000)

static uint32_t get_ppm(uint64_t part_ns, uint64_t ns)
{
    return ns ? (uint32_t)(part_ns * 1000000 / ns) : 0;
}

static void judge(struct duty *duty, uint32_t ppm)
{
    const bool was_heavy = duty->is_heavy;

    duty->ppm = ppm;
    duty->is_heavy = ppm >= (duty->is_heavy ? DUTY_LIGHT_PPM : DUTY_HEAVY_PPM);
    if (duty->is_heavy != was_heavy)
        duty->n_in_vain = 0;
    duty->is_judged = true;
    duty->is_presumed = false;
}

/* A mix of gaps and none is what some units always show. */
static uint32_t get_gaps_needed(const struct duty *duty)
{
    return (uint32_t)DUTY_GAPS << (duty->n_in_vain > DUTY_VAIN ? duty->n_in_vain - DUTY_VAIN : 0);
}

static void see(struct duty *duty, uint64_t ns, bool is_busy)
{
    uint32_t ppm;

    duty->seen_ns += ns;
    duty->seen_busy_ns += is_busy ? ns : 0;
    duty->n_seen++;
    if (duty->seen_ns < DUTY_SEEN_MS * MS || duty->n_seen < DUTY_SEEN_LOOKS)
        return;
    ppm = get_ppm(duty->seen_busy_ns, duty->seen_ns);
    duty->seems_busy = ppm >= DUTY_HEAVY_PPM;
    if (ppm < DUTY_LIGHT_PPM)
        judge(duty, ppm);
    if (duty->seen_busy_ns == duty->seen_ns && duty->n_with_gaps >= get_gaps_needed(duty))
        duty->has_changed = true;
    duty->n_with_gaps = duty->seen_busy_ns == duty->seen_ns ? 0 : duty->n_with_gaps + 1;
    duty->seen_ns = duty->seen_busy_ns = duty->n_seen = 0;
}

void duty_pass(struct duty *duty, uint64_t ns, bool is_busy, bool is_clean)
{
    if (ns > DUTY_LOOK_MS * MS)
        ns = DUTY_LOOK_MS * MS;
    see(duty, ns, is_busy);
    if (!is_clean)
        return;
    duty->clean_ns += ns;
    duty->busy_ns += is_busy ? ns : 0;
    duty->n_clean++;
    if (duty->clean_ns < DUTY_CLEAN_MS * MS || duty->n_clean < DUTY_CLEAN_LOOKS)
        return;
    judge(duty, get_ppm(duty->busy_ns, duty->clean_ns));
    duty_begin(duty);
}

void duty_begin(struct duty *duty)
{
    duty->clean_ns = duty->busy_ns = duty->n_clean = 0;
}

void duty_presume(struct duty *duty)
{
    judge(duty, 1000000);
    duty->is_presumed = true;
    duty_begin(duty);
}

bool duty_judge(struct duty *duty)
{
    const bool is_enough = duty->clean_ns >= DUTY_PROBED_MS * MS;

    if (is_enough)
        judge(duty, get_ppm(duty->busy_ns, duty->clean_ns));
    duty_begin(duty);
    return is_enough;
}

bool duty_is_suspicious(const struct duty *duty)
{
    return duty->is_presumed || (duty->seems_busy && !(duty->is_judged && duty->is_heavy));
}
