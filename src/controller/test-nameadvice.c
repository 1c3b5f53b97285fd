// SPDX-License-Identifier: Apache-2.0
#include "controller/nameadvice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "controller/test-json.h"

#define GPU   "nvidia.com/gpu"
#define SMALL "nvidia.com/mig-1g.5gb"
#define NODE(strategy, labels, spec, capacity)                                              \
    "{'metadata':{'name':'gpu-1','labels':{'nvidia.com/mig.strategy':'" strategy "'" labels \
    "}},'spec':{" spec "},'status':{'capacity':{" capacity "}}}"
#define PRODUCT(name) ",'nvidia.com/gpu.product':'" name "'"
#define STATE(word)   ",'nvidia.com/mig.config.state':'" word "'"
#define SLICES        PRODUCT("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb")
#define HAS(name)     "'" name "':'7'"
#define SINGLE        NODE("single", SLICES, "", HAS(GPU))
#define TAINTS(key)   "'taints':[{'key':'" key "','effect':'NoSchedule'}]"

static const struct {
    const char *name, *resource, *node;
    enum nameadvice advice;
} rows[] = {
    {"single", SMALL, SINGLE, NAMEADVICE_OTHER},
    {"single, shared", SMALL,
     NODE("single", PRODUCT("A100-MIG-1g.5gb-SHARED"), "", HAS(GPU ".shared")), NAMEADVICE_OTHER},
    {"single, another profile", SMALL, NODE("single", PRODUCT("A100-MIG-1g.5gb.me"), "", HAS(GPU)),
     NAMEADVICE_NOTHING},
    {"single, another profile that begins so", "nvidia.com/mig-1g.5gb.me", SINGLE,
     NAMEADVICE_NOTHING},
    {"single, whole GPUs", SMALL, NODE("single", PRODUCT("NVIDIA-A10G"), "", HAS(GPU)),
     NAMEADVICE_NOTHING},
    {"single, nothing is offered", SMALL, NODE("single", SLICES, "", "'" GPU "':'0'"),
     NAMEADVICE_NOTHING},
    {"both names", SMALL, NODE("single", SLICES, "", HAS(GPU) "," HAS(SMALL)), NAMEADVICE_SERVED},
    {"mixed", SMALL, NODE("mixed", "", "", HAS(SMALL)), NAMEADVICE_SERVED},
    {"mixed, all gone", SMALL, NODE("mixed", "", "", "'" SMALL "':'0'"), NAMEADVICE_NOTHING},
    {"mixed, being made", SMALL, NODE("mixed", STATE("pending"), "", ""), NAMEADVICE_SERVED},
    {"mixed, after the reboot", SMALL, NODE("mixed", STATE("rebooting"), "", ""),
     NAMEADVICE_SERVED},
    {"mixed, another layout", SMALL,
     NODE("mixed", STATE("success"), "", HAS("nvidia.com/mig-3g.20gb")), NAMEADVICE_NOTHING},
    {"some other plugin", SMALL, "{'status':{'capacity':{" HAS(SMALL) "}}}", NAMEADVICE_SERVED},
    {"where the pod may not run", SMALL, NODE("single", SLICES, TAINTS("team"), HAS(GPU)),
     NAMEADVICE_NOTHING},
    {"served where the pod may not run", SMALL, NODE("mixed", "", TAINTS("team"), HAS(SMALL)),
     NAMEADVICE_NOTHING},
    {"served by one that is just not ready", SMALL,
     NODE("mixed", "", TAINTS("node.kubernetes.io/not-ready"), HAS(SMALL)), NAMEADVICE_SERVED},
    {"GPUs under mixed", GPU, NODE("mixed", "", "", HAS(SMALL)), NAMEADVICE_OTHER},
    {"GPUs under mixed, some whole", GPU, NODE("mixed", "", "", HAS(SMALL) "," HAS(GPU)),
     NAMEADVICE_SERVED},
    {"GPUs under mixed, being made", GPU, NODE("mixed", STATE("pending"), "", HAS(SMALL)),
     NAMEADVICE_SERVED},
    {"whole GPUs", GPU, "{'status':{'capacity':{" HAS(GPU) "}}}", NAMEADVICE_SERVED},
    {"no GPU", GPU, "{}", NAMEADVICE_NOTHING},
};

static void nodes_are_judged(void **state)
{
    json_t *pod = read_json("{'spec':{}}");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node = read_json(rows[i].node);

        if (nameadvice_judge(pod, rows[i].resource, node) != rows[i].advice)
            fail_msg("%s", rows[i].name);
        json_decref(node);
    }
    json_decref(pod);
}

static void assert_says(const char *resource, const char *node, const char *const parts[3])
{
    cleanup_text struct text text = TEXT_INIT;
    json_t *json = read_json(node);

    nameadvice_write(resource, json, &text);
    for (size_t i = 0; i < 3; i++)
        if (!strstr(text_string(&text), parts[i]))
            fail_msg("%s", text_string(&text));
    json_decref(json);
}

static void what_to_write_instead_is_said(void **state)
{
    assert_says(
        SMALL, SINGLE,
        (const char *const[]){SMALL " is a name of migStrategy: mixed",
                              "the Node gpu-1 has such devices as " GPU,
                              "nvidia.com/gpu.product: NVIDIA-A100-SXM4-40GB-MIG-1g.5gb, or "
                              "have the agents offer both names by gpuslice.mig.names: both"});
    assert_says(GPU, NODE("mixed", "", "", HAS(SMALL)),
                (const char *const[]){"no Node that this pod may run on has " GPU, "the Node gpu-1",
                                      SMALL " there (migStrategy: mixed): request that"});
}

static void pods_wait_for_a_while_first(void **state)
{
    static const struct {
        const char *requests, *resource;
        int64_t from;
    } at[] = {{"{'nvidia.com/gpu':1}", GPU, 1300},
              {"{'nvidia.com/mig-1g.5gb':1}", SMALL, 1030},
              {"{'nvidia.com/gpu-half':1}", NULL, 0}};

    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        json_t *pod = json_pack("{s:o,s:i}", "requests", read_json(at[i].requests), "since", 1000);
        int64_t from = 0;
        const char *resource = nameadvice_resource(pod, &from);

        if (at[i].resource)
            assert_string_equal(resource, at[i].resource);
        else
            assert_null(resource);
        assert_int_equal(from, at[i].from);
        json_decref(pod);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_judged),
        cmocka_unit_test(what_to_write_instead_is_said),
        cmocka_unit_test(pods_wait_for_a_while_first),
    };

    return cmocka_run_group_tests_name("controller/nameadvice", tests, NULL, NULL);
}
