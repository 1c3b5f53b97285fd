// SPDX-License-Identifier: Apache-2.0
#include "base/kubename.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define NAME_63 "a23456789012345678901234567890123456789012345678901234567890123"

static void knows_a_dns_label(void **state)
{
    static const struct {
        const char *text;
        bool is_one;
    } cases[] = {
        {"a", true},          {"0", true},         {"half-gpu", true}, {NAME_63, true},
        {NAME_63 "a", false}, {"", false},         {"-a", false},      {"a-", false},
        {"Half", false},      {"a.b", false},      {"a b", false},     {"a/b", false},
        {"a_b", false},       {"\xc3\xa4", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (kubename_is_dns_label(cases[i].text) != cases[i].is_one)
            fail_msg("%s", cases[i].text);
}

/* Keys that the API server accepts in a label and in a taint. */
static void knows_a_key(void **state)
{
    static const struct {
        const char *key, *reason; /* reason NULL = it is one */
    } cases[] = {
        {"team", NULL},
        {"A_b.c-d", NULL},
        {"nvidia.com/gpu.count", NULL},
        {NAME_63, NULL},
        {"x." NAME_63 "/" NAME_63, NULL},
        {NAME_63 "a.example.com/x",
         NULL}, /* the API server limits the total length of the domain only */
        {"", "use up to 63 letters"},
        {"x/", "use up to 63 letters"},
        {NAME_63 "a", "use up to 63 letters"},
        {"-x", "use up to 63 letters"},
        {"x.", "use up to 63 letters"},
        {"a b", "use up to 63 letters"},
        {"a/b/c", "use up to 63 letters"},
        {"/x", "the part before '/' must be a DNS name"},
        {"Domain/x", "the part before '/' must be a DNS name"},
        {"a..b/x", "the part before '/' must be a DNS name"},
        {".a/x", "the part before '/' must be a DNS name"},
        {"a.b./x", "the part before '/' must be a DNS name"},
        {"-a.b/x", "the part before '/' must be a DNS name"},
        {"a-.b/x", "the part before '/' must be a DNS name"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        const int r = kubename_check_key(cases[i].key, &err);

        if (r != (cases[i].reason ? -EINVAL : 0) ||
            (cases[i].reason && !strstr(error_text(&err), cases[i].reason)))
            fail_msg("%s: %s", cases[i].key, error_text(&err));
    }
}

static void a_domain_has_a_bound(void **state)
{
    char key[300];

    for (int length = 252; length <= 254; length++) {
        memset(key, 'a', sizeof(key));
        for (int i = 50; i < length - 1; i += 50)
            key[i] = '.';
        snprintf(key + length, sizeof(key) - (size_t)length, "/x");
        assert_int_equal(kubename_check_key(key, NULL), length <= 253 ? 0 : -EINVAL);
    }
}

static void knows_a_value(void **state)
{
    static const struct {
        const char *value;
        bool is_one;
    } cases[] = {
        {"", true},           {"4", true},         {"Tesla-V100-SXM2-16GB", true},
        {NAME_63, true},      {"-", false},        {"a b", false},
        {NAME_63 "a", false}, {"a/b", false},      {"a.b_c", true},
        {"a,", false},        {"\xc3\xa4", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        const int r = kubename_check_value(cases[i].value, &err);

        if (r != (cases[i].is_one ? 0 : -EINVAL) ||
            (r < 0 && !strstr(error_text(&err), "is not a valid label value")))
            fail_msg("%s: %s", cases[i].value, error_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_a_dns_label),
        cmocka_unit_test(knows_a_key),
        cmocka_unit_test(a_domain_has_a_bound),
        cmocka_unit_test(knows_a_value),
    };

    return cmocka_run_group_tests_name("base/kubename", tests, NULL, NULL);
}
