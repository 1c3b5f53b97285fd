// SPDX-License-Identifier: Apache-2.0
#include "slice/migname.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static const uint64_t gib = 1 << 30;

/* Valid names, and as they are written. */
static void test_valid(void **state)
{
    static const struct {
        const char *text, *formatted;
        struct mig_name name;
    } table[] = {
        {"1g.5gb", "1g.5gb", {1, 1, 5, ""}},
        {"1c.1g.5gb", "1g.5gb", {1, 1, 5, ""}},
        {"1g.5gb+me", "1g.5gb+me", {1, 1, 5, "+me"}},
        {"1c.1g.5gb+me", "1g.5gb+me", {1, 1, 5, "+me"}},
        {"1c.3g.20gb", "1c.3g.20gb", {1, 3, 20, ""}},
        {"2c.4g.48gb+gfx", "2c.4g.48gb+gfx", {2, 4, 48, "+gfx"}},
        {"1g.24gb-me", "1g.24gb-me", {1, 1, 24, "-me"}},
        {"2g.48gb+me.all", "2g.48gb+me.all", {2, 2, 48, "+me.all"}},
        {"1g.5gb+me,gfx", "1g.5gb+gfx,me", {1, 1, 5, "+gfx,me"}},
        {"1g.5gb-me,gfx", "1g.5gb-gfx,me", {1, 1, 5, "-gfx,me"}},
        {"1g.5gb+me,you,them", "1g.5gb+me,them,you", {1, 1, 5, "+me,them,you"}},
        {"1g.5gb+A1", "1g.5gb+A1", {1, 1, 5, "+A1"}},
        /* syntax alone: mig-parted's table has them as valid */
        {"0g.0gb", "0g.0gb", {0, 0, 0, ""}},
        {"0c.0g.0gb", "0g.0gb", {0, 0, 0, ""}},
        {"10000g.500000gb", "10000g.500000gb", {10000, 10000, 500000, ""}},
        {"10000c.10000g.500000gb", "10000g.500000gb", {10000, 10000, 500000, ""}},
        {"01g.05gb", "1g.5gb", {1, 1, 5, ""}},
        {"999999999g.999999999gb+abcd",
         "999999999g.999999999gb+abcd",
         {999999999, 999999999, 999999999, "+abcd"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char formatted[DEVICE_PROFILE_SIZE];
        struct mig_name name, again;
        struct error err = ERROR_INIT;

        if (migname_parse(table[i].text, &name, &err) < 0)
            fail_msg("%s: %s", table[i].text, err.message);
        assert_true(migname_equal(&name, &table[i].name));
        migname_format(&name, formatted);
        assert_string_equal(formatted, table[i].formatted);
        assert_int_equal(migname_parse(formatted, &again, NULL), 0);
        assert_true(migname_equal(&name, &again));
    }
}

static void test_invalid(void **state)
{
    static const struct {
        const char *text, *words;
    } table[] = {
        {"", "''"},
        {"bogus", "'bogus'"},
        {" 1c.1g.5gb", "form"},
        {"1 c.1g.5gb", "form"},
        {"1c .1g.5gb", "form"},
        {"1c. 1g.5gb", "form"},
        {"1c.1 g.5gb", "form"},
        {"1c.1g .5gb", "form"},
        {"1c.1g. 5gb", "form"},
        {"1c.1g.5 gb", "form"},
        {"1c.1g.5g b", "form"},
        {"1c.1g.5gb ", "behind 'gb'"},
        {"1c . 1g . 5gb", "form"},
        {"1c.f1g.5gb", "form"},
        {"1r.1g.5gb", "form"},
        {"1g.5gbk", "behind 'gb'"},
        {"1g.5", "form"},
        {"g.5gb", "form"},
        {"1g.gb", "form"},
        {"1g", "form"},
        {"1c.5gb", "form"},
        {"1g.1g.5gb", "form"},
        {"1c.1c.1g.5gb", "form"},
        {"-1g.5gb", "form"},
        {"+1g.5gb", "form"},
        {"1G.5GB", "form"},
        {"1g.5gb.me", "behind 'gb'"}, /* the spelling of resources */
        {"1g.5gb*me", "behind 'gb'"},
        {"1c.1g.5gb*me,you,them", "behind 'gb'"},
        {"1g.5gb+", "attribute"},
        {"1g.5gb +", "behind 'gb'"},
        {"1g.5gb+ ", "attribute"},
        {"1g.5gb+,", "attribute"},
        {"1g.5gb+,,", "attribute"},
        {"1g.5gb+me,", "attribute"},
        {"1g.5gb+me,,", "attribute"},
        {"1g.5gb+me, ", "attribute"},
        {"1g.5gb+ me", "attribute"},
        {"1g.5gb+2me", "attribute"},
        {"1g.5gb+me_all", "attribute"},
        {"1g.5gb+.me", "attribute"},
        {"1g.5gb+me.", "attribute"},
        {"1g.5gb-", "attribute"},
        {"1g.5gb+me,me", "twice"},
        {"1g.5gb+gfx,me,gfx", "twice"},
        {"1g.5gb+me-gfx", "attribute"},
        {"1g.5gb+me+gfx", "attribute"},
        {"1g.5gb+a,b,c,d,e,f,g,h,i", "too many"},
        {"1234567890g.5gb", "form"},
        {"1c.999999999g.999999999gb+abcdef", "too long"},
        {"1g.5gb+abcdefghijklmnopqrstuvwxyz", "too long"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct mig_name name;
        struct error err = ERROR_INIT;

        if (migname_parse(table[i].text, &name, &err) != -EINVAL)
            fail_msg("'%s' is accepted", table[i].text);
        if (!strstr(err.message, table[i].words))
            fail_msg("'%s': %s", table[i].text, err.message);
    }
}

static void assert_computed(uint32_t gpu_index, uint32_t compute_index, uint64_t mem_mib,
                            uint64_t total_bytes, const char *expected)
{
    char text[DEVICE_PROFILE_SIZE];
    struct mig_name name;

    assert_int_equal(migname_compute(gpu_index, compute_index, mem_mib, total_bytes, &name), 0);
    migname_format(&name, text);
    assert_string_equal(text, expected);
}

/* Memory in MiB as drivers report it, and the names that nvidia-smi prints. */
static void test_computed(void **state)
{
    const uint64_t mib = 1 << 20;
    const struct {
        uint32_t gpu_index, compute_index;
        uint64_t mem_mib, total;
        const char *name;
    } table[] = {
        {0, 0, 4864, 40960 * mib, "1g.5gb"},           {7, 0, 4864, 40960 * mib, "1g.5gb+me"},
        {9, 0, 9856, 40960 * mib, "1g.10gb"},          {1, 1, 9856, 40960 * mib, "2g.10gb"},
        {2, 2, 19968, 40960 * mib, "3g.20gb"},         {2, 0, 19968, 40960 * mib, "1c.3g.20gb"},
        {2, 1, 19968, 40960 * mib, "2c.3g.20gb"},      {3, 3, 19968, 40960 * mib, "4g.20gb"},
        {4, 4, 40192, 40960 * mib, "7g.40gb"},         {4, 3, 40192, 40960 * mib, "4c.7g.40gb"},
        {0, 0, 5836, 24576 * mib, "1g.6gb"},           {8, 1, 11672, 24576 * mib, "2g.12gb+me"},
        {3, 3, 23344, 24576 * mib, "4g.24gb"},         {0, 0, 16384, 143771 * mib, "1g.18gb"},
        {9, 0, 33280, 143771 * mib, "1g.35gb"},        {2, 2, 71424, 143771 * mib, "3g.71gb"},
        {4, 4, 143360, 143771 * mib, "7g.141gb"},      {13, 0, 24192, 97887 * mib, "1g.24gb-me"},
        {15, 0, 24192, 97887 * mib, "1g.24gb+me.all"}, {12, 3, 97408, 97887 * mib, "4g.96gb+gfx"},
        {11, 1, 48512, 97887 * mib, "2g.48gb+gfx"},    {0, 7, 4864, 40960 * mib, "1g.5gb"},
        {4, 8, 40192, 40960 * mib, "7g.40gb"},         {5, 5, 40192, 40960 * mib, "8g.40gb"},
        {6, 6, 40192, 40960 * mib, "6g.40gb"},         {0, 0, 4864, 0, "1g.0gb"},
        {0, 0, UINT64_MAX, 1, "1g.999999gb"},
    };
    struct mig_name name;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_computed(table[i].gpu_index, table[i].compute_index, table[i].mem_mib,
                        table[i].total, table[i].name);
    assert_int_equal(migname_compute(17, 0, 4864, 40 * gib, &name), MIGNAME_UNKNOWN);
    assert_int_equal(migname_compute(0, 9, 4864, 40 * gib, &name), MIGNAME_UNKNOWN);
    assert_int_equal(migname_compute(UINT32_MAX, UINT32_MAX, 1, 1, &name), MIGNAME_UNKNOWN);
}

/* The table of go-nvlib and mig-parted: every size in steps of 1/32 GiB is named by the next eighth
 * of the GPU. */
static void test_memory_is_named_by_eighths(void **state)
{
    static const uint64_t totals[] = {24, 40, 80};

    for (size_t t = 0; t < ARRAY_SIZE(totals); t++) {
        uint64_t total = totals[t] * gib, eighth = total / 8;

        for (uint64_t size = gib / 32; size <= total; size += gib / 32) {
            char expected[DEVICE_PROFILE_SIZE];

            snprintf(expected, sizeof(expected), "1g.%ugb",
                     (unsigned)((size + eighth - 1) / eighth * eighth / gib));
            assert_computed(0, 0, size >> 20, total, expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_computed),
        cmocka_unit_test(test_memory_is_named_by_eighths),
    };

    return cmocka_run_group_tests_name("slice/migname", tests, NULL, NULL);
}
