// SPDX-License-Identifier: Apache-2.0
#include "nodesync/observed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "kube/field.h"

static char *own(const char *text)
{
    return (char *)(uintptr_t)text;
}

static unsigned n_changes;

static void on_node(void *userdata)
{
    n_changes++;
}

static int set_up(void **state)
{
    static struct sync_setup setup;
    static struct observed observed;

    setup = (struct sync_setup){.node = own("gpu/1")};
    n_changes = 0;
    assert_int_equal(observed_init(&observed, NULL, &setup, on_node, NULL), 0);
    *state = &observed;
    return 0;
}

static int tear_down(void **state)
{
    observed_deinit(*state);
    return 0;
}

/* A Node at this version, with the label team. */
static void see_by(void (*how)(struct observed *observed, const json_t *node),
                   struct observed *observed, const char *version, const char *team)
{
    json_t *node = json_pack("{s:s,s:{s:s,s:s,s:{s:s}}}", "kind", "Node", "metadata", "uid", "u",
                             "resourceVersion", version, "labels", "team", team);

    assert_non_null(node);
    how(observed, node);
    json_decref(node);
}

static void see(struct observed *observed, const char *version, const char *team)
{
    see_by(observed_update, observed, version, team);
}

static void a_name_is_one_step_of_the_path(void **state)
{
    const struct observed *observed = *state;

    assert_string_equal(observed->node_path, "/api/v1/nodes/gpu%2F1");
}

/* Answers and the watch overtake one another. */
static void the_newest_node_stays(void **state)
{
    struct observed *observed = *state;

    see(observed, "9", "red");
    see(observed, "10", "blue");
    assert_int_equal(n_changes, 2);
    see(observed, "9", "red");
    see(observed, "10", "red");
    assert_int_equal(n_changes, 2);
    assert_string_equal(kube_label(observed->node, "team"), "blue");
}

/* After etcd was restored from a backup the server's versions are lower for a long time. */
static void a_list_is_true(void **state)
{
    struct observed *observed = *state;

    see(observed, "500000", "old");
    see_by(observed_see_listed, observed, "400123", "new");
    assert_string_equal(kube_label(observed->node, "team"), "new");
    see(observed, "400124", "newer");
    assert_string_equal(kube_label(observed->node, "team"), "newer");
    assert_int_equal(n_changes, 3);
    see_by(observed_see_listed, observed, "400124",
           "newer"); /* another list, and nothing happened */
    assert_int_equal(n_changes, 3);
}

/* What was yielded to a manager is tried again when the Node is another. */
static void what_was_yielded_is_forgotten(void **state)
{
    struct observed *observed = *state;

    see(observed, "9", "red");
    observed->yielded = json_pack("{s:s}", "team", "hand");
    see(observed, "9", "red");
    assert_non_null(observed->yielded);
    see(observed, "10", "red");
    assert_null(observed->yielded);
}

static void an_answer_is_a_sight(void **state)
{
    static const char *const none[] = {"", "<html>", "[]", "{\"kind\":\"Status\"}",
                                       "{\"kind\":7,\"metadata\":{\"resourceVersion\":\"11\"}}"};
    static const char node[] = "{\"kind\":\"Node\",\"metadata\":{\"uid\":\"u\","
                               "\"resourceVersion\":\"10\",\"labels\":{\"team\":\"blue\"}}}";
    struct observed *observed = *state;

    see(observed, "9", "red");
    for (size_t i = 0; i < ARRAY_SIZE(none); i++)
        observed_update_from_answer(
            observed, &(struct kube_response){.body = none[i], .size = strlen(none[i])});
    assert_int_equal(n_changes, 1);
    observed_update_from_answer(observed,
                                &(struct kube_response){.body = node, .size = strlen(node)});
    assert_int_equal(n_changes, 2);
    assert_string_equal(kube_label(observed->node, "team"), "blue");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_is_one_step_of_the_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_newest_node_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_is_true, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_yielded_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_is_a_sight, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/observed", tests, NULL, NULL);
}
