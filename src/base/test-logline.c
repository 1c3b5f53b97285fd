// SPDX-License-Identifier: Apache-2.0
#include "base/logline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"

static const struct {
    const char *key, *value, *logfmt, *json;
} rows[] = {
    {"gpu", "GPU-1::0", "gpu=GPU-1::0\n", "{\"gpu\":\"GPU-1::0\"}\n"},
    {"k", "", "k=\"\"\n", "{\"k\":\"\"}\n"},
    {"k", "a b", "k=\"a b\"\n", "{\"k\":\"a b\"}\n"},
    {"k", "a\"=\\", "k=\"a\\\"=\\\\\"\n", "{\"k\":\"a\\\"=\\\\\"}\n"},
    {"k", "\n\x1b", "k=\"\\n\\u001b\"\n", "{\"k\":\"\\n\\u001b\"}\n"},
    {"k", "\xc3\xa4", "k=\xc3\xa4\n", "{\"k\":\"\xc3\xa4\"}\n"},
    {"k", "c\xff.yaml", "k=\"c?.yaml\"\n", "{\"k\":\"c?.yaml\"}\n"},
    {"k", "\xc3", "k=\"?\"\n", "{\"k\":\"?\"}\n"},
    {"k",
     "\xc2\x9b"
     "1m",
     "k=\"??1m\"\n", "{\"k\":\"??1m\"}\n"}, /* CSI, as a terminal reads it */
    {"a b\"\xff", "v", "a_b__=v\n", "{\"a b\\\"?\":\"v\"}\n"},
};

static void one_line_in_either_format(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (int format = LOG_LOGFMT; format <= LOG_JSON; format++) {
            cleanup_text struct text line = TEXT_INIT;

            logline_add(&line, (enum log_format)format, rows[i].key, rows[i].value);
            logline_end(&line, (enum log_format)format);
            assert_string_equal(text_string(&line),
                                format == LOG_JSON ? rows[i].json : rows[i].logfmt);
        }
}

static void pairs_follow_one_another(void **state)
{
    cleanup_text struct text logfmt = TEXT_INIT, json = TEXT_INIT;

    for (int i = 0; i < 2; i++) {
        logline_add(&logfmt, LOG_LOGFMT, i ? "b" : "a", "1");
        logline_add(&json, LOG_JSON, i ? "b" : "a", "1");
    }
    logline_end(&logfmt, LOG_LOGFMT);
    logline_end(&json, LOG_JSON);
    assert_string_equal(text_string(&logfmt), "a=1 b=1\n");
    assert_string_equal(text_string(&json), "{\"a\":\"1\",\"b\":\"1\"}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_in_either_format),
        cmocka_unit_test(pairs_follow_one_another),
    };

    return cmocka_run_group_tests_name("logline", tests, NULL, NULL);
}
