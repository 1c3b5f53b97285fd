// SPDX-License-Identifier: Apache-2.0
#include "nodesync/owner.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "kube/test-fake-api.h"

#define POD_PATH "/api/v1/namespaces/gpus/pods/agent-x"
#define OWNED_BY(kind, name)                                                                       \
    "{\"kind\":\"Pod\",\"metadata\":{\"ownerReferences\":[{\"kind\":\"" kind "\",\"name\":\"" name \
    "\","                                                                                          \
    "\"uid\":\"u\"}]}}"

static uv_loop_t loop;
static struct sync_setup setup;
static struct observed observed;
static struct owner owner;
static unsigned n_changes;

static void on_change(void *userdata)
{
    n_changes++;
}

static int set_up(void **state)
{
    fake_api_reset();
    n_changes = 0;
    setup =
        (struct sync_setup){.node = own("gpu-1"), .namespace_ = own("gpus"), .pod = own("agent-x")};
    observed = (struct observed){.client = fake_api_client(), .setup = &setup};
    uv_loop_init(&loop);
    owner_init(&owner, &loop, &observed, on_change, NULL);
    return 0;
}

static int tear_down(void **state)
{
    owner_deinit(&owner);
    json_decref(TAKE_PTR(observed.node));
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void look_up(const char *pod)
{
    writer_sync(&owner.writer);
    fake_api_serve("GET", POD_PATH, 200, pod);
}

static void our_pod_names_it(void **state)
{
    cleanup_free char *path = NULL;

    writer_sync(&owner.writer);
    assert_false(owner_is_settled(&owner));
    fake_api_serve("GET", POD_PATH, 200, OWNED_BY("DaemonSet", "agents"));
    assert_true(owner_is_settled(&owner));
    assert_int_equal(n_changes, 1);
    assert_int_equal(owner_path(&owner, &path), 0);
    assert_string_equal(path, "/apis/apps/v1/namespaces/gpus/daemonsets/agents");
    writer_sync(&owner.writer);
    assert_int_equal(fake_api_n_sent(), 1); /* once is enough */
}

static void a_pod_may_be_run_by_nothing(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
    } answers[] = {
        {200, "{\"kind\":\"Pod\",\"metadata\":{}}"},
        {200, OWNED_BY("ReplicaSet", "agents")},
        {404, "{\"details\":{\"name\":\"agent-x\"}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        char *path = NULL;

        owner.is_looked_up = false;
        writer_sync(&owner.writer);
        fake_api_serve("GET", POD_PATH, answers[i].status, answers[i].body);
        assert_true(owner.writer.idle); /* and it is not retried endlessly */
        assert_true(owner_is_settled(&owner));
        assert_int_equal(owner_path(&owner, &path), -ENOENT);
    }
}

/* It knows nothing of our pod; the API server is asked again. */
static void a_proxy_is_not_believed(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
    } answers[] = {
        {200, "<html>"},
        {200, "{\"kind\":\"Status\"}"},
        {404, "<html>"},
        {404, "{}"},
        {404, "{\"details\":{\"name\":\"another\"}}"},
    };
    char *path = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        writer_kick(&owner.writer);
        fake_api_serve("GET", POD_PATH, answers[i].status, answers[i].body);
        assert_false(owner.writer.idle);
        assert_int_equal(fake_api_n_open(), 0); /* not at once */
        assert_true(owner_is_settled(&owner));
    }
    writer_kick(&owner.writer);
    fake_api_serve("GET", POD_PATH, 200, OWNED_BY("DaemonSet", "agents"));
    assert_int_equal(owner_path(&owner, &path), 0);
    free(path);
}

static void outside_of_a_pod_nobody_is_asked(void **state)
{
    setup.pod = own("");
    writer_sync(&owner.writer);
    assert_int_equal(fake_api_n_sent(), 0);
    assert_true(owner_is_settled(&owner));
}

/* Otherwise its users would wait forever; it is retried anyway. */
static void a_refusal_settles_it_for_now(void **state)
{
    char *path = NULL;

    writer_sync(&owner.writer);
    fake_api_serve("GET", POD_PATH, 403, "{}");
    assert_true(owner_is_settled(&owner));
    assert_int_equal(owner_path(&owner, &path), -ENOENT);
    writer_kick(&owner.writer);
    fake_api_serve("GET", POD_PATH, 200, OWNED_BY("DaemonSet", "agents"));
    assert_int_equal(owner_path(&owner, &path), 0);
    free(path);
}

/* A name from outside leads nowhere else. */
static void a_name_is_one_step_of_the_path(void **state)
{
    cleanup_free char *path = NULL;

    setup.namespace_ = own("a/b");
    setup.pod = own("../secrets?x");
    writer_sync(&owner.writer);
    fake_api_serve("GET", "/api/v1/namespaces/a%2Fb/pods/..%2Fsecrets%3Fx", 200,
                   OWNED_BY("DaemonSet", "x/../y#"));
    assert_int_equal(owner_path(&owner, &path), 0);
    assert_string_equal(path, "/apis/apps/v1/namespaces/a%2Fb/daemonsets/x%2F..%2Fy%23");
}

#define DAEMONSET(uid, more, selector)                                           \
    "{\"metadata\":{\"name\":\"agents\",\"uid\":\"" uid "\"" more "},\"spec\":{" \
    "\"template\":{\"spec\":{\"nodeSelector\":{" selector "}}}}}"
#define DELETED ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\""

static void knows_an_uninstall(void **state)
{
    static const struct {
        const char *name;
        unsigned status; /* 0 = no answer */
        const char *body;
        bool leaves;
    } rows[] = {
        {"a restart", 200, DAEMONSET("u", "", ""), false},
        {"it is being deleted", 200, DAEMONSET("u", DELETED, ""), true},
        {"another of the same name", 200, DAEMONSET("v", DELETED, ""), false},
        {"our Node is chosen", 200, DAEMONSET("u", "", "\"gpu\":\"yes\""), false},
        {"our Node is chosen no more", 200, DAEMONSET("u", "", "\"gpu\":\"no\""), true},
        {"it lacks a label", 200, DAEMONSET("u", "", "\"gpu\":\"yes\",\"x\":\"y\""), true},
        {"it is gone", 404, "{\"details\":{\"name\":\"agents\"}}", true},
        {"something is gone", 404, "{\"details\":{\"name\":\"others\"}}", false},
        {"a proxy says so", 404, "<html>", false},
        {"forbidden", 403, DAEMONSET("u", DELETED, ""), false},
        {"a server that fails", 500, DAEMONSET("u", DELETED, ""), false},
        {"no answer", 0, "", false},
    };

    observed.node = json_pack("{s:{s:{s:s}}}", "metadata", "labels", "gpu", "yes");
    look_up(OWNED_BY("DaemonSet", "agents"));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kube_response response = {.error = rows[i].status ? 0 : -ECONNREFUSED,
                                               .http_status = rows[i].status,
                                               .body = rows[i].body,
                                               .size = strlen(rows[i].body)};

        if (owner_leaves(&owner, &response) != rows[i].leaves)
            fail_msg("%s", rows[i].name);
    }
}

/* Of a Node that is not known nothing is taken away. */
static void an_unknown_node_is_chosen(void **state)
{
    static const char body[] = DAEMONSET("u", "", "\"gpu\":\"no\"");

    look_up(OWNED_BY("DaemonSet", "agents"));
    assert_false(owner_leaves(
        &owner, &(struct kube_response){.http_status = 200, .body = body, .size = strlen(body)}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(our_pod_names_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pod_may_be_run_by_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_proxy_is_not_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(outside_of_a_pod_nobody_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_settles_it_for_now, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_one_step_of_the_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(knows_an_uninstall, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_node_is_chosen, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/owner", tests, NULL, NULL);
}
