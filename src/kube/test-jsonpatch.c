// SPDX-License-Identifier: Apache-2.0
#include "kube/jsonpatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
    const char *old, *new; /* JSON; NULL = nothing */
    const char *operations;
} changes[] = {
    {NULL, "[1]",
     "[{\"op\":\"test\",\"path\":\"/p\",\"value\":null},{\"op\":\"add\",\"path\":\"/"
     "p\",\"value\":[1]}]"},
    {"\"a\"", "\"b\"",
     "[{\"op\":\"test\",\"path\":\"/p\",\"value\":\"a\"},{\"op\":\"replace\",\"path\":\"/"
     "p\",\"value\":\"b\"}]"},
    {"{}", NULL,
     "[{\"op\":\"test\",\"path\":\"/p\",\"value\":{}},{\"op\":\"remove\",\"path\":\"/p\"}]"},
    {NULL, NULL, "[{\"op\":\"test\",\"path\":\"/p\",\"value\":null}]"},
};

static json_t *load(const char *text)
{
    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

static void a_change_tests_what_it_replaces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        json_t *operations = json_array(), *old = load(changes[i].old);
        char *text;

        assert_int_equal(jsonpatch_change(operations, "/p", old, load(changes[i].new)), 0);
        text = json_dumps(operations, JSON_COMPACT);
        assert_string_equal(text, changes[i].operations);
        free(text);
        json_decref(old);
        json_decref(operations);
    }
}

static const struct {
    const char *metadata, *value;
    const char *operations;
} annotations[] = {
    {"{}", NULL, "[]"},
    {"{\"annotations\":{\"b\":\"1\"}}", NULL, "[]"},
    {"{}", "x",
     "[{\"op\":\"test\",\"path\":\"/metadata/annotations\",\"value\":null},{\"op\":\"add\","
     "\"path\":\"/metadata/annotations\",\"value\":{\"a.b/c~d\":\"x\"}}]"},
    {"{\"annotations\":{}}", "x",
     "[{\"op\":\"test\",\"path\":\"/metadata/annotations/"
     "a.b~1c~0d\",\"value\":null},{\"op\":\"add\","
     "\"path\":\"/metadata/annotations/a.b~1c~0d\",\"value\":\"x\"}]"},
    {"{\"annotations\":{\"a.b/c~d\":\"y\"}}", NULL,
     "[{\"op\":\"test\",\"path\":\"/metadata/annotations/a.b~1c~0d\",\"value\":\"y\"},{\"op\":"
     "\"remove\",\"path\":\"/metadata/annotations/a.b~1c~0d\"}]"},
};

static void an_annotation_is_changed_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(annotations) / sizeof(*annotations); i++) {
        json_t *operations = json_array();
        json_t *object = json_pack("{s:o}", "metadata", load(annotations[i].metadata));
        char *text;

        assert_int_equal(jsonpatch_annotation(operations, object, "a.b/c~d", annotations[i].value),
                         0);
        text = json_dumps(operations, JSON_COMPACT);
        assert_string_equal(text, annotations[i].operations);
        free(text);
        json_decref(object);
        json_decref(operations);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_annotation_is_changed_alone),
        cmocka_unit_test(a_change_tests_what_it_replaces),
    };

    return cmocka_run_group_tests_name("kube/jsonpatch", tests, NULL, NULL);
}
