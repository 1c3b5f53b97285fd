// SPDX-License-Identifier: Apache-2.0
#include "node/channeldir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "proc/connector.h"
#include "proc/listener.h"

static const char *const names[CHANNELDIR_COUNT] = {"nodesync", "http", "probe"};

static uv_loop_t loop;
static struct channeldir channeldir;
static char folder[64];

static int set_up(void **state)
{
    (void)state;
    channeldir = (struct channeldir){.listeners = {NULL}};
    snprintf(folder, sizeof(folder), "/tmp/gpuslice-channeldir-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    char path[128];

    (void)state;
    channeldir_close(&channeldir);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < CHANNELDIR_COUNT; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        rmdir(path);
    }
    assert_int_equal(rmdir(folder), 0);
    return uv_loop_close(&loop);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void each_program_has_a_folder(void **state)
{
    static const mode_t folders[] = {0755, 0755, 0700}, sockets[] = {0666, 0666, 0600};
    const mode_t old = umask(077);
    char path[PATH_MAX], name[128];

    (void)state;
    assert_int_equal(channeldir_open(&channeldir, &loop, folder, 1000, NULL), 0);
    umask(old);
    for (unsigned i = 0; i < CHANNELDIR_COUNT; i++) {
        channeldir_path(folder, i, path);
        snprintf(name, sizeof(name), "%s/%s/agent.sock", folder, names[i]);
        assert_string_equal(path, name);
        assert_int_equal(mode_of(path), sockets[i]);
        snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
        assert_int_equal(mode_of(name), folders[i]);
    }
}

/* A volume is mounted there, and the sockets of an earlier agent are in it. */
static void folders_may_exist(void **state)
{
    struct channeldir earlier = {.listeners = {NULL}};

    (void)state;
    assert_int_equal(channeldir_open(&earlier, &loop, folder, 1000, NULL), 0);
    assert_int_equal(channeldir_open(&channeldir, &loop, folder, 1000, NULL), 0);
    channeldir_close(&earlier);
    for (unsigned i = 0; i < CHANNELDIR_COUNT; i++)
        assert_non_null(channeldir.listeners[i]);
}

static void connections_that_stay_silent_do_not_reach_another_program(void **state)
{
    int silent[2 * LISTENER_MAX_UNKNOWN];
    char path[PATH_MAX];

    (void)state;
    assert_int_equal(channeldir_open(&channeldir, &loop, folder, 1000, NULL), 0);
    channeldir_path(folder, CHANNELDIR_HTTP, path);
    for (unsigned i = 0; i < 2 * LISTENER_MAX_UNKNOWN; i++) {
        silent[i] = connector_open(path, NULL);
        assert_true(silent[i] >= 0);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_true(listener_n_refused(channeldir.listeners[CHANNELDIR_HTTP]) > 0);
    assert_int_equal(listener_n_refused(channeldir.listeners[CHANNELDIR_PROBE]), 0);
    for (unsigned i = 0; i < 2 * LISTENER_MAX_UNKNOWN; i++)
        close(silent[i]);
}

static void a_failure_leaves_nothing_open(void **state)
{
    struct error err = ERROR_INIT;

    (void)state;
    assert_true(channeldir_open(&channeldir, &loop, "/nowhere", 1000, &err) < 0);
    assert_non_null(strstr(error_text(&err), "/nowhere/nodesync"));
    assert_null(channeldir.listeners[CHANNELDIR_NODESYNC]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_program_has_a_folder),
        CASE(folders_may_exist),
        CASE(connections_that_stay_silent_do_not_reach_another_program),
        CASE(a_failure_leaves_nothing_open),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests_name("node/channeldir", tests, NULL, NULL);
}
