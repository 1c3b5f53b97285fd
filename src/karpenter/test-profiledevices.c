// SPDX-License-Identifier: Apache-2.0
#include "karpenter/profiledevices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

#define MIG(devices) "gpuNames: [a], mig: {strategy: mixed, devices: {" devices "}}"

/* However they are written, devices are one layout. */
static void test_order(void **state)
{
    static const char *const specs[] = {MIG("3g.20gb: 1, 1c.1g.5gb+me: 1, 1g.5gb: 2"),
                                        MIG("1g.5gb: 2, 1g.5gb+me: 1, 3g.20gb: 1")};

    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        cleanup_sliceprofile struct sliceprofile p = bench_profile(specs[i]);
        char text[PROFILEDEVICES_TEXT];
        json_t *map = profiledevices_json(&p.devices);

        profiledevices_format(&p.devices, text);
        assert_string_equal(text, "2 x 1g.5gb, 1 x 1g.5gb+me, 1 x 3g.20gb");
        assert_int_equal(json_object_size(map), 3);
        assert_int_equal(json_integer_value(json_object_get(map, "1g.5gb")), 2);
        json_decref(map);
    }
}

/* The longest list of the longest names. */
static void test_many(void **state)
{
    cleanup_text struct text spec = TEXT_INIT;

    text_add(&spec, "gpuNames: [a], mig: {strategy: mixed, devices: {");
    for (unsigned i = 0; i < PROFILEDEVICES_MAX; i++)
        text_addf(&spec, "1%uc.99g.99999gb+abcdefghijklmn: 255, ", i);
    text_add(&spec, "}}");
    {
        cleanup_sliceprofile struct sliceprofile p = bench_profile(text_string(&spec));

        assert_int_equal(p.devices.n_items, PROFILEDEVICES_MAX);
        assert_true(str_ends_with(p.layout, "abcdefghijklmn"));
    }
}

static void test_refuses(void **state)
{
    static const struct {
        const char *spec, *words;
    } rows[] = {
        {"gpuNames: [a], mig: {strategy: mixed, devices: {}}", "1 to 8 profiles"},
        {"gpuNames: [a], mig: {strategy: mixed, devices: [1g.5gb]}", "map"},
        {"gpuNames: [a], mig: {strategy: mixed, devices: {1g.5gb: 0}}", "from 1 to 255"},
        {"gpuNames: [a], mig: {strategy: mixed, devices: {1g.5gb: two}}", "from 1 to 255"},
        {"gpuNames: [a], mig: {strategy: mixed, devices: {half: 2}}", "half"},
        {"gpuNames: [a], mig: {strategy: mixed, devices: {1g.5gb: 1, 1c.1g.5gb: 1}}",
         "1g.5gb is there already"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        bench_assert_refused(rows[i].spec, rows[i].words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_refuses),
    };

    return cmocka_run_group_tests_name("karpenter/profiledevices", tests, NULL, NULL);
}
