// SPDX-License-Identifier: Apache-2.0
#include "controller/configplan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "controller/test-json.h"

#define FOUR  "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
#define TYPED "'annotations': {'gpuslice.dev/instance-types': 'p3.8xlarge'}"
#define MAP(name, data) \
    "{'metadata': {'name': '" name "', 'uid': 'm', " TYPED "}, 'data': {" data "}}"
#define IN(namespace_, name, of, key, more)                \
    "{'metadata': {'name': '" name "', 'uid': 'u', " more  \
    "'annotations': {'gpuslice.dev/config-map-key': '" key \
    "', 'gpuslice.dev/config-map-namespace': '" namespace_ \
    "'}, 'labels': {'gpuslice.dev/config-map': '" of       \
    "', 'app.kubernetes.io/managed-by': 'gpuslice-controller'}}, 'spec': {}}"
#define NAMED(name, of, key, more) IN("gpu", name, of, key, more)
#define MADE(of, key)              NAMED(of "-" key, of, key, "")
#define THEIRS(name)               "{'metadata': {'name': '" name "', 'uid': 't'}, 'spec': {}}"

/* "apply plugin-any; delete old" and the reasons of the remarks: "NothingSliced". */
static void summarise(const struct configplan *plan, char *text, size_t size)
{
    static const char *const verbs[] = {
        [CHANGE_NOTHING] = "keep", [CHANGE_APPLY] = "apply", [CHANGE_DELETE] = "delete"};
    size_t n = 0;

    for (size_t i = 0; i < plan->n_items; i++)
        n += (size_t)snprintf(text + n, size - n, "%s %s; ", verbs[plan->items[i].change.verb],
                              plan->items[i].name);
    for (size_t i = 0; i < plan->n_remarks; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s ", plan->remarks[i].is_warning ? "!" : "",
                              plan->remarks[i].reason);
    text[n] = '\0';
}

static void test_plans(void **state)
{
    static const struct {
        const char *maps, *profiles, *summary, *words;
    } rows[] = {
        {"[]", "[]", "", ""},
        {"[" MAP("p", "'any': '" FOUR "'") "]", "[]", "apply p-any; ", ""},
        {"[" MAP("p", "'a': '" FOUR "', 'b': 'version: v1', 'c': '" FOUR "'") "]", "[]",
         "apply p-a; apply p-c; NothingSliced ", "each GPU whole"},
        /* The key, the label or the ConfigMap has gone. */
        {"[" MAP("p", "'any': '" FOUR "'") "]", "[" MADE("p", "old") "]",
         "apply p-any; delete p-old; ", ""},
        {"[]", "[" MADE("p", "any") ", " THEIRS("mine") "]", "delete p-any; ", ""},
        {"[" MAP("p", "'any': 'version: v1'") "]", "[" MADE("p", "any") "]",
         "delete p-any; NothingSliced ", ""},
        /* A mistake takes nothing away. */
        {"[" MAP("p", "'any': 'sharing: ['") "]", "[" MADE("p", "any") "]",
         "keep p-any; !NoSliceProfile ", "p/any:1:"},
        /* What is somebody's own stays. */
        {"[" MAP("p", "'any': '" FOUR "'") "]", "[" THEIRS("p-any") "]", "!NoSliceProfile ",
         "somebody's own SliceProfile has the name p-any"},
        {"[" MAP("p", "'q-r': '" FOUR "'") "," MAP("p-q", "'r': '" FOUR "'") "]", "[]",
         "apply p-q-r; !NoSliceProfile ", "p-q/r: another ConfigMap and key"},
        /* What one of them made already is not taken from it, while its key is there. */
        {"[" MAP("p", "'q-r': '" FOUR "'") "," MAP("p-q", "'r': '" FOUR "'") "]",
         "[" MADE("p-q", "r") "]", "apply p-q-r; !NoSliceProfile ",
         "p/q-r: another ConfigMap and key"},
        {"[" MAP("p", "'q-r': '" FOUR "'") "," MAP("p-q", "'s': '" FOUR "'") "]",
         "[" MADE("p-q", "r") "]", "apply p-q-r; apply p-q-s; ", ""},
        /* A copy of what we made has our labels, too. */
        {"[" MAP("p", "'any': '" FOUR "'") "]", "[" NAMED("mine", "p", "any", "") "]",
         "apply p-any; ", ""},
        {"[]", "[" NAMED("mine", "p", "any", "") "]", "", ""},
        /* Another controller's, in another namespace. */
        {"[]", "[" IN("other", "p-any", "p", "any", "") "]", "", ""},
        {"[" MAP("p", "'any': '" FOUR "'") "]", "[" IN("other", "p-any", "p", "any", "") "]",
         "!NoSliceProfile ", "somebody's own SliceProfile has the name p-any"},
        /* It is deleted, and a finalizer holds it. */
        {"[]", "[" NAMED("p-any", "p", "any", "'deletionTimestamp': '2026-01-31T23:59:59Z', ") "]",
         "keep p-any; ", ""},
        {"[" MAP("p", "") "]", "[]", "!NoSliceProfile ", "p has no data"},
        {"[" MAP("p", "'any': 'flags: {gdsEnabled: true}\\n" FOUR "'") "]", "[]",
         "apply p-any; SliceProfileDiffers ", "does not reach the nodes"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_configplan struct configplan plan = CONFIGPLAN_INIT;
        json_t *maps = read_json(rows[i].maps), *profiles = read_json(rows[i].profiles);
        char summary[512];
        bool is_there = !*rows[i].words;

        assert_int_equal(configplan_make("gpu", maps, profiles, &plan), 0);
        summarise(&plan, summary, sizeof(summary));
        if (!str_equal(summary, rows[i].summary))
            fail_msg("row %zu: '%s', not '%s'", i, summary, rows[i].summary);
        for (size_t k = 0; k < plan.n_remarks; k++)
            is_there |= strstr(plan.remarks[k].message, rows[i].words) != NULL;
        if (!is_there)
            fail_msg("row %zu: nothing says '%s'", i, rows[i].words);
        json_decref(maps);
        json_decref(profiles);
    }
}

/* What is sent for the one key, as the server then has it: without the kind, as in a list. NULL =
 * nothing. */
static json_t *sent(const json_t *maps, const json_t *existing)
{
    cleanup_configplan struct configplan plan = CONFIGPLAN_INIT;
    json_t *profiles = json_pack("[O*]", existing), *body;

    assert_int_equal(configplan_make("gpu", maps, profiles, &plan), 0);
    assert_int_equal(plan.n_items, 1);
    body = json_deep_copy(plan.items[0].change.body);
    json_decref(profiles);
    json_object_del(body, "kind");
    return body;
}

static json_t *metadata_of(const json_t *object)
{
    return json_object_get(object, "metadata");
}

/* What was written is not written again, whatever others add to it; and what we no longer want is
 * seen, although it is not among what is compared. */
static void test_is_written_once(void **state)
{
    json_t *maps = read_json("[" MAP("p", "'any': '" FOUR "'") "]"), *first, *second, *third,
           *annotations = json_object_get(metadata_of(json_array_get(maps, 0)), "annotations");

    first = sent(maps, NULL);
    assert_null(json_object_get(metadata_of(first), "uid"));
    json_object_set_new(metadata_of(first), "uid", json_string("u"));
    json_object_set_new(json_object_get(first, "spec"), "repair", json_string("replace"));
    assert_null(sent(maps, first));

    json_object_set_new(annotations, "gpuslice.dev/max-nodes", json_string("3"));
    second = sent(maps, first);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(second, "spec"), "maxNodes")), 3);
    assert_string_equal(json_string_value(json_object_get(metadata_of(second), "uid")), "u");
    assert_null(sent(maps, second));

    json_object_del(annotations, "gpuslice.dev/max-nodes");
    third = sent(maps, second);
    assert_non_null(third);
    assert_null(json_object_get(json_object_get(third, "spec"), "maxNodes"));
    json_decref(first);
    json_decref(second);
    json_decref(third);
    json_decref(maps);
}

/* The API server merges slices by name: one that a person added stays, however often we write. */
static void test_a_slice_of_somebody_else_stays(void **state)
{
    json_t *maps = read_json("[" MAP(
               "p", "'any': 'gpuslice: {slices: [{name: half, share: 50%}, {name: fourth, share: "
                    "25%}]}'") "]"),
           *first = sent(maps, NULL), *metadata = metadata_of(first),
           *slices = json_object_get(json_object_get(first, "spec"), "slices"), *again;

    json_object_set_new(metadata, "uid", json_string("u"));
    json_array_insert_new(slices, 0, read_json("{'name': 'theirs', 'share': '25%'}"));
    assert_null(sent(maps, first));
    json_object_set_new(json_array_get(slices, 2), "share", json_string("12.5%"));
    again = sent(maps, first);
    assert_non_null(again);
    json_decref(again);
    json_decref(first);
    json_decref(maps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_a_slice_of_somebody_else_stays),
        cmocka_unit_test(test_is_written_once),
    };

    return cmocka_run_group_tests_name("controller/configplan", tests, NULL, NULL);
}
