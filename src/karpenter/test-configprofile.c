// SPDX-License-Identifier: Apache-2.0
#include "karpenter/configprofile.h"

#include <errno.h>
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
#define SLICED \
    "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n"
#define SHARE(more) \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4" more "}]}}"

/* The ConfigMap `plugin` with these annotations (members of a JSON object). */
static json_t *config_map(const char *annotations, const char *key, const char *text)
{
    cleanup_text struct text members = TEXT_INIT;
    json_t *map;

    text_addf(&members, "{%s}", annotations);
    map = json_pack("{s:{s:s, s:o}, s:{s:s}}", "metadata", "name", "plugin", "annotations",
                    json_loads(text_string(&members), 0, NULL), "data", key, text);
    assert_non_null(map);
    return map;
}

/* All problems, one in each line; freed by the caller. */
static char *lines(const struct problems *problems)
{
    cleanup_text struct text all = TEXT_INIT;
    const struct problem *problem = NULL;
    char line[1024];

    text_add(&all, "");
    while ((problem = problems_next(problems, problem))) {
        problem_format_severe(problems, problem, line, sizeof(line));
        text_addf(&all, "%s\n", line);
    }
    return text_take(&all);
}

static void assert_spec(const char *annotations, const char *text, const char *spec)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *map = config_map(annotations, "any", text), *profile = NULL,
           *wanted = json_loads(spec, 0, NULL), *has;
    cleanup_free char *said = NULL, *is = NULL;
    int r = configprofile_make(map, "any", &problems, &profile);

    said = lines(&problems);
    if (r != 0)
        fail_msg("%s: %d: %s", text, r, said);
    has = json_object_get(profile, "spec");
    is = json_dumps(has, JSON_SORT_KEYS);
    if (!json_equal(has, wanted))
        fail_msg("%s: %s, not %s", text, is, spec);
    json_decref(wanted);
    json_decref(profile);
    json_decref(map);
}

static void test_guide(void **state)
{
    /* As the guide has it. */
    static const char text[] = "version: v1\n"
                               "flags:\n"
                               "  migStrategy: none  # MIG strategy disabled\n"
                               "sharing:\n"
                               "  timeSlicing:\n"
                               "    resources:\n"
                               "    - name: nvidia.com/gpu\n"
                               "      replicas: 4  # 4 virtual GPUs per physical GPU\n";
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *map = config_map(TYPES, "any", text), *profile = NULL, *wanted;

    assert_int_equal(configprofile_make(map, "any", &problems, &profile), 0);
    assert_int_equal(problems.n_items, 0);
    wanted = json_pack("{s:s, s:s, s:{s:s, s:{s:s}, s:{s:s}}, s:{s:[s], s:{s:i}}}", "apiVersion",
                       "gpuslice.dev/v1alpha1", "kind", "SliceProfile", "metadata", "name",
                       "plugin-any", "labels", "gpuslice.dev/config-map", "plugin", "annotations",
                       "gpuslice.dev/config-map-key", "any", "spec", "instanceTypes", "p3.8xlarge",
                       "timeSlicing", "replicas", 4);
    assert_true(json_equal(profile, wanted));
    json_decref(wanted);
    json_decref(profile);
    json_decref(map);
}

static void test_specs(void **state)
{
    static const struct {
        const char *annotations, *text, *spec;
    } rows[] = {
        {TYPES,
         "sharing: {timeSlicing: {renameByDefault: true, failRequestsGreaterThanOne: true, "
         "resources: [{name: nvidia.com/gpu, replicas: 4}]}}",
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"timeSlicing\": {\"replicas\": 4, "
         "\"renameByDefault\": true, \"failRequestsGreaterThanOne\": true}}"},
        {TYPES, SHARE(", rename: nvidia.com/quarter"),
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"timeSlicing\": {\"replicas\": 4, \"rename\": "
         "\"nvidia.com/quarter\"}}"},
        {TYPES,
         "gpuslice: {slices: [{name: half, share: 50%}, {name: tenth, share: 10%, count: 5}]}",
         "{\"instanceTypes\": [\"p3.8xlarge\"], \"slices\": [{\"name\": \"half\", \"share\": "
         "\"50.0%\", \"count\": 1}, {\"name\": \"tenth\", \"share\": \"10.0%\", \"count\": 5}]}"},
        {"\"gpuslice.dev/gpu-names\": \"a100\"",
         "{flags: {migStrategy: mixed}, gpuslice: {mig: {layout: all-1g.5gb}}}",
         "{\"gpuNames\": [\"a100\"], \"mig\": {\"strategy\": \"mixed\", \"layout\": "
         "\"all-1g.5gb\"}}"},
        {"\"gpuslice.dev/gpu-names\": \"a100\"",
         "{flags: {migStrategy: single}, gpuslice: {mig: {layout: '2 x 1g.5gb, 1 x 3g.20gb'}}}",
         "{\"gpuNames\": [\"a100\"], \"mig\": {\"strategy\": \"single\", \"devices\": "
         "{\"1g.5gb\": 2, \"3g.20gb\": 1}}}"},
        /* What a layout says twice is added up, as by the agent. */
        {"\"gpuslice.dev/gpu-names\": \"a100\"",
         "{flags: {migStrategy: mixed}, gpuslice: {mig: {layout: '1 x 1g.5gb, 2 x 1g.5gb'}}}",
         "{\"gpuNames\": [\"a100\"], \"mig\": {\"strategy\": \"mixed\", \"devices\": "
         "{\"1g.5gb\": 3}}}"},
        {"\"gpuslice.dev/instance-types\": \" g5.xlarge, g5.2xlarge \", "
         "\"gpuslice.dev/node-pool\": \"gpu\", \"gpuslice.dev/node-class\": \"default\", "
         "\"gpuslice.dev/taints\": \"a=b:NoSchedule, c:NoExecute\", "
         "\"gpuslice.dev/capacity-types\": \"spot,on-demand\", \"gpuslice.dev/max-nodes\": \"8\", "
         "\"gpuslice.dev/consolidate-after\": \"1h\", \"example.com/x\": \"y\"",
         SLICED,
         "{\"instanceTypes\": [\"g5.xlarge\", \"g5.2xlarge\"], \"nodePool\": \"gpu\", "
         "\"nodeClass\": {\"group\": \"karpenter.k8s.aws\", \"kind\": \"EC2NodeClass\", \"name\": "
         "\"default\"}, \"taints\": [{\"key\": \"a\", \"value\": \"b\", \"effect\": "
         "\"NoSchedule\"}, {\"key\": \"c\", \"effect\": \"NoExecute\"}], \"capacityTypes\": "
         "[\"spot\", \"on-demand\"], \"maxNodes\": 8, \"consolidateAfter\": \"1h\", "
         "\"timeSlicing\": {\"replicas\": 4}}"},
        /* Of this key alone. */
        {TYPES ", \"gpuslice.dev/instance-types.any\": \"g5.xlarge\"", SLICED,
         "{\"instanceTypes\": [\"g5.xlarge\"], \"timeSlicing\": {\"replicas\": 4}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_spec(rows[i].annotations, rows[i].text, rows[i].spec);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *annotations, *text, *words;
    } rows[] = {
        {TYPES,
         "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: "
         "four}]}}",
         "plugin/any:2:70: error: sharing.timeSlicing.resources[0].replicas"},
        {TYPES, "version: v1\nsharing: [", "plugin/any:2:"},
        {TYPES, "gpuslice: {slcies: []}", "gpuslice.slcies"},
        {TYPES, "mig-configs: {}", "mig"},
        {"", SLICED, "plugin/any: error: gpuslice.dev/instance-types: nothing says which nodes"},
        /* A key that is misspelled is no other key that has types. */
        {"\"gpuslice.dev/instance-types.ayn\": \"g5.xlarge\"", SLICED,
         "plugin/any: error: gpuslice.dev/instance-types.ayn: the ConfigMap has no ayn"},
        {TYPES, "version: v1\nsharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}",
         "plugin/any:2:29: error: sharing.mps.resources[0]: no agent serves MPS yet"},
        {TYPES, SHARE(", devices: 2"), "remove devices"},
        {TYPES, "sharing: {timeSlicing: {resources: [{name: nvidia.com/mig-1g.5gb, replicas: 2}]}}",
         "shares nvidia.com/gpu by time"},
        {TYPES,
         "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2, devices: [0]}, "
         "{name: nvidia.com/gpu, replicas: 4, devices: [1], rename: nvidia.com/x}]}}",
         "slices of one size"},
        {TYPES, SHARE("") "\ngpuslice: {slices: [{name: half, share: 50%}]}", "in one way"},
        {TYPES, SHARE("") "\nflags: {migStrategy: mixed}\ngpuslice: {mig: {layout: all-1g.5gb}}",
         "in one way"},
        {TYPES, "flags: {migStrategy: mixed}", "add gpuslice.mig.layout"},
        {TYPES, "gpuslice: {mig: {layout: all-1g.5gb}}", "under migStrategy: none"},
        {TYPES, "flags: {migStrategy: mixed}\ngpuslice: {mig: {layout: mine}}", "built-in layout"},
        {TYPES, "flags: {migStrategy: mixed}\ngpuslice: {mig: {layout: '1 x 1g.5gb, 3g.20gb'}}",
         "built-in layout"},
        {TYPES,
         "flags: {migStrategy: mixed}\n"
         "gpuslice: {mig: {layout: '1 x 1g.5gb, 3g.20gb, 1 x 2g.10gb'}}",
         "built-in layout"},
        {TYPES, SLICED "resources: {gpus: [{pattern: '*', name: nvidia.com/v100}]}",
         "plugin/any:3:1: error: resources: a SliceProfile has no place for this"},
        {TYPES, SLICED "gpuslice: {excludeDevices: [0]}", "gpuslice.excludeDevices"},
        /* Whole GPUs, of which Karpenter knows nothing all the same. */
        {TYPES, "resources: {gpus: [{pattern: '*', name: nvidia.com/v100}]}",
         "plugin/any:1:1: error: resources: a SliceProfile has no place for this"},
        {TYPES ", \"gpuslice.dev/taints\": \"a:Never\"", SLICED,
         "plugin/any: error: gpuslice.dev/taints: expected NoSchedule"},
        {TYPES ", \"gpuslice.dev/consolidate-after\": \"soon\"", SLICED,
         "gpuslice.dev/consolidate-after: expected a duration"},
        {"\"gpuslice.dev/instance-types\": \"\"", SLICED, "expected a text"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        json_t *map = config_map(rows[i].annotations, "any", rows[i].text), *profile = NULL;
        cleanup_free char *said = NULL;
        int r = configprofile_make(map, "any", &problems, &profile);

        said = lines(&problems);
        if (r != -EBADMSG || !strstr(said, rows[i].words))
            fail_msg("row %zu: %d: %snot: %s", i, r, said, rows[i].words);
        assert_null(profile);
        json_decref(map);
    }
}

/* What a profile's agent does not get is reported, and the profile is made all the same. */
static void test_warns(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {SLICED "flags: {plugin: {passDeviceSpecs: true}}\n",
         "plugin/any:3:18: warning: flags.plugin.passDeviceSpecs: does not reach the nodes"},
        {SLICED "flags: {migStrategy: single}\n", "not partitioned by MIG"},
        {SLICED "flags: {migStrategy: none, plugin: {}}\n", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        json_t *map = config_map(TYPES, "any", rows[i].text), *profile = NULL;
        cleanup_free char *said = NULL;

        assert_int_equal(configprofile_make(map, "any", &problems, &profile), 0);
        said = lines(&problems);
        if (*rows[i].words ? !strstr(said, rows[i].words) : *said != '\0')
            fail_msg("row %zu: '%s', not '%s'", i, said, rows[i].words);
        json_decref(profile);
        json_decref(map);
    }
}

static void test_keys_without_a_profile(void **state)
{
    static const struct {
        const char *annotations, *text;
        int outcome;
    } rows[] = {
        {TYPES, "version: v1", CONFIGPROFILE_WHOLE},
        {"", "version: v1", CONFIGPROFILE_WHOLE},
        {TYPES, "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 1}]}}",
         CONFIGPROFILE_WHOLE},
        {"\"gpuslice.dev/instance-types.other\": \"g5.xlarge\"", SLICED, CONFIGPROFILE_NO_TYPES},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        json_t *map = config_map(rows[i].annotations, "any", rows[i].text), *profile = NULL;

        json_object_set_new(json_object_get(map, "data"), "other", json_string(SLICED));
        assert_int_equal(configprofile_make(map, "any", &problems, &profile), rows[i].outcome);
        assert_int_equal(problems_count(&problems, PROBLEM_ERROR), 0);
        json_decref(map);
    }
}

static void test_names(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *map = config_map(TYPES, "T4.yaml", SLICED), *profile = NULL;
    cleanup_free char *said = NULL;
    char name[CONFIGPROFILE_NAME];

    configprofile_name(map, "a10", name);
    assert_string_equal(name, "plugin-a10");
    assert_int_equal(configprofile_make(map, "T4.yaml", &problems, &profile), -EBADMSG);
    said = lines(&problems);
    assert_non_null(strstr(said, "plugin-T4.yaml cannot be the name of a SliceProfile"));
    json_decref(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guide),
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_warns),
        cmocka_unit_test(test_keys_without_a_profile),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests_name("karpenter/configprofile", tests, NULL, NULL);
}
