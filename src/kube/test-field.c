// SPDX-License-Identifier: Apache-2.0
#include "kube/field.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/array.h"

static json_t *read_json(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

    assert_non_null(json);
    return json;
}

static void a_member_that_is_no_text_is_empty(void **state)
{
    static const struct {
        const char *object, *text;
    } rows[] = {{"{\"key\":\"value\"}", "value"},
                {"{\"key\":\"\"}", ""},
                {"{\"key\":7}", ""},
                {"{\"key\":null}", ""},
                {"{}", ""},
                {"[\"key\"]", ""},
                {"\"key\"", ""}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *object = read_json(rows[i].object);

        assert_string_equal(kube_text(object, "key"), rows[i].text);
        assert_true(kube_says(object, "key", rows[i].text));
        assert_false(kube_says(object, "key", "other"));
        json_decref(object);
    }
    assert_string_equal(kube_text(NULL, "key"), "");
    assert_false(kube_says(NULL, "key", "value"));
}

static void metadata_tell_absent_from_empty(void **state)
{
    json_t *object = read_json("{\"metadata\":{\"name\":\"gpu-1\",\"uid\":\"u1\",\"generation\":3,"
                               "\"labels\":{\"team\":\"\",\"n\":7},"
                               "\"annotations\":{\"note\":\"x\"}}}");
    json_t *bare = read_json("{\"metadata\":[]}");

    assert_string_equal(kube_name(object), "gpu-1");
    assert_string_equal(kube_uid(object), "u1");
    assert_int_equal(kube_generation(object), 3);
    assert_string_equal(kube_label(object, "team"), "");
    assert_null(kube_label(object, "n"));
    assert_null(kube_label(object, "note"));
    assert_string_equal(kube_annotation(object, "note"), "x");
    assert_null(kube_annotation(object, "team"));

    assert_string_equal(kube_name(bare), "");
    assert_string_equal(kube_uid(bare), "");
    assert_int_equal(kube_generation(bare), 0);
    assert_null(kube_label(bare, "team"));
    assert_null(kube_annotation(NULL, "note"));
    json_decref(object);
    json_decref(bare);
}

static void a_condition_is_found_by_its_type(void **state)
{
    json_t *node = read_json("{\"status\":{\"conditions\":[7,{\"status\":\"True\"},"
                             "{\"type\":\"DiskPressure\",\"status\":\"False\"},"
                             "{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    json_t *bare = read_json("{\"status\":{\"conditions\":{\"Ready\":\"True\"}}}");

    assert_true(kube_says(kube_condition(node, "Ready"), "status", "True"));
    assert_true(kube_says(kube_condition(node, "DiskPressure"), "status", "False"));
    assert_null(kube_condition(node, "Read"));
    assert_null(kube_condition(bare, "Ready"));
    assert_null(kube_condition(NULL, "Ready"));
    json_decref(node);
    json_decref(bare);
}

static void times_are_of_the_api_only(void **state)
{
    static const struct {
        const char *object;
        int64_t time;
    } rows[] = {{"{\"at\":\"1970-01-01T00:01:00Z\"}", 60},
                {"{\"at\":\"2026-01-31T23:59:59Z\"}", 1769903999},
                {"{\"at\":\"2026-01-31T23:59:59\"}", 0},
                {"{\"at\":\"2026-01-31T23:59:59Z \"}", 0},
                {"{\"at\":\"yesterday\"}", 0},
                {"{\"at\":60}", 0},
                {"{}", 0}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *object = read_json(rows[i].object);

        if (kube_time(object, "at") != rows[i].time)
            fail_msg("%s is %lld", rows[i].object, (long long)kube_time(object, "at"));
        json_decref(object);
    }
}

static void whole_numbers_are_counts(void **state)
{
    static const struct {
        const char *quantity;
        int64_t count;
    } rows[] = {{"\"0\"", 0},
                {"\"12\"", 12},
                {"\"2k\"", 2000},
                {"\"1M\"", 1000000},
                {"\"9000000000000000000\"", 9000000000000000000},
                {"\"9000000000000000000k\"", -1},
                {"\"-3\"", -1},
                {"\"500m\"", -1},
                {"\"1.5\"", -1},
                {"\"1Ki\"", -1},
                {"\"7k \"", -1},
                {"\"x\"", -1},
                {"\"\"", -1},
                {"16", 16},
                {"0", 0},
                {"-3", -1},
                {"1.5", -1},
                {"true", -1},
                {"null", -1},
                {"[16]", -1}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *quantity = read_json(rows[i].quantity);

        if (kube_count(quantity) != rows[i].count)
            fail_msg("%s is %lld", rows[i].quantity, (long long)kube_count(quantity));
        json_decref(quantity);
    }
    assert_int_equal(kube_count(NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_that_is_no_text_is_empty),
        cmocka_unit_test(metadata_tell_absent_from_empty),
        cmocka_unit_test(a_condition_is_found_by_its_type),
        cmocka_unit_test(times_are_of_the_api_only),
        cmocka_unit_test(whole_numbers_are_counts),
    };

    return cmocka_run_group_tests_name("kube/field", tests, NULL, NULL);
}
