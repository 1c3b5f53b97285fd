// SPDX-License-Identifier: Apache-2.0
#include "slice/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/name.h"

static const char *served = "";

static bool answers(const char *root, const char *resource)
{
    assert_string_equal(root, "/mps");
    return str_equal(resource, served);
}

static void test_entries_are_served_by_the_daemon_of_their_resource(void **state)
{
    struct sharing_entry entries[] = {
        {.strategy = SHARING_MPS, .name = NAME_GPU, .replicas = 2},
        {.strategy = SHARING_MPS, .name = NAME_GPU, .rename = "nvidia.com/x", .replicas = 2},
        {.strategy = SHARING_TIME_SLICING, .name = NAME_GPU, .replicas = 2},
        {.strategy = SHARING_MPS, .name = NAME_GPU, .replicas = 1},
    };
    struct slice_size size = {.name = NAME_GPU};
    struct policy policy = {
        .sharing = entries, .n_sharing = ARRAY_SIZE(entries), .slices = &size, .n_slices = 1};

    assert_false(policy_refresh_mps(&policy, "/mps", answers));
    served = NAME_GPU;
    assert_true(policy_refresh_mps(&policy, "/mps", answers));
    assert_true(entries[0].served);
    assert_false(entries[1].served || entries[2].served || entries[3].served || size.served);
    assert_false(policy_refresh_mps(&policy, "/mps", answers));
    policy.isolation = ISOLATION_COOPERATIVE;
    assert_true(policy_refresh_mps(&policy, "/mps", answers));
    assert_true(size.served);
    served = "nvidia.com/x";
    assert_true(policy_refresh_mps(&policy, "/mps", answers));
    assert_true(entries[1].served);
    assert_false(entries[0].served || size.served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_are_served_by_the_daemon_of_their_resource),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
