// SPDX-License-Identifier: Apache-2.0
#include "controller/replacement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static json_t *list_of(const char *text)
{
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;

    assert_true(!text || list);
    return list;
}

static void what_is_written_down_counts_for_its_type(void **state)
{
    json_t *one = replacement_add(NULL, 3, "a", "c1");
    json_t *two = replacement_add(json_object_get(one, "types"), 3, "b", "c2");
    json_t *three = replacement_add(json_object_get(two, "types"), 3, "a", "c3");
    json_t *status = json_pack("{s:O}", "replacements", three);
    const json_t *list = replacement_list(status, 3);
    json_t *cleared;

    assert_int_equal(replacement_count(list, "a"), 2);
    assert_int_equal(replacement_count(list, "b"), 1);
    assert_true(replacement_has(list, "a", "c1") && replacement_has(list, "a", "c3"));
    assert_false(replacement_has(list, "b", "c1"));
    assert_null(replacement_list(status, 4)); /* the spec has changed */
    cleared = replacement_clear(list, 3, "a");
    assert_int_equal(replacement_count(json_object_get(cleared, "types"), "a"), 0);
    assert_int_equal(replacement_count(json_object_get(cleared, "types"), "b"), 1);
    json_decref(one);
    json_decref(two);
    json_decref(three);
    json_decref(status);
    json_decref(cleared);
}

#define LIST(claims) "[{\"instanceType\": \"t\", \"nodeClaims\": [" claims "]}]"

static const struct {
    const char *title;
    bool is_wanted, is_earlier, is_kept;
    const char *claim, *capacity, *list;
    size_t n_going;
    enum replacement_step step;
    const char *why;
} rows[] = {
    {"reported only", .claim = "c", .capacity = "spot", .step = REPLACEMENT_LEFT, .why = "report"},
    {"first", true, .claim = "c", .capacity = "spot", .step = REPLACEMENT_RECORD},
    {"written down", true, .claim = "c", .capacity = "spot", .list = LIST("\"c\""), .n_going = 1,
     .step = REPLACEMENT_DELETE},
    {"one at a time", true, .claim = "d", .capacity = "spot", .list = LIST("\"c\""), .n_going = 1,
     .step = REPLACEMENT_WAITS},
    {"third", true, .claim = "d", .capacity = "spot", .list = LIST("\"a\",\"b\""),
     .step = REPLACEMENT_RECORD},
    {"third, written down", true, .claim = "c", .capacity = "spot",
     .list = LIST("\"a\",\"b\",\"c\""), .n_going = 1, .step = REPLACEMENT_DELETE},
    {"fourth", true, .claim = "d", .capacity = "spot", .list = LIST("\"a\",\"b\",\"c\""),
     .step = REPLACEMENT_LEFT, .why = "three in a row"},
    {"reserved", true, .claim = "c", .capacity = "reserved", .step = REPLACEMENT_LEFT,
     .why = "reserved"},
    {"reserved, though written down", true, .claim = "c", .capacity = "reserved",
     .list = LIST("\"c\""), .step = REPLACEMENT_LEFT, .why = "reserved"},
    {"perhaps reserved", true, .claim = "c", .capacity = "", .step = REPLACEMENT_LEFT,
     .why = "may be reserved"},
    {"not Karpenter's", true, .claim = "", .capacity = "", .step = REPLACEMENT_LEFT,
     .why = "no NodeClaim"},
    {"of an earlier state", true, true, .claim = "c", .capacity = "spot", .step = REPLACEMENT_LEFT,
     .why = "present state"},
    {"kept", true, .is_kept = true, .claim = "c", .capacity = "spot", .step = REPLACEMENT_LEFT,
     .why = "do-not-disrupt"},
};

static void who_is_replaced(void **state)
{
    static char type[] = "t";

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct nodeview node = {.is_kept = rows[i].is_kept};
        const struct nodekind kind = {.is_current = !rows[i].is_earlier};
        json_t *list = list_of(rows[i].list);
        enum replacement_step step;
        const char *why;

        node.texts[NODEVIEW_TYPE] = type;
        node.texts[NODEVIEW_CLAIM] = (char *)(uintptr_t)rows[i].claim;
        node.texts[NODEVIEW_CAPACITY] = (char *)(uintptr_t)rows[i].capacity;
        step = replacement_decide(&(struct replacement_facts){.node = &node,
                                                              .kind = &kind,
                                                              .is_wanted = rows[i].is_wanted,
                                                              .list = list,
                                                              .n_going = rows[i].n_going,
                                                              .at_most = 1},
                                  &why);
        if (step != rows[i].step)
            fail_msg("%s: %d", rows[i].title, step);
        if (rows[i].why && (!why || !strstr(why, rows[i].why)))
            fail_msg("%s: %s", rows[i].title, why ? why : "no word");
        json_decref(list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_down_counts_for_its_type),
        cmocka_unit_test(who_is_replaced),
    };

    return cmocka_run_group_tests_name("controller/replacement", tests, NULL, NULL);
}
