// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Workloads and pods without a kubelet: the test terminates pods itself. */
struct world {
    struct workloads workloads;
    struct pods pods;
    uint64_t now_ms;
};

static int apply(struct world *world, const char *text)
{
    struct problems problems = PROBLEMS_INIT;
    struct podmanifests manifests = MANIFESTS_INIT;
    int r;

    assert_int_equal(podmanifests_parse(text, strlen(text), "default", &problems, &manifests), 0);
    r = workloads_apply(&world->workloads, &manifests.items[0]);
    podmanifests_deinit(&manifests);
    problems_deinit(&problems);
    return r;
}

/* Reconciles until nothing changes, immediately removing the pods being deleted. */
static uint64_t settle(struct world *world)
{
    uint64_t again_ms;
    bool changed;

    do {
        changed = false;
        again_ms = workloads_reconcile(&world->workloads, &world->pods, world->now_ms, &changed);
        for (size_t i = world->pods.n_items; i-- > 0;)
            if (world->pods.items[i]->deleting)
                pods_remove(&world->pods, world->pods.items[i]);
    } while (changed);
    return again_ms;
}

static void end_pod(struct world *world, struct pod *pod, enum pod_phase phase)
{
    pod_set_phase(pod, phase, NULL, NULL);
    workload_pod_ended(&world->workloads, pod, world->now_ms);
}

static void destroy(struct world *world)
{
    pods_deinit(&world->pods);
    workloads_deinit(&world->workloads);
}

#define DEPLOYMENT(replicas, image)                                       \
    "kind: Deployment\nmetadata: {name: web}\nspec: {replicas: " replicas \
    ", template: {spec: {containers: [{name: c, image: " image "}]}}}"

static void test_scale(void **state)
{
    struct world world = {.now_ms = 1000};
    char first[64];

    assert_int_equal(apply(&world, DEPLOYMENT("3", "a")), WORKLOAD_CREATED);
    settle(&world);
    assert_int_equal(world.pods.n_items, 3);
    /* NAME-<10 for the template>-<5 for the pod> */
    assert_int_equal(strlen(world.pods.items[0]->name), strlen("web-") + 10 + 1 + 5);
    snprintf(first, sizeof(first), "%s", world.pods.items[0]->name);
    assert_int_equal(apply(&world, DEPLOYMENT("3", "a")), WORKLOAD_UNCHANGED);
    assert_int_equal(apply(&world, DEPLOYMENT("1", "a")), WORKLOAD_CONFIGURED);
    settle(&world);
    assert_int_equal(world.pods.n_items, 1);
    assert_string_equal(world.pods.items[0]->name, first); /* the newest was deleted */
    destroy(&world);
}

static void test_names_are_the_same_each_time(void **state)
{
    char names[2][64];

    for (int i = 0; i < 2; i++) {
        struct world world = {.now_ms = 1000};

        apply(&world, DEPLOYMENT("1", "a"));
        settle(&world);
        snprintf(names[i], sizeof(names[i]), "%s", world.pods.items[0]->name);
        destroy(&world);
    }
    assert_string_equal(names[0], names[1]);
}

static void test_new_template_replaces_pods(void **state)
{
    struct world world = {.now_ms = 1000};

    apply(&world, DEPLOYMENT("2", "a"));
    settle(&world);
    apply(&world, DEPLOYMENT("2", "b"));
    settle(&world);
    assert_int_equal(world.pods.n_items, 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(world.pods.items[i]->containers[0].spec->image, "b");
    destroy(&world);
}

static void test_failures_slow_down_and_are_swept(void **state)
{
    struct world world = {.now_ms = 100000};
    uint64_t started_ms = world.now_ms;

    apply(&world, DEPLOYMENT("1", "a"));
    for (int i = 0; i < WORKLOAD_KEPT_FAILURES + 20; i++) {
        uint64_t again_ms = settle(&world);

        if (again_ms) {
            assert_true(again_ms > world.now_ms);
            assert_true(again_ms <= world.now_ms + WORKLOAD_MAX_DELAY_MS);
            world.now_ms = again_ms;
            settle(&world);
        }
        end_pod(&world, world.pods.items[world.pods.n_items - 1], POD_FAILED);
    }
    settle(&world);
    assert_int_equal(world.pods.n_items, WORKLOAD_KEPT_FAILURES);
    /* 69 delays; all but the first seven are one second. */
    assert_true(world.now_ms - started_ms > 60000);
    destroy(&world);
}

static void test_job(void **state)
{
    static const char job[] = "kind: Job\nmetadata: {name: j}\n"
                              "spec: {parallelism: 2, completions: 3, backoffLimit: 1,\n"
                              "  template: {spec: {restartPolicy: Never,\n"
                              "    containers: [{name: c, image: i}]}}}";
    struct world world = {.now_ms = 100000};

    apply(&world, job);
    settle(&world);
    assert_int_equal(world.pods.n_items, 2);
    end_pod(&world, world.pods.items[0], POD_SUCCEEDED);
    end_pod(&world, world.pods.items[1], POD_SUCCEEDED);
    settle(&world);
    assert_int_equal(world.pods.n_items, 3); /* two ended, one more to do */
    end_pod(&world, world.pods.items[2], POD_SUCCEEDED);
    settle(&world);
    assert_int_equal(world.pods.n_items, 3);
    destroy(&world);

    world = (struct world){.now_ms = 100000};
    apply(&world, job);
    settle(&world);
    end_pod(&world, world.pods.items[0], POD_FAILED);
    world.now_ms += 2000;
    settle(&world);
    end_pod(&world, world.pods.items[1], POD_FAILED);
    world.now_ms += 2000;
    settle(&world);
    /* Two failures exceed backoffLimit: running pods are stopped, no new ones start. */
    for (size_t i = 0; i < world.pods.n_items; i++)
        assert_int_equal(world.pods.items[i]->phase, POD_FAILED);
    destroy(&world);
}

static void test_bare_pod_is_made_once(void **state)
{
    struct world world = {.now_ms = 100000};

    apply(&world, "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}");
    settle(&world);
    assert_string_equal(world.pods.items[0]->name, "p");
    end_pod(&world, world.pods.items[0], POD_FAILED);
    world.now_ms += 5000;
    settle(&world);
    assert_int_equal(world.pods.n_items, 1);
    world.workloads.items[0]->gone = true;
    settle(&world);
    assert_int_equal(world.pods.n_items, 0);
    assert_int_equal(world.workloads.n_items, 0);
    destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_names_are_the_same_each_time),
        cmocka_unit_test(test_new_template_replaces_pods),
        cmocka_unit_test(test_failures_slow_down_and_are_swept),
        cmocka_unit_test(test_job),
        cmocka_unit_test(test_bare_pod_is_made_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
