// SPDX-License-Identifier: Apache-2.0
#include "kube/managedfields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const ours[] = {"gpuslice-node", NULL};

static const struct managed_field labels = {{"f:metadata", "f:labels"}};
static const struct managed_field team = {{"f:metadata", "f:labels", "f:team"}};

static json_t *object(const char *entries)
{
    json_t *fields = json_loads(entries, 0, NULL);

    assert_non_null(fields);
    return json_pack("{s:{s:s,s:o}}", "metadata", "resourceVersion", "7", "managedFields", fields);
}

#define ENTRY(manager, operation, subresource, fields)                                            \
    "{\"manager\":\"" manager "\",\"operation\":\"" operation "\",\"subresource\":\"" subresource \
    "\",\"fieldsV1\":{" fields "}}"
#define TEAM "\"f:metadata\":{\"f:labels\":{\"f:team\":{}}}"

static void knows_whose_a_field_is(void **state)
{
    static const struct {
        const char *entries;
        bool ours;
        const char *other;
    } rows[] = {
        {"[]", false, NULL},
        {"[" ENTRY("gpuslice-node", "Apply", "", TEAM) "]", true, NULL},
        /* Not applied, so it does not go away by itself. */
        {"[" ENTRY("gpuslice-node", "Update", "", TEAM) "]", false, NULL},
        {"[" ENTRY("gpuslice-node", "Apply", "status", TEAM) "]", false, NULL},
        {"[" ENTRY("kubectl-label", "Update", "", TEAM) "]", false, "kubectl-label"},
        {"[" ENTRY("gpuslice-node", "Apply", "", TEAM) "," ENTRY("x", "Apply", "", TEAM) "]", true,
         "x"},
        {"[" ENTRY("kubelet", "Update", "", "\"f:metadata\":{\"f:labels\":{}}") "]", false, NULL},
        /* Nonsense. */
        {"[{}, 7, {\"manager\":7,\"fieldsV1\":{" TEAM "}}]", false, NULL},
        {"[{\"manager\":\"x\",\"fieldsV1\":[\"f:metadata\"]}]", false, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        json_t *one = object(rows[i].entries);
        const char *other = managedfields_other(one, &team, ours);

        assert_int_equal(managedfields_applied(one, *ours, "", &team) != NULL, rows[i].ours);
        assert_string_equal(other ? other : "", rows[i].other ? rows[i].other : "");
        json_decref(one);
    }
    assert_null(managedfields_applied(NULL, *ours, "", &team));
    assert_null(managedfields_other(NULL, &team, ours));
}

/* The entry of ours keeps what is not given up, and the patch fails when the object has changed. */
static void releases_some_fields(void **state)
{
    json_t *one = object("[" ENTRY("x", "Update", "", TEAM) "," ENTRY(
        "gpuslice-node", "Apply", "",
        "\"f:metadata\":{\"f:labels\":{\"f:team\":{},\"f:zone\":{}}}") "]");
    json_t *leaves = json_pack("{s:n}", "f:team");
    json_t *patch = managedfields_release(one, *ours, &labels, leaves);
    json_t *expected =
        json_loads("[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"7\"},"
                   "{\"op\":\"replace\",\"path\":\"/metadata/managedFields/1/fieldsV1\","
                   "\"value\":{\"f:metadata\":{\"f:labels\":{\"f:zone\":{}}}}}]",
                   0, NULL);

    assert_non_null(expected);
    assert_true(json_equal(patch, expected));
    assert_non_null(managedfields_applied(one, *ours, "", &team)); /* the object is as it was */
    json_decref(expected);
    json_decref(patch);
    json_decref(leaves);
    json_decref(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_whose_a_field_is),
        cmocka_unit_test(releases_some_fields),
    };

    return cmocka_run_group_tests_name("kube/managedfields", tests, NULL, NULL);
}
