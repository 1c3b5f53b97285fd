// SPDX-License-Identifier: Apache-2.0
#include "kube/splitter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

enum { MAX_BYTES = 64 };

/* Objects as they came, each followed by '|'. */
static int keep(const char *json, size_t size, void *userdata)
{
    text_add_bytes(userdata, json, size);
    text_add_char(userdata, '|');
    return 0;
}

/* Feeds pieces of `step` bytes, each of its own allocation: what reads past one is seen. */
static int split(struct splitter *splitter, const char *data, size_t size, size_t step)
{
    int r = 0;

    for (size_t at = 0; r == 0 && at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        cleanup_free char *piece = malloc(n);

        memcpy(piece, data + at, n);
        r = splitter_feed(splitter, piece, n);
    }
    return r == 0 ? splitter_end(splitter) : r;
}

/* The result and the objects are the same however the bytes are torn. */
static void check(enum split_form form, const char *data, int result, const char *objects)
{
    for (size_t step = 1; step <= strlen(data) + 1; step++) {
        cleanup_text struct text kept = TEXT_INIT;
        struct splitter splitter;
        int r;

        splitter_init(&splitter, form, MAX_BYTES, keep, &kept);
        r = split(&splitter, data, strlen(data), step);
        if (r != result || !str_equal(text_string(&kept), objects))
            fail_msg("%s in pieces of %zu: %d, %s", data, step, r, text_string(&kept));
        splitter_deinit(&splitter);
    }
}

static void test_lists(void **state)
{
    static const struct {
        const char *data;
        int result;
        const char *objects;
    } cases[] = {
        {"{\"items\":[]}", 0, ""},
        {"{\"items\":null}", 0, ""},
        {"{\"kind\":\"L\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"a\":1},{}]}\n", 0,
         "{\"a\":1}|{}|"},
        {" {\t\"items\" :\r\n[ {\"a\":[{},[]]} , {\"b\":\"]}\\\"{\"} ] , \"x\":-1.5e3, \"y\":true "
         "}",
         0, "{\"a\":[{},[]]}|{\"b\":\"]}\\\"{\"}|"},
        {"{\"items\":[{\"a\":\"\\\\\"}],\"metadata\":{}}", 0, "{\"a\":\"\\\\\"}|"},
        {"{\"x\":{\"items\":[{\"no\":1}]},\"items\":[{\"yes\":1}]}", 0, "{\"yes\":1}|"},
        {"{\"it\\u0065ms\":[{}]}", 0, "{}|"},
        /* no list */
        {"", -EBADMSG, ""},
        {"{}", -EBADMSG, ""},
        {"<html>", -EBADMSG, ""},
        {"[{}]", -EBADMSG, ""},
        {"null", -EBADMSG, ""},
        {"{\"kind\":\"Status\"}", -EBADMSG, ""},
        {"{\"items\":{}}", -EBADMSG, ""},
        {"{\"items\":1}", -EBADMSG, ""},
        {"{\"items\":[1]}", -EBADMSG, ""},
        {"{\"items\":[null]}", -EBADMSG, ""},
        {"{\"items\":[[]]}", -EBADMSG, ""},
        {"{\"items\":[],\"metadata\":[]}", -EBADMSG, ""},
        {"{\"items\":[],\"items\":[]}", -EBADMSG, ""},
        {"{\"items\":[],\"items\":null}", -EBADMSG, ""},
        {"{\"metadata\":{},\"metadata\":{},\"items\":[]}", -EBADMSG, ""},
        /* torn */
        {"{\"items\":[{\"a\":1}", -EBADMSG, "{\"a\":1}|"},
        {"{\"items\":[{\"a\":1},", -EBADMSG, "{\"a\":1}|"},
        {"{\"items\":[{\"a\":1}]", -EBADMSG, "{\"a\":1}|"},
        {"{\"items\":[{\"a", -EBADMSG, ""},
        {"{\"items\"", -EBADMSG, ""},
        /* no JSON */
        {"{\"items\":[{},]}", -EBADMSG, "{}|"},
        {"{\"items\":[,{}]}", -EBADMSG, ""},
        {"{\"items\":[{}{}]}", -EBADMSG, "{}|"},
        {"{\"items\":[],}", -EBADMSG, ""},
        {"{,\"items\":[]}", -EBADMSG, ""},
        {"{\"items\" []}", -EBADMSG, ""},
        {"{\"items\":[]}}", -EBADMSG, ""},
        {"{\"items\":[]} {", -EBADMSG, ""},
        {"{items:[]}", -EBADMSG, ""},
        {"{\"a\":nope,\"items\":[]}", -EBADMSG, ""},
        {"{\"a\":[1}],\"items\":[]}", -EBADMSG, ""},
        {"{\"a\":,\"items\":[]}", -EBADMSG, ""},
        {"{\"a\\q\":1,\"items\":[]}", -EBADMSG, ""},
        {"{\"items\":[\x01", -EBADMSG, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check(SPLIT_LIST, cases[i].data, cases[i].result, cases[i].objects);
}

static void test_events(void **state)
{
    static const struct {
        const char *data;
        int result;
        const char *objects;
    } cases[] = {
        {"", 0, ""},
        {"\n\n", 0, ""},
        {"{\"type\":\"ADDED\"}\n{\"type\":\"X\"}\n", 0, "{\"type\":\"ADDED\"}|{\"type\":\"X\"}|"},
        {"{}{}\r\n{}", 0, "{}|{}|{}|"},
        {"{\"a\":\"\\n}\"}\n", 0, "{\"a\":\"\\n}\"}|"},
        {"{}\n{\"a\":", -EBADMSG, "{}|"},
        {"{}\ngarbage", -EBADMSG, "{}|"},
        {"[{}]", -EBADMSG, ""},
        {"\"x\"", -EBADMSG, ""},
        {"{}}", -EBADMSG, "{}|"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check(SPLIT_EVENTS, cases[i].data, cases[i].result, cases[i].objects);
}

static void test_a_nul_byte_is_no_json(void **state)
{
    static const char data[] = "{\"a\":1\0,\"items\":[]}";
    cleanup_text struct text kept = TEXT_INIT;
    struct splitter splitter;

    (void)state;
    splitter_init(&splitter, SPLIT_LIST, MAX_BYTES, keep, &kept);
    assert_int_equal(split(&splitter, data, sizeof(data) - 1, 3), -EBADMSG);
    splitter_deinit(&splitter);
}

static void test_an_object_has_a_bound_and_a_list_has_none(void **state)
{
    char object[MAX_BYTES + 2];

    (void)state;
    for (size_t size = MAX_BYTES; size <= MAX_BYTES + 1; size++) {
        int expected = size > MAX_BYTES ? -EMSGSIZE : 0;

        for (size_t step = 1; step <= size; step++) {
            cleanup_text struct text kept = TEXT_INIT;
            struct splitter splitter;

            snprintf(object, sizeof(object), "{\"a\":\"%0*d\"}", (int)size - 8, 0);
            splitter_init(&splitter, SPLIT_EVENTS, MAX_BYTES, keep, &kept);
            assert_int_equal(split(&splitter, object, size, step), expected);
            splitter_deinit(&splitter);
        }
    }
    cleanup_text struct text kept = TEXT_INIT;
    struct splitter splitter;

    splitter_init(&splitter, SPLIT_LIST, MAX_BYTES, keep, &kept);
    assert_int_equal(splitter_feed(&splitter, "{\"items\":[{}", 12), 0);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(splitter_feed(&splitter, ",{\"a\":1}", 8), 0);
    assert_int_equal(splitter_feed(&splitter, "]}", 2), 0);
    assert_int_equal(splitter_end(&splitter), 0);
    assert_int_equal(kept.length, 3 + 10000 * 8);
    assert_true(splitter.held.capacity <= 2 * MAX_BYTES);
    splitter_deinit(&splitter);
}

static void test_metadata_may_stand_before_or_behind(void **state)
{
    static const char *const lists[] = {
        "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"\"},\"items\":[{}]}",
        "{\"items\":[{}],\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"\"}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        cleanup_text struct text kept = TEXT_INIT;
        struct splitter splitter;

        splitter_init(&splitter, SPLIT_LIST, MAX_BYTES, keep, &kept);
        assert_int_equal(split(&splitter, lists[i], strlen(lists[i]), 5), 0);
        assert_string_equal(splitter_metadata(&splitter, "resourceVersion"), "7");
        assert_null(splitter_metadata(&splitter, "continue"));
        splitter_deinit(&splitter);
    }
}

static int refuse(const char *json, size_t size, void *userdata)
{
    (void)json;
    (void)size;
    ++*(int *)userdata;
    return -ECANCELED;
}

static void test_the_caller_can_stop_it(void **state)
{
    struct splitter splitter;
    int n_calls = 0;

    (void)state;
    splitter_init(&splitter, SPLIT_EVENTS, MAX_BYTES, refuse, &n_calls);
    assert_int_equal(splitter_feed(&splitter, "{}{}", 4), -ECANCELED);
    assert_int_equal(n_calls, 1);
    splitter_deinit(&splitter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_a_nul_byte_is_no_json),
        cmocka_unit_test(test_an_object_has_a_bound_and_a_list_has_none),
        cmocka_unit_test(test_metadata_may_stand_before_or_behind),
        cmocka_unit_test(test_the_caller_can_stop_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
