// SPDX-License-Identifier: Apache-2.0
#include "nodesync/labels.h"

#include "nodesync/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define OURS(fields)                                                                        \
    "{\"manager\":\"gpuslice-node\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:metadata\":{" \
    "\"f:labels\":{" fields "}}}}"
#define THEIRS(fields)                                                              \
    "{\"manager\":\"hand\",\"operation\":\"Update\",\"fieldsV1\":{\"f:metadata\":{" \
    "\"f:labels\":{" fields "}}}}"
#define MASTERS(fields)                                                                   \
    "{\"manager\":\"nfd-master\",\"operation\":\"Update\",\"fieldsV1\":{\"f:metadata\":{" \
    "\"f:labels\":{" fields "}}}}"
#define NFD(list) "{\"nfd.node.kubernetes.io/feature-labels\":\"" list "\"}"

static char *own(const char *text)
{
    return (char *)(uintptr_t)text;
}

static const struct row {
    const char *name;
    const char *labels, *fields, *annotations; /* of the Node */
    enum sync_labels_by by;
    const char *left;  /* by a silent NFD; NULL = it works */
    const char *apply; /* NULL = nothing to write */
    const char *held;  /* NULL = nothing */
    bool is_released, is_forced;
} rows[] = {
    /* wanted: a=1, b=2; and extra c=3 */
    {"first", "{\"x\":\"y\"}", "[]", "{}", SYNC_LABELS_AUTO, NULL,
     "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"as wanted", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}",
     "[" OURS("\"f:a\":{},\"f:b\":{},\"f:c\":{}") "]", "{}", SYNC_LABELS_AUTO, NULL, NULL, NULL,
     false},
    {"one is old", "{\"a\":\"1\",\"b\":\"0\",\"c\":\"3\"}",
     "[" OURS("\"f:a\":{},\"f:b\":{},\"f:c\":{}") "]", "{}", SYNC_LABELS_AUTO, NULL,
     "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"one too many", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\",\"d\":\"4\"}",
     "[" OURS("\"f:a\":{},\"f:b\":{},\"f:c\":{},\"f:d\":{}") "]", "{}", SYNC_LABELS_AUTO, NULL,
     "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"a stranger's value", "{\"a\":\"9\"}", "[" THEIRS("\"f:a\":{}") "]", "{}", SYNC_LABELS_NODE,
     NULL, "{\"b\":\"2\",\"c\":\"3\"}", "a (hand)", false},
    {"taken from us", "{\"a\":\"9\",\"b\":\"2\",\"c\":\"3\"}",
     "[" OURS("\"f:b\":{},\"f:c\":{}") "," THEIRS("\"f:a\":{}") "]", "{}", SYNC_LABELS_NODE, NULL,
     NULL, "a (hand)", false},
    {"a stranger says the same", "{\"a\":\"1\"}", "[" THEIRS("\"f:a\":{}") "]", "{}",
     SYNC_LABELS_NODE, NULL, "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"nobody's", "{\"a\":\"9\"}", "[]", "{}", SYNC_LABELS_NODE, NULL,
     "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"somebody else publishes", "{\"a\":\"9\",\"c\":\"3\"}", "[" OURS("\"f:c\":{}") "]", "{}",
     SYNC_LABELS_NONE, NULL, NULL, NULL, false},
    {"NFD serves one", "{\"a\":\"1\"}", "[]", NFD("a,b"), SYNC_LABELS_AUTO, NULL,
     "{\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"NFD serves, and is not asked", "{\"a\":\"1\"}", "[]", NFD("a,b"), SYNC_LABELS_NODE, NULL,
     "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"NFD serves, and is silent", "{\"a\":\"0\"}", "[]", NFD("a,b"), SYNC_LABELS_AUTO, "{}",
     "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
    {"a silent NFD left one", "{\"a\":\"0\"}", "[" MASTERS("\"f:a\":{}") "]", NFD("a,b"),
     SYNC_LABELS_AUTO, "{\"a\":\"0\"}", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false, true},
    {"it left one that never was ours", "{\"a\":\"0\"}", "[" MASTERS("\"f:a\":{}") "]", NFD("a,b"),
     SYNC_LABELS_AUTO, "{\"a\":\"7\"}", "{\"b\":\"2\",\"c\":\"3\"}", "a (nfd-master)", false},
    {"a hand holds what it left", "{\"a\":\"0\"}",
     "[" MASTERS("\"f:a\":{}") "," THEIRS("\"f:a\":{}") "]", NFD("a,b"), SYNC_LABELS_AUTO,
     "{\"a\":\"0\"}", "{\"b\":\"2\",\"c\":\"3\"}", "a (nfd-master)", false},
    {"a hand has changed what it left", "{\"a\":\"9\"}", "[" THEIRS("\"f:a\":{}") "]", NFD("a,b"),
     SYNC_LABELS_AUTO, "{\"a\":\"0\"}", "{\"b\":\"2\",\"c\":\"3\"}", "a (hand)", false},
    {"handed over", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}",
     "[" OURS("\"f:a\":{},\"f:b\":{},\"f:c\":{}") "]", NFD("a,b"), SYNC_LABELS_AUTO, NULL,
     "{\"c\":\"3\"}", NULL, true},
    {"after it", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", "[" OURS("\"f:c\":{}") "]", NFD("a,b"),
     SYNC_LABELS_AUTO, NULL, NULL, NULL, false},
    {"NFD has gone", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", "[" OURS("\"f:c\":{}") "]", "{}",
     SYNC_LABELS_AUTO, NULL, "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", NULL, false},
};

static json_t *load(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);

    assert_non_null(json);
    return json;
}

static void plans(void **state_)
{
    struct sync_label labels[] = {{own("a"), own("1")}, {own("b"), own("2")}};
    struct sync_label extra[] = {{own("c"), own("3")}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        const struct sync_state state = {.labels_by = row->by,
                                         .labels = labels,
                                         .n_labels = 2,
                                         .extra_labels = extra,
                                         .n_extra_labels = 1};
        json_t *node =
            json_pack("{s:{s:s,s:s,s:o,s:o,s:o}}", "metadata", "uid", "u", "resourceVersion", "7",
                      "labels", load(row->labels), "managedFields", load(row->fields),
                      "annotations", load(row->annotations));
        json_t *expected = row->apply ? load(row->apply) : NULL;
        json_t *left = row->left ? load(row->left) : NULL;
        const struct labels_known known = {.nfd_left = left};
        cleanup_labels_plan struct labels_plan plan;
        json_t *applied;

        assert_int_equal(labels_make_plan(node, "n", &state, &known, &plan), 0);
        applied = json_object_get(json_object_get(plan.object, "metadata"), "labels");
        if ((plan.object != NULL) != (expected != NULL) ||
            (expected && !json_equal(applied, expected)))
            fail_msg("%s: %s", row->name, applied ? json_dumps(applied, 0) : "nothing");
        if (plan.n_held != (row->held != NULL) || (row->held && strcmp(plan.held[0], row->held)))
            fail_msg("%s: held: %zu %s", row->name, plan.n_held, plan.n_held ? plan.held[0] : "");
        if ((plan.release != NULL) != row->is_released)
            fail_msg("%s: released: %d", row->name, plan.release != NULL);
        if (plan.force != row->is_forced ||
            plan.force != (json_object_get(json_object_get(plan.object, "metadata"),
                                           "resourceVersion") != NULL))
            fail_msg("%s: forced: %d", row->name, plan.force);
        json_decref(expected);
        json_decref(left);
        json_decref(node);
    }
}

/* What the API server would refuse would take all others along. */
static void leaves_out_what_is_no_label(void **state_)
{
    struct sync_label labels[] = {
        {own("a/b/c"), own("1")}, {own("b"), own("a b")}, {own("ok"), own("")}};
    const struct sync_state state = {
        .labels_by = SYNC_LABELS_NODE, .labels = labels, .n_labels = 3};
    json_t *node = json_object();
    cleanup_labels_plan struct labels_plan plan;

    assert_int_equal(labels_make_plan(node, "n", &state, &(struct labels_known){NULL}, &plan), 0);
    assert_int_equal(plan.n_refused, 2);
    assert_non_null(strstr(plan.refused[0], "a/b/c=1"));
    assert_int_equal(
        json_object_size(json_object_get(json_object_get(plan.object, "metadata"), "labels")), 1);
    json_decref(node);
}

/* The server knows a holder that the Node does not name. */
static void yields_to_a_refusal(void **state_)
{
    struct sync_label labels[] = {{own("a"), own("1")}, {own("b"), own("2")}};
    const struct sync_state state = {
        .labels_by = SYNC_LABELS_NODE, .labels = labels, .n_labels = 2};
    json_t *node = json_pack("{s:{s:{s:s}}}", "metadata", "labels", "a", "9");
    json_t *yielded = json_pack("{s:s}", "a", "before-first-apply");
    const struct labels_known known = {.yielded = yielded};
    cleanup_labels_plan struct labels_plan plan;

    assert_int_equal(labels_make_plan(node, "n", &state, &known, &plan), 0);
    assert_int_equal(plan.n_held, 1);
    assert_string_equal(plan.held[0], "a (before-first-apply)");
    assert_int_equal(
        json_object_size(json_object_get(json_object_get(plan.object, "metadata"), "labels")), 1);
    json_decref(yielded);
    json_decref(node);
}

/* NFD works, and gives the label another NodeFeature's value. */
static void names_what_nfd_takes_from_another(void **state_)
{
    struct sync_label labels[] = {{own("a"), own("1")}, {own("b"), own("2")}};
    struct sync_label extra[] = {{own("b"), own("2")}};
    const struct sync_state state = {
        .labels = labels, .n_labels = 2, .extra_labels = extra, .n_extra_labels = 1};
    json_t *node = json_pack("{s:{s:{s:s,s:s},s:o}}", "metadata", "labels", "a", "9", "b", "2",
                             "annotations", load(NFD("a,b")));
    json_t *lost = load("{\"a\":\"9\",\"b\":\"9\",\"x\":\"y\"}");
    const struct labels_known known = {.nfd_lost = lost};
    cleanup_labels_plan struct labels_plan plan;

    assert_int_equal(labels_make_plan(node, "n", &state, &known, &plan), 0);
    assert_int_equal(plan.n_held, 1); /* and not b, which we set ourselves */
    assert_string_equal(plan.held[0], "a (another NodeFeature)");
    assert_false(plan.force);
    json_decref(lost);
    json_decref(node);
}

static void knows_a_label(void **state_)
{
    static const char long_name[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    static const struct {
        const char *key, *value;
        bool is_good;
    } cases[] = {
        {"nvidia.com/gpu.count", "4", true},
        {"team", "", true},
        {"A_b.c-d", "Tesla-V100-SXM2-16GB", true},
        {"x", long_name + 1, true},
        {"x", long_name, false},
        {long_name, "", false},
        {"", "", false},
        {"/x", "", false},
        {"x/", "", false},
        {"Domain/x", "", false},
        {"a.b./x", "", false},
        {"-x", "", false},
        {"-a.b/x", "", false}, /* each part of a domain as the API server has it */
        {"a..b/x", "", false},
        {"x", "a b", false},
        {"x", "-", false},
        {"x", "\xc3\xa4", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (!node_label_fault(cases[i].key, cases[i].value) != cases[i].is_good)
            fail_msg("%s=%s", cases[i].key, cases[i].value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans),
        cmocka_unit_test(leaves_out_what_is_no_label),
        cmocka_unit_test(yields_to_a_refusal),
        cmocka_unit_test(names_what_nfd_takes_from_another),
        cmocka_unit_test(knows_a_label),
    };

    return cmocka_run_group_tests_name("nodesync/labels", tests, NULL, NULL);
}
