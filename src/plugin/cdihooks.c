// SPDX-License-Identifier: Apache-2.0
#include "plugin/cdihooks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/driverroot.h"

static const struct {
    unsigned hook;
    const char *name;
} hooks[] = {
    {CDI_HOOK_LINKS, "create-symlinks"},
    {CDI_HOOK_COMPAT, "enable-cuda-compat"},
    {CDI_HOOK_LDCACHE, "update-ldcache"},
    {CDI_HOOK_NO_NODES, "disable-device-node-modification"},
};

const char *cdihooks_name(unsigned hook)
{
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
        if (hooks[i].hook == hook)
            return hooks[i].name;
    return NULL;
}

static unsigned found_in(const char *data, size_t size)
{
    unsigned found = 0;

    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
        if (memmem(data, size, hooks[i].name, strlen(hooks[i].name)))
            found |= hooks[i].hook;
    return found;
}

/* Not mapped: a program that is being replaced may shrink. Every version has update-ldcache; what
 * does not is no program of NVIDIA's. */
static unsigned missing_in(int fd)
{
    enum { CHUNK = 1 << 16, OVERLAP = 64 /* more than a name */ };
    cleanup_free char *data = malloc(OVERLAP + CHUNK);
    unsigned all = 0, found = 0;
    size_t kept = 0;
    ssize_t n = 0;

    if (!data || read(fd, data, 4) != 4 || memcmp(data, "\177ELF", 4) != 0)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
        all |= hooks[i].hook;
    while (found != all && (n = read(fd, data + kept, CHUNK)) > 0) {
        const size_t size = kept + (size_t)n;

        found |= found_in(data, size);
        kept = size < OVERLAP ? size : OVERLAP;
        memmove(data, data + size - kept, kept);
    }
    return n >= 0 && found & CDI_HOOK_LDCACHE ? all & ~found : 0;
}

/* The host's path below its driver root, as driverroot.h has it. */
static const char *below_root(const struct driverroot *root, const char *path)
{
    const size_t length = strlen(root->host);

    return strncmp(path, root->host, length) == 0 && path[length] == '/' ? path + length : NULL;
}

/* 0 also when the program cannot be read here. `path` is its path on the host. */
static unsigned missing_of(const struct driverroot *root, const char *path)
{
    const char *below = below_root(root, path);
    struct driverroot_file found;
    cleanup_close int fd = -1;
    struct stat status;

    if (!below || !driverroot_find_file(root, below, &found))
        return 0;
    fd = open(found.ours, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? missing_in(fd) : 0;
}

unsigned cdihooks_missing(const struct config *config, struct problems *problems)
{
    const struct plugin_flags *plugin = &config->plugin;
    unsigned missing = 0;
    const char *separator = "";
    struct driverroot root;
    char names[128] = "";
    size_t used = 0;

    if (!(plugin->device_list_strategies & LIST_STRATEGIES_CDI) || !plugin->nvidia_cdi_hook_path)
        return 0;
    driverroot_init(&root, plugin->container_driver_root, config->driver_root, config->dev_root);
    missing = missing_of(&root, plugin->nvidia_cdi_hook_path) & ~plugin->disabled_hooks;
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
        if (!(missing & hooks[i].hook))
            continue;
        used +=
            (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", separator, hooks[i].name);
        separator = ", ";
    }
    if (missing)
        problem_add(problems, PROBLEM_WARNING, (struct position){0, 0},
                    "flags.plugin.nvidiaCTKPath",
                    "%s on this host is too old for the CDI hooks %s, which are left out; a newer "
                    "container toolkit has them",
                    plugin->nvidia_cdi_hook_path, names);
    return missing;
}
