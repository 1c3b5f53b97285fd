// SPDX-License-Identifier: Apache-2.0
#include "node/partgpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct device_instance whole = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};

static void assert_explained(const struct partgpu *gpu, const char *expected)
{
    char text[256];

    partgpu_explain(gpu, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void what_is_withheld_is_explained(void **state)
{
    const struct mig_next next = {.n_going = 1, .going = {{3, 0}}};
    struct partgpu gpu;

    (void)state;
    partgpu_init(&gpu, "GPU-0");
    assert_explained(&gpu, "");
    assert_false(partgpu_withhold(&gpu, false, NULL)); /* as it is */

    assert_true(partgpu_withhold(&gpu, false, &next));
    assert_false(partgpu_withhold(&gpu, false, &next));
    assert_true(partgpu_is_going(&gpu, (struct device_instance){3, 0}));
    assert_false(partgpu_is_going(&gpu, (struct device_instance){2, 0}));
    assert_explained(&gpu, "it is being partitioned");

    assert_true(partgpu_withhold(&gpu, true, &next));
    assert_true(partgpu_is_going(&gpu, (struct device_instance){2, 0}));
    partgpu_fail(&gpu, "the driver says no", 0);
    assert_explained(&gpu, "it is being partitioned, which fails: the driver says no");
    gpu.is_unknown = true;
    assert_explained(&gpu, "the cluster has not told yet how it is to be partitioned");

    assert_true(partgpu_withhold(&gpu, false, NULL));
    assert_explained(&gpu, "");
}

static void a_failure_is_retried_ever_more_rarely(void **state)
{
    struct partgpu gpu;
    uint64_t now_ms = 100;

    (void)state;
    partgpu_init(&gpu, "GPU-0");
    assert_false(partgpu_backs_off(&gpu, now_ms));
    for (uint64_t delay_ms = PARTGPU_RETRY_FIRST_MS; delay_ms < PARTGPU_RETRY_LAST_MS;
         delay_ms *= 2) {
        partgpu_fail(&gpu, "no", now_ms);
        assert_int_equal(gpu.retry_at_ms, now_ms + delay_ms);
        assert_true(partgpu_backs_off(&gpu, gpu.retry_at_ms - 1));
        assert_false(partgpu_backs_off(&gpu, gpu.retry_at_ms));
        now_ms = gpu.retry_at_ms;
    }
    for (unsigned i = 0; i < 100; i++)
        partgpu_fail(&gpu, "no", now_ms);
    assert_int_equal(gpu.retry_at_ms, now_ms + PARTGPU_RETRY_LAST_MS);

    partgpu_succeed(&gpu);
    assert_string_equal(gpu.problem, "");
    assert_false(partgpu_backs_off(&gpu, now_ms));
}

/* A process that is named is looked for at the usual pace; one that is not, ever more rarely. */
static void a_refusal_is_no_failure(void **state)
{
    struct gpu_changed named = {.n_holders = 1, .holders = {{.pid = 7, .name = "dcgm"}}};
    const struct gpu_changed unnamed = {.n_holders = 0};
    struct partgpu gpu;

    (void)state;
    named.holders[0].instance = whole;
    partgpu_init(&gpu, "GPU-0");
    partgpu_fail(&gpu, "no", 0);
    for (unsigned i = 0; i < 10; i++) {
        partgpu_refuse(&gpu, &named, 100);
        assert_int_equal(gpu.examine_at_ms, 100 + PARTGPU_WAIT_MS);
        assert_string_equal(gpu.holders.names[0], "process dcgm (pid 7)");
    }
    assert_string_equal(gpu.problem, "");
    assert_true(partgpu_is_used(&gpu, (struct device_instance){3, 0}));

    partgpu_refuse(&gpu, &unnamed, 100);
    assert_int_equal(gpu.examine_at_ms, 100 + PARTGPU_RETRY_LAST_MS);
    assert_non_null(strstr(gpu.holders.names[0], "not seen from here"));
}

/* One that has the whole GPU open hinders no instance, and a mode only as long as all are there
 * that it was refused for. */
static void who_watches_the_gpu_counts_after_a_refusal(void **state)
{
    struct gpu_changed watcher = {.n_holders = 1, .holders = {{.pid = 7, .name = "dcgm"}}};
    const struct gpu_changed nobody = {.n_holders = 0};
    struct partgpu gpu;

    (void)state;
    watcher.holders[0].instance = whole;
    partgpu_init(&gpu, "GPU-0");
    gpu.changes_mode = gpu.was_withheld = true;
    partgpu_found(&gpu, &watcher, 100);
    assert_true(gpu.is_examined);
    assert_int_equal(gpu.holders.n, 0);

    partgpu_refuse(&gpu, &watcher, 100);
    gpu.holders.n = 0;
    partgpu_found(&gpu, &nobody, 200);
    assert_int_equal(gpu.holders.n, 0);
    partgpu_found(&gpu, &watcher, 200);
    assert_int_equal(gpu.holders.n, 1);
}

static void it_is_untouched_until_its_layout_differs(void **state)
{
    struct mig_layout layout = {.enabled = true, .pending = true, .n_instances = 1};
    struct partgpu gpu;

    (void)state;
    partgpu_init(&gpu, "GPU-0");
    assert_false(partgpu_is_untouched(&gpu, &layout)); /* another agent may have changed it */
    partgpu_fail(&gpu, "no", 0);
    partgpu_settle(&gpu, &layout);
    assert_string_equal(gpu.problem, "");
    assert_true(partgpu_is_untouched(&gpu, &layout));
    layout.pending = false;
    assert_true(partgpu_is_untouched(&gpu, &layout));
    layout.n_instances = 0;
    assert_false(partgpu_is_untouched(&gpu, &layout));
    layout.enabled = false; /* nothing can be halfway while MIG is off */
    assert_true(partgpu_is_untouched(&gpu, &layout));
}

static void another_wish_begins_without_failures(void **state)
{
    struct partgpu gpu;

    (void)state;
    partgpu_init(&gpu, "GPU-0");
    partgpu_fail(&gpu, "no", 0);
    gpu.has_failed = true;
    partgpu_forget(&gpu);
    assert_false(gpu.has_failed || partgpu_backs_off(&gpu, 0) || *gpu.problem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_withheld_is_explained),
        cmocka_unit_test(a_failure_is_retried_ever_more_rarely),
        cmocka_unit_test(a_refusal_is_no_failure),
        cmocka_unit_test(who_watches_the_gpu_counts_after_a_refusal),
        cmocka_unit_test(it_is_untouched_until_its_layout_differs),
        cmocka_unit_test(another_wish_begins_without_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
