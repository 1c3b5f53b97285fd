// SPDX-License-Identifier: Apache-2.0
#include "karpenter/configmaps.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

#define LABEL "gpuslice.dev/slice-profile: \"true\""
#define TYPES "gpuslice.dev/instance-types: p3.8xlarge"
#define MAP(labels, annotations)                                                           \
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plugin\n  labels: {" labels "}\n" \
    "  annotations: {" annotations "}\ndata:\n"
#define ANY                                                                                    \
    "  any: |\n    version: v1\n    sharing:\n      timeSlicing:\n        resources: [{name: " \
    "nvidia.com/gpu, replicas: 4}]\n"

/* "10:19: error: path: sentence", one in each line. */
static char *check(const char *text, const char *key)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_text struct text all = TEXT_INIT;
    const struct problem *problem = NULL;

    assert_int_equal(configmaps_check(text, strlen(text), key, &problems), 0);
    text_add(&all, "");
    while ((problem = problems_next(&problems, problem)))
        text_addf(&all, "%u:%u: %s: %s: %s\n", problem->at.line, problem->at.column,
                  problem_severity_name(problem->severity), problem->path, problem->text);
    return text_take(&all);
}

static void test_what_is_said_where(void **state)
{
    static const struct {
        const char *text, *key, *said; /* said: its beginning; "" = nothing */
    } rows[] = {
        {MAP(LABEL, TYPES) ANY, NULL,
         "8:3: note: any: gpuslice-controller makes a SliceProfile of it, plugin-any\n"},
        {MAP("", TYPES) ANY, NULL, ""},
        {"version: v1\n", NULL, ""},
        {"a: [", NULL, ""},
        {MAP("gpuslice.dev/slice-profile: \"yes\"", TYPES) ANY, NULL,
         "5:40: warning: gpuslice.dev/slice-profile: the ConfigMap is no slice profile; only"},
        /* The text's places are those of the file. */
        {MAP(LABEL, TYPES) "  any: |\n    gpuslice: {excludeDevices: [0]}\n", NULL,
         "9:16: error: gpuslice.excludeDevices: a SliceProfile has no place for this"},
        {MAP(LABEL, TYPES) "  any: \"version: v1\\ngpuslice: {excludeDevices: [0]}\"\n", NULL,
         "8:8: error: gpuslice.excludeDevices: in line 2 of this text: a SliceProfile has no"},
        /* Those of annotations, too; what is missing is the key's. */
        {MAP(LABEL, TYPES ", gpuslice.dev/max-nodes: many") ANY, NULL,
         "6:58: error: gpuslice.dev/max-nodes: expected a number"},
        {MAP(LABEL, TYPES ", gpuslice.dev/taint: a") ANY, NULL,
         "6:58: error: gpuslice.dev/taint: unknown annotation; did you mean gpuslice.dev/taints?"},
        {MAP(LABEL, "") ANY, NULL, "8:3: error: gpuslice.dev/instance-types: nothing says which"},
        {MAP(LABEL, TYPES) "  any: 'version: v1'\n", NULL,
         "8:3: note: any: offers each GPU whole, which Karpenter knows by itself"},
        {MAP(LABEL, "gpuslice.dev/instance-types.any: p3.8xlarge") ANY "  b: 'version: v1'\n", "b",
         "13:3: note: b: no annotation says which nodes"},
        {MAP(LABEL, TYPES) ANY, "other", ""},
        {"kind: List\nitems:\n- kind: ConfigMap\n  metadata: {name: p, labels: {" LABEL
         "}}\n  data: {any: 'version: v1'}\n",
         NULL, "5:10: note: any: offers each GPU whole"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_free char *said = check(rows[i].text, rows[i].key);

        if (*rows[i].said ? !str_starts_with(said, rows[i].said) : *said)
            fail_msg("row %zu: '%s', not '%s'", i, said, rows[i].said);
    }
}

/* One annotation for two keys, and what the file's own check has found already. */
static void test_nothing_is_said_twice(void **state)
{
    cleanup_free char *said =
        check(MAP(LABEL, TYPES ", gpuslice.dev/max-nodes: many") ANY
              "  b: 'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}'\n",
              NULL);

    assert_non_null(strstr(said, "expected a number"));
    assert_null(strstr(strstr(said, "expected a number") + 1, "expected a number"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said_where),
        cmocka_unit_test(test_nothing_is_said_twice),
    };

    return cmocka_run_group_tests_name("karpenter/configmaps", tests, NULL, NULL);
}
