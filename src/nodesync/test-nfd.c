// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nfd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A Node on which NFD has set a=`value`, at `time`. */
static json_t *make_node(const char *value, const char *time)
{
    json_t *node = json_pack("{s:{s:{s:s},s:{s:s},s:[{s:s,s:s}]}}", "metadata", "labels", "a",
                             value, "annotations", "nfd.node.kubernetes.io/feature-labels", "a,x",
                             "managedFields", "manager", "nfd-master", "time", time);

    assert_non_null(node);
    return node;
}

static void look(struct nfd *nfd, const char *wanted, const char *value, const char *time)
{
    struct sync_label label = {(char *)(uintptr_t) "a", (char *)(uintptr_t)wanted};
    const struct sync_state state = {.labels = &label, .n_labels = 1};
    json_t *node = make_node(value, time);

    nfd_update(nfd, node, &state, NULL);
    json_decref(node);
}

static void give_up(struct nfd *nfd, const char *value, const char *time)
{
    json_t *node = make_node(value, time);

    nfd_give_up(nfd, node);
    json_decref(node);
}

static void lags_behind_a_change(void **state)
{
    struct nfd nfd = {.followed = NULL};

    look(&nfd, "1", "1", "T1");
    assert_int_equal(nfd.n_served, 1);
    assert_true(nfd.was_here);
    assert_false(nfd.lags);
    look(&nfd, "2", "1", "T1");
    look(&nfd, "3", "1", "T1"); /* two changes in a row */
    assert_true(nfd.lags);
    assert_null(nfd_lost(&nfd));
    assert_null(nfd_left(&nfd));
    look(&nfd, "3", "3", "T2");
    assert_false(nfd.lags);
    nfd_deinit(&nfd);
}

static void another_object_of_nfd_is_no_lag(void **state)
{
    struct nfd nfd = {.followed = NULL};

    look(&nfd, "1", "9", "T1");
    assert_int_equal(nfd.n_served, 1);
    assert_false(nfd.lags);
    assert_non_null(json_object_get(nfd_lost(&nfd), "a"));
    look(&nfd, "1", "1", "T2");
    assert_null(nfd_lost(&nfd));
    look(&nfd, "1", "8", "T3"); /* it came later */
    assert_false(nfd.lags);
    assert_non_null(json_object_get(nfd_lost(&nfd), "a"));
    give_up(&nfd, "8", "T3");
    assert_null(nfd_lost(&nfd)); /* a silent one takes nothing from anybody */
    nfd_deinit(&nfd);
}

static void silence_lasts_until_nfd_stirs(void **state)
{
    struct nfd nfd = {.followed = NULL};

    look(&nfd, "1", "1", "T1");
    look(&nfd, "2", "1", "T1");
    give_up(&nfd, "1", "T1");
    assert_string_equal(json_string_value(json_object_get(nfd_left(&nfd), "a")), "1");
    look(&nfd, "2", "2", "T1"); /* our doing */
    look(&nfd, "3", "2", "T1");
    assert_non_null(nfd_left(&nfd));
    look(&nfd, "3", "2", "T2");
    assert_null(nfd_left(&nfd));
    nfd_deinit(&nfd);
}

/* A program that was just started knows by its NodeFeature what NFD had been told. */
static void what_was_found_counts(void **state)
{
    struct sync_label label = {(char *)(uintptr_t) "a", (char *)(uintptr_t) "2"};
    const struct sync_state wanted = {.labels = &label, .n_labels = 1};
    json_t *node = make_node("1", "T1"), *found = json_pack("{s:s}", "a", "1");
    struct nfd nfd = {.followed = NULL};

    nfd_update(&nfd, node, &wanted, NULL);
    assert_false(nfd.lags);
    nfd_update(&nfd, node, &wanted, found);
    assert_true(nfd.lags);
    nfd_deinit(&nfd);
    json_decref(found);
    json_decref(node);
}

static void only_where_nfd_is_asked(void **state)
{
    struct sync_label label = {(char *)(uintptr_t) "a", (char *)(uintptr_t) "1"};
    const struct sync_state by_node = {
        .labels_by = SYNC_LABELS_NODE, .labels = &label, .n_labels = 1};
    json_t *node = make_node("1", "T1");
    struct nfd nfd = {.followed = NULL};

    nfd_update(&nfd, node, &by_node, NULL);
    assert_int_equal(nfd.n_served, 0);
    nfd_update(&nfd, NULL, &(struct sync_state){.labels = &label, .n_labels = 1}, NULL);
    assert_int_equal(nfd.n_served, 0);
    assert_false(nfd.was_here);
    nfd_deinit(&nfd);
    json_decref(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lags_behind_a_change),
        cmocka_unit_test(another_object_of_nfd_is_no_lag),
        cmocka_unit_test(silence_lasts_until_nfd_stirs),
        cmocka_unit_test(what_was_found_counts),
        cmocka_unit_test(only_where_nfd_is_asked),
    };

    return cmocka_run_group_tests_name("nodesync/nfd", tests, NULL, NULL);
}
