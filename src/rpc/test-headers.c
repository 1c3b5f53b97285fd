// SPDX-License-Identifier: Apache-2.0
#include "rpc/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

/* "name=value;name=value": a field ends at ';'. */
static int add_all(struct request_headers *headers, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, ";");
        size_t name = strcspn(text, "=");
        int r = request_headers_add(headers, (const uint8_t *)text, name,
                                    (const uint8_t *)text + name + 1, length - name - 1);

        if (r != 0)
            return r;
        text += length + (text[length] == ';');
    }
    return 0;
}

#define START ":method=POST;:scheme=http;:path=/a/B;"
#define GOOD  START "content-type=application/grpc"

enum { RESET = 1000 }; /* expected: malformed immediately or in the verdict */

static void test_requests(void **state)
{
    static const struct {
        const char *fields;
        unsigned http, status;
    } cases[] = {
        {GOOD, 0, RPC_OK},
        {START "te=trailers;content-type=application/grpc+proto", 0, RPC_OK},
        {START "content-type=application/grpc;grpc-timeout=1S;x-any=", 0, RPC_OK},
        {":authority=/var/lib/kubelet/device-plugins/a.sock;" GOOD, 0, RPC_OK},
        {":authority=%2Fvar%2Flib;" GOOD, 0, RPC_OK},
        {":method=GET;:scheme=http;:path=/;content-type=application/grpc", 405, RPC_OK},
        {START "content-type=application/grpcx", 415, RPC_OK},
        {START "content-type=application/grpc-web", 415, RPC_OK},
        {START "content-type=application/json", 415, RPC_OK},
        {START "x=y", 415, RPC_OK},
        {GOOD ";grpc-encoding=identity", 0, RPC_OK},
        {GOOD ";grpc-encoding=gzip", 0, RPC_UNIMPLEMENTED},
        {GOOD ";grpc-timeout=never", 0, RPC_INTERNAL},
        {":method=POST;:scheme=http;content-type=application/grpc", RESET, 0},
        {":method=POST;:path=/a;content-type=application/grpc", RESET, 0},
        {":scheme=http;:path=/a;content-type=application/grpc", RESET, 0},
        {":method=POST;:scheme=http;:path=a;content-type=application/grpc", RESET, 0},
        {GOOD ";:authority=late", RESET, 0},
        {GOOD ";content-type=application/grpc", RESET, 0},
        {":method=POST;" GOOD, RESET, 0},
        {":odd=x;" GOOD, RESET, 0},
        {GOOD ";X-Upper=x", RESET, 0},
        {GOOD ";=nameless", RESET, 0},
        {GOOD ";x=a\nb", RESET, 0},
        {GOOD ";connection=close", RESET, 0},
        {GOOD ";transfer-encoding=chunked", RESET, 0},
        {GOOD ";te=gzip", RESET, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct request_headers headers = REQUEST_HEADERS_INIT;
        int r = add_all(&headers, cases[i].fields);
        struct headers_verdict verdict = request_headers_judge(&headers);

        print_message("# row %zu\n", i);
        if (cases[i].http == RESET) {
            assert_true(r == HEADERS_MALFORMED || verdict.malformed);
        } else {
            assert_int_equal(r, 0);
            assert_false(verdict.malformed);
            assert_int_equal(verdict.http_status, cases[i].http);
            assert_int_equal(verdict.status, cases[i].status);
        }
        request_headers_deinit(&headers);
    }
}

static void test_size_bounds(void **state)
{
    static uint8_t value[1000];
    struct request_headers headers = REQUEST_HEADERS_INIT;
    int r;

    memset(value, 'v', sizeof(value));
    assert_int_equal(add_all(&headers, GOOD), 0);
    for (int i = 0; i < 15; i++)
        assert_int_equal(request_headers_add(&headers, (const uint8_t *)"x", 1, value, 1000), 0);
    assert_int_equal(request_headers_judge(&headers).status, RPC_OK);
    assert_int_equal(request_headers_add(&headers, (const uint8_t *)"x", 1, value, 1000), 0);
    assert_int_equal(request_headers_judge(&headers).status, RPC_RESOURCE_EXHAUSTED);
    do {
        r = request_headers_add(&headers, (const uint8_t *)"x", 1, value, 1000);
    } while (r == 0 && headers.bytes < (size_t)2 * HEADERS_FLOOD_BYTES);
    assert_int_equal(r, HEADERS_FLOOD);
    request_headers_deinit(&headers);
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t ms;
    } cases[] = {
        {"1S", true, 1000},
        {"250m", true, 250},
        {"2M", true, 120000},
        {"1H", true, 3600000},
        {"99999999H", true, 99999999ull * 3600000},
        {"1u", true, 1},
        {"1001u", true, 2},
        {"1n", true, 1},
        {"0n", true, 0},
        {"0S", true, 0},
        {"", false, 0},
        {"S", false, 0},
        {"1", false, 0},
        {"1s", false, 0},
        {"-1S", false, 0},
        {"1 S", false, 0},
        {"123456789m", false, 0},
        {"1.5S", false, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t ms = 0;

        print_message("# row %zu\n", i);
        assert_int_equal(
            headers_timeout_parse((const uint8_t *)cases[i].text, strlen(cases[i].text), &ms),
            cases[i].good);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void test_written_timeouts_are_read_and_never_shorter(void **state)
{
    static const uint64_t cases[] = {0, 1, 250, 99999999, 100000000, 1234567891, 99999998000};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[HEADERS_TIMEOUT_SIZE];
        uint64_t ms = 0;

        headers_timeout_format(cases[i], text);
        assert_true(headers_timeout_parse((const uint8_t *)text, strlen(text), &ms));
        assert_in_range(ms, cases[i], cases[i] + 1000);
    }
}

static void test_status_texts(void **state)
{
    static const struct {
        const char *text, *wire;
    } cases[] = {
        {"plain", "plain"},
        {"100 %", "100 %25"},
        {"two\nlines", "two%0Alines"},
        {"\xc3\xa9", "%C3%A9"},
        {"", ""},
    };
    char buffer[64];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        headers_text_encode(cases[i].text, buffer, sizeof(buffer));
        assert_string_equal(buffer, cases[i].wire);
        headers_text_decode((const uint8_t *)cases[i].wire, strlen(cases[i].wire), buffer,
                            sizeof(buffer));
        assert_string_equal(buffer, cases[i].text);
    }
    /* An invalid escape is kept, a NUL becomes a space, and no escape is truncated in the
     * middle. */
    headers_text_decode((const uint8_t *)"a%2", 3, buffer, sizeof(buffer));
    assert_string_equal(buffer, "a%2");
    headers_text_decode((const uint8_t *)"a%zz%00b", 8, buffer, sizeof(buffer));
    assert_string_equal(buffer, "a%zz b");
    headers_text_encode("ab\n", buffer, 5);
    assert_string_equal(buffer, "ab");
}

static int add_response(struct response_headers *headers, const char *name, const char *value)
{
    return response_headers_add(headers, (const uint8_t *)name, strlen(name),
                                (const uint8_t *)value, strlen(value));
}

static void test_responses(void **state)
{
    struct response_headers headers = RESPONSE_HEADERS_INIT;

    assert_int_equal(add_response(&headers, ":status", "200"), 0);
    assert_int_equal(add_response(&headers, "content-type", "application/grpc+proto"), 0);
    assert_int_equal(headers.grpc_status, -1);
    assert_int_equal(add_response(&headers, "grpc-status", "5"), 0);
    assert_int_equal(add_response(&headers, "grpc-message", "not%20here"), 0);
    assert_int_equal(headers.http_status, 200);
    assert_true(headers.is_grpc);
    assert_int_equal(headers.grpc_status, RPC_NOT_FOUND);
    assert_string_equal(headers.text, "not here");
    assert_int_equal(add_response(&headers, "grpc-status", "99"), 0);
    assert_int_equal(headers.grpc_status, RPC_UNKNOWN);
    assert_int_equal(add_response(&headers, ":path", "/"), HEADERS_MALFORMED);
    assert_int_equal(add_response(&headers, ":status", "20x"), HEADERS_MALFORMED);
    response_headers_deinit(&headers);
    assert_int_equal(headers_status_of_http(503), RPC_UNAVAILABLE);
    assert_int_equal(headers_status_of_http(404), RPC_UNIMPLEMENTED);
    assert_int_equal(headers_status_of_http(418), RPC_UNKNOWN);
}

static void test_status_names(void **state)
{
    assert_string_equal(rpc_status_name(RPC_OK), "OK");
    assert_string_equal(rpc_status_name(RPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(rpc_status_name((enum rpc_status)17), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_size_bounds),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_written_timeouts_are_read_and_never_shorter),
        cmocka_unit_test(test_status_texts),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_status_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
