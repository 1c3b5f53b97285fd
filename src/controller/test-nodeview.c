// SPDX-License-Identifier: Apache-2.0
#include "controller/nodeview.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"

#define STARTUP "{\"key\": \"gpuslice.dev/not-ready\", \"effect\": \"NoSchedule\"}"
#define MINE \
    "{\"key\": \"mine\", \"effect\": \"NoExecute\", \"timeAdded\": \"2026-01-01T00:00:00Z\"}"
#define NODE(beat, taints)                                                                        \
    "{\"metadata\": {\"name\": \"gpu-1\", \"creationTimestamp\": \"2026-01-01T00:00:10Z\", "      \
    "\"labels\": {\"gpuslice.dev/profile\": \"p\", \"gpuslice.dev/profile-hash\": \"h\", "        \
    "\"node.kubernetes.io/instance-type\": \"g5.xlarge\", \"karpenter.sh/nodepool\": \"pool\", "  \
    "\"karpenter.sh/capacity-type\": \"spot\"}, \"annotations\": {\"gpuslice.dev/advertises\": "  \
    "\"nvidia.com/gpu.shared=4\", \"gpuslice.dev/promise\": \"x\"}, \"ownerReferences\": "        \
    "[{\"kind\": \"NodeClaim\", \"name\": \"claim\", \"uid\": \"u1\"}]}, \"spec\": {\"taints\": " \
    "[" taints "]}, \"status\": {\"allocatable\": {\"cpu\": \"4\", \"nvidia.com/gpu.shared\": "   \
    "\"4\"}, \"conditions\": [{\"type\": \"Ready\", \"status\": \"True\", "                       \
    "\"lastHeartbeatTime\": \"" beat "\"}, {\"type\": \"GPUSlicesReady\", \"status\": "           \
    "\"False\", \"reason\": \"R\", \"message\": \"M\"}]}}"

static struct nodeview *view_of(const char *text)
{
    json_t *node = json_loads(text, 0, NULL);
    struct nodeview *view;

    assert_non_null(node);
    view = nodeview_new(node);
    assert_non_null(view);
    json_decref(node);
    return view;
}

static void what_counts_is_kept(void **state)
{
    struct nodeview *view = view_of(NODE("1", STARTUP "," MINE));

    assert_string_equal(view->texts[NODEVIEW_NAME], "gpu-1");
    assert_string_equal(view->texts[NODEVIEW_PROFILE], "p");
    assert_string_equal(view->texts[NODEVIEW_HASH], "h");
    assert_string_equal(view->texts[NODEVIEW_TYPE], "g5.xlarge");
    assert_string_equal(view->texts[NODEVIEW_POOL], "pool");
    assert_string_equal(view->texts[NODEVIEW_CAPACITY], "spot");
    assert_string_equal(view->texts[NODEVIEW_CLAIM], "claim");
    assert_string_equal(view->texts[NODEVIEW_CLAIM_UID], "u1");
    assert_string_equal(view->texts[NODEVIEW_REASON], "R");
    assert_int_equal(view->created_s, 1767225610);
    assert_int_equal(view->agent, NODEVIEW_NOT_READY);
    assert_true(view->is_ready && view->is_closed && view->is_configured_known);
    assert_false(view->is_going || view->is_kept);
    assert_int_equal(amounts_get(&view->configured, "nvidia.com/gpu.shared"), 4);
    assert_int_equal(amounts_get(&view->allocatable, "nvidia.com/gpu.shared"), 4);
    nodeview_free(view);
}

static void a_heartbeat_is_no_change(void **state)
{
    struct nodeview *a = view_of(NODE("1", STARTUP)), *b = view_of(NODE("2", STARTUP)),
                    *c = view_of(NODE("2", STARTUP "," MINE));

    assert_true(nodeview_equal(a, b));
    assert_false(nodeview_equal(a, c)); /* the patch tests the whole list */
    nodeview_free(a);
    nodeview_free(b);
    nodeview_free(c);
}

static void only_the_startup_taint_is_taken(void **state)
{
    static const struct {
        const char *node, *patch;
    } rows[] = {
        {NODE("1", STARTUP "," MINE),
         "[{\"op\": \"test\", \"path\": \"/spec/taints\", \"value\": [" STARTUP "," MINE "]},"
         "{\"op\": \"replace\", \"path\": \"/spec/taints\", \"value\": [" MINE "]}]"},
        {NODE("1", STARTUP), "[{\"op\": \"test\", \"path\": \"/spec/taints\", \"value\": [" STARTUP
                             "]},{\"op\": \"remove\", \"path\": \"/spec/taints\"}]"},
        {NODE("1", MINE), NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nodeview *view = view_of(rows[i].node);
        json_t *patch = nodeview_open_patch(view);
        json_t *wanted = rows[i].patch ? json_loads(rows[i].patch, 0, NULL) : NULL;

        assert_true(patch == wanted || json_equal(patch, wanted));
        json_decref(patch);
        json_decref(wanted);
        nodeview_free(view);
    }
}

static void nonsense_is_not_known(void **state)
{
    struct nodeview *view =
        view_of("{\"metadata\": {\"annotations\": {\"gpuslice.dev/advertises\": \"four\"}, "
                "\"creationTimestamp\": \"yesterday\", \"labels\": 7, \"ownerReferences\": {}}, "
                "\"spec\": {\"taints\": 4}, \"status\": {\"allocatable\": []}}");

    assert_false(view->is_configured_known || view->is_closed || view->is_ready);
    assert_int_equal(view->created_s, 0);
    assert_int_equal(view->agent, NODEVIEW_SILENT);
    assert_string_equal(view->texts[NODEVIEW_NAME], "");
    nodeview_free(view);
}

static void who_marks_it_keeps_it(void **state)
{
    static const struct {
        const char *value;
        bool is_kept;
    } rows[] = {{"true", true}, {"24h", true}, {"false", false}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node = json_pack("{s:{s:{s:s}}}", "metadata", "annotations",
                                 "karpenter.sh/do-not-disrupt", rows[i].value);
        struct nodeview *view = nodeview_new(node);

        assert_non_null(view);
        if (view->is_kept != rows[i].is_kept)
            fail_msg("%s", rows[i].value);
        nodeview_free(view);
        json_decref(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_counts_is_kept),
        cmocka_unit_test(a_heartbeat_is_no_change),
        cmocka_unit_test(only_the_startup_taint_is_taken),
        cmocka_unit_test(who_marks_it_keeps_it),
        cmocka_unit_test(nonsense_is_not_known),
    };

    return cmocka_run_group_tests_name("controller/nodeview", tests, NULL, NULL);
}
