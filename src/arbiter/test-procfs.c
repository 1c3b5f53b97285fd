// SPDX-License-Identifier: Apache-2.0
#include "arbiter/procfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"

/* A process may call itself anything, also what looks like the fields behind its name. */
static void a_start_is_read_behind_any_name(void **state)
{
#define BEFORE " S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 "
    static const struct {
        const char *text;
        int expected;
        uint64_t ticks;
    } rows[] = {
        {"7 (python)" BEFORE "4711 9 9\n", 0, 4711},
        {"7 (a) b) S 1 1)" BEFORE "4712 9 9\n", 0, 4712},
        {"7 (python) S 1 7\n", -EBADMSG, 0},
        {"7 (python)" BEFORE "x 9\n", -EBADMSG, 0},
        {"", -EBADMSG, 0},
    };
    char root[] = "/tmp/gpuslice-procfs-XXXXXX", path[96], folder[64], proc[64];

    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(proc, sizeof(proc), "%s/proc", root);
    snprintf(folder, sizeof(folder), "%s/proc/7", root);
    snprintf(path, sizeof(path), "%s/proc/7/stat", root);
    assert_int_equal(file_make_directory(folder, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t ticks = 0;

        assert_int_equal(file_write_atomic(path, rows[i].text, strlen(rows[i].text), 0644, NULL),
                         0);
        assert_int_equal(procfs_read_start(root, 7, &ticks, NULL), rows[i].expected);
        assert_int_equal(ticks, rows[i].ticks);
    }
    unlink(path);
    rmdir(folder);
    rmdir(proc);
    rmdir(root);
}

static void its_clock_is_that_of_starts(void **state)
{
    uint64_t ticks;

    (void)state;
    assert_int_equal(procfs_read_start("", (uint32_t)getpid(), &ticks, NULL), 0);
    assert_true(ticks <= procfs_now());
    assert_true(ticks + 3600 * (uint64_t)sysconf(_SC_CLK_TCK) > procfs_now());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_is_read_behind_any_name),
        cmocka_unit_test(its_clock_is_that_of_starts),
    };

    return cmocka_run_group_tests_name("arbiter/procfs", tests, NULL, NULL);
}
