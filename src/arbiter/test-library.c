// SPDX-License-Identifier: Apache-2.0

/* What new containers get is known soon after the start, and whenever it changes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/library.h"
#include "base/file.h"
#include "grant/test-tempdir.h"

static uv_loop_t loop;
static struct library *library;
static unsigned n_changes;
static char source[128];

static void on_changed(void *userdata)
{
    (void)userdata;
    n_changes++;
}

static int set_up(void **state)
{
    n_changes = 0;
    library = NULL;
    if (tempdir_make(state) < 0)
        return -1;
    snprintf(source, sizeof(source), "%s/built.so", tempdir);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    library_free(library);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? tempdir_remove(state) : -1;
}

/* The node's files are below the folder of the test. */
static void start(void)
{
    struct library_options options = {.source = source, .version = "1.0", .root = tempdir};
    struct error err = ERROR_INIT;

    snprintf(options.places.grant_dir, PATH_MAX, "%s/var/lib/gpuslice", tempdir);
    snprintf(options.places.plugin_dir, PATH_MAX, "%s/plugins", tempdir);
    if (library_new(&loop, &options, on_changed, NULL, &library, &err) < 0)
        fail_msg("%s", error_text(&err));
}

static void wait_change(void)
{
    const unsigned wanted = n_changes + 1;

    alarm(60);
    while (n_changes < wanted)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
}

static void put_source(void)
{
    assert_int_equal(file_write_atomic(source, "one", 3, 0644, NULL), 0);
}

static void test_the_folder_is_named_as_the_host_has_it(void **state)
{
    put_source();
    start();
    assert_string_equal(library_folder(library), "");
    wait_change();
    assert_string_equal(library_folder(library), "/var/lib/gpuslice/lib/1.0");
    assert_string_equal(library_trouble(library), "");
    assert_int_equal(access(tempdir_path("var/lib/gpuslice/lib/1.0/libgpuslice.so"), F_OK), 0);
}

static void test_trouble_ends_by_itself(void **state)
{
    start();
    wait_change();
    assert_string_equal(library_folder(library), "");
    assert_non_null(strstr(library_trouble(library), "built.so"));
    put_source();
    wait_change();
    assert_string_equal(library_folder(library), "/var/lib/gpuslice/lib/1.0");
    assert_string_equal(library_trouble(library), "");
}

static void test_ending_while_the_disk_is_busy(void **state)
{
    unsigned before;

    put_source();
    start();
    uv_run(&loop, UV_RUN_NOWAIT); /* the task is queued, or runs, or is done already */
    before = n_changes;
    library_free(library);
    library = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_changes, before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_folder_is_named_as_the_host_has_it),
        TEST(test_trouble_ends_by_itself),
        TEST(test_ending_while_the_disk_is_busy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
