// SPDX-License-Identifier: Apache-2.0
#include "controller/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fleet_node *claim(const char *labels)
{
    json_t *object = json_pack("{s:{s:o}}", "metadata", "labels", json_loads(labels, 0, NULL));
    struct fleet_node *node = fleet_node_new(object);

    json_decref(object);
    assert_non_null(node);
    return node;
}

static void nodes_are_counted_by_what_they_have(void **state)
{
    struct fleet fleet = {.counts = NULL};
    struct fleet_node *one = claim("{\"karpenter.sh/nodepool\":\"a\",\"gpuslice.dev/profile\":"
                                   "\"p\",\"gpuslice.dev/profile-hash\":\"h\"}"),
                      *bare = claim("{\"karpenter.sh/nodepool\":\"a\"}"), *none = claim("{}");

    fleet_add(&fleet, one);
    fleet_add(&fleet, one);
    fleet_add(&fleet, bare);
    fleet_add(&fleet, none);
    assert_int_equal(fleet_count(&fleet, NULL, NULL, NULL), 4);
    assert_int_equal(fleet_count(&fleet, "a", NULL, NULL), 3);
    assert_int_equal(fleet_count(&fleet, NULL, "p", NULL), 2);
    assert_int_equal(fleet_count(&fleet, "a", "p", "i"), 0);
    fleet_remove(&fleet, one);
    assert_int_equal(fleet_count(&fleet, "a", "p", "h"), 1);
    fleet_remove(&fleet, one);
    assert_int_equal(fleet_count(&fleet, NULL, "p", NULL), 0);
    assert_int_equal(fleet_count(&fleet, "a", NULL, NULL), 1);
    assert_false(fleet_node_is_equal(one, bare));
    fleet_node_free(one);
    fleet_node_free(bare);
    fleet_node_free(none);
    fleet_deinit(&fleet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nodes_are_counted_by_what_they_have)};

    return cmocka_run_group_tests_name("controller fleet", tests, NULL, NULL);
}
