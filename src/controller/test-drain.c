// SPDX-License-Identifier: Apache-2.0
#include "controller/drain.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "kube/test-fake-api.h"

#define BY        "?fieldManager=gpuslice-node"
#define POD_A     "/api/v1/namespaces/ml/pods/a"
#define POD_B     "/api/v1/namespaces/ml/pods/b"
#define EVICT_A   POD_A "/eviction" BY
#define EVICT_B   POD_B "/eviction" BY
#define EVENTS    "/api/v1/namespaces/default/events" BY
#define ACCEPTED  "{\"kind\":\"Status\",\"status\":\"Success\"}"
#define EVENT     "{\"kind\":\"Event\"}"
#define GONE(pod) "{\"kind\":\"Status\",\"details\":{\"name\":\"" pod "\"}}"
#define BLOCKED                                                                                 \
    "{\"kind\":\"Status\",\"code\":429,\"details\":{\"causes\":[{\"message\":\"The disruption " \
    "budget web needs 1 healthy pods and has 1 currently\"}]}}"

#define POD(name, uid)                                                                         \
    "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"" name "\",\"uid\":\"" uid                     \
    "\",\"ownerReferences\":[{\"kind\":\"Job\",\"controller\":true}]},\"spec\":{\"nodeName\":" \
    "\"gpu-1\"}}"
#define WAITS(pods) "{\\\"layout\\\":\\\"X\\\",\\\"gpus\\\":[{\\\"pods\\\":[" pods "]}]}"
#define ONE(name, uid) \
    "{\\\"namespace\\\":\\\"ml\\\",\\\"name\\\":\\\"" name "\\\",\\\"uid\\\":\\\"" uid "\\\"}"
#define NODE(annotations, ready)                                                        \
    "{\"metadata\":{\"name\":\"gpu-1\",\"annotations\":{" annotations "}},\"status\":{" \
    "\"conditions\":[{\"type\":\"Ready\",\"status\":\"" ready "\"}]}}"
#define FOR_A   "\"gpuslice.dev/mig-waits\":\"" WAITS(ONE("a", "u1")) "\""
#define FOR_AB  "\"gpuslice.dev/mig-waits\":\"" WAITS(ONE("a", "u1") "," ONE("b", "u2")) "\""
#define ALLOWED ",\"gpuslice.dev/mig-drain\":\"allowed\""

static uv_loop_t loop;
static struct recorder *recorder;
static struct drain_counters counters;
static struct drain_setup setup;
static struct drain *drain;
static bool leads;

static void on_idle(void *userdata)
{
}

static bool may_write(void *userdata)
{
    return leads;
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    leads = true;
    counters = (struct drain_counters){0};
    assert_int_equal(recorder_new(&loop, "controller-1", on_idle, NULL, &recorder, NULL), 0);
    recorder_start(recorder, fake_api_client());
    setup = (struct drain_setup){.loop = &loop,
                                 .client = fake_api_client(),
                                 .recorder = recorder,
                                 .may_write = may_write,
                                 .counters = &counters};
    drain = drain_new(&setup, "gpu-1");
    return !drain;
}

static int tear_down(void **state)
{
    drain_free(drain);
    recorder_free(recorder);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static bool see(const char *text)
{
    json_t *node = json_loads(text, 0, NULL);
    bool waits;

    assert_non_null(node);
    waits = drain_see(drain, node);
    json_decref(node);
    uv_run(&loop, UV_RUN_NOWAIT); /* a pass that is due begins */
    return waits;
}

/* The sentence of the open event, which is written. */
static void take_event(const char *reason, const char *part)
{
    struct kube_call *post = fake_api_expect("POST", EVENTS);
    const char *message = json_string_value(json_object_get(post->body, "message"));

    assert_string_equal(json_string_value(json_object_get(post->body, "reason")), reason);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(post->body, "involvedObject"), "name")),
        "gpu-1");
    if (!strstr(message, part))
        fail_msg("%s", message);
    fake_api_answer(post, 201, EVENT);
}

static void a_pod_is_evicted(void **state)
{
    struct kube_call *eviction;
    const json_t *uid;

    assert_true(see(NODE(FOR_A ALLOWED, "True")));
    fake_api_serve("GET", POD_A, 200, POD("a", "u1"));
    eviction = fake_api_expect("POST", EVICT_A);
    assert_string_equal(json_string_value(json_object_get(eviction->body, "apiVersion")),
                        "policy/v1");
    assert_string_equal(json_string_value(json_object_get(eviction->body, "kind")), "Eviction");
    uid = json_object_get(
        json_object_get(json_object_get(eviction->body, "deleteOptions"), "preconditions"), "uid");
    assert_string_equal(json_string_value(uid), "u1");
    fake_api_answer(eviction, 201, ACCEPTED);
    assert_int_equal(counters.evicted, 1);
    take_event("MIGDrainEvicted", "pod ml/a, which holds what the MIG layout X needs, is evicted");
    see(NODE(FOR_A ALLOWED, "True")); /* nothing that matters is new */
    assert_int_equal(counters.evicted, 1);
    assert_false(see(NODE("\"x\":\"y\"", "True")));
}

static void without_consent_nothing_is_asked(void **state)
{
    static const char *const nodes[] = {
        NODE(FOR_A, "True"),
        NODE(FOR_A ",\"gpuslice.dev/mig-drain\":\"denied\"", "True"),
        NODE(FOR_A ALLOWED, "False"),
        NODE(FOR_A ALLOWED, "Unknown"),
        "{\"metadata\":{\"name\":\"gpu-1\",\"annotations\":{" FOR_A ALLOWED "}}}",
    };

    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
        assert_true(see(nodes[i]));
        assert_int_equal(fake_api_n_sent(), 0);
    }
    see(NODE(FOR_A ALLOWED, "True"));
    fake_api_expect("GET", POD_A);
}

/* By the flag; a Node may say otherwise. */
static void all_nodes_may_be_allowed(void **state)
{
    setup.consent = DRAIN_ALLOWED;
    see(NODE(FOR_A ",\"gpuslice.dev/mig-drain\":\"denied\"", "True"));
    assert_int_equal(fake_api_n_sent(), 0);
    see(NODE(FOR_A, "True"));
    fake_api_expect("GET", POD_A);
}

static void a_word_that_is_none_is_reported(void **state)
{
    setup.consent = DRAIN_FORCED;
    see(NODE(FOR_A ",\"gpuslice.dev/mig-drain\":\"yes\"", "True"));
    assert_int_equal(fake_api_n_open(), 1);
    take_event("MIGDrainUnclear", "write allowed, forced or denied");
}

static void an_annotation_that_is_none_is_reported(void **state)
{
    see(NODE("\"gpuslice.dev/mig-waits\":\"{\"" ALLOWED, "True"));
    assert_int_equal(fake_api_n_open(), 1);
    take_event("MIGDrainUnclear", "gpuslice.dev/mig-waits cannot be read: column");
}

/* The next pod is not kept waiting, and the pass comes again. */
static void what_a_budget_refuses_is_tried_again(void **state)
{
    unsigned n_blocked = 0, n_left = 0;

    see(NODE(FOR_AB ALLOWED, "True"));
    fake_api_serve("GET", POD_A, 200, POD("a", "u1"));
    fake_api_serve("POST", EVICT_A, 429, BLOCKED);
    take_event("MIGDrainBlocked", "The disruption budget web needs 1 healthy pods");
    fake_api_serve("GET", POD_A, 200, POD("a", "u1")); /* for its own event */
    fake_api_expect("POST", "/api/v1/namespaces/ml/events" BY);
    fake_api_serve("GET", POD_B, 200, POD("b", "u2"));
    fake_api_serve("POST", EVICT_B, 201, ACCEPTED);
    assert_int_equal(counters.blocked, 1);
    assert_int_equal(counters.evicted, 1);
    drain_count(drain, &n_blocked, &n_left);
    assert_int_equal(n_blocked, 1);
    assert_int_equal(n_left, 0);
    see(NODE(FOR_A ALLOWED, "True")); /* b has gone: a is tried again at once */
    fake_api_serve("GET", POD_A, 200, POD("a", "u1"));
    fake_api_serve("POST", EVICT_A, 201, ACCEPTED);
    n_blocked = 0;
    drain_count(drain, &n_blocked, &n_left);
    assert_int_equal(n_blocked, 0);
}

static void one_that_is_left_is_named(void **state)
{
    unsigned n_blocked = 0, n_left = 0;

    see(NODE(FOR_A ALLOWED, "True"));
    fake_api_serve("GET", POD_A, 200,
                   "{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"u1\",\"ownerReferences\":[{\"kind\":"
                   "\"DaemonSet\",\"controller\":true}]},\"spec\":{\"nodeName\":\"gpu-1\"}}");
    take_event("MIGDrainLeft", "is not evicted: it is a DaemonSet's");
    drain_count(drain, &n_blocked, &n_left);
    assert_int_equal(n_left, 1);
}

/* It ended between the agent's look and ours, or its name is another pod's. */
static void one_that_is_gone_needs_nothing(void **state)
{
    see(NODE(FOR_AB ALLOWED, "True"));
    fake_api_serve("GET", POD_A, 404, GONE("a"));
    fake_api_serve("GET", POD_B, 200, POD("b", "u9"));
    assert_int_equal(fake_api_n_sent(), 2);
}

static void failures_hold_up_no_other(void **state)
{
    see(NODE(FOR_AB ALLOWED, "True"));
    fake_api_serve("GET", POD_A, 500, "{}");
    fake_api_serve("GET", POD_B, 200, POD("b", "u2"));
    fake_api_serve("POST", EVICT_B, 403, "{\"kind\":\"Status\"}");
    assert_int_equal(counters.failed, 1);
    assert_int_equal(fake_api_n_open(), 0);
    fake_api_break(-13);
    see(NODE(FOR_A ALLOWED, "True")); /* no token: nothing hangs */
    fake_api_break(0);
}

/* Its Lease has ended, though nobody has stopped this drain yet. */
static void who_leads_no_more_evicts_nothing(void **state)
{
    leads = false;
    see(NODE(FOR_A ALLOWED, "True"));
    fake_api_serve("GET", POD_A, 200, POD("a", "u1"));
    assert_int_equal(fake_api_n_open(), 0);
    assert_int_equal(counters.evicted, 0);
}

/* What is under way then is dropped: the pod may be another by now. */
static void consent_can_be_taken_back(void **state)
{
    see(NODE(FOR_AB ALLOWED, "True"));
    fake_api_expect("GET", POD_A);
    see(NODE(FOR_AB, "True"));
    assert_int_equal(fake_api_n_open(), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_pod_is_evicted),
        CASE(without_consent_nothing_is_asked),
        CASE(all_nodes_may_be_allowed),
        CASE(a_word_that_is_none_is_reported),
        CASE(an_annotation_that_is_none_is_reported),
        CASE(what_a_budget_refuses_is_tried_again),
        CASE(one_that_is_left_is_named),
        CASE(one_that_is_gone_needs_nothing),
        CASE(failures_hold_up_no_other),
        CASE(who_leads_no_more_evicts_nothing),
        CASE(consent_can_be_taken_back),
    };

    return cmocka_run_group_tests_name("controller/drain", tests, NULL, NULL);
}
