// SPDX-License-Identifier: Apache-2.0
#include "kube/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void test_escapes(void **state)
{
    static const struct {
        const char *text, *escaped;
    } cases[] = {
        {"", ""},
        {"node-1.example_~", "node-1.example_~"},
        {"metadata.name=a b", "metadata.name%3Da%20b"},
        {"100%/\xc3\xa4&?#+\n", "100%25%2F%C3%A4%26%3F%23%2B%0A"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_text struct text url = TEXT_INIT;

        kube_add_escaped(&url, cases[i].text);
        assert_string_equal(text_string(&url), cases[i].escaped);
    }
}

/* Whatever a name is, it stays one step. */
static void test_paths(void **state)
{
    static const struct {
        struct kube_place place;
        const char *path;
    } cases[] = {
        {{"/api/v1", NULL, "nodes", NULL}, "/api/v1/nodes"},
        {{"/api/v1", NULL, "nodes", "gpu-1"}, "/api/v1/nodes/gpu-1"},
        {{"/api/v1", "gpus", "pods", NULL}, "/api/v1/namespaces/gpus/pods"},
        {{"/apis/apps/v1", "a/b", "daemonsets", "../x?y#z"},
         "/apis/apps/v1/namespaces/a%2Fb/daemonsets/..%2Fx%3Fy%23z"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_free char *path = kube_path(&cases[i].place);

        assert_string_equal(path, cases[i].path);
    }
}

static void note(const char *field, const char *manager, void *userdata)
{
    text_addf(userdata, "%s by %s;", field, manager);
}

static void test_conflicts(void **state)
{
    static const struct {
        const char *body, *conflicts;
    } cases[] = {
        /* as kube-apiserver 1.34 writes it */
        {"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
         "\"message\":\"Apply failed with 1 conflict: conflict with \\\"kubectl-label\\\" using "
         "v1: .metadata.labels.nvidia.com/gpu.count\",\"reason\":\"Conflict\",\"details\":{"
         "\"causes\":[{\"reason\":\"FieldManagerConflict\",\"message\":\"conflict with "
         "\\\"kubectl-label\\\" using v1\",\"field\":\".metadata.labels.nvidia.com/gpu.count\"}]},"
         "\"code\":409}",
         ".metadata.labels.nvidia.com/gpu.count by kubectl-label;"},
        {"{\"details\":{\"causes\":[{\"reason\":\"FieldManagerConflict\",\"field\":\".a\","
         "\"message\":"
         "\"conflict with \\\"x\\\" with subresource \\\"status\\\" using v1\"},{\"reason\":"
         "\"FieldManagerConflict\",\"field\":\".b\",\"message\":\"conflict\"}]}}",
         ".a by x;.b by somebody;"},
        {"{\"details\":{\"causes\":[{\"reason\":\"Other\",\"field\":\".a\",\"message\":"
         "\"\\\"x\\\"\"},"
         "{\"reason\":\"FieldManagerConflict\"},7]}}",
         ""},
        {"{\"reason\":\"Conflict\",\"message\":\"the object has been modified\"}", ""},
        {"{\"details\":{\"causes\":{}}}", ""},
        {"<html>", ""},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_text struct text found = TEXT_INIT;
        struct kube_response response = {
            .http_status = 409, .body = cases[i].body, .size = strlen(cases[i].body)};

        kube_each_conflict(&response, note, &found);
        assert_string_equal(text_string(&found), cases[i].conflicts);
    }
}

static void test_whose_answer_it_is(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        bool is_pod, is_gone;
    } rows[] = {
        {200, "{\"kind\":\"Pod\"}", true, false},
        {201, "{\"kind\":\"Pod\"}", true, false},
        {404, "{\"kind\":\"Status\",\"details\":{\"name\":\"p\"}}", false, true},
        {404, "{\"kind\":\"Status\",\"details\":{\"name\":\"q\"}}", false, false},
        {404, "{\"kind\":\"Pod\"}", false, false},
        {404, "<html>", false, false},
        {404, "", false, false},
        {200, "<html>", false, false},
        {200, "{\"kind\":7,\"details\":{\"name\":\"p\"}}", false, false},
        {0, "", false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kube_response response = {
            .http_status = rows[i].status, .body = rows[i].body, .size = strlen(rows[i].body)};

        assert_int_equal(kube_is_kind(&response, "Pod"), rows[i].is_pod);
        assert_int_equal(kube_is_gone(&response, "p"), rows[i].is_gone);
    }
}

/* An incomplete object would be the server's 400, far from who wrote it. */
static void test_apply_needs_to_know_what(void **state)
{
    static const char *const objects[] = {
        "{}",
        "[]",
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{}}",
        "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"}}",
        "{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        json_t *object = json_loads(objects[i], 0, NULL);
        struct error err = ERROR_INIT;

        assert_true(kube_apply(NULL, "/api/v1/nodes/n", KUBE_YIELD, object, &(struct kube_waiter){},
                               &err) < 0);
        assert_non_null(strstr(error_text(&err), "/api/v1/nodes/n"));
        json_decref(object);
    }
}

static void test_times(void **state)
{
    const struct timespec when = {.tv_sec = 1769903999, .tv_nsec = 1234567};
    char text[KUBE_TIME_SIZE];

    (void)state;
    kube_time_format(when.tv_sec, text);
    assert_string_equal(text, "2026-01-31T23:59:59Z");
    kube_microtime_format(&when, text);
    assert_string_equal(text, "2026-01-31T23:59:59.001234Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_whose_answer_it_is),
        cmocka_unit_test(test_apply_needs_to_know_what),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
