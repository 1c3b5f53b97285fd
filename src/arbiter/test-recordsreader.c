// SPDX-License-Identifier: Apache-2.0

/* Records of a node that are read beside the loop: when they are reported, and how often. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/recordsreader.h"
#include "base/file.h"
#include "base/log.h"
#include "grant/test-tempdir.h"

static uv_loop_t loop;
static struct recordsreader reader;
static struct arbiteroptions options;
static unsigned n_reports;
static size_t n_entries; /* of the last report */

static void on_records(struct podrecords *records, void *userdata)
{
    assert_ptr_equal(userdata, &options);
    n_reports++;
    n_entries = records->checkpoint.n_entries;
}

static int set_up(void **state)
{
    n_reports = 0;
    n_entries = 0;
    if (tempdir_make(state) < 0 || uv_loop_init(&loop) < 0)
        return -1;
    options = (struct arbiteroptions){.root = tempdir, .state_dir = "/run/gpuslice"};
    recordsreader_init(&reader, &loop, &options, on_records, &options);
    return 0;
}

static int tear_down(void **state)
{
    recordsreader_deinit(&reader);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? tempdir_remove(state) : -1;
}

static void write_checkpoint(const char *text)
{
    assert_int_equal(file_make_directory(tempdir_path("var/lib/kubelet/device-plugins"), NULL), 0);
    assert_int_equal(file_write_atomic(tempdir_path("var/lib/kubelet/device-plugins/"
                                                    "kubelet_internal_checkpoint"),
                                       text, strlen(text), 0600, NULL),
                     0);
}

static const char one_pod[] =
    "{\"Data\":{\"PodDeviceEntries\":[{\"PodUID\":\"12345678-0000-4000-8000-000000000000\","
    "\"ContainerName\":\"main\",\"ResourceName\":\"nvidia.com/gpu\","
    "\"DeviceIDs\":{\"-1\":[\"GPU-00112233-4455-6677-8899-aabbccddeeff::0\"]},\"AllocResp\":\"\"}],"
    "\"RegisteredDevices\":{}},\"Checksum\":1}";

static void test_records_are_reported_in_a_later_turn(void **state)
{
    write_checkpoint(one_pod);
    recordsreader_read(&reader);
    assert_int_equal(n_reports, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_reports, 1);
    assert_int_equal(n_entries, 1);
}

static void test_requests_during_a_reading_share_its_report(void **state)
{
    for (int i = 0; i < 5; i++)
        recordsreader_read(&reader);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_reports, 1);
    recordsreader_read(&reader);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_reports, 2);
}

static void test_records_that_cannot_be_read_are_not_reported(void **state)
{
    write_checkpoint("{\"Data\":");
    recordsreader_read(&reader);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_reports, 0);
    write_checkpoint(one_pod);
    recordsreader_read(&reader);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_reports, 1);
}

static void test_after_the_end_nothing_is_reported(void **state)
{
    recordsreader_read(&reader);
    recordsreader_deinit(&reader);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_reports, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_records_are_reported_in_a_later_turn),
        TEST(test_requests_during_a_reading_share_its_report),
        TEST(test_records_that_cannot_be_read_are_not_reported),
        TEST(test_after_the_end_nothing_is_reported),
    };

    log_setup_by_name("error", "logfmt");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
