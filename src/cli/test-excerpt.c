// SPDX-License-Identifier: Apache-2.0
#include "cli/excerpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define GREEK "\xce\xb1\xce\xb2" /* two characters of two bytes */

static void test_the_caret_is_below_the_character(void **state)
{
    static const struct {
        const char *text;
        struct position at;
        unsigned width;
        const char *shown;
    } table[] = {
        {"a: 1\nb: ten\n", {2, 4}, 80, "    2 | b: ten\n      |    ^\n"},
        {"a: 1\r\nb: ten\r\n", {2, 1}, 80, "    2 | b: ten\n      | ^\n"},
        {"\xef\xbb\xbf"
         "a: 1\n",
         {1, 4},
         80,
         "    1 | a: 1\n      |    ^\n"},
        {GREEK ": x", {1, 3}, 80, "    1 | " GREEK ": x\n      |   ^\n"},
        {"a:\tb", {1, 4}, 80, "    1 | a: b\n      |    ^\n"},
        {"a: \x1b[31m", {1, 4}, 80, "    1 | a: ?[31m\n      |    ^\n"},
        {"a: 1\n", {2, 1}, 80, "    2 | \n      | ^\n"}, /* the end of the file */
        {"a: 1", {3, 1}, 80, ""},
        {"a: 1", {0, 0}, 80, ""},
        {"0123456789012345678901234567890123456789",
         {1, 31},
         28,
         "    1 | 01234567890123456789\n      |           ^\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char shown[256] = "";
        FILE *out = fmemopen(shown, sizeof(shown), "w");

        assert_non_null(out);
        excerpt_print(table[i].text, strlen(table[i].text), table[i].at, table[i].width, out);
        fclose(out);
        if (strcmp(shown, table[i].shown) != 0)
            fail_msg("%zu: '%s', not '%s'", i, shown, table[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_caret_is_below_the_character),
    };

    return cmocka_run_group_tests_name("cli/excerpt", tests, NULL, NULL);
}
