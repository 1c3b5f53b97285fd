// SPDX-License-Identifier: Apache-2.0
#include "gpu/nvml.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "gpu/test-fake-nvml.h"
#include "gpu/test-seen.h"

static struct fake *fake;
static char directory[] = "/tmp/gpuslice-nvml-XXXXXX";

static struct gpu_driver *open_fake(const char *library)
{
    struct gpu_driver *driver = NULL;
    struct error err = ERROR_INIT;

    if (gpu_nvml.open(library, &driver, &err) != 0)
        fail_msg("%s", error_text(&err));
    return driver;
}

static struct inventory read_inventory(struct gpu_driver *driver)
{
    struct inventory inventory = INVENTORY_INIT;

    assert_int_equal(gpu_nvml.inventory(driver, &inventory, NULL), 0);
    return inventory;
}

static int clear_faults(void **state)
{
    memset(fake, 0, sizeof(*fake));
    fake->hang_index = -1;
    return 0;
}

static void addresses(void **state)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"00000000:00:1B.0", "0000:00:1b.0"},
        {"0000:00:1b.0", "0000:00:1b.0"},
        {"00010000:E1:00.0", "10000:e1:00.0"},
        {"0000:3b:00", "0000:3b:00.0"},
        {"", ""},
        {"nonsense", ""},
        {"FFFFFFFF:FF:FF.0", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char address[PCI_ADDRESS_SIZE];

        nvml_pci_address(rows[i].from, address, sizeof(address));
        assert_string_equal(address, rows[i].to);
    }
}

static void describes_gpus(void **state)
{
    struct gpu_driver *driver = open_fake(FAKE_LIBRARY);
    struct inventory inventory = read_inventory(driver);
    const struct gpu *gpu = &inventory.gpus[2];

    assert_int_equal(inventory.n_gpus, FAKE_GPUS);
    assert_int_equal(gpu->index, 2);
    assert_string_equal(gpu->uuid, "GPU-00000002-aaaa-bbbb-cccc-000000000000");
    assert_string_equal(gpu->model, "Tesla V100-SXM2-16GB");
    assert_string_equal(gpu->unusable, "");
    assert_int_equal(gpu->minor, 2);
    assert_string_equal(gpu->pci_address, "0000:00:1d.0");
    assert_int_equal(gpu->pci_device_id, 0x1db110de);
    assert_int_equal(gpu->pci_subsystem_id, 0x121210de);
    assert_int_equal(gpu->pci_class, PCI_CLASS_3D);
    assert_int_equal(gpu->numa_node, 1);
    assert_int_equal(gpu->mem_total_bytes, 16384ULL << 20);
    assert_int_equal(gpu->mem_reserved_bytes, 400ULL << 20);
    assert_int_equal(gpu->cc_major, 7);
    assert_int_equal(gpu->cc_minor, 0);
    assert_false(gpu->mig_capable);
    assert_false(gpu->fabric_completed);
    assert_false(gpu->is_vgpu);
    gpu = &inventory.gpus[3];
    assert_true(gpu->is_vgpu);
    assert_true(gpu->fabric_completed);
    assert_string_equal(gpu->fabric_cluster, "00112233-4455-6677-8899-aabbccddeeff");
    assert_int_equal(gpu->fabric_clique, 7);
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
}

static void finds_links(void **state)
{
    struct gpu_driver *driver = open_fake(FAKE_LIBRARY);
    struct inventory inventory = read_inventory(driver);

    assert_int_equal(inventory_link(&inventory, 0, 1).n_nvlinks, 2);
    assert_int_equal(inventory_link(&inventory, 1, 0).n_nvlinks, 2);
    assert_int_equal(inventory_link(&inventory, 0, 2).n_nvlinks, 1);
    assert_int_equal(inventory_link(&inventory, 0, 3).n_nvlinks, 0);
    assert_int_equal(inventory_link(&inventory, 0, 1).path, GPU_PATH_SINGLE_SWITCH);
    assert_int_equal(inventory_link(&inventory, 0, 3).path, GPU_PATH_ACROSS_CPUS);
    assert_int_equal(inventory.gpus[0].n_nvswitch_links, 1);
    assert_int_equal(inventory.gpus[1].n_nvswitch_links, 0);
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
}

/* The kernel's word about class and NUMA node goes before the driver's, where it is this GPU. */
static void believes_sysfs(void **state)
{
    static const struct {
        const char *address, *name, *text;
    } files[] = {
        {"0000:00:1b.0", "vendor", "0x10de\n"},  {"0000:00:1b.0", "class", "0x030000\n"},
        {"0000:00:1b.0", "numa_node", "3\n"},    {"0000:00:1c.0", "vendor", "0x1af4\n"},
        {"0000:00:1c.0", "class", "0x010000\n"}, {"0000:00:1d.0", "vendor", "0x10de\n"},
        {"0000:00:1d.0", "numa_node", "-1\n"},
    };
    struct inventory inventory;
    struct gpu_driver *driver;
    char path[256];

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", directory, files[i].address);
        assert_int_equal(file_make_directory(path, NULL), 0);
        snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", directory, files[i].address,
                 files[i].name);
        assert_int_equal(file_write_atomic(path, files[i].text, strlen(files[i].text), 0644, NULL),
                         0);
    }
    setenv("GPUSLICE_SYSFS", directory, 1);
    driver = open_fake(FAKE_LIBRARY);
    inventory = read_inventory(driver);
    assert_int_equal(inventory.gpus[0].pci_class, PCI_CLASS_VGA);
    assert_int_equal(inventory.gpus[0].numa_node, 3);
    /* Some other device has the address of a simulated GPU. */
    assert_int_equal(inventory.gpus[1].pci_class, PCI_CLASS_3D);
    assert_int_equal(inventory.gpus[1].numa_node, 0);
    assert_int_equal(inventory.gpus[2].numa_node, -1);
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
    setenv("GPUSLICE_SYSFS", "/nonexistent", 1);
}

static void a_lost_gpu_harms_no_other(void **state)
{
    const char *uuid = "GPU-00000001-aaaa-bbbb-cccc-000000000000";
    struct gpu_probe probe = GPU_PROBE_INIT;
    struct error err = ERROR_INIT;
    struct inventory inventory;
    struct gpu_driver *driver;

    fake->lost[1] = 1;
    driver = open_fake(FAKE_LIBRARY);
    inventory = read_inventory(driver);
    assert_int_equal(inventory.n_gpus, FAKE_GPUS);
    assert_non_null(strstr(inventory.gpus[1].unusable, "has fallen off the bus"));
    assert_int_equal(inventory_link(&inventory, 0, 1).path, GPU_PATH_UNKNOWN);
    for (unsigned i = 0; i < FAKE_GPUS; i++)
        if (i != 1)
            assert_string_equal(inventory.gpus[i].unusable, "");
    assert_true(gpu_nvml.probe(driver, uuid, &probe, &err) != 0);
    assert_int_equal(gpu_nvml.probe(driver, inventory.gpus[0].uuid, &probe, &err), 0);
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
}

static void tells_a_lost_gpu_from_a_strange_one(void **state)
{
    struct gpu_driver *driver = open_fake(FAKE_LIBRARY);
    struct inventory inventory = read_inventory(driver);
    struct gpu_probe probe = GPU_PROBE_INIT;
    struct error err = ERROR_INIT;

    fake->lost[1] = 1;
    assert_int_equal(gpu_nvml.probe(driver, inventory.gpus[1].uuid, &probe, &err), GPU_LOST);
    assert_non_null(strstr(error_text(&err), "fallen off the bus"));
    assert_int_equal(gpu_nvml.probe(driver, "GPU-stranger", &probe, &err), -ENXIO);
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
}

static void reads_recovery_actions(void **state)
{
    static const enum gpu_recovery expected[] = {GPU_RECOVERY_NONE,   GPU_RECOVERY_RESET,
                                                 GPU_RECOVERY_REBOOT, GPU_RECOVERY_DRAIN,
                                                 GPU_RECOVERY_DRAIN,  GPU_RECOVERY_RESET};
    struct gpu_driver *driver = open_fake(FAKE_LIBRARY);
    struct inventory inventory = read_inventory(driver);

    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
        struct gpu_probe probe = GPU_PROBE_INIT;

        fake->recovery[0] = i;
        assert_int_equal(gpu_nvml.probe(driver, inventory.gpus[0].uuid, &probe, NULL), 0);
        assert_int_equal(probe.recovery, expected[i]);
    }
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
}

static void waits_for_events(void **state)
{
    struct gpu_driver *driver = open_fake(FAKE_LIBRARY);
    struct inventory inventory = read_inventory(driver);
    struct gpu_event event;

    assert_int_equal(gpu_nvml.wait_event(driver, 1, &event, NULL), GPU_UNSUPPORTED);
    assert_int_equal(gpu_nvml.watch(driver, inventory.gpus[2].uuid, NULL), 0);
    assert_int_equal(gpu_nvml.wait_event(driver, 4, &event, NULL), GPU_TIMEOUT);
    fake->event_index = 2;
    fake->event_xid = 48;
    fake->event_turn++;
    assert_int_equal(gpu_nvml.wait_event(driver, 1000, &event, NULL), 0);
    assert_string_equal(event.uuid, inventory.gpus[2].uuid);
    assert_int_equal(event.xid, 48);
    fake->lost[2] = 1;
    assert_int_equal(gpu_nvml.wait_event(driver, 1000, &event, NULL), GPU_LOST);
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
}

static void bears_missing_symbols(void **state)
{
    struct gpu_driver *driver = open_fake(FAKE_OLD_LIBRARY);
    struct inventory inventory = read_inventory(driver);
    struct gpu_probe probe = GPU_PROBE_INIT;
    const struct gpu *gpu = &inventory.gpus[0];

    assert_string_equal(gpu->unusable, "");
    assert_int_equal(gpu->mem_total_bytes, 16384ULL << 20);
    assert_int_equal(gpu->mem_reserved_bytes, 0);
    assert_int_equal(gpu->pci_class, 0);
    assert_int_equal(gpu->numa_node, -1);
    assert_int_equal(inventory_link(&inventory, 0, 1).path, GPU_PATH_UNKNOWN);
    assert_int_equal(gpu_nvml.watch(driver, gpu->uuid, NULL), GPU_UNSUPPORTED);
    assert_int_equal(gpu_nvml.probe(driver, gpu->uuid, &probe, NULL), 0);
    assert_int_equal(probe.recovery, GPU_RECOVERY_UNKNOWN);
    assert_true(probe.energy_millijoule == UINT64_MAX);
    inventory_deinit(&inventory);
    gpu_nvml.close(driver);
}

static void says_why_it_cannot_open(void **state)
{
    struct gpu_driver *driver = NULL;
    struct error err = ERROR_INIT;

    assert_int_equal(gpu_nvml.open("/nonexistent/libnvidia-ml.so.1", &driver, &err), -ENOENT);
    assert_int_equal(gpu_nvml.open(FAKE_BROKEN_LIBRARY, &driver, &err), -ELIBBAD);
    assert_non_null(strstr(error_text(&err), "nvmlDeviceGetUUID"));
    fake->not_loaded = 1;
    assert_int_equal(gpu_nvml.open(FAKE_LIBRARY, &driver, &err), -ENODEV);
    assert_non_null(strstr(error_text(&err), "not loaded"));
    assert_null(driver);
}

static int make_fake(void **state)
{
    char path[64];
    int fd;

    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof(path), "%s/fake", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*fake)) < 0)
        return -1;
    fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    setenv("FAKE_NVML", path, 1);
    setenv("GPUSLICE_SYSFS", "/nonexistent", 1);
    return fake == MAP_FAILED ? -1 : 0;
}

static int remove_fake(void **state)
{
    munmap(fake, sizeof(*fake));
    seen_remove_tree(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(addresses, clear_faults),
        cmocka_unit_test_setup(describes_gpus, clear_faults),
        cmocka_unit_test_setup(finds_links, clear_faults),
        cmocka_unit_test_setup(believes_sysfs, clear_faults),
        cmocka_unit_test_setup(a_lost_gpu_harms_no_other, clear_faults),
        cmocka_unit_test_setup(tells_a_lost_gpu_from_a_strange_one, clear_faults),
        cmocka_unit_test_setup(reads_recovery_actions, clear_faults),
        cmocka_unit_test_setup(waits_for_events, clear_faults),
        cmocka_unit_test_setup(bears_missing_symbols, clear_faults),
        cmocka_unit_test_setup(says_why_it_cannot_open, clear_faults),
    };

    return cmocka_run_group_tests_name("nvml", tests, make_fake, remove_fake);
}
