// SPDX-License-Identifier: Apache-2.0
#include "nodesync/taints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define T(key, value)       "{\"key\":\"" key "\",\"value\":\"" value "\",\"effect\":\"NoSchedule\"}"
#define BARE(key)           "{\"key\":\"" key "\",\"effect\":\"NoSchedule\"}"
#define ANNOTATION          "/metadata/annotations/gpuslice.dev~1taints"
#define OP(op, path, value) "{\"op\":\"" op "\",\"path\":\"" path "\",\"value\":" value "}"
#define REMOVE(path)        "{\"op\":\"remove\",\"path\":\"" path "\"}"

struct row {
    const char *name;
    const char *taints;      /* on the Node; NULL = none */
    const char *annotations; /* NULL = none at all */
    struct sync_taint wanted[2];
    const char *patch; /* NULL = nothing to write */
};

#define OURS(list) "{\"gpuslice.dev/taints\":\"" list "\"}"
#define A                                                                                 \
    {                                                                                     \
        (char *)(uintptr_t) "a", (char *)(uintptr_t) "", (char *)(uintptr_t) "NoSchedule" \
    }
#define A1                                                                                 \
    {                                                                                      \
        (char *)(uintptr_t) "a", (char *)(uintptr_t) "1", (char *)(uintptr_t) "NoSchedule" \
    }

static const struct row rows[] = {
    {"none and none wanted", NULL, NULL, {{NULL}}, NULL},
    {"only strangers'", "[" BARE("x") "]", "{}", {{NULL}}, NULL},
    {"first",
     NULL,
     NULL,
     {A},
     "[" OP("test", "/spec/taints", "null") "," OP("add", "/spec/taints", "[" BARE("a") "]") "," OP(
         "test", "/metadata/annotations", "null") "," OP("add", "/metadata/annotations",
                                                         OURS("a:NoSchedule")) "]"},
    {"beside a stranger's",
     "[" BARE("x") "]",
     "{}",
     {A1},
     "[" OP("test", "/spec/taints", "[" BARE("x") "]") "," OP(
         "replace", "/spec/taints",
         "[" BARE("x") "," T("a", "1") "]") "," OP("test", ANNOTATION,
                                                   "null") "," OP("add", ANNOTATION,
                                                                  "\"a=1:NoSchedule\"") "]"},
    {"there already", "[" BARE("a") "]", OURS("a:NoSchedule"), {A}, NULL},
    {"a stranger says the same", "[" BARE("a") "]", "{}", {A}, NULL},
    {"a stranger says otherwise", "[" T("a", "2") "]", "{}", {A}, NULL},
    {"wanted no more",
     "[" BARE("a") "]",
     OURS("a:NoSchedule"),
     {{NULL}},
     "[" OP("test", "/spec/taints", "[" BARE("a") "]") "," REMOVE("/spec/taints") "," OP(
         "test", ANNOTATION, "\"a:NoSchedule\"") "," REMOVE(ANNOTATION) "]"},
    {"another value",
     "[" BARE("a") "]",
     OURS("a:NoSchedule"),
     {A1},
     "[" OP("test", "/spec/taints", "[" BARE("a") "]") "," OP(
         "replace", "/spec/taints",
         "[" T("a", "1") "]") "," OP("test", ANNOTATION,
                                     "\"a:NoSchedule\"") "," OP("replace", ANNOTATION,
                                                                "\"a=1:NoSchedule\"") "]"},
    /* Somebody gave it another value: it is theirs now. */
    {"taken over",
     "[" T("a", "9") "]",
     OURS("a:NoSchedule"),
     {{NULL}},
     "[" OP("test", ANNOTATION, "\"a:NoSchedule\"") "," REMOVE(ANNOTATION) "]"},
    {"removed by somebody",
     NULL,
     OURS("a:NoSchedule"),
     {A},
     "[" OP("test", "/spec/taints", "null") "," OP("add", "/spec/taints", "[" BARE("a") "]") "," OP(
         "test", ANNOTATION, "\"a:NoSchedule\"") "," OP("replace", ANNOTATION,
                                                        "\"a:NoSchedule\"") "]"},
    {"a part of a name does not count",
     "[" BARE("a") "]",
     OURS("ba:NoSchedule,a:NoScheduleX"),
     {A},
     "[" OP("test", ANNOTATION, "\"ba:NoSchedule,a:NoScheduleX\"") "," REMOVE(ANNOTATION) "]"},
};

static json_t *node_of(const struct row *row)
{
    return json_pack("{s:{s:o*},s:{s:o*}}", "metadata", "annotations",
                     row->annotations ? json_loads(row->annotations, 0, NULL) : NULL, "spec",
                     "taints", row->taints ? json_loads(row->taints, 0, NULL) : NULL);
}

static void patches(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node = node_of(&rows[i]), *patch = NULL;
        json_t *expected = rows[i].patch ? json_loads(rows[i].patch, 0, NULL) : NULL;
        size_t n_wanted = 0;

        assert_true(!rows[i].patch || expected);
        while (n_wanted < ARRAY_SIZE(rows[i].wanted) && rows[i].wanted[n_wanted].key)
            n_wanted++;
        assert_int_equal(taints_plan(node, rows[i].wanted, n_wanted, &patch),
                         expected ? 0 : TAINTS_AS_WANTED);
        if (expected && !json_equal(patch, expected))
            fail_msg("%s: %s", rows[i].name, json_dumps(patch, 0));
        json_decref(expected);
        json_decref(patch);
        json_decref(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches),
    };

    return cmocka_run_group_tests_name("nodesync/taints", tests, NULL, NULL);
}
