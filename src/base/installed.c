// SPDX-License-Identifier: Apache-2.0
#include "base/installed.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

const char *installed_find(const struct installed_place *place, char path[INSTALLED_PATH_SIZE])
{
    char program[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    const size_t length = strlen(place->build_folder);
    const char *slash;

    program[n < 0 ? 0 : n] = '\0';
    if (str_starts_with(program, place->build_folder) && program[length] == '/')
        return place->built;
    slash = strrchr(program, '/');
    if (!slash)
        return place->standard;
    snprintf(path, INSTALLED_PATH_SIZE, "%.*s/../%s", (int)(slash - program), program,
             place->moved);
    return access(path, R_OK) == 0 ? path : place->standard;
}
