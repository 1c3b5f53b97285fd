// SPDX-License-Identifier: Apache-2.0

/* Lines that fit, and what of a cell stays. */

#include "cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* Prints one row below the headings NAME, N, WHAT; free it. */
static char *print(size_t max_width, const char *name, const char *number, const char *what)
{
    cleanup_table struct table table = {
        .headings = {"NAME", "N", "WHAT"}, .right = {false, true, false}, .max_width = max_width};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    table_add(&table, "%s", name);
    table_add(&table, "%s", number);
    table_add(&table, "%s", what);
    table_print(&table, out);
    fclose(out);
    return text;
}

static void assert_printed(size_t max_width, const char *name, const char *number, const char *what,
                           const char *expected)
{
    cleanup_free char *text = print(max_width, name, number, what);

    assert_string_equal(text, expected);
}

static void test_what_fits_is_printed_whole(void **state)
{
    assert_printed(0, "a-very-long-name-indeed", "12345", "x",
                   "NAME                         N  WHAT\na-very-long-name-indeed  12345  x\n");
    assert_printed(36, "a-very-long-name-indeed", "12345", "x",
                   "NAME                         N  WHAT\na-very-long-name-indeed  12345  x\n");
}

static void test_the_widest_words_are_cut_in_their_middle(void **state)
{
    assert_printed(26, "a-very-long-name-indeed", "12345", "x",
                   "NAME               N  WHAT\na-very..ndeed  12345  x\n");
}

static void test_numbers_and_short_words_stay(void **state)
{
    assert_printed(1, "12345678", "1234567890123", "eight-ch",
                   "NAME                  N  WHAT\n12345678  1234567890123  eight-ch\n");
}

static void test_a_character_is_cut_as_one(void **state)
{
    cleanup_free char *text = print(20, "ÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜ", "1", "x");

    assert_non_null(strstr(text, "\nÄÖÜÄÖ..ÜÄÖÜ  1  x\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits_is_printed_whole),
        cmocka_unit_test(test_the_widest_words_are_cut_in_their_middle),
        cmocka_unit_test(test_numbers_and_short_words_stay),
        cmocka_unit_test(test_a_character_is_cut_as_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
