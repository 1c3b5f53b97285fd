// SPDX-License-Identifier: Apache-2.0
#include "gpu/pci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"

/* One device of the bus: class, vendor, the driver that it is bound to, and its model. */
struct device {
    const char *class, *vendor, *driver, *model;
};

static const struct row {
    const char *name;
    struct device devices[3];
    const char *family; /* of /sys/devices/soc0 */
    enum pci_gpus found;
    const char *holder;
} rows[] = {
    {"nothing at all", {{NULL}}, NULL, PCI_GPUS_NONE, ""},
    {"only a BMC's display", {{"0x030000", "0x1a03", "ast"}}, NULL, PCI_GPUS_NONE, ""},
    {"a GPU's audio function is none", {{"0x040300", "0x10de", NULL}}, NULL, PCI_GPUS_NONE, ""},
    {"no driver yet", {{"0x030200", "0x10de", NULL}}, NULL, PCI_GPUS_PRESENT, ""},
    {"NVIDIA's", {{"0x030000", "0x10de", "nvidia"}}, NULL, PCI_GPUS_PRESENT, "nvidia"},
    {"nouveau", {{"0x030000", "0x10de", "nouveau"}}, NULL, PCI_GPUS_PRESENT, "nouveau"},
    {"passed through",
     {{"0x030200", "0x10de", "vfio-pci"}, {"0x030200", "0x10de", "vfio-pci"}},
     NULL,
     PCI_GPUS_PASSED_THROUGH,
     "vfio-pci"},
    {"Grace's driver of vfio",
     {{"0x030200", "0x10de", "nvgrace_gpu_vfio_pci"}},
     NULL,
     PCI_GPUS_PASSED_THROUGH,
     "nvgrace_gpu_vfio_pci"},
    {"kept for Xen", {{"0x030200", "0x10de", "pciback"}}, NULL, PCI_GPUS_PASSED_THROUGH, "pciback"},
    {"one is left",
     {{"0x030200", "0x10de", "vfio-pci"}, {"0x030200", "0x10de", "nvidia"}},
     NULL,
     PCI_GPUS_PRESENT,
     "nvidia"},
    {"another maker's is passed through",
     {{"0x030000", "0x1002", "vfio-pci"}},
     NULL,
     PCI_GPUS_NONE,
     ""},
    {"WSL2", {{"0x030200", "0x1414", "dxgkrnl"}}, NULL, PCI_GPUS_WSL, ""},
    {"WSL2 before its driver", {{"0x030200", "0x1414", NULL, "0x008e"}}, NULL, PCI_GPUS_WSL, ""},
    {"the display of Hyper-V",
     {{"0x030000", "0x1414", "hyperv_fb", "0x5353"}},
     NULL,
     PCI_GPUS_NONE,
     ""},
    {"the display of Hyper-V, with another driver",
     {{"0x030000", "0x1414", "hyperv_drm", "0x5353"}},
     NULL,
     PCI_GPUS_NONE,
     ""},
    {"the display of Hyper-V beside a GPU for virtual machines",
     {{"0x030000", "0x1414", NULL, "0x5353"}, {"0x030200", "0x10de", "vfio-pci", "0x2330"}},
     NULL,
     PCI_GPUS_PASSED_THROUGH,
     "vfio-pci"},
    {"Hyper-V with a GPU of its own",
     {{"0x030000", "0x1414", NULL}, {"0x030200", "0x10de", NULL}},
     NULL,
     PCI_GPUS_PRESENT,
     ""},
    {"Tegra", {{NULL}}, "Tegra\n", PCI_GPUS_TEGRA, ""},
    {"another SoC", {{NULL}}, "Snapdragon\n", PCI_GPUS_NONE, ""},
    {"Tegra with a card",
     {{"0x030200", "0x10de", "nvidia"}},
     "Tegra\n",
     PCI_GPUS_PRESENT,
     "nvidia"},
};

static void put(const char *folder, const char *name, const char *text)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void put_device(const char *root, int number, const struct device *device)
{
    char folder[150], target[100], link[200];

    snprintf(folder, sizeof(folder), "%s/bus/pci/devices/0000:00:%02x.0", root, number);
    assert_int_equal(file_make_directory(folder, NULL), 0);
    put(folder, "class", device->class);
    put(folder, "vendor", device->vendor);
    if (device->model)
        put(folder, "device", device->model);
    if (!device->driver)
        return;
    snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", device->driver);
    snprintf(link, sizeof(link), "%s/driver", folder);
    assert_int_equal(symlink(target, link), 0);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
    (void)info, (void)kind, (void)ftw;
    return remove(path);
}

static void what_the_kernel_shows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        char root[] = "/tmp/gpuslice-pci-XXXXXX", folder[100];
        struct pci_holder holder;

        assert_non_null(mkdtemp(root));
        for (size_t k = 0; k < ARRAY_SIZE(row->devices) && row->devices[k].class; k++)
            put_device(root, (int)k + 3, &row->devices[k]);
        snprintf(folder, sizeof(folder), "%s/devices/soc0", root);
        assert_int_equal(file_make_directory(folder, NULL), 0);
        if (row->family)
            put(folder, "family", row->family);
        if (pci_find_gpus(root, &holder) != row->found || strcmp(holder.driver, row->holder) != 0)
            fail_msg("%s: %d, '%s'", row->name, (int)pci_find_gpus(root, NULL), holder.driver);
        nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
}

/* Whatever keeps us from looking is no proof that there is none. */
static void a_bus_that_cannot_be_read(void **state)
{
    char root[] = "/tmp/gpuslice-pci-XXXXXX", folder[100];

    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(folder, sizeof(folder), "%s/bus/pci", root);
    assert_int_equal(file_make_directory(folder, NULL), 0);
    put(folder, "devices", "a file");
    assert_int_equal(pci_find_gpus(root, NULL), PCI_GPUS_PRESENT);
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* What else of a driver the kernel knows. */
static void what_else_the_kernel_knows(void **state)
{
    static const char *const buses[] = {"vmbus", "pci"};
    char root[] = "/tmp/gpuslice-pci-XXXXXX", folder[100], version[16];

    (void)state;
    assert_non_null(mkdtemp(root));
    setenv("GPUSLICE_SYSFS", root, 1);
    pci_module_version(version, sizeof(version));
    assert_string_equal(version, "");
    snprintf(folder, sizeof(folder), "%s/module/nvidia", root);
    assert_int_equal(file_make_directory(folder, NULL), 0);
    put(folder, "version", "550.163.01\n");
    pci_module_version(version, sizeof(version));
    assert_string_equal(version, "550.163.01");
    assert_false(pci_has_dxg());
    for (size_t i = 0; i < ARRAY_SIZE(buses); i++) {
        snprintf(folder, sizeof(folder), "%s/bus/%s/drivers/dxgkrnl", root, buses[i]);
        assert_int_equal(file_make_directory(folder, NULL), 0);
        assert_true(pci_has_dxg());
        rmdir(folder);
    }
    unsetenv("GPUSLICE_SYSFS");
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_kernel_shows),
        cmocka_unit_test(a_bus_that_cannot_be_read),
        cmocka_unit_test(what_else_the_kernel_knows),
    };

    return cmocka_run_group_tests_name("gpu/pci", tests, NULL, NULL);
}
