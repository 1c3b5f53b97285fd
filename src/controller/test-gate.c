// SPDX-License-Identifier: Apache-2.0
#include "controller/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kube/test-fake-api.h"

#define BY      "?fieldManager=gpuslice-node"
#define NODE    "/api/v1/nodes/gpu-1" BY
#define CLAIM   "/apis/karpenter.sh/v1/nodeclaims/claim"
#define EVENTS  "/api/v1/namespaces/default/events" BY
#define STARTUP "{\"key\":\"gpuslice.dev/not-ready\",\"effect\":\"NoSchedule\"}"
#define MINE    "{\"key\":\"mine\",\"effect\":\"NoSchedule\"}"

enum { LIMIT_S = 100, BORN = 1000000 };

static uv_loop_t loop;
static struct recorder *recorder;
static struct gate_counters counters;
static struct gate_setup setup;
static struct gate *gate;
static struct nodekind kind;
static bool leads;
static unsigned n_opened;

static void on_idle(void *userdata)
{
}

static bool may_write(void *userdata)
{
    return leads;
}

static void on_opened(const char *node, void *userdata)
{
    assert_string_equal(node, "gpu-1");
    n_opened++;
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    leads = true;
    n_opened = 0;
    counters = (struct gate_counters){0};
    assert_int_equal(recorder_new(&loop, "controller-1", on_idle, NULL, &recorder, NULL), 0);
    recorder_start(recorder, fake_api_client());
    setup = (struct gate_setup){.client = fake_api_client(),
                                .recorder = recorder,
                                .limit_s = LIMIT_S,
                                .may_write = may_write,
                                .on_opened = on_opened,
                                .counters = &counters};
    kind = (struct nodekind){.is_promised = true, .is_current = true};
    assert_int_equal(amounts_set(&kind.promised, "nvidia.com/gpu", 4), 0);
    gate = gate_new(&setup, "gpu-1", false);
    return !gate;
}

static int tear_down(void **state)
{
    gate_free(gate);
    amounts_deinit(&kind.promised);
    recorder_free(recorder);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* On the Node; what is wrong also on its NodeClaim. */
static void take_event(const char *reason, const char *part)
{
    static const char *const kinds[] = {"Node", "NodeClaim"};

    const size_t n = strncmp(reason, "Slices", 6) == 0 ? 1 : 2;

    for (size_t i = 0; i < n; i++) {
        struct kube_call *post = fake_api_expect("POST", EVENTS);
        const char *message = json_string_value(json_object_get(post->body, "message"));
        const json_t *object = json_object_get(post->body, "involvedObject");

        assert_string_equal(json_string_value(json_object_get(post->body, "reason")), reason);
        assert_string_equal(json_string_value(json_object_get(object, "kind")), kinds[i]);
        if (!strstr(message, part))
            fail_msg("%s", message);
        fake_api_answer(post, 201, "{\"kind\":\"Event\"}");
    }
}

/* A Node with so many GPUs and these taints, at a moment of its life. */
static bool see(unsigned n_gpus, const char *taints, const char *reason, unsigned at_ms)
{
    json_t *node = json_pack(
        "{s:{s:s, s:s, s:[{s:s, s:s, s:s}]}, s:{s:o}, s:{s:{s:o}, s:[{s:s, s:s}, {s:s, s:s, s:s, "
        "s:s}]}}",
        "metadata", "name", "gpu-1", "creationTimestamp", "1970-01-12T13:46:40Z", "ownerReferences",
        "kind", "NodeClaim", "name", "claim", "uid", "u1", "spec", "taints",
        json_loads(taints, 0, NULL), "status", "allocatable", "nvidia.com/gpu",
        json_sprintf("%u", n_gpus), "conditions", "type", "Ready", "status", "True", "type",
        "GPUSlicesReady", "status", reason ? "False" : "True", "reason",
        reason ? reason : "AllResourcesRegistered", "message", "words");
    struct nodeview *view = nodeview_new(node);
    bool is_settled;

    assert_non_null(view);
    is_settled = gate_see(gate, view, &kind, false,
                          &(struct gate_now){.ms = 5000 + at_ms, .wall = BORN + at_ms / 1000});
    nodeview_free(view);
    json_decref(node);
    return is_settled;
}

static void it_opens_once_the_numbers_are_right(void **state)
{
    struct kube_call *patch;

    assert_false(see(0, "[" STARTUP "," MINE "]", NULL, 0));
    assert_int_equal(fake_api_n_sent(), 0);
    assert_int_equal(gate_state(gate), NODEGATE_WAITING);
    see(4, "[" STARTUP "," MINE "]", NULL, 1000);
    see(4, "[" STARTUP "," MINE "]", NULL, 1001); /* one request at a time */
    assert_int_equal(fake_api_n_sent(), 1);
    patch = fake_api_expect("PATCH", NODE);
    assert_string_equal(patch->content_type, "application/json-patch+json");
    fake_api_answer(patch, 200, "{\"kind\":\"Node\"}");
    assert_int_equal(counters.opened, 1);
    assert_int_equal(n_opened, 1);
    take_event("SlicesReady", "open");
    assert_true(see(4, "[" MINE "]", NULL, 1100));
    assert_int_equal(gate_state(gate), NODEGATE_OPEN);
    assert_int_equal(fake_api_n_open(), 0);
}

/* A thousand nodes may come at once, and each request takes memory. */
static void not_all_are_opened_at_the_same_time(void **state)
{
    counters.n_open = GATE_CALLS - 1;
    see(4, "[" STARTUP "]", NULL, 0);
    assert_int_equal(fake_api_n_sent(), 1);
    assert_int_equal(counters.n_open, GATE_CALLS);
    gate_free(gate); /* and with it the request */
    assert_int_equal(counters.n_open, GATE_CALLS - 1);
    counters.n_open = GATE_CALLS;
    gate = gate_new(&setup, "gpu-1", false);
    assert_false(see(4, "[" STARTUP "]", NULL, 0)); /* asked again */
    assert_int_equal(fake_api_n_sent(), 1);
    counters.n_open = 0;
    see(4, "[" STARTUP "]", NULL, 1);
    fake_api_answer(fake_api_expect("PATCH", NODE), 200, "{\"kind\":\"Node\"}");
    assert_int_equal(counters.n_open, 0);
    take_event("SlicesReady", "open");
}

static void another_writer_is_no_failure(void **state)
{
    see(4, "[" STARTUP "]", NULL, 0);
    fake_api_serve("PATCH", NODE, 422, "{\"kind\":\"Status\"}");
    see(4, "[" STARTUP "," MINE "]", NULL, 10);
    assert_int_equal(fake_api_n_open(), 0); /* in a moment */
    see(4, "[" STARTUP "," MINE "]", NULL, 1100);
    fake_api_serve("PATCH", NODE, 200, "{\"kind\":\"Node\"}");
    assert_int_equal(counters.failed, 0);
    assert_int_equal(counters.opened, 1);
}

/* That the watch is late is no reason to ask again. */
static void what_was_opened_is_waited_for(void **state)
{
    see(4, "[" STARTUP "]", NULL, 0);
    fake_api_serve("PATCH", NODE, 200, "{\"kind\":\"Node\"}");
    take_event("SlicesReady", "open");
    see(4, "[" STARTUP "]", NULL, 2000);
    assert_int_equal(fake_api_n_open(), 0);
    see(4, "[" STARTUP "]", NULL, GATE_UNSEEN_MS);
    fake_api_expect("PATCH", NODE);
}

/* Many nodes at a server that has too much to do. */
static void failures_are_tried_ever_more_rarely(void **state)
{
    const unsigned n_before = fake_api_n_sent();

    for (unsigned at_ms = 0; at_ms < 100000; at_ms += 1000) {
        see(4, "[" STARTUP "]", NULL, at_ms);
        if (fake_api_n_open())
            fake_api_serve("PATCH", NODE, 429, "{\"kind\":\"Status\"}");
    }
    assert_in_range(counters.failed, 2, 50);
    assert_int_equal(fake_api_n_sent() - n_before, counters.failed);
}

/* As an admission policy denies. */
static void what_is_refused_all_the_time_is_a_failure(void **state)
{
    for (unsigned i = 0; i < GATE_CONFLICTS; i++) {
        assert_int_equal(counters.failed, 0);
        see(4, "[" STARTUP "]", NULL, i * 1000);
        fake_api_serve("PATCH", NODE, 422, "{\"kind\":\"Status\"}");
    }
    assert_int_equal(counters.failed, 1);
}

static void who_does_not_lead_writes_nothing(void **state)
{
    leads = false;
    see(4, "[" STARTUP "]", NULL, 0);
    assert_int_equal(fake_api_n_sent(), 0);
    leads = true;
    see(4, "[" STARTUP "]", NULL, 1);
    fake_api_expect("PATCH", NODE);
}

static void a_reason_is_told_when_it_stands(void **state)
{
    see(0, "[" STARTUP "]", "DriverNotAvailable", 0);
    assert_null(gate_reason(gate));
    assert_int_equal(fake_api_n_sent(), 0);
    see(0, "[" STARTUP "]", "DriverNotAvailable", 2000);
    assert_string_equal(gate_reason(gate), "DriverMissing");
    assert_int_equal(gate_state(gate), NODEGATE_SHORT);
    take_event("DriverMissing", "words; nvidia.com/gpu: 4 promised, 0 advertised");
    see(0, "[" STARTUP "]", "DriverNotAvailable", 4000); /* once */
    see(0, "[" STARTUP "]", "ForeignDevicePlugin", 4001);
    assert_int_equal(fake_api_n_open(), 0);
    see(0, "[" STARTUP "]", "ForeignDevicePlugin", 6001);
    take_event("AnotherPlugin", "words");
    see(4, "[]", NULL, 7000);
    assert_null(gate_reason(gate));
    take_event("SlicesAsPromised", "same again");
}

static void what_passes_is_not_told(void **state)
{
    see(0, "[" STARTUP "]", "DriverNotAvailable", 0);
    see(0, "[" STARTUP "]", "ResourcesNotRegistered", 1900);
    see(0, "[" STARTUP "]", "DriverNotAvailable", 2100);
    see(0, "[" STARTUP "]", "DriverNotAvailable", 4000);
    assert_null(gate_reason(gate));
    assert_int_equal(fake_api_n_sent(), 0);
}

static void replace(unsigned at_ms)
{
    struct nodeview view = {.created_s = 0};
    static char claim[] = "claim", uid[] = "u1";

    view.texts[NODEVIEW_CLAIM] = claim;
    view.texts[NODEVIEW_CLAIM_UID] = uid;
    gate_replace(gate, &view, &(struct gate_now){.ms = 5000 + at_ms, .wall = BORN});
}

static void the_very_nodeclaim_is_deleted(void **state)
{
    struct kube_call *call;

    see(0, "[" STARTUP "]", "ResourcesNotRegistered", 0);
    assert_false(gate_is_overdue(gate));
    see(0, "[" STARTUP "]", "ResourcesNotRegistered", LIMIT_S * 1000);
    assert_true(gate_is_overdue(gate));
    take_event("NotRegistered", "words");
    leads = false;
    replace(LIMIT_S * 1000);
    leads = true;
    assert_int_equal(fake_api_n_open(), 0);
    replace(LIMIT_S * 1000);
    call = fake_api_expect("DELETE", CLAIM);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(call->body, "preconditions"), "uid")),
        "u1");
    fake_api_answer(call, 200, "{\"kind\":\"Status\"}");
    assert_int_equal(counters.replaced, 1);
    replace(LIMIT_S * 1000 + 1000); /* its Node takes a while to go */
    assert_int_equal(counters.replaced, 1);
}

static void a_leader_that_is_new_looks_first(void **state)
{
    see(0, "[" STARTUP "]", "ResourcesNotRegistered", 10 * LIMIT_S * 1000);
    assert_false(gate_is_overdue(gate));
    see(0, "[" STARTUP "]", "ResourcesNotRegistered", (10 * LIMIT_S + GATE_SEEN_S) * 1000);
    assert_true(gate_is_overdue(gate));
}

static void a_clock_that_is_ahead_makes_no_node_old(void **state)
{
    gate_free(gate);
    gate = gate_new(&setup, "gpu-1", true);
    assert_non_null(gate);
    see(0, "[" STARTUP "]", "ResourcesNotRegistered", 10 * LIMIT_S * 1000);
    see(0, "[" STARTUP "]", "ResourcesNotRegistered", (10 * LIMIT_S + GATE_SEEN_S) * 1000);
    assert_false(gate_is_overdue(gate));
    see(0, "[" STARTUP "]", "ResourcesNotRegistered", 11 * LIMIT_S * 1000);
    assert_true(gate_is_overdue(gate));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_opens_once_the_numbers_are_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_all_are_opened_at_the_same_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_writer_is_no_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_opened_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_are_tried_ever_more_rarely, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused_all_the_time_is_a_failure, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_lead_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reason_is_told_when_it_stands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_passes_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_very_nodeclaim_is_deleted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_that_is_new_looks_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_clock_that_is_ahead_makes_no_node_old, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("controller/gate", tests, NULL, NULL);
}
