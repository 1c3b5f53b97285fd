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

/*
 * What lies at `relative` below the prefix that this program was moved to (make install
 * DESTDIR=..., an image), if it is there; else where it was installed.
 */
static const char *installed(char path[PATH_MAX + 64], const char *relative, const char *fallback)
{
    const char *program = own_path(), *slash = strrchr(program, '/');

    if (!slash)
        return fallback;
    snprintf(path, PATH_MAX + 64, "%.*s/../%s", (int)(slash - program), program, relative);
    return access(path, R_OK) == 0 ? path : fallback;
}

const char *paths_sim_library(void)
{
    static char path[PATH_MAX + 64];
    const char *variable = getenv("GPUSLICE_SIM_LIBRARY");

    if (variable && *variable)
        return variable;
    if (runs_in_build_folder())
        return BUILT_SIM_LIBRARY;
    return installed(path, MOVED_SIM_LIBRARY, INSTALLED_SIM_LIBRARY);
}

const char *paths_machines(void)
{
    static char path[PATH_MAX + 64];

    return runs_in_build_folder() ? BUILT_MACHINES
                                  : installed(path, MOVED_MACHINES, INSTALLED_MACHINES);
}

const char *paths_catalog(void)
{
    static char path[PATH_MAX + 64];
    const char *chosen = getenv("GPUSLICE_CATALOG");

    if (chosen && *chosen)
        return chosen;
    if (runs_in_build_folder())
        return BUILT_CATALOG;
    return installed(path, MOVED_CATALOG, INSTALLED_CATALOG);
}
