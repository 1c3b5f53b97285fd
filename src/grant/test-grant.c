// SPDX-License-Identifier: Apache-2.0
#include "grant/grant.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void make(struct grant *grant)
{
    *grant = (struct grant){.id = "0123456789abcdef", .boot = "boot-1", .granted_at_s = 1700000000};
    grant->resource = strdup("nvidia.com/gpu");
    assert_int_equal(grant_add_id(grant, "GPU-1::0"), 0);
    assert_int_equal(grant_add_id(grant, "GPU-1::3"), 0);
    assert_int_equal(grant_add_device(grant, "GPU-1", 500, UINT64_C(8) << 30), 0);
}

static void test_a_grant_survives_its_record(void **state)
{
    cleanup(grant_record_deinit) struct grant_record record = GRANT_RECORD_INIT;
    cleanup_text struct text text = TEXT_INIT, again = TEXT_INIT;
    struct grant grant;

    make(&grant);
    grant.is_adopted = true;
    grant_format(&grant, &text);
    assert_int_equal(grant_record_parse(text.data, text.length, &record), 0);
    assert_int_equal(record.kind, GRANT_RECORD_GRANT);
    assert_string_equal(record.grant.id, "0123456789abcdef");
    assert_string_equal(record.grant.boot, "boot-1");
    assert_string_equal(record.grant.resource, "nvidia.com/gpu");
    assert_int_equal(record.grant.granted_at_s, 1700000000);
    assert_int_equal(record.grant.n_ids, 2);
    assert_string_equal(record.grant.ids[1], "GPU-1::3");
    assert_int_equal(record.grant.n_devices, 1);
    assert_int_equal(record.grant.devices[0].share_permille, 500);
    assert_true(record.grant.devices[0].mem_bytes == UINT64_C(8) << 30);
    assert_true(record.grant.is_adopted);
    grant_format(&record.grant, &again);
    assert_int_equal(again.length, text.length);
    assert_memory_equal(again.data, text.data, text.length);
    grant_deinit(&grant);
}

static void test_each_cut_and_each_extra_byte_is_refused(void **state)
{
    cleanup_text struct text text = TEXT_INIT;
    struct grant_record record = GRANT_RECORD_INIT;
    struct grant grant;

    make(&grant);
    grant_format(&grant, &text);
    for (size_t size = 0; size < text.length; size++)
        assert_int_equal(grant_record_parse(text.data, size, &record), -EBADMSG);
    text_add_char(&text, 'x');
    assert_int_equal(grant_record_parse(text.data, text.length, &record), -EBADMSG);
    grant_deinit(&grant);
}

static void test_profiles_have_a_record_of_their_own(void **state)
{
    cleanup(grant_record_deinit) struct grant_record record = GRANT_RECORD_INIT;
    struct grant_record other = GRANT_RECORD_INIT;
    cleanup_text struct text text = TEXT_INIT;
    struct grant grant, copy = GRANT_INIT;

    make(&grant);
    grant_format_profiles(&grant, &text);
    assert_int_equal(text.length, 0);
    assert_int_equal(grant_add_device(&grant, "MIG-1", 1000, 1), 0);
    assert_int_equal(grant_set_profile(&grant, "MIG-1", "2g.10gb"), 0);
    assert_int_equal(grant_set_profile(&grant, "MIG-1", "1g.5gb+me"), 0);
    assert_int_equal(grant_set_profile(&grant, "GPU-1", ""), 0);
    assert_int_equal(grant_set_profile(&grant, "MIG-2", "1g.5gb"), 0); /* it does not have it */
    assert_int_equal(grant_copy(&copy, &grant), 0);
    grant_format_profiles(&copy, &text);
    assert_int_equal(grant_record_parse(text.data, text.length, &record), 0);
    assert_int_equal(record.kind, GRANT_RECORD_PROFILES);
    assert_string_equal(record.grant.id, "0123456789abcdef");
    assert_int_equal(record.grant.n_devices, 1);
    assert_string_equal(record.grant.devices[0].uuid, "MIG-1");
    assert_string_equal(record.grant.devices[0].profile, "1g.5gb+me");
    for (size_t size = 0; size < text.length; size++)
        assert_int_equal(grant_record_parse(text.data, size, &other), -EBADMSG);
    text_add_char(&text, 'x');
    assert_int_equal(grant_record_parse(text.data, text.length, &other), -EBADMSG);
    grant_deinit(&grant);
    grant_deinit(&copy);
}

static void test_a_free_names_its_grant(void **state)
{
    cleanup_text struct text text = TEXT_INIT;
    struct grant_record record = GRANT_RECORD_INIT;

    grant_format_free("0123456789abcdef", &text);
    assert_int_equal(grant_record_parse(text.data, text.length, &record), 0);
    assert_int_equal(record.kind, GRANT_RECORD_FREE);
    assert_string_equal(record.freed, "0123456789abcdef");
    /* An id becomes a path: nothing else may come through. */
    text_clear(&text);
    grant_format_free("../../etc/passwd", &text);
    assert_int_equal(grant_record_parse(text.data, text.length, &record), -EBADMSG);
}

static void test_a_kind_of_a_later_release_is_skipped(void **state)
{
    struct grant_record record = GRANT_RECORD_INIT;

    assert_int_equal(grant_record_parse("\x63whatever", 9, &record), 0);
    assert_int_equal(record.kind, 0x63);
    assert_int_equal(grant_record_parse("\0", 1, &record), -EBADMSG);
}

static void test_ids(void **state)
{
    char one[GRANT_ID_SIZE], two[GRANT_ID_SIZE];

    assert_int_equal(grant_make_id(one), 0);
    assert_int_equal(grant_make_id(two), 0);
    assert_true(grant_is_id(one));
    assert_string_not_equal(one, two);
    assert_false(grant_is_id(""));
    assert_false(grant_is_id("0123456789abcde"));
    assert_false(grant_is_id("0123456789abcdef0"));
    assert_false(grant_is_id("0123456789ABCDEF"));
    assert_false(grant_is_id("0123456789abcde/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_grant_survives_its_record),
        cmocka_unit_test(test_each_cut_and_each_extra_byte_is_refused),
        cmocka_unit_test(test_profiles_have_a_record_of_their_own),
        cmocka_unit_test(test_a_free_names_its_grant),
        cmocka_unit_test(test_a_kind_of_a_later_release_is_skipped),
        cmocka_unit_test(test_ids),
    };

    return cmocka_run_group_tests_name("grant", tests, NULL, NULL);
}
