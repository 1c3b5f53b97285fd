// SPDX-License-Identifier: Apache-2.0
#include "node/migreport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct gpu gpus[] = {{.index = 0}, {.index = 1}, {.index = 2}};

static int setup(void **state)
{
    static struct migreport report;

    memset(&report, 0, sizeof(report));
    *state = &report;
    return 0;
}

static int teardown(void **state)
{
    migreport_deinit(*state);
    return 0;
}

/* A round of which nothing is under way; one finding, or one for each GPU. */
static int look(struct migreport *report, enum migreport_state finding, const char *what,
                uint64_t n_steps)
{
    const struct migreport_end end = {.wish = "X", .n_steps = n_steps};

    migreport_begin(report);
    migreport_add(report, finding, &gpus[0], "it ", what);
    return migreport_conclude(report, &end);
}

/* A round that ends with that work. */
static int look_busy(struct migreport *report, enum migreport_work work, bool still_fails)
{
    const struct migreport_end end = {.wish = "X", .work = work, .still_fails = still_fails};

    migreport_begin(report);
    migreport_add(report, MIGREPORT_PENDING, &gpus[0], "is being partitioned", "");
    return migreport_conclude(report, &end);
}

static void several_gpus_are_spoken_of_in_the_plural(void **state)
{
    static const struct {
        const char *sentence, *plural;
    } rows[] = {
        {"is being partitioned", "GPU 0, GPU 2 are being partitioned"},
        {"needs a reboot", "GPU 0, GPU 2 need a reboot"},
        {"cannot have it: it has no room", "GPU 0, GPU 2 cannot have it: each has no room"},
        {"cannot have it: no", "GPU 0, GPU 2 cannot have it: no"},
    };
    const struct migreport_end end = {.wish = "X"};
    struct migreport *report = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        migreport_begin(report);
        migreport_add(report, MIGREPORT_FAILED, &gpus[0], rows[i].sentence, "");
        migreport_add(report, MIGREPORT_FAILED, &gpus[2], rows[i].sentence, "");
        migreport_conclude(report, &end);
        assert_string_equal(strstr(report->message, "GPU 0"), rows[i].plural);
    }
}

static void what_is_too_long_shows_that_it_is_cut(void **state)
{
    const struct migreport_end end = {.wish = "X"};
    struct migreport *report = *state;
    char what[400];

    memset(what, 'x', sizeof(what) - 1);
    what[sizeof(what) - 1] = '\0';
    migreport_begin(report);
    for (unsigned i = 0; i < 3; i++) {
        what[0] = (char)('a' + i);
        migreport_add(report, MIGREPORT_FAILED, &gpus[i], "", what);
    }
    migreport_conclude(report, &end);
    assert_int_equal(strlen(report->message), MIGREPORT_MESSAGE_SIZE - 1);
    assert_string_equal(report->message + MIGREPORT_MESSAGE_SIZE - 5, "x...");
}

static void gpus_with_one_fate_share_a_sentence(void **state)
{
    const struct migreport_end end = {.wish = "X"};
    struct migreport *report = *state;

    migreport_begin(report);
    migreport_add(report, MIGREPORT_FAILED, &gpus[0], "cannot have it: ", "no");
    migreport_add(report, MIGREPORT_FAILED, &gpus[1], "cannot have it: ", "no");
    migreport_add_wait(report, &gpus[2], "pod default/train", "");
    assert_int_equal(migreport_conclude(report, &end), MIGREPORT_EVENT);
    assert_int_equal(report->state, MIGREPORT_FAILED); /* the worst */
    assert_string_equal(report->message, "the MIG layout X is not in force: GPU 0, GPU 1 cannot "
                                         "have it: no; GPU 2 waits for pod default/train");
    assert_string_equal(migreport_reason(report), "MIGLayoutFailed");
    assert_true(migreport_warns(report));
}

static void a_layout_for_other_gpus_is_answered(void **state)
{
    const struct migreport_end end = {.wish = "X", .is_for_none = true};
    struct migreport *report = *state;

    migreport_begin(report);
    assert_int_equal(migreport_conclude(report, &end), MIGREPORT_EVENT);
    assert_string_equal(migreport_state_name(report->state), "success");
    assert_non_null(strstr(report->message, "X leaves all GPUs of this node as they are"));
    assert_false(migreport_warns(report));
    migreport_begin(report);
    assert_int_equal(migreport_conclude(report, &end), 0); /* once */
}

static void where_nothing_is_wanted_nothing_is_said(void **state)
{
    struct migreport *report = *state;

    assert_int_equal(look(report, MIGREPORT_NONE, NULL, 0), 0);
    assert_int_equal(look(report, MIGREPORT_STARTING, NULL, 0), MIGREPORT_CHANGED);
    assert_string_equal(report->message, "");
    assert_null(migreport_state_name(report->state));
}

/* An event each time that something was done for it, and none for what was so already. */
static void a_layout_in_force_is_an_event_when_steps_led_to_it(void **state)
{
    struct migreport *report = *state;

    assert_int_equal(look(report, MIGREPORT_SUCCESS, NULL, 0), MIGREPORT_CHANGED);
    assert_int_equal(look_busy(report, MIGREPORT_STEPS, false), MIGREPORT_CHANGED);
    assert_int_equal(look(report, MIGREPORT_SUCCESS, NULL, 3), MIGREPORT_EVENT);
    assert_string_equal(report->message, "the MIG layout X is in force");
    assert_string_equal(migreport_reason(report), "MIGLayoutApplied");
    assert_false(migreport_warns(report));
    assert_int_equal(look(report, MIGREPORT_SUCCESS, NULL, 3), 0);
}

static void what_is_reported_once_is_not_reported_again(void **state)
{
    struct migreport *report = *state;

    assert_int_equal(look(report, MIGREPORT_FAILED, "fails", 1), MIGREPORT_EVENT);
    assert_int_equal(look(report, MIGREPORT_FAILED, "fails", 2), 0);
    assert_int_equal(look(report, MIGREPORT_FAILED, "fails otherwise", 3), MIGREPORT_EVENT);
}

static void retries_and_questions_are_no_news(void **state)
{
    struct migreport *report = *state;

    look(report, MIGREPORT_FAILED, "fails", 1);
    for (int work = MIGREPORT_ASKS; work <= MIGREPORT_TAKES_BACK; work++)
        assert_int_equal(look_busy(report, (enum migreport_work)work, true), 0);
    assert_int_equal(report->state, MIGREPORT_FAILED);
    assert_int_equal(look_busy(report, MIGREPORT_STEPS, false), MIGREPORT_CHANGED);
    assert_int_equal(report->state, MIGREPORT_PENDING);
    assert_int_equal(look_busy(report, MIGREPORT_ASKS, false), 0);
}

/* That something is done is no event; that somebody is waited for is one, also after a question. */
static void only_a_wait_is_an_event_while_it_is_pending(void **state)
{
    const struct migreport_end end = {.wish = "X"};
    struct migreport *report = *state;

    assert_int_equal(look_busy(report, MIGREPORT_STEPS, false), MIGREPORT_CHANGED);
    migreport_begin(report);
    migreport_add_wait(report, &gpus[0], "pod default/train", "");
    assert_int_equal(migreport_conclude(report, &end), MIGREPORT_EVENT);
    assert_string_equal(migreport_reason(report), "MIGLayoutWaits");
    assert_true(migreport_warns(report));
}

/* Other GPUs may be at work until the host goes down. */
static void a_reboot_is_told_until_it_comes(void **state)
{
    struct migreport *report = *state;

    assert_int_equal(look(report, MIGREPORT_REBOOTING, "needs it", 1), MIGREPORT_EVENT);
    assert_string_equal(migreport_state_name(report->state), "rebooting");
    assert_string_equal(migreport_reason(report), "MIGNodeReboots");
    assert_true(migreport_warns(report));
    for (int work = MIGREPORT_ASKS; work <= MIGREPORT_TAKES_BACK; work++)
        assert_int_equal(look_busy(report, (enum migreport_work)work, false), 0);
    assert_int_equal(look(report, MIGREPORT_FAILED, "did not come", 1), MIGREPORT_EVENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gpus_with_one_fate_share_a_sentence),
        TEST(several_gpus_are_spoken_of_in_the_plural),
        TEST(what_is_too_long_shows_that_it_is_cut),
        TEST(a_layout_for_other_gpus_is_answered),
        TEST(where_nothing_is_wanted_nothing_is_said),
        TEST(a_layout_in_force_is_an_event_when_steps_led_to_it),
        TEST(what_is_reported_once_is_not_reported_again),
        TEST(retries_and_questions_are_no_news),
        TEST(a_reboot_is_told_until_it_comes),
        TEST(only_a_wait_is_an_event_while_it_is_pending),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
