// SPDX-License-Identifier: Apache-2.0
#include "karpenter/overlay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

static void test_groups(void **state)
{
    cleanup_sliceprofile struct sliceprofile profile =
        bench_profile("gpuNames: [a10g], timeSlicing: {replicas: 4, renameByDefault: true}");
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    static const char *const names[] = {"p-7d66084146ee-4", "p-7d66084146ee-16",
                                        "p-7d66084146ee-32"};
    size_t n_types = 0;

    assert_int_equal(overlay_make(&profile, &promises, &documents), 0);
    assert_int_equal(documents.n_items, 3);
    for (size_t i = 0; i < 3; i++) {
        struct overlay overlay;

        assert_int_equal(overlay_read(documents.items[i].tree, &overlay, NULL), 0);
        assert_string_equal(overlay.name, names[i]);
        assert_string_equal(json_string_value(json_object_get(overlay.capacity, "nvidia.com/gpu")),
                            "0");
        n_types +=
            json_array_size(json_object_get(json_array_get(overlay.requirements, 2), "values"));
    }
    assert_int_equal(n_types, promises.n_items);
}

/* Each overlay: name, weight, requirements, capacity. */
static json_t *evaluate(const char *list, const char *labels, struct problems *problems)
{
    json_t *tree = json_loads(list, 0, NULL), *of = json_loads(labels, 0, NULL), *capacity = NULL,
           *owners = NULL;
    struct overlay overlays[8];
    size_t n = json_array_size(tree);

    assert_non_null(tree);
    assert_non_null(of);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(overlay_read(json_array_get(tree, i), &overlays[i], NULL), 0);
    assert_int_equal(overlay_evaluate(overlays, n, of, problems, &capacity, &owners), 0);
    json_decref(tree);
    json_decref(of);
    assert_int_equal(json_object_size(owners), json_object_size(capacity));
    json_decref(owners);
    return capacity;
}

#define OVERLAY(name, weight, requirements, capacity)                         \
    "{\"metadata\": {\"name\": \"" name "\"}, \"spec\": {\"weight\": " weight \
    ", \"requirements\": [" requirements "], \"capacity\": {" capacity "}}}"

static void assert_evaluates(const char *list, const char *labels, const char *expected,
                             const char *words)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *capacity = evaluate(list, labels, &problems), *wanted = json_loads(expected, 0, NULL);

    assert_non_null(wanted);
    if (!json_equal(capacity, wanted))
        fail_msg("not %s: %s", expected, json_dumps(capacity, 0));
    assert_int_equal(problems.n_items, *words ? 1 : 0);
    if (*words && !strstr(problems.items[0].text, words))
        fail_msg("'%s' is not in: %s", words, problems.items[0].text);
    json_decref(wanted);
    json_decref(capacity);
}

static void test_heavier_wins(void **state)
{
    assert_evaluates("[" OVERLAY("a", "1", "", "\"x\": \"1\", \"y\": \"1\"") ", " //
                     OVERLAY("b", "2", "", "\"x\": \"2\"") "]",
                     "{}", "{\"x\": \"2\", \"y\": \"1\"}", "");
}

static void test_clash(void **state)
{
    assert_evaluates("[" OVERLAY("a", "1", "", "\"x\": \"1\", \"y\": \"1\"") ", " //
                     OVERLAY("b", "1", "", "\"x\": \"2\"") "]",
                     "{}", "{\"x\": \"2\"}", "rejects the second as a whole");
}

/* A{x}, B{y}, C{x} in Karpenter's order, which is that of falling names. */
static void test_hole(void **state)
{
    assert_evaluates("[" OVERLAY("c", "1", "", "\"x\": \"1\"") ", " //
                     OVERLAY("b", "1", "", "\"y\": \"2\"") ", "     //
                     OVERLAY("a", "1", "", "\"x\": \"3\", \"z\": \"3\"") "]",
                     "{}", "{\"x\": \"1\", \"y\": \"2\", \"z\": \"3\"}", "without a word");
}

#define NEED(key, operator, values) \
    "{\"key\": \"" key "\", \"operator\": \"" operator"\", \"values\": [" values "]}"

static void test_requirements(void **state)
{
    static const struct {
        const char *list;
        bool met;
    } rows[] = {
        {"[" OVERLAY("a", "1", NEED("t", "In", "\"g5\", \"g6\""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("t", "In", "\"g6\""), "\"x\": \"1\"") "]", false},
        {"[" OVERLAY("a", "1", NEED("none", "In", "\"g6\""), "\"x\": \"1\"") "]", false},
        {"[" OVERLAY("a", "1", NEED("t", "NotIn", "\"g6\""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("none", "NotIn", "\"g6\""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("t", "Exists", ""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("t", "DoesNotExist", ""), "\"x\": \"1\"") "]", false},
        {"[" OVERLAY("a", "1", NEED("none", "DoesNotExist", ""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("n", "Gt", "\"3\""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("n", "Gt", "\"4\""), "\"x\": \"1\"") "]", false},
        {"[" OVERLAY("a", "1", NEED("n", "Gte", "\"4\""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("n", "Lt", "\"4\""), "\"x\": \"1\"") "]", false},
        {"[" OVERLAY("a", "1", NEED("n", "Lte", "\"4\""), "\"x\": \"1\"") "]", true},
        {"[" OVERLAY("a", "1", NEED("t", "Lt", "\"4\""), "\"x\": \"1\"") "]", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_evaluates(rows[i].list, "{\"t\": \"g5\", \"n\": \"4\"}",
                         rows[i].met ? "{\"x\": \"1\"}" : "{}", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),       cmocka_unit_test(test_heavier_wins),
        cmocka_unit_test(test_clash),        cmocka_unit_test(test_hole),
        cmocka_unit_test(test_requirements),
    };

    return cmocka_run_group_tests_name("karpenter/overlay", tests, bench_setup, bench_teardown);
}
