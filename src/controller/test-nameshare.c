// SPDX-License-Identifier: Apache-2.0
#include "controller/nameshare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/array.h"
#include "controller/test-json.h"

#define GPU   "nvidia.com/gpu"
#define SMALL "nvidia.com/mig-1g.5gb"

enum { MOST = 1500 };

/* A cluster, and what came out of the last plan. */
static struct {
    json_t *pods[MOST], *nodes[16];
    size_t n_pods, n_nodes;
    json_t *wanted, *places;
    int64_t now;
} world;

static int set_up(void **state)
{
    world.n_pods = world.n_nodes = 0;
    world.wanted = world.places = NULL;
    world.now = 1000;
    return 0;
}

static void forget_pods(void)
{
    while (world.n_pods)
        json_decref(world.pods[--world.n_pods]);
}

static int tear_down(void **state)
{
    forget_pods();
    while (world.n_nodes)
        json_decref(world.nodes[--world.n_nodes]);
    json_decref(world.wanted);
    json_decref(world.places);
    return 0;
}

/* spec: members, "" = none. The later, the younger. */
static void pod(const char *requests, const char *spec)
{
    char text[512];

    snprintf(text, sizeof(text),
             "{'metadata':{'uid':'u%04zu'},'spec':{%s},'requests':{%s},'since':%zu}", world.n_pods,
             spec, requests, world.n_pods);
    world.pods[world.n_pods++] = read_json(text);
}

static void pods(size_t n, const char *requests)
{
    while (n--)
        pod(requests, "");
}

static void node_with(const char *name, unsigned free, const char *more_annotations,
                      const char *spec, const char *ready)
{
    char text[1024];

    snprintf(
        text, sizeof(text),
        "{'metadata':{'name':'%s','labels':{'host':'%s'},'annotations':{"
        "'gpuslice.dev/mig-names':'" GPU "=%u," SMALL "=%u'%s}},'spec':{%s},'status':{"
        "'capacity':{'nvidia.com/gpu-half':'2'},'conditions':[{'type':'Ready','status':'%s'}]}}",
        name, name, free, free, more_annotations, spec, ready);
    world.nodes[world.n_nodes++] = read_json(text);
}

static void node(const char *name, unsigned free)
{
    node_with(name, free, "", "", "True");
}

static void plan(const char *expected)
{
    static const json_t *all[MOST];
    json_t *wanted = NULL, *places = NULL;

    for (size_t i = 0; i < world.n_pods; i++)
        all[i] = world.pods[i];
    assert_int_equal(nameshare_plan(&(struct nameshare){.pods = all,
                                                        .n_pods = world.n_pods,
                                                        .nodes = (const json_t *const *)world.nodes,
                                                        .n_nodes = world.n_nodes,
                                                        .places = world.places,
                                                        .now = world.now},
                                    &wanted, &places),
                     0);
    json_decref(world.wanted);
    json_decref(world.places);
    world.wanted = wanted;
    world.places = places;
    assert_json(wanted, expected);
}

static void one_pod_counts_on_one_node(void **state)
{
    node("a", 7);
    node("b", 7);
    pod("'" SMALL "':1", "");
    plan("{'a':'" SMALL "=1'}");
    forget_pods();
    plan("{}");
}

static void many_pods_are_shared_out(void **state)
{
    node("a", 3);
    node("b", 7);
    pods(4, "'" SMALL "':1");
    pods(2, "'" GPU "':2");
    plan("{'a':'" SMALL "=3','b':'" GPU "=4," SMALL "=1'}");
}

/* What nobody has room for is for nobody to make room for. */
static void no_more_than_is_free(void **state)
{
    node("a", 2);
    node("full", 0);
    pods(5, "'" SMALL "':1");
    plan("{'a':'" SMALL "=2'}");
    forget_pods();
    pod("'" SMALL "':3", ""); /* nowhere at once; the younger one is not kept from its device */
    pod("'" SMALL "':1", "");
    plan("{'a':'" SMALL "=1'}");
}

static void only_where_the_pod_may_run(void **state)
{
    node("a", 7);
    node_with("b", 7, "", "'taints':[{'key':'team','effect':'NoSchedule'}]", "True");
    node_with("c", 7, "", "'unschedulable':true", "True");
    node_with("d", 7, "", "", "False");
    pod("'" SMALL "':1", "'nodeSelector':{'host':'b'}");
    pod("'" SMALL "':1", "'nodeSelector':{'host':'c'}");
    pod("'" SMALL "':1", "'nodeSelector':{'host':'d'}");
    plan("{}");
    pod("'" SMALL "':1", "'nodeSelector':{'host':'b'},'tolerations':[{'operator':'Exists'}]");
    plan("{'b':'" SMALL "=1'}");
}

static void other_resources_must_be_there(void **state)
{
    node("a", 7);
    pod("'" SMALL "':1,'nvidia.com/mig-3g.20gb':1", "");
    pod("'nvidia.com/gpu-half':1", ""); /* the pool does not have that name */
    plan("{}");
    pod("'" SMALL "':1,'nvidia.com/gpu-half':2", "");
    plan("{'a':'" SMALL "=1'}");
}

static void a_pod_stays_with_its_node(void **state)
{
    node("b", 7);
    pod("'" SMALL "':1", "");
    plan("{'b':'" SMALL "=1'}");
    node("a", 7);
    world.nodes[2] = world.nodes[0]; /* now a comes first */
    world.nodes[0] = world.nodes[1];
    world.nodes[1] = world.nodes[2];
    plan("{'b':'" SMALL "=1'}");
}

/* The next leader knows only what the Nodes say. */
static void a_node_that_was_told_comes_first(void **state)
{
    node("a", 7);
    node_with("b", 7, ",'gpuslice.dev/mig-names-demand':'" SMALL "=1'", "", "True");
    pod("'" SMALL "':1", "");
    plan("{'b':'" SMALL "=1'}");
}

/* Something else keeps the pod from running there. */
static void other_nodes_have_their_turn(void **state)
{
    static const struct {
        int64_t after_s;
        const char *node;
    } turns[] = {{59, "a"}, {1, "b"}, {119, "b"}, {1, "c"}, {239, "c"}, {1, "a"}};

    node("a", 7);
    node("b", 7);
    node("c", 7);
    pod("'" SMALL "':1", "");
    plan("{'a':'" SMALL "=1'}");
    for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
        char expected[80];

        world.now += turns[i].after_s;
        snprintf(expected, sizeof(expected), "{'%s':'" SMALL "=1'}", turns[i].node);
        plan(expected);
    }
}

static void a_node_that_fills_up_is_left(void **state)
{
    node("a", 1);
    node("b", 1);
    pod("'" SMALL "':1", "");
    plan("{'a':'" SMALL "=1'}");
    json_decref(world.nodes[--world.n_nodes]);
    json_decref(world.nodes[--world.n_nodes]);
    node("a", 0);
    node("b", 1);
    plan("{'b':'" SMALL "=1'}");
}

static void the_oldest_ones_count(void **state)
{
    node("a", 2000);
    for (size_t i = 0; i < NAMESHARE_PODS_MAX; i++)
        pod("'" SMALL "':1", "");
    pods(100, "'" GPU "':1");
    plan("{'a':'" SMALL "=1000'}");
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(one_pod_counts_on_one_node),
        CASE(many_pods_are_shared_out),
        CASE(no_more_than_is_free),
        CASE(only_where_the_pod_may_run),
        CASE(other_resources_must_be_there),
        CASE(a_pod_stays_with_its_node),
        CASE(a_node_that_was_told_comes_first),
        CASE(other_nodes_have_their_turn),
        CASE(a_node_that_fills_up_is_left),
        CASE(the_oldest_ones_count),
    };

    return cmocka_run_group_tests_name("controller/nameshare", tests, NULL, NULL);
}
