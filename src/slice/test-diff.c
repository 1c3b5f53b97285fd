// SPDX-License-Identifier: Apache-2.0
#include "slice/diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/name.h"
#include "slice/test-machine.h"

/* What a p3.8xlarge gives for one policy: GPU 0 in `first` parts, the others in `rest`; 1 = whole.
 */
static struct plan *plan_of(unsigned first, const char *rename, unsigned rest)
{
    struct sharing_entry entries[] = {entry_all(SHARING_MPS, NAME_GPU, first),
                                      entry_all(SHARING_TIME_SLICING, NAME_GPU, rest)};
    struct policy policy = {.sharing = entries, .n_sharing = rest > 1 ? 2 : 1};
    struct inventory machine = machine_p3_8xlarge();
    struct plan *plan = NULL;

    entries[0].devices.kind = DEVICES_COUNT;
    entries[0].devices.count = 1;
    snprintf(entries[0].rename, sizeof(entries[0].rename), "%s", rename);
    assert_int_equal(plan_make(&machine, &policy, NULL, &plan), 0);
    inventory_deinit(&machine);
    return plan;
}

static void assert_diff(const struct plan *a, const struct plan *b, const char *expected)
{
    static const char signs[] = {
        [PLAN_UNCHANGED] = '=', [PLAN_ADDED] = '+', [PLAN_REMOVED] = '-', [PLAN_CHANGED] = '~'};
    struct plan_diff diff = PLAN_DIFF_INIT;
    struct text text = TEXT_INIT;

    assert_int_equal(plan_diff(a, b, &diff), 0);
    for (size_t i = 0; i < diff.n_items; i++) {
        const struct plan_diff_item *item = &diff.items[i];
        const struct plan_resource *resource = item->in_new ? item->in_new : item->in_old;

        text_addf(&text, "%s%c%s", i ? " " : "", signs[item->change],
                  strchr(resource->name, '/') + 1);
        assert_int_equal(item->in_old == NULL, item->change == PLAN_ADDED);
        assert_int_equal(item->in_new == NULL, item->change == PLAN_REMOVED);
    }
    assert_string_equal(text_string(&text), expected);
    text_deinit(&text);
    plan_diff_deinit(&diff);
}

static void test_changes(void **state)
{
    static const struct {
        struct {
            unsigned first;
            const char *rename;
            unsigned rest;
        } before, after;
        const char *expected;
    } table[] = {
        {{2, "nvidia.com/a", 1}, {2, "nvidia.com/a", 1}, "=a =gpu"},
        {{2, "nvidia.com/a", 1}, {3, "nvidia.com/a", 1}, "~a =gpu"},
        {{2, "nvidia.com/a", 1}, {2, "nvidia.com/a", 4}, "=a ~gpu"},
        {{2, "nvidia.com/a", 1}, {2, "nvidia.com/z", 1}, "-a =gpu +z"},
        {{2, "nvidia.com/a", 1}, {2, "", 1}, "-a ~gpu"},
        {{2, "", 1}, {2, "nvidia.com/z", 1}, "~gpu +z"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct plan *a =
            plan_of(table[i].before.first, table[i].before.rename, table[i].before.rest);
        struct plan *b = plan_of(table[i].after.first, table[i].after.rename, table[i].after.rest);

        assert_diff(a, b, table[i].expected);
        plan_free(a);
        plan_free(b);
    }
}

static void test_from_nothing_and_to_nothing(void **state)
{
    struct plan *plan = plan_of(2, "nvidia.com/a", 1);

    assert_diff(NULL, plan, "+a +gpu");
    assert_diff(plan, NULL, "-a -gpu");
    assert_diff(NULL, NULL, "");
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_from_nothing_and_to_nothing),
    };

    return cmocka_run_group_tests_name("slice/diff", tests, NULL, NULL);
}
