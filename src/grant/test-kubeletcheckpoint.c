// SPDX-License-Identifier: Apache-2.0
#include "grant/kubeletcheckpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "grant/test-tempdir.h"

#define AROUND(entries) "{\"Data\":{\"PodDeviceEntries\":" entries "},\"Checksum\":1}"

/*
 * As kubelet 1.36 writes it. The answer: envs {NVIDIA_VISIBLE_DEVICES: GPU-1}, annotations
 * {gpuslice.dev/grant.nvidia.com.gpu: 0123456789abcdef}, made with protoc.
 */
static const char real[] =
    "{\"Data\":{\"PodDeviceEntries\":[{\"PodUID\":\"6b2a0f5c-9d0e-4d5e-8a2c-0c1d2e3f4a5b\","
    "\"ContainerName\":\"main\",\"ResourceName\":\"nvidia.com/gpu\",\"DeviceIDs\":{\"-1\":[\"GPU-"
    "1::0\"],\"1\":[\"GPU-2::0\",\"GPU-2::1\"]},\"AllocResp\":"
    "\"Ch8KFk5WSURJQV9WSVNJQkxFX0RFVklDRVMSBUdQVS0xIjUKIWdwdXNsaWNlLmRldi9ncmFudC5udmlkaWEuY29tLmdw"
    "dRIQMDEyMzQ1Njc4OWFiY2RlZg==\"},{\"PodUID\":\"u2\",\"ContainerName\":\"a\",\"ResourceName\":"
    "\"x.com/y\",\"DeviceIDs\":{},\"AllocResp\":null}],\"RegisteredDevices\":{\"nvidia.com/"
    "gpu\":[\"GPU-1::0\"],\"x.com/y\":null}},\"Checksum\":2934765287}";

static void test_what_the_kubelet_writes_is_read(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct error err = ERROR_INIT;

    if (kubeletcheckpoint_parse(real, strlen(real), &checkpoint, &err) != 0)
        fail_msg("%s", error_text(&err));
    assert_int_equal(checkpoint.n_entries, 2);
    assert_string_equal(checkpoint.entries[0].pod_uid, "6b2a0f5c-9d0e-4d5e-8a2c-0c1d2e3f4a5b");
    assert_string_equal(checkpoint.entries[0].container, "main");
    assert_string_equal(checkpoint.entries[0].resource, "nvidia.com/gpu");
    assert_int_equal(checkpoint.entries[0].n_ids, 3);
    assert_string_equal(checkpoint.entries[0].ids[2], "GPU-2::1");
    assert_string_equal(checkpoint.entries[0].grant, "0123456789abcdef");
    assert_string_equal(checkpoint.entries[1].grant, "");
    assert_int_equal(checkpoint.entries[1].n_ids, 0);
    assert_int_equal(checkpoint.n_shared, 1);
    assert_string_equal(checkpoint.shared[0].resource, "nvidia.com/gpu");
    assert_string_equal(checkpoint.shared[0].uuid, "GPU-1");
    assert_int_equal(checkpoint.shared[0].n_ids, 1);
    kubeletcheckpoint_deinit(&checkpoint);
}

/* Mounts of a directory, of a file in it, and of nothing. */
static void test_what_a_response_mounts_is_known(void **state)
{
    static const char text[] = AROUND(
        "[{\"PodUID\":\"u\",\"ResourceName\":\"r\",\"AllocResp\":\""
        "CgYKAUESAWISMAoRL29wdC9ncHVzbGljZS9saWISGS92YXIvbGliL2dwdXNsaWNlL2xpYi8xLjAYARI/ChIv"
        "ZXRjL2xkLnNvLnByZWxvYWQSJy92YXIvbGliL2dwdXNsaWNlL2xpYi8xLjAvbGQuc28ucHJlbG9hZBgBEggK"
        "Ai94EgAYASI1CiFncHVzbGljZS5kZXYvZ3JhbnQubnZpZGlhLmNvbS5ncHUSEDAxMjM0NTY3ODlhYmNkZWY="
        "\"}]");
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;

    assert_int_equal(kubeletcheckpoint_parse(text, strlen(text), &checkpoint, NULL), 0);
    assert_string_equal(checkpoint.entries[0].grant, "0123456789abcdef");
    assert_int_equal(checkpoint.entries[0].mounts.n_items, 2);
    assert_string_equal(checkpoint.entries[0].mounts.items[0], "/var/lib/gpuslice/lib/1.0");
    assert_string_equal(checkpoint.entries[0].mounts.items[1],
                        "/var/lib/gpuslice/lib/1.0/ld.so.preload");
    kubeletcheckpoint_deinit(&checkpoint);
}

static void test_slices_are_counted(void **state)
{
    static const char text[] = "{\"Data\":{\"PodDeviceEntries\":null,\"RegisteredDevices\":{\"a/"
                               "b\":[\"GPU-1::0\",\"GPU-2::0\","
                               "\"GPU-1::1\",\"kvm7\"],\"a/c\":[\"GPU-1::0\"]}},\"Checksum\":1}";
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;

    assert_int_equal(kubeletcheckpoint_parse(text, strlen(text), &checkpoint, NULL), 0);
    assert_int_equal(checkpoint.n_shared, 3);
    assert_string_equal(checkpoint.shared[0].uuid, "GPU-1");
    assert_int_equal(checkpoint.shared[0].n_ids, 2);
    assert_int_equal(checkpoint.shared[1].n_ids, 1);
    assert_string_equal(checkpoint.shared[2].resource, "a/c");
    kubeletcheckpoint_deinit(&checkpoint);
}

static void test_every_cut_is_refused(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;

    for (size_t size = 0; size < strlen(real); size++)
        assert_int_equal(kubeletcheckpoint_parse(real, size, &checkpoint, NULL), -EBADMSG);
}

static void test_words(void **state)
{
    static const struct {
        const char *text;
        int result;
        const char *first_id;
    } rows[] = {
        {AROUND("null"), 0, NULL},
        {AROUND("[]"), 0, NULL},
        {" { \"Later\" : [ {\"a\":true} , -1.5e3 ] , \"Data\" : { } } \n", 0, NULL},
        {AROUND("[{\"PodUID\":\"u\",\"ResourceName\":\"r\",\"DeviceIDs\":{\"0\":[\"\\u003c\\u00e9"
                "\\ud83d\\ude00\\n\"]}}]"),
         0, "<\303\251\360\237\230\200\n"},
        {AROUND("[{\"PodUID\":\"u\",\"ResourceName\":\"r\",\"DeviceIDs\":{\"0\":null}}]"), 0, NULL},
        {"", -EBADMSG, NULL},
        {"[]", -EBADMSG, NULL},
        {"{}", -EBADMSG, NULL},
        {"{\"Data\":[]}", -EBADMSG, NULL},
        {"{\"Data\":{}} x", -EBADMSG, NULL},
        {"{\"Data\":{},}", -EBADMSG, NULL},
        {AROUND("[{}]"), -EBADMSG, NULL},
        {AROUND("[{\"PodUID\":1}]"), -EBADMSG, NULL},
        {AROUND("[{\"PodUID\":\"u\",\"ResourceName\":\"r\",\"DeviceIDs\":[\"a\"]}]"), -EBADMSG,
         NULL},
        {AROUND("[{\"PodUID\":\"u\",\"ResourceName\":\"\\ud83d\"}]"), -EBADMSG, NULL},
        {AROUND("[{\"PodUID\":\"u\",\"ResourceName\":\"\\u0000\"}]"), -EBADMSG, NULL},
        {AROUND("[{\"PodUID\":\"u\",\"ResourceName\":\"r\",\"AllocResp\":\"A===\"}]"), -EBADMSG,
         NULL},
        {AROUND("[{\"PodUID\":\"u\",\"ResourceName\":\"r\",\"AllocResp\":\"//==\"}]"), -EBADMSG,
         NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
        int r = kubeletcheckpoint_parse(rows[i].text, strlen(rows[i].text), &checkpoint, NULL);

        if (r != rows[i].result)
            fail_msg("row %zu: %d", i, r);
        if (rows[i].first_id)
            assert_string_equal(checkpoint.entries[0].ids[0], rows[i].first_id);
        kubeletcheckpoint_deinit(&checkpoint);
    }
}

static void test_depth_is_bounded(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    cleanup_text struct text text = TEXT_INIT;

    text_add(&text, "{\"Data\":{},\"x\":");
    for (int i = 0; i < 100000; i++)
        text_add_char(&text, '[');
    assert_int_equal(kubeletcheckpoint_parse(text.data, text.length, &checkpoint, NULL), -EBADMSG);
}

static void test_files(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct error err = ERROR_INIT;

    assert_int_equal(kubeletcheckpoint_load(tempdir, &checkpoint, &err), 0);
    assert_int_equal(checkpoint.n_entries, 0);
    assert_int_equal(
        file_write_atomic(tempdir_path(KUBELETCHECKPOINT_NAME), real, strlen(real), 0600, NULL), 0);
    assert_int_equal(kubeletcheckpoint_load(tempdir, &checkpoint, &err), 0);
    assert_int_equal(checkpoint.n_entries, 2);
    kubeletcheckpoint_deinit(&checkpoint);
    assert_int_equal(file_write_atomic(tempdir_path(KUBELETCHECKPOINT_NAME), "{", 1, 0600, NULL),
                     0);
    assert_int_equal(kubeletcheckpoint_load(tempdir, &checkpoint, &err), -EBADMSG);
    assert_true(
        str_ends_with(error_text(&err), "not a device checkpoint of the kubelet, at byte 1"));
}

static void test_annotation(void **state)
{
    char key[64];

    kubeletcheckpoint_annotation("nvidia.com/gpu", key, sizeof(key));
    assert_string_equal(key, "gpuslice.dev/grant.nvidia.com.gpu");
    kubeletcheckpoint_annotation("nvidia.com/gpu", key, 8);
    assert_string_equal(key, "gpuslic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_kubelet_writes_is_read),
        cmocka_unit_test(test_what_a_response_mounts_is_known),
        cmocka_unit_test(test_slices_are_counted),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test_setup_teardown(test_files, tempdir_make, tempdir_remove),
        cmocka_unit_test(test_annotation),
    };

    return cmocka_run_group_tests_name("kubeletcheckpoint", tests, NULL, NULL);
}
