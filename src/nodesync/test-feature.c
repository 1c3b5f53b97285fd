// SPDX-License-Identifier: Apache-2.0
#include "nodesync/feature.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kube/test-fake-api.h"

#define GROUP       "/apis/nfd.k8s-sigs.io/v1alpha1"
#define OBJECT_PATH GROUP "/namespaces/gpus/nodefeatures/nvidia-features-for-gpu-1"
#define APPLY_PATH  OBJECT_PATH "?fieldManager=gpuslice-node"
#define OFFERED     "{\"resources\":[{\"name\":\"nodefeatures\"}]}"
#define OURS                                                                                    \
    "{\"metadata\":{\"managedFields\":[{\"manager\":\"gpuslice-node\",\"operation\":\"Apply\"," \
    "\"fieldsV1\":{\"f:spec\":{}}}]},\"spec\":{\"labels\":{\"a\":\"0\"}}}"

static uv_loop_t loop;
static struct sync_setup setup;
static struct sync_label label;
static struct observed observed;
static struct owner owner;
static struct feature feature;

static void on_change(void *userdata)
{
}

static int set_up(void **state)
{
    fake_api_reset();
    setup = (struct sync_setup){.node = own("gpu-1"), .namespace_ = own("gpus"), .pod = own("")};
    label = (struct sync_label){own("a"), own("1")};
    observed = (struct observed){.client = fake_api_client(),
                                 .setup = &setup,
                                 .state = {.labels = &label, .n_labels = 1},
                                 .has_state = true};
    uv_loop_init(&loop);
    owner_init(&owner, &loop, &observed, on_change, NULL);
    writer_sync(&owner.writer);
    feature_init(&feature, &loop, &observed, &owner, on_change, NULL);
    return 0;
}

static int tear_down(void **state)
{
    feature_deinit(&feature);
    owner_deinit(&owner);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* Answers an apply as the server does: with the object. */
static void take_object(const char *path)
{
    struct kube_call *call = fake_api_expect("PATCH", path);
    cleanup_free char *object = json_dumps(call->body, 0);

    assert_string_equal(call->content_type, "application/apply-patch+yaml");
    fake_api_answer(call, 200, object);
}

static void publish(void)
{
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 200, OFFERED);
    fake_api_serve("GET", OBJECT_PATH, 404, "{}");
    take_object(APPLY_PATH);
    assert_true(feature.writer.idle);
}

static const char *label_of(const json_t *object, const char *key)
{
    return json_string_value(
        json_object_get(json_object_get(json_object_get(object, "spec"), "labels"), key));
}

static void is_found_out_then_read_then_written(void **state)
{
    publish();
    assert_null(feature.found);
    writer_sync(&feature.writer);
    assert_int_equal(fake_api_n_open(), 0); /* as it should be */
    label.value = own("2");
    writer_sync(&feature.writer);
    assert_string_equal(label_of(fake_api_expect("PATCH", APPLY_PATH)->body, "a"), "2");
}

static void without_the_api_nothing_is_written(void **state)
{
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 404, "404 page not found");
    assert_true(feature.writer.idle);
    assert_int_equal(fake_api_n_sent(), 1);
    feature_check(&feature); /* NFD may have come */
    fake_api_serve("GET", GROUP, 200, OFFERED);
    fake_api_expect("GET", OBJECT_PATH);
}

/* nfd.h wants to know what NFD had been told before we came. */
static void what_was_there_is_remembered(void **state)
{
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 200, OFFERED);
    fake_api_serve("GET", OBJECT_PATH, 200, OURS);
    assert_string_equal(json_string_value(json_object_get(feature.found, "a")), "0");
    take_object(APPLY_PATH);
    assert_string_equal(json_string_value(json_object_get(feature.found, "a")), "0");
    assert_string_equal(label_of(feature.current, "a"), "1");
}

static void ours_is_deleted_when_it_is_wanted_no_more(void **state)
{
    observed.state.labels_by = SYNC_LABELS_NODE;
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 200, OFFERED);
    fake_api_serve("GET", OBJECT_PATH, 200, OURS);
    fake_api_serve("DELETE", OBJECT_PATH, 200, "{\"kind\":\"Status\"}");
    assert_true(feature.writer.idle);
    assert_null(feature.current);
}

static void ours_stays_while_it_is_not_known_what_is_wanted(void **state)
{
    observed.state.keeps_labels = true;
    observed.state.n_labels = 0;
    writer_sync(&feature.writer);
    assert_int_equal(fake_api_n_open(), 0);
}

static void a_strangers_is_not(void **state)
{
    observed.state.labels_by = SYNC_LABELS_NODE;
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 200, OFFERED);
    fake_api_serve("GET", OBJECT_PATH, 200, "{\"spec\":{\"labels\":{\"a\":\"0\"}}}");
    assert_true(feature.writer.idle);
    assert_int_equal(fake_api_n_open(), 0);
}

static void an_api_that_goes_is_left(void **state)
{
    publish();
    label.value = own("2");
    writer_sync(&feature.writer);
    fake_api_serve("PATCH", APPLY_PATH, 404, "{}");
    assert_false(feature.is_offered);
    assert_true(feature.writer.idle);
    assert_int_equal(fake_api_n_open(), 0);
}

/* The object names its owner from its first moment: it goes with it when nobody cleans up. */
static void waits_for_its_owner(void **state)
{
    const json_t *references;

    setup.pod = own("agent-x");
    owner.is_looked_up = false;
    writer_sync(&owner.writer);
    writer_sync(&feature.writer);
    assert_int_equal(fake_api_n_sent(), 1); /* for the owner */
    fake_api_serve("GET", "/api/v1/namespaces/gpus/pods/agent-x", 200,
                   "{\"kind\":\"Pod\",\"metadata\":{\"ownerReferences\":[{\"kind\":\"DaemonSet\","
                   "\"name\":\"agents\","
                   "\"uid\":\"u\"}]}}");
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 200, OFFERED);
    fake_api_serve("GET", OBJECT_PATH, 404, "{}");
    references = json_object_get(
        json_object_get(fake_api_expect("PATCH", APPLY_PATH)->body, "metadata"), "ownerReferences");
    assert_string_equal(json_string_value(json_object_get(json_array_get(references, 0), "name")),
                        "agents");
}

static void without_a_namespace_there_is_no_place_for_it(void **state)
{
    setup.namespace_ = own("");
    writer_sync(&feature.writer);
    assert_int_equal(fake_api_n_sent(), 0);
    assert_true(feature.writer.idle);
}

/* A name from outside leads nowhere else. */
static void a_name_is_one_step_of_the_path(void **state)
{
    setup.namespace_ = own("a/b");
    setup.node = own("../x?y");
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 200, OFFERED);
    fake_api_serve("GET", GROUP "/namespaces/a%2Fb/nodefeatures/nvidia-features-for-..%2Fx%3Fy",
                   404, "{}");
    fake_api_expect("PATCH", GROUP "/namespaces/a%2Fb/nodefeatures/nvidia-features-for-..%2Fx%3Fy"
                                   "?fieldManager=gpuslice-node");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_found_out_then_read_then_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_the_api_nothing_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_there_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ours_is_deleted_when_it_is_wanted_no_more, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(ours_stays_while_it_is_not_known_what_is_wanted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_strangers_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_api_that_goes_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_for_its_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_namespace_there_is_no_place_for_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_one_step_of_the_path, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/feature", tests, NULL, NULL);
}
