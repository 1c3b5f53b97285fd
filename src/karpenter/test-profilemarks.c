// SPDX-License-Identifier: Apache-2.0
#include "karpenter/profilemarks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

#define SPEC(marks) "gpuNames: [a], mps: {replicas: 2}" marks

static void test_reads_what_it_writes(void **state)
{
    static const char *const rows[][2] = {
        {SPEC(", labels: {a/b: c, d: ''}"), "{\"labels\":{\"a/b\":\"c\",\"d\":\"\"}}"},
        {SPEC(", taints: [{key: k, value: v, effect: NoExecute}, {key: l, effect: NoSchedule}]"),
         "{\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoExecute\"},"
         "{\"key\":\"l\",\"effect\":\"NoSchedule\"}]}"},
        /* No taint at all, and the one that we set. */
        {SPEC(", taints: []"), "{\"taints\":[]}"},
        {SPEC(""), "{}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_sliceprofile struct sliceprofile p = bench_profile(rows[i][0]);
        json_t *spec = json_object();
        cleanup_free char *text = NULL;

        profilemarks_write(&p.marks, spec);
        text = json_dumps(spec, JSON_COMPACT);
        assert_string_equal(text, rows[i][1]);
        json_decref(spec);
    }
}

static void test_adds(void **state)
{
    struct profilemarks marks = {.labels = NULL};

    assert_int_equal(profilemarks_add_label(&marks, "gpu", "t4"), 0);
    assert_int_equal(profilemarks_add_taint(&marks, "gpu", "", "NoSchedule"), 0);
    assert_string_equal(marks.labels[0].value, "t4");
    assert_string_equal(marks.taints[0].effect, "NoSchedule");
    assert_true(marks.has_taints);
    profilemarks_deinit(&marks);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *spec, *words;
    } rows[] = {
        {"gpuNames: [a], mps: {replicas: 2}, labels: {gpuslice.dev/profile: x}", "itself"},
        {"gpuNames: [a], mps: {replicas: 2}, labels: {a: [b]}", "expected a text"},
        {"gpuNames: [a], mps: {replicas: 2}, labels: {'a b': c}", "a b"},
        {"gpuNames: [a], mps: {replicas: 2}, taints: [{key: a, effect: Maybe}]", "NoSchedule"},
        {"gpuNames: [a], mps: {replicas: 2}, taints: [{effect: NoSchedule}]", "key"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        bench_assert_refused(rows[i].spec, rows[i].words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_it_writes),
        cmocka_unit_test(test_adds),
        cmocka_unit_test(test_refuses),
    };

    return cmocka_run_group_tests_name("karpenter/profilemarks", tests, NULL, NULL);
}
