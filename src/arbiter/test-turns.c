// SPDX-License-Identifier: Apache-2.0

/*
 * What tenants get of a device with turns, beside what they get alone and natively, all in the same
 * model of the hardware (test-device.h). Its native figures are those that were measured on an
 * H100.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/test-bounds.h"
#include "arbiter/test-device.h"
#include "arbiter/turns.h"
#include "base/array.h"

enum { KINDS = 8, WARM_S = 3, MEASURED_S = 20 };

#define HEAVY(kernel, depth)                                      \
    {                                                             \
        .kernel_us = (kernel), .launch_us = 5, .n_depth = (depth) \
    }
#define WAITED(kernel, think)                                                                   \
    {                                                                                           \
        .kernel_us = (kernel), .launch_us = 5, .n_depth = 64, .n_batch = 1, .think_us = (think) \
    }
#define BIG   HEAVY(1400, 32)
#define SLOW  HEAVY(5700, 8)
#define LIGHT WAITED(79, 200)
#define SHORT WAITED(66, 0)
/* Host-bound: its queue is mostly empty when it is alone. */
#define LAUNCHING(kernel, launch, batch)                                                   \
    {                                                                                      \
        .kernel_us = (kernel), .launch_us = (launch), .n_depth = 1000, .n_batch = (batch), \
        .think_us = 50                                                                     \
    }
#define CNN           LAUNCHING(5, 15, 150)
#define DECODE        LAUNCHING(2, 14, 150)
#define DECODE_AHEAD  LAUNCHING(2, 14, 1500) /* waits for its results every tenth step */
#define SERVER(graph) WAITED(graph, 300)

#define ONE(what)         \
    {                     \
        .behaviour = what \
    }

struct result {
    double progress[KINDS]; /* rate by the rate alone */
    double busy[KINDS];     /* of the time */
    double progress_sum, busy_sum;
    uint32_t p99_us; /* of the first tenant */
    struct turns_state state;
};

static double measure_alone(const struct tenant_kind *kind)
{
    const struct tenant_kind alone = {.behaviour = kind->behaviour};
    struct device *device = device_new(&alone, 1, LIMITS_COMPUTE_NONE);
    double rate;

    device_run(device, S);
    device_forget(device);
    device_run(device, 3 * S);
    rate = tenant_rate(&device->tenants[0], 2 * S);
    device_free(device);
    return rate;
}

static void read_result(struct device *device, const struct tenant_kind *kinds, size_t n,
                        uint64_t ns, struct result *result)
{
    memset(result, 0, sizeof(*result));
    for (size_t i = 0; i < n; i++) {
        result->progress[i] = tenant_rate(&device->tenants[i], ns) / measure_alone(&kinds[i]);
        result->busy[i] = (double)device->tenants[i].busy_ns / (double)ns;
        result->progress_sum += result->progress[i];
        result->busy_sum += result->busy[i];
    }
    result->p99_us = tenant_percentile_us(&device->tenants[0], 99);
    if (device->turns)
        turns_state(device->turns, &result->state);
    assert_false(device->had_two_turns);
}

/* After the mix is known. */
static struct result play(const struct tenant_kind *kinds, size_t n, enum limits_compute mode)
{
    struct device *device = device_new(kinds, n, mode);
    struct result result;

    device_run(device, WARM_S * S);
    device_forget(device);
    device_run(device, (WARM_S + MEASURED_S) * S);
    read_result(device, kinds, n, MEASURED_S * S, &result);
    device_free(device);
    return result;
}

/* --- the model itself: what was measured natively --- */

static void test_model_is_like_the_hardware(void **state)
{
    static const struct {
        struct tenant_kind kinds[KINDS];
        size_t n;
        double least, most; /* progress in sum */
    } rows[] = {
        {{ONE(SHORT), ONE(SHORT), ONE(SHORT), ONE(SHORT)}, 4, 0.30, 0.42}, /* 0.34 */
        {{ONE(BIG), ONE(BIG), ONE(BIG), ONE(BIG)}, 4, 0.91, 0.95},         /* 0.94 */
        {{ONE(CNN), ONE(CNN), ONE(CNN), ONE(CNN)}, 4, 2.2, 2.8},           /* 2.2 to 2.8 */
        {{ONE(SERVER(1900)), ONE(SERVER(1900))}, 2, 1.04, 1.20},           /* 1.16 */
        {{ONE(DECODE), ONE(BIG), ONE(BIG), ONE(BIG)}, 4, 1.05, 1.27},      /* 1.21 */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct result native = play(rows[i].kinds, rows[i].n, LIMITS_COMPUTE_NONE);

        assert_at_least(native.progress_sum, rows[i].least);
        assert_at_most(native.progress_sum, rows[i].most);
    }
}

static void test_model_has_the_latency_of_the_hardware(void **state)
{
    static const struct tenant_kind kinds[] = {ONE(LIGHT), ONE(SLOW), ONE(SLOW), ONE(SLOW)};
    const struct result native = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_NONE);

    (void)state;
    assert_at_least(native.p99_us, 6300); /* 7.03 ms with kernels of 79 to 272 us */
    assert_at_most(native.p99_us, 7100);
}

/* --- alone --- */

static void test_who_is_alone_has_all_and_is_hardly_looked_at(void **state)
{
    static const struct tenant_kind kinds[] = {ONE(BIG), ONE(CNN), ONE(SHORT), ONE(SERVER(1900))};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct tenant_kind with_idle[] = {kinds[i], kinds[i], kinds[i], kinds[i]};
        struct device *device;
        struct result result;

        for (size_t k = 1; k < ARRAY_SIZE(with_idle); k++)
            with_idle[k].start_ms = 1000000;
        device = device_new(with_idle, ARRAY_SIZE(with_idle), LIMITS_COMPUTE_ELASTIC);
        device_run(device, 5 * S);
        device_forget(device);
        device_run(device, 10 * S);
        assert_at_most((double)device->n_runs / 5, 250);
        read_result(device, with_idle, ARRAY_SIZE(with_idle), 5 * S, &result);
        assert_at_least(result.progress[0], 0.99);
        assert_int_equal(result.state.plan, TURNS_FREE);
        device_free(device);
    }
}

static void test_an_idle_device_costs_nothing(void **state)
{
    static const struct tenant_kind kinds[] = {{.behaviour = BIG, .end_ms = 1000},
                                               {.behaviour = BIG, .end_ms = 1000}};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    device_run(device, 3 * S);
    device_forget(device);
    device_run(device, 13 * S);
    assert_at_most((double)device->n_runs / 10, 10);
    device_free(device);
}

/* --- light ones beside heavy ones --- */

static void test_light_ones_wait_for_one_slice(void **state)
{
    static const struct {
        struct tenant_kind kinds[KINDS];
        size_t n;
    } rows[] = {
        {{ONE(LIGHT), ONE(SLOW), ONE(SLOW), ONE(SLOW)}, 4},
        {{ONE(WAITED(272, 200)), ONE(SLOW), ONE(SLOW), ONE(SLOW)}, 4},
        {{ONE(LIGHT), ONE(SLOW), ONE(SLOW), ONE(SLOW), ONE(SLOW), ONE(SLOW), ONE(SLOW), ONE(SLOW)},
         8},
        {{ONE(LIGHT), ONE(BIG), ONE(BIG), ONE(BIG)}, 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct result native = play(rows[i].kinds, rows[i].n, LIMITS_COMPUTE_NONE);
        const struct result turns = play(rows[i].kinds, rows[i].n, LIMITS_COMPUTE_ELASTIC);

        assert_at_most(turns.p99_us, 2600);
        assert_at_least(turns.progress[0], 2.5 * native.progress[0]);
        /* Each of its kernels costs two switches, and three times as many run. */
        assert_at_least(turns.busy_sum, 0.93 * native.busy_sum);
        assert_at_least(turns.progress_sum, native.progress_sum);
    }
}

static void test_decode_beside_three_big_ones(void **state)
{
    static const struct tenant_kind waiting[] = {ONE(DECODE), ONE(BIG), ONE(BIG), ONE(BIG)};
    static const struct tenant_kind ahead[] = {ONE(DECODE_AHEAD), ONE(BIG), ONE(BIG), ONE(BIG)};
    const struct result native = play(waiting, ARRAY_SIZE(waiting), LIMITS_COMPUTE_NONE);
    const struct result turns = play(waiting, ARRAY_SIZE(waiting), LIMITS_COMPUTE_ELASTIC);
    const struct result bounded = play(ahead, ARRAY_SIZE(ahead), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    assert_at_least(turns.progress[0], 0.69);
    assert_at_least(turns.progress_sum, 1.25 * native.progress_sum);
    assert_at_least(bounded.progress[0], 0.85);
    assert_at_least(bounded.progress_sum - bounded.progress[0], 0.71);
}

static void test_two_training_loops_beside_two_big_ones(void **state)
{
    static const struct tenant_kind kinds[] = {ONE(CNN), ONE(CNN), ONE(BIG), ONE(BIG)};
    const struct result native = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_NONE);
    const struct result turns = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    assert_at_least(turns.progress_sum, 1.1 * native.progress_sum);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_at_least(turns.progress[i], 0.85 * fmin(native.progress[i], 0.25));
}

/* Light ones that run far ahead of the device fill their slices of it, each as long as a big one's.
 */
static void test_light_ones_with_much_to_do_leave_big_ones_their_shares(void **state)
{
    static const struct tenant_kind kinds[] = {ONE(LAUNCHING(7, 20, 0)), ONE(LAUNCHING(7, 20, 0)),
                                               ONE(BIG), ONE(BIG)};
    const struct result native = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_NONE);
    const struct result turns = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_at_least(turns.progress[i], 0.95 * fmin(native.progress[i], 0.25));
}

/* The same with long queues, which fill while all run free: a trial after that finds them. Light
 * ones are taken for heavy while nobody can be seen alone, and are not each time again. */
static void test_long_queues_are_no_reason_for_turns_that_are_unfair(void **state)
{
    static const struct tenant_kind kinds[] = {ONE(LAUNCHING(7, 20, 0)), ONE(LAUNCHING(7, 20, 0)),
                                               ONE(HEAVY(1400, 1000)), ONE(HEAVY(1400, 1000))};
    const struct result native = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_NONE);
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);
    struct result turns;

    (void)state;
    device_run(device, 25 * S);
    device_forget(device);
    device_run(device, 65 * S);
    read_result(device, kinds, ARRAY_SIZE(kinds), 40 * S, &turns);
    device_free(device);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_at_least(turns.progress[i], 0.9 * native.progress[i]);
}

/* What big ones have beyond their shares is the server's, which has more to gain by it. */
static void test_a_server_gains_what_big_ones_have_beyond_their_shares(void **state)
{
    static const struct tenant_kind kinds[] = {
        {.behaviour = SERVER(1900), .share_ppm = 500000},
        {.behaviour = BIG, .share_ppm = 200000},
        {.behaviour = BIG, .share_ppm = 200000},
    };
    const struct result native = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_NONE);
    const struct result turns = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    assert_at_least(turns.progress_sum, native.progress_sum);
    assert_at_least(turns.state.progress[TURNS_FREE], 0.95 * native.progress_sum);
    assert_at_most(turns.state.progress[TURNS_FREE], 1.05 * native.progress_sum);
    assert_at_least(turns.progress[0], 1.7 * native.progress[0]);
    assert_at_least(turns.progress[1], 0.95 * 0.2);
    assert_at_least(turns.progress[2], 0.95 * 0.2);
}

/* --- where turns do not help --- */

static void test_who_is_better_off_free_runs_free(void **state)
{
    static const struct {
        struct tenant_kind kinds[KINDS];
        size_t n;
    } rows[] = {
        {{ONE(CNN), ONE(CNN), ONE(CNN), ONE(CNN)}, 4},
        {{ONE(LAUNCHING(5, 15, 0)), ONE(LAUNCHING(5, 15, 0)), ONE(LAUNCHING(5, 15, 0))}, 3},
        {{ONE(SERVER(1900)), ONE(SERVER(1900))}, 2},
        {{ONE(SERVER(1900)), ONE(SERVER(1900)), ONE(SERVER(1900)), ONE(SERVER(1900))}, 4},
        {{ONE(SERVER(3100)), ONE(SERVER(3100))}, 2},
        {{ONE(SERVER(1900)), ONE(BIG), ONE(BIG)}, 3},
        /* Light ones that are a crowd now and then, as far as their duties tell. */
        {{ONE(WAITED(79, 300)), ONE(WAITED(79, 300)), ONE(WAITED(79, 300))}, 3},
        {{ONE(WAITED(300, 700)), ONE(WAITED(300, 700)), ONE(WAITED(300, 700))}, 3},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct result native = play(rows[i].kinds, rows[i].n, LIMITS_COMPUTE_NONE);
        const struct result turns = play(rows[i].kinds, rows[i].n, LIMITS_COMPUTE_ELASTIC);

        assert_at_least(turns.progress_sum, 0.95 * native.progress_sum);
        for (size_t k = 0; k < rows[i].n; k++)
            assert_at_least(turns.progress[k], 0.95 * native.progress[k]);
    }
}

/* Natively they have a third together. */
static void test_short_kernels_that_are_waited_for_take_turns(void **state)
{
    static const struct tenant_kind kinds[] = {ONE(SHORT), ONE(SHORT), ONE(SHORT), ONE(SHORT)};
    const struct result turns = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    assert_at_least(turns.progress_sum, 0.95);
    assert_int_equal(turns.state.plan, TURNS_GIVEN);
    assert_int_equal(turns.state.reason, TURNS_MEASURED);
    assert_at_least(turns.state.progress[TURNS_GIVEN], 2 * turns.state.progress[TURNS_FREE]);
}

/* Who is probed launches what is done by then: else each probe of several is longer than it is. */
static void test_the_end_of_a_probe_stays(void **state)
{
    static const struct tenant_kind kinds[] = {ONE(BIG), ONE(BIG), ONE(BIG), ONE(BIG)};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);
    size_t n_ends = 0, n_looks = 0;
    uint64_t end_ns = 0;

    (void)state;
    while (device->now_ns < S) {
        struct turns_state shown;

        device_run(device, device->now_ns + MS);
        turns_state(device->turns, &shown);
        for (size_t i = 0; shown.is_probing && i < ARRAY_SIZE(kinds); i++) {
            const struct turns_gate *gate = turns_gate(device->tenants[i].unit);

            if (gate->gate != LIMITS_GATE_TURN)
                continue;
            n_ends += gate->turn_end_ns != end_ns;
            end_ns = gate->turn_end_ns;
            n_looks++;
        }
    }
    assert_true(n_looks >= 40);
    assert_true(n_ends <= n_looks / 5);
    device_free(device);
}

/* --- shares --- */

/* The greatest error of a share of what all had, in windows of so long. */
static double get_share_error(struct device *device, double share, size_t tenant,
                              uint64_t window_ns, size_t n_windows)
{
    double worst = 0;

    for (size_t i = 0; i < n_windows; i++) {
        double sum = 0;

        device_forget(device);
        device_run(device, device->now_ns + window_ns);
        for (size_t k = 0; k < device->n_tenants; k++)
            sum += (double)device->tenants[k].busy_ns;
        worst = fmax(worst, fabs((double)device->tenants[tenant].busy_ns / sum / share - 1));
    }
    return worst;
}

static void test_shares_are_received(void **state)
{
    static const uint32_t kernels_us[] = {100, 1400, 5700};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kernels_us); i++)
        for (size_t tenant = 0; tenant < 4; tenant++) {
            const struct tenant_kind kinds[] = {
                {.behaviour = HEAVY(kernels_us[i], 8), .share_ppm = 100000},
                {.behaviour = HEAVY(kernels_us[i], 8), .share_ppm = 200000},
                {.behaviour = HEAVY(kernels_us[i], 8), .share_ppm = 300000},
                {.behaviour = HEAVY(kernels_us[i], 8), .share_ppm = 400000},
            };
            const double share = kinds[tenant].share_ppm / 1e6, kernel_s = kernels_us[i] / 1e6;
            struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

            device_run(device, 2 * S);
            assert_at_most(get_share_error(device, share, tenant, 10 * S, 2),
                           fmax(0.02, kernel_s / (share * 10)));
            assert_at_most(get_share_error(device, share, tenant, S, 10),
                           fmax(0.05, kernel_s / share));
            device_free(device);
        }
}

static void test_strict_is_a_cap_also_alone(void **state)
{
    static const struct tenant_kind rows[] = {
        {.behaviour = BIG, .share_ppm = 250000},
        {.behaviour = SLOW, .share_ppm = 250000},
        {.behaviour = SHORT, .share_ppm = 250000},
        {.behaviour = SERVER(1900), .share_ppm = 250000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct result strict = play(&rows[i], 1, LIMITS_COMPUTE_STRICT);
        const struct result elastic = play(&rows[i], 1, LIMITS_COMPUTE_ELASTIC);

        assert_at_least(strict.progress[0], 0.25 * 0.97);
        assert_at_most(strict.busy_sum, 0.25 * 1.03); /* a server may think while others run */
        assert_at_least(elastic.progress[0], 0.99);
    }
}

static void test_modes_are_live(void **state)
{
    static const struct tenant_kind kinds[] = {{.behaviour = BIG, .share_ppm = 250000}};
    static const struct {
        enum limits_compute mode;
        double least, most;
    } rows[] = {
        {LIMITS_COMPUTE_STRICT, 0.23, 0.27}, {LIMITS_COMPUTE_OBSERVE, 0.99, 1.01},
        {LIMITS_COMPUTE_STRICT, 0.23, 0.27}, {LIMITS_COMPUTE_ELASTIC, 0.99, 1.01},
        {LIMITS_COMPUTE_STRICT, 0.23, 0.27},
    };
    struct device *device = device_new(kinds, 1, LIMITS_COMPUTE_ELASTIC);
    struct result result;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        turns_set_mode(device->turns, rows[i].mode);
        device_run(device, device->now_ns + S);
        device_forget(device);
        device_run(device, device->now_ns + 4 * S);
        read_result(device, kinds, 1, 4 * S, &result);
        assert_at_least(result.progress[0], rows[i].least);
        assert_at_most(result.progress[0], rows[i].most);
    }
    device_free(device);
}

/* --- what changes --- */

static void test_who_was_alone_does_not_pay_for_it(void **state)
{
    static const struct tenant_kind kinds[] = {{.behaviour = BIG},
                                               {.behaviour = BIG, .start_ms = 10000}};
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    device_run(device, 10 * S);
    for (size_t i = 0; i < 5; i++) {
        device_forget(device);
        device_run(device, device->now_ns + S);
        assert_at_least((double)device->tenants[0].busy_ns, 0.45e9);
        assert_at_least((double)device->tenants[1].busy_ns, i ? 0.45e9 : 0.35e9);
        assert_at_most((double)device->tenants[0].longest_ns, 200e6);
    }
    device_free(device);
}

static void test_what_comes_and_goes_each_second(void **state)
{
    static const struct tenant_kind kinds[] = {
        {.behaviour = BIG, .on_ms = 1000, .off_ms = 1000}, {.behaviour = BIG}, {.behaviour = BIG}};
    const struct result native = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_NONE);
    const struct result turns = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);

    (void)state;
    assert_at_least(turns.busy_sum, 0.97 * native.busy_sum);
    assert_at_least(turns.progress[0], 0.155); /* a third of each second second */
    assert_at_most(turns.progress[0], 0.18);
}

static void test_light_and_heavy_each_second(void **state)
{
    static const struct tenant_kind kinds[] = {
        {.behaviour = LIGHT, .other = BIG}, ONE(BIG), ONE(BIG), ONE(BIG)};
    const struct result native = play(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_NONE);
    struct device *device = device_new(kinds, ARRAY_SIZE(kinds), LIMITS_COMPUTE_ELASTIC);
    size_t n_light = 0, n_heavy = 0;
    struct result turns;

    (void)state;
    device_run(device, WARM_S * S);
    device_forget(device);
    for (size_t i = 0; i < MEASURED_S; i++) {
        struct turns_view view;

        device_run(device, device->now_ns + S - 50 * MS);
        turns_view(device->tenants[0].unit, &view);
        n_light += view.weight == TURNS_LIGHT && device->now_ns / S % 2 == 0;
        n_heavy += view.weight >= TURNS_HEAVY && device->now_ns / S % 2 == 1;
        device_run(device, device->now_ns + 50 * MS);
    }
    read_result(device, kinds, ARRAY_SIZE(kinds), MEASURED_S * S, &turns);
    device_free(device);
    assert_true(n_light >= MEASURED_S / 2 - 1);
    assert_true(n_heavy >= MEASURED_S / 2 - 2);
    assert_at_least(turns.busy_sum, 0.94 * native.busy_sum);
    assert_at_least(turns.progress[0], 2 * native.progress[0]);
    for (size_t i = 1; i < ARRAY_SIZE(kinds); i++)
        assert_at_least(turns.progress[i], 0.17);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_is_like_the_hardware),
        cmocka_unit_test(test_model_has_the_latency_of_the_hardware),
        cmocka_unit_test(test_who_is_alone_has_all_and_is_hardly_looked_at),
        cmocka_unit_test(test_an_idle_device_costs_nothing),
        cmocka_unit_test(test_light_ones_wait_for_one_slice),
        cmocka_unit_test(test_decode_beside_three_big_ones),
        cmocka_unit_test(test_two_training_loops_beside_two_big_ones),
        cmocka_unit_test(test_light_ones_with_much_to_do_leave_big_ones_their_shares),
        cmocka_unit_test(test_long_queues_are_no_reason_for_turns_that_are_unfair),
        cmocka_unit_test(test_a_server_gains_what_big_ones_have_beyond_their_shares),
        cmocka_unit_test(test_who_is_better_off_free_runs_free),
        cmocka_unit_test(test_short_kernels_that_are_waited_for_take_turns),
        cmocka_unit_test(test_the_end_of_a_probe_stays),
        cmocka_unit_test(test_shares_are_received),
        cmocka_unit_test(test_strict_is_a_cap_also_alone),
        cmocka_unit_test(test_modes_are_live),
        cmocka_unit_test(test_who_was_alone_does_not_pay_for_it),
        cmocka_unit_test(test_what_comes_and_goes_each_second),
        cmocka_unit_test(test_light_and_heavy_each_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
