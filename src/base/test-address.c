// SPDX-License-Identifier: Apache-2.0
#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static const struct {
    const char *address, *host;
    unsigned port; /* 0 = rejected */
} rows[] = {
    {"127.0.0.1:19400", "127.0.0.1", 19400},
    {":8080", "", 8080},
    {"[::1]:19400", "::1", 19400},
    {"[::]:1", "::", 1},
    {"localhost:65535", "localhost", 65535},
    {"19400", NULL, 0},
    {"127.0.0.1", NULL, 0},
    {"127.0.0.1:", NULL, 0},
    {"127.0.0.1:0", NULL, 0},
    {"127.0.0.1:65536", NULL, 0},
    {"127.0.0.1:94x", NULL, 0},
    {"127.0.0.1:-1", NULL, 0},
    {"::1:19400", NULL, 0},
    {"[::1:19400", NULL, 0},
    {"foo:bar:80", NULL, 0},
    {"]:80", "]", 80}, /* a name that no resolver knows */
    {"[:80", NULL, 0},
    {"[]:80", NULL, 0},
    {"", NULL, 0},
};

static void addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        struct address address = {.port = 0};
        int r = address_parse(rows[i].address, &address, &err);

        if (address.port != rows[i].port)
            fail_msg("%s: got port %u", rows[i].address, address.port);
        if (r == 0)
            assert_string_equal(address.host, rows[i].host);
        else
            assert_non_null(strstr(err.message, rows[i].address));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses)};

    return cmocka_run_group_tests_name("base/address", tests, NULL, NULL);
}
