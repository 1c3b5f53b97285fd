// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "limits/uuid.h"

#define ONE   "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define OTHER "MIG-00112233-4455-6677-8899-AABBCCDDEEFE"

static void test_uuids(void **state)
{
    static const char *const wrong[] = {"",      "GPU",
                                        "GPU-",  "GPU-00112233-4455-6677-8899-aabbccddeef",
                                        ONE "0", "GPU-0011223x-4455-6677-8899-aabbccddeeff"};
    uint8_t uuid[LIMITS_UUID_SIZE];

    assert_true(limits_parse_uuid(ONE, uuid));
    assert_int_equal(uuid[0], 0);
    assert_int_equal(uuid[1], 0x11);
    assert_int_equal(uuid[15], 0xff);
    assert_true(limits_parse_uuid(OTHER, uuid));
    assert_int_equal(uuid[15], 0xfe);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(limits_parse_uuid(wrong[i], uuid));
}

/* Several grants of a container add up, and the strictest mode holds. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uuids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
