// SPDX-License-Identifier: Apache-2.0
#include "nvml/word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void test_pci(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        struct pci_address address;
    } table[] = {
        {"0000:00:1b.0", true, {0, 0, 0x1b}},
        {"00000000:A0:1C.0", true, {0, 0xa0, 0x1c}},
        {"00:1e.0", true, {0, 0, 0x1e}},
        {"10000:01:00", true, {0x10000, 1, 0}},
        {"0000:00:1b.9", false, {0, 0, 0}},
        {"0000:00:20.0", false, {0, 0, 0}},
        {"", false, {0, 0, 0}},
        {"zz", false, {0, 0, 0}},
        {"0000:00:1b.0 ", false, {0, 0, 0}},
        {"0000:100:00.0", false, {0, 0, 0}},
        {"00000000000000:1b.0", false, {0, 0, 0}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct pci_address address = {0, 0, 0};

        assert_int_equal(word_pci(table[i].text, &address), table[i].ok);
        assert_memory_equal(&address, &table[i].address, sizeof(address));
    }
}

static void test_times(void **state)
{
    uint64_t value = 7;

    assert_true(word_duration("1m30s", &value));
    assert_int_equal(value, 90000000000ull);
    assert_true(word_duration("500ms", &value));
    assert_int_equal(value, 500000000);
    assert_false(word_duration("3", &value));
    assert_false(word_duration("", &value));
    assert_false(word_duration("99999999999h", &value));
}

static void test_cpus(void **state)
{
    uint64_t bits[2] = {0, 0};

    assert_true(word_cpus("0-3,8,64-65", bits, 128));
    assert_int_equal(bits[0], 0x10f);
    assert_int_equal(bits[1], 3);
    assert_false(word_cpus("3-1", bits, 128));
    assert_false(word_cpus("128", bits, 128));
    assert_false(word_cpus("1,", bits, 128));
    assert_false(word_cpus("a", bits, 128));
}

static void test_errors(void **state)
{
    static const char *const same[] = {"GPU_IS_LOST", "NVML_ERROR_GPU_IS_LOST", "15"};
    uint32_t code;

    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        code = 0;
        assert_true(word_error("", same[i], &code));
        assert_int_equal(code, 15);
    }
    assert_false(word_error("", "SUCCESS", &code));
    assert_false(word_error("", "0", &code));
    assert_string_equal(word_error_name("nvmlInit_v2", 15), "GPU_IS_LOST");
    assert_true(word_error("cuMemAlloc_v2", "CUDA_ERROR_OUT_OF_MEMORY", &code) && code == 2);
    assert_true(word_error("cuMemAlloc_v2", "OUT_OF_MEMORY", &code) && code == 2);
    assert_true(word_error("cuMemAlloc_v2", "718", &code) && code == 718);
    assert_false(word_error("cuMemAlloc_v2", "GPU_IS_LOST", &code));
    assert_string_equal(word_error_name("cuMemAlloc_v2", 2), "CUDA_ERROR_OUT_OF_MEMORY");
    assert_string_equal(word_error_sentence(15), "GPU is lost");
    assert_string_equal(word_error_sentence(12345), "Unknown Error");
}

static void test_calls(void **state)
{
    assert_true(word_is_call("nvmlDeviceGetMemoryInfo_v2"));
    assert_true(word_is_call("nvmlGpmSampleGet")); /* of those that are not supported */
    assert_false(word_is_call("nvmlDeviceGetMemoryInfo_v9"));
    assert_string_equal(word_suggest_call("nvmlDeviceGetMemroyInfo"), "nvmlDeviceGetMemoryInfo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pci),    cmocka_unit_test(test_times), cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_calls),
    };

    return cmocka_run_group_tests_name("sim/word", tests, NULL, NULL);
}
