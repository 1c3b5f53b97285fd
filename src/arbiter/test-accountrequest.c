// SPDX-License-Identifier: Apache-2.0

/* Which message does what, and which ends a connection; fuzz-accountrequest.c has their sequences.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/accountrequest.h"
#include "base/array.h"

#define MIB (UINT64_C(1) << 20)

static struct account *account;
static struct account_process *process;
static uint64_t now_ms;

static int open_account(void **state)
{
    now_ms = 0;
    account = account_new(2);
    account->devices[0].limit_bytes = account->devices[1].limit_bytes = 1000 * MIB;
    account->devices[0].context_bytes = 300 * MIB;
    return account_register(account, 1, 0, &process);
}

static int close_account(void **state)
{
    account_free(account);
    return 0;
}

static int ask(uint32_t kind, uint32_t device, uint64_t mib, uint64_t wanted_mib,
               struct limits_answer *ret_answer)
{
    const struct limits_request request = {.kind = kind,
                                           .device = device,
                                           .sequence = 42,
                                           .bytes = mib * MIB,
                                           .wanted_bytes = wanted_mib * MIB};
    struct error err = ERROR_INIT;
    const int r =
        accountrequest_do(account, process, &request, LIMITS_ENFORCED, now_ms, ret_answer, &err);

    assert_int_equal(err.code, r < 0 ? r : 0);
    return r;
}

static void test_each_message(void **state)
{
    static const struct {
        uint32_t kind;
        uint64_t mib, wanted_mib;
        uint32_t answer; /* 0 = none */
        uint64_t answer_mib, charged_mib;
    } rows[] = {
        {LIMITS_RESERVE, 500, 500, LIMITS_GRANTED, 500, 500},
        {LIMITS_RESERVE, 501, 501, LIMITS_DENIED, 500, 500},
        {LIMITS_ENTER, 0, 0, LIMITS_GRANTED, 300, 800},
        {LIMITS_ENTER, 0, 0, LIMITS_DENIED, 200, 800},
        {LIMITS_ENTERED, 0, 0, 0, 0, 800},
        {LIMITS_LEFT, 0, 0, 0, 0, 500},
        {LIMITS_RELEASE, 100, 0, 0, 0, 400},
        {LIMITS_CHARGE, 900, 0, 0, 0, 1300},
        {LIMITS_RESERVE, 0, 0, LIMITS_GRANTED, 0, 1300},
        {LIMITS_RELEASE, 900, 0, 0, 0, 400},
        {LIMITS_GREW, 600, 0, LIMITS_GRANTED, 0, 1000},
        {LIMITS_SHRANK, 100, 0, 0, 0, 900},
        {LIMITS_GREW, 0, 100, LIMITS_GRANTED, 0, 900},
        {LIMITS_SHRANK, 9999, 0, 0, 0, 400},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct limits_answer answer = {.kind = 0};
        const int r = ask(rows[i].kind, 0, rows[i].mib, rows[i].wanted_mib, &answer);

        assert_int_equal(r, rows[i].answer ? ACCOUNTREQUEST_ANSWER : 0);
        assert_int_equal(answer.kind, rows[i].answer);
        assert_int_equal(answer.bytes, rows[i].answer_mib * MIB);
        assert_int_equal(account->devices[0].charged_bytes, rows[i].charged_mib * MIB);
        if (rows[i].answer)
            assert_true(answer.sequence == 42 && answer.mode == LIMITS_ENFORCED);
    }
    assert_int_equal(account->devices[1].charged_bytes, 0);
}

/* A reading is promised, and nothing is charged. */
static void test_what_is_only_suspected(void **state)
{
    struct limits_answer answer = {.kind = 0};

    (void)state;
    assert_int_equal(ask(LIMITS_GREW, 0, 0, 9999, &answer), ACCOUNTREQUEST_ANSWER);
    assert_int_equal(answer.kind, LIMITS_DENIED);
    assert_int_equal(answer.bytes, account->n_begun + 1);
    assert_int_equal(account->devices[0].charged_bytes, 0);
}

static void test_what_a_library_of_ours_does_not_send(void **state)
{
    static const struct {
        uint32_t kind, device;
        uint64_t mib, wanted_mib;
    } rows[] = {
        {0, 0, 1, 1},
        {LIMITS_REGISTER, 0, 1, 1},
        {LIMITS_SHRANK + 1, 0, 1, 1},
        {LIMITS_WELCOME, 0, 1, 1},
        {UINT32_MAX, 0, 1, 1},
        {LIMITS_RESERVE, 2, 1, 1},
        {LIMITS_CHARGE, UINT32_MAX, 1, 1},
        {LIMITS_RESERVE, 0, 2, 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct limits_answer answer;

        assert_int_equal(
            ask(rows[i].kind, rows[i].device, rows[i].mib, rows[i].wanted_mib, &answer), -EBADMSG);
        assert_int_equal(account->devices[0].charged_bytes, 0);
    }
}

/* What is expected of its context gives way to what the driver shows, although it never rests. */
static void test_who_is_denied_all_the_time_is_quiet(void **state)
{
    static const bool is_read[] = {true, true};
    struct limits_answer answer;

    ask(LIMITS_ENTER, 0, 0, 0, &answer);
    ask(LIMITS_ENTERED, 0, 0, 0, &answer);
    for (now_ms = 50; now_ms <= 1000; now_ms += 50) {
        ask(LIMITS_RESERVE, 0, 800, 800, &answer);
        assert_int_equal(answer.kind, LIMITS_DENIED);
        ask(LIMITS_RESERVE, 0, 0, 0, &answer); /* to see what is free */
    }
    account_begin_reading(account, now_ms);
    assert_int_equal(account_show(account, 1, 0, 200 * MIB), 0);
    account_end_reading(account, is_read);
    assert_int_equal(account->devices[0].charged_bytes, 200 * MIB);
    ask(LIMITS_RESERVE, 0, 800, 800, &answer);
    assert_int_equal(answer.kind, LIMITS_GRANTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_message, open_account, close_account),
        cmocka_unit_test_setup_teardown(test_what_is_only_suspected, open_account, close_account),
        cmocka_unit_test_setup_teardown(test_what_a_library_of_ours_does_not_send, open_account,
                                        close_account),
        cmocka_unit_test_setup_teardown(test_who_is_denied_all_the_time_is_quiet, open_account,
                                        close_account),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
