// SPDX-License-Identifier: Apache-2.0
#include "nodesync/opener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "kube/test-fake-api.h"

#define NODE_PATH  "/api/v1/nodes/gpu-1"
#define PATCH_PATH NODE_PATH "?fieldManager=gpuslice-node"
#define LEASE_PATH "/apis/coordination.k8s.io/v1/namespaces/gpus/leases/controller"
#define GONE       "{\"kind\":\"Status\",\"details\":{\"name\":\"controller\"}}"
#define FORBIDDEN  "{\"kind\":\"Status\",\"message\":\"no\"}"
#define HELD(time)                                                          \
    "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"controller\"},\"spec\":{" \
    "\"holderIdentity\":\"a\",\"leaseDurationSeconds\":15,\"renewTime\":\"" time "\"}}"
#define TAINT  "{\"key\":\"gpuslice.dev/not-ready\",\"effect\":\"NoSchedule\"}"
#define OTHER  "{\"key\":\"nvidia.com/gpu\",\"effect\":\"NoSchedule\"}"
#define SHARED "\"nvidia.com/gpu\":\"0\",\"nvidia.com/gpu.shared\":\"16\""
#define NODE(taints, allocatable)                                                        \
    "{\"kind\":\"Node\",\"metadata\":{},\"spec\":{\"taints\":[" taints "]},\"status\":{" \
    "\"allocatable\":{\"cpu\":\"4\"," allocatable "}}}"

static uv_loop_t loop;
static struct sync_setup setup;
static struct sync_count promise[2];
static struct observed observed;
static struct opener opener;
static uint64_t now_ms;
static unsigned n_opened;

static uint64_t tell_time(void)
{
    return now_ms;
}

static void on_opened(const char *sentence, void *userdata)
{
    assert_non_null(strstr(sentence, "gpuslice.dev/not-ready"));
    n_opened++;
}

static void on_node(void *userdata)
{
    opener_sync(&opener);
}

static int set_up(void **state)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    fake_api_reset();
    uv_loop_init(&loop);
    now_ms = 1000000;
    n_opened = 0;
    setup = (struct sync_setup){
        .node = own("gpu-1"), .namespace_ = own("gpus"), .lease = own("controller")};
    promise[0] = (struct sync_count){own("nvidia.com/gpu"), 0};
    promise[1] = (struct sync_count){own("nvidia.com/gpu.shared"), 16};
    observed = (struct observed){.client = fake_api_client(),
                                 .setup = &setup,
                                 .node_path = own(NODE_PATH),
                                 .on_node = on_node,
                                 .state = {.promise = promise, .n_promise = 2},
                                 .has_state = true};
    assert_int_equal(opener_init(&opener, &loop, &observed, on_opened, NULL), 0);
    opener.now_ms = tell_time;
    return 0;
}

static int tear_down(void **state)
{
    opener_deinit(&opener);
    json_decref(TAKE_PTR(observed.node));
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void see(const char *node)
{
    json_decref(observed.node);
    observed.node = json_loads(node, 0, NULL);
    assert_non_null(observed.node);
    opener_sync(&opener);
}

static bool is_asking(void)
{
    return opener.call || uv_is_active((uv_handle_t *)&opener.timer);
}

/* The next look at the Lease, so that a test need not wait for it. */
static void read_lease(unsigned status, const char *body)
{
    const unsigned before = fake_api_n_sent();

    assert_true(uv_is_active((uv_handle_t *)&opener.timer));
    uv_timer_start(&opener.timer, opener.timer.timer_cb, 0, 0);
    while (fake_api_n_sent() == before)
        uv_run(&loop, UV_RUN_ONCE);
    fake_api_serve("GET", LEASE_PATH, status, body);
}

static void assert_closed(void)
{
    assert_int_equal(fake_api_n_open(), 0);
    assert_int_equal(n_opened, 0);
}

/* The patch tests that the list is still the one in which the taint was found. */
static void assert_opens(const char *operations)
{
    struct kube_call *call = fake_api_expect("PATCH", PATCH_PATH);
    json_t *expected = json_loads(operations, 0, NULL);

    assert_non_null(expected);
    assert_true(json_equal(call->body, expected));
    json_decref(expected);
    assert_int_equal(n_opened, 0);
    fake_api_answer(call, 200, NODE(OTHER, SHARED));
    assert_int_equal(n_opened, 1);
    assert_int_equal(fake_api_n_open(), 0);
    assert_false(is_asking());
}

#define TEST "{\"op\":\"test\",\"path\":\"/spec/taints\",\"value\":"
#define REPLACED                 \
    "[" TEST "[" OTHER "," TAINT \
    "]},{\"op\":\"replace\",\"path\":\"/spec/taints\",\"value\":[" OTHER "]}]"
#define REMOVED "[" TEST "[" TAINT "]},{\"op\":\"remove\",\"path\":\"/spec/taints\"}]"

static void a_controller_that_is_at_work_is_left_to_it(void **state)
{
    see(NODE(OTHER "," TAINT, SHARED));
    for (int i = 0; i < 6; i++) {
        read_lease(200, i % 2 ? HELD("1") : HELD("2"));
        now_ms += 14999;
        assert_closed();
    }
    see(NODE(OTHER, SHARED)); /* it was */
    assert_false(is_asking());
    assert_closed();
}

/* It holds the Lease for something else. */
static void a_controller_without_profiles_is_not_asked(void **state)
{
    opener_deinit(&opener);
    uv_run(&loop, UV_RUN_DEFAULT);
    setup.lease = own(OPENER_ALONE);
    assert_int_equal(opener_init(&opener, &loop, &observed, on_opened, NULL), 0);
    see(NODE(TAINT, "\"nvidia.com/gpu.shared\":\"8\""));
    assert_closed();
    see(NODE(OTHER "," TAINT, SHARED));
    assert_opens(REPLACED);
}

static void an_abandoned_lease_opens(void **state)
{
    see(NODE(OTHER "," TAINT, SHARED));
    read_lease(200, HELD("1"));
    assert_closed();
    now_ms += 15000;
    read_lease(200, HELD("1"));
    assert_opens(REPLACED);
}

static void a_lease_that_is_not_there_opens(void **state)
{
    see(NODE(TAINT, SHARED));
    read_lease(404, GONE);
    assert_opens(REMOVED);
}

/* A proxy's 404, say, and what RBAC forbids. */
static void a_lease_that_cannot_be_read_means_nothing(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
    } rows[] = {{403, FORBIDDEN}, {404, "no such page"}, {200, "{}"}, {0, ""}, {500, FORBIDDEN}};

    see(NODE(TAINT, SHARED));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        read_lease(rows[i].status, rows[i].body);
        assert_closed();
        now_ms += 100000;
    }
    read_lease(404, GONE);
    assert_opens(REMOVED);
}

/* Nor is the Lease looked at. */
static void other_numbers_never_open(void **state)
{
    static const char *const nodes[] = {
        NODE(TAINT, "\"nvidia.com/gpu.shared\":\"15\""),
        NODE(TAINT, "\"nvidia.com/gpu.shared\":\"17\""),
        NODE(TAINT, "\"nvidia.com/gpu\":\"4\",\"nvidia.com/gpu.shared\":\"16\""),
        NODE(TAINT, "\"nvidia.com/gpu.shared\":\"0\""),
        NODE(TAINT, "\"nvidia.com/gpu\":\"16\""),
        NODE(OTHER, SHARED),
    };

    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
        see(nodes[i]);
        assert_false(is_asking());
    }
    assert_int_equal(fake_api_n_sent(), 0);
}

static void without_a_promise_or_a_lease_nothing_opens(void **state)
{
    observed.state.n_promise = 0;
    see(NODE(TAINT, SHARED));
    assert_false(is_asking());
    observed.state.n_promise = 2;
    observed.has_state = false;
    see(NODE(TAINT, SHARED));
    assert_false(is_asking());
    observed.has_state = true;
    opener_deinit(&opener);
    setup.lease = own("");
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(opener_init(&opener, &loop, &observed, on_opened, NULL), 0);
    see(NODE(TAINT, SHARED));
    assert_false(is_asking());
    assert_int_equal(fake_api_n_sent(), 0);
}

/* Between the look and the write, numbers and Lease are looked at again. */
static void it_is_decided_again_before_each_try(void **state)
{
    see(NODE(OTHER "," TAINT, SHARED));
    read_lease(404, GONE);
    fake_api_serve("PATCH", PATCH_PATH, 422, FORBIDDEN);
    see(NODE(OTHER "," TAINT, "\"nvidia.com/gpu.shared\":\"12\""));
    assert_closed();
    assert_false(is_asking());
    see(NODE(OTHER "," TAINT, SHARED)); /* the Lease is observed again */
    assert_closed();
    read_lease(200, HELD("3"));
    assert_closed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_controller_that_is_at_work_is_left_to_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_controller_without_profiles_is_not_asked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_abandoned_lease_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lease_that_is_not_there_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lease_that_cannot_be_read_means_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(other_numbers_never_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_promise_or_a_lease_nothing_opens, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_is_decided_again_before_each_try, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/opener", tests, NULL, NULL);
}
