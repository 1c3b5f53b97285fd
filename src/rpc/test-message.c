// SPDX-License-Identifier: Apache-2.0
#include "rpc/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "podresources/v1/api.pb.h"

DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateRequest)
DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateResponse)
DEFINE_MESSAGE_CLEANUP(v1beta1_ListAndWatchResponse)
DEFINE_MESSAGE_CLEANUP(v1_ListPodResourcesResponse)

static void test_wire_format(void **state)
{
    v1beta1_Device device = {.ID = message_lend("GPU-1::0"), .health = message_lend("Healthy")};
    v1beta1_ListAndWatchResponse list = {.devices_count = 1, .devices = &device};
    static const uint8_t wire[] = "\x0a\x13\x0a\x08GPU-1::0\x12\x07Healthy";
    cleanup_free void *data = NULL;
    size_t size;

    assert_int_equal(message_encode(v1beta1_ListAndWatchResponse_fields, &list, &data, &size), 0);
    assert_int_equal(size, sizeof(wire) - 1);
    assert_memory_equal(data, wire, size);
}

static void test_empty_message(void **state)
{
    v1beta1_Empty empty = {0};
    cleanup_free void *data = NULL;
    size_t size = 1;

    assert_int_equal(message_encode(v1beta1_Empty_fields, &empty, &data, &size), 0);
    assert_int_equal(size, 0);
    assert_non_null(data);
    assert_int_equal(message_decode(v1beta1_Empty_fields, NULL, 0, &empty), 0);
}

static void test_round_trip(void **state)
{
    v1beta1_ContainerAllocateResponse_EnvsEntry envs[] = {
        {.key = message_lend("NVIDIA_VISIBLE_DEVICES"), .value = message_lend("GPU-1,GPU-2")},
        {.key = message_lend("EMPTY"), .value = message_lend("")},
    };
    v1beta1_ContainerAllocateResponse container = {.envs_count = 2, .envs = envs};
    v1beta1_AllocateResponse sent = {.container_responses_count = 1,
                                     .container_responses = &container};
    cleanup(v1beta1_AllocateResponse_release_p) v1beta1_AllocateResponse got;
    cleanup_free void *data = NULL;
    size_t size;

    assert_int_equal(message_encode(v1beta1_AllocateResponse_fields, &sent, &data, &size), 0);
    assert_int_equal(message_decode(v1beta1_AllocateResponse_fields, data, size, &got), 0);
    assert_int_equal(got.container_responses_count, 1);
    assert_int_equal(got.container_responses[0].envs_count, 2);
    assert_string_equal(got.container_responses[0].envs[0].value, "GPU-1,GPU-2");
    assert_string_equal(message_text(got.container_responses[0].envs[1].value), "");
}

static void test_optional_field_of_pod_resources(void **state)
{
    static const uint8_t wire[] = "\x0a\x0e\x1a\x0c\x2a\x0a\x22\x08\x12\x01"
                                  "d\x2a\x03"
                                  "abc";
    cleanup(v1_ListPodResourcesResponse_release_p) v1_ListPodResourcesResponse got;
    const v1_ClaimResource *claim;

    assert_int_equal(
        message_decode(v1_ListPodResourcesResponse_fields, wire, sizeof(wire) - 1, &got), 0);
    claim = &got.pod_resources[0].containers[0].dynamic_resources[0].claim_resources[0];
    assert_string_equal(claim->driver_name, "d");
    assert_string_equal(claim->share_id, "abc");
}

static void test_bad_bytes_leave_an_empty_message(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"\x0a", 1},                 /* a length is missing */
        {"\x0a\x05\x0a\x03ox", 6},   /* truncated inside an entry */
        {"\x0a\x03\x0a\x05ox", 5},   /* a string longer than its entry */
        {"\x0a\x05\x0a\x03o\0x", 7}, /* NUL in an id */
        {"\x0a\x03\x0a\x01x\x0a\xff\xff",
         8}, /* the second entry is truncated: the first is freed */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
        {"\x0b", 1}, /* a group, which proto3 does not have */
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest got;

        memset(&got, 0xa5, sizeof(got));
        assert_int_equal(
            message_decode(v1beta1_AllocateRequest_fields, cases[i].bytes, cases[i].size, &got),
            -EBADMSG);
        assert_int_equal(got.container_requests_count, 0);
        assert_null(got.container_requests);
    }
}

static void test_unknown_fields_are_skipped(void **state)
{
    static const uint8_t wire[] = "\xfa\x7f\x03xyz\x0a\x03\x0a\x01x";
    cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest got;

    assert_int_equal(message_decode(v1beta1_AllocateRequest_fields, wire, sizeof(wire) - 1, &got),
                     0);
    assert_int_equal(got.container_requests_count, 1);
    assert_string_equal(got.container_requests[0].devices_ids[0], "x");
}

/* 4 MiB of empty strings, spread over entries so that no single repeated field is too long. */
static void test_a_flood_of_fields_is_refused(void **state)
{
    /* 16,000 bytes an entry: a length of two bytes. */
    enum { ENTRIES = 128, STRINGS = 8000, ENTRY_BYTES = 3 + 2 * STRINGS };
    cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest got;
    cleanup_free uint8_t *wire = malloc((size_t)ENTRIES * ENTRY_BYTES);
    uint8_t *p = wire;

    assert_non_null(wire);
    for (int i = 0; i < ENTRIES; i++) {
        *p++ = 0x0a;
        *p++ = ((2 * STRINGS) & 0x7f) | 0x80;
        *p++ = (2 * STRINGS) >> 7;
        for (int s = 0; s < STRINGS; s++) {
            *p++ = 0x0a;
            *p++ = 0;
        }
    }
    assert_int_equal(message_decode(v1beta1_AllocateRequest_fields, wire, (size_t)(p - wire), &got),
                     -E2BIG);
    assert_int_equal(got.container_requests_count, 0);
}

static void test_entries(void **state)
{
    cleanup(v1beta1_ListAndWatchResponse_release_p) v1beta1_ListAndWatchResponse list = {0};

    assert_int_equal(message_entries(&list.devices, &list.devices_count, 3, sizeof(*list.devices)),
                     0);
    assert_int_equal(list.devices_count, 3);
    assert_null(list.devices[2].ID);
    list.devices[2].ID = strdup("freed with the message");
    assert_int_equal(message_entries(&(void *){NULL}, &(pb_size_t){0}, 0, 8), 0);
    assert_int_equal(message_entries(&(void *){NULL}, &(pb_size_t){0}, 65536, 8), -E2BIG);
}

/* 70,000 devices: more than nanopb holds at once, fewer than the kubelet can read. */
static void test_a_long_list_is_read_in_parts(void **state)
{
    enum { N = 70000, BYTES = 5, PART = 1000 };
    static const uint8_t one[BYTES + 1] = "\x0a\x03\x0a\x01x";
    cleanup_free uint8_t *wire = malloc((size_t)N * BYTES);
    cleanup(v1beta1_ListAndWatchResponse_release_p) v1beta1_ListAndWatchResponse list = {0};
    size_t part;

    assert_non_null(wire);
    for (size_t i = 0; i < N; i++)
        memcpy(wire + i * BYTES, one, BYTES);
    assert_int_equal(message_decode(v1beta1_ListAndWatchResponse_fields, wire, N * BYTES, &list),
                     -E2BIG);
    part = message_part(wire, (size_t)N * BYTES, PART);
    assert_int_equal(part, (size_t)PART * BYTES);
    assert_int_equal(message_decode(v1beta1_ListAndWatchResponse_fields, wire, part, &list), 0);
    assert_int_equal(list.devices_count, PART);
    assert_int_equal(message_part(wire + part, N * BYTES - part, N), N * BYTES - part);
    assert_int_equal(message_part(NULL, 0, 1), 0);
    assert_int_equal(message_part("\x0a\x7f", 2, 1), 2); /* truncated: message_decode says so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_format),
        cmocka_unit_test(test_empty_message),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_optional_field_of_pod_resources),
        cmocka_unit_test(test_bad_bytes_leave_an_empty_message),
        cmocka_unit_test(test_unknown_fields_are_skipped),
        cmocka_unit_test(test_a_flood_of_fields_is_refused),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_a_long_list_is_read_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
