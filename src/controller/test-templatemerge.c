// SPDX-License-Identifier: Apache-2.0
#include "controller/templatemerge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PARTS                                                                                \
    "{'labels':{'p':'x','k':'new'},'annotations':{'a/b':'c'},'taints':[{'key':'t','effect':" \
    "'NoSchedule'}],'startupTaints':[{'key':'s','effect':'NoSchedule'}]}"

/* With ' for ". */
static json_t *parse(const char *text)
{
    char copy[1024];
    json_t *object;

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    object = json_loads(copy, 0, NULL);
    if (!object)
        fail_msg("%s", text);
    return object;
}

/* Merged as expected, taken back as it was, and written by so many operations. */
static void check(const char *before, const char *after, size_t n_operations)
{
    json_t *template = parse(before), *wanted = parse(after), *parts = parse(PARTS);
    json_t *merged, *record, *back, *none, *operations;

    assert_int_equal(templatemerge(template, NULL, parts, "p", &merged, &record), 0);
    if (!json_equal(merged, wanted))
        fail_msg("%s", json_dumps(merged, 0));
    assert_string_equal(templatemerge_profile(record), "p");
    operations = templatemerge_operations(template, merged);
    assert_int_equal(json_array_size(operations), 2 * n_operations); /* each with its test */
    json_decref(operations);
    assert_int_equal(templatemerge(merged, record, NULL, "p", &back, &none), 0);
    assert_null(none);
    operations = templatemerge_operations(template, back);
    assert_int_equal(json_array_size(operations), 0);
    json_decref(operations);
    json_decref(back);
    json_decref(record);
    json_decref(merged);
    json_decref(parts);
    json_decref(wanted);
    json_decref(template);
}

static void it_is_merged_and_taken_back(void **state)
{
    check("{'spec':{}}",
          "{'metadata':{'labels':{'p':'x','k':'new'},'annotations':{'a/b':'c'}},'spec':{'taints':["
          "{'key':'t','effect':'NoSchedule'}],'startupTaints':[{'key':'s','effect':'NoSchedule'}]}"
          "}",
          3);
    check("{'metadata':{'labels':{'k':'old','o':''}},'spec':{'taints':[{'key':'x','effect':"
          "'NoExecute'}],'n':1}}",
          "{'metadata':{'labels':{'k':'new','o':'','p':'x'},'annotations':{'a/b':'c'}},'spec':{"
          "'taints':[{'key':'x','effect':'NoExecute'},{'key':'t','effect':'NoSchedule'}],"
          "'startupTaints':[{'key':'s','effect':'NoSchedule'}],'n':1}}",
          4);
}

/* What somebody else has written already is not ours to take away. */
static void what_is_there_already_stays(void **state)
{
    check("{'metadata':{'labels':{'p':'x','k':'new'}},'spec':{'taints':[{'key':'t','effect':"
          "'NoSchedule','value':'v'}]}}",
          "{'metadata':{'labels':{'p':'x','k':'new'},'annotations':{'a/b':'c'}},'spec':{'taints':["
          "{'key':'t','effect':'NoSchedule','value':'v'}],'startupTaints':[{'key':'s','effect':"
          "'NoSchedule'}]}}",
          2);
}

static void a_broken_record_is_none(void **state)
{
    static const char *const cases[] = {"", "x", "[]", "{}", "{\\\"profile\\\":1}"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        json_t *pool;

        snprintf(text, sizeof(text), "{\"metadata\":{\"annotations\":{\"%s\":\"%s\"}}}",
                 TEMPLATEMERGE_RECORD, cases[i]);
        pool = parse(text);
        assert_null(templatemerge_record(pool));
        json_decref(pool);
    }
}

/* Somebody wrote into it: of what has another form nothing is used. */
static void a_strange_record_does_no_harm(void **state)
{
    json_t *template = parse("{'metadata':{'labels':{'a':'b'}},'spec':{'taints':[{'key':'x'}]}}");
    json_t *record = parse("{'profile':'p','labels':[1],'annotations':'x','taints':{'a':1}}");
    json_t *merged, *none;

    assert_int_equal(templatemerge(template, record, NULL, "p", &merged, &none), 0);
    assert_true(json_equal(merged, template));
    json_decref(merged);
    json_decref(record);
    json_decref(template);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_merged_and_taken_back),
        cmocka_unit_test(what_is_there_already_stays),
        cmocka_unit_test(a_broken_record_is_none),
        cmocka_unit_test(a_strange_record_does_no_harm),
    };

    return cmocka_run_group_tests_name("controller templatemerge", tests, NULL, NULL);
}
