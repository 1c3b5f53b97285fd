// SPDX-License-Identifier: Apache-2.0
#include "controller/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"

static void whole_numbers_are_read(void **state)
{
    static const struct {
        const char *text;
        json_int_t number;
    } rows[] = {{NULL, 0},       {"", 0},
                {"0", 0},        {"12", 12},
                {"-3", 0},       {"2k", 2000},
                {"1M", 1000000}, {"500m", 0},
                {"1.5", 0},      {"x", 0},
                {"1Ki", 0},      {"9000000000000000000", 1000000},
                {"7k ", 0},      {"1000k", 1000000},
                {"2M", 1000000}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (quantity_read(rows[i].text) != rows[i].number)
            fail_msg("%s is %lld", rows[i].text, (long long)quantity_read(rows[i].text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_numbers_are_read)};

    return cmocka_run_group_tests_name("controller/quantity", tests, NULL, NULL);
}
