// SPDX-License-Identifier: Apache-2.0
#include "controller/nodekinds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct nodekinds kinds;

static int set_up(void **state)
{
    nodekinds_init(&kinds);
    return 0;
}

static int tear_down(void **state)
{
    nodekinds_deinit(&kinds);
    return 0;
}

static struct nodeview *view_of(const char *profile, const char *hash)
{
    json_t *node = json_pack("{s:{s:s,s:{s:s,s:s}}}", "metadata", "name", "n", "labels",
                             "gpuslice.dev/profile", profile, "gpuslice.dev/profile-hash", hash);
    struct nodeview *view = nodeview_new(node);

    assert_non_null(view);
    json_decref(node);
    return view;
}

static const struct nodekind *ensure(const char *profile, const char *hash)
{
    struct nodeview *view = view_of(profile, hash);
    json_t *labels = json_object();
    const struct nodekind *kind;

    assert_int_equal(nodekinds_ensure(&kinds, view, labels), 0);
    kind = nodekinds_find(&kinds, view);
    assert_non_null(kind);
    nodeview_free(view);
    json_decref(labels);
    return kind;
}

static void compute_all(void)
{
    const struct catalog catalog = {.models = NULL};
    const struct nodekind_world world = {.catalog = &catalog};

    for (size_t i = 0; i < kinds.n_items; i++)
        assert_int_equal(nodekind_compute(kinds.items[i], &world), 0);
    assert_false(nodekinds_are_stale(&kinds));
}

static void nodes_that_are_alike_have_one_kind(void **state)
{
    const struct nodekind *kind = ensure("p", "1");

    assert_ptr_equal(ensure("p", "1"), kind);
    assert_ptr_not_equal(ensure("p", "2"), kind);
    assert_ptr_not_equal(ensure("q", "1"), kind);
    assert_int_equal(kinds.n_items, 3);
}

static void only_what_changed_is_computed_again(void **state)
{
    const struct nodekind *p = ensure("p", "1"), *q = ensure("q", "1");

    assert_true(nodekinds_are_stale(&kinds)); /* they are new */
    compute_all();
    nodekinds_touch(&kinds, "q");
    assert_false(p->is_stale);
    assert_true(q->is_stale);
    compute_all();
    nodekinds_touch(&kinds, "none");
    assert_false(nodekinds_are_stale(&kinds));
    nodekinds_touch(&kinds, NULL);
    assert_true(p->is_stale && q->is_stale);
}

static bool is_of_p(const struct nodekind *kind, const void *userdata)
{
    return str_equal(kind->profile, userdata);
}

static void states_that_no_node_is_of_go_when_there_are_many(void **state)
{
    char hash[16];

    ensure("p", "1");
    for (unsigned i = 1; i < NODEKINDS_KEPT - 1; i++) {
        snprintf(hash, sizeof(hash), "%u", i);
        ensure("q", hash);
    }
    nodekinds_collect(&kinds, is_of_p, "p");
    assert_int_equal(kinds.n_items, NODEKINDS_KEPT - 1);
    ensure("q", "last");
    nodekinds_collect(&kinds, is_of_p, "p");
    assert_int_equal(kinds.n_items, 1);
    assert_string_equal(kinds.items[0]->profile, "p");
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(nodes_that_are_alike_have_one_kind),
        CASE(only_what_changed_is_computed_again),
        CASE(states_that_no_node_is_of_go_when_there_are_many),
    };

    return cmocka_run_group_tests_name("controller/nodekinds", tests, NULL, NULL);
}
