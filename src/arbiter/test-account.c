// SPDX-License-Identifier: Apache-2.0

/* What the processes of a container are charged: by tables, and by many random requests. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arbiter/account.h"
#include "base/array.h"

#define MIB (UINT64_C(1) << 20)

enum { LIMIT_MIB = 4096, CONTEXT_MIB = 500 };

static struct account *make(size_t n_devices)
{
    struct account *account = account_new(n_devices);

    assert_non_null(account);
    for (size_t i = 0; i < n_devices; i++) {
        account->devices[i].limit_bytes = LIMIT_MIB * MIB;
        account->devices[i].context_bytes = CONTEXT_MIB * MIB;
    }
    return account;
}

static struct account_process *connect_process(struct account *account, uint32_t pid,
                                               uint64_t now_ms)
{
    struct account_process *process = NULL;

    assert_int_equal(account_register(account, pid, now_ms, &process), 0);
    return process;
}

static uint64_t charged(const struct account *account)
{
    assert_int_equal(account->devices[0].charged_bytes % MIB, 0);
    return account->devices[0].charged_bytes / MIB;
}

static uint64_t overhead(const struct account *account)
{
    return account->devices[0].overhead_bytes / MIB;
}

/* What the driver shows of one process, in MiB. */
static void read_one(struct account *account, uint64_t began_ms, uint32_t pid, uint64_t mebibytes)
{
    const bool is_read[] = {true, true};

    account_begin_reading(account, began_ms);
    if (pid)
        assert_int_equal(account_show(account, pid, 0, mebibytes * MIB), 0);
    account_end_reading(account, is_read);
}

/* --- requests --- */

enum step { RESERVE, RELEASE, CHARGE, ENTER, ENTERED, LEFT };

static void test_requests_one_after_another(void **state)
{
    static const struct {
        enum step step;
        uint64_t mib, wanted_mib;
        enum limits_mode mode;
        int outcome;
        uint64_t granted_mib, charged_mib, n_denied;
    } rows[] = {
        {RESERVE, 1000, 1000, LIMITS_ENFORCED, 0, 1000, 1000, 0},
        {RESERVE, 4, 16, LIMITS_ENFORCED, 0, 16, 1016, 0},
        {RESERVE, 3081, 3081, LIMITS_ENFORCED, ACCOUNT_DENIED, 3080, 1016, 1},
        {RESERVE, 3081, 3081, LIMITS_OBSERVE, 0, 3081, 4097, 2},
        {RELEASE, 3081, 0, LIMITS_ENFORCED, 0, 0, 1016, 2},
        {RESERVE, 3081, 3081, LIMITS_NONE, 0, 3081, 4097, 2},
        {RESERVE, 1, 1, LIMITS_ENFORCED, ACCOUNT_DENIED, 0, 4097, 3},
        {RELEASE, 3081, 0, LIMITS_ENFORCED, 0, 0, 1016, 3},
        {RESERVE, 3080, 3090, LIMITS_ENFORCED, 0, 3080, 4096, 3},
        {RELEASE, 3000, 0, LIMITS_ENFORCED, 0, 0, 1096, 3},
        {RELEASE, 99999, 0, LIMITS_ENFORCED, 0, 0, 0, 3}, /* a lie gains nothing more */
        {CHARGE, 5000, 0, LIMITS_ENFORCED, 0, 0, 5000, 3},
        {ENTER, 0, 0, LIMITS_ENFORCED, ACCOUNT_DENIED, 0, 5000, 4},
        {RELEASE, 5000, 0, LIMITS_ENFORCED, 0, 0, 0, 4},
        {ENTER, 0, 0, LIMITS_ENFORCED, 0, CONTEXT_MIB, CONTEXT_MIB, 4},
        {ENTERED, 0, 0, LIMITS_ENFORCED, 0, 0, CONTEXT_MIB, 4},
        {ENTER, 0, 0, LIMITS_ENFORCED, 0, CONTEXT_MIB, UINT64_C(2) * CONTEXT_MIB, 4},
        {LEFT, 0, 0, LIMITS_ENFORCED, 0, 0, CONTEXT_MIB, 4},
        {LEFT, 0, 0, LIMITS_ENFORCED, 0, 0, 0, 4},
        {LEFT, 0, 0, LIMITS_ENFORCED, 0, 0, 0, 4},
        {ENTERED, 0, 0, LIMITS_ENFORCED, 0, 0, 0, 4},
    };
    struct account *account = make(2);
    struct account_process *process = connect_process(account, 7, 0);

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t granted = 0;
        int r = 0;

        switch (rows[i].step) {
        case RESERVE:
            r = account_reserve(account, process, 0, rows[i].mib * MIB, rows[i].wanted_mib * MIB,
                                rows[i].mode, &granted);
            break;
        case RELEASE:
            account_release(account, process, 0, rows[i].mib * MIB);
            break;
        case CHARGE:
            account_charge(account, process, 0, rows[i].mib * MIB);
            break;
        case ENTER:
            r = account_enter(account, process, 0, rows[i].mode, &granted);
            break;
        case ENTERED:
            account_entered(account, process, 0, 0);
            break;
        case LEFT:
            account_left(account, process, 0);
            break;
        }
        if (r != rows[i].outcome || granted != rows[i].granted_mib * MIB ||
            charged(account) != rows[i].charged_mib ||
            account->devices[0].n_denied != rows[i].n_denied)
            fail_msg("row %zu: outcome %d, granted %ju MiB, charged %ju MiB, denied %ju", i, r,
                     (uintmax_t)(granted / MIB), (uintmax_t)charged(account),
                     (uintmax_t)account->devices[0].n_denied);
    }
    assert_int_equal(account->devices[0].peak_bytes, 5000 * MIB);
    assert_int_equal(account->devices[1].charged_bytes, 0);
    account_free(account);
}

static void test_near_the_limit_a_credit_leaves_something_for_others(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    assert_int_equal(
        account_reserve(account, process, 0, 4056 * MIB, 4056 * MIB, LIMITS_ENFORCED, &granted), 0);
    assert_int_equal(
        account_reserve(account, process, 0, 1 * MIB, 32 * MIB, LIMITS_ENFORCED, &granted), 0);
    assert_in_range(granted, 1 * MIB, 11 * MIB);
    account_free(account);
}

static void test_absurd_sizes_overflow_nothing(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    account->devices[0].limit_bytes = 0;
    for (int i = 0; i < 3; i++) {
        account_charge(account, process, 0, UINT64_MAX);
        assert_int_equal(account->devices[0].charged_bytes, ACCOUNT_BYTES_MAX);
    }
    assert_int_equal(
        account_reserve(account, process, 0, UINT64_MAX, UINT64_MAX, LIMITS_NONE, &granted),
        ACCOUNT_DENIED);
    assert_int_equal(account_reserve(account, process, 0, 1, UINT64_MAX, LIMITS_NONE, &granted),
                     ACCOUNT_DENIED);
    for (int i = 0; i < 20000; i++) { /* what is kept of it adds up to no more */
        account_disconnect(account, process, 0);
        process = connect_process(account, 1, 0);
        assert_int_equal(
            account_reserve(account, process, 0, ACCOUNT_BYTES_MAX, 0, LIMITS_NONE, &granted), 0);
        assert_in_range(account->devices[0].charged_bytes, ACCOUNT_BYTES_MAX,
                        2 * ACCOUNT_BYTES_MAX);
    }
    read_one(account, 1000, 1, UINT64_MAX / MIB);
    account_free(account);
}

/* --- readings --- */

static void test_a_context_costs_a_figure_until_it_was_read(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    account_enter(account, process, 0, LIMITS_ENFORCED, &granted);
    read_one(account, 1000, 1, 100); /* half of it is there */
    assert_int_equal(charged(account), CONTEXT_MIB);
    account_entered(account, process, 0, 1500);
    read_one(account, 1400, 1, 100); /* asked before it was created */
    assert_int_equal(charged(account), CONTEXT_MIB);
    read_one(account, 2000, 1, 420);
    assert_int_equal(charged(account), 420);
    assert_int_equal(account->devices[0].measured_context_bytes, 420 * MIB);
    read_one(account, 3000, 1, 560); /* a module was loaded */
    assert_int_equal(charged(account), 560);
    assert_int_equal(overhead(account), 560);
    account_free(account);
}

/* The driver shows at once what was freed, and the process tells it a moment later. */
static void test_what_is_freed_during_a_reading_takes_no_context_along(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    account_enter(account, process, 0, LIMITS_ENFORCED, &granted);
    account_entered(account, process, 0, 10);
    account_reserve(account, process, 0, 100 * MIB, 100 * MIB, LIMITS_ENFORCED, &granted);
    account_hear(account, process, 0, 100 * MIB, 20);
    read_one(account, 1000, 1, 100 + 420);
    read_one(account, 2000, 1, 100 + 420);
    assert_int_equal(charged(account), 100 + 420);
    read_one(account, 3000, 1, 420);
    account_hear(account, process, 0, 0, 3001);
    account_release(account, process, 0, 100 * MIB);
    assert_int_equal(charged(account), 420);
    account_free(account);
}

/* A reading of a process that allocates and frees meanwhile says little of its context. */
static void test_a_busy_process_keeps_the_figure_of_its_context(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    account_enter(account, process, 0, LIMITS_ENFORCED, &granted);
    account_entered(account, process, 0, 100);
    account_begin_reading(account, 1000);
    account_reserve(account, process, 0, 1000 * MIB, 1000 * MIB, LIMITS_ENFORCED, &granted);
    account_hear(account, process, 0, 1000 * MIB, 1001);
    account_release(account, process, 0, 1000 * MIB);
    account_hear(account, process, 0, 0, 1002);
    account_show(account, 1, 0, 420 * MIB); /* before it took them */
    account_end_reading(account, (bool[]){true});
    assert_int_equal(charged(account), CONTEXT_MIB);
    assert_int_equal(account->devices[0].measured_context_bytes, 0);
    read_one(account, 3000, 1, 420);
    assert_int_equal(charged(account), 420);
    account_free(account);
}

/* What it allocates with its reservation is no overhead, at whatever moment the driver is asked. */
static void test_allocations_are_charged_once(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    account_reserve(account, process, 0, 1000 * MIB, 1000 * MIB, LIMITS_ENFORCED, &granted);
    read_one(account, 100, 1, 300); /* before the driver has given it */
    assert_int_equal(charged(account), 1000);
    read_one(account, 1000, 1, 1300);
    assert_int_equal(charged(account), 1300);
    account_begin_reading(account, 2000); /* the driver is asked, then it frees ... */
    account_hear(account, process, 0, 0, 2005);
    account_release(account, process, 0, 1000 * MIB);
    account_show(account, 1, 0, 1300 * MIB);
    account_end_reading(account, (bool[]){true}); /* ... then the answer is here */
    assert_int_equal(charged(account), 300);
    account_free(account);
}

static void test_overhead_goes_up_at_once_and_down_when_nothing_was_sent(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    const bool is_read[] = {true};

    read_one(account, 1000, 1, 600);
    assert_int_equal(charged(account), 600);
    account_hear(account, process, 0, 0, 1900);
    read_one(account, 2000, 1, 400); /* it spoke just before */
    assert_int_equal(charged(account), 600);
    account_begin_reading(account, 3000);
    account_hear(account, process, 0, 0, 3010);
    account_show(account, 1, 0, 400 * MIB);
    account_end_reading(account, is_read);
    assert_int_equal(charged(account), 600);
    read_one(account, 4000, 1, 400);
    assert_int_equal(charged(account), 600);
    read_one(account, 5000, 1, 400); /* nothing was on its way then */
    assert_int_equal(charged(account), 400);
    read_one(account, 6000, 0, 0);
    assert_int_equal(charged(account), 400);
    read_one(account, 7000, 0, 0);
    assert_int_equal(charged(account), 0);
    account_free(account);
}

static void test_a_liar_is_charged_what_the_driver_shows(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    account_reserve(account, process, 0, 4000 * MIB, 4000 * MIB, LIMITS_ENFORCED, &granted);
    account_release(account, process, 0, 4000 * MIB); /* and keeps it */
    account_hear(account, process, 0, UINT64_MAX, 0); /* and says that all of it is reserved */
    read_one(account, 1000, 1, 4000);
    assert_int_equal(charged(account), 4000);
    assert_int_equal(
        account_reserve(account, process, 0, 97 * MIB, 97 * MIB, LIMITS_ENFORCED, &granted),
        ACCOUNT_DENIED);
    account_free(account);
}

static void test_a_device_that_was_not_read_changes_nothing(void **state)
{
    struct account *account = make(1);
    const bool is_read[] = {false}, is_read_again[] = {true};

    connect_process(account, 1, 0);
    read_one(account, 1000, 1, 600);
    account_begin_reading(account, 2000);
    account_end_reading(account, is_read);
    assert_int_equal(charged(account), 600);
    account_begin_reading(account, 3000);
    account_show(account, 1, 0, UINT64_MAX); /* not told */
    account_end_reading(account, is_read_again);
    assert_int_equal(charged(account), 600);
    account_free(account);
}

/* --- processes --- */

static void test_processes_race_for_the_last_bytes(void **state)
{
    struct account *account = make(1);
    uint64_t granted, sum = 0;
    size_t n_denied = 0;

    for (uint32_t pid = 1; pid <= 100; pid++) {
        struct account_process *process = connect_process(account, pid, 0);

        if (account_reserve(account, process, 0, 100 * MIB, 100 * MIB, LIMITS_ENFORCED, &granted) ==
            0)
            sum += granted;
        else
            n_denied++;
    }
    assert_int_equal(sum, 4000 * MIB);
    assert_int_equal(n_denied, 60);
    assert_int_equal(account->devices[0].n_denied, 60);
    while (account->processes)
        account_end(account, account->processes);
    assert_int_equal(charged(account), 0);
    assert_int_equal(account->n_processes, 0);
    account_free(account);
}

static void test_who_disconnects_stays_charged_until_read(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 1, 0);
    uint64_t granted;

    account_reserve(account, process, 0, 3000 * MIB, 3000 * MIB, LIMITS_ENFORCED, &granted);
    read_one(account, 1000, 1, 3400);
    account_disconnect(account, process, 1500);
    assert_int_equal(charged(account), 3400);
    read_one(account, 1400, 1, 3000); /* asked before */
    assert_int_equal(charged(account), 3400);
    process = connect_process(account, 1, 1700);
    account_charge(account, process, 0, 3000 * MIB);
    assert_int_equal(charged(account), 3400); /* the same bytes, not once more */
    assert_int_equal(overhead(account), 400);
    account_charge(account, process, 0, 500 * MIB);
    assert_int_equal(charged(account), 3500); /* what no reading had shown */
    account_disconnect(account, process, 1800);
    read_one(account, 2500, 0, 0);
    assert_int_equal(charged(account), 0);
    assert_int_equal(account->n_processes, 0);
    account_free(account);
}

static void test_who_never_connected_is_charged_as_well(void **state)
{
    struct account *account = make(1);
    struct account_process *process;

    read_one(account, 1000, 9, 900);
    assert_int_equal(charged(account), 900);
    assert_int_equal(account->n_processes, 1);
    assert_int_equal(account->n_registered, 0);
    process = connect_process(account, 9, 1500); /* the arbiter was restarted */
    account_charge(account, process, 0, 400 * MIB);
    assert_int_equal(charged(account), 900);
    assert_int_equal(account->n_registered, 1);
    account_end(account, process);
    read_one(account, 3000, 10, 700);
    read_one(account, 4000, 0, 0);
    assert_int_equal(account->n_processes, 0);
    account_free(account);
}

static void test_a_process_connects_once(void **state)
{
    struct account *account = make(1);
    struct account_process *process;

    for (uint32_t pid = 1; pid <= ACCOUNT_PROCESSES_MAX; pid++)
        connect_process(account, pid, 0);
    assert_int_equal(account_register(account, 1, 0, &process), -EEXIST);
    assert_int_equal(account_register(account, 5000, 0, &process), -ENOSPC);
    assert_int_equal(account_show(account, 5000, 0, 1), -ENOSPC);
    account_free(account);
}

/* --- who takes no part in turns --- */

static void expect_contexts(const struct account *account, size_t device, size_t n_processes,
                            size_t n_without_turns)
{
    const struct account_contexts contexts = account_count_contexts(account, device);

    assert_int_equal(contexts.n_processes, n_processes);
    assert_int_equal(contexts.n_without_turns, n_without_turns);
}

static void test_who_has_a_context_is_what_the_last_reading_shows(void **state)
{
    struct account *account = make(2);
    const bool both[] = {true, true}, second[] = {false, true};
    struct account_process *able = connect_process(account, 1, 0);
    uint64_t granted;

    able->takes_turns = true;
    connect_process(account, 2, 0);
    account_reserve(account, able, 0, MIB, MIB, LIMITS_ENFORCED, &granted);
    expect_contexts(account, 0, 0, 0); /* connected, and nothing else is known */
    account_begin_reading(account, 1000);
    for (uint32_t pid = 1; pid <= 3; pid++)
        account_show(account, pid, 0, 600 * MIB);
    account_show(account, 3, 1, UINT64_MAX); /* not told how much */
    expect_contexts(account, 0, 0, 0);
    account_end_reading(account, both);
    expect_contexts(account, 0, 3, 2);
    expect_contexts(account, 1, 1, 1);
    account_disconnect(account, able, 1500);
    account_begin_reading(account, 2000);
    expect_contexts(account, 0, 3, 2); /* what is read now is not known yet */
    account_end_reading(account, second);
    expect_contexts(account, 0, 3, 2); /* it was not read */
    expect_contexts(account, 1, 0, 0);
    read_one(account, 3000, 2, 600);
    expect_contexts(account, 0, 1, 1);
    account_free(account);
}

/* --- any sequence of requests --- */

static void check(const struct account *account, bool is_enforced)
{
    for (size_t device = 0; device < account->n_devices; device++) {
        const struct account_device *of = &account->devices[device];
        uint64_t sum = 0, reserved = 0;

        for (const struct account_process *p = account->processes; p; p = p->next) {
            sum += p->uses[device].charged_bytes;
            reserved += p->uses[device].reserved_bytes;
            assert_true(p->uses[device].charged_bytes >= p->uses[device].reserved_bytes);
        }
        assert_int_equal(of->charged_bytes, sum);
        assert_true(of->charged_bytes >= reserved + of->overhead_bytes ||
                    of->charged_bytes == reserved + of->overhead_bytes);
        assert_true(of->peak_bytes >= of->charged_bytes);
        if (is_enforced)
            assert_true(of->charged_bytes <= of->limit_bytes);
    }
}

static void do_any(struct account *account, struct account_process *process, uint64_t now_ms)
{
    const size_t device = (size_t)rand() % 2;
    const uint64_t bytes = (uint64_t)(rand() % 600) * MIB;
    uint64_t granted = UINT64_MAX;

    account_hear(account, process, device, (uint64_t)(rand() % 2000) * MIB, now_ms);
    switch (rand() % 6) {
    case 0:
    case 1:
        if (account_reserve(account, process, device, bytes, bytes + 16 * MIB, LIMITS_ENFORCED,
                            &granted) == 0)
            assert_in_range(granted, bytes, bytes + 16 * MIB);
        else
            assert_true(granted < bytes);
        break;
    case 2:
        account_release(account, process, device, bytes);
        break;
    case 3:
        account_enter(account, process, device, LIMITS_ENFORCED, &granted);
        break;
    case 4:
        account_entered(account, process, device, now_ms);
        break;
    default:
        account_left(account, process, device);
    }
}

/* Without readings that show more: what was granted stays within the limit. */
/* --- what the driver takes by itself --- */

static int grew(struct account *account, struct account_process *process, uint64_t mib,
                uint64_t now_ms)
{
    uint64_t reading = 0;
    const int r =
        account_grew(account, process, 0, mib * MIB, 0, LIMITS_ENFORCED, now_ms, &reading);

    assert_int_equal(reading, r == ACCOUNT_DENIED ? account->n_begun + 1 : 0);
    return r;
}

/* The guess holds until a reading that began later, whatever the answer was. */
static void test_growth_is_a_guess_until_it_is_read(void **state)
{
    static const struct {
        uint64_t guess_mib, began_ms, shown_mib;
        int outcome;
        uint64_t charged_mib; /* after the reading */
        uint64_t n_denied;    /* what a neighbour took was denied to nobody */
    } rows[] = {
        {64, 1300, 564, 0, 564}, /* as reported */
        {64, 1300, 500, 0, 500}, /* a neighbour's */
        {64, 900, 500, 0, 564},  /* it began before */
        {64, 1100, 600, 0, 600}, /* more than reported */
        {9000, 1300, 4564, ACCOUNT_DENIED, 4564, 1},
        {9000, 1300, 600, ACCOUNT_DENIED, 600}, /* most was a neighbour's */
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct account *account = make(1);
        struct account_process *process = connect_process(account, 7, 0);

        read_one(account, 500, 7, 500);
        assert_int_equal(grew(account, process, rows[i].guess_mib, 1000), rows[i].outcome);
        assert_int_equal(charged(account), 500 + rows[i].guess_mib);
        read_one(account, rows[i].began_ms, 7, rows[i].shown_mib);
        assert_int_equal(charged(account), rows[i].charged_mib);
        assert_int_equal(account->devices[0].n_denied, rows[i].n_denied);
        account_shrank(account, process, 0, rows[i].guess_mib * MIB);
        assert_int_equal(account->devices[0].n_denied, rows[i].n_denied);
        account_free(account);
    }
    (void)state;
}

/* It is not charged, so that nothing is denied to others of the container; the reading is. */
static void test_growth_that_is_suspected_is_not_charged(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 7, 0);
    struct account_process *other = connect_process(account, 8, 0);
    uint64_t reading, bytes;

    (void)state;
    read_one(account, 500, 7, 500);
    assert_int_equal(
        account_grew(account, process, 0, 64 * MIB, 9000 * MIB, LIMITS_ENFORCED, 1000, &reading),
        ACCOUNT_DENIED);
    assert_int_equal(reading, account->n_begun + 1);
    assert_int_equal(charged(account), 564);
    assert_int_equal(account_reserve(account, other, 0, MIB, MIB, LIMITS_ENFORCED, &bytes), 0);
    account_release(account, other, 0, MIB);
    read_one(account, 1300, 7, 4564);
    assert_int_equal(charged(account), 4564);
    assert_int_equal(account->devices[0].n_denied, 1);
    assert_int_equal(account_grew(account, process, 0, 0, 0, LIMITS_ENFORCED, 1400, &reading), 0);
    account_free(account);
}

/* While the first context is awaited as well; what a context costs is not learned from both. */
static void test_growth_beside_a_new_context(void **state)
{
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 7, 0);
    uint64_t bytes;

    (void)state;
    assert_int_equal(account_enter(account, process, 0, LIMITS_ENFORCED, &bytes), 0);
    account_entered(account, process, 0, 10);
    assert_int_equal(grew(account, process, 64, 20), 0);
    assert_int_equal(charged(account), CONTEXT_MIB + 64);
    read_one(account, 500, 7, CONTEXT_MIB + 70);
    assert_int_equal(charged(account), CONTEXT_MIB + 70);
    assert_int_equal(account->devices[0].measured_context_bytes, 0);
    account_free(account);
}

/* A reading that was on its way does not bring it back, and a later one tells the truth. */
static void test_what_shrank_is_free_at_once(void **state)
{
    const bool is_read[] = {true};
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 7, 0);

    (void)state;
    assert_int_equal(grew(account, process, 64, 0), 0);
    read_one(account, 500, 7, 564);
    account_begin_reading(account, 1000);
    account_hear(account, process, 0, 0, 1010);
    account_shrank(account, process, 0, 64 * MIB);
    assert_int_equal(charged(account), 500);
    assert_int_equal(account_show(account, 7, 0, 564 * MIB), 0);
    account_end_reading(account, is_read);
    assert_int_equal(charged(account), 500);
    account_shrank(account, process, 0, 9999 * MIB); /* a lie */
    assert_int_equal(charged(account), 0);
    read_one(account, 2000, 7, 500);
    assert_int_equal(charged(account), 500);
    account_free(account);
}

/* Who says to have loaded and unloaded a module during each reading, and has it. */
static void test_a_reading_is_not_talked_away_twice(void **state)
{
    const bool is_read[] = {true};
    struct account *account = make(1);
    struct account_process *process = connect_process(account, 7, 0);

    (void)state;
    read_one(account, 500, 7, 400);
    for (uint64_t began_ms = 1000; began_ms < 5000; began_ms += 1000) {
        const uint64_t before = charged(account);

        account_begin_reading(account, began_ms);
        account_hear(account, process, 0, 0, began_ms + 10);
        grew(account, process, 400, began_ms + 10);
        account_shrank(account, process, 0, 9999 * MIB);
        assert_int_equal(account_show(account, 7, 0, 400 * MIB), 0);
        account_end_reading(account, is_read);
        assert_true(before == 400 || charged(account) == 400);
    }
    account_free(account);
}

static void test_requests_alone_never_exceed_the_limit(void **state)
{
    struct account *account = make(2);
    struct account_process *processes[8];

    srand(12);
    for (uint32_t i = 0; i < ARRAY_SIZE(processes); i++)
        processes[i] = connect_process(account, i + 1, 0);
    for (uint64_t now_ms = 0; now_ms < 20000; now_ms++) {
        const size_t i = (size_t)rand() % ARRAY_SIZE(processes);

        if (rand() % 50 == 0) {
            account_end(account, processes[i]);
            processes[i] = connect_process(account, (uint32_t)i + 1, now_ms);
        }
        do_any(account, processes[i], now_ms);
        check(account, true);
    }
    account_free(account);
}

/* After a reading no process is charged less than it shows, nor than it has reserved. */
static void test_no_reading_is_charged_less(void **state)
{
    struct account *account = make(2);
    const bool is_read[] = {true, true};
    uint64_t shown[9];

    srand(13);
    for (uint32_t pid = 1; pid <= 8; pid++)
        connect_process(account, pid, 0);
    for (uint64_t now_ms = 0; now_ms < 5000; now_ms++) {
        account_begin_reading(account, now_ms);
        for (uint32_t pid = 1; pid <= 8; pid++) {
            shown[pid] = (uint64_t)(rand() % 3000) * MIB;
            assert_int_equal(account_show(account, pid, 0, shown[pid]), 0);
        }
        account_end_reading(account, is_read);
        check(account, false);
        for (uint32_t pid = 1; pid <= 8; pid++)
            assert_true(account_find(account, pid)->uses[0].charged_bytes >= shown[pid]);
        for (int i = 0; i < 5; i++)
            do_any(account, account_find(account, (uint32_t)(rand() % 8) + 1), now_ms);
        check(account, false);
    }
    account_free(account);
}

/* Whatever is free; it lasts as long as it is set, and needs limits. */
static void test_who_is_starved_gets_nothing_more(void **state)
{
    struct account *account = account_new(1);
    struct account_process *process;
    uint64_t bytes = 1;

    (void)state;
    account->devices[0].limit_bytes = 1000 * MIB;
    assert_int_equal(account_register(account, 1, 0, &process), 0);
    assert_int_equal(account_reserve(account, process, 0, MIB, MIB, LIMITS_ENFORCED, &bytes), 0);
    account->is_starved = true;
    assert_int_equal(account_reserve(account, process, 0, 1, MIB, LIMITS_ENFORCED, &bytes),
                     ACCOUNT_DENIED);
    assert_int_equal(bytes, 0);
    account->devices[0].context_bytes = MIB;
    assert_int_equal(account_enter(account, process, 0, LIMITS_ENFORCED, &bytes), ACCOUNT_DENIED);
    assert_int_equal(account->devices[0].charged_bytes, MIB);
    assert_int_equal(account_reserve(account, process, 0, MIB, MIB, LIMITS_OBSERVE, &bytes), 0);
    account_release(account, process, 0, MIB);
    account->is_starved = false;
    assert_int_equal(account_reserve(account, process, 0, MIB, MIB, LIMITS_ENFORCED, &bytes), 0);
    account_free(account);
}

/* What the driver shows and what is charged, side by side. */
static void test_the_gap_between_driver_and_account(void **state)
{
    static const bool is_read[] = {true};
    struct account *account = account_new(1);
    struct account_process *process;
    uint64_t bytes;

    (void)state;
    account->devices[0].limit_bytes = 1000 * MIB;
    assert_false(account->devices[0].has_gap);
    assert_int_equal(account_register(account, 1, 0, &process), 0);
    account_hear(account, process, 0, 0, 1);
    assert_int_equal(
        account_reserve(account, process, 0, 40 * MIB, 40 * MIB, LIMITS_ENFORCED, &bytes), 0);
    account_begin_reading(account, 1000);
    assert_int_equal(account_show(account, 1, 0, 10 * MIB), 0);
    account_end_reading(account, is_read);
    assert_true(account->devices[0].has_gap);
    assert_true(account->devices[0].gap_bytes == -30 * (int64_t)MIB); /* not in use yet */
    account_begin_reading(account, 2000);
    assert_int_equal(account_show(account, 1, 0, 70 * MIB), 0);
    assert_int_equal(account_show(account, 2, 0, 5 * MIB), 0); /* which never connected */
    account_end_reading(account, is_read);
    assert_true(account->devices[0].gap_bytes == 0); /* all of it is charged */
    account_begin_reading(account, 3000);
    account_release(account, process, 0, 40 * MIB);
    assert_int_equal(account_show(account, 1, 0, 70 * MIB), 0);
    assert_int_equal(account_show(account, 2, 0, UINT64_MAX), 0);
    account_end_reading(account, is_read);
    assert_false(account->devices[0].has_gap);
    account_free(account);
}

/* Whatever the charge goes down by: for others on the device that is memory that became free. */
static void test_what_was_returned_is_counted(void **state)
{
    struct account *account = make(2);
    struct account_process *process = connect_process(account, 7, 0);
    uint64_t returned = 0;

    (void)state;
    account->devices[0].returned_bytes = &returned;
    account_charge(account, process, 0, 100 * MIB);
    assert_int_equal(returned, 0);
    account_release(account, process, 0, 30 * MIB);
    assert_int_equal(returned, 30 * MIB);
    account_charge(account, process, 1, 50 * MIB); /* another device */
    account_release(account, process, 1, 50 * MIB);
    assert_int_equal(returned, 30 * MIB);
    account_end(account, process);
    assert_int_equal(returned, 100 * MIB);
    account_free(account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_one_after_another),
        cmocka_unit_test(test_near_the_limit_a_credit_leaves_something_for_others),
        cmocka_unit_test(test_absurd_sizes_overflow_nothing),
        cmocka_unit_test(test_a_context_costs_a_figure_until_it_was_read),
        cmocka_unit_test(test_what_is_freed_during_a_reading_takes_no_context_along),
        cmocka_unit_test(test_a_busy_process_keeps_the_figure_of_its_context),
        cmocka_unit_test(test_allocations_are_charged_once),
        cmocka_unit_test(test_overhead_goes_up_at_once_and_down_when_nothing_was_sent),
        cmocka_unit_test(test_a_liar_is_charged_what_the_driver_shows),
        cmocka_unit_test(test_a_device_that_was_not_read_changes_nothing),
        cmocka_unit_test(test_processes_race_for_the_last_bytes),
        cmocka_unit_test(test_who_disconnects_stays_charged_until_read),
        cmocka_unit_test(test_who_never_connected_is_charged_as_well),
        cmocka_unit_test(test_a_process_connects_once),
        cmocka_unit_test(test_who_has_a_context_is_what_the_last_reading_shows),
        cmocka_unit_test(test_growth_is_a_guess_until_it_is_read),
        cmocka_unit_test(test_growth_that_is_suspected_is_not_charged),
        cmocka_unit_test(test_growth_beside_a_new_context),
        cmocka_unit_test(test_what_shrank_is_free_at_once),
        cmocka_unit_test(test_a_reading_is_not_talked_away_twice),
        cmocka_unit_test(test_requests_alone_never_exceed_the_limit),
        cmocka_unit_test(test_no_reading_is_charged_less),
        cmocka_unit_test(test_who_is_starved_gets_nothing_more),
        cmocka_unit_test(test_the_gap_between_driver_and_account),
        cmocka_unit_test(test_what_was_returned_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
