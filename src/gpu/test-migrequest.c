// SPDX-License-Identifier: Apache-2.0
#include "gpu/migrequest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_same(const struct migrequest *request)
{
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    struct migrequest back;

    assert_int_equal(migrequest_write(request, &text, &err), 0);
    assert_int_equal(migrequest_parse(text.data, text.length, &back, &err), 0);
    assert_int_equal(back.mode_only, request->mode_only);
    assert_string_equal(back.label, request->label);
    assert_string_equal(back.key, request->key);
    assert_int_equal(back.size, request->size);
    assert_memory_equal(back.file, request->file ? request->file : "", request->size);
}

static void test_it_reads_back_as_written(void **state)
{
    static const char file[] = "version: v1\n\0...";

    assert_same(&(struct migrequest){.label = "all-1g.5gb", .key = ""});
    assert_same(&(struct migrequest){.mode_only = true,
                                     .label = "x",
                                     .key = "config.yaml",
                                     .file = file,
                                     .size = sizeof(file) - 1});
    (void)state;
}

static void test_what_cannot_be_sent(void **state)
{
    static char large[MIGREQUEST_MAX];
    char name[MIGREQUEST_NAME_SIZE + 1];
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    struct migrequest request = {.label = name, .key = "", .file = large, .size = sizeof(large)};

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(migrequest_write(&request, &text, &err), -ENAMETOOLONG);
    request.label = "x";
    assert_int_equal(migrequest_write(&request, &text, &err), -EMSGSIZE);
    (void)state;
}

static void test_what_is_no_request(void **state)
{
    static const struct {
        const char *data;
        size_t size;
    } rows[] = {
        {"", 0},
        {"layout", 6},
        {"layout\0x\0", 9},     /* no key */
        {"other\0x\0\0", 9},    /* neither word */
        {"layout\0\0\0", 9},    /* no label */
        {"layout\0x\0key", 12}, /* the key does not end */
    };
    char name[MIGREQUEST_NAME_SIZE + 16] = "mode";
    struct migrequest request;
    struct error err = ERROR_INIT;

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_int_equal(migrequest_parse(rows[i].data, rows[i].size, &request, &err), -EPROTO);
    memset(name + 5, 'n', MIGREQUEST_NAME_SIZE);
    assert_int_equal(migrequest_parse(name, sizeof(name), &request, &err), -EPROTO);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_reads_back_as_written),
        cmocka_unit_test(test_what_cannot_be_sent),
        cmocka_unit_test(test_what_is_no_request),
    };

    return cmocka_run_group_tests_name("gpu/migrequest", tests, NULL, NULL);
}
