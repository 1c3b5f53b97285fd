// SPDX-License-Identifier: Apache-2.0
#include "plugin/grantmatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define UUID "MIG-11111111-2222-5333-8444-555555555555"
#define GB   (UINT64_C(1) << 30)

/* A UUID belongs to a place: the next device in it, of any profile, has the same. */
static void what_was_granted_of_another_profile_is_known(void **state)
{
    static const struct {
        const char *resource, *id;
        uint64_t granted_bytes;
        const char *profile;
        uint64_t now_bytes;
        bool is_other;
    } rows[] = {
        {"nvidia.com/mig-2g.10gb", UUID, 10 * GB, "2g.10gb", 10 * GB, false},
        {"nvidia.com/mig-2g.10gb", UUID, 10 * GB, "1g.10gb", 10 * GB, true},
        {"nvidia.com/mig-1g.5gb.me", UUID, 5 * GB, "1g.5gb+me", 5 * GB, false},
        {"nvidia.com/mig-1g.5gb.me", UUID, 5 * GB, "1g.5gb", 5 * GB, true},
        {"nvidia.com/mig-1c.3g.20gb", UUID, 20 * GB, "3g.20gb", 20 * GB, true},
        {"nvidia.com/mig-3g.20gb.shared", UUID "::1", 5 * GB, "3g.20gb", 20 * GB, false},
        {"nvidia.com/mig-3g.20gb.shared", UUID "::1", 5 * GB, "4g.20gb", 20 * GB, true},
        /* Offered as GPUs, or under names of one's own: the size alone tells. */
        {"nvidia.com/gpu", UUID, 20 * GB, "3g.20gb", 20 * GB - 64, false},
        {"nvidia.com/gpu", UUID, 20 * GB, "1g.5gb", 5 * GB, true},
        {"nvidia.com/gpu",
         "mig"
         "-11111111-2222-5333-8444-555555555555",
         5 * GB, "3g.20gb", 20 * GB, true},
        {"nvidia.com/gpu", UUID "::0", 5 * GB, "3g.20gb", 20 * GB, false},
        {"nvidia.com/mig-small", UUID, 5 * GB, "1g.5gb", 5 * GB, false},
        {"nvidia.com/gpu", UUID, 0, "1g.5gb", 5 * GB, false}, /* adopted: nothing is known */
        {"nvidia.com/mig-2g.10gb", UUID, 0, "1g.10gb", 0, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct grant grant = {.resource = strdup(rows[i].resource)};
        struct device device = {.kind = DEVICE_MIG, .uuid = UUID};

        device.mem_total_bytes = rows[i].now_bytes;
        snprintf(device.profile, sizeof(device.profile), "%s", rows[i].profile);
        assert_int_equal(grant_add_id(&grant, rows[i].id), 0);
        assert_int_equal(grant_add_device(&grant, UUID, 1000, rows[i].granted_bytes), 0);
        if (grantmatch_is_other(&grant, &device) != rows[i].is_other)
            fail_msg("row %zu: %s, now %s", i, rows[i].resource, rows[i].profile);
        grant_deinit(&grant);
    }
}

/* Whatever the name and the size. */
static void a_grant_that_has_the_profile_tells(void **state)
{
    static const struct {
        const char *resource, *id, *granted, *now;
        bool is_other;
    } rows[] = {
        {"nvidia.com/gpu", UUID, "1g.10gb", "1g.10gb", false},
        {"nvidia.com/gpu", UUID, "1g.10gb", "2g.10gb", true},
        {"nvidia.com/gpu", UUID "::0", "1g.5gb+me", "1g.5gb", true},
        {"nvidia.com/gpu.shared", UUID "::3", "3g.20gb", "1c.3g.20gb", true},
        {"nvidia.com/mig-1g.5gb", UUID, "2g.10gb", "2g.10gb", false}, /* by a rule */
        {"nvidia.com/gpu", UUID, "?", "?", false},
        {"nvidia.com/gpu", UUID, "?", "1g.5gb", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct grant grant = {.resource = strdup(rows[i].resource)};
        struct device device = {.kind = DEVICE_MIG, .uuid = UUID, .mem_total_bytes = 10 * GB};

        snprintf(device.profile, sizeof(device.profile), "%s", rows[i].now);
        assert_int_equal(grant_add_id(&grant, rows[i].id), 0);
        assert_int_equal(grant_add_device(&grant, UUID, 1000, 5 * GB), 0);
        assert_int_equal(grant_set_profile(&grant, UUID, rows[i].granted), 0);
        if (grantmatch_is_other(&grant, &device) != rows[i].is_other)
            fail_msg("row %zu: %s, now %s", i, rows[i].granted, rows[i].now);
        grant_deinit(&grant);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_granted_of_another_profile_is_known),
        cmocka_unit_test(a_grant_that_has_the_profile_tells),
    };

    return cmocka_run_group_tests_name("plugin/grantmatch", tests, NULL, NULL);
}
