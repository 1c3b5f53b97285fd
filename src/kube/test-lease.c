// SPDX-License-Identifier: Apache-2.0
#include "kube/lease.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "kube/test-fake-api.h"

#define LEASES "/apis/coordination.k8s.io/v1/namespaces/gpus/leases"
#define LEASE  LEASES "/controller"
#define BY     "?fieldManager=gpuslice-node"
#define GONE   "{\"kind\":\"Status\",\"details\":{\"name\":\"controller\"}}"

#define HELD(holder, renewed)                                                                  \
    "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"controller\",\"resourceVersion\":\"" renewed \
    "\",\"labels\":{\"team\":\"a\"}},\"spec\":{\"holderIdentity\":\"" holder                   \
    "\",\"leaseDurationSeconds\":15,\"leaseTransitions\":3,\"acquireTime\":\"then\","          \
    "\"renewTime\":\"" renewed "\"}}"

static uv_loop_t loop;
static struct lease *lease;
static uint64_t now_ms;
static unsigned n_acquired, n_lost, n_released;

static uint64_t tell_time(void)
{
    return now_ms;
}

static void on_acquired(void *userdata)
{
    n_acquired++;
}

static void on_lost(void *userdata)
{
    n_lost++;
}

static void on_released(void *userdata)
{
    n_released++;
}

static int set_up_with(unsigned deadline_ms)
{
    fake_api_reset();
    uv_loop_init(&loop);
    now_ms = 1000000;
    n_acquired = n_lost = n_released = 0;
    return lease_new(&loop,
                     &(struct lease_setup){.client = fake_api_client(),
                                           .namespace_ = "gpus",
                                           .name = "controller",
                                           .identity = "me",
                                           .deadline_ms = deadline_ms,
                                           .retry_ms = 1,
                                           .now_ms = tell_time,
                                           .on_acquired = on_acquired,
                                           .on_lost = on_lost,
                                           .on_released = on_released},
                     &lease, NULL);
}

static int set_up(void **state)
{
    return set_up_with(0);
}

static int set_up_hasty(void **state)
{
    return set_up_with(2);
}

static int tear_down(void **state)
{
    lease_free(lease);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* The next request, however long the loop takes to it. */
static struct kube_call *next(const char *method, const char *path)
{
    while (!fake_api_n_open())
        uv_run(&loop, UV_RUN_ONCE);
    return fake_api_expect(method, path);
}

static void serve(const char *method, const char *path, unsigned status, const char *body)
{
    fake_api_answer(next(method, path), status, body);
}

static const char *spec_text(const struct kube_call *call, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(call->body, "spec"), key));

    return text ? text : "";
}

static int spec_number(const struct kube_call *call, const char *key)
{
    return (int)json_integer_value(json_object_get(json_object_get(call->body, "spec"), key));
}

static void acquire(void)
{
    serve("GET", LEASE, 404, GONE);
    serve("POST", LEASES BY, 201, HELD("me", "1"));
    assert_true(lease_is_held(lease));
    assert_int_equal(n_acquired, 1);
}

static void one_that_is_not_there_is_created(void **state)
{
    struct kube_call *post;

    assert_false(lease_is_held(lease));
    serve("GET", LEASE, 404, GONE);
    post = next("POST", LEASES BY);
    assert_string_equal(spec_text(post, "holderIdentity"), "me");
    assert_int_equal(spec_number(post, "leaseDurationSeconds"), LEASE_DURATION_S);
    assert_int_equal(spec_number(post, "leaseTransitions"), 0);
    assert_int_equal(strlen(spec_text(post, "renewTime")), strlen("2026-01-31T23:59:59.000000Z"));
    assert_string_equal(spec_text(post, "renewTime"), spec_text(post, "acquireTime"));
    assert_false(lease_is_held(lease)); /* not before the server says so */
    fake_api_answer(post, 201, HELD("me", "1"));
    assert_true(lease_is_held(lease));
    assert_string_equal(lease_holder(lease), "me");
}

static void it_is_renewed_without_reading_it_again(void **state)
{
    struct kube_call *put;

    acquire();
    now_ms += 2000;
    put = next("PUT", LEASE BY);
    assert_string_equal(spec_text(put, "acquireTime"), "then");
    assert_int_equal(spec_number(put, "leaseTransitions"), 3);
    /* what others wrote on it stays, and the server can tell whether it has changed */
    assert_non_null(json_object_get(json_object_get(put->body, "metadata"), "labels"));
    assert_non_null(json_object_get(json_object_get(put->body, "metadata"), "resourceVersion"));
    fake_api_answer(put, 200, HELD("me", "2"));
    now_ms += LEASE_DEADLINE_MS - 1; /* from when it was sent */
    assert_true(lease_is_held(lease));
    now_ms += 1;
    assert_false(lease_is_held(lease));
    assert_int_equal(n_acquired, 1);
}

/* The renewTime is one of 1970 or of next year: what counts is when we saw it change. */
static void anothers_is_waited_for_by_our_own_clock(void **state)
{
    serve("GET", LEASE, 200, HELD("other", "1970-01-01T00:00:00.000000Z"));
    assert_string_equal(lease_holder(lease), "other");
    now_ms += 14999;
    serve("GET", LEASE, 200, HELD("other", "2036-01-01T00:00:00.000000Z"));
    now_ms += 14999;
    serve("GET", LEASE, 200, HELD("other", "2036-01-01T00:00:00.000000Z"));
    next("GET", LEASE); /* still theirs */
    assert_false(lease_is_held(lease));
}

static void one_that_does_not_change_is_taken(void **state)
{
    struct kube_call *put;

    serve("GET", LEASE, 200, HELD("other", "2036"));
    now_ms += 15000;
    serve("GET", LEASE, 200, HELD("other", "2036"));
    put = next("PUT", LEASE BY);
    assert_string_equal(spec_text(put, "holderIdentity"), "me");
    assert_int_equal(spec_number(put, "leaseTransitions"), 4);
    assert_string_not_equal(spec_text(put, "acquireTime"), "then");
    fake_api_answer(put, 200, HELD("me", "2037"));
    assert_int_equal(n_acquired, 1);
}

static void of_two_that_take_it_one_gets_it(void **state)
{
    serve("GET", LEASE, 200, HELD("", "1"));
    serve("PUT", LEASE BY, 409, "{}");
    assert_false(lease_is_held(lease));
    assert_true(lease_is_reachable(lease));
    serve("GET", LEASE, 200, HELD("other", "2"));
    next("GET", LEASE);
    assert_int_equal(n_acquired, 0);
}

static void one_that_was_given_up_is_taken_at_once(void **state)
{
    serve("GET", LEASE, 200, HELD("", "1"));
    serve("PUT", LEASE BY, 200, HELD("me", "2"));
    assert_true(lease_is_held(lease));
}

/* A container that was started again, in the pod whose name it has. */
static void ones_own_is_taken_at_once(void **state)
{
    struct kube_call *put;

    serve("GET", LEASE, 200, HELD("me", "1"));
    put = next("PUT", LEASE BY);
    assert_int_equal(spec_number(put, "leaseTransitions"), 3);
    fake_api_answer(put, 200, HELD("me", "2"));
    assert_int_equal(n_acquired, 1);
}

static void without_the_server_it_is_lost_in_time(void **state)
{
    acquire();
    serve("PUT", LEASE BY, 0, "");
    assert_false(lease_is_reachable(lease));
    assert_true(lease_is_held(lease));
    now_ms += LEASE_DEADLINE_MS;
    assert_false(lease_is_held(lease)); /* before on_lost: a timer may be late */
    serve("GET", LEASE, 200, HELD("other", "9"));
    assert_int_equal(n_lost, 1);
    assert_false(lease_is_held(lease));
    serve("GET", LEASE, 200, HELD("", "10")); /* and is acquired again */
    serve("PUT", LEASE BY, 200, HELD("me", "11"));
    assert_int_equal(n_acquired, 2);
}

/* No answer comes at all. */
static void its_loss_is_noticed_without_an_answer(void **state)
{
    acquire();
    next("PUT", LEASE BY);
    now_ms += 2;
    while (!n_lost)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(fake_api_n_open(), 1);
}

/* An answer to a process that was stopped for a minute. */
static void a_late_answer_does_not_count(void **state)
{
    struct kube_call *put;

    serve("GET", LEASE, 200, HELD("", "1"));
    put = next("PUT", LEASE BY);
    now_ms += 60000;
    fake_api_answer(put, 200, HELD("me", "2"));
    assert_false(lease_is_held(lease));
    assert_int_equal(n_acquired, 0);
}

static void one_that_somebody_deleted_is_made_again(void **state)
{
    acquire();
    serve("PUT", LEASE BY, 404, GONE);
    serve("GET", LEASE, 404, GONE);
    serve("POST", LEASES BY, 201, HELD("me", "5"));
    assert_int_equal(n_lost, 0);
    assert_true(lease_is_held(lease));
}

/* A proxy's 404 is not the server's. */
static void a_strangers_answer_is_no_lease(void **state)
{
    serve("GET", LEASE, 404, "<html>not found</html>");
    assert_false(lease_is_reachable(lease));
    serve("GET", LEASE, 200, "{\"kind\":\"Pod\"}");
    next("GET", LEASE);
    assert_false(lease_is_held(lease));
}

static void a_refusal_is_retried(void **state)
{
    serve("GET", LEASE, 403, "{\"kind\":\"Status\"}");
    assert_false(lease_is_reachable(lease));
    fake_api_break(-EACCES); /* and the token cannot be read for a while */
    for (unsigned i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_ONCE);
    fake_api_break(0);
    acquire();
    assert_true(lease_is_reachable(lease));
}

static void it_is_given_up(void **state)
{
    struct kube_call *put;

    acquire();
    lease_release(lease);
    assert_false(lease_is_held(lease));
    put = fake_api_expect("PUT", LEASE BY);
    assert_string_equal(spec_text(put, "holderIdentity"), "");
    assert_int_equal(spec_number(put, "leaseDurationSeconds"), 1);
    fake_api_answer(put, 200, HELD("", "2"));
    assert_int_equal(n_released, 1);
    assert_int_equal(n_lost, 0);
}

/* Its answer says which version is to be given up. */
static void a_renewal_under_way_is_awaited(void **state)
{
    struct kube_call *renewal, *put;

    acquire();
    renewal = next("PUT", LEASE BY);
    lease_release(lease);
    assert_int_equal(fake_api_n_open(), 1);
    fake_api_answer(renewal, 200, HELD("me", "2"));
    put = fake_api_expect("PUT", LEASE BY);
    assert_string_equal(spec_text(put, "holderIdentity"), "");
    fake_api_answer(put, 0, "");
    assert_int_equal(n_released, 1);
}

static void what_is_not_held_is_not_given_up(void **state)
{
    serve("GET", LEASE, 200, HELD("other", "1"));
    lease_release(lease);
    while (!n_released)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(fake_api_n_open(), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(one_that_is_not_there_is_created),
        CASE(it_is_renewed_without_reading_it_again),
        CASE(anothers_is_waited_for_by_our_own_clock),
        CASE(one_that_does_not_change_is_taken),
        CASE(of_two_that_take_it_one_gets_it),
        CASE(one_that_was_given_up_is_taken_at_once),
        CASE(ones_own_is_taken_at_once),
        CASE(without_the_server_it_is_lost_in_time),
        cmocka_unit_test_setup_teardown(its_loss_is_noticed_without_an_answer, set_up_hasty,
                                        tear_down),
        CASE(a_late_answer_does_not_count),
        CASE(one_that_somebody_deleted_is_made_again),
        CASE(a_strangers_answer_is_no_lease),
        CASE(a_refusal_is_retried),
        CASE(it_is_given_up),
        CASE(a_renewal_under_way_is_awaited),
        CASE(what_is_not_held_is_not_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
