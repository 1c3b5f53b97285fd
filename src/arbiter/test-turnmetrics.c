// SPDX-License-Identifier: Apache-2.0

/* Metrics of turns, and that there are none where the mode is none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/turnmetrics.h"

static const struct limituse uses[] = {
    {.namespace_ = "ml",
     .pod = "train",
     .pod_uid = "u1",
     .container = "main",
     .uuid = "GPU-1",
     .n_processes = 3,
     .n_registered = 3,
     .n_unenforced_compute = 1,
     .share_ppm = 250000,
     .has_turns = true,
     .compute = LIMITS_COMPUTE_ELASTIC,
     .turns = {.turns = {.weight = TURNS_HEAVY,
                         .entitled_ns = 2500000000,
                         .received_ns = 3000000000,
                         .borrowed_ns = 500000000,
                         .lent_ns = 0,
                         .n_turns = 7,
                         .n_overdue = 1},
               .device = {.plan = TURNS_GIVEN, .reason = TURNS_MEASURED, .n_trials = 4},
               .claims = {.n_launched = 900,
                          .waited_ns = 1500000000,
                          .n_late = 2,
                          .waits = {[0] = 90, [7] = 10}}}},
    {.namespace_ = "",
     .pod = "",
     .pod_uid = "u2",
     .container = "main",
     .uuid = "GPU-1",
     .share_ppm = 250000,
     .has_turns = true,
     .compute = LIMITS_COMPUTE_ELASTIC,
     .turns = {.turns = {.weight = TURNS_LIGHT},
               .device = {.plan = TURNS_GIVEN, .reason = TURNS_MEASURED, .n_trials = 4}}},
    {.namespace_ = "",
     .pod = "",
     .pod_uid = "u3",
     .container = "old",
     .uuid = "GPU-2",
     .n_processes = 1,
     .n_unenforced_compute = 1,
     .compute = LIMITS_COMPUTE_ELASTIC},
};

static void expect(const struct text *page, const char *line)
{
    if (!strstr(text_string(page), line))
        fail_msg("%s is not in:\n%s", line, text_string(page));
}

static size_t count(const struct text *page, const char *word)
{
    size_t n = 0;

    for (const char *at = text_string(page); (at = strstr(at, word)); at++)
        n++;
    return n;
}

#define FIRST "{uuid=\"GPU-1\",namespace=\"ml\",pod=\"train\",pod_uid=\"u1\",container=\"main\"} "

static void test_a_container_has_a_series_of_each(void **state)
{
    const struct turnmetrics metrics = {
        .uses = uses, .n_uses = 3, .compute = LIMITS_COMPUTE_ELASTIC};
    cleanup_text struct text page = TEXT_INIT;

    (void)state;
    turnmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_compute_mode{mode=\"elastic\"} 1\n");
    expect(&page, "\ngpuslice_compute_share_ratio" FIRST "0.25\n");
    expect(&page, "\ngpuslice_compute_entitled_seconds_total" FIRST "2.5\n");
    expect(&page, "\ngpuslice_compute_received_seconds_total" FIRST "3\n");
    expect(&page, "\ngpuslice_compute_borrowed_seconds_total" FIRST "0.5\n");
    expect(&page, "\ngpuslice_compute_lent_seconds_total" FIRST "0\n");
    expect(&page, "\ngpuslice_compute_waited_seconds_total" FIRST "1.5\n");
    expect(&page, "\ngpuslice_compute_wait_p50_seconds" FIRST "6.3999999999999997e-05\n");
    expect(&page, "\ngpuslice_compute_wait_p99_seconds" FIRST "0.0081919999999999996\n");
    expect(&page, "\ngpuslice_compute_launched_total" FIRST "900\n");
    expect(&page, "\ngpuslice_compute_late_total" FIRST "2\n");
    expect(&page, "\ngpuslice_compute_turns_total" FIRST "7\n");
    expect(&page, "\ngpuslice_compute_overdue_turns_total" FIRST "1\n");
    expect(&page, "\ngpuslice_compute_heavy" FIRST "1\n");
    expect(&page, "\ngpuslice_compute_unenforced_processes" FIRST "1\n");
    expect(&page, "container=\"old\"} 1\n"); /* takes no part at all */
    assert_int_equal(count(&page, "gpuslice_compute_wait_p50_seconds{"), 1); /* one has waited */
}

static void test_a_device_is_told_once(void **state)
{
    const struct turnmetrics metrics = {
        .uses = uses, .n_uses = 3, .compute = LIMITS_COMPUTE_ELASTIC};
    cleanup_text struct text page = TEXT_INIT;

    (void)state;
    turnmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_compute_plan{uuid=\"GPU-1\",plan=\"turns\",reason=\"measured\"} 1\n");
    expect(&page, "\ngpuslice_compute_trials_total{uuid=\"GPU-1\"} 4\n");
    assert_int_equal(count(&page, "gpuslice_compute_plan{"), 1);
}

static void test_without_turns_nothing_is_told_but_that(void **state)
{
    const struct turnmetrics metrics = {.uses = &uses[2], .n_uses = 1};
    cleanup_text struct text page = TEXT_INIT;

    (void)state;
    turnmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_compute_mode{mode=\"none\"} 1\n");
    assert_int_equal(count(&page, "{"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_container_has_a_series_of_each),
        cmocka_unit_test(test_a_device_is_told_once),
        cmocka_unit_test(test_without_turns_nothing_is_told_but_that),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
