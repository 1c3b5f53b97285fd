// SPDX-License-Identifier: Apache-2.0
#include "node/stepreason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void a_reason_names_no_gpu(void **state)
{
    static const struct gpu gpu = {.uuid = "GPU-aa", .pci_address = "0000:10:1c.0"};
    static const struct {
        const char *reason, *expected;
    } rows[] = {
        {"it does not work", "it does not work"},
        {"it does not work. ", "it does not work"},
        {"Resetting GPU 00000000:10:1C.0 is not supported.", "Resetting the GPU is not supported"},
        {"GPU-aa and 0000:10:1c.0 and GPU-bb", "the GPU and the GPU and GPU-bb"},
        {"0000:10:1c.0", "the GPU"},
        {" .", ""},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[64];

        stepreason_write(&gpu, rows[i].reason, text, sizeof(text));
        assert_string_equal(text, rows[i].expected);
    }
}

static void a_gpu_without_names_and_a_reason_without_end(void **state)
{
    static const struct gpu gpu = {.uuid = ""};
    char text[16];

    (void)state;
    stepreason_write(&gpu, "GPU-aa is strange", text, sizeof(text));
    assert_int_equal(strlen(text), sizeof(text) - 1);
    assert_string_equal(text + sizeof(text) - 4, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reason_names_no_gpu),
        cmocka_unit_test(a_gpu_without_names_and_a_reason_without_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
