// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nodefeature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static char *own(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* A label has to be named and to stand there. */
static void knows_what_is_served(void **state)
{
    static const struct {
        const char *annotation, *list;
        bool is_served, was_here;
    } rows[] = {
        {"nfd.node.kubernetes.io/feature-labels", "cpu-x,nvidia.com/gpu.count", true, true},
        {"two.nfd.node.kubernetes.io/feature-labels", "nvidia.com/gpu.count", true, true},
        {"nfd.node.kubernetes.io/feature-labels", "nvidia.com/gpu.counter", false, true},
        {"nfd.node.kubernetes.io/feature-labels", "xnvidia.com/gpu.count,", false, true},
        {"nfd.node.kubernetes.io/feature-labels", "nvidia.com/gpu.absent", false, true},
        {"nfd.node.kubernetes.io/worker.version", "nvidia.com/gpu.count", false, true},
        {"example.com/feature-labels", "nvidia.com/gpu.count", false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node =
            json_pack("{s:{s:{s:s},s:{s:s}}}", "metadata", "labels", "nvidia.com/gpu.count", "4",
                      "annotations", rows[i].annotation, rows[i].list);

        assert_int_equal(nodefeature_serves(node, "nvidia.com/gpu.count"), rows[i].is_served);
        assert_false(nodefeature_serves(node, "nvidia.com/gpu.absent"));
        assert_int_equal(nodefeature_was_here(node), rows[i].was_here);
        json_decref(node);
    }
    assert_false(nodefeature_serves(NULL, "x"));
    assert_false(nodefeature_was_here(NULL));
}

static void finds_the_api(void **state)
{
    static const struct {
        const char *body;
        bool is_offered;
    } rows[] = {
        {"{\"resources\":[{\"name\":\"nodefeaturerules\"},{\"name\":\"nodefeatures\"}]}", true},
        {"{\"resources\":[{\"name\":\"nodefeaturerules\"}]}", false},
        {"{\"resources\":7}", false},
        {"", false},
        {"[\"nodefeatures\"]", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(nodefeature_is_offered(rows[i].body), rows[i].is_offered);
}

static void compares_with_what_is_there(void **state)
{
    struct sync_label labels[] = {{own("a"), own("1")}, {own("bad value"), own("x y")}};
    const struct sync_state wish = {.labels = labels, .n_labels = 2};
    const struct nodefeature_owner owner = {own("agents"), own("u")}, nobody = {NULL, NULL};
    json_t *wanted = nodefeature_object("n", "gpus", &owner, &wish);
    json_t *unowned = nodefeature_object("n", "gpus", &nobody, &wish);
    json_t *current = json_deep_copy(wanted);

    assert_non_null(wanted);
    assert_non_null(unowned);
    assert_false(nodefeature_is_as_wanted(NULL, wanted));
    assert_true(nodefeature_is_as_wanted(current, wanted));
    assert_true(nodefeature_is_as_wanted(current, unowned));
    assert_false(nodefeature_is_as_wanted(unowned, wanted));
    json_object_set_new(json_object_get(json_object_get(current, "spec"), "labels"), "a",
                        json_string("2"));
    assert_false(nodefeature_is_as_wanted(current, wanted));
    assert_false(nodefeature_is_ours(current));
    json_decref(current);
    json_decref(unowned);
    json_decref(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_is_served),
        cmocka_unit_test(finds_the_api),
        cmocka_unit_test(compares_with_what_is_there),
    };

    return cmocka_run_group_tests_name("nodesync/nodefeature", tests, NULL, NULL);
}
