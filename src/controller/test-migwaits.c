// SPDX-License-Identifier: Apache-2.0
#include "controller/migwaits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

#define POD(ns, name, uid) "{\"namespace\":\"" ns "\",\"name\":\"" name "\",\"uid\":\"" uid "\"}"

static void each_pod_is_read_once(void **state)
{
    static const char text[] =
        "{\"layout\":\"all-1g.5gb\",\"gpus\":[{\"index\":0,\"uuid\":\"GPU-0\",\"pods\":[" POD(
            "default", "train",
            "u1") "," POD("ml", "x",
                          "") "]},{\"index\":1,\"pods\":[" POD("default", "train",
                                                               "u1") "," POD("default", "train",
                                                                             "u2") "],\"new\":1}],"
                                                                                   "\"new\":2}";
    cleanup_migwaits struct migwaits waits = {.layout = NULL};

    (void)state;
    assert_int_equal(migwaits_read(text, &waits, NULL), 0);
    assert_string_equal(waits.layout, "all-1g.5gb");
    assert_int_equal(waits.n_pods, 3);
    assert_string_equal(waits.pods[0].namespace_, "default");
    assert_string_equal(waits.pods[0].name, "train");
    assert_string_equal(waits.pods[0].uid, "u1");
    assert_string_equal(waits.pods[1].uid, "");
    assert_string_equal(waits.pods[2].uid, "u2");
}

static void nonsense_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "column"},
        {"[", "column"},
        {"[]", "layout"},
        {"{\"layout\":\"x\"}", "list of gpus"},
        {"{\"layout\":1,\"gpus\":[]}", "layout"},
        {"{\"layout\":\"x\",\"gpus\":[{}]}", "list of pods"},
        {"{\"layout\":\"x\",\"gpus\":[3]}", "list of pods"},
        {"{\"layout\":\"x\",\"gpus\":[{\"pods\":[{}]}]}", "namespace, name and uid"},
        {"{\"layout\":\"x\",\"gpus\":[{\"pods\":[" POD("", "a", "u") "]}]}",
         "namespace, name and uid"},
        {"{\"layout\":\"x\",\"layout\":\"y\",\"gpus\":[]}", "column"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_migwaits struct migwaits waits = {.layout = NULL};
        struct error err = ERROR_INIT;

        assert_true(migwaits_read(rows[i].text, &waits, &err) < 0);
        if (!strstr(error_text(&err), rows[i].why))
            fail_msg("%s: %s", rows[i].text, error_text(&err));
    }
}

static void what_is_endless_is_refused(void **state)
{
    cleanup_migwaits struct migwaits waits = {.layout = NULL};
    cleanup_text struct text pods = TEXT_INIT, blanks = TEXT_INIT;

    (void)state;
    text_add(&pods, "{\"layout\":\"x\",\"gpus\":[{\"pods\":[");
    for (unsigned i = 0; i <= MIGWAITS_PODS_MAX; i++)
        text_addf(&pods, "%s" POD("n", "p%u", "u"), i ? "," : "", i);
    text_add(&pods, "]}]}");
    assert_true(migwaits_read(text_string(&pods), &waits, NULL) < 0);
    for (unsigned i = 0; i <= MIGWAITS_SIZE_MAX; i++)
        text_add_char(&blanks, ' ');
    assert_true(migwaits_read(text_string(&blanks), &waits, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pod_is_read_once),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(what_is_endless_is_refused),
    };

    return cmocka_run_group_tests_name("controller/migwaits", tests, NULL, NULL);
}
