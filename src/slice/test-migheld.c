// SPDX-License-Identifier: Apache-2.0
#include "slice/migheld.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/test-board.h"

/* "0.1" is compute instance 1 of GPU instance 0; "2" a GPU instance without one. */
static void describe(const struct mig_held *units, uint32_t set, struct text *text)
{
    for (uint32_t i = 0; i < units->n_units; i++) {
        const struct mig_unit *unit = &units->units[i];

        if (!(set >> i & 1))
            continue;
        text_addf(text, "%s%u", text->length ? " " : "", unit->instance);
        if (unit->compute != DEVICE_NO_INSTANCE)
            text_addf(text, ".%u", unit->compute);
    }
}

static void test_what_an_entry_holds(void **state)
{
    static const struct {
        struct device_instance held;
        const char *units;
    } table[] = {
        {{0, 0}, "0.0"},
        {{0, 1}, "0.1"},
        {{0, DEVICE_NO_INSTANCE}, "0.0 0.1"},
        {{1, DEVICE_NO_INSTANCE}, "1"},
        {{DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}, "0.0 0.1 1"},
        /* instances that are gone */
        {{1, 0}, ""},
        {{0, 7}, ""},
        {{9, DEVICE_NO_INSTANCE}, ""},
    };
    struct board_layout from = board_layout(board_a100(), "3g.20gb@0=1+1 3g.20gb@4=");

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_text struct text text = TEXT_INIT;
        struct mig_held units;

        migheld_collect(&from.layout, &table[i].held, 1, &units);
        describe(&units, UINT32_MAX, &text);
        assert_string_equal(text_string(&text), table[i].units);
    }
}

/* The GPU instance of whatever is held stays with it. */
static void test_what_stays(void **state)
{
    struct board_layout from = board_layout(board_a100(), "3g.20gb@0=1!+1! 3g.20gb@4!");
    struct mig_held units;
    struct mig_subset stay;

    migheld_collect(&from.layout, from.held, from.n_held, &units);
    assert_int_equal(units.n_units, 3);
    stay = migheld_stay(&units, 0);
    assert_int_equal(stay.instances, 3);
    assert_int_equal(stay.computes[0], 3);
    stay = migheld_stay(&units, 1);
    assert_int_equal(stay.instances, 3);
    assert_int_equal(stay.computes[0], 2);
    stay = migheld_stay(&units, 3);
    assert_int_equal(stay.instances, 2);
    assert_int_equal(stay.computes[1], 1);
}

static void test_fewest(void **state)
{
    static const struct {
        const char *from, *want;
        const char *released; /* NULL: not even all */
    } table[] = {
        {"1g.5gb@0! 1g.5gb@1", "1g.5gb", ""},
        {"1g.5gb@0! 1g.5gb@1!", "1g.5gb", "0.0"}, /* any of them: the first */
        {"1g.5gb@0! 1g.5gb@4! 1g.5gb@5!", "3g.20gb 1g.5gb 1g.5gb 1g.5gb", "0.0"},
        {"1g.5gb@0! 3g.20gb@4!", "7g.40gb", "0.0 1.0"},
        {"1g.5gb@0! 3g.20gb@4!", "7g.40gb 1g.5gb", NULL},
        {"3g.20gb@0=1!+2!", "1c.3g.20gb 1c.3g.20gb", "0.1"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct board_layout from = board_layout(board_a100(), table[i].from);
        struct mig_want want = board_want(board_a100(), table[i].want);
        cleanup_text struct text text = TEXT_INIT;
        struct mig_held units;
        uint32_t released = 0;
        uint64_t work = 0;

        migheld_collect(&from.layout, from.held, from.n_held, &units);
        assert_int_equal(
            migheld_fewest(board_a100(), &from.layout, &want, &units, &work, &released),
            table[i].released ? 0 : MIGHELD_NONE);
        describe(&units, released, &text);
        assert_string_equal(text_string(&text), table[i].released ? table[i].released : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_an_entry_holds),
        cmocka_unit_test(test_what_stays),
        cmocka_unit_test(test_fewest),
    };

    return cmocka_run_group_tests_name("slice/migheld", tests, NULL, NULL);
}
