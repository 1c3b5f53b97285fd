// SPDX-License-Identifier: Apache-2.0

/* What an alert may ask of memory limits. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/limitmetrics.h"

static const struct limituse uses[] = {
    {.namespace_ = "ml",
     .pod = "train",
     .pod_uid = "u1",
     .container = "main",
     .uuid = "GPU-1",
     .limit_bytes = 100,
     .charged_bytes = 70,
     .overhead_bytes = 20,
     .gap_bytes = -7,
     .has_gap = true,
     .peak_bytes = 90,
     .n_denied = 3,
     .n_processes = 3,
     .n_registered = 2,
     .is_starved = true},
    {.namespace_ = "",
     .pod = "",
     .pod_uid = "u2",
     .container = "whole",
     .uuid = "GPU-2",
     .charged_bytes = 5,
     .n_processes = 1},
    {.namespace_ = "ml",
     .pod = "before",
     .pod_uid = "u3",
     .container = "main",
     .uuid = "GPU-1",
     .limit_bytes = 100,
     .charged_bytes = 60,
     .n_processes = 4,
     .is_ungranted = true},
};

static void expect(const struct text *page, const char *line)
{
    if (!strstr(text_string(page), line))
        fail_msg("%s is not in:\n%s", line, text_string(page));
}

#define FIRST "{uuid=\"GPU-1\",namespace=\"ml\",pod=\"train\",pod_uid=\"u1\",container=\"main\"} "

static void test_without_a_grant_there_are_only_processes(void **state)
{
    const struct limitmetrics metrics = {.uses = &uses[2], .n_uses = 1, .mode = LIMITS_ENFORCED};
    cleanup_text struct text page = TEXT_INIT;

    limitmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_memory_unenforced_processes{uuid=\"GPU-1\",namespace=\"ml\","
                  "pod=\"before\",pod_uid=\"u3\",container=\"main\"} 4\n");
    assert_null(strstr(text_string(&page), "gpuslice_memory_limit_bytes{"));
    assert_null(strstr(text_string(&page), "gpuslice_memory_charged_bytes{"));
}

static void test_a_container_has_a_series_of_each(void **state)
{
    const struct limitmetrics metrics = {.uses = uses, .n_uses = 2, .mode = LIMITS_ENFORCED};
    cleanup_text struct text page = TEXT_INIT;

    limitmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_memory_limit_bytes" FIRST "100\n");
    expect(&page, "\ngpuslice_memory_charged_bytes" FIRST "70\n");
    expect(&page, "\ngpuslice_memory_overhead_bytes" FIRST "20\n");
    expect(&page, "\ngpuslice_memory_peak_bytes" FIRST "90\n");
    expect(&page, "\ngpuslice_memory_denials_total" FIRST "3\n");
    expect(&page, "\ngpuslice_memory_unenforced_processes" FIRST "1\n");
    expect(&page, "\ngpuslice_memory_gap_bytes" FIRST "-7\n");
    assert_null(strstr(text_string(&page), "gap_bytes{uuid=\"GPU-2\"")); /* not told */
    expect(&page, "\ngpuslice_memory_starved" FIRST "1\n");
    expect(&page, "# TYPE gpuslice_memory_denials_total counter\n");
    expect(&page, "container=\"whole\"} 5\n");
}

/* A whole GPU has no limit: nothing of it is unenforced. */
static void test_without_a_limit_there_is_none_to_enforce(void **state)
{
    const struct limitmetrics metrics = {.uses = &uses[1], .n_uses = 1};
    cleanup_text struct text page = TEXT_INIT;

    limitmetrics_add(&metrics, &page);
    assert_null(strstr(text_string(&page), "gpuslice_memory_limit_bytes{"));
    assert_null(strstr(text_string(&page), "gpuslice_memory_unenforced_processes{"));
}

static void test_the_node_tells_its_mode(void **state)
{
    const struct limitmetrics metrics = {
        .mode = LIMITS_NONE,
        .is_off = true,
        .has_library = true,
        .n_events_dropped = 6,
        .counts = {.n_sockets = 2, .n_connections = 5, .n_refused = 1, .n_malformed = 4},
    };
    cleanup_text struct text page = TEXT_INIT;

    limitmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_memory_limits_mode{mode=\"none\"} 1\n");
    expect(&page, "\ngpuslice_memory_limits_switched_off 1\n");
    expect(&page, "\ngpuslice_memory_overcommitted 0\n");
    expect(&page, "\ngpuslice_memory_library_installed 1\n");
    expect(&page, "\ngpuslice_memory_grant_sockets 2\n");
    expect(&page, "\ngpuslice_memory_connections 5\n");
    expect(&page, "\ngpuslice_memory_refused_registrations_total 1\n");
    expect(&page, "\ngpuslice_memory_malformed_connections_total 4\n");
    expect(&page, "\ngpuslice_memory_events_dropped_total 6\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_container_has_a_series_of_each),
        cmocka_unit_test(test_without_a_grant_there_are_only_processes),
        cmocka_unit_test(test_without_a_limit_there_is_none_to_enforce),
        cmocka_unit_test(test_the_node_tells_its_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
