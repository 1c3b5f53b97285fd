// SPDX-License-Identifier: Apache-2.0
#include "karpenter/configannotations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

#define TYPES "\"gpuslice.dev/instance-types\": \"p3.8xlarge\""

/* With the keys `any` and `a10`. */
static json_t *config_map(const char *annotations)
{
    cleanup_text struct text text = TEXT_INIT;
    json_t *map;

    text_addf(&text,
              "{\"metadata\": {\"annotations\": {%s}}, \"data\": {\"any\": \"\", \"a10\": \"\"}}",
              annotations);
    map = json_loads(text_string(&text), 0, NULL);
    assert_non_null(map);
    return map;
}

static void test_reads(void **state)
{
    static const struct {
        const char *annotations, *spec;
    } rows[] = {
        {"\"gpuslice.dev/instance-types\": \" g5.xlarge, g5.2xlarge \"",
         "{\"instanceTypes\": [\"g5.xlarge\", \"g5.2xlarge\"]}"},
        {"\"gpuslice.dev/gpu-names\": \"a10g\", \"example.com/x\": \"y\"",
         "{\"gpuNames\": [\"a10g\"]}"},
        {TYPES ", \"gpuslice.dev/instance-types.any\": \"g5.xlarge\", "
               "\"gpuslice.dev/max-nodes.a10\": \"3\"",
         "{\"instanceTypes\": [\"g5.xlarge\"]}"},
        {TYPES ", \"gpuslice.dev/node-pool\": \"gpu\", \"gpuslice.dev/max-nodes\": \"8\", "
               "\"gpuslice.dev/consolidate-after\": \"1h\", \"gpuslice.dev/capacity-types\": "
               "\"spot,on-demand\"",
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"nodePool\": \"gpu\", \"maxNodes\": 8, "
         "\"consolidateAfter\": \"1h\", \"capacityTypes\": [\"spot\", \"on-demand\"]}"},
        {TYPES ", \"gpuslice.dev/node-class\": \"default\"",
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"nodeClass\": {\"group\": \"karpenter.k8s.aws\", "
         "\"kind\": \"EC2NodeClass\", \"name\": \"default\"}}"},
        {TYPES ", \"gpuslice.dev/node-class\": \"KWOKNodeClass.karpenter.kwok.sh/default\"",
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"nodeClass\": {\"group\": \"karpenter.kwok.sh\", "
         "\"kind\": \"KWOKNodeClass\", \"name\": \"default\"}}"},
        {TYPES ", \"gpuslice.dev/taints\": \"a=b:NoSchedule, c:NoExecute\"",
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"taints\": [{\"key\": \"a\", \"value\": \"b\", "
         "\"effect\": \"NoSchedule\"}, {\"key\": \"c\", \"effect\": \"NoExecute\"}]}"},
        {TYPES ", \"gpuslice.dev/taints\": \"\"",
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"taints\": []}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        json_t *map = config_map(rows[i].annotations), *spec = json_object(),
               *wanted = json_loads(rows[i].spec, 0, NULL);
        cleanup_free char *is = NULL;

        configannotations_read(&(struct configannotations){map, "any", &problems}, spec);
        is = json_dumps(spec, JSON_SORT_KEYS);
        if (problems.n_items || !json_equal(spec, wanted))
            fail_msg("%s: %s", rows[i].annotations, is);
        json_decref(wanted);
        json_decref(spec);
        json_decref(map);
    }
}

static void test_refuses(void **state)
{
    static const struct {
        const char *annotations, *path, *words;
    } rows[] = {
        {"", "gpuslice.dev/instance-types", "nothing says which nodes"},
        {TYPES ", \"gpuslice.dev/taint\": \"a:NoSchedule\"", "gpuslice.dev/taint",
         "unknown annotation; did you mean gpuslice.dev/taints?"},
        {TYPES ", \"gpuslice.dev/something-else\": \"\"", "gpuslice.dev/something-else",
         "unknown annotation"},
        {TYPES ", \"gpuslice.dev/node-pool.a100\": \"x\"", "gpuslice.dev/node-pool.a100",
         "the ConfigMap has no a100"},
        {TYPES ", \"gpuslice.dev/taints\": \"a=b\"", "gpuslice.dev/taints", "taints such as"},
        {TYPES ", \"gpuslice.dev/max-nodes\": \"many\"", "gpuslice.dev/max-nodes",
         "expected a number"},
        {TYPES ", \"gpuslice.dev/node-class\": \"a/b\"", "gpuslice.dev/node-class",
         "expected the name of an EC2NodeClass"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        json_t *map = config_map(rows[i].annotations), *spec = json_object();

        configannotations_read(&(struct configannotations){map, "any", &problems}, spec);
        assert_int_equal(problems.n_items, 1);
        assert_string_equal(problems.items[0].path, rows[i].path);
        if (!strstr(problems.items[0].text, rows[i].words))
            fail_msg("%s: %s", rows[i].annotations, problems.items[0].text);
        json_decref(spec);
        json_decref(map);
    }
}

static void test_which_keys_have_types(void **state)
{
    static const struct {
        const char *annotations;
        bool own, others;
    } rows[] = {
        {"", false, false},
        {TYPES, true, false},
        {"\"gpuslice.dev/instance-types.any\": \"x\"", true, true},
        {"\"gpuslice.dev/gpu-names.a10\": \"a10g\"", false, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *map = config_map(rows[i].annotations);
        const struct configannotations from = {map, "any", NULL};

        assert_int_equal(configannotations_have_types(&from), rows[i].own);
        assert_int_equal(configannotations_have_types_of_others(&from), rows[i].others);
        json_decref(map);
    }
}

static void test_origins(void **state)
{
    assert_string_equal(configannotations_origin("spec.nodePool"), "gpuslice.dev/node-pool");
    assert_string_equal(configannotations_origin("spec.taints[0].key"), "gpuslice.dev/taints");
    assert_string_equal(configannotations_origin("spec.mig.layout"), "spec.mig.layout");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_which_keys_have_types),
        cmocka_unit_test(test_origins),
    };

    return cmocka_run_group_tests_name("karpenter/configannotations", tests, NULL, NULL);
}
