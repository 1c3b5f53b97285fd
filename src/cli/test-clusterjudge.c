// SPDX-License-Identifier: Apache-2.0
#include "cli/clusterjudge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

/* Facts of a cluster in which everything is as it should be, with single quotes; a case changes
 * some of it. */
static const char good[] =
    "{'kubernetes': 'v1.36.2', 'nodesWithoutGPU': 1, 'overlaysServed': true, 'sliceProfiles': 1,"
    " 'agent': {'namespace': 'gpu', 'name': 'gpuslice', 'podSecurity': 'privileged',"
    "           'partitions': true},"
    " 'karpenter': {'version': '1.14.1', 'gate': 'on'},"
    " 'overlays': [{'name': 'p-16', 'profile': 'p', 'ready': 'True', 'message': ''}],"
    " 'pools': {'gpu': {'profile': 'p', 'auto': false, 'class': 'aws'}}, 'sharedClasses': {}, "
    "'components': [], 'draDrivers': {},"
    " 'unknown': [],"
    " 'groups': [{'kind': 'NodePool', 'name': 'gpu', 'nodes': 2, 'agent': {'ready': 2},"
    "             'mig': {'capable': 2}, 'cgroup': {'v2': 2}, 'plugins': {}, 'sharing': {'shared': "
    "2},"
    "             'advertised': {'nvidia.com/gpu.shared': 32}}]}";

static json_t *load(const char *text)
{
    cleanup_free char *copy = strdup(text);
    json_t *tree;

    assert_non_null(copy);
    for (char *c = copy; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    tree = json_loads(copy, JSON_DECODE_ANY, NULL);
    assert_non_null(tree);
    return tree;
}

/* The good cluster with another value at "a.b", of the first group at "group.b". */
static json_t *facts_with(const char *path, const char *value)
{
    json_t *facts = load(good), *at = facts;
    char key[64];

    while (*path) {
        size_t length = strcspn(path, ".");

        snprintf(key, sizeof(key), "%.*s", (int)length, path);
        path += length + (path[length] == '.');
        if (!*path)
            json_object_set_new(at, key, load(value));
        else
            at = str_equal(key, "group") ? json_array_get(json_object_get(facts, "groups"), 0)
                                         : json_object_get(at, key);
    }
    return facts;
}

static const json_t *guarantee(const json_t *facts, const char *name)
{
    const json_t *group = json_array_get(json_object_get(facts, "groups"), 0);

    return json_object_get(json_object_get(group, "guarantees"), name);
}

static void assert_answer(const char *path, const char *value, const char *name, const char *answer,
                          const char *words)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *facts = facts_with(path, value);
    const char *why;

    clusterjudge(facts, &problems);
    why = json_string_value(json_object_get(guarantee(facts, name), "why"));
    if (!str_equal(json_string_value(json_object_get(guarantee(facts, name), "answer")), answer) ||
        !strstr(why, words))
        fail_msg("%s=%s: %s: %s", path, value, name, why);
    json_decref(facts);
}

static void test_guarantees(void **state)
{
    static const struct {
        const char *path, *value, *name, *answer, *words;
    } rows[] = {
        {"", "", "memory", "no", "advisory"},
        {"", "", "compute", "no", "advisory"},
        {"", "", "scheduling", "yes", "ready on every node"},
        {"", "", "scaling", "yes", "1 NodeOverlay of the profile p is Ready"},
        {"", "", "mig", "yes", "partitions them"},
        {"group.sharing", "{'mig': 2}", "memory", "yes", "hardware"},
        {"group.sharing", "{'mig': 1, 'whole': 1}", "compute", "yes", "hardware"},
        {"group.sharing", "{'whole': 2}", "compute", "yes", "whole GPUs alone"},
        {"group.sharing", "{'mig': 1, 'shared': 1}", "compute", "no", "on 1 of 2 nodes"},
        {"group.sharing", "{'': 2}", "memory", "unknown", "advertise nothing"},
        {"group.agent", "{'': 2}", "scheduling", "no", "on none of these nodes"},
        {"group.agent", "{'ready': 1, 'DriverNotAvailable': 1}", "scheduling", "no",
         "ready on 1 of 2 nodes: DriverNotAvailable (1)"},
        {"group.doublyServed", "1", "scheduling", "no", "DRA driver"},
        {"group.autoMode", "2", "scheduling", "no", "Auto Mode"},
        {"group.autoMode", "2", "scaling", "no", "has no NodeOverlays"},
        {"group.autoMode", "2", "mig", "no", "Auto Mode"},
        {"pools.gpu.auto", "true", "scaling", "no", "Auto Mode"},
        {"pools.gpu.profile", "''", "scaling", "no", "no profile"},
        {"pools.gpu.profile", "'q'", "scaling", "no", "the profile q has no NodeOverlay"},
        {"pools", "{}", "scaling", "unknown", "could not be read"},
        {"karpenter.gate", "'off'", "scaling", "no", "gate NodeOverlay is off"},
        {"karpenter.version", "'1.8.3'", "scaling", "no", "1.8.3 is too old"},
        {"karpenter.version", "'v0.37.0'", "scaling", "no", "too old"},
        {"karpenter.version", "'latest'", "scaling", "yes", "Ready"},
        {"overlays", "[{'name': 'a', 'profile': 'p', 'ready': 'False', 'message': 'm'}]", "scaling",
         "no", "1 of 1 NodeOverlays of the profile p are not Ready"},
        {"group.kind", "'node group'", "scaling", "unknown", "Auto Scaling group"},
        {"group.mig", "{'incapable': 1, 'capable': 1}", "mig", "no", "of 1 of 2 nodes"},
        {"group.mig", "{'': 2}", "mig", "unknown", "mig.capable"},
        {"agent", "null", "mig", "no", "not installed"},
        {"agent.partitions", "false", "mig", "no", "mig.partition is off"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_answer(rows[i].path, rows[i].value, rows[i].name, rows[i].answer, rows[i].words);
}

/* words: "" = there is no problem at all. */
static void assert_problem(const char *path, const char *value, enum problem_severity severity,
                           const char *about, const char *words)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *facts = facts_with(path, value);

    clusterjudge(facts, &problems);
    if (*words && problems.n_items != 1)
        fail_msg("%s=%s: %zu problems", path, value, problems.n_items);
    if (!*words && problems.n_items)
        fail_msg("%s=%s: %s", path, value, problems.items[0].text);
    if (*words) {
        assert_int_equal(problems.items[0].severity, severity);
        assert_string_equal(problems.items[0].path, about);
        if (!strstr(problems.items[0].text, words))
            fail_msg("'%s' is not in: %s", words, problems.items[0].text);
    }
    json_decref(facts);
}

static void test_problems(void **state)
{
    static const struct {
        const char *path, *value;
        enum problem_severity severity;
        const char *about, *words;
    } rows[] = {
        {"", "", PROBLEM_NOTE, "", ""},
        {"group.doublyServed", "2", PROBLEM_ERROR, "NodePool gpu", "given out twice"},
        {"group.plugins", "{'NVIDIA\\u0027s device plugin': 1}", PROBLEM_WARNING, "NodePool gpu",
         "NVIDIA's device plugin is to run on 1 of these nodes"},
        {"group.migManagers", "{'NVIDIA\\u0027s MIG manager': 2}", PROBLEM_WARNING, "NodePool gpu",
         "changes no MIG layout beside it"},
        {"group.agent", "{'ready': 1, 'ForeignDevicePlugin': 1}", PROBLEM_WARNING, "NodePool gpu",
         "not ready on 1 of 2 nodes: ForeignDevicePlugin (1)"},
        {"group.agent", "{'ready': 1, '': 1}", PROBLEM_NOTE, "NodePool gpu", "has not reported"},
        {"group.hidden", "2", PROBLEM_WARNING, "NodePool gpu", "cluster-autoscaler"},
        {"group.cgroup", "{'v1': 2}", PROBLEM_NOTE, "NodePool gpu", "1.35"},
        {"group.autoMode", "2", PROBLEM_NOTE, "NodePool gpu", "EKS Auto Mode"},
        {"agent", "null", PROBLEM_NOTE, "", "not installed"},
        {"agent.podSecurity", "'restricted'", PROBLEM_ERROR, "Namespace gpu", "'restricted'"},
        {"agent.podSecurity", "''", PROBLEM_NOTE, "", ""},
        {"agent.podSecurity", "null", PROBLEM_NOTE, "", ""},
        {"karpenter.gate", "'off'", PROBLEM_ERROR, "Karpenter", "featureGates.nodeOverlay"},
        {"karpenter.gate", "''", PROBLEM_NOTE, "", ""}, /* its overlays have conditions */
        {"karpenter.version", "'1.8.0'", PROBLEM_ERROR, "Karpenter", "too old"},
        {"overlays", "[{'name': 'a', 'profile': '', 'ready': 'False', 'message': 'Conflict'}]",
         PROBLEM_ERROR, "NodeOverlay a", "Conflict"},
        {"overlays", "[]", PROBLEM_NOTE, "", ""},
        {"overlaysServed", "false", PROBLEM_ERROR, "Karpenter", "CRDs"},
        {"sharedClasses", "{'aws': '4'}", PROBLEM_ERROR, "EC2NodeClass aws",
         "the GPUs of the NodePool gpu twice: by the NodeOverlays of the profile p"},
        {"sharedClasses", "{'other': '4'}", PROBLEM_NOTE, "", ""},
        {"unknown", "[{'what': 'Nodes', 'why': 'forbidden'}]", PROBLEM_WARNING, "",
         "not known: Nodes (forbidden)"},
        {"groups", "[]", PROBLEM_NOTE, "", "no node has a GPU"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_problem(rows[i].path, rows[i].value, rows[i].severity, rows[i].about, rows[i].words);
}

/* No conditions at all, though nobody says that the gate is off: nobody looks at overlays. */
static void test_a_gate_that_is_seen_by_its_work(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *facts =
        facts_with("overlays", "[{'name': 'a', 'profile': 'p', 'ready': '', 'message': ''}]");

    json_object_set_new(json_object_get(facts, "karpenter"), "gate", json_string(""));
    clusterjudge(facts, &problems);
    assert_int_equal(problems.n_items, 1);
    assert_non_null(strstr(problems.items[0].text, "gate NodeOverlay is off"));
    json_decref(facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guarantees),
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_a_gate_that_is_seen_by_its_work),
    };

    return cmocka_run_group_tests_name("cli/clusterjudge", tests, NULL, NULL);
}
