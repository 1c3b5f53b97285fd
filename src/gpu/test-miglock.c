// SPDX-License-Identifier: Apache-2.0
#include "gpu/miglock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_one_holds_it_until_it_closes(void **state)
{
    char folder[] = "/tmp/gpuslice-miglock-XXXXXX", below[64], wanted[160], path[96];
    struct error err = ERROR_INIT;
    int first = -1, second = -1;

    assert_non_null(mkdtemp(folder));
    snprintf(below, sizeof(below), "%s/run", folder);
    snprintf(path, sizeof(path), "%s/mig.lock", below);
    assert_int_equal(miglock_take(below, "gpuslice-node", &first, &err), 0);
    assert_int_equal(miglock_take(below, "gpuslice mig apply", &second, &err), MIGLOCK_HELD);
    snprintf(wanted, sizeof(wanted),
             "gpuslice-node (pid %d) changes how the GPUs of this node are partitioned (%s)",
             (int)getpid(), path);
    assert_string_equal(error_text(&err), wanted);
    assert_int_equal(second, -1);
    close(first);
    assert_int_equal(miglock_take(below, "gpuslice mig apply", &second, &err), 0);
    close(second);
    unlink(path);
    rmdir(below);
    rmdir(folder);
}

static void test_a_folder_that_cannot_be_made(void **state)
{
    char file[] = "/tmp/gpuslice-miglock-XXXXXX", below[64];
    struct error err = ERROR_INIT;
    int made = mkstemp(file), fd = -1;

    assert_true(made >= 0);
    snprintf(below, sizeof(below), "%s/run", file);
    assert_true(miglock_take(below, "gpuslice mig apply", &fd, &err) < 0);
    assert_true(*err.message);
    close(made);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_holds_it_until_it_closes),
        cmocka_unit_test(test_a_folder_that_cannot_be_made),
    };

    return cmocka_run_group_tests_name("gpu/miglock", tests, NULL, NULL);
}
