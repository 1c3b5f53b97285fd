// SPDX-License-Identifier: Apache-2.0
#include "gpu/eventwatch.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

/* --- a driver with GPUs a and b --- */

static int registers[2];         /* how it answers for each */
static int waits;                /* and a wait that does not last */
static _Atomic int lasts;        /* ... and one that does */
static const char *reconfigured; /* the GPU that such a wait names */

static int fake_watch(struct gpu_driver *driver, const char *uuid, struct error *err)
{
    int r = registers[*uuid - 'a'];

    (void)driver;
    if (r)
        error_set(err, -EIO, "no registration: %d", r);
    return r;
}

static int fake_wait(struct gpu_driver *driver, unsigned timeout_ms, struct gpu_event *ret_event,
                     struct error *err)
{
    int r = timeout_ms ? atomic_load(&lasts) : waits;

    (void)driver;
    if (r && r != GPU_TIMEOUT)
        error_set(err, -EIO, "no wait: %d", r);
    if (r == GPU_RECONFIGURED)
        snprintf(ret_event->uuid, sizeof(ret_event->uuid), "%s", reconfigured);
    if (r == 0)
        *ret_event = (struct gpu_event){.uuid = "a", .xid = 79};
    if (r == GPU_TIMEOUT && timeout_ms)
        usleep(1000); /* the thread of a test that is over goes on until the program ends */
    return r;
}

static const struct gpu_backend backend = {.watch = fake_watch, .wait_event = fake_wait};

/* --- what is reported: "a:why b: " --- */

static struct text reported;
static unsigned n_events;

static void on_watch(const char *uuid, const char *reason)
{
    text_addf(&reported, "%s:%s ", uuid, reason);
}

static void on_event(const struct gpu_event *event)
{
    assert_int_equal(event->xid, 79);
    n_events++;
}

static void assert_reported(const char *expected)
{
    assert_string_equal(text_string(&reported), expected);
    text_clear(&reported);
}

static struct eventwatch watches[16]; /* a thread may still use one when its test is over */
static size_t n_watches;

static struct eventwatch *begin(void)
{
    static struct guard guard;
    struct eventwatch *watch = &watches[n_watches++];

    watch->backend = &backend;
    watch->guard = &guard;
    watch->on_event = on_event;
    watch->on_watch = on_watch;
    assert_int_equal(eventwatch_init(watch), 0);
    return watch;
}

static int set_up(void **state)
{
    (void)state;
    registers[0] = registers[1] = 0;
    waits = GPU_TIMEOUT;
    atomic_store(&lasts, GPU_TIMEOUT);
    n_events = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    text_deinit(&reported);
    return 0;
}

static int add_both(struct eventwatch *watch)
{
    int a = eventwatch_add(watch, "a"), b = eventwatch_add(watch, "b");

    assert_reported(""); /* the inventory comes first */
    return a ? a : b;
}

static int start(struct eventwatch *watch)
{
    return eventwatch_start(watch, NULL);
}

/* Time passes until the next attempt. */
static int retry(struct eventwatch *watch)
{
    assert_true(eventwatch_due_ms(watch) != UINT64_MAX);
    assert_int_equal(eventwatch_retry(watch), 0); /* not due yet */
    watch->due_ms = 0;
    return eventwatch_retry(watch);
}

/* --- the cases --- */

static void all_is_well(void **state)
{
    struct eventwatch *watch = begin();

    (void)state;
    assert_int_equal(add_both(watch), 0);
    assert_int_equal(start(watch), 0);
    assert_reported("a: b: ");
    assert_true(eventwatch_due_ms(watch) == UINT64_MAX);
    assert_int_equal(eventwatch_retry(watch), 0);
}

static void one_gpu_fails_for_a_moment(void **state)
{
    struct eventwatch *watch = begin();

    (void)state;
    registers[1] = -EIO;
    assert_int_equal(add_both(watch), 0);
    assert_int_equal(start(watch), 0);
    assert_reported("a: b:no registration: -5 ");
    assert_int_equal(retry(watch), 0);
    assert_reported(""); /* the same as before */
    registers[1] = GPU_UNSUPPORTED;
    assert_int_equal(retry(watch), 0);
    assert_reported("b:no registration: 3 ");
    registers[1] = 0;
    assert_int_equal(retry(watch), EVENTWATCH_RENEW);
    assert_reported(""); /* the next session will */
}

static void none_can_be_registered(void **state)
{
    struct eventwatch *watch = begin();

    (void)state;
    registers[0] = registers[1] = GPU_UNSUPPORTED;
    assert_int_equal(add_both(watch), 0);
    assert_int_equal(start(watch), 0);
    assert_reported("a:no registration: 3 b:no registration: 3 ");
    assert_int_equal(retry(watch), 0);
    registers[0] = 0;
    assert_int_equal(retry(watch), EVENTWATCH_RENEW);
}

static void the_wait_is_not_supported_for_a_moment(void **state)
{
    struct eventwatch *watch = begin();

    (void)state;
    waits = GPU_UNSUPPORTED;
    assert_int_equal(add_both(watch), 0);
    assert_int_equal(start(watch), 0);
    assert_reported("a:no wait: 3 b:no wait: 3 ");
    assert_int_equal(retry(watch), 0);
    assert_reported("");
    waits = 0;
    assert_int_equal(retry(watch), EVENTWATCH_RENEW);
    assert_int_equal(n_events, 1); /* and that one is not lost */
}

static void a_wait_that_lasts_fails(void **state)
{
    static const struct {
        int outcome;
        int expected;
        const char *reported;
    } rows[] = {
        {GPU_LOST, EVENTWATCH_RENEW, ""}, /* the next session is without it */
        {-EIO, EVENTWATCH_RENEW, "a:no wait: -5 b:no wait: -5 "},
        {GPU_UNSUPPORTED, 0, "a:no wait: 3 b:no wait: 3 "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct eventwatch *watch = begin();
        struct pollfd fd = {.fd = watch->trouble_fd, .events = POLLIN};

        atomic_store(&lasts, rows[i].outcome);
        assert_int_equal(add_both(watch), 0);
        assert_int_equal(start(watch), 0);
        assert_reported("a: b: ");
        assert_int_equal(poll(&fd, 1, 60000), 1);
        assert_int_equal(eventwatch_take_trouble(watch), rows[i].expected);
        assert_reported(rows[i].reported);
        assert_int_equal(eventwatch_due_ms(watch) != UINT64_MAX, rows[i].expected == 0);
    }
}

/* Each is the first wait of a session. */
static void which_gpu_was_repartitioned_is_known(void **state)
{
    static const struct {
        const char *named, *but;
        bool is_other;
    } rows[] = {
        {"a", "a", false}, {"b", "a", true}, {"a", NULL, true}, {"", "a", true}, {"c", "a", true},
    };

    (void)state;
    waits = GPU_RECONFIGURED;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct eventwatch *watch = begin();

        reconfigured = rows[i].named;
        assert_int_equal(add_both(watch), 0);
        assert_int_equal(start(watch), 0);
        text_clear(&reported);
        assert_int_equal(poll(&(struct pollfd){.fd = watch->changes_fd, .events = POLLIN}, 1, 0),
                         1);
        assert_int_equal(eventwatch_take_changes(watch, rows[i].but), rows[i].is_other);
        assert_int_equal(poll(&(struct pollfd){.fd = watch->changes_fd, .events = POLLIN}, 1, 0),
                         0);
        assert_false(eventwatch_take_changes(watch, NULL)); /* no longer */
    }
}

static void a_lost_gpu_renews_the_session(void **state)
{
    struct eventwatch *watch = begin();

    (void)state;
    registers[0] = GPU_LOST;
    assert_int_equal(add_both(watch), EVENTWATCH_RENEW);
    assert_int_equal(start(watch), 0);
    assert_reported("a:no registration: 1 b: ");
}

/* An old GPU never reports events: that must cost nothing. */
static void attempts_back_off(void **state)
{
    struct eventwatch *watch = begin();

    (void)state;
    registers[0] = registers[1] = GPU_UNSUPPORTED;
    add_both(watch);
    assert_int_equal(start(watch), 0);
    for (uint64_t expected = 1000; expected < 60000; expected *= 2) {
        assert_int_equal(watch->backoff_ms, expected);
        assert_int_equal(retry(watch), 0);
    }
    assert_int_equal(watch->backoff_ms, 60000);
    assert_int_equal(retry(watch), 0);
    assert_int_equal(watch->backoff_ms, 60000);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_is_well),
        CASE(one_gpu_fails_for_a_moment),
        CASE(none_can_be_registered),
        CASE(the_wait_is_not_supported_for_a_moment),
        CASE(a_wait_that_lasts_fails),
        CASE(which_gpu_was_repartitioned_is_known),
        CASE(a_lost_gpu_renews_the_session),
        CASE(attempts_back_off),
    };

    return cmocka_run_group_tests_name("gpu/eventwatch", tests, NULL, NULL);
}
