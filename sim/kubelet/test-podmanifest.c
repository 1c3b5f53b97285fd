// SPDX-License-Identifier: Apache-2.0
#include "podmanifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"

static struct podmanifests parse(const char *text)
{
    struct problems problems = PROBLEMS_INIT;
    struct podmanifests manifests = MANIFESTS_INIT;
    char line[512] = "";
    int r = podmanifests_parse(text, strlen(text), "default", &problems, &manifests);

    if (problems.n_items)
        problem_format(&problems, &problems.items[0], line, sizeof(line));
    if (r < 0)
        fail_msg("%d: %s", r, line);
    problems_deinit(&problems);
    return manifests;
}

/* The deployment from the time-slicing guide. */
static const char guide[] = "apiVersion: apps/v1\n"
                            "kind: Deployment\n"
                            "metadata:\n"
                            "  name: tensorflow-deployment\n"
                            "  namespace: gpu-demo\n"
                            "  labels:\n"
                            "    app: tensorflow\n"
                            "spec:\n"
                            "  replicas: 8  # Deploy 8 pods, each requesting one virtual GPU\n"
                            "  selector:\n"
                            "    matchLabels:\n"
                            "      app: tensorflow\n"
                            "  template:\n"
                            "    metadata:\n"
                            "      labels:\n"
                            "        app: tensorflow\n"
                            "    spec:\n"
                            "      containers:\n"
                            "      - name: tensorflow\n"
                            "        image: public.ecr.aws/r5m2h0c9/cifar10_cnn:v2\n"
                            "        resources:\n"
                            "          limits:\n"
                            "            nvidia.com/gpu: 1  # Each pod requests 1 virtual GPU\n";

static void test_guide(void **state)
{
    struct podmanifests manifests = parse(guide);
    const struct podmanifest *manifest = &manifests.items[0];

    assert_int_equal(manifests.n_items, 1);
    assert_int_equal(manifest->kind, MANIFEST_DEPLOYMENT);
    assert_string_equal(manifest->name, "tensorflow-deployment");
    assert_string_equal(manifest->namespace, "gpu-demo");
    assert_int_equal(manifest->replicas, 8);
    assert_int_equal(manifest->template->n_containers, 1);
    assert_string_equal(manifest->template->containers[0].image,
                        "public.ecr.aws/r5m2h0c9/cifar10_cnn:v2");
    assert_int_equal(pod_template_demand(manifest->template, "nvidia.com/gpu"), 1);
    assert_int_equal(pod_template_demand(manifest->template, "nvidia.com/other"), 0);
    podmanifests_deinit(&manifests);
}

static void test_everything_that_is_played(void **state)
{
    struct podmanifests manifests =
        parse("kind: List\n"
              "items:\n"
              "- kind: Job\n"
              "  metadata: {name: j}\n"
              "  spec:\n"
              "    parallelism: 2\n"
              "    completions: 5\n"
              "    backoffLimit: 1\n"
              "    template:\n"
              "      spec:\n"
              "        restartPolicy: OnFailure\n"
              "        terminationGracePeriodSeconds: 3\n"
              "        containers:\n"
              "        - name: c\n"
              "          image: i\n"
              "          command: [sh, -c]\n"
              "          args: ['exit 0', 1]\n"
              "          env:\n"
              "          - {name: A, value: '1'}\n"
              "          - {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n"
              "          resources:\n"
              "            limits: {x.io/b: 2, x.io/a: '3', cpu: 1, memory: 1Gi}\n"
              "            requests: {x.io/a: 3, cpu: 500m}\n"
              "- {kind: ReplicaSet, metadata: {name: r},\n"
              "   spec: {template: {spec: {containers: [{name: c, image: i}]}}}}\n"
              "---\n"
              "---\n"
              "{\"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"},\n"
              " \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"i\"}]}}\n");
    const struct podmanifest *job = &manifests.items[0];
    const struct container_spec *container = &job->template->containers[0];

    assert_int_equal(manifests.n_items, 3);
    assert_int_equal(job->replicas, 2);
    assert_int_equal(job->completions, 5);
    assert_int_equal(job->backoff_limit, 1);
    assert_int_equal(job->template->restart_policy, RESTART_ON_FAILURE);
    assert_int_equal(job->template->grace_period_s, 3);
    assert_string_equal(container->command[1], "-c");
    assert_null(container->command[2]);
    assert_string_equal(container->args[1], "1");
    assert_string_equal(container->variables[0].value, "1");
    assert_string_equal(container->variables[1].field_path, "metadata.name");
    assert_int_equal(container->n_limits, 2);
    assert_string_equal(container->limits[0].resource, "x.io/a");
    assert_int_equal(container->limits[0].count, 3);
    assert_int_equal(manifests.items[1].replicas, 1);
    assert_int_equal(manifests.items[2].kind, MANIFEST_POD);
    assert_string_equal(manifests.items[2].namespace, "default");
    assert_int_equal(manifests.items[2].template->grace_period_s, 30);
    podmanifests_deinit(&manifests);
}

static void test_template_reads_itself_back(void **state)
{
    struct podmanifests manifests = parse(
        "kind: Pod\n"
        "metadata: {name: p}\n"
        "spec:\n"
        "  restartPolicy: Never\n"
        "  containers:\n"
        "  - {name: c, image: \"i\", command: [\"a \\\"b\\\" \\\\ \\n\", \"true\", \"1\", ~x]}\n");
    char again[2048];
    struct podmanifests copies;

    snprintf(again, sizeof(again), "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":%s}",
             manifests.items[0].template->source);
    copies = parse(again);
    assert_string_equal(copies.items[0].template->source, manifests.items[0].template->source);
    assert_string_equal(copies.items[0].template->containers[0].command[0], "a \"b\" \\ \n");
    assert_string_equal(copies.items[0].template->containers[0].command[1], "true");
    assert_int_equal(copies.items[0].template->restart_policy, RESTART_NEVER);
    podmanifests_deinit(&manifests);
    podmanifests_deinit(&copies);
}

static void test_demand(void **state)
{
    struct podmanifests manifests =
        parse("kind: Pod\n"
              "metadata: {name: p}\n"
              "spec:\n"
              "  initContainers:\n"
              "  - {name: a, image: i, resources: {limits: {x.io/a: 2}}}\n"
              "  - {name: b, image: i, restartPolicy: Always, resources: {limits: {x.io/a: 1}}}\n"
              "  - {name: c, image: i, resources: {limits: {x.io/a: 4}}}\n"
              "  containers:\n"
              "  - {name: d, image: i, resources: {limits: {x.io/a: 2}}}\n"
              "  - {name: e, image: i, resources: {limits: {x.io/a: 1}}}\n");

    /* b keeps running: c needs 4 beside it, the apps 3 beside it. */
    assert_int_equal(manifests.items[0].template->containers[1].role, CONTAINER_SIDECAR);
    assert_int_equal(pod_template_demand(manifests.items[0].template, "x.io/a"), 5);
    podmanifests_deinit(&manifests);
}

#define POD(spec)       "kind: Pod\nmetadata: {name: p}\nspec: " spec
#define CONTAINER(more) POD("{containers: [{name: c, image: i, " more "}]}")

static void test_refusals(void **state)
{
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"metadata: {name: p}\n",
         "x:1:1: kind: Object 'Kind' is missing: use Pod, Deployment, ReplicaSet, Job or List"},
        {"kind: Pod\nmetadata: {name: p}\n", "x:1:1: spec: Required value"},
        {"kind: Pod\nmetadata: {}\nspec: {containers: [{name: c, image: i}]}",
         "x:2:11: metadata.name: Required value: give it a name"},
        {POD("{containers: []}"),
         "x:3:7: spec.containers: Required value: a pod needs at least one container"},
        {POD("{containers: [{name: c}]}"), "x:3:21: spec.containers[0].image: Required value"},
        {POD("{containers: [{name: c, image: i}, {name: c, image: i}]}"),
         "x:3:7: spec: Duplicate value: two containers are named \"c\""},
        {CONTAINER("resources: {limits: {x.io/a: 0.5}}"),
         "x:3:70: spec.containers[0].resources.limits[x.io/a]: Invalid value: \"0.5\": must be an "
         "integer"},
        {CONTAINER("resources: {limits: {x.io/a: 500m}}"),
         "x:3:70: spec.containers[0].resources.limits[x.io/a]: Invalid value: \"500m\": must be an "
         "integer"},
        {CONTAINER("resources: {limits: {x.io/a: -1}}"),
         "x:3:70: spec.containers[0].resources.limits[x.io/a]: Invalid value: \"-1\": must be "
         "greater than or equal to 0"},
        {CONTAINER("resources: {limits: {x.io/a: many}}"),
         "x:3:70: spec.containers[0].resources.limits[x.io/a]: quantities must match the regular "
         "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
        {CONTAINER("resources: {limits: {x.io/a: 0x10}}"),
         "x:3:70: spec.containers[0].resources.limits[x.io/a]: quantities must match the regular "
         "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
        {CONTAINER("resources: {requests: {x.io/a: 1}}"),
         "x:3:72: spec.containers[0].resources.limits: Required value: Limit must be set for non "
         "overcommitable resources"},
        {CONTAINER("resources: {limits: {x.io/a: 2}, requests: {x.io/a: 1}}"),
         "x:3:93: spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to "
         "x.io/a limit of 2"},
        {CONTAINER("resources: {limits: {x.io/: 1}}"),
         "x:3:62: spec.containers[0].resources.limits[x.io/]: Invalid value: \"x.io/\": must be a "
         "resource name like vendor.example/thing"},
        {POD("{restartPolicy: never, containers: [{name: c, image: i}]}"),
         "x:3:23: spec.restartPolicy: Unsupported value: \"never\": supported values: \"Always\", "
         "\"OnFailure\", \"Never\""},
        {"kind: Deployment\nmetadata: {name: p}\nspec: {replicas: -1, template: {spec: "
         "{containers: [{name: c, image: i}]}}}",
         "x:3:18: spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
        {"kind: Job\nmetadata: {name: p}\nspec: {template: {spec: {containers: [{name: c, image: "
         "i}]}}}",
         "x:3:25: spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", "
         "\"Never\""},
        {CONTAINER("env: [{name: A, value: 1}]"),
         "x:3:64: spec.containers[0].env[0].value: must be a string: put it in quotes"},
        {CONTAINER("env: {A: 1}"), "x:3:46: spec.containers[0].env: must be a list"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct problems problems = PROBLEMS_INIT;
        struct podmanifests manifests = MANIFESTS_INIT;
        char line[512] = "no problem";

        problems_set_source(&problems, "x");
        assert_int_equal(podmanifests_parse(cases[i].text, strlen(cases[i].text), "default",
                                            &problems, &manifests),
                         -EBADMSG);
        problems_sort(&problems);
        if (problems.n_items)
            problem_format(&problems, &problems.items[0], line, sizeof(line));
        assert_string_equal(line, cases[i].line);
        assert_int_equal(manifests.n_items, 0);
        problems_deinit(&problems);
    }
}

static void test_what_is_left_out_is_said(void **state)
{
    static const char text[] = "kind: ConfigMap\n"
                               "metadata: {name: m}\n"
                               "---\n"
                               "kind: Pod\n"
                               "metadata: {name: p}\n"
                               "spec:\n"
                               "  volumes: []\n"
                               "  containers: [{name: c, image: i, livenessProbe: {}}]\n";
    struct problems problems = PROBLEMS_INIT;
    struct podmanifests manifests = MANIFESTS_INIT;

    assert_int_equal(podmanifests_parse(text, strlen(text), "default", &problems, &manifests), 0);
    assert_int_equal(manifests.n_items, 1);
    assert_int_equal(problems_count(&problems, PROBLEM_WARNING), 1);
    assert_int_equal(problems_count(&problems, PROBLEM_NOTE), 2);
    podmanifests_deinit(&manifests);
    problems_deinit(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guide),
        cmocka_unit_test(test_everything_that_is_played),
        cmocka_unit_test(test_template_reads_itself_back),
        cmocka_unit_test(test_demand),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_what_is_left_out_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
