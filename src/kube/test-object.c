// SPDX-License-Identifier: Apache-2.0
#include "kube/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static void test_escapes(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *escaped;
    } cases[] = {
        {"", 1, ""},
        {"node-1.example_~", 64, "node-1.example_~"},
        {"metadata.name=a b", 64, "metadata.name%3Da%20b"},
        {"100%/\xc3\xa4&?#+\n", 64, "100%25%2F%C3%A4%26%3F%23%2B%0A"},
        {"abc", 4, "abc"},
        {"abc", 3, ""},
        {"ab=", 6, "ab%3D"},
        {"ab=", 5, ""},
        {"a", 1, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_free char *buffer = malloc(cases[i].size);

        kube_escape(cases[i].text, buffer, cases[i].size);
        assert_string_equal(buffer, cases[i].escaped);
    }
    kube_escape("a", NULL, 0);
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

        assert_true(kube_apply(NULL, "/api/v1/nodes/n", "m", KUBE_YIELD, object, NULL, NULL, NULL,
                               &err) < 0);
        assert_non_null(strstr(error_text(&err), "/api/v1/nodes/n"));
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_apply_needs_to_know_what),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
