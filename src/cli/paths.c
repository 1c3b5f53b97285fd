// SPDX-License-Identifier: Apache-2.0
#include "cli/paths.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/environment.h"
#include "base/installed.h"
#include "base/text.h"
#include "cli-paths.h"

const char *paths_sim_library(void)
{
    static const struct installed_place place = {BUILD_FOLDER, BUILT_SIM_LIBRARY, MOVED_SIM_LIBRARY,
                                                 INSTALLED_SIM_LIBRARY};
    static char path[INSTALLED_PATH_SIZE];
    const char *variable = environment_get("GPUSLICE_SIM_LIBRARY");

    return variable ? variable : installed_find(&place, path);
}

const char *paths_library(void)
{
    static const struct installed_place place = {BUILD_FOLDER, BUILT_LIBRARY, MOVED_LIBRARY,
                                                 INSTALLED_LIBRARY};
    static char path[INSTALLED_PATH_SIZE];
    const char *variable = environment_get("GPUSLICE_LIBRARY");

    return variable ? variable : installed_find(&place, path);
}

char *paths_preload(void)
{
    cleanup_text struct text value = TEXT_INIT;
    const char *others = environment_get("LD_PRELOAD");

    text_add(&value, paths_library());
    if (others)
        text_addf(&value, ":%s", others);
    return text_take(&value);
}

const char *paths_machines(void)
{
    static const struct installed_place place = {BUILD_FOLDER, BUILT_MACHINES, MOVED_MACHINES,
                                                 INSTALLED_MACHINES};
    static char path[INSTALLED_PATH_SIZE];

    return installed_find(&place, path);
}

const char *paths_state_dir(void)
{
    const char *variable = environment_get("GPUSLICE_STATE_DIR");

    return variable ? variable : "/run/gpuslice";
}

int paths_beside(const char *name, char path[PATH_MAX], struct error *err)
{
    char own[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *slash;

    if (n < 0)
        return error_set_errno(err, -errno, "cannot find %s", name);
    own[n] = '\0';
    slash = strrchr(own, '/');
    if (slash)
        *slash = '\0';
    if (snprintf(path, PATH_MAX, "%s/%s", own, name) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot find %s", name);
    return access(path, X_OK) < 0
               ? error_set_errno(err, -errno, "cannot execute %s, which belongs beside gpuslice",
                                 path)
               : 0;
}
