// SPDX-License-Identifier: Apache-2.0
#include "health/xid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/problem.h"

/* Numbers whose class somebody will look up here; the catalogue is a binary search away. */
static void classes(void **state)
{
    static const struct {
        uint64_t number;
        enum xid_class class;
    } rows[] = {
        {13, XID_APPLICATION}, {31, XID_APPLICATION},   {43, XID_APPLICATION},
        {45, XID_APPLICATION}, {68, XID_APPLICATION},   {109, XID_APPLICATION},
        {94, XID_APPLICATION}, {48, XID_RESET},         {62, XID_RESET},
        {63, XID_INFORMATION}, {64, XID_RESET},         {74, XID_PROBE},
        {79, XID_REBOOT},      {92, XID_INFORMATION},   {95, XID_RESET},
        {119, XID_RESET},      {120, XID_RESET},        {140, XID_RESET},
        {143, XID_RESET},      {145, XID_PROBE},        {154, XID_PROBE},
        {8, XID_PROBE},        {172, XID_PROBE},        {0, XID_PROBE},
        {999, XID_PROBE},      {UINT64_MAX, XID_PROBE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (xid_find(rows[i].number)->class != rows[i].class)
            fail_msg("XID %d is %s", (int)rows[i].number,
                     xid_class_name(xid_find(rows[i].number)->class));
    assert_string_equal(xid_find(79)->meaning, "GPU has fallen off the bus");
    assert_string_equal(xid_find(998)->meaning, "unknown XID");
}

/* The table is found by bisection: every row must be reachable. */
static void every_row_is_found(void **state)
{
    unsigned found = 0, last = 0;

    for (unsigned number = 1; number < 1000; number++) {
        const struct xid *xid = xid_find(number);

        if (xid->number == 0 || number <= last)
            continue;
        assert_int_equal(xid->number, number);
        assert_true(xid->last >= number);
        assert_true(xid->meaning[0] && xid->source[0]);
        assert_ptr_equal(xid_find(xid->last), xid);
        last = xid->last;
        found++;
    }
    assert_true(found > 50);
    assert_int_equal(xid_find(133)->class, XID_PROBE);
    assert_string_equal(xid_find(133)->meaning, "copy engine error");
}

static void filters(void **state)
{
    static const struct {
        const char *disable, *enable;
        uint64_t number;
        enum xid_class class;
    } rows[] = {
        {NULL, NULL, 79, XID_REBOOT},
        {"", "  ", 79, XID_REBOOT},
        {NULL, NULL, 13, XID_APPLICATION},
        {"79", NULL, 79, XID_DISABLED},
        {" 48 , 79 ", NULL, 79, XID_DISABLED},
        {"79", NULL, 95, XID_RESET},
        {"all", NULL, 79, XID_DISABLED},
        {"ALL", NULL, 79, XID_DISABLED},
        {"48,Xids", NULL, 79, XID_DISABLED},
        /* The originals give up at `all` and never look at the other list. */
        {"all", "79", 79, XID_REBOOT},
        {"all", "79", 48, XID_DISABLED},
        {"79", "79", 79, XID_REBOOT},
        {"all", "all", 79, XID_REBOOT},
        {NULL, "13", 13, XID_RESET},
        {NULL, "all", 13, XID_RESET},
        {NULL, "all", 63, XID_RESET},
        {"13", "all", 13, XID_RESET},
        {NULL, "74", 74, XID_RESET}, /* enabled ones last */
        {NULL, "999", 999, XID_RESET},
        {NULL, "74", 75, XID_PROBE},
        {"63", NULL, 63, XID_DISABLED},
        {"79,x,95", NULL, 95, XID_DISABLED},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct xid_filter filter = XID_FILTER_INIT;

        assert_int_equal(xid_filter_parse(rows[i].disable, rows[i].enable, NULL, &filter), 0);
        if (xid_filter_class(&filter, rows[i].number) != rows[i].class)
            fail_msg("row %zu: %s", i, xid_class_name(xid_filter_class(&filter, rows[i].number)));
        xid_filter_deinit(&filter);
    }
}

static void all_checks_are_off(void **state)
{
    static const struct {
        const char *disable, *enable;
        bool off;
    } rows[] = {
        {NULL, NULL, false},    {"79", NULL, false}, {"all", NULL, true},   {"xids", NULL, true},
        {"48,all", NULL, true}, {"all", "79", true}, {"all", "all", false}, {NULL, "all", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct xid_filter filter = XID_FILTER_INIT;

        assert_int_equal(xid_filter_parse(rows[i].disable, rows[i].enable, NULL, &filter), 0);
        assert_int_equal(xid_filter_only_enabled(&filter), rows[i].off);
        xid_filter_deinit(&filter);
    }
}

static void names_malformed_items(void **state)
{
    static const struct {
        const char *disable, *enable, *path, *named; /* named NULL: nothing to say */
    } rows[] = {
        {"79,al1,48", NULL, "DP_DISABLE_HEALTHCHECKS", "'al1'"},
        {NULL, "-5", "DP_ENABLE_HEALTHCHECKS", "'-5'"},
        {"79 48", NULL, "DP_DISABLE_HEALTHCHECKS", "'79 48'"},
        {"79,,48", NULL, "DP_DISABLE_HEALTHCHECKS", "''"},
        {"0x4f", NULL, "DP_DISABLE_HEALTHCHECKS", "'0x4f'"},
        {"99999999999999999999", NULL, "DP_DISABLE_HEALTHCHECKS", "'99999999999999999999'"},
        {"79,48", "all", NULL, NULL},
        {" ", "", NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        struct xid_filter filter = XID_FILTER_INIT;

        assert_int_equal(xid_filter_parse(rows[i].disable, rows[i].enable, &problems, &filter), 0);
        xid_filter_deinit(&filter);
        assert_int_equal(problems.n_items, rows[i].named ? 1 : 0);
        if (!rows[i].named)
            continue;
        assert_int_equal(problems.items[0].severity, PROBLEM_WARNING);
        assert_string_equal(problems.items[0].path, rows[i].path);
        assert_non_null(strstr(problems.items[0].text, rows[i].named));
    }
}

/* Else one tenant's fault would take the MIG devices of all, or a lost GPU leave some of them
 * Healthy. */
static void whole_gpu_faults(void **state)
{
    static const uint64_t whole[] = {54,  61,  62,  79,  95,  110, 119, 120,
                                     136, 140, 143, 151, 155, 158, 167};
    size_t n = 0;

    (void)state;
    for (uint64_t number = 0; number < 1000; number++) {
        const struct xid *xid = xid_find(number);

        if (xid->whole_gpu) {
            assert_true(n < ARRAY_SIZE(whole));
            assert_int_equal(number, whole[n]);
            n++;
        }
        if (xid->class == XID_REBOOT)
            assert_true(xid->whole_gpu);
    }
    assert_int_equal(n, ARRAY_SIZE(whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),          cmocka_unit_test(every_row_is_found),
        cmocka_unit_test(filters),          cmocka_unit_test(names_malformed_items),
        cmocka_unit_test(whole_gpu_faults), cmocka_unit_test(all_checks_are_off),
    };

    return cmocka_run_group_tests_name("health/xid", tests, NULL, NULL);
}
