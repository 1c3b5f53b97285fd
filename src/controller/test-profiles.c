// SPDX-License-Identifier: Apache-2.0
#include "controller/profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "karpenter/test-bench.h"
#include "kube/test-fake-api.h"

#define LIST           "?limit=500"
#define PROFILES       "/apis/gpuslice.dev/v1alpha1/sliceprofiles" LIST
#define PROFILES_WATCH "/apis/gpuslice.dev/v1alpha1/sliceprofiles?watch=1"
#define BOOKMARK       "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n"
#define POOLS          "/apis/karpenter.sh/v1/nodepools" LIST
#define CLAIMS         "/apis/karpenter.sh/v1/nodeclaims" LIST
#define OVERLAYS       "/apis/karpenter.sh/v1alpha1/nodeoverlays" LIST
#define CLASSES        "/apis/karpenter.k8s.aws/v1/ec2nodeclasses" LIST
#define ITEMS(list)    "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" list "]}"
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

/* Lists all five. */
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
    while (fake_api_n_open() < 5)
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
    fake_api_serve("GET", CLASSES, 200, ITEMS(""));
    fake_api_serve("GET", POOLS, 200, ITEMS(OURS));
    fake_api_serve("GET", CLAIMS, 200, ITEMS(""));
    fake_api_serve("GET", OVERLAYS, 200, ITEMS(OURS));
    fake_api_serve("GET", PROFILES, 403, "{}");
    let_it_look();
    while (fake_api_n_open() < 5)
        uv_run(&loop, UV_RUN_ONCE);
    fake_api_expect("GET", PROFILES); /* the next try, beside four watches */
    assert_int_equal(fake_api_n_open(), 5);
}

static void what_is_left_is_taken_back_whatever_profiles_there_are(void **state)
{
    start(true);
    fake_api_serve("GET", CLASSES, 403, "{}");
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
    fake_api_serve("GET", CLASSES, 200, ITEMS(""));
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
    fake_api_serve("GET", CLASSES, 404, "{}");
    let_it_look();
    assert_int_equal(n_left, 1);
    assert_string_equal(waits, "");
}

/* Else a profile would be Ready for a moment each time that another replica begins to lead. Where
 * there are none, that is known. */
static void nothing_is_planned_before_classes_are_known(void **state)
{
    start(true);
    fake_api_serve("GET", PROFILES, 200, ITEMS(""));
    fake_api_serve("GET", CLAIMS, 200, ITEMS(""));
    fake_api_serve("GET", OVERLAYS, 200, ITEMS(""));
    fake_api_serve("GET", POOLS, 200, ITEMS(""));
    let_it_look();
    assert_int_equal(n_left, 0);
    fake_api_serve("GET", CLASSES, 404, "{}");
    let_it_look();
    assert_int_equal(n_left, 1);
}

/* Answers the open list of profiles, and has their watch say that it works; what is logged then. */
static void answer_profiles(unsigned status, const char *body, char *text, size_t size)
{
    FILE *caught = tmpfile();
    const int terminal = dup(STDERR_FILENO);

    assert_true(caught && terminal >= 0);
    fflush(stderr);
    assert_true(dup2(fileno(caught), STDERR_FILENO) >= 0);
    fake_api_serve("GET", PROFILES, status, body);
    let_it_look();
    if (status == 200)
        fake_api_stream(fake_api_expect_prefix("GET", PROFILES_WATCH), BOOKMARK);
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    rewind(caught);
    text[fread(text, 1, size - 1, caught)] = '\0';
    fclose(caught);
}

/* 404: not as if there were just no profiles. */
static void that_the_kind_is_missing_is_said_once(void **state)
{
    static const char words[] = "the cluster has no SliceProfiles";
    char text[4096];

    start(false);
    answer_profiles(404, "{}", text, sizeof(text));
    assert_non_null(strstr(text, words));
    assert_non_null(strstr(text, "sliceProfiles.enabled=true"));
    while (fake_api_n_open() < 5) /* it is asked again */
        uv_run(&loop, UV_RUN_ONCE);
    answer_profiles(404, "{}", text, sizeof(text));
    assert_null(strstr(text, words));
    while (fake_api_n_open() < 5)
        uv_run(&loop, UV_RUN_ONCE);
    answer_profiles(200, ITEMS(""), text, sizeof(text));
    assert_non_null(strstr(text, "the cluster has SliceProfiles now"));
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(profiles_that_cannot_be_read_have_not_gone),
        CASE(what_is_left_is_taken_back_whatever_profiles_there_are),
        CASE(what_cannot_be_seen_is_not_taken_back),
        CASE(without_karpenter_nothing_is_left),
        CASE(nothing_is_planned_before_classes_are_known),
        CASE(that_the_kind_is_missing_is_said_once),
    };

    return cmocka_run_group_tests_name("controller/profiles", tests, bench_setup, bench_teardown);
}
