// SPDX-License-Identifier: Apache-2.0
#include "node/migorder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char file[] =
    "version: v1\nmig-configs:\n  half: [{devices: [0], mig-enabled: false}]\n";

/* Reads a request as it comes from the command line; returns the error's text if it is refused. */
static struct migorder *parse(const struct migrequest *request, struct error *err)
{
    cleanup_text struct text text = TEXT_INIT;
    struct migorder *order = NULL;

    assert_int_equal(migrequest_write(request, &text, err), 0);
    return migorder_parse(text.data, text.length, &order, err) == 0 ? order : NULL;
}

static void test_a_file_and_a_builtin_layout(void **state)
{
    struct migrequest request = {.label = "half", .key = "", .file = file, .size = strlen(file)};
    struct error err = ERROR_INIT;
    struct migorder *order = parse(&request, &err);

    assert_non_null(order);
    assert_string_equal(order->label->name, "half");
    migorder_free(order);
    request = (struct migrequest){.label = "all-1g.5gb", .key = "", .mode_only = true};
    order = parse(&request, &err);
    assert_non_null(order);
    assert_null(order->label);
    assert_true(order->mode_only);
    migorder_free(order);
    (void)state;
}

static void test_what_is_refused(void **state)
{
    struct migrequest request = {.label = "other", .key = "", .file = file, .size = strlen(file)};
    struct error err = ERROR_INIT;

    assert_null(parse(&request, &err));
    assert_non_null(strstr(error_text(&err), "half"));
    request.file = "version: v2";
    request.size = strlen(request.file);
    assert_null(parse(&request, &err));
    assert_non_null(strstr(error_text(&err), "version v1"));
    request = (struct migrequest){.label = "half", .key = ""};
    assert_null(parse(&request, &err));
    assert_string_equal(error_text(&err), "half is no built-in layout");
    (void)state;
}

static void test_it_lies_on_disk_until_it_is_forgotten(void **state)
{
    static const char good[] = "layout\0all-enabled\0", bad[] = "layout\0half\0";
    char folder[] = "/tmp/gpuslice-migorder-XXXXXX";
    struct error err = ERROR_INIT;
    struct migorder *order;

    assert_non_null(mkdtemp(folder));
    assert_null(migorder_recall(folder));
    assert_int_equal(migorder_store(folder, good, sizeof(good), &err), 0);
    order = migorder_recall(folder);
    assert_non_null(order);
    assert_string_equal(order->name, "all-enabled");
    migorder_free(order);
    migorder_forget(folder);
    assert_null(migorder_recall(folder));
    assert_int_equal(migorder_store(folder, bad, sizeof(bad), &err), 0);
    assert_null(migorder_recall(folder)); /* and it is gone: */
    assert_int_equal(rmdir(folder), 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_and_a_builtin_layout),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_it_lies_on_disk_until_it_is_forgotten),
    };

    return cmocka_run_group_tests_name("node/migorder", tests, NULL, NULL);
}
