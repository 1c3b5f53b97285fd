// SPDX-License-Identifier: Apache-2.0
#include "catalog/prices.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define HEAD "date: 2026-07-06\nregion: us-east-1\ncurrency: USD\n"

static void test_reads(void **state)
{
    static const char text[] = HEAD "hourly: {a.x: 12.24, b.x: 0.000001, c.x: 3, d.x: 21.957642}\n";
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_prices struct prices prices = PRICES_INIT;

    assert_int_equal(prices_parse(text, strlen(text), &problems, &prices), 0);
    assert_string_equal(prices.date, "2026-07-06");
    assert_string_equal(prices.region, "us-east-1");
    assert_string_equal(prices.currency, "USD");
    assert_int_equal(prices_find(&prices, "a.x"), 12240000);
    assert_int_equal(prices_find(&prices, "b.x"), 1);
    assert_int_equal(prices_find(&prices, "c.x"), 3000000);
    assert_int_equal(prices_find(&prices, "d.x"), 21957642);
    assert_int_equal(prices_find(&prices, "e.x"), 0);
}

static void test_refuses(void **state)
{
    static const char *const texts[] = {
        HEAD "hourly: {a.x: free}\n",
        HEAD "hourly: {a.x: 0}\n",
        HEAD "hourly: {a.x: 1.}\n",
        HEAD "hourly: {a.x: 1.0000001}\n",
        HEAD "hourly: {a.x: -1}\n",
        HEAD "hourly: {a.x: 1000000}\n",
        HEAD "hourly: {a.x: [1]}\n",
        HEAD "hourly: [1]\n",
        HEAD,
        "date: 6.7.2026\nregion: r\ncurrency: USD\nhourly: {}\n",
        HEAD "hourly: {a.x: 1, a.x: 2}\n",
        "",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        cleanup_prices struct prices prices = PRICES_INIT;

        if (prices_parse(texts[i], strlen(texts[i]), &problems, &prices) != -EBADMSG)
            fail_msg("taken: %s", texts[i]);
    }
}

/* Every type that has a price is one of the catalog. */
static void test_ours(void **state)
{
    const char *folder = getenv("GPUSLICE_TEST_CATALOG");
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_prices struct prices prices = PRICES_INIT;

    assert_int_equal(catalog_load(folder, &problems, &catalog), 0);
    assert_int_equal(prices_load(folder, &problems, &prices), 0);
    assert_int_not_equal(prices.n_items, 0);
    for (size_t i = 0; i < prices.n_items; i++)
        if (!catalog_find_type(&catalog, prices.items[i].type))
            fail_msg("no type %s", prices.items[i].type);
}

static void test_missing(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_prices struct prices prices = PRICES_INIT;

    assert_int_equal(prices_load("/nonexistent", &problems, &prices), -EBADMSG);
    assert_non_null(strstr(problems.items[0].text, "/nonexistent/prices.yaml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_missing),
    };

    return cmocka_run_group_tests_name("catalog/prices", tests, NULL, NULL);
}
