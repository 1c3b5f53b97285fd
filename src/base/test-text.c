// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void test_additions_append(void **state)
{
    cleanup_text struct text text = TEXT_INIT;

    assert_string_equal(text_string(&text), "");
    text_add(&text, "gpu");
    text_add_char(&text, '-');
    text_addf(&text, "%d of %s", 4, "16");
    text_add_bytes(&text, "\0x", 2);
    assert_int_equal(text.length, 13);
    assert_memory_equal(text_string(&text), "gpu-4 of 16\0x", 14);
    assert_false(text_failed(&text));

    text_clear(&text);
    assert_string_equal(text_string(&text), "");
    text_add(&text, "again");
    assert_string_equal(text_string(&text), "again");
}

static void test_every_length_across_a_growth_is_kept(void **state)
{
    for (size_t length = 0; length < 300; length++) {
        cleanup_text struct text text = TEXT_INIT;

        for (size_t i = 0; i < length; i++)
            text_add_char(&text, (char)('a' + i % 26));
        text_addf(&text, "%s", "|end");
        assert_int_equal(text.length, length + 4);
        assert_int_equal(strlen(text_string(&text)), length + 4);
        assert_string_equal(text_string(&text) + length, "|end");
    }
}

static void test_taking_hands_the_memory_over(void **state)
{
    struct text text = TEXT_INIT;
    cleanup_free char *empty = text_take(&text);
    cleanup_free char *full = NULL;

    assert_string_equal(empty, "");
    text_add(&text, "full");
    full = text_take(&text);
    assert_string_equal(full, "full");
    assert_null(text.data);
    assert_string_equal(text_string(&text), "");
}

static void test_a_lost_addition_is_remembered(void **state)
{
    cleanup_text struct text text = TEXT_INIT;

    text_add(&text, "kept");
    text_add_bytes(&text, "", SIZE_MAX / 2);
    assert_true(text_failed(&text));
    text_add(&text, "refused");
    assert_string_equal(text_string(&text), "kept");
    assert_null(text_take(&text));
    assert_false(text_failed(&text));
}

static void test_prefix_and_suffix(void **state)
{
    assert_true(str_starts_with("nvidia.com/gpu", "nvidia.com/"));
    assert_false(str_starts_with("nvidia", "nvidia.com/"));
    assert_true(str_starts_with("x", ""));
    assert_true(str_ends_with("gpu.shared", ".shared"));
    assert_true(str_ends_with(".shared", ".shared"));
    assert_false(str_ends_with("shared", ".shared"));
    assert_true(str_equal("", ""));
    assert_false(str_equal("gpu", "GPU"));
}

static void test_copy_fits_or_does_nothing(void **state)
{
    char to[4] = "old";

    assert_int_equal(str_copy(to, sizeof(to), "four"), -ENAMETOOLONG);
    assert_string_equal(to, "old");
    assert_int_equal(str_copy(to, sizeof(to), "new"), 0);
    assert_string_equal(to, "new");
    assert_int_equal(str_copy(to, 0, ""), -ENAMETOOLONG);
}

static void test_a_line_shows_no_control_characters(void **state)
{
    char line[] = "a\tb\nc\x1b[31md\x7f \xc2\xb5s", empty[] = "";

    str_make_line(line);
    assert_string_equal(line, "a?b?c?[31md? \xc2\xb5s");
    str_make_line(empty);
    assert_string_equal(empty, "");
}

/* As required by JSON, which accepts no other strings. */
static void test_a_line_is_utf8(void **state)
{
    static const struct {
        const char *word, *line;
    } table[] = {
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"cut \xc3", "cut ?"},
        {"cut \xe2\x82.", "cut ??."},
        {"no lead \xa9\xff", "no lead ??"},
        {"overlong \xc0\xaf \xe0\x80\xaf", "overlong ?? ???"},
        {"half a pair \xed\xa0\x80", "half a pair ???"},
        {"behind the last \xf4\x90\x80\x80", "behind the last ????"},
        {"CSI in one character \xc2\x9b", "CSI in one character ??"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char line[64];

        assert_int_equal(str_copy(line, sizeof(line), table[i].word), 0);
        str_make_line(line);
        assert_string_equal(line, table[i].line);
    }
}

static void test_a_cut_keeps_characters_whole(void **state)
{
    static const struct {
        const char *partial, *kept, *marked; /* marked: in a buffer of 8 bytes */
    } table[] = {
        {"", "", NULL},
        {"abc", "abc", NULL},
        {"ab\xc3", "ab", NULL},
        {"ab\xc3\xa4", "ab\xc3\xa4", NULL},
        {"\xf0\x9f\x98", "", NULL},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", NULL},
        {"\xa4\xa4\xa4\xa4", "\xa4\xa4\xa4\xa4", NULL}, /* is no UTF-8 anyway */
        {"abcdefg", "abcdefg", "abcd..."},
        {"abc\xc3\xa4"
         "fg",
         "abc\xc3\xa4"
         "fg",
         "abc..."},
        {"ab\xc3\xa4"
         "efg",
         "ab\xc3\xa4"
         "efg",
         "ab\xc3\xa4..."},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char buffer[8] = "";

        assert_int_equal(str_copy(buffer, sizeof(buffer), table[i].partial), 0);
        str_drop_partial(buffer);
        assert_string_equal(buffer, table[i].kept);
        if (!table[i].marked)
            continue;
        str_mark_cut(buffer, sizeof(buffer));
        assert_string_equal(buffer, table[i].marked);
    }
}

static void test_suggestions(void **state)
{
    static const char *const keys[] = {"replicas", "rename", "devices", "timeSlicing", "mps"};
    static const struct {
        const char *word, *meant;
    } table[] = {{"replica", "replicas"},
                 {"replciaS", "replicas"},
                 {"timeslicing", "timeSlicing"},
                 {"time_slicing", "timeSlicing"},
                 {"device", "devices"},
                 {"msp", "mps"},
                 {"failRequests", NULL},
                 {"x", NULL},
                 {"", NULL},
                 {"renaming", NULL}};
    char endless[200];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const char *found = str_suggest(table[i].word, keys, ARRAY_SIZE(keys));

        if (table[i].meant)
            assert_string_equal(found ? found : table[i].word, table[i].meant);
        else
            assert_null(found);
    }
    memset(endless, 'r', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_null(str_suggest(endless, keys, ARRAY_SIZE(keys)));
    assert_null(str_suggest("mps", keys, 0));
}

static void test_globs(void **state)
{
    static const struct {
        const char *pattern, *string;
        bool matches;
    } table[] = {
        {"*", "", true},
        {"*", "Tesla V100-SXM2-16GB", true},
        {"Tesla*", "Tesla V100-SXM2-16GB", true},
        {"*V100*", "Tesla V100-SXM2-16GB", true},
        {"*16GB", "Tesla V100-SXM2-16GB", true},
        {"Tesla", "Tesla V100-SXM2-16GB", false},
        {"*A100*", "Tesla V100-SXM2-16GB", false},
        {"*1*6*", "Tesla V100-SXM2-16GB", true},
        {"a*ab", "aaab", true},
        {"a?c", "abc", false},
        {"a?c", "a?c", true},
        {"", "", true},
        {"", "x", false},
        {"**", "x", true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_int_equal(str_glob(table[i].pattern, table[i].string), table[i].matches);
}

static void test_an_evil_glob_ends_soon(void **state)
{
    char pattern[4000], string[4000];

    for (size_t i = 0; i < sizeof(pattern) - 2; i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    memcpy(pattern + sizeof(pattern) - 2, "b", 2);
    memset(string, 'a', sizeof(string) - 1);
    string[sizeof(string) - 1] = '\0';
    assert_false(str_glob(pattern, string));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_additions_append),
        cmocka_unit_test(test_every_length_across_a_growth_is_kept),
        cmocka_unit_test(test_taking_hands_the_memory_over),
        cmocka_unit_test(test_a_lost_addition_is_remembered),
        cmocka_unit_test(test_prefix_and_suffix),
        cmocka_unit_test(test_copy_fits_or_does_nothing),
        cmocka_unit_test(test_a_line_shows_no_control_characters),
        cmocka_unit_test(test_a_line_is_utf8),
        cmocka_unit_test(test_a_cut_keeps_characters_whole),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_an_evil_glob_ends_soon),
    };

    return cmocka_run_group_tests_name("base/text", tests, NULL, NULL);
}
