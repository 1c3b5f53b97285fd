// SPDX-License-Identifier: Apache-2.0
#include "kube/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void test_answers(void **state)
{
    static const struct {
        unsigned http_status;
        const char *body, *reason;
    } cases[] = {
        {403,
         "{\"kind\":\"Status\",\"message\":\"nodes is forbidden: User \\\"x\\\" cannot list\"}",
         "GET /api/v1/nodes: RBAC forbids it (403): a Role or ClusterRole bound to our service "
         "account must allow "
         "it: "
         "nodes is forbidden: User \"x\" cannot list"},
        {401, "{\"kind\":\"Status\",\"message\":\"Unauthorized\"}",
         "GET /api/v1/nodes: the API server rejects our token or certificate (401, RBAC was not "
         "checked): Unauthorized"},
        {502, "<html>\r\n<body>\n  Bad   Gateway.\n</body>",
         "GET /api/v1/nodes: the response is HTTP 502: <html> <body> Bad Gateway. </body>"},
        {503, "", "GET /api/v1/nodes: the response is HTTP 503"},
        {302, "{\"message\":7}", "GET /api/v1/nodes: the response is HTTP 302: {\"message\":7}"},
    };
    char reason[REASON_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        reason_of_answer("GET", "/api/v1/nodes?limit=500&continue=secret", cases[i].http_status,
                         cases[i].body, strlen(cases[i].body), reason);
        assert_string_equal(reason, cases[i].reason);
    }
}

static void test_long_texts_are_cut(void **state)
{
    char reason[REASON_SIZE], path[1000], body[5000];

    (void)state;
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    memset(body, 'b', sizeof(body));
    reason_of_answer("GET", "/p", 500, body, sizeof(body), reason);
    assert_in_range(strlen(reason), 80, 160);
    reason_of_failure("GET", path, "why", reason);
    assert_int_equal(strlen(reason), REASON_SIZE - 1);
}

static void test_failures(void **state)
{
    char reason[REASON_SIZE];

    (void)state;
    reason_of_failure("PATCH", "/a?b=c", "Connection refused", reason);
    assert_string_equal(reason, "PATCH /a: Connection refused");
}

static void test_the_same_failure_reads_the_same(void **state)
{
    static const struct {
        const char *why, *said;
    } cases[] = {
        {"Failed to connect to 10.96.0.1 port 443 after 17 ms: Couldn't connect to server",
         "GET /a: Failed to connect to 10.96.0.1 port 443: Couldn't connect to server"},
        {"Connection timed out after 10001 milliseconds", "GET /a: Connection timed out"},
        {"look after 3 sheep", "GET /a: look after 3 sheep"},
        {"see you after 12", "GET /a: see you after 12"},
        {"the day after ", "GET /a: the day after"},
    };
    char reason[REASON_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        reason_of_failure("GET", "/a", cases[i].why, reason);
        assert_string_equal(reason, cases[i].said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_the_same_failure_reads_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
