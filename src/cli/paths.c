// SPDX-License-Identifier: Apache-2.0
#include "cli/paths.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "cli-paths.h"

static bool runs_in_build_folder(void)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

    if (n < 0)
        return false;
    program[n] = '\0';
    return str_starts_with(program, BUILD_FOLDER "/");
}

const char *paths_sim_library(void)
{
    const char *said = getenv("GPUSLICE_SIM_LIBRARY");

    if (said && *said)
        return said;
    return runs_in_build_folder() ? BUILT_SIM_LIBRARY : INSTALLED_SIM_LIBRARY;
}

const char *paths_machines(void)
{
    return runs_in_build_folder() ? BUILT_MACHINES : INSTALLED_MACHINES;
}
