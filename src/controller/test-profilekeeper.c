// SPDX-License-Identifier: Apache-2.0
#include "controller/profilekeeper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "karpenter/test-bench.h"
#include "kube/field.h"
#include "kube/test-fake-api.h"

#define BY      "?fieldManager=gpuslice-node"
#define STATUS  "/apis/gpuslice.dev/v1alpha1/sliceprofiles/ts/status" BY "&force=true"
#define POOL    "/apis/karpenter.sh/v1/nodepools/ts" BY
#define OVERLAY "/apis/karpenter.sh/v1alpha1/nodeoverlays/ts-"

static uv_loop_t loop;
static struct recorder *recorder;
static struct profilekeeper_counters counters;
static struct profilekeeper *keeper;
static json_t *profiles, *pools, *overlays;
static struct fleet fleet;
static bool leads;
static unsigned n_changes;

static void on_idle(void *userdata)
{
}

static bool may_write(void *userdata)
{
    return leads;
}

static void on_change(void *userdata)
{
    n_changes++;
}

static json_t *parse(const char *text)
{
    json_t *object = json_loads(text, 0, NULL);

    assert_non_null(object);
    return object;
}

static void put_profile(const char *uid)
{
    json_array_clear(profiles);
    json_array_append_new(profiles,
                          json_pack("{s:{s:s, s:s, s:i, s:s}, s:o}", "metadata", "name", "ts",
                                    "uid", uid, "generation", 1, "resourceVersion", "1", "spec",
                                    parse("{\"instanceTypes\":[\"p3.8xlarge\"],\"timeSlicing\":"
                                          "{\"replicas\":4}}")));
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    leads = true;
    n_changes = 0;
    counters = (struct profilekeeper_counters){0};
    profiles = json_array();
    pools = json_array();
    overlays = json_array();
    assert_int_equal(recorder_new(&loop, "controller-1", on_idle, NULL, &recorder, NULL), 0);
    keeper = profilekeeper_new(&(struct profilekeeper_setup){.loop = &loop,
                                                             .client = fake_api_client(),
                                                             .recorder = recorder,
                                                             .may_write = may_write,
                                                             .counters = &counters,
                                                             .on_change = on_change},
                               "ts");
    put_profile("u-1");
    return !keeper;
}

static int tear_down(void **state)
{
    profilekeeper_free(keeper);
    recorder_free(recorder);
    uv_run(&loop, UV_RUN_DEFAULT);
    json_decref(profiles);
    json_decref(pools);
    json_decref(overlays);
    fleet_deinit(&fleet);
    return uv_loop_close(&loop);
}

static bool look(void)
{
    const struct planview view = {.catalog = &bench_catalog,
                                  .profiles = profiles,
                                  .pools = pools,
                                  .overlays = overlays,
                                  .fleet = &fleet};

    return profilekeeper_look(keeper, &view, &(struct profileplan_trouble){"", ""});
}

/* What was applied, as the server has it then, in `objects` (NULL = the watch has not seen it). */
static void take(struct kube_call *call, const char *version, json_t *objects)
{
    json_t *object = json_deep_copy(call->body);
    json_t *there = objects ? owned_find(objects, kube_name(object)) : NULL;
    cleanup_free char *text = NULL;

    json_object_set_new(json_object_get(object, "metadata"), "resourceVersion",
                        json_string(version));
    text = json_dumps(object, 0);
    if (there) /* a status */
        json_object_update(there, object);
    else if (objects)
        json_array_append(objects, object);
    json_decref(object);
    fake_api_answer(call, 200, text);
}

static struct kube_call *overlay_call(void)
{
    return fake_api_expect_prefix("PATCH", OVERLAY);
}

static const char *reason_of(const struct kube_call *call)
{
    return json_string_value(json_object_get(kube_condition(call->body, "Ready"), "reason"));
}

/* The overlay, and then the status that counts the write of the pool. */
static void get_counted(void)
{
    struct kube_call *call;

    look();
    take(overlay_call(), "2", overlays);
    look();
    call = fake_api_expect("PATCH", STATUS);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(call->body, "status"), "poolWrites")),
        1);
    put_profile("u-1");
    json_object_set(json_array_get(profiles, 0), "status", json_object_get(call->body, "status"));
    json_object_set_new(json_object_get(json_array_get(profiles, 0), "metadata"), "resourceVersion",
                        json_string("3"));
    fake_api_answer(call, 200, "{\"metadata\":{\"name\":\"ts\",\"resourceVersion\":\"3\"}}");
}

static void a_pool_is_written_once_it_is_counted(void **state)
{
    get_counted();
    look();
    take(fake_api_expect("PATCH", POOL), "4", pools);
    assert_int_equal(counters.written, 2);
    assert_int_equal(n_changes, 3);
}

/* The same would be written again, on the ground of what was there before. */
static void nothing_is_planned_before_the_watch_has_seen_it(void **state)
{
    struct kube_call *call;

    look();
    call = overlay_call();
    assert_true(look()); /* it is open */
    take(call, "2", NULL);
    assert_true(look());
    assert_int_equal(fake_api_n_open(), 0);
    assert_false(profilekeeper_is_idle(keeper));
}

static void a_refusal_is_in_the_status(void **state)
{
    look();
    fake_api_answer(overlay_call(), 403, "");
    assert_int_equal(counters.failed, 1);
    look();
    assert_string_equal(reason_of(fake_api_expect("PATCH", STATUS)), "WriteFailed");
}

/* Somebody takes back what we write as soon as it is there. */
static void the_same_is_not_written_all_the_time(void **state)
{
    look();
    take(overlay_call(), "2", overlays);
    json_array_clear(overlays);
    for (unsigned i = 0; i < 5; i++)
        assert_true(look()); /* 5 s after the last */
    assert_int_equal(fake_api_n_sent(), 1);
}

static void who_does_not_lead_writes_nothing(void **state)
{
    leads = false;
    look();
    assert_int_equal(fake_api_n_sent(), 0);
}

/* The counts of a profile that went are not those of one that has its name. */
static void another_profile_of_the_name_starts_again(void **state)
{
    struct kube_call *call;

    get_counted();
    look();
    take(fake_api_expect("PATCH", POOL), "4", pools);
    look(); /* it is seen */
    fake_api_serve("PATCH", STATUS, 200, "{}");
    json_array_clear(pools);
    json_array_clear(profiles);
    put_profile("u-2");
    look();
    call = fake_api_expect("PATCH", STATUS);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(call->body, "status"), "poolWrites")),
        1);
    fake_api_answer(call, 200, "{}");
}

static void a_profile_that_has_gone_is_over(void **state)
{
    json_array_clear(profiles);
    look();
    assert_true(profilekeeper_is_over(keeper));
    json_array_append_new(
        overlays, parse("{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"labels\":{\"gpuslice.dev/"
                        "profile\":\"ts\",\"app.kubernetes.io/managed-by\":\"gpuslice-controller\"}"
                        "}}"));
    look();
    assert_false(profilekeeper_is_over(keeper));
    fake_api_serve("DELETE", "/apis/karpenter.sh/v1alpha1/nodeoverlays/x" BY, 200, "{}");
    assert_true(look()); /* it is still there */
    assert_false(profilekeeper_is_over(keeper));
    json_array_clear(overlays);
    look();
    assert_true(profilekeeper_is_over(keeper));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_pool_is_written_once_it_is_counted),
        TEST(nothing_is_planned_before_the_watch_has_seen_it),
        TEST(a_refusal_is_in_the_status),
        TEST(the_same_is_not_written_all_the_time),
        TEST(who_does_not_lead_writes_nothing),
        TEST(another_profile_of_the_name_starts_again),
        TEST(a_profile_that_has_gone_is_over),
    };

    return cmocka_run_group_tests_name("controller profilekeeper", tests, bench_setup,
                                       bench_teardown);
}
