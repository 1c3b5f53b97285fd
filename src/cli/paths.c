// SPDX-License-Identifier: Apache-2.0
#include "cli/paths.h"

#include "base/environment.h"
#include "base/installed.h"
#include "cli-paths.h"

const char *paths_sim_library(void)
{
    static const struct installed_place place = {BUILD_FOLDER, BUILT_SIM_LIBRARY, MOVED_SIM_LIBRARY,
                                                 INSTALLED_SIM_LIBRARY};
    static char path[INSTALLED_PATH_SIZE];
    const char *variable = environment_get("GPUSLICE_SIM_LIBRARY");

    return variable ? variable : installed_find(&place, path);
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
