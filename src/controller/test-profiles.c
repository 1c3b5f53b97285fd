// SPDX-License-Identifier: Apache-2.0
#include "controller/profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "karpenter/test-bench.h"
#include "kube/test-fake-api.h"

#define LIST        "?limit=500"
#define PROFILES    "/apis/gpuslice.dev/v1alpha1/sliceprofiles" LIST
#define POOLS       "/apis/karpenter.sh/v1/nodepools" LIST
#define CLAIMS      "/apis/karpenter.sh/v1/nodeclaims" LIST
#define OVERLAYS    "/apis/karpenter.sh/v1alpha1/nodeoverlays" LIST
#define ITEMS(list) "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" list "]}"
#define OURS                                                                             \
    "{\"metadata\":{\"name\":\"ts\",\"uid\":\"u\",\"labels\":{\"gpuslice.dev/profile\":" \
    "\"ts\",\"app.kubernetes.io/managed-by\":\"gpuslice-controller\"}},\"spec\":{}}"

enum { LOOK_MS = 100 }; /* by then it has looked */

static uv_loop_t loop;
static struct recorder *recorder;
static struct profilekeeper_counters counters;
static struct sharedstores *stores;
static struct profiles *profiles;
static unsigned n_left;
static char waits[256];

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
    snprintf(waits, sizeof(waits), "%s", what);
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    n_left = 0;
    assert_int_equal(recorder_new(&loop, "controller-1", on_idle, NULL, &recorder, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    profiles_free(profiles);
    sharedstores_free(stores);
    recorder_free(recorder);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* Lists all four. */
static void start(bool is_leaving)
{
    assert_int_equal(sharedstores_new(&loop, fake_api_client(), &stores, NULL), 0);
    assert_int_equal(profiles_new(&(struct profiles_setup){.loop = &loop,
                                                           .client = fake_api_client(),
                                                           .stores = stores,
                                                           .recorder = recorder,
                                                           .catalog = &bench_catalog,
                                                           .is_leaving = is_leaving,
                                                           .may_write = may_write,
                                                           .on_left = on_left,
                                                           .counters = &counters},
                                  &profiles, NULL),
                     0);
    while (fake_api_n_open() < 4)
        uv_run(&loop, UV_RUN_ONCE);
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

/* A server that has just started answers so for a moment, and a role may lack the right. */
static void profiles_that_cannot_be_read_have_not_gone(void **state)
{
    start(false);
    fake_api_serve("GET", POOLS, 200, ITEMS(OURS));
    fake_api_serve("GET", CLAIMS, 200, ITEMS(""));
    fake_api_serve("GET", OVERLAYS, 200, ITEMS(OURS));
    fake_api_serve("GET", PROFILES, 403, "{}");
    let_it_look();
    while (fake_api_n_open() < 4)
        uv_run(&loop, UV_RUN_ONCE);
    fake_api_expect("GET", PROFILES); /* the next try, beside three watches */
    assert_int_equal(fake_api_n_open(), 4);
}

static void what_is_left_is_taken_back_whatever_profiles_there_are(void **state)
{
    start(true);
    fake_api_serve("GET", POOLS, 200, ITEMS(""));
    fake_api_serve("GET", CLAIMS, 200, ITEMS(""));
    fake_api_serve("GET", OVERLAYS, 200, ITEMS(OURS));
    fake_api_serve("GET", PROFILES, 403, "{}");
    let_it_look();
    fake_api_expect_prefix("DELETE", "/apis/karpenter.sh/v1alpha1/nodeoverlays/ts");
    assert_int_equal(n_left, 0);
}

static void what_cannot_be_seen_is_not_taken_back(void **state)
{
    start(true);
    fake_api_serve("GET", PROFILES, 200, ITEMS(""));
    fake_api_serve("GET", CLAIMS, 200, ITEMS(""));
    fake_api_serve("GET", OVERLAYS, 200, ITEMS(""));
    fake_api_serve("GET", POOLS, 403, "{}");
    let_it_look();
    assert_int_equal(n_left, 1);
    assert_string_equal(waits, "why");
}

static void without_karpenter_nothing_is_left(void **state)
{
    start(true);
    fake_api_serve("GET", PROFILES, 200, ITEMS(""));
    fake_api_serve("GET", CLAIMS, 404, "{}");
    fake_api_serve("GET", OVERLAYS, 404, "{}");
    fake_api_serve("GET", POOLS, 404, "{}");
    let_it_look();
    assert_int_equal(n_left, 1);
    assert_string_equal(waits, "");
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(profiles_that_cannot_be_read_have_not_gone),
        CASE(what_is_left_is_taken_back_whatever_profiles_there_are),
        CASE(what_cannot_be_seen_is_not_taken_back),
        CASE(without_karpenter_nothing_is_left),
    };

    return cmocka_run_group_tests_name("controller/profiles", tests, bench_setup, bench_teardown);
}
