// SPDX-License-Identifier: Apache-2.0
#include "karpenter/nodeclass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"

static json_t *parse(const char *text)
{
    json_t *object = json_loads(text, 0, NULL);

    if (!object)
        fail_msg("%s", text);
    return object;
}

static void the_class_of_a_pool(void **state)
{
    static const char *const rows[][2] = {
        {"{\"spec\":{\"template\":{\"spec\":{\"nodeClassRef\":{\"group\":\"karpenter.k8s.aws\","
         "\"kind\":\"EC2NodeClass\",\"name\":\"a\"}}}}}",
         "a"},
        {"{\"spec\":{\"template\":{\"spec\":{\"nodeClassRef\":{\"group\":\"eks.amazonaws.com\","
         "\"kind\":\"NodeClass\",\"name\":\"a\"}}}}}",
         ""},
        {"{\"spec\":{}}", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *pool = parse(rows[i][0]);

        assert_string_equal(nodeclass_of(pool), rows[i][1]);
        json_decref(pool);
    }
    assert_string_equal(nodeclass_of(NULL), "");
}

static void what_an_annotation_says(void **state)
{
    static const char *const rows[][2] = {
        {"{\"metadata\":{\"annotations\":{\"" NODECLASS_DRA_SHARES "\":\"4\"}}}", "4"},
        {"{\"metadata\":{\"annotations\":{\"" NODECLASS_DRA_SHARES "\":\"disabled\"}}}", ""},
        {"{\"metadata\":{\"annotations\":{\"x\":\"4\"}}}", ""},
        {"{\"metadata\":{}}", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node_class = parse(rows[i][0]);

        assert_string_equal(nodeclass_dra_shares(node_class), rows[i][1]);
        json_decref(node_class);
    }
    assert_string_equal(nodeclass_dra_shares(NULL), "");
}

static void the_sentence(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char line[512];

    nodeclass_add_problem("aws", "4", "gpu", "p", &problems);
    problems_describe(&problems, line, sizeof(line));
    assert_string_equal(
        line, "EC2NodeClass aws: Karpenter promises the GPUs of the NodePool gpu twice: by the "
              "NodeOverlays of the profile p, and to pods with ResourceClaims by the annotation "
              "karpenter.k8s.aws/nvidia-consumable-capacity=4; remove it, or give sliced nodes a "
              "class of their own");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_class_of_a_pool),
        cmocka_unit_test(what_an_annotation_says),
        cmocka_unit_test(the_sentence),
    };

    return cmocka_run_group_tests_name("karpenter/nodeclass", tests, NULL, NULL);
}
