// SPDX-License-Identifier: Apache-2.0

/* The control socket from both ends: the client runs in its own process, like a user's. */

#include "control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "controlclient.h"
#include "kubelet.h"

enum { TIMEOUT_MS = 10000, STATUS_NO_ANSWER = 99 };

struct bed {
    uv_loop_t loop;
    char root[64];
    struct run_rule rule;
    struct kubelet_options options;
    struct kubelet *kubelet;
};

static int set_up(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    log_setup(LOG_ERROR, LOG_LOGFMT);
    uv_loop_init(&bed->loop);
    strcpy(bed->root, "/tmp/gpuslice-control-XXXXXX");
    assert_non_null(mkdtemp(bed->root));
    bed->rule = (struct run_rule){"*", "echo hello; exec sleep 1000"};
    bed->options = (struct kubelet_options){
        .root_dir = bed->root,
        .restart_back_off_ms = 1,
        .command = {.rules = &bed->rule, .n_rules = 1, .node_name = "node-1"},
    };
    assert_int_equal(kubelet_new(&bed->loop, &bed->options, &bed->kubelet, NULL), 0);
    *state = bed;
    return 0;
}

static void handle_stopped(struct kubelet *kubelet)
{
    uv_stop(kubelet->loop);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    struct bed *bed = *state;

    kubelet_stop(bed->kubelet, handle_stopped);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    kubelet_free(bed->kubelet);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bed->loop), 0);
    nftw(bed->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(bed);
    return 0;
}

/* In the child: the output goes to a file that the parent reads. */
static __attribute__((noreturn)) void run_client(const struct bed *bed, json_t *request)
{
    struct error err = ERROR_INIT;
    char path[128], *output;
    int status;

    if (controlclient_call(bed->root, request, 0, &status, &output, &err) < 0)
        _exit(STATUS_NO_ANSWER);
    snprintf(path, sizeof(path), "%s/output", bed->root);
    file_write_atomic(path, output, strlen(output), 0600, NULL);
    _exit(status);
}

static void nothing(uv_timer_t *timer)
{
}

/* Calls while the loop runs; returns the exit status and, free it, the output. Consumes the
 * request. */
static int call(struct bed *bed, json_t *request, char **ret_output)
{
    uint64_t end_ms = clock_now_ms() + TIMEOUT_MS;
    int status = 0;
    char path[128];
    size_t size;
    uv_timer_t tick;
    pid_t child;

    assert_non_null(request);
    child = fork();
    if (child == 0)
        run_client(bed, request);
    uv_timer_init(&bed->loop, &tick);
    uv_timer_start(&tick, nothing, 2, 2);
    while (waitpid(child, &status, WNOHANG) == 0) {
        assert_true(clock_now_ms() < end_ms);
        uv_run(&bed->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&bed->loop, UV_RUN_NOWAIT);
    json_decref(request);
    assert_true(WIFEXITED(status));
    snprintf(path, sizeof(path), "%s/output", bed->root);
    if (file_read(path, 1 << 20, ret_output, &size, NULL) < 0)
        *ret_output = strdup("");
    unlink(path);
    return WEXITSTATUS(status);
}

static void assert_call(struct bed *bed, json_t *request, int status, const char *output)
{
    char *text;

    assert_int_equal(call(bed, request, &text), status);
    assert_string_equal(text, output);
    free(text);
}

static json_t *apply_request(const char *text)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "verb", "apply", "source", "x.yaml", "namespace",
                     "space", "text", text);
}

static json_t *wait_request(const char *condition, int timeout_ms)
{
    return json_pack("{s:s, s:s, s:i}", "verb", "wait", "for", condition, "timeout_ms", timeout_ms);
}

static json_t *named_request(const char *verb, const char *name)
{
    return json_pack("{s:s, s:s, s:s, s:i}", "verb", verb, "namespace", "space", "name", name,
                     "replicas", 3);
}

static const char deployment[] = "kind: Deployment\nmetadata: {name: web}\n"
                                 "spec: {replicas: 2, template: {spec: {containers: [\n"
                                 "  {name: c, image: i}]}}}\n";

static void test_life_of_a_deployment(void **state)
{
    struct bed *bed = *state;
    char *text;

    assert_call(bed, apply_request(deployment), 0, "Deployment/web created\n");
    assert_call(bed, wait_request("pods=2", 5000), 0, "");
    assert_call(bed, apply_request(deployment), 0, "Deployment/web unchanged\n");
    assert_call(bed, named_request("scale", "web"), 0, "Deployment/web scaled\n");
    assert_call(bed, wait_request("pods=3", 5000), 0, "");
    assert_int_equal(call(bed, json_pack("{s:s, s:s}", "verb", "get", "what", "pods"), &text), 0);
    assert_non_null(strstr(text, bed->kubelet->pods.items[2]->name));
    free(text);
    assert_int_equal(call(bed, named_request("logs", bed->kubelet->pods.items[0]->name), &text), 0);
    assert_int_equal(access(text, R_OK), 0);
    free(text);
    assert_call(bed, named_request("delete", "deployment/web"), 0, "Deployment/web deleted\n");
    assert_call(bed, wait_request("pods.all=0", 5000), 0, "");
}

static void test_a_deleted_pod_comes_back(void **state)
{
    struct bed *bed = *state;
    char expected[128], name[64];

    assert_call(bed, apply_request(deployment), 0, "Deployment/web created\n");
    assert_call(bed, wait_request("pods=2", 5000), 0, "");
    snprintf(name, sizeof(name), "%s", bed->kubelet->pods.items[0]->name);
    snprintf(expected, sizeof(expected), "Pod/%s deleted\n", name);
    assert_call(bed, named_request("delete", name), 0, expected);
    assert_call(bed, wait_request("pods.all=2", 5000), 0, "");
    assert_call(bed, wait_request("pods=2", 5000), 0, "");
    assert_null(pods_find(&bed->kubelet->pods, "space", name));
}

static void test_refusals(void **state)
{
    struct bed *bed = *state;
    char *text;

    assert_call(bed, apply_request("kind: Pod\nmetadata: {name: p}\n"), 1,
                "error: x.yaml:1:1: spec: Required value\n");
    assert_call(bed, apply_request(""), 1, "no objects passed to apply\n");
    assert_call(bed, wait_request("pods=7", 20), 1, "timed out waiting for pods=7\n");
    assert_int_equal(call(bed, wait_request("nonsense", 20), &text), 2);
    assert_non_null(strstr(text, "\"nonsense\" is not a condition"));
    free(text);
    assert_call(bed, named_request("delete", "nobody"), 1,
                "Error from server (NotFound): \"nobody\" not found in namespace space\n");
    assert_call(bed, named_request("scale", "nobody"), 1,
                "Error from server (NotFound): \"nobody\" not found in namespace space\n");
    assert_call(bed, named_request("logs", "nobody"), 1,
                "Error from server (NotFound): pods \"nobody\" not found\n");
    assert_call(bed, json_pack("{s:s, s:s}", "verb", "get", "what", "everything"), 1,
                "usage: get pods|node [-o table|json]\n");
    assert_call(bed, json_pack("{s:s}", "verb", "frobnicate"), 2, "unknown verb\n");
    assert_call(bed, json_array(), 2, "unknown verb\n");
}

static void test_a_name_of_another_namespace(void **state)
{
    struct bed *bed = *state;
    cleanup_free char *expected = NULL;

    assert_call(bed, apply_request(deployment), 0, "Deployment/web created\n");
    assert_call(bed, wait_request("pods=2", 5000), 0, "");
    for (size_t i = 0; i < 2; i++)
        assert_call(bed,
                    json_pack("{s:s, s:s, s:i}", "verb", i ? "scale" : "delete", "name",
                              i ? "deployment/web" : "web", "replicas", 3),
                    1,
                    i ? "Error from server (NotFound): \"deployment/web\" not found in namespace "
                        "default; there is one in space: add -n space\n"
                      : "Error from server (NotFound): \"web\" not found in namespace default; "
                        "there is one in space: add -n space\n");
    assert_true(
        asprintf(&expected,
                 "Error from server (NotFound): pods \"%s\" not found; there is one in space: "
                 "add -n space\n",
                 bed->kubelet->pods.items[0]->name) > 0);
    assert_call(bed,
                json_pack("{s:s, s:s}", "verb", "logs", "name", bed->kubelet->pods.items[0]->name),
                1, expected);
}

static void test_a_dry_run_creates_nothing(void **state)
{
    struct bed *bed = *state;
    json_t *bad = apply_request("kind: Pod\nmetadata: {name: p}\n"),
           *good = apply_request(deployment);

    json_object_set_new(bad, "dry_run", json_true());
    json_object_set_new(good, "dry_run", json_true());
    assert_call(bed, bad, 1, "error: x.yaml:1:1: spec: Required value\n");
    assert_call(bed, good, 0, "");
    assert_call(bed, wait_request("pods.all=0", 5000), 0, "");
    assert_int_equal(bed->kubelet->workloads.n_items, 0);
}

/* The table has a line for each reason, not for each pod. */
static void test_reasons_stand_below_the_table(void **state)
{
    static const char wanting[] = "kind: Deployment\nmetadata: {name: web}\n"
                                  "spec: {replicas: 3, template: {spec: {containers: [\n"
                                  "  {name: c, image: i, resources: {limits: {a.b/c: 1}}}]}}}\n";
    struct bed *bed = *state;
    const char *found;
    char *text;

    assert_call(bed, apply_request(deployment), 0, "Deployment/web created\n");
    assert_call(bed, wait_request("pods=2", 5000), 0, "");
    assert_call(bed, apply_request(wanting), 0, "Deployment/web configured\n");
    assert_call(bed, wait_request("settled=1", 5000), 0, "");
    assert_call(bed, wait_request("pods.Pending=3", 5000), 0, "");
    assert_int_equal(call(bed, json_pack("{s:s, s:s}", "verb", "get", "what", "pods"), &text), 0);
    found = strstr(text, "Insufficient a.b/c");
    assert_non_null(found);
    assert_null(strstr(found + 1, "Insufficient a.b/c"));
    assert_non_null(strstr(text, "\n3 pods: "));
    free(text);
}

static void test_only_one_lives_in_a_folder(void **state)
{
    struct bed *bed = *state;
    struct error err = ERROR_INIT;
    struct kubelet *second;

    assert_int_equal(kubelet_new(&bed->loop, &bed->options, &second, &err), -EADDRINUSE);
    assert_non_null(strstr(error_text(&err), "another gpuslice-kubelet is listening on"));
    /* The first one keeps running. */
    assert_call(bed, apply_request(deployment), 0, "Deployment/web created\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life_of_a_deployment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_deleted_pod_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_name_of_another_namespace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_dry_run_creates_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reasons_stand_below_the_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_one_lives_in_a_folder, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
