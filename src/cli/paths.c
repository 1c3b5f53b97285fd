// SPDX-License-Identifier: Apache-2.0
#include "cli/paths.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli-paths.h"

/* The directory of this program's executable; "" if unknown. */
static const char *own_path(void)
{
    static char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

    program[n < 0 ? 0 : n] = '\0';
    return program;
}

static bool runs_in_build_folder(void)
{
    return str_starts_with(own_path(), BUILD_FOLDER "/");
}

const char *paths_sim_library(void)
{
    const char *variable = getenv("GPUSLICE_SIM_LIBRARY");

    if (variable && *variable)
        return variable;
    return runs_in_build_folder() ? BUILT_SIM_LIBRARY : INSTALLED_SIM_LIBRARY;
}

const char *paths_machines(void)
{
    return runs_in_build_folder() ? BUILT_MACHINES : INSTALLED_MACHINES;
}

/* BIN/../share/gpuslice/catalog. */
static const char *moved_catalog(void)
{
    static char path[PATH_MAX + 64];
    const char *program = own_path(), *slash = strrchr(program, '/');

    if (!slash)
        return "";
    snprintf(path, sizeof(path), "%.*s/../share/gpuslice/catalog", (int)(slash - program), program);
    return path;
}

const char *paths_catalog(void)
{
    const char *chosen = getenv("GPUSLICE_CATALOG");

    if (chosen && *chosen)
        return chosen;
    if (runs_in_build_folder())
        return BUILT_CATALOG;
    return access(moved_catalog(), R_OK) == 0 ? moved_catalog() : INSTALLED_CATALOG;
}
