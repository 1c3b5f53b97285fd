// SPDX-License-Identifier: Apache-2.0

/* Who has a part of a device, and nobody that would enforce it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arbiter/limituses.h"

enum { WHOLE = 1000, PART = 250 };

static struct audit_device devices[] = {
    {.device = {.uuid = "GPU-a", .mem_total_bytes = WHOLE}},
    {.device = {.uuid = "GPU-b", .mem_total_bytes = WHOLE}},
};

/* One that holds a slice, and has a process. */
static const struct audit_use holder = {
    .owner = {.pod_uid = "u1", .namespace_ = "ml", .pod = "train", .container = "main"},
    .n_processes = 2,
    .used_bytes = 90,
    .n_slices = 1,
    .limit_bytes = PART,
};

static struct limituses list(struct audit_use use, const struct limituse *known)
{
    const struct audit audit = {.devices = devices, .n_devices = 2, .uses = &use, .n_uses = 1};
    struct limituses uses = LIMITUSES_INIT;

    if (known)
        limituses_add(&uses, known);
    limituses_add_ungranted(&uses, &audit);
    assert_false(uses.failed);
    return uses;
}

static void test_slices_without_a_grant(void **state)
{
    cleanup_limituses struct limituses uses = list(holder, NULL);
    const struct limituse *use = &uses.items[0];

    assert_int_equal(uses.n, 1);
    assert_string_equal(use->uuid, "GPU-a");
    assert_int_equal(use->limit_bytes, PART);
    assert_int_equal(use->charged_bytes, 90);
    assert_int_equal(use->n_processes - use->n_registered, 2);
    assert_true(use->is_ungranted);
}

static void test_an_account_is_the_account(void **state)
{
    const struct limituse known = {.pod_uid = "u1",
                                   .container = "main",
                                   .uuid = "GPU-a",
                                   .limit_bytes = PART + 1,
                                   .n_processes = 2,
                                   .n_registered = 2};
    cleanup_limituses struct limituses uses = list(holder, &known);

    assert_int_equal(uses.n, 1);
    assert_int_equal(uses.items[0].limit_bytes, PART + 1);
    assert_int_equal(uses.items[0].n_registered, 2);
    assert_false(uses.items[0].is_ungranted);
}

/* Its grant was adopted: it tells no memory. */
static void test_an_account_without_a_limit(void **state)
{
    const struct limituse known = {
        .pod_uid = "u1", .container = "main", .uuid = "GPU-a", .n_processes = 2, .n_registered = 2};
    cleanup_limituses struct limituses uses = list(holder, &known);

    assert_int_equal(uses.n, 1);
    assert_int_equal(uses.items[0].limit_bytes, PART);
    assert_int_equal(uses.items[0].n_registered, 0);
    assert_false(uses.items[0].is_ungranted);
}

static void test_another_device_is_another_matter(void **state)
{
    const struct limituse known = {
        .pod_uid = "u1", .container = "main", .uuid = "GPU-b", .limit_bytes = PART};
    cleanup_limituses struct limituses uses = list(holder, &known);

    assert_int_equal(uses.n, 2);
    assert_string_equal(uses.items[1].uuid, "GPU-a");
}

static void assert_nobody(struct audit_use use)
{
    cleanup_limituses struct limituses uses = list(use, NULL);

    assert_int_equal(uses.n, 0);
}

static void test_nobody_else(void **state)
{
    struct audit_use use = holder;

    use.limit_bytes = WHOLE;
    assert_nobody(use);
    use.limit_bytes = 0; /* a finding of the audit */
    assert_nobody(use);
    use = holder;
    use.n_slices = 0;
    assert_nobody(use);
    use = holder;
    use.n_processes = 0;
    assert_nobody(use);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_without_a_grant),
        cmocka_unit_test(test_an_account_is_the_account),
        cmocka_unit_test(test_an_account_without_a_limit),
        cmocka_unit_test(test_another_device_is_another_matter),
        cmocka_unit_test(test_nobody_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
