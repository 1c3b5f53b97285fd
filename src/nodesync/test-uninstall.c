// SPDX-License-Identifier: Apache-2.0
#include "nodesync/uninstall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "kube/test-fake-api.h"

#define PATH "/apis/apps/v1/namespaces/gpus/daemonsets/agents"
#define GONE                                       \
    {                                              \
        404, "{\"details\":{\"name\":\"agents\"}}" \
    }

static char kubeconfig[] = "/tmp/test-retire-XXXXXX";

/* What the server answers, one after the other, and what it is then asked. */
static struct {
    struct fake_answer answers[4];
    unsigned n_asked;
    char asked[512];
    char propagation[32];
} script;

static struct fake_answer answer(const struct kube_call *call)
{
    const size_t length = strlen(script.asked);
    const char *policy = json_string_value(json_object_get(call->body, "propagationPolicy"));

    snprintf(script.asked + length, sizeof(script.asked) - length, "%s %s\n", call->method,
             call->path);
    if (policy)
        snprintf(script.propagation, sizeof(script.propagation), "%s", policy);
    assert_true(script.n_asked < ARRAY_SIZE(script.answers));
    return script.answers[script.n_asked++];
}

static int write_kubeconfig(void **state)
{
    static const char text[] = "apiVersion: v1\n"
                               "kind: Config\n"
                               "current-context: c\n"
                               "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
                               "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
                               "users: [{name: u, user: {token: t}}]\n";
    const int fd = mkstemp(kubeconfig);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    return setenv("KUBECONFIG", kubeconfig, 1);
}

static int remove_kubeconfig(void **state)
{
    return unlink(kubeconfig);
}

static int set_up(void **state)
{
    fake_api_reset();
    fake_api_serve_by(answer);
    memset(&script, 0, sizeof(script));
    return setenv("NAMESPACE", "gpus", 1);
}

static void ends_when_it_is_gone(void **state)
{
    static const struct {
        const char *name;
        struct fake_answer answers[4];
        int status;
        const char *asked;
    } rows[] = {
        {"it ends",
         {{200, "{}"}, {200, "{}"}, GONE},
         0,
         "DELETE " PATH "\nGET " PATH "\nGET " PATH "\n"},
        {"it was not there", {GONE}, 0, "DELETE " PATH "\n"},
        {"the server comes and goes",
         {{0, NULL}, {202, "{}"}, {503, "{}"}, GONE},
         0,
         "DELETE " PATH "\nDELETE " PATH "\nGET " PATH "\nGET " PATH "\n"},
        {"a proxy knows nothing of it",
         {{404, "<html>"}, {404, "{\"details\":{\"name\":\"others\"}}"}, GONE},
         0,
         "DELETE " PATH "\nDELETE " PATH "\nDELETE " PATH "\n"},
        {"forbidden", {{403, "{}"}}, 1, "DELETE " PATH "\n"},
        {"a token that is none", {{401, "{}"}}, 1, "DELETE " PATH "\n"},
        {"forbidden to look", {{200, "{}"}, {403, "{}"}}, 1, "DELETE " PATH "\nGET " PATH "\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int status;

        set_up(state);
        memcpy(script.answers, rows[i].answers, sizeof(script.answers));
        status = uninstall_run("agents");
        if (status != rows[i].status || !str_equal(script.asked, rows[i].asked))
            fail_msg("%s: %d\n%s", rows[i].name, status, script.asked);
        assert_string_equal(script.propagation, "Foreground"); /* or its pods would outlive it */
    }
}

/* A name from outside leads nowhere else. */
static void a_name_is_one_step_of_the_path(void **state)
{
    script.answers[0] = (struct fake_answer){404, "{\"details\":{\"name\":\"../x?y\"}}"};
    setenv("NAMESPACE", "a/b", 1);
    assert_int_equal(uninstall_run("../x?y"), 0);
    assert_string_equal(script.asked,
                        "DELETE /apis/apps/v1/namespaces/a%2Fb/daemonsets/..%2Fx%3Fy\n");
}

static void without_names_nobody_is_asked(void **state)
{
    assert_int_equal(uninstall_run(""), 1);
    setenv("NAMESPACE", "", 1);
    assert_int_equal(uninstall_run("agents"), 1);
    assert_int_equal(fake_api_n_sent(), 0);
}

static void without_access_nobody_is_asked(void **state)
{
    setenv("KUBECONFIG", "/nonexistent/kubeconfig", 1);
    assert_int_equal(uninstall_run("agents"), 1);
    assert_int_equal(fake_api_n_sent(), 0);
    setenv("KUBECONFIG", kubeconfig, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ends_when_it_is_gone, set_up),
        cmocka_unit_test_setup(a_name_is_one_step_of_the_path, set_up),
        cmocka_unit_test_setup(without_names_nobody_is_asked, set_up),
        cmocka_unit_test_setup(without_access_nobody_is_asked, set_up),
    };

    return cmocka_run_group_tests_name("nodesync/uninstall", tests, write_kubeconfig,
                                       remove_kubeconfig);
}
