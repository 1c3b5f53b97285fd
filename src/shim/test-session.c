// SPDX-License-Identifier: Apache-2.0

/* A process's session, its threads and its children. Each test is a child of its own, where the
 * session starts from nothing. */

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/session.h"
#include "shim/test-fakewire.h"

#define MIB   (UINT64_C(1) << 20)
#define LIMIT (100 * MIB)

enum { DEADLINE_S = 10, FAILED = 1 };

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            return FAILED;                                                  \
        }                                                                   \
    } while (0)

static struct fakewire *arbiter;

static int run_in_child(int (*body)(void))
{
    const pid_t child = fork();
    int status = FAILED;

    if (child == 0) {
        alarm(DEADLINE_S);
        _exit(body());
    }
    return child > 0 && waitpid(child, &status, 0) == child ? status : FAILED;
}

static void check(int (*body)(void))
{
    arbiter = fakewire_new(LIMIT);
    assert_int_equal(run_in_child(body), 0);
}

static int find_no_grant(void)
{
    CHECK(!session_start());
    return 0;
}

/* A program that starts many others asks once. */
static int find_no_grant_once(void)
{
    arbiter->has_no_grant = true;
    CHECK(!session_start());
    arbiter->has_no_grant = false;
    CHECK(!session_start());
    CHECK(run_in_child(find_no_grant) == 0);
    return 0;
}

static void test_without_a_grant_nothing_is_limited(void **state)
{
    (void)state;
    check(find_no_grant_once);
}

/* The page of its arbiter has what the parent has taken. */
static int start_from_nothing(void)
{
    CHECK(session_start());
    CHECK(arbiter->n_closed == 1);
    CHECK(arbiter->n_connected == 2);
    CHECK(session_take(session_find(fakewire_uuid), 40 * MIB) == 0);
    CHECK(arbiter->last.allocated_bytes == 0);
    return 0;
}

static int take_before_a_fork(void)
{
    const int slot = session_find(fakewire_uuid);

    CHECK(slot != SESSION_NO_SLOT);
    CHECK(session_take(slot, 60 * MIB) == 0);
    CHECK(run_in_child(start_from_nothing) == 0);
    CHECK(session_take(slot, 41 * MIB) == SESSION_DENIED);
    CHECK(session_see(slot).free_bytes == 40 * MIB);
    return 0;
}

static void test_a_forked_child_starts_from_nothing(void **state)
{
    (void)state;
    check(take_before_a_fork);
}

struct growth {
    int slot, result;
    uint64_t bytes;
};

static void *grow(void *userdata)
{
    struct growth *growth = userdata;

    growth->result = session_grew(growth->slot, &growth->bytes, 0);
    return NULL;
}

/* The reading comes when another thread has used the session. */
static int give_while_another_waits(void)
{
    struct growth growth = {session_find(fakewire_uuid), SESSION_DENIED, 30 * MIB};
    pthread_t thread;

    CHECK(session_take(growth.slot, 80 * MIB) == 0);
    CHECK(pthread_create(&thread, NULL, grow, &growth) == 0);
    while (__atomic_load_n(&arbiter->n_heard[LIMITS_GREW], __ATOMIC_RELAXED) == 0)
        sched_yield();
    session_give(growth.slot, 40 * MIB);
    limits_store(arbiter->page.devices[0].overhead_bytes, 20 * MIB);
    limits_store(arbiter->page.n_reading, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(growth.result == 0);
    CHECK(growth.bytes == 20 * MIB);
    return 0;
}

static void test_other_threads_go_on_while_one_waits_for_a_reading(void **state)
{
    (void)state;
    check(give_while_another_waits);
}

static int wait_for_nothing(void)
{
    const int slot = session_find(fakewire_uuid);
    const uint64_t begin_ms = arbiter->now_ms;
    uint64_t bytes = 30 * MIB;

    CHECK(session_take(slot, 80 * MIB) == 0);
    arbiter->step_ms = 400;
    CHECK(session_grew(slot, &bytes, 0) == SESSION_DENIED);
    CHECK(arbiter->now_ms - begin_ms <= 5000);
    return 0;
}

static void test_a_reading_that_never_comes_is_not_awaited_for_ever(void **state)
{
    (void)state;
    check(wait_for_nothing);
}

static int take_near_what_is_hidden(void)
{
    const int slot = session_find(fakewire_uuid);
    uint64_t bytes = MIB;

    arbiter->page.devices[0].returned_bytes = 1;
    arbiter->step_ms = 400;
    CHECK(session_grew(slot, &bytes, 50 * MIB) == 0);
    CHECK(session_take(slot, 40 * MIB) == 0);
    CHECK(arbiter->n_heard[LIMITS_GREW] == 1);
    CHECK(session_take(slot, 40 * MIB) == 0);
    CHECK(arbiter->n_heard[LIMITS_GREW] == 2);
    return 0;
}

static void test_what_is_hidden_is_asked_for_before_more_is_taken(void **state)
{
    (void)state;
    check(take_near_what_is_hidden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_grant_nothing_is_limited),
        cmocka_unit_test(test_a_forked_child_starts_from_nothing),
        cmocka_unit_test(test_other_threads_go_on_while_one_waits_for_a_reading),
        cmocka_unit_test(test_a_reading_that_never_comes_is_not_awaited_for_ever),
        cmocka_unit_test(test_what_is_hidden_is_asked_for_before_more_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
