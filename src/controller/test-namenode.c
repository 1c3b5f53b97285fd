// SPDX-License-Identifier: Apache-2.0
#include "controller/namenode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"
#include "controller/test-json.h"
#include "kube/field.h"

#define STATUS                                                                           \
    "'status':{'capacity':{'cpu':'8','nvidia.com/gpu':'7','nvidia.com/mig-1g.5gb':'0'}," \
    "'conditions':[{'type':'Ready','status':'True','lastHeartbeatTime':'now'}]}"
#define SINGLE \
    "'labels':{'nvidia.com/mig.strategy':'single','nvidia.com/gpu.product':'A100-MIG-1g.5gb'}"

static void what_matters_is_kept(void **state)
{
    json_t *node = read_json("{'metadata':{'name':'gpu-1','annotations':{'x':'y','gpuslice.dev/"
                             "mig-names':'gpu=3'}," SINGLE
                             "},'spec':{'taints':[{'key':'t'}],'providerID':'p'}," STATUS "}");
    json_t *kept = namenode_reduce(node);

    assert_json(
        kept, "{'metadata':{'name':'gpu-1','annotations':{'gpuslice.dev/mig-names':'gpu=3'}," SINGLE
              "},'spec':{'taints':[{'key':'t'}]},'status':{'capacity':{"
              "'nvidia.com/gpu':'7','nvidia.com/mig-1g.5gb':'0'},'conditions':[{'type':"
              "'Ready','status':'True'}]}}");
    assert_true(namenode_is_ready(kept));
    assert_int_equal(namenode_capacity(kept, "nvidia.com/gpu"), 7);
    assert_string_equal(namenode_find_resource(kept, "nvidia.com/"), "nvidia.com/gpu");
    assert_null(namenode_find_resource(kept, "nvidia.com/mig-"));
    json_decref(kept);
    json_decref(node);
}

/* Whether there is a place for an annotation. */
static void that_it_has_annotations_is_kept(void **state)
{
    json_t *with = read_json("{'metadata':{'name':'a','annotations':{'x':'y'}," SINGLE "}}");
    json_t *without = read_json("{'metadata':{'name':'a'," SINGLE "}}");
    json_t *kept = namenode_reduce(with);

    assert_json(json_object_get(json_object_get(kept, "metadata"), "annotations"), "{}");
    json_decref(kept);
    kept = namenode_reduce(without);
    assert_null(json_object_get(json_object_get(kept, "metadata"), "annotations"));
    json_decref(kept);
    json_decref(with);
    json_decref(without);
}

static void nodes_of_whole_gpus_are_not_kept(void **state)
{
    json_t *node = read_json("{'metadata':{'name':'a','labels':{'nvidia.com/mig.strategy':'single',"
                             "'nvidia.com/gpu.product':'NVIDIA-A100-SXM4-40GB'}}," STATUS "}");
    json_t *kept = namenode_reduce(node);

    assert_json(kept, "{}");
    assert_string_equal(kube_name(kept), "");
    json_decref(kept);
    json_decref(node);
}

static void a_pool_is_read(void **state)
{
    static const struct {
        const char *annotation;
        size_t n_names;
    } rows[] = {{"'gpuslice.dev/mig-names':'nvidia.com/gpu=3,nvidia.com/mig-1g.5gb=3'", 2},
                {"'gpuslice.dev/mig-names':''", 0},
                {"'gpuslice.dev/mig-names':'x y=1'", 0},
                {"'x':'y'", 0}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct namedemand pool = {.n_items = 0};
        json_t *annotations, *node;
        char text[256];

        snprintf(text, sizeof(text), "{%s}", rows[i].annotation);
        annotations = read_json(text);
        node = json_pack("{s:{s:o}}", "metadata", "annotations", annotations);
        assert_int_equal(namenode_pool(node, &pool), rows[i].n_names > 0);
        assert_int_equal(pool.n_items, rows[i].n_names);
        json_decref(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matters_is_kept),
        cmocka_unit_test(that_it_has_annotations_is_kept),
        cmocka_unit_test(nodes_of_whole_gpus_are_not_kept),
        cmocka_unit_test(a_pool_is_read),
    };

    return cmocka_run_group_tests_name("controller/namenode", tests, NULL, NULL);
}
