// SPDX-License-Identifier: Apache-2.0
#include "gpu/pci.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

enum { ATTRIBUTE_MAX = 64 };

static bool attribute_starts_with(const char *folder, const char *device, const char *attribute,
                                  const char *wanted)
{
    char path[PATH_MAX];
    cleanup_free char *value = NULL;
    size_t size;

    snprintf(path, sizeof(path), "%s/%s/%s", folder, device, attribute);
    return file_read(path, ATTRIBUTE_MAX, &value, &size, NULL) == 0 &&
           str_starts_with(value, wanted);
}

bool pci_has_nvidia_gpu(const char *sysfs)
{
    const char *root = sysfs ? sysfs : getenv("GPUSLICE_SYSFS");
    char folder[PATH_MAX];
    const struct dirent *entry;
    bool found = false;
    DIR *dir;

    snprintf(folder, sizeof(folder), "%s/bus/pci/devices", root ? root : "/sys");
    dir = opendir(folder);
    if (!dir)
        return errno != ENOENT; /* a machine without PCI has no GPU */
    while (!found && (entry = readdir(dir)))
        found = attribute_starts_with(folder, entry->d_name, "vendor", "0x10de") &&
                attribute_starts_with(folder, entry->d_name, "class", "0x03");
    closedir(dir);
    return found;
}
