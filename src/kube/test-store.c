// SPDX-License-Identifier: Apache-2.0
#include "kube/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "kube/test-fake-api.h"

#define PODS  "/api/v1/pods"
#define LIST  PODS "?limit=500"
#define WATCH PODS "?watch=1"
#define POD(name, app)                                     \
    "{\"metadata\":{\"namespace\":\"ml\",\"name\":\"" name \
    "\",\"resourceVersion\":\"7\"},\"app\":\"" app "\"}"
#define ITEMS(items)        "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define GONE                "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}"

static uv_loop_t loop;
static struct kube_store *store;
static struct text heard; /* of changes, "ml/a:-x " */
static unsigned n_states, n_held;
static bool is_full; /* no memory for what is kept */

/* Of a pod only its app is kept. */
static void *reduce(const json_t *object, void *userdata)
{
    char *app = is_full ? NULL : strdup(json_string_value(json_object_get(object, "app")));

    n_held += app != NULL;
    return app;
}

static bool is_equal(const void *a, const void *b)
{
    return str_equal(a, b);
}

static void release(void *kept)
{
    n_held -= kept != NULL;
    free(kept);
}

static void on_change(const char *key, const void *was, const void *is, void *userdata)
{
    text_addf(&heard, "%s:%s%s%s ", key, was ? (const char *)was : "", "-",
              is ? (const char *)is : "");
}

static void on_state(struct kube_store *changed, void *userdata)
{
    assert_ptr_equal(changed, store);
    n_states++;
}

static int set_up(void **state)
{
    static const struct store_kind kind = {reduce, is_equal, release};
    static const struct store_events events = {on_change, on_state};

    fake_api_reset();
    uv_loop_init(&loop);
    n_states = 0;
    is_full = false;
    return kube_store_new(&loop,
                          &(struct kube_store_setup){.client = fake_api_client(),
                                                     .path = PODS,
                                                     .what = "pods",
                                                     .kind = &kind,
                                                     .events = &events},
                          &store, NULL);
}

static int tear_down(void **state)
{
    kube_store_free(store);
    text_deinit(&heard);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_held, 0);
    return uv_loop_close(&loop);
}

/* The next request, which a failure delays. */
static void run_until_asked(void)
{
    while (fake_api_n_open() == 0)
        uv_run(&loop, UV_RUN_ONCE);
}

static void serve(const char *path, unsigned status, const char *body)
{
    run_until_asked();
    fake_api_serve("GET", path, status, body);
}

static struct kube_call *expect_watch(void)
{
    run_until_asked();
    return fake_api_expect_prefix("GET", WATCH);
}

static void hears(const char *changes)
{
    assert_string_equal(text_string(&heard), changes);
    text_clear(&heard);
}

static void a_list_is_kept_in_order(void **state)
{
    assert_false(kube_store_is_complete(store));
    assert_int_equal(kube_store_state(store), STORE_STARTING);
    serve(LIST, 200, ITEMS(POD("c", "x") "," POD("a", "y") "," POD("b", "z")));
    assert_true(kube_store_is_complete(store));
    assert_int_equal(kube_store_state(store), STORE_SYNCED);
    assert_int_equal(n_states, 1);
    hears("ml/c:-x ml/a:-y ml/b:-z ");
    assert_int_equal(kube_store_count(store), 3);
    assert_string_equal(kube_store_at(store, 0), "y");
    assert_string_equal(kube_store_at(store, 1), "z");
    assert_string_equal(kube_store_at(store, 2), "x");
    assert_string_equal(kube_store_find(store, "ml/b"), "z");
    assert_null(kube_store_find(store, "ml/d"));
    assert_null(kube_store_find(store, "b"));
}

static void changes_are_told(void **state)
{
    struct kube_call *watch;

    serve(LIST, 200, ITEMS(POD("a", "x")));
    hears("ml/a:-x ");
    watch = expect_watch();
    fake_api_stream(watch, EVENT("MODIFIED", POD("a", "y")) EVENT("ADDED", POD("b", "z")));
    hears("ml/a:x-y ml/b:-z ");
    fake_api_stream(watch, EVENT("DELETED", POD("a", "y")));
    hears("ml/a:y- ");
    assert_null(kube_store_find(store, "ml/a"));
}

/* A Node's heartbeat is no news to one who does not keep it. */
static void the_same_content_is_no_change(void **state)
{
    serve(LIST, 200, ITEMS(POD("a", "x")));
    hears("ml/a:-x ");
    fake_api_stream(expect_watch(),
                    EVENT("MODIFIED", POD("a", "x")) EVENT("BOOKMARK", POD("", "")));
    hears("");
}

static void what_went_unseen_is_told_after_the_next_list(void **state)
{
    serve(LIST, 200, ITEMS(POD("a", "x") "," POD("b", "x") "," POD("c", "x")));
    text_clear(&heard);
    fake_api_answer(expect_watch(), 410, GONE);
    run_until_asked();
    assert_int_equal(kube_store_count(store), 3); /* nothing is forgotten before the list is read */
    serve(LIST, 200, ITEMS(POD("b", "y") "," POD("d", "x")));
    hears("ml/b:x-y ml/d:-x ml/c:x- ml/a:x- ");
}

/* The list and the watch work again: as soon as the watch has lived for a while. */
static void recover(void)
{
    serve(LIST, 200, ITEMS(POD("a", "x")));
    assert_true(kube_store_is_complete(store));
    fake_api_stream(expect_watch(), EVENT("BOOKMARK", POD("", "")));
    assert_int_equal(kube_store_state(store), STORE_SYNCED);
    assert_string_equal(kube_store_reason(store), "");
}

static void a_collection_that_is_not_there(void **state)
{
    serve(LIST, 404, "404 page not found");
    assert_int_equal(kube_store_state(store), STORE_ABSENT);
    assert_false(kube_store_is_complete(store));
    assert_string_equal(kube_store_reason(store), "why");
    recover(); /* it is asked for again */
}

static void a_list_that_is_refused(void **state)
{
    serve(LIST, 403, "");
    assert_int_equal(kube_store_state(store), STORE_FORBIDDEN);
    recover();
}

/* Who may list may not be allowed to watch. */
static void a_watch_that_is_refused(void **state)
{
    serve(LIST, 200, ITEMS(POD("a", "x")));
    for (unsigned i = 0; i < 3; i++)
        fake_api_answer(expect_watch(), 403, "");
    assert_int_equal(kube_store_state(store), STORE_FORBIDDEN);
    serve(LIST, 200, ITEMS(POD("a", "x")));
    assert_int_equal(kube_store_state(store), STORE_FORBIDDEN);
    assert_string_equal(kube_store_find(store, "ml/a"), "x");
}

static void a_server_that_is_gone(void **state)
{
    serve(LIST, 0, "");
    assert_int_equal(kube_store_state(store), STORE_UNREACHABLE);
    recover();
}

static void memory_that_runs_out_loses_nothing(void **state)
{
    serve(LIST, 200, ITEMS(POD("a", "x")));
    text_clear(&heard);
    is_full = true;
    fake_api_stream(expect_watch(), EVENT("MODIFIED", POD("a", "y")) EVENT("ADDED", POD("b", "y")));
    hears("");
    assert_string_equal(kube_store_find(store, "ml/a"), "x");
    assert_int_equal(kube_store_count(store), 1);
}

static void json_is_kept_without_managed_fields(void **state)
{
    json_t *pod = json_loads("{\"metadata\":{\"name\":\"a\",\"managedFields\":[{}]}}", 0, NULL);
    json_t *less = json_loads("{\"metadata\":{\"name\":\"a\"}}", 0, NULL);
    void *kept = kube_store_keep(pod, NULL);

    assert_true(kube_store_json_is_equal(kept, less));
    assert_false(kube_store_json_is_equal(pod, less));
    kube_store_json_release(kept);
    json_decref(pod);
    json_decref(less);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_list_is_kept_in_order),
        TEST(changes_are_told),
        TEST(the_same_content_is_no_change),
        TEST(what_went_unseen_is_told_after_the_next_list),
        TEST(a_collection_that_is_not_there),
        TEST(a_list_that_is_refused),
        TEST(a_watch_that_is_refused),
        TEST(a_server_that_is_gone),
        TEST(memory_that_runs_out_loses_nothing),
        cmocka_unit_test(json_is_kept_without_managed_fields),
    };

    return cmocka_run_group_tests_name("kube store", tests, NULL, NULL);
}
