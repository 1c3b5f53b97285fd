// SPDX-License-Identifier: Apache-2.0
#include "controller/waiting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/text.h"
#include "controller/test-json.h"
#include "kube/object.h"
#include "kube/test-fake-api.h"

#define GPU        "nvidia.com/gpu"
#define SMALL      "nvidia.com/mig-1g.5gb"
#define BY         "?fieldManager=gpuslice-node"
#define NODE_A     "/api/v1/nodes/a" BY
#define PODS_QUERY "/api/v1/pods?fieldSelector=spec.nodeName%3D%2Cstatus.phase%3DPending&"
#define NODES_QUERY \
    "/api/v1/nodes?labelSelector=nvidia.com%2Fmig.strategy%20in%20%28single%2Cmixed%29&"
#define PODS         PODS_QUERY "limit=500"
#define NODES        NODES_QUERY "limit=500"
#define ALL_NODES    "/api/v1/nodes?limit=500"
#define ITEMS(items) "{'metadata':{'resourceVersion':'5'},'items':[" items "]}"

#define NODE(annotations, capacity)                                                           \
    "{'kind':'Node','metadata':{'name':'a','resourceVersion':'6','annotations':{" annotations \
    "},'labels':{'nvidia.com/mig.strategy':'single','nvidia.com/gpu.product':"                \
    "'A100-MIG-1g.5gb'}},'status':{'capacity':{" capacity "},'conditions':[{'type':'Ready',"  \
    "'status':'True'}]}}"
#define POOL        "'gpuslice.dev/mig-names':'" GPU "=7," SMALL "=7'"
#define TOLD(what)  POOL ",'gpuslice.dev/mig-names-demand':'" what "'"
#define BOTH(notes) NODE(notes, "'" GPU "':'7','" SMALL "':'7'")
#define SINGLE      NODE("", "'" GPU "':'7'")

static uv_loop_t loop;
static struct recorder *recorder;
static struct waiting *waiting;
static bool leads;
static uint64_t n_answered;
static unsigned n_expected; /* requests that were sent so far */

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
    n_answered = 0;
    n_expected = fake_api_n_sent();
    assert_int_equal(recorder_new(&loop, "controller-1", on_idle, NULL, &recorder, NULL), 0);
    recorder_start(recorder, fake_api_client());
    return waiting_new(&(struct advisor_setup){.loop = &loop,
                                               .client = fake_api_client(),
                                               .recorder = recorder,
                                               .may_write = may_write,
                                               .n_answered = &n_answered},
                       &waiting, NULL);
}

static int tear_down(void **state)
{
    waiting_free(waiting);
    recorder_free(recorder);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* Runs until so many more requests were sent. */
static void await_requests(unsigned n)
{
    n_expected += n;
    while (fake_api_n_sent() < n_expected)
        uv_run(&loop, UV_RUN_ONCE);
}

static void on_passed(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

/* The next pass sends nothing, nor did the last one send more than was awaited. */
static void nothing_more_is_sent(void)
{
    uv_timer_t passed;

    uv_timer_init(&loop, &passed);
    uv_update_time(&loop);
    uv_timer_start(&passed, on_passed, WAITING_SETTLE_MS + 1, 0);
    while (!uv_is_closing((uv_handle_t *)&passed))
        uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_NOWAIT); /* it is closed */
    assert_int_equal(fake_api_n_sent(), n_expected);
}

/* Double quotes, which the server writes. To be freed. */
static char *quoted(const char *text)
{
    char *copy = strdup(text);

    for (char *at = copy; at && *at; at++)
        if (*at == '\'')
            *at = '"';
    assert_non_null(copy);
    return copy;
}

static void serve(const char *method, const char *path, unsigned status, const char *body)
{
    char *text = quoted(body);

    fake_api_serve(method, path, status, text);
    free(text);
}

static void tell(const char *watched, const char *event)
{
    char *text = quoted(event), *line = NULL;

    assert_true(asprintf(&line, "%s\n", text) > 0);
    fake_api_stream(fake_api_expect_prefix("GET", watched), line);
    free(line);
    free(text);
}

/* A pod that has waited for that long. */
static void write_pod(char *out, size_t size, const char *resource, unsigned age_s)
{
    char since[KUBE_TIME_SIZE];

    kube_time_format(time(NULL) - age_s, since);
    snprintf(out, size,
             "{'metadata':{'namespace':'ml','name':'p','uid':'u1','resourceVersion':'7'},'spec':{"
             "'containers':[{'resources':{'requests':{'%s':'1'}}}]},'status':{'conditions':[{"
             "'type':'PodScheduled','status':'False','reason':'Unschedulable',"
             "'lastTransitionTime':'%s'}]}}",
             resource, since);
}

/* One pod waits, and there is one Node; both are watched. */
static void begin(const char *resource, unsigned age_s, const char *node)
{
    char pod[1024], list[1200];

    await_requests(2);
    write_pod(pod, sizeof(pod), resource, age_s);
    snprintf(list, sizeof(list), ITEMS("%s"), pod);
    serve("GET", PODS, 200, list);
    snprintf(list, sizeof(list), ITEMS("%s"), node);
    serve("GET", NODES, 200, list);
    await_requests(2);
}

/* The pod of `begin` is bound, which ends what is selected. */
static void place(const char *resource)
{
    char pod[1024], event[1200];

    write_pod(pod, sizeof(pod), resource, 0);
    snprintf(event, sizeof(event), "{'type':'DELETED','object':%s}", pod);
    tell(PODS_QUERY "watch=1", event);
}

static void expect_demand(const char *operation, const char *value)
{
    const struct kube_call *patch = fake_api_expect("PATCH", NODE_A);
    const json_t *last = json_array_get(patch->body, json_array_size(patch->body) - 1);

    assert_string_equal(json_string_value(json_object_get(last, "op")), operation);
    assert_string_equal(json_string_value(json_object_get(last, "path")),
                        "/metadata/annotations/gpuslice.dev~1mig-names-demand");
    if (value)
        assert_string_equal(json_string_value(json_object_get(last, "value")), value);
}

static void a_node_is_told_while_a_pod_waits(void **state)
{
    begin(SMALL, 100, BOTH(POOL));
    await_requests(1);
    expect_demand("add", SMALL "=1");
    serve("PATCH", NODE_A, 200, BOTH(TOLD(SMALL "=1")));
    tell(NODES_QUERY "watch=1", "{'type':'MODIFIED','object':" BOTH(TOLD(SMALL "=1")) "}");
    place(SMALL);
    await_requests(1); /* the echo of the first write asked for nothing */
    expect_demand("remove", NULL);
    serve("PATCH", NODE_A, 200, BOTH(POOL));
    place(SMALL);
    nothing_more_is_sent();
}

/* Also of an earlier leader's. */
static void what_nobody_waits_for_is_taken_off(void **state)
{
    await_requests(2);
    serve("GET", PODS, 200, ITEMS(""));
    serve("GET", NODES, 200, ITEMS(BOTH(TOLD(GPU "=3"))));
    await_requests(3);
    expect_demand("remove", NULL);
}

/* Its agent no longer has a strategy, for one. */
static void it_is_taken_off_a_node_that_is_selected_no_more(void **state)
{
    begin(SMALL, 100, BOTH(TOLD(SMALL "=1")));
    tell(NODES_QUERY "watch=1", "{'type':'DELETED','object':" BOTH(TOLD(SMALL "=1")) "}");
    await_requests(1);
    expect_demand("remove", NULL);
    serve("PATCH", NODE_A, 404, "{'kind':'Status'}"); /* it is the Node that has gone */
    nothing_more_is_sent();
}

static void nothing_is_taken_off_before_the_pods_are_known(void **state)
{
    await_requests(2);
    serve("GET", NODES, 200, ITEMS(BOTH(TOLD(GPU "=3"))));
    await_requests(1);
    serve("GET", PODS, 403, "{}");
    await_requests(1); /* again */
    fake_api_expect("GET", PODS);
}

static void a_write_that_fails_is_tried_again(void **state)
{
    begin(SMALL, 100, BOTH(POOL));
    await_requests(1);
    serve("PATCH", NODE_A, 500, "{}");
    await_requests(1);
    expect_demand("add", SMALL "=1");
}

static void who_does_not_lead_writes_nothing(void **state)
{
    leads = false;
    begin(SMALL, 100, BOTH(POOL));
    tell(NODES_QUERY "watch=1", "{'type':'DELETED','object':" BOTH(POOL) "}");
    nothing_more_is_sent();
}

/* The event of the pod, after all Nodes were asked. */
static struct kube_call *await_event(void)
{
    await_requests(1);
    serve("GET", "/api/v1/namespaces/ml/pods/p", 200,
          "{'kind':'Pod','metadata':{'name':'p','uid':'u1'}}");
    n_expected++;
    return fake_api_expect("POST", "/api/v1/namespaces/ml/events" BY);
}

static void a_name_of_another_strategy_is_answered_once(void **state)
{
    struct kube_call *event;

    begin(SMALL, 100, SINGLE);
    await_requests(1);
    serve("GET", ALL_NODES, 200, ITEMS(SINGLE));
    event = await_event();
    assert_string_equal(json_string_value(json_object_get(event->body, "reason")),
                        "MIGNameOfOtherStrategy");
    assert_non_null(strstr(json_string_value(json_object_get(event->body, "message")),
                           "gpuslice.mig.names: both"));
    fake_api_answer(event, 409, "{}"); /* the last leader has said so already */
    assert_int_equal(n_answered, 1);
    /* Another Node with the same: nothing more to say. */
    tell(NODES_QUERY "watch=1",
         "{'type':'MODIFIED','object':" NODE("'x':'y'", "'" GPU "':'6'") "}");
    nothing_more_is_sent();
}

static void a_node_of_whatever_kind_may_serve_it(void **state)
{
    begin(SMALL, 100, SINGLE);
    await_requests(1);
    serve("GET", ALL_NODES, 200,
          ITEMS(SINGLE ",{'metadata':{'name':'b'},'status':{'capacity':{'" SMALL "':'1'}}}"));
    assert_int_equal(n_answered, 0);
    nothing_more_is_sent();
}

/* Longer for GPUs: a Node with whole ones may be on its way. */
static void who_has_waited_for_a_moment_is_not_answered(void **state)
{
    begin(GPU, 100,
          "{'metadata':{'name':'a','labels':{'nvidia.com/mig.strategy':'mixed'}},"
          "'status':{'capacity':{'" SMALL "':'7'}}}");
    nothing_more_is_sent();
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_node_is_told_while_a_pod_waits),
        CASE(what_nobody_waits_for_is_taken_off),
        CASE(it_is_taken_off_a_node_that_is_selected_no_more),
        CASE(nothing_is_taken_off_before_the_pods_are_known),
        CASE(a_write_that_fails_is_tried_again),
        CASE(who_does_not_lead_writes_nothing),
        CASE(a_name_of_another_strategy_is_answered_once),
        CASE(a_node_of_whatever_kind_may_serve_it),
        CASE(who_has_waited_for_a_moment_is_not_answered),
    };

    return cmocka_run_group_tests_name("controller/waiting", tests, NULL, NULL);
}
