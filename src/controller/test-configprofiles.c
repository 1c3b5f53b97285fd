// SPDX-License-Identifier: Apache-2.0
#include "controller/configprofiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/test-json.h"
#include "kube/test-fake-api.h"

#define MAPS \
    "/api/v1/namespaces/gpu/configmaps?labelSelector=gpuslice.dev/slice-profile%3Dtrue&limit=500"
#define WATCH \
    "/api/v1/namespaces/gpu/configmaps?labelSelector=gpuslice.dev/slice-profile%3Dtrue&watch=1"
#define KIND     "/apis/gpuslice.dev/v1alpha1/sliceprofiles"
#define PROFILES KIND "?limit=500"
#define OVERLAYS "/apis/karpenter.sh/v1alpha1/nodeoverlays?limit=500"
#define EVENTS   "/api/v1/namespaces/gpu/events"
#define FOUR     "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
#define MAP(text)                                                                                  \
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"gpu\",\"uid\":\"m\",\"resourceVersion\":\"1\"," \
    "\"annotations\":{\"gpuslice.dev/instance-types\":\"p3.8xlarge\"}},\"data\":{\"any\":\"" text  \
    "\"}}"
#define MADE                                                                                 \
    "{\"metadata\":{\"name\":\"p-any\",\"uid\":\"u\",\"resourceVersion\":\"1\",\"labels\":{" \
    "\"gpuslice.dev/config-map\":\"p\",\"app.kubernetes.io/"                                 \
    "managed-by\":\"gpuslice-controller\"},"                                                 \
    "\"annotations\":{\"gpuslice.dev/config-map-key\":\"any\",\"gpuslice.dev/"               \
    "config-map-namespace\":\"gpu\"}},"                                                      \
    "\"spec\":{}}"
#define ITEMS(list) "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" list "]}"

enum {
    LOOK_MS = 100, /* by then it has looked */
    LONG_MS = 3600000
};

static uv_loop_t loop;
static struct recorder *recorder;
static struct sharedstores *stores;
static struct configprofiles *profiles;
static unsigned n_left;
static char why[256];

static void on_idle(void *userdata)
{
}

static bool may_write(void *userdata)
{
    return true;
}

static void on_left(const char *what, void *userdata)
{
    n_left++;
    snprintf(why, sizeof(why), "%s", what);
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    n_left = 0;
    assert_int_equal(recorder_new(&loop, "controller-1", on_idle, NULL, &recorder, NULL), 0);
    recorder_start(recorder, fake_api_client());
    return sharedstores_new(&loop, fake_api_client(), &stores, NULL);
}

static int tear_down(void **state)
{
    configprofiles_free(profiles);
    sharedstores_free(stores);
    recorder_free(recorder);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void start_with(bool is_leaving, uint64_t grace_ms)
{
    assert_int_equal(configprofiles_new(&(struct configprofiles_setup){.loop = &loop,
                                                                       .client = fake_api_client(),
                                                                       .stores = stores,
                                                                       .recorder = recorder,
                                                                       .namespace_ = "gpu",
                                                                       .grace_ms = grace_ms,
                                                                       .is_leaving = is_leaving,
                                                                       .may_write = may_write,
                                                                       .on_left = on_left},
                                        &profiles, NULL),
                     0);
    while (fake_api_n_open() < (is_leaving ? 2 : 3))
        uv_run(&loop, UV_RUN_ONCE);
    fake_api_serve("GET", OVERLAYS, 200, ITEMS("")); /* shared, and of no interest here */
}

static void start(bool is_leaving)
{
    start_with(is_leaving, is_leaving ? LONG_MS : 0);
}

static void on_looked(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

static void let_it_look(void)
{
    uv_timer_t looked;

    uv_timer_init(&loop, &looked);
    uv_update_time(&loop);
    uv_timer_start(&looked, on_looked, LOOK_MS, 0);
    while (!uv_is_closing((uv_handle_t *)&looked))
        uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_NOWAIT); /* it is closed */
}

static const char *text_at(const json_t *object, const char *outer, const char *inner)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, outer), inner));

    return text ? text : "";
}

/* The event that is being written. */
static void assert_event(const char *reason, const char *words)
{
    const json_t *event = fake_api_expect_prefix("POST", EVENTS)->body;

    assert_string_equal(json_string_value(json_object_get(event, "reason")), reason);
    assert_non_null(strstr(json_string_value(json_object_get(event, "message")), words));
    assert_string_equal(text_at(event, "involvedObject", "kind"), "ConfigMap");
    assert_string_equal(text_at(event, "involvedObject", "namespace"), "gpu");
    assert_string_equal(text_at(event, "involvedObject", "name"), "p");
    assert_string_equal(text_at(event, "involvedObject", "uid"), "m");
}

static void a_config_map_becomes_a_profile(void **state)
{
    struct kube_call *call;

    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(""));
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP(FOUR)));
    let_it_look();
    call = fake_api_expect_prefix("PATCH", KIND "/p-any?");
    assert_string_equal(call->content_type, "application/apply-patch+yaml");
    assert_json(json_object_get(call->body, "spec"),
                "{'instanceTypes': ['p3.8xlarge'], 'timeSlicing': {'replicas': 4}}");
    assert_int_equal(fake_api_n_open(), 4); /* three watches and this: no event before */
    fake_api_answer(call, 201, MADE);
    let_it_look();
    assert_event("SliceProfileMade",
                 "p/any is the SliceProfile p-any; what becomes of it: kubectl describe "
                 "sliceprofile p-any");
    /* Until the watch has it, it is not sent again, and it is reported once. */
    let_it_look();
    assert_int_equal(fake_api_n_open(), 4); /* three watches and the event */
}

static void an_edit_is_reported(void **state)
{
    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(MADE));
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP(FOUR)));
    let_it_look();
    fake_api_answer(fake_api_expect_prefix("PATCH", KIND "/p-any?"), 200, MADE);
    let_it_look();
    assert_event("SliceProfileChanged", "p/any has changed the SliceProfile p-any");
}

static void what_was_not_written_was_not_made(void **state)
{
    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(""));
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP(FOUR)));
    let_it_look();
    fake_api_answer(fake_api_expect_prefix("PATCH", KIND "/p-any?"), 500, "{}");
    while (fake_api_n_open() < 4)
        uv_run(&loop, UV_RUN_ONCE);
    let_it_look();
    fake_api_expect_prefix("PATCH", KIND "/p-any?"); /* the next try */
    assert_int_equal(fake_api_n_open(), 4);          /* beside three watches: no event */
}

/* What an API server makes of what we send. */
static void as_written(const struct kube_call *call, char *text, size_t size)
{
    json_t *object = json_deep_copy(call->body);
    char *written;

    json_object_set_new(json_object_get(object, "metadata"), "uid", json_string("u"));
    json_object_set_new(json_object_get(object, "metadata"), "resourceVersion", json_string("6"));
    written = json_dumps(object, JSON_COMPACT);
    snprintf(text, size, "%s", written);
    free(written);
    json_decref(object);
}

/* Which another leader made, and said. */
static void a_new_leader_repeats_nothing(void **state)
{
    char written[2048], list[2304];
    struct kube_call *call;

    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(""));
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP(FOUR)));
    let_it_look();
    call = fake_api_expect_prefix("PATCH", KIND "/p-any?");
    as_written(call, written, sizeof(written));
    tear_down(state);
    set_up(state);
    start(false);
    snprintf(list, sizeof(list), ITEMS("%s"), written);
    fake_api_serve("GET", PROFILES, 200, list);
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP(FOUR)));
    let_it_look();
    let_it_look();
    assert_int_equal(fake_api_n_open(), 3); /* three watches: neither a write nor an event */
}

static void what_the_server_refuses_is_an_event(void **state)
{
    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(""));
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP(FOUR)));
    let_it_look();
    fake_api_answer(fake_api_expect_prefix("PATCH", KIND "/p-any?"), 403, "{}");
    let_it_look();
    assert_event("WriteFailed", "cannot write the SliceProfile p-any: why");
}

static void a_mistake_takes_nothing_away(void **state)
{
    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(MADE));
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP("sharing: [")));
    let_it_look();
    assert_event("NoSliceProfile", "p/any:1:");
    assert_int_equal(fake_api_n_open(), 4);
}

/* A role may lack the right, and a server that has just started answers so for a moment. */
static void config_maps_that_cannot_be_read_have_not_gone(void **state)
{
    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(MADE));
    fake_api_serve("GET", MAPS, 403, "{}");
    let_it_look();
    while (fake_api_n_open() < 3)
        uv_run(&loop, UV_RUN_ONCE);
    fake_api_expect("GET", MAPS); /* the next try, beside two watches */
    assert_int_equal(fake_api_n_open(), 3);
}

static void what_was_made_goes_with_its_config_map(void **state)
{
    struct kube_call *call;

    start(false);
    fake_api_serve("GET", PROFILES, 200, ITEMS(MADE));
    fake_api_serve("GET", MAPS, 200, ITEMS(""));
    let_it_look();
    call = fake_api_expect_prefix("DELETE", KIND "/p-any");
    assert_string_equal(text_at(call->body, "preconditions", "uid"), "u");
}

/* `kubectl replace --force` deletes it and creates it: what people added to the profile stays. */
static void what_comes_back_in_a_moment_deletes_nothing(void **state)
{
    struct kube_call *watch;

    start_with(false, LONG_MS);
    fake_api_serve("GET", PROFILES, 200, ITEMS(MADE));
    fake_api_serve("GET", MAPS, 200, ITEMS(""));
    let_it_look();
    assert_int_equal(fake_api_n_open(), 3); /* three watches */
    watch = fake_api_expect_prefix("GET", WATCH);
    fake_api_stream(watch, "{\"type\":\"ADDED\",\"object\":" MAP(FOUR) "}\n");
    let_it_look();
    fake_api_expect_prefix("PATCH", KIND "/p-any?");
}

static void each_config_map_says_that_the_kind_is_missing(void **state)
{
    start_with(false, 0);
    fake_api_serve("GET", PROFILES, 404, "{}");
    fake_api_serve("GET", MAPS, 200, ITEMS(MAP(FOUR)));
    let_it_look();
    assert_event("NoSliceProfile", "their kind is not installed; upgrade gpuslice with");
}

static void who_leaves_deletes_what_was_made(void **state)
{
    struct kube_call *watch;

    start(true);
    fake_api_serve("GET", PROFILES, 200, ITEMS(MADE));
    let_it_look();
    assert_int_equal(n_left, 0);
    fake_api_answer(fake_api_expect_prefix("DELETE", KIND "/p-any"), 200, "{}");
    watch = fake_api_expect_prefix("GET", KIND "?watch=1");
    fake_api_stream(watch, "{\"type\":\"DELETED\",\"object\":" MADE "}\n");
    let_it_look();
    assert_int_equal(n_left, 1);
    assert_string_equal(why, "");
}

static void who_leaves_says_what_it_may_not_delete(void **state)
{
    start(true);
    fake_api_serve("GET", PROFILES, 200, ITEMS(MADE));
    let_it_look();
    fake_api_answer(fake_api_expect_prefix("DELETE", KIND "/p-any"), 403, "{}");
    let_it_look();
    assert_int_equal(n_left, 1);
    assert_string_equal(why, "why");
}

static void without_the_kind_nothing_is_left(void **state)
{
    start(true);
    fake_api_serve("GET", PROFILES, 404, "{}");
    let_it_look();
    assert_int_equal(n_left, 1);
    assert_string_equal(why, "");
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_config_map_becomes_a_profile),
        CASE(an_edit_is_reported),
        CASE(what_was_not_written_was_not_made),
        CASE(a_new_leader_repeats_nothing),
        CASE(what_the_server_refuses_is_an_event),
        CASE(a_mistake_takes_nothing_away),
        CASE(config_maps_that_cannot_be_read_have_not_gone),
        CASE(what_was_made_goes_with_its_config_map),
        CASE(what_comes_back_in_a_moment_deletes_nothing),
        CASE(each_config_map_says_that_the_kind_is_missing),
        CASE(who_leaves_deletes_what_was_made),
        CASE(who_leaves_says_what_it_may_not_delete),
        CASE(without_the_kind_nothing_is_left),
    };

    return cmocka_run_group_tests_name("controller/configprofiles", tests, NULL, NULL);
}
