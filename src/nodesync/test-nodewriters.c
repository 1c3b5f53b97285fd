// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nodewriters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "karpenter/nodekeys.h"
#include "kube/test-fake-api.h"
#include "nodesync/condition.h"
#include "nodesync/taints.h"

#define NODE         "/api/v1/nodes/gpu-1"
#define PATCH_PATH   NODE "?fieldManager=gpuslice-node"
#define STATUS_PATH  NODE "/status?fieldManager=gpuslice-node&force=true"
#define APPLY_PATCH  "application/apply-patch+yaml"
#define JSON_PATCH   "application/json-patch+json"
#define LABELS_FIELD "\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{"

static uv_loop_t loop;
static struct sync_setup setup;
static struct sync_label label;
static struct sync_taint taint;
static struct observed observed;
static struct nodewriters nodewriters;

/* As the program does. */
static void on_node(void *userdata)
{
    nodewriters_sync(&nodewriters);
}

static void on_change(void *userdata)
{
}

static int set_up(void **state)
{
    fake_api_reset();
    setup = (struct sync_setup){.node = own("gpu-1")};
    label = (struct sync_label){own("a"), own("1")};
    taint = (struct sync_taint){own("gpu"), own("yes"), own("NoSchedule")};
    uv_loop_init(&loop);
    assert_int_equal(observed_init(&observed, fake_api_client(), &setup, on_node, NULL), 0);
    nodewriters_init(&nodewriters, &loop, &observed, on_change, NULL);
    return 0;
}

static int tear_down(void **state)
{
    observed.state = (struct sync_state){.labels = NULL}; /* it was borrowed */
    nodewriters_deinit(&nodewriters);
    observed_deinit(&observed);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void want(const struct sync_state *state)
{
    observed.state = *state;
    observed.has_state = true;
    nodewriters_sync(&nodewriters);
}

static void want_a_label(void)
{
    want(&(struct sync_state){.labels_by = SYNC_LABELS_NODE, .labels = &label, .n_labels = 1});
}

static void see(const char *text)
{
    json_t *node = json_loads(text, 0, NULL);

    assert_non_null(node);
    observed_update(&observed, node);
    json_decref(node);
}

static const char *label_of(const json_t *object, const char *key)
{
    return json_string_value(
        json_object_get(json_object_get(json_object_get(object, "metadata"), "labels"), key));
}

static void waits_for_node_and_state(void **state)
{
    nodewriters_sync(&nodewriters);
    assert_true(nodewriters_is_idle(&nodewriters));
    want_a_label();
    assert_int_equal(fake_api_n_sent(), 0);
    see("{\"kind\":\"Node\",\"metadata\":{}}");
    fake_api_expect("PATCH", PATCH_PATH);
}

static void sets_all_three_at_once(void **state)
{
    const struct sync_state full = {.labels_by = SYNC_LABELS_NODE,
                                    .labels = &label,
                                    .n_labels = 1,
                                    .taints = &taint,
                                    .n_taints = 1,
                                    .has_condition = true,
                                    .ready = true,
                                    .reason = own("AllResourcesRegistered"),
                                    .message = own("well")};
    struct kube_call *condition, *labels, *taints;
    const json_t *first;

    see("{\"kind\":\"Node\",\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"7\"}}");
    want(&full);
    assert_int_equal(fake_api_n_open(), 3);
    labels = fake_api_expect("PATCH", PATCH_PATH);
    assert_string_equal(labels->content_type, APPLY_PATCH);
    assert_string_equal(label_of(labels->body, "a"), "1");
    fake_api_answer(labels, 200,
                    "{\"kind\":\"Node\",\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"8\","
                    "\"labels\":{\"a\":\"1\"},\"managedFields\":[{\"manager\":\"gpuslice-node\","
                    "\"operation\":\"Apply\"," LABELS_FIELD "\"f:a\":{}}}}}]}}");
    taints = fake_api_expect("PATCH", PATCH_PATH);
    assert_string_equal(taints->content_type, JSON_PATCH);
    condition = fake_api_expect("PATCH", STATUS_PATH);
    first = json_array_get(
        json_object_get(json_object_get(condition->body, "status"), "conditions"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "type")), CONDITION_TYPE);
    assert_string_equal(json_string_value(json_object_get(first, "status")), "True");
    assert_int_equal(fake_api_n_open(), 2); /* what stands there is not written again */
    assert_false(nodewriters_is_idle(&nodewriters));
}

/* Each has rights of its own. */
static void a_refusal_holds_up_no_other(void **state)
{
    const struct sync_state both = {.labels_by = SYNC_LABELS_NODE,
                                    .labels = &label,
                                    .n_labels = 1,
                                    .has_condition = true,
                                    .reason = own("r"),
                                    .message = own("m")};

    see("{\"kind\":\"Node\",\"metadata\":{}}");
    want(&both);
    fake_api_serve("PATCH", STATUS_PATH, 403, "{}");
    fake_api_expect("PATCH", PATCH_PATH);
    nodewriters_sync(&nodewriters);
    assert_int_equal(fake_api_n_sent(), 2); /* it is waited out */
    nodewriters_kick(&nodewriters);
    fake_api_expect("PATCH", STATUS_PATH);
}

static void a_state_of_nothing_takes_ours_away(void **state)
{
    struct kube_call *call;
    const json_t *object;

    see("{\"kind\":\"Node\",\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"7\",\"labels\":{"
        "\"a\":\"1\",\"x\":\"y\"},\"annotations\":{\"" TAINTS_ANNOTATION
        "\":\"gpu=yes:NoSchedule\"},"
        "\"managedFields\":[{\"manager\":\"gpuslice-node\",\"operation\":\"Apply\"," LABELS_FIELD
        "\"f:a\":{}}}}},{\"manager\":\"gpuslice-node\",\"operation\":\"Apply\",\"subresource\":"
        "\"status\",\"fieldsV1\":{\"f:status\":{\"f:conditions\":{\"k:{\\\"type\\\":"
        "\\\"" CONDITION_TYPE "\\\"}\":{}}}}}]},\"spec\":{\"taints\":[{\"key\":\"gpu\",\"value\":"
        "\"yes\",\"effect\":\"NoSchedule\"}]},\"status\":{\"conditions\":[{\"type\":"
        "\"" CONDITION_TYPE "\",\"status\":\"True\"}]}}");
    want(&(struct sync_state){.labels_by = SYNC_LABELS_NONE});
    call = fake_api_expect("PATCH", PATCH_PATH);
    object = json_object_get(json_object_get(call->body, "metadata"), "labels");
    assert_string_equal(call->content_type, APPLY_PATCH);
    assert_int_equal(json_object_size(object), 0);
    fake_api_answer(call, 200, "{}");
    call = fake_api_expect("PATCH", STATUS_PATH);
    object = json_object_get(json_object_get(call->body, "status"), "conditions");
    assert_int_equal(json_array_size(object), 0);
}

/* Labels and taints are those of the agent before; only the condition is news. */
/* Also with a state that keeps labels: the agent may wait before it has planned anything. */
static void what_keeps_gpus_open_is_paused_when_told_to(void **state)
{
    static const char node[] = "{\"kind\":\"Node\",\"metadata\":{\"labels\":{\"nvidia.com/"
                               "gpu.deploy.dcgm\":\"true\"}}}";
    struct kube_call *call;

    see(node);
    want(&(struct sync_state){.keeps_labels = true, .pauses_clients = true});
    assert_int_equal(fake_api_n_sent(), 0);
    want(&(struct sync_state){
        .keeps_labels = true, .handles_clients = true, .pauses_clients = true});
    call = fake_api_expect("PATCH", PATCH_PATH);
    assert_string_equal(call->content_type, JSON_PATCH);
    assert_int_equal(json_array_size(call->body), 2);
}

static void a_state_that_keeps_labels_touches_none(void **state)
{
    const struct sync_state keeps = {.keeps_labels = true,
                                     .has_condition = true,
                                     .reason = own("DriverNotAvailable"),
                                     .message = own("it is gone")};

    see("{\"kind\":\"Node\",\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"7\",\"labels\":{"
        "\"a\":\"1\"},\"annotations\":{\"" TAINTS_ANNOTATION "\":\"gpu=yes:NoSchedule\"},"
        "\"managedFields\":[{\"manager\":\"gpuslice-node\",\"operation\":\"Apply\"," LABELS_FIELD
        "\"f:a\":{}}}}}]},\"spec\":{\"taints\":[{\"key\":\"gpu\",\"value\":"
        "\"yes\",\"effect\":\"NoSchedule\"}]}}");
    want(&keeps);
    assert_int_equal(fake_api_n_open(), 1);
    fake_api_expect("PATCH", STATUS_PATH);
}

/* Whatever is kept: it is about what the agent does now. */
static void annotation_follows_the_agent(const struct sync_state *wanted, const char *key)
{
    cleanup_text struct text annotated = TEXT_INIT;
    struct kube_call *call;

    see("{\"kind\":\"Node\",\"metadata\":{}}");
    want(wanted);
    call = fake_api_expect("PATCH", PATCH_PATH);
    assert_string_equal(call->content_type, JSON_PATCH);
    text_addf(&annotated, "{\"kind\":\"Node\",\"metadata\":{\"annotations\":{\"%s\":\"{}\"}}}",
              key);
    fake_api_answer(call, 200, text_string(&annotated));
    assert_int_equal(fake_api_n_open(), 0);
    want(&(struct sync_state){
        .keeps_labels = true, .mig_waits = own(""), .advertises = own(""), .mig_names = own("")});
    call = fake_api_expect("PATCH", PATCH_PATH);
    assert_string_equal(json_string_value(json_object_get(json_array_get(call->body, 1), "op")),
                        "remove");
    fake_api_answer(call, 200, "{\"kind\":\"Node\",\"metadata\":{}}");
    assert_true(nodewriters_is_idle(&nodewriters));
}

static void the_annotations_follow_the_agent(void **state)
{
    annotation_follows_the_agent(&(struct sync_state){.keeps_labels = true, .mig_waits = own("{}")},
                                 NODEWRITERS_WAITS_KEY);
    annotation_follows_the_agent(
        &(struct sync_state){.keeps_labels = true, .advertises = own("{}")},
        SLICEPROFILE_ADVERTISES);
    annotation_follows_the_agent(&(struct sync_state){.keeps_labels = true, .mig_names = own("{}")},
                                 NODEWRITERS_NAMES_KEY);
}

/* The server knows a holder that the Node does not name. */
static void a_conflict_is_yielded_to(void **state)
{
    static const char conflict[] =
        "{\"details\":{\"causes\":[{\"reason\":\"FieldManagerConflict\",\"message\":\"conflict "
        "with \\\"before-first-apply\\\" using v1\",\"field\":\".metadata.labels.a\"}]}}";
    struct sync_label two[] = {{own("a"), own("1")}, {own("b"), own("2")}};
    struct kube_call *call;

    see("{\"kind\":\"Node\",\"metadata\":{\"labels\":{\"a\":\"9\"}}}");
    want(&(struct sync_state){.labels_by = SYNC_LABELS_NODE, .labels = two, .n_labels = 2});
    fake_api_serve("PATCH", PATCH_PATH, 409, conflict);
    call = fake_api_expect("PATCH", PATCH_PATH); /* at once, without it */
    assert_null(label_of(call->body, "a"));
    assert_string_equal(label_of(call->body, "b"), "2");
    fake_api_answer(call, 409, conflict);
    assert_int_equal(fake_api_n_open(), 0); /* it says nothing new: only a newer Node helps */
}

/* What NFD serves from now on is given up before it is ignored, else it would vanish. */
static void a_label_is_handed_over_first(void **state)
{
    struct kube_call *call;

    see("{\"kind\":\"Node\",\"metadata\":{\"resourceVersion\":\"7\",\"labels\":{\"a\":\"1\"},"
        "\"annotations\":{\"nfd.node.kubernetes.io/feature-labels\":\"a\"},\"managedFields\":[{"
        "\"manager\":\"gpuslice-node\",\"operation\":\"Apply\"," LABELS_FIELD "\"f:a\":{}}}}}]}}");
    want(&(struct sync_state){.labels = &label, .n_labels = 1});
    call = fake_api_expect("PATCH", PATCH_PATH);
    assert_string_equal(call->content_type, JSON_PATCH);
    assert_string_equal(json_string_value(json_object_get(json_array_get(call->body, 0), "op")),
                        "test");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(waits_for_node_and_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sets_all_three_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_holds_up_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_of_nothing_takes_ours_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_keeps_gpus_open_is_paused_when_told_to, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_state_that_keeps_labels_touches_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_annotations_follow_the_agent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_conflict_is_yielded_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_label_is_handed_over_first, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/nodewriters", tests, NULL, NULL);
}
