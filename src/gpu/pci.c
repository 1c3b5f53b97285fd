// SPDX-License-Identifier: Apache-2.0
#include "gpu/pci.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

enum { ATTRIBUTE_MAX = 64 };

/* Drivers that only hold a device for a virtual machine. Those of vfio have names of their own for
 * some GPUs: nvgrace_gpu_vfio_pci. */
static bool passes_through(const char *driver)
{
    static const char *const others[] = {"pci-stub", "pciback", "xen-pciback"};

    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (str_equal(driver, others[i]))
            return true;
    return strstr(driver, "vfio");
}

static bool attribute_starts_with(const char *folder, const char *device, const char *attribute,
                                  const char *wanted)
{
    char path[PATH_MAX];
    cleanup_free char *value = NULL;
    size_t size;

    snprintf(path, sizeof(path), "%s/%s/%s", folder, device, attribute);
    return file_read(path, ATTRIBUTE_MAX, &value, &size, NULL) == 0 &&
           strncasecmp(value, wanted, strlen(wanted)) == 0;
}

static void read_driver(const char *folder, const char *device, struct pci_holder *ret_holder)
{
    char path[PATH_MAX], target[PATH_MAX];
    const char *name;
    ssize_t length;

    snprintf(path, sizeof(path), "%s/%s/driver", folder, device);
    length = readlink(path, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = '\0';
    name = strrchr(target, '/');
    snprintf(ret_holder->driver, sizeof(ret_holder->driver), "%.63s", name ? name + 1 : target);
}

/* Windows lends WSL2 a device of Microsoft's (0x1414) that draws nothing itself, 0x008e, which
 * dxgkrnl binds. The others are displays of Hyper-V, which each of its virtual machines has. */
static bool is_of_wsl(const char *folder, const char *device)
{
    struct pci_holder own;

    if (!attribute_starts_with(folder, device, "vendor", "0x1414"))
        return false;
    read_driver(folder, device, &own);
    return attribute_starts_with(folder, device, "device", "0x008e") ||
           str_equal(own.driver, "dxgkrnl");
}

/* The more useful one of two GPUs decides. */
static enum pci_gpus judge_device(const char *folder, const char *device, enum pci_gpus so_far,
                                  struct pci_holder *holder)
{
    struct pci_holder own;

    if (so_far == PCI_GPUS_PRESENT || !attribute_starts_with(folder, device, "class", "0x03"))
        return so_far;
    if (is_of_wsl(folder, device))
        return so_far == PCI_GPUS_NONE ? PCI_GPUS_WSL : so_far;
    if (!attribute_starts_with(folder, device, "vendor", "0x10de"))
        return so_far;
    read_driver(folder, device, &own);
    *holder = own;
    return passes_through(own.driver) ? PCI_GPUS_PASSED_THROUGH : PCI_GPUS_PRESENT;
}

enum pci_gpus pci_find_gpus(const char *sysfs, struct pci_holder *ret_holder)
{
    const char *root = sysfs ? sysfs : getenv("GPUSLICE_SYSFS");
    enum pci_gpus found = PCI_GPUS_NONE;
    struct pci_holder holder = {.driver = ""};
    char folder[PATH_MAX];
    const struct dirent *entry;
    DIR *dir;

    if (!root)
        root = "/sys";
    snprintf(folder, sizeof(folder), "%s/bus/pci/devices", root);
    dir = opendir(folder);
    if (!dir && errno != ENOENT) /* a machine without PCI has none of its GPUs */
        found = PCI_GPUS_PRESENT;
    while (dir && (entry = readdir(dir)))
        found = judge_device(folder, entry->d_name, found, &holder);
    if (dir)
        closedir(dir);
    /* As NVIDIA's plugin recognises one. */
    if (found == PCI_GPUS_NONE && attribute_starts_with(root, "devices/soc0", "family", "tegra"))
        found = PCI_GPUS_TEGRA;
    if (ret_holder)
        *ret_holder = holder;
    return found;
}

static void root_path(const char *below, char ret_path[PATH_MAX])
{
    const char *root = getenv("GPUSLICE_SYSFS");

    snprintf(ret_path, PATH_MAX, "%s/%s", root ? root : "/sys", below);
}

void pci_module_version(char *ret_version, size_t size)
{
    char path[PATH_MAX];
    cleanup_free char *value = NULL;
    size_t length;

    root_path("module/nvidia/version", path);
    if (file_read(path, ATTRIBUTE_MAX, &value, &length, NULL) == 0)
        snprintf(ret_version, size, "%.*s", (int)strcspn(value, "\n"), value);
    else
        ret_version[0] = '\0';
}

bool pci_has_dxg(void)
{
    static const char *const buses[] = {"bus/vmbus/drivers/dxgkrnl", "bus/pci/drivers/dxgkrnl"};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(buses); i++) {
        root_path(buses[i], path);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}
