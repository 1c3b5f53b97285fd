// SPDX-License-Identifier: Apache-2.0
#include "simtool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

void simtool_run(const char *const words[SIMTOOL_WORDS_MAX])
{
    const char *tool = getenv("GPUSLICE_TEST_SIM");
    char *argv[SIMTOOL_WORDS_MAX + 2] = {(char *)tool};
    int status;
    pid_t pid;

    for (int i = 0; i < SIMTOOL_WORDS_MAX; i++)
        argv[i + 1] = (char *)words[i];
    assert_int_equal(posix_spawn(&pid, tool, NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}
