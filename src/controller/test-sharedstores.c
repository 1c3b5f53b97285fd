// SPDX-License-Identifier: Apache-2.0
#include "controller/sharedstores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "kube/field.h"
#include "kube/test-fake-api.h"

#define PROFILES    "/apis/gpuslice.dev/v1alpha1/sliceprofiles?limit=500"
#define OVERLAYS    "/apis/karpenter.sh/v1alpha1/nodeoverlays?limit=500"
#define NAMED(name) "{\"metadata\":{\"name\":\"" name "\"}}"
#define ITEMS(list) "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" list "]}"

static uv_loop_t loop;
static struct sharedstores *stores;
static unsigned n_states;

/* What each of two duties was notified of, by name. */
static struct text one, other;

static void on_change(const char *key, const void *was, const void *is, void *userdata)
{
    text_addf(userdata, "%s ", is ? kube_name(is) : key);
}

static void on_state(struct kube_store *store, void *userdata)
{
    n_states++;
}

static void hear(enum sharedstore which, struct text *duty)
{
    static const struct store_events events = {on_change, on_state};

    assert_int_equal(sharedstores_listen(stores, which, &events, duty), 0);
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    n_states = 0;
    return sharedstores_new(&loop, fake_api_client(), &stores, NULL);
}

static int tear_down(void **state)
{
    sharedstores_free(stores);
    text_deinit(&one);
    text_deinit(&other);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void await_lists(void)
{
    while (fake_api_n_open() < SHAREDSTORES)
        uv_run(&loop, UV_RUN_ONCE);
}

static void each_collection_is_asked_for_once_and_all_are_notified(void **state)
{
    hear(SHAREDSTORE_PROFILES, &one);
    hear(SHAREDSTORE_PROFILES, &other);
    hear(SHAREDSTORE_OVERLAYS, &other);
    await_lists();
    assert_int_equal(fake_api_n_sent(), SHAREDSTORES);

    fake_api_serve("GET", PROFILES, 200, ITEMS(NAMED("ts")));
    fake_api_serve("GET", OVERLAYS, 200, ITEMS(NAMED("o1") "," NAMED("o2")));
    assert_string_equal(text_string(&one), "ts ");
    assert_string_equal(text_string(&other), "ts o1 o2 ");
    assert_int_equal(n_states, 3); /* two lists of one, one of the other */
    assert_int_equal(kube_store_count(sharedstores_get(stores, SHAREDSTORE_OVERLAYS)), 2);
}

static void who_left_is_not_notified(void **state)
{
    hear(SHAREDSTORE_PROFILES, &one);
    hear(SHAREDSTORE_PROFILES, &other);
    hear(SHAREDSTORE_OVERLAYS, &one);
    await_lists();
    sharedstores_leave(stores, &one);

    fake_api_serve("GET", PROFILES, 200, ITEMS(NAMED("ts")));
    fake_api_serve("GET", OVERLAYS, 200, ITEMS(NAMED("o1")));
    assert_string_equal(text_string(&one), "");
    assert_string_equal(text_string(&other), "ts ");
    assert_int_equal(n_states, 1);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(each_collection_is_asked_for_once_and_all_are_notified),
        CASE(who_left_is_not_notified),
    };

    return cmocka_run_group_tests_name("controller/sharedstores", tests, NULL, NULL);
}
