// SPDX-License-Identifier: Apache-2.0

/*
 * Turns among tenants that do not end, vanish, stop, lie or claim nonsense, and among many random
 * ones: others go on.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/test-device.h"
#include "arbiter/turns.h"
#include "base/array.h"

#define HEAVY(kernel, depth)                                      \
    {                                                             \
        .kernel_us = (kernel), .launch_us = 5, .n_depth = (depth) \
    }
#define WAITED(kernel, think)                                                                   \
    {                                                                                           \
        .kernel_us = (kernel), .launch_us = 5, .n_depth = 64, .n_batch = 1, .think_us = (think) \
    }
#define BIG HEAVY(1400, 32)

enum { LONGEST_MS = 200 };

static struct turns_view view(const struct device *device, size_t tenant)
{
    struct turns_view shown;

    turns_view(device->tenants[tenant].unit, &shown);
    return shown;
}

static double busy(const struct device *device, size_t tenant, uint64_t ns)
{
    return (double)device->tenants[tenant].busy_ns / (double)ns;
}

/* --- those that do not end --- */

static void test_a_kernel_that_does_not_end_is_excused_and_charged(void **state)
{
    static const struct tenant_kind kinds[] = {
        {.behaviour = WAITED(1000000, 0)}, {.behaviour = BIG}, {.behaviour = BIG}};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);
    bool was_overdue = false;

    (void)state;
    for (size_t i = 0; i < 150; i++) {
        device_run(device, device->now_ns + 100 * MS);
        was_overdue = was_overdue || view(device, 0).is_overdue;
    }
    assert_true(view(device, 0).n_overdue > 0);
    assert_true(view(device, 0).received_ns > 2 * S);
    for (size_t i = 1; i < ARRAY_SIZE(kinds); i++) {
        assert_true(device->tenants[i].longest_ns < LONGEST_MS * MS);
        assert_true(busy(device, i, 15 * S) > 0.2);
    }
    assert_true(device->tenants[0].n_done >= 3);
    assert_false(device->had_two_turns);
    device_free(device);
}

/* Claims by hand: the unit has work in flight forever. */
static void test_three_drains_that_take_too_long_excuse(void **state)
{
    const struct turns_terms terms = {.share_ppm = 500000};
    struct turns *turns = turns_new();
    struct turns_unit *units[2];
    struct turns_sample samples[2] = {{.is_in_flight = true}, {.is_in_flight = true}};
    struct turns_view shown;
    uint64_t now_ns = S;
    size_t n_excused = 0, n_overdue = 0;

    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(turns_add(turns, &terms, &units[i]), 0);
    turns_set_mode(turns, LIMITS_COMPUTE_ELASTIC);
    while (now_ns < 5 * S) {
        for (size_t i = 0; i < 2; i++) {
            samples[i].n_launched++;
            samples[i].n_waiting = turns_gate(units[i])->gate == LIMITS_GATE_CLOSED;
            turns_sample(units[i], &samples[i]);
        }
        now_ns = turns_run(turns, now_ns);
    }
    for (size_t i = 0; i < 2; i++) {
        turns_view(units[i], &shown);
        n_excused += shown.is_overdue;
        n_overdue += shown.n_overdue;
        assert_int_equal(turns_gate(units[i])->gate, LIMITS_GATE_OPEN);
    }
    assert_true(n_overdue >= 3);
    assert_true(n_excused > 0); /* and then there is nobody to take turns with */
    for (size_t i = 0; i < 2; i++)
        turns_remove(units[i]);
    turns_free(turns);
}

/* Two by hand, that keep the device busy while they may launch, and whose work is done at once. The
 * first one claims for some time that what it launched in its turn goes on, and rests for a second
 * then, until it is excused. */
struct pair {
    struct turns *turns;
    struct turns_unit *units[2];
    struct turns_sample samples[2];
    uint64_t now_ns, rest_ns, n_overdue;
    bool is_slow, is_nonsense;
};

static bool pair_is_closed(const struct pair *pair, size_t i)
{
    return turns_gate(pair->units[i])->gate == LIMITS_GATE_CLOSED;
}

static struct turns_view pair_view(const struct pair *pair)
{
    struct turns_view shown;

    turns_view(pair->units[0], &shown);
    return shown;
}

static void pair_claim(struct pair *pair, size_t i)
{
    struct turns_sample *sample = &pair->samples[i];
    const bool is_closed = pair_is_closed(pair, i), is_slow = i == 0 && pair->is_slow,
               is_resting = is_slow && pair->now_ns < pair->rest_ns;

    if (!is_closed && !is_resting) /* more at once than anybody can launch */
        sample->n_launched += i == 0 && pair->is_nonsense ? 1000000 : 1;
    sample->n_done = sample->n_launched;
    sample->n_waiting = is_closed && !is_resting;
    sample->is_in_flight = !is_resting && (is_slow ? pair_is_closed(pair, 1) : !is_closed);
    turns_sample(pair->units[i], sample);
}

/* Whether the first one is excused. */
static bool pair_step(struct pair *pair)
{
    struct turns_view shown;

    for (size_t i = 0; i < 2; i++)
        pair_claim(pair, i);
    pair->now_ns = turns_run(pair->turns, pair->now_ns);
    shown = pair_view(pair);
    if (shown.n_overdue != pair->n_overdue)
        pair->rest_ns = pair->now_ns + S;
    pair->n_overdue = shown.n_overdue;
    return shown.is_overdue;
}

/* Both are known to be heavy, and take turns. */
static struct pair pair_new(uint32_t share_ppm)
{
    const struct turns_terms terms[] = {{.share_ppm = share_ppm},
                                        {.share_ppm = 1000000 - share_ppm}};
    struct pair pair = {.turns = turns_new(), .now_ns = S};

    for (size_t i = 0; i < 2; i++)
        assert_int_equal(turns_add(pair.turns, &terms[i], &pair.units[i]), 0);
    turns_set_mode(pair.turns, LIMITS_COMPUTE_ELASTIC);
    while (pair_view(&pair).n_turns < 100)
        pair_step(&pair);
    return pair;
}

static void pair_free(struct pair *pair)
{
    for (size_t i = 0; i < 2; i++)
        turns_remove(pair->units[i]);
    turns_free(pair->turns);
}

/* How long the next excuse is, in seconds; it has to come within some. */
static uint64_t pair_excuse(struct pair *pair)
{
    const uint64_t until_ns = pair->now_ns + 20 * S;
    uint64_t began_ns;

    pair->is_slow = true;
    while (!pair_step(pair))
        assert_true(pair->now_ns < until_ns);
    began_ns = pair->now_ns;
    pair->is_slow = false;
    while (pair_step(pair))
        ;
    return (pair->now_ns - began_ns + S / 2) / S;
}

static void test_excuses_are_longer_each_time_until_it_took_turns_for_long(void **state)
{
    struct pair pair = pair_new(500000);
    uint64_t until_ns;

    (void)state;
    for (size_t round = 0; round < 2; round++) {
        assert_int_equal(pair_excuse(&pair), 10);
        assert_int_equal(pair_excuse(&pair), 20);
        assert_int_equal(pair_excuse(&pair), 40);
        assert_int_equal(pair_excuse(&pair), 60);
        assert_int_equal(pair_excuse(&pair), 60);
        until_ns = pair.now_ns + 61 * S;
        while (pair.now_ns < until_ns)
            assert_false(pair_step(&pair));
    }
    pair_free(&pair);
}

/* What the first one receives in that time. */
static uint64_t pair_receive(struct pair *pair, uint64_t ns)
{
    const uint64_t until_ns = pair->now_ns + ns, received_ns = pair_view(pair).received_ns;

    while (pair->now_ns < until_ns)
        pair_step(pair);
    return pair_view(pair).received_ns - received_ns;
}

/* Half of the device, whatever its share is: it pays for that afterwards, as far as anybody owes
 * anything. */
static void test_what_was_had_during_an_excuse_is_owed(void **state)
{
    struct pair pair = pair_new(200000);
    uint64_t received_ns;

    (void)state;
    received_ns = pair_view(&pair).received_ns;
    assert_int_equal(pair_excuse(&pair), 10);
    received_ns = pair_view(&pair).received_ns - received_ns;
    assert_true(received_ns > 4 * S);
    assert_true(pair_receive(&pair, 700 * MS) < 40 * MS);
    assert_in_range(pair_receive(&pair, 2 * S), 300 * MS, 500 * MS);
    pair_free(&pair);
}

/* Half of the device, too, which is less than its share: nobody starves for that. */
static void test_what_an_excused_one_has_not_had_is_not_owed_to_it(void **state)
{
    struct pair pair = pair_new(800000);

    (void)state;
    assert_int_equal(pair_excuse(&pair), 10);
    assert_in_range(pair_receive(&pair, 500 * MS), 360 * MS, 440 * MS);
    pair_free(&pair);
}

static void test_nonsense_is_excused_for_a_moment(void **state)
{
    struct pair pair = pair_new(500000);

    (void)state;
    assert_int_equal(pair_excuse(&pair), 10);
    pair.is_nonsense = true;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(pair_excuse(&pair), 2);
    pair_free(&pair);
}

/* Claims by hand, too: the first ones have work in flight whatever happens, but for a moment now
 * and then; what the others launch is done half a millisecond later. Returns the part of the time
 * in which the others could not use the device. */
enum { ENDLESS = 2, ENDLESS_UNITS = 4 };

static double idle_beside_endless(uint64_t blink_ns)
{
    const struct turns_terms terms = {.share_ppm = 1000000 / ENDLESS_UNITS};
    struct turns *turns = turns_new();
    struct turns_unit *units[ENDLESS_UNITS];
    struct turns_sample samples[ENDLESS_UNITS] = {0};
    uint64_t now_ns = S, last_ns = S, idle_ns = 0, done_ns[ENDLESS_UNITS] = {0};

    for (size_t i = 0; i < ENDLESS_UNITS; i++)
        assert_int_equal(turns_add(turns, &terms, &units[i]), 0);
    turns_set_mode(turns, LIMITS_COMPUTE_ELASTIC);
    for (; now_ns < 61 * S; now_ns = turns_run(turns, now_ns)) {
        bool is_used = false;

        for (size_t i = 0; i < ENDLESS_UNITS; i++) {
            const struct turns_gate *gate = turns_gate(units[i]);
            const bool is_closed = gate->gate == LIMITS_GATE_CLOSED ||
                                   (gate->gate == LIMITS_GATE_TURN && now_ns >= gate->turn_end_ns);

            samples[i].n_launched += i < ENDLESS || !is_closed;
            samples[i].n_done = samples[i].n_launched;
            samples[i].n_waiting = is_closed;
            done_ns[i] = is_closed ? done_ns[i] : now_ns + MS / 2;
            samples[i].is_in_flight =
                i < ENDLESS ? now_ns % blink_ns > 300 * US : now_ns < done_ns[i];
            is_used = is_used || (i >= ENDLESS && samples[i].is_in_flight);
            turns_sample(units[i], &samples[i]);
        }
        idle_ns += now_ns > 11 * S && !is_used ? now_ns - last_ns : 0;
        last_ns = now_ns;
    }
    for (size_t i = 0; i < ENDLESS_UNITS; i++)
        turns_remove(units[i]);
    turns_free(turns);
    return (double)idle_ns / (50.0 * S);
}

static void test_several_that_never_end_cost_others_little(void **state)
{
    static const uint64_t blinks_ns[] = {50 * MS, 76 * MS, 110 * MS, S, 1000 * S};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(blinks_ns); i++)
        assert_true(idle_beside_endless(blinks_ns[i]) < 0.12);
}

/* Up to three seconds are queued when turns begin, and nobody is to blame for them. */
static void test_long_queues_end_and_turns_follow(void **state)
{
    static const struct tenant_kind kinds[] = {
        {.behaviour = HEAVY(1400, 1000)}, {.behaviour = HEAVY(1400, 1000)}, {.behaviour = BIG}};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    while (device->now_ns < 20 * S) {
        device_run(device, device->now_ns + 100 * MS);
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            assert_false(view(device, i).is_overdue);
        if (device->now_ns == 10 * S)
            device_forget(device);
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        assert_true(view(device, i).n_turns > 100);
        assert_true(busy(device, i, 10 * S) > 0.32);
    }
    device_free(device);
}

/* The time of those who have the turn meanwhile is not theirs alone. */
static void test_what_is_left_of_long_kernels_is_paid_for(void **state)
{
    static const struct tenant_kind kinds[] = {{.behaviour = HEAVY(50000, 8)},
                                               {.behaviour = BIG},
                                               {.behaviour = HEAVY(100, 1000)},
                                               {.behaviour = BIG},
                                               {.behaviour = HEAVY(50000, 2)}};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    device_run(device, 10 * S);
    device_forget(device);
    device_run(device, 20 * S);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_true(busy(device, i, 10 * S) > 0.17);
    device_free(device);
}

/* When patience for others' work is used up, one kernel takes longer than what is left of it. */
static void test_who_is_hurried_is_not_excused(void **state)
{
    (void)state;
    for (uint32_t offset_ms = 0; offset_ms < 200; offset_ms += 7) {
        const struct tenant_kind kinds[] = {
            {.behaviour = HEAVY(5700, 8), .share_ppm = 100000},
            {.behaviour = HEAVY(5700, 8), .share_ppm = 200000},
            {.behaviour = HEAVY(5700, 8), .share_ppm = 300000},
            {.behaviour = HEAVY(5700, 8), .share_ppm = 400000, .start_ms = offset_ms},
        };
        struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

        while (device->now_ns < 5 * S) {
            device_run(device, device->now_ns + 100 * MS);
            for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                assert_false(view(device, i).is_overdue);
        }
        device_free(device);
    }
}

/* All others are held meanwhile. */
static double get_probed(const struct tenant_kind *kinds, size_t n)
{
    struct device *device = device_new(kinds, n, LIMITS_COMPUTE_ELASTIC);
    size_t n_probed = 0, n_looks = 0;

    for (; n_looks < 60000; n_looks++) {
        struct turns_state shown;

        device_run(device, device->now_ns + MS);
        turns_state(device->turns, &shown);
        n_probed += shown.is_probing;
    }
    device_free(device);
    return (double)n_probed / (double)n_looks;
}

static void test_probes_take_little_time(void **state)
{
    static const struct behaviour endless = HEAVY(1000000000, 1), long_queue = HEAVY(1400, 1000),
                                  light = WAITED(79, 200), big = BIG,
                                  launching = {.kernel_us = 7, .launch_us = 20, .n_depth = 1000};
    const struct {
        struct tenant_kind kinds[8];
        size_t n;
    } rows[] = {
        {{{.behaviour = endless}, {.behaviour = endless}, {.behaviour = big}, {.behaviour = light}},
         4},
        {{{.behaviour = long_queue},
          {.behaviour = long_queue},
          {.behaviour = long_queue},
          {.behaviour = long_queue},
          {.behaviour = long_queue},
          {.behaviour = long_queue},
          {.behaviour = long_queue},
          {.behaviour = light}},
         8},
        {{{.behaviour = long_queue}, {.behaviour = launching}, {.behaviour = launching}}, 3},
        {{{.behaviour = light}, {.behaviour = big}, {.behaviour = big}, {.is_garbage = true}}, 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_true(get_probed(rows[i].kinds, rows[i].n) < 0.02);
}

/* --- those that go away --- */

static void test_others_go_on_when_one_goes_away(void **state)
{
    static const struct {
        struct tenant_kind gone;
    } rows[] = {
        {{.behaviour = BIG, .removed_ms = 5000}},
        {{.behaviour = BIG, .stops_ms = 5000}},
        {{.behaviour = HEAVY(50000, 4), .stops_ms = 5000}},
        {{.behaviour = HEAVY(50000, 4), .removed_ms = 5000}},
        {{.behaviour = WAITED(66, 0), .stops_ms = 5000, .removed_ms = 7000}},
        {{.behaviour = WAITED(79, 200), .removed_ms = 5000}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (uint32_t offset_ms = 0; offset_ms < 20; offset_ms += 3) {
            struct tenant_kind kinds[] = {rows[i].gone, {.behaviour = BIG}, {.behaviour = BIG}};
            struct device *device;

            kinds[0].stops_ms += kinds[0].stops_ms ? offset_ms : 0;
            kinds[0].removed_ms += kinds[0].removed_ms ? offset_ms : 0;
            device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);
            device_run(device, 5 * S);
            device_forget(device);
            device_run(device, 8 * S);
            for (size_t k = 1; k < ARRAY_SIZE(kinds); k++) {
                assert_true(device->tenants[k].longest_ns < LONGEST_MS * MS);
                assert_true(busy(device, k, 3 * S) > 0.4);
            }
            device_free(device);
        }
}

/* --- those that claim what is not so --- */

static void test_nonsense_costs_others_little(void **state)
{
    enum { GARBAGE_MOST = 6 };

    (void)state;
    for (size_t n = 1; n <= GARBAGE_MOST; n++) {
        struct tenant_kind kinds[GARBAGE_MOST + 2] = {{.behaviour = BIG}, {.behaviour = BIG}};
        struct device *device;

        for (size_t i = 0; i < n; i++)
            kinds[2 + i] = (struct tenant_kind){.is_garbage = true, .start_ms = 3000};
        device = device_new(kinds, n + 2, LIMITS_COMPUTE_ELASTIC);
        device_run(device, 3 * S);
        device_forget(device);
        device_run(device, 23 * S);
        for (size_t i = 0; i < 2; i++) {
            assert_true(device->tenants[i].longest_ns < LONGEST_MS * MS);
            assert_true(busy(device, i, 20 * S) > 0.3);
        }
        assert_false(device->had_two_turns);
        device_free(device);
    }
}

/* It launches through any gate, and says nothing. */
static void test_a_liar_is_named(void **state)
{
    static const struct tenant_kind kinds[] = {
        {.behaviour = BIG, .is_lying = true, .start_ms = 8000, .end_ms = 20000},
        {.behaviour = BIG},
        {.behaviour = WAITED(66, 0)},
        {.behaviour = BIG}};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);
    uint64_t named_ns = 0;

    (void)state;
    while (device->now_ns < 18 * S) {
        device_run(device, device->now_ns + 100 * MS);
        for (size_t i = 1; i < ARRAY_SIZE(kinds); i++)
            assert_false(view(device, i).is_suspect);
        if (view(device, 0).is_suspect && !named_ns)
            named_ns = device->now_ns;
    }
    assert_true(named_ns > 8 * S);
    assert_true(named_ns < 18 * S);
    device_run(device, 25 * S);
    assert_false(view(device, 0).is_suspect);
    device_free(device);
}

static void test_who_is_idle_is_no_liar(void **state)
{
    static const struct tenant_kind kinds[] = {
        {.behaviour = BIG, .start_ms = 1000000},
        {.behaviour = BIG, .other = HEAVY(5700, 8)}, /* it changes what it does, by itself */
        {.behaviour = BIG},
        {.behaviour = WAITED(79, 200), .other = WAITED(270, 200)}};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    while (device->now_ns < 30 * S) {
        device_run(device, device->now_ns + 100 * MS);
        assert_false(view(device, 0).is_suspect);
    }
    device_free(device);
}

/* One by hand, alone: it launches ten commands each millisecond, and of some its processes never
 * say that they are done, as when a process ends or a stream does. */
enum { UNCLAIMED_PER_MS = 10 };

struct unclaimed {
    struct turns *turns;
    struct turns_unit *unit;
    struct turns_sample sample;
    uint64_t now_ns;
};

static struct unclaimed unclaimed_new(void)
{
    const struct turns_terms terms = {.share_ppm = 500000};
    struct unclaimed one = {.turns = turns_new(), .now_ns = S};

    assert_int_equal(turns_add(one.turns, &terms, &one.unit), 0);
    turns_set_mode(one.turns, LIMITS_COMPUTE_ELASTIC);
    return one;
}

/* Returns how many a second it seems to have done. */
static double unclaimed_run(struct unclaimed *one, uint64_t ms, uint64_t n_claimed, bool is_idle)
{
    struct turns_view shown;

    for (uint64_t i = 0; i < ms; i++) {
        one->now_ns += MS;
        one->sample.n_launched += UNCLAIMED_PER_MS;
        one->sample.n_done += n_claimed;
        one->sample.n_passed += n_claimed;
        one->sample.is_in_flight = !is_idle || i % 50 != 1;
        turns_sample(one->unit, &one->sample);
        turns_run(one->turns, one->now_ns);
    }
    turns_view(one->unit, &shown);
    return shown.alone_per_s;
}

static void unclaimed_free(struct unclaimed *one)
{
    turns_remove(one->unit);
    turns_free(one->turns);
}

static void test_what_is_never_claimed_is_not_done_at_once(void **state)
{
    struct unclaimed one = unclaimed_new();

    (void)state;
    unclaimed_run(&one, 60000, UNCLAIMED_PER_MS / 2, false);
    assert_true(unclaimed_run(&one, 300, UNCLAIMED_PER_MS, true) < 4000 * UNCLAIMED_PER_MS);
    unclaimed_free(&one);
}

static void test_what_was_never_claimed_hides_nothing_later(void **state)
{
    struct unclaimed one = unclaimed_new();

    (void)state;
    unclaimed_run(&one, 60000, UNCLAIMED_PER_MS / 2, true);
    assert_true(unclaimed_run(&one, 10000, UNCLAIMED_PER_MS, false) > 900 * UNCLAIMED_PER_MS);
    unclaimed_free(&one);
}

/* --- any --- */

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static struct tenant_kind make_random(uint64_t *seed)
{
    static const struct behaviour behaviours[] = {
        BIG,
        HEAVY(100, 32),
        HEAVY(5700, 8),
        HEAVY(20000, 2),
        WAITED(66, 0),
        WAITED(79, 200),
        WAITED(1900, 300),
        WAITED(270, 20000),
        {.kernel_us = 5, .launch_us = 15, .n_depth = 1000, .n_batch = 150, .think_us = 20},
    };
    struct tenant_kind kind = {.behaviour = behaviours[next_random(seed) % ARRAY_SIZE(behaviours)]};

    kind.share_ppm = 50000 + (uint32_t)(next_random(seed) % 450000);
    if (next_random(seed) % 3 == 0)
        kind.other = behaviours[next_random(seed) % ARRAY_SIZE(behaviours)];
    if (next_random(seed) % 3 == 0) {
        kind.on_ms = 1 + (uint32_t)(next_random(seed) % 1000);
        kind.off_ms = 1 + (uint32_t)(next_random(seed) % 1000);
    }
    kind.start_ms = next_random(seed) % 2 ? (uint32_t)(next_random(seed) % 2000) : 0;
    if (next_random(seed) % 6 == 0)
        kind.removed_ms = 1 + (uint32_t)(next_random(seed) % 4000);
    else if (next_random(seed) % 6 == 0)
        kind.stops_ms = 1 + (uint32_t)(next_random(seed) % 4000);
    kind.is_garbage = next_random(seed) % 8 == 0;
    return kind;
}

static void test_random_tenants_never_block_each_other(void **state)
{
    enum { ROUNDS = 120, MOST = 8 };

    (void)state;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        struct tenant_kind kinds[MOST];
        uint64_t seed = round;
        const size_t n = 2 + next_random(&seed) % (MOST - 1);
        struct device *device;

        for (size_t i = 0; i < n; i++)
            kinds[i] = make_random(&seed);
        device = device_new(kinds, n, LIMITS_COMPUTE_ELASTIC);
        device_run(device, 4 * S);
        if (device->longest_ns >= LONGEST_MS * MS ||
            device->now_ns - device->progress_ns >= LONGEST_MS * MS)
            fail_msg("round %u: %u ms without a command", (unsigned)round,
                     (unsigned)(device->longest_ns / MS));
        assert_false(device->had_two_turns);
        device_free(device);
    }
}

/* Samples and times of any kind: no more than one turn, ever, and a next time that lies ahead. */
static void test_random_claims(void **state)
{
    enum { UNITS = 12, RUNS = 20000 };
    struct turns *turns = turns_new();
    struct turns_unit *units[UNITS] = {0};
    uint64_t seed = 1, now_ns = 1;

    (void)state;
    for (size_t run = 0; run < RUNS; run++) {
        const size_t one = next_random(&seed) % UNITS;
        const struct turns_terms terms = {.share_ppm = 1 + (uint32_t)next_random(&seed) % 1000000};
        size_t n_turns = 0;

        if (!units[one]) {
            assert_int_equal(turns_add(turns, &terms, &units[one]), 0);
        } else if (next_random(&seed) % 200 == 0) {
            turns_remove(units[one]);
            units[one] = NULL;
        }
        if (next_random(&seed) % 1000 == 0)
            turns_set_mode(turns, next_random(&seed) % 4);
        for (size_t i = 0; i < UNITS; i++)
            if (units[i] && next_random(&seed) % 4) {
                const struct turns_sample sample = {
                    .n_launched = next_random(&seed) << (next_random(&seed) % 34),
                    .n_done = next_random(&seed) << (next_random(&seed) % 34),
                    .n_passed = next_random(&seed) % 2,
                    .waited_ns = next_random(&seed) << (next_random(&seed) % 34),
                    .n_waiting = (uint32_t)(next_random(&seed) % 3),
                    .is_in_flight = next_random(&seed) % 4 != 0,
                };

                turns_sample(units[i], &sample);
            }
        now_ns += next_random(&seed) % 8 ? next_random(&seed) % (2 * MS)
                                         : next_random(&seed) << (next_random(&seed) % 16);
        if (next_random(&seed) % 100 == 0)
            now_ns -= now_ns / 3;
        assert_true(turns_run(turns, now_ns) > now_ns);
        for (size_t i = 0; i < UNITS; i++)
            n_turns += units[i] && turns_gate(units[i])->gate == LIMITS_GATE_TURN;
        assert_true(n_turns <= 1);
    }
    for (size_t i = 0; i < UNITS; i++)
        if (units[i])
            turns_remove(units[i]);
    turns_free(turns);
}

static void test_units_are_bounded(void **state)
{
    const struct turns_terms terms = {.share_ppm = 1000};
    struct turns *turns = turns_new();
    struct turns_unit *units[TURNS_UNITS_MAX], *more;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        assert_int_equal(turns_add(turns, &terms, &units[i]), 0);
    assert_int_equal(turns_add(turns, &terms, &more), -ENOSPC);
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        turns_remove(units[i]);
    turns_free(turns);
    turns_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_kernel_that_does_not_end_is_excused_and_charged),
        cmocka_unit_test(test_three_drains_that_take_too_long_excuse),
        cmocka_unit_test(test_excuses_are_longer_each_time_until_it_took_turns_for_long),
        cmocka_unit_test(test_what_was_had_during_an_excuse_is_owed),
        cmocka_unit_test(test_what_an_excused_one_has_not_had_is_not_owed_to_it),
        cmocka_unit_test(test_nonsense_is_excused_for_a_moment),
        cmocka_unit_test(test_several_that_never_end_cost_others_little),
        cmocka_unit_test(test_long_queues_end_and_turns_follow),
        cmocka_unit_test(test_what_is_left_of_long_kernels_is_paid_for),
        cmocka_unit_test(test_who_is_hurried_is_not_excused),
        cmocka_unit_test(test_probes_take_little_time),
        cmocka_unit_test(test_others_go_on_when_one_goes_away),
        cmocka_unit_test(test_nonsense_costs_others_little),
        cmocka_unit_test(test_a_liar_is_named),
        cmocka_unit_test(test_who_is_idle_is_no_liar),
        cmocka_unit_test(test_what_is_never_claimed_is_not_done_at_once),
        cmocka_unit_test(test_what_was_never_claimed_hides_nothing_later),
        cmocka_unit_test(test_random_tenants_never_block_each_other),
        cmocka_unit_test(test_random_claims),
        cmocka_unit_test(test_units_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
