// SPDX-License-Identifier: Apache-2.0
#include "arbiter/trial.h"

#include <math.h>
#include <string.h>

#include "base/array.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

#define BETTER   (1 + TRIAL_BETTER_PPM / 1e6)
#define GAIN     (1 + TRIAL_GAIN_PPM / 1e6)
#define NO_WORSE 0.995 /* what rates vary by themselves */
#define FAIR     0.95  /* the same, of one unit, whose part of a phase is short */
#define FAIRLY   0.9   /* the same, where all together gain MUCH */
#define MUCH     1.2
#define LUCK     1.25 /* what turns that a phase had too few of may add to what a unit has */

static struct trial_outcome *find(struct trial *trial, uint64_t mix)
{
    for (size_t i = 0; i < TRIAL_MIXES; i++)
        if (trial->outcomes[i].mix == mix)
            return &trial->outcomes[i];
    return NULL;
}

const struct trial_outcome *trial_find(const struct trial *trial)
{
    for (size_t i = 0; i < TRIAL_MIXES; i++)
        if (trial->mix && trial->outcomes[i].mix == trial->mix)
            return &trial->outcomes[i];
    return NULL;
}

/* The one that was not needed for the longest time. */
static struct trial_outcome *make_room(struct trial *trial)
{
    struct trial_outcome *oldest = &trial->outcomes[0];

    for (size_t i = 1; i < TRIAL_MIXES; i++)
        if (trial->outcomes[i].used_ns < oldest->used_ns)
            oldest = &trial->outcomes[i];
    *oldest = (struct trial_outcome){.wait_ns = TRIAL_AGAIN_S * S};
    return oldest;
}

/* From the one with the least in flight to the one with the most: what the phase before has left
 * in the queues of programs is no more than what belongs there. */
static const enum turns_plan phases[] = {TURNS_BOUNDED, TURNS_FULL_BOUNDED, TURNS_GIVEN, TURNS_FULL,
                                         TURNS_FREE};

_Static_assert(ARRAY_SIZE(phases) == TURNS_N_PLANS, "each plan is tried");

/* The next one after that many. TURNS_N_PLANS: there is none. */
static size_t find_next_phase(const struct trial *trial, size_t n)
{
    while (n < ARRAY_SIZE(phases) && !trial->tries[phases[n]])
        n++;
    return n;
}

/* That one, or the next one to be tried. */
static int find_phase(const struct trial *trial, int phase)
{
    while (phase < TURNS_N_PLANS && !trial->tries[phase])
        phase++;
    return phase;
}

/* --- scores --- */

static double get_rate(const struct trial *trial, const struct turns_unit *unit, int plan)
{
    return trial->counted_ns[plan]
               ? (double)unit->n_tried[plan] * 1e9 / (double)trial->counted_ns[plan]
               : 0;
}

static double get_progress(const struct trial *trial, const struct turns_unit *unit, int plan)
{
    double best = unit->pace.alone_per_s;

    for (int i = 0; i < TURNS_N_PLANS; i++)
        best = fmax(best, get_rate(trial, unit, i));
    if (unit->in_turns_ns)
        best = fmax(best, (double)unit->n_in_turns * 1e9 / (double)unit->in_turns_ns);
    return best > 0 ? get_rate(trial, unit, plan) / best : 0;
}

/* Of the mix, and launches enough to be measured by: others have no say. */
static bool is_measured(const struct trial *trial, const struct turns_unit *unit)
{
    for (int i = 0; i < TURNS_N_PLANS; i++)
        if (trial->counted_ns[i] && unit->n_tried[i] < TRIAL_COMMANDS_LEAST)
            return false;
    return unit->is_active && unit_is_credible(unit, trial->now_ns);
}

static double get_score(const struct trial *trial, const struct turns_unit *units, int plan)
{
    double score = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        score += is_measured(trial, unit) ? get_progress(trial, unit, plan) : 0;
    return score;
}

/* How far a score may be off because a launch fell into the phase or did not. */
static double get_deviation(const struct trial *trial, const struct turns_unit *units, int plan)
{
    double sum = 0;

    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_measured(trial, unit))
            sum += pow(get_progress(trial, unit, plan) / (double)unit->n_tried[plan], 2);
    return sqrt(sum);
}

static double get_share(const struct turns_unit *unit)
{
    return unit->ration.share_ppm / 1e6;
}

static bool has_turns(const struct trial *trial, const struct turns_unit *unit, int plan)
{
    return !unit_is_excused(unit, trial->now_ns) &&
           unit_has_turns(unit, (enum turns_plan)plan, trial->is_crowd);
}

/* Its turns are all work. */
static bool fills_turns(const struct trial *trial, const struct turns_unit *unit, int plan)
{
    return is_measured(trial, unit) && has_turns(trial, unit, plan) && unit_is_full(unit);
}

/* Its progress in the long run: a phase has few turns, and not as many of each unit. What another
 * one claims to have done makes it little more. */
static double get_due(const struct trial *trial, const struct turns_unit *units,
                      const struct turns_unit *of, int plan)
{
    double sum = 0, shares = 0;

    if (!fills_turns(trial, of, plan))
        return get_progress(trial, of, plan);
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (fills_turns(trial, unit, plan)) {
            sum += get_progress(trial, unit, plan);
            shares += get_share(unit);
        }
    return fmin(sum * get_share(of) / shares, get_progress(trial, of, plan) * LUCK);
}

/* Each unit has this part of what it has with the plan without gating, or of its share. */
static bool is_fair(const struct trial *trial, const struct turns_unit *units, int before, int plan,
                    double part)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next) {
        const double native = get_progress(trial, unit, before);

        if (is_measured(trial, unit) &&
            get_due(trial, units, unit, plan) < part * fmin(native, get_share(unit)))
            return false;
    }
    return true;
}

/* Some unit is below its share with one plan, and nearer to it with another. */
static bool brings_up(const struct trial *trial, const struct turns_unit *units, int before,
                      int after)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next) {
        const double due = is_measured(trial, unit) ? get_due(trial, units, unit, before) : 1;

        if (due * BETTER < get_share(unit) && get_due(trial, units, unit, after) > due * BETTER)
            return true;
    }
    return false;
}

static bool is_sure(const struct trial *trial, const struct turns_unit *units, int before,
                    int after, const double *scores)
{
    const double deviation =
        fmax(get_deviation(trial, units, before), get_deviation(trial, units, after));

    return scores[before] > 0 && (deviation < scores[before] * TRIAL_BETTER_PPM / 1e6 ||
                                  fabs(scores[after] - scores[before]) > 2 * deviation);
}

/* Some unit that takes no turns then gains by what those who have them leave to it. */
static bool brings_on(const struct trial *trial, const struct turns_unit *units, int before,
                      int after)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_measured(trial, unit) && !has_turns(trial, unit, after) &&
            get_progress(trial, unit, after) > get_progress(trial, unit, before) * GAIN)
            return true;
    return false;
}

static bool is_better(const struct trial *trial, const struct turns_unit *units, int before,
                      int after, const double *scores)
{
    if (scores[after] >= scores[before] * BETTER)
        return true;
    return scores[after] >= scores[before] * NO_WORSE &&
           (brings_up(trial, units, before, after) ||
            (turns_plan_is_bounded((enum turns_plan)after) &&
             brings_on(trial, units, before, after)));
}

static bool may_replace(const struct trial *trial, const struct turns_unit *units, int first,
                        int best, int plan, const double *scores)
{
    const double part = scores[plan] >= scores[first] * MUCH ? FAIRLY : FAIR;

    return is_fair(trial, units, first, plan, part) && is_sure(trial, units, best, plan, scores) &&
           is_better(trial, units, best, plan, scores);
}

/* Some unit has less than that by more than commands that fell into a phase or did not. */
static bool is_surely_unfair(const struct trial *trial, const struct turns_unit *units, int before,
                             int plan)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next) {
        double more, less;

        if (!is_measured(trial, unit))
            continue;
        more = 1 + 2 / (double)unit->n_tried[plan];
        less = 1 - 2 / (double)unit->n_tried[before];
        if (get_due(trial, units, unit, plan) * more <
            FAIR * fmin(get_progress(trial, unit, before) * less, get_share(unit)))
            return true;
    }
    return false;
}

/* The best one; whether it is so is uncertain unless ret_is_decided. The first one that was tried
 * is what others have to be better than, and what is taken from nobody. */
static enum turns_plan choose(const struct trial *trial, const struct turns_unit *units,
                              enum turns_plan preset, const double *scores, bool *ret_is_decided)
{
    const int first = find_phase(trial, 0);
    int best = first;

    *ret_is_decided = true;
    if (first == TURNS_FREE && !is_sure(trial, units, first, TURNS_GIVEN, scores)) {
        *ret_is_decided = false;
        best = is_surely_unfair(trial, units, first, (int)preset) ? first : (int)preset;
    }
    for (int plan = find_phase(trial, first + 1); plan < TURNS_N_PLANS;
         plan = find_phase(trial, plan + 1))
        if (may_replace(trial, units, first, best, plan, scores))
            best = plan;
    return (enum turns_plan)best;
}

/* --- trials --- */

static bool is_choice(const struct trial_mix *mix)
{
    int n = 0;

    for (int i = 0; i < TURNS_N_PLANS; i++)
        n += mix->is_triable[i];
    return n > 1;
}

static void begin_phase(struct trial *trial, size_t n, uint64_t now_ns)
{
    trial->n_phase = n;
    trial->phase = phases[n];
    trial->phase_ns = now_ns;
}

static void begin(struct trial *trial, struct turns_unit *units, const struct trial_mix *mix,
                  uint64_t now_ns)
{
    for (struct turns_unit *unit = units; unit; unit = unit->next) {
        memset(unit->n_tried, 0, sizeof(unit->n_tried));
        unit->n_in_turns = unit->in_turns_ns = 0;
    }
    for (int i = 0; i < TURNS_N_PLANS; i++) {
        trial->counted_ns[i] = 0;
        trial->tries[i] = mix->is_triable[i] || (i == TURNS_FREE && mix->may_be_unfair);
    }
    trial->may_skip_free = !mix->is_triable[TURNS_FREE];
    trial->is_on = true;
    trial->is_mixed = false;
    trial->began_ns = now_ns;
    trial->n_trials++;
    begin_phase(trial, find_next_phase(trial, 0), now_ns);
}

static void drop(struct trial *trial, uint64_t now_ns)
{
    trial->is_on = false;
    trial->earliest_ns = now_ns + trial->pause_ns;
    trial->pause_ns *= 2;
    if (trial->pause_ns > TRIAL_PAUSE_MOST_MS * MS)
        trial->pause_ns = TRIAL_PAUSE_MOST_MS * MS;
}

static void conclude(struct trial *trial, const struct turns_unit *units,
                     const struct trial_mix *mix, uint64_t now_ns)
{
    struct trial_outcome *outcome = find(trial, mix->number);
    const enum turns_plan before = outcome ? outcome->plan : TURNS_N_PLANS;

    if (!outcome)
        outcome = make_room(trial);
    outcome->mix = mix->number;
    for (int i = 0; i < TURNS_N_PLANS; i++)
        outcome->scores[i] = get_score(trial, units, i);
    if (before != TURNS_FREE || !trial->is_mixed)
        outcome->plan = choose(trial, units, mix->preset, outcome->scores, &outcome->is_decided);
    outcome->wait_ns = outcome->plan == before ? outcome->wait_ns * 2 : TRIAL_AGAIN_S * S;
    if (outcome->wait_ns > TRIAL_AGAIN_MOST_S * S)
        outcome->wait_ns = TRIAL_AGAIN_MOST_S * S;
    outcome->decided_ns = outcome->used_ns = now_ns;
    outcome->again_ns = now_ns + outcome->wait_ns;
    trial->is_on = false;
    trial->pause_ns = TRIAL_PAUSE_MS * MS;
}

static bool have_done_enough(const struct turns_unit *units, int plan)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit->is_active && unit->n_tried[plan] < TRIAL_COMMANDS)
            return false;
    return true;
}

static bool has_leftovers(const struct turns_unit *units)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit->takes_turns && unit->has_leftover)
            return true;
    return false;
}

/* Of those that take turns now, some work that was launched before the trial. */
static bool has_earlier_work(const struct trial *trial, const struct turns_unit *units)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (unit_has_leftover(unit) && unit->leftover_ns <= trial->began_ns)
            return true;
    return false;
}

/* What was done during `ns` counts, unless the phase had only begun, or queues were as long as they
 * are without it. */
static void count(struct trial *trial, struct turns_unit *units, uint64_t ns, uint64_t now_ns)
{
    if (now_ns < trial->phase_ns + TRIAL_SETTLE_MS * MS ||
        (has_leftovers(units) && now_ns < trial->phase_ns + TRIAL_SETTLE_MOST_MS * MS))
        return;
    trial->is_mixed = trial->is_mixed || has_earlier_work(trial, units);
    trial->counted_ns[trial->phase] += ns;
    for (struct turns_unit *unit = units; unit; unit = unit->next) {
        unit->n_tried[trial->phase] += unit->n_newly_done;
        if (!unit->takes_turns || trial->phase != TURNS_GIVEN)
            continue;
        unit->n_in_turns += unit->n_newly_done;
        unit->in_turns_ns += unit->charged_ns;
    }
}

static bool is_phase_over(const struct trial *trial, const struct turns_unit *units)
{
    const uint64_t ns = trial->counted_ns[trial->phase];

    return ns >= TRIAL_PHASE_MOST_MS * MS ||
           (ns >= TRIAL_PHASE_MS * MS && have_done_enough(units, (int)trial->phase));
}

/* Whatever it would have without turns, it has what it is entitled to. */
static bool have_shares(const struct trial *trial, const struct turns_unit *units)
{
    for (const struct turns_unit *unit = units; unit; unit = unit->next)
        if (is_measured(trial, unit) && unit_is_full(unit) &&
            get_due(trial, units, unit, TURNS_GIVEN) < FAIR * get_share(unit))
            return false;
    return true;
}

/* Light ones wait longer while all run free, which is not done without need. */
static size_t find_next(struct trial *trial, const struct turns_unit *units)
{
    const size_t next = find_next_phase(trial, trial->n_phase + 1);

    if (next < ARRAY_SIZE(phases) && phases[next] == TURNS_FREE && trial->may_skip_free &&
        have_shares(trial, units)) {
        trial->tries[TURNS_FREE] = false;
        return find_next_phase(trial, next);
    }
    return next;
}

static void go_on(struct trial *trial, struct turns_unit *units, const struct trial_mix *mix,
                  uint64_t ns, uint64_t now_ns)
{
    size_t next;

    count(trial, units, ns, now_ns);
    if (!is_phase_over(trial, units))
        return;
    next = find_next(trial, units);
    if (next == TURNS_N_PLANS)
        conclude(trial, units, mix, now_ns);
    else
        begin_phase(trial, next, now_ns);
}

enum turns_plan trial_run(struct trial *trial, struct turns_unit *units,
                          const struct trial_mix *mix, uint64_t ns, uint64_t now_ns)
{
    struct trial_outcome *outcome;

    if (!trial->pause_ns)
        trial->pause_ns = TRIAL_PAUSE_MS * MS;
    if (mix->number != trial->mix && trial->is_on)
        drop(trial, now_ns);
    if (mix->number != trial->mix)
        trial->mix_ns = now_ns;
    trial->mix = mix->number;
    trial->is_crowd = mix->is_crowd;
    trial->now_ns = now_ns;
    if (trial->is_on)
        go_on(trial, units, mix, ns, now_ns);
    outcome = find(trial, mix->number);
    if (outcome)
        outcome->used_ns = now_ns;
    if (!trial->is_on && is_choice(mix) && !mix->is_deferred &&
        (!outcome || now_ns >= outcome->again_ns) &&
        now_ns >= trial->mix_ns + TRIAL_STEADY_MS * MS && now_ns >= trial->earliest_ns)
        begin(trial, units, mix, now_ns);
    if (trial->is_on)
        return trial->phase;
    return outcome && is_choice(mix) ? outcome->plan : mix->preset;
}
