// SPDX-License-Identifier: Apache-2.0
#include "grant/podrecords.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "grant/test-tempdir.h"

static struct places places(void)
{
    struct places places;

    snprintf(places.plugin_dir, sizeof(places.plugin_dir), "%s", tempdir_path("plugins"));
    snprintf(places.grant_dir, sizeof(places.grant_dir), "%s", tempdir_path("grants"));
    return places;
}

static void make(const char *name)
{
    assert_int_equal(mkdir(tempdir_path(name), 0755), 0);
}

static void write_checkpoint(const char *text)
{
    assert_int_equal(file_write_atomic(tempdir_path("plugins/" KUBELETCHECKPOINT_NAME), text,
                                       strlen(text), 0600, NULL),
                     0);
}

static void a_node_without_files_gave_nothing(void **state)
{
    cleanup_podrecords struct podrecords records = PODRECORDS_INIT;
    const struct places nowhere = places();

    (void)state;
    assert_int_equal(podrecords_read(&nowhere, &records, NULL), 0);
    assert_false(records.has_checkpoint);
    assert_false(records.has_log);
    assert_false(podrecords_has_ended(&records, "uid-1"));
}

static void the_kubelet_names_pods(void **state)
{
    cleanup_podrecords struct podrecords records = PODRECORDS_INIT;
    const struct places here = places();

    (void)state;
    make("plugins");
    make("pods");
    make("pods/uid-1");
    write_checkpoint("{\"Data\":{\"PodDeviceEntries\":[{\"PodUID\":\"uid-1\",\"ContainerName\":"
                     "\"main\",\"ResourceName\":\"nvidia.com/gpu\",\"DeviceIDs\":{\"-1\":[\"GPU-1"
                     "\"]},\"AllocResp\":\"\"}],\"RegisteredDevices\":{}},\"Checksum\":1}");
    assert_int_equal(podrecords_read(&here, &records, NULL), 0);
    assert_true(records.has_checkpoint);
    assert_int_equal(records.checkpoint.n_entries, 1);
    assert_false(podrecords_has_ended(&records, "uid-1"));
    assert_true(podrecords_has_ended(&records, "uid-2"));
    assert_false(podrecords_has_ended(&records, "../uid-2"));
}

static void a_checkpoint_that_is_none_is_an_error(void **state)
{
    struct podrecords records = PODRECORDS_INIT;
    const struct places here = places();
    struct error err = ERROR_INIT;

    (void)state;
    make("plugins");
    write_checkpoint("{");
    assert_int_equal(podrecords_read(&here, &records, &err), -EBADMSG);
    assert_non_null(strstr(error_text(&err), "it is unknown which pods have GPUs"));
}

#define IN_TEMPDIR(test) cmocka_unit_test_setup_teardown(test, tempdir_make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_TEMPDIR(a_node_without_files_gave_nothing),
        IN_TEMPDIR(the_kubelet_names_pods),
        IN_TEMPDIR(a_checkpoint_that_is_none_is_an_error),
    };

    return cmocka_run_group_tests_name("grant/podrecords", tests, NULL, NULL);
}
