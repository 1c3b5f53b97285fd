// SPDX-License-Identifier: Apache-2.0
#include "node/container.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"

/* PROC_PID_INIT_INO of Linux since 3.8. */
#define FIRST_PID_NAMESPACE "pid:[4026531836]"

static bool has_variable(char *const environment[])
{
    static const char *const names[] = {"KUBERNETES_SERVICE_HOST=", "container="};

    for (size_t i = 0; environment[i]; i++)
        for (size_t k = 0; k < ARRAY_SIZE(names); k++)
            if (str_starts_with(environment[i], names[k]))
                return true;
    return false;
}

static bool has_file(const char *root)
{
    static const char *const names[] = {"/.dockerenv", "/run/.containerenv"};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof(path), "%s%s", root, names[i]);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

static bool has_namespace(const char *root)
{
    char path[PATH_MAX], target[64];
    ssize_t n;

    snprintf(path, sizeof(path), "%s/proc/self/ns/pid", root);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    return !str_equal(target, FIRST_PID_NAMESPACE);
}

bool container_is_around(const char *root, char *const environment[])
{
    return has_variable(environment) || has_file(root) || has_namespace(root);
}
