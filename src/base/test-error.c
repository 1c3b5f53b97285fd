// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_raising_returns_the_code_it_was_given(void **state)
{
    struct error err = ERROR_INIT;

    assert_int_equal(error_set(&err, -ENOENT, "no GPU has the UUID %s", "GPU-1"), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(error_text(&err), "no GPU has the UUID GPU-1");
    assert_int_equal(error_wrap(&err, -EIO, "cannot start"), -EIO);
    assert_int_equal(err.code, -EIO);
}

static void test_sentences_grow_from_the_inside_out(void **state)
{
    struct error err = ERROR_INIT;

    error_set_errno(&err, -ENOENT, "cannot read %s", "x.yaml");
    assert_string_equal(error_text(&err), "cannot read x.yaml: No such file or directory");
    error_wrap(&err, -ENOENT, "cannot start");
    assert_string_equal(error_text(&err),
                        "cannot start: cannot read x.yaml: No such file or directory");
}

static void test_wrapping_an_empty_error_says_what_errno_says(void **state)
{
    struct error err = ERROR_INIT;

    error_wrap(&err, -EACCES, "cannot open the socket");
    assert_string_equal(error_text(&err), "cannot open the socket: Permission denied");
}

static void test_nobody_cares(void **state)
{
    assert_int_equal(error_set(NULL, -EINVAL, "x"), -EINVAL);
    assert_int_equal(error_set_errno(NULL, -EINVAL, "x"), -EINVAL);
    assert_int_equal(error_wrap(NULL, -EINVAL, "x"), -EINVAL);
    assert_string_equal(error_text(NULL), "no error");
}

static void test_a_long_sentence_is_cut_visibly(void **state)
{
    struct error err = ERROR_INIT;
    char longest[2 * sizeof(err.message)];
    size_t length = sizeof(err.message) - 1;

    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    error_set(&err, -E2BIG, "%.*s", (int)length, longest);
    assert_string_equal(error_text(&err) + length - 3, "xxx");

    error_set(&err, -E2BIG, "%s", longest);
    assert_int_equal(strlen(error_text(&err)), length);
    assert_string_equal(error_text(&err) + length - 3, "...");

    /* Wrapping truncates the end: the outer context stays. */
    error_wrap(&err, -E2BIG, "cannot start");
    assert_int_equal(strlen(error_text(&err)), length);
    assert_memory_equal(error_text(&err), "cannot start: xxx", 17);
    assert_string_equal(error_text(&err) + length - 3, "...");
}

static void test_an_outside_word_cannot_break_the_line(void **state)
{
    struct error err = ERROR_INIT;

    error_set(&err, -EINVAL, "the duration '%s' needs units", "1r\x1b[2J\n");
    assert_string_equal(error_text(&err), "the duration '1r?[2J?' needs units");
}

/* Otherwise JSON would reject the whole message. */
static void test_a_cut_leaves_no_half_character(void **state)
{
    char word[sizeof(((struct error *)NULL)->message) + 100];
    struct error err = ERROR_INIT;

    for (size_t i = 0; i + 1 < sizeof(word); i += 2)
        memcpy(word + i, "\xc3\xa9", 2);
    word[sizeof(word) - 2] = '\0';
    for (const char *const *head = (const char *const[]){"", "x", "xy", NULL}; *head; head++) {
        const char *text, *end;

        error_set(&err, -E2BIG, "%s%s", *head, word);
        text = error_text(&err) + strlen(*head);
        end = strchr(text, '.');
        assert_string_equal(end, "...");
        assert_int_equal((end - text) % 2, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raising_returns_the_code_it_was_given),
        cmocka_unit_test(test_sentences_grow_from_the_inside_out),
        cmocka_unit_test(test_wrapping_an_empty_error_says_what_errno_says),
        cmocka_unit_test(test_nobody_cares),
        cmocka_unit_test(test_a_long_sentence_is_cut_visibly),
        cmocka_unit_test(test_a_cut_leaves_no_half_character),
        cmocka_unit_test(test_an_outside_word_cannot_break_the_line),
    };

    return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
