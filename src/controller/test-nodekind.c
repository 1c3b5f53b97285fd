// SPDX-License-Identifier: Apache-2.0
#include "controller/nodekind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

#define SHARED "nvidia.com/gpu.shared"
#define NODE(pool, hash, type)                                                                   \
    "{\"metadata\": {\"name\": \"n\", \"labels\": {\"gpuslice.dev/profile\": \"p\", "            \
    "\"gpuslice.dev/profile-hash\": \"" hash "\", \"node.kubernetes.io/instance-type\": \"" type \
    "\", \"karpenter.sh/nodepool\": \"" pool "\"}, \"annotations\": {\"gpuslice.dev/promise\": " \
    "\"nvidia.com/gpu=0,nvidia.com/gpu.shared=3 per GPU\"}}}"
#define OVERLAY(name, weight, key, value, capacity)                                           \
    "{\"metadata\": {\"name\": \"" name "\"}, \"spec\": {\"weight\": " weight                 \
    ", \"requirements\": [{\"key\": \"" key "\", \"operator\": \"In\", \"values\": [\"" value \
    "\"]}], \"capacity\": {" capacity "}}}"
#define HASH_KEY "gpuslice.dev/profile-hash"
#define TYPE_KEY "node.kubernetes.io/instance-type"

/* A Node of the profile's present state has its hash in the place of NOW. */
static struct nodekind *kind_of(const char *text, const char *now)
{
    json_t *node = json_loads(text, 0, NULL);
    json_t *labels = json_object_get(json_object_get(node, "metadata"), "labels");
    struct nodeview *view;
    struct nodekind *kind;

    assert_non_null(node);
    if (strcmp(json_string_value(json_object_get(labels, HASH_KEY)), "NOW") == 0)
        json_object_set_new(labels, HASH_KEY, json_string(now));
    view = nodeview_new(node);
    kind = nodekind_new(view, labels);
    assert_true(view && kind && nodekind_has(kind, view));
    nodeview_free(view);
    json_decref(node);
    return kind;
}

static const struct {
    const char *title, *node, *overlays; /* NULL = Karpenter is not there */
    bool has_profile, is_promised, is_current, is_believed;
    int promised, believed;
    const char *owner, *unknown;
} rows[] = {
    {"the profile, as it is", NODE("pool", "NOW", "g5.12xlarge"),
     "[" OVERLAY("ours", "1000", TYPE_KEY, "g5.12xlarge",
                 "\"nvidia.com/gpu\": \"0\", \"" SHARED "\": \"16\"") "]",
     true, true, true, true, 16, 16},
    {"no overlay", NODE("pool", "NOW", "g5.12xlarge"), "[]", true, true, true, true, 16, 0},
    {"not Karpenter's node", NODE("", "NOW", "g5.12xlarge"), "[]", true, true, true, false, 16, 0},
    {"no Karpenter", NODE("pool", "NOW", "g5.12xlarge"), NULL, true, true, true, false, 16, 0},
    {"a stranger is heavier", NODE("pool", "NOW", "g5.12xlarge"),
     "[" OVERLAY("ours", "1000", TYPE_KEY, "g5.12xlarge", "\"" SHARED "\": \"16\"") "," OVERLAY(
         "stranger", "2000", "karpenter.sh/nodepool", "pool", "\"" SHARED "\": 32") "]",
     true, true, true, true, 16, 32, "stranger"},
    {"an earlier state, whose overlay is kept", NODE("pool", "old", "g5.12xlarge"),
     "[" OVERLAY("ours", "1000", HASH_KEY, "old", "\"" SHARED "\": \"8\"") "]", true, true, false,
     true, 8, 8},
    {"an earlier state, of which strangers know nothing", NODE("pool", "old", "g5.12xlarge"),
     "[" OVERLAY("stranger", "1", TYPE_KEY, "g5.12xlarge", "\"" SHARED "\": \"8\"") "]", true, true,
     false, true, 12, 8, "stranger"},
    {"an earlier state, by the annotation", NODE("pool", "old", "g5.12xlarge"), "[]", true, true,
     false, true, 12, 0},
    {"the profile has gone", NODE("pool", "NOW", "g5.xlarge"), NULL, false, true, false, false, 3,
     0},
    {"an unknown type", NODE("pool", "NOW", "x9.large"), NULL, true, false, false, false, 0, 0,
     NULL, "the catalog does not have the instance type"},
};

static void numbers_of_every_origin(void **state)
{
    struct sliceprofile profile =
        bench_profile("gpuNames: [a10g], timeSlicing: {replicas: 4, renameByDefault: true}");
    char hash[SLICEPROFILE_HASH];

    sliceprofile_hash(&profile, hash);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct nodekind *kind = kind_of(rows[i].node, hash);
        json_t *objects = rows[i].overlays ? json_loads(rows[i].overlays, 0, NULL) : NULL;
        struct overlay overlays[4];
        struct nodekind_world world = {.catalog = &bench_catalog,
                                       .profile = rows[i].has_profile ? &profile : NULL,
                                       .overlays = objects ? overlays : NULL};

        for (; world.n_overlays < json_array_size(objects); world.n_overlays++)
            assert_int_equal(overlay_read(json_array_get(objects, world.n_overlays),
                                          &overlays[world.n_overlays], NULL),
                             0);
        assert_int_equal(nodekind_compute(kind, &world), 0);
        assert_int_equal(nodekind_compute(kind, &world), 0); /* the same again */
        if (kind->is_promised != rows[i].is_promised || kind->is_current != rows[i].is_current ||
            kind->is_believed != rows[i].is_believed || kind->has_profile != rows[i].has_profile)
            fail_msg("%s: %d %d %d %d", rows[i].title, kind->is_promised, kind->is_current,
                     kind->is_believed, kind->has_profile);
        if (amounts_get(&kind->promised, SHARED) != rows[i].promised ||
            amounts_get(&kind->believed, SHARED) != rows[i].believed)
            fail_msg("%s: %d promised, %d believed", rows[i].title,
                     (int)amounts_get(&kind->promised, SHARED),
                     (int)amounts_get(&kind->believed, SHARED));
        assert_string_equal(kind->owner, rows[i].owner ? rows[i].owner : "");
        if (rows[i].unknown)
            assert_string_equal(kind->unknown, rows[i].unknown);
        nodekind_free(kind);
        json_decref(objects);
    }
    sliceprofile_deinit(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_every_origin),
    };

    return cmocka_run_group_tests_name("controller/nodekind", tests, bench_setup, bench_teardown);
}
