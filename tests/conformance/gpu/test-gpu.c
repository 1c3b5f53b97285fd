// SPDX-License-Identifier: Apache-2.0

/* Simulated machines, seen through the backend and through the helper. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "gpu/gpu.h"
#include "gpu/helper.h"
#include "gpu/test-seen.h"
#include "simtool.h"

enum { DEADLINE_MS = 700 };

static const char *library;
static char directory[] = "/tmp/gpuslice-gpu-XXXXXX";

/* Each test gets its own machine, in its initial state. */
static void use_machine(const char *name)
{
    static unsigned n;
    char state[64];

    snprintf(state, sizeof(state), "%s/state-%u", directory, n++);
    setenv("GPUSLICE_MACHINE", name, 1);
    setenv("GPUSLICE_SIM_STATE", state, 1);
}

static struct inventory read_machine(const char *name)
{
    struct inventory inventory = INVENTORY_INIT;
    struct gpu_driver *driver = NULL;
    struct error err = ERROR_INIT;

    use_machine(name);
    if (gpu_nvml.open(library, &driver, &err) != 0 ||
        gpu_nvml.inventory(driver, &inventory, &err) != 0)
        fail_msg("%s: %s", name, error_text(&err));
    gpu_nvml.close(driver);
    return inventory;
}

/* The guide's machine, value by value; sources: sim/machines/p3.8xlarge.yaml. */
static void p3_8xlarge(void **state)
{
    static const uint8_t nvlinks[4][4] = {{0, 1, 1, 2}, {1, 0, 2, 1}, {1, 2, 0, 2}, {2, 1, 2, 0}};
    struct inventory inventory = read_machine("p3.8xlarge");

    assert_string_equal(inventory.driver_version, "550.163.01");
    assert_int_equal(inventory.cuda_version, 12040);
    assert_int_equal(inventory.n_gpus, 4);
    for (unsigned i = 0; i < 4; i++) {
        const struct gpu *gpu = &inventory.gpus[i];
        char address[PCI_ADDRESS_SIZE];

        snprintf(address, sizeof(address), "0000:00:%02x.0", 0x1b + i);
        assert_int_equal(gpu->index, i);
        assert_int_equal(gpu->minor, i);
        assert_memory_equal(gpu->uuid, "GPU-", 4);
        assert_string_equal(gpu->model, "Tesla V100-SXM2-16GB");
        assert_string_equal(gpu->unusable, "");
        assert_string_equal(gpu->pci_address, address);
        assert_int_equal(gpu->pci_device_id, 0x1db110de);
        assert_int_equal(gpu->pci_subsystem_id, 0x121210de);
        assert_int_equal(gpu->pci_class, PCI_CLASS_3D);
        assert_int_equal(gpu->numa_node, 0);
        assert_int_equal(gpu->mem_total_bytes, 16384ULL << 20);
        assert_int_equal(gpu->mem_reserved_bytes, 224ULL << 20);
        assert_int_equal(gpu->cc_major * 10 + gpu->cc_minor, 70);
        assert_false(gpu->mig_capable || gpu->mig_enabled || gpu->fabric_completed);
        assert_int_equal(gpu->n_nvswitch_links, 0);
        for (unsigned j = 0; j < 4; j++)
            assert_int_equal(inventory_link(&inventory, i, j).n_nvlinks, nvlinks[i][j]);
    }
    assert_string_not_equal(inventory.gpus[0].uuid, inventory.gpus[1].uuid);
    inventory_deinit(&inventory);
}

static void other_machines(void **state)
{
    static const struct {
        const char *name;
        size_t n_gpus;
        unsigned compute, n_nvswitch_links;
        bool mig_capable;
    } rows[] = {
        {"p3.2xlarge", 1, 70, 0, false},  {"p3.16xlarge", 8, 70, 0, false},
        {"g4dn.xlarge", 1, 75, 0, false}, {"g5.12xlarge", 4, 86, 0, false},
        {"g6.12xlarge", 4, 89, 0, false}, {"p4d.24xlarge", 8, 80, 12, true},
        {"p5.48xlarge", 8, 90, 18, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct inventory inventory = read_machine(rows[i].name);
        const struct gpu *gpu = &inventory.gpus[inventory.n_gpus - 1];

        if (inventory.n_gpus != rows[i].n_gpus ||
            gpu->cc_major * 10 + gpu->cc_minor != rows[i].compute ||
            gpu->n_nvswitch_links != rows[i].n_nvswitch_links ||
            gpu->mig_capable != rows[i].mig_capable || gpu->unusable[0])
            fail_msg("%s: %zu GPUs, compute %u.%u, %u NVSwitch links, MIG %d %s", rows[i].name,
                     inventory.n_gpus, gpu->cc_major, gpu->cc_minor, gpu->n_nvswitch_links,
                     gpu->mig_capable, gpu->unusable);
        inventory_deinit(&inventory);
    }
}

static struct seen seen;

static int begin(void **state)
{
    use_machine("p3.8xlarge");
    seen_init(&seen);
    seen_start(&seen, library, DEADLINE_MS);
    WAIT_FOR(&seen, seen.n_probes >= 4);
    return 0;
}

static int end(void **state)
{
    seen_deinit(&seen);
    return 0;
}

static void an_xid_arrives(void **state)
{
    SIM("inject", "xid", "2", "95"); /* comes with a double bit error, which we report as XID 48 */
    WAIT_FOR(&seen, seen.n_events >= 1 && seen.event.xid != 48);
    assert_int_equal(seen.event.xid, 95);
    assert_string_equal(seen.event.uuid, seen.inventory.gpus[2].uuid);
}

static void a_hang_is_reported(void **state)
{
    uint64_t began_ms;
    char uuid[GPU_UUID_SIZE];

    memcpy(uuid, seen.inventory.gpus[1].uuid, sizeof(uuid));
    SIM("inject", "hang", "1", "nvmlDeviceGetTotalEnergyConsumption");
    began_ms = clock_now_ms();
    driver_probe(seen.driver, uuid);
    WAIT_FOR(&seen, seen.n_hangs >= 1);
    assert_true(clock_now_ms() - began_ms < DEADLINE_MS + 2000);
    assert_string_equal(seen.hung_call, "nvmlDeviceGetTotalEnergyConsumption");
    assert_string_equal(seen.hung_uuid, uuid);
    WAIT_FOR(&seen, seen.n_inventories >= 2);
    assert_string_equal(seen.inventory.gpus[1].uuid, uuid);
    assert_string_not_equal(seen.inventory.gpus[1].unusable, "");
    assert_string_equal(seen.inventory.gpus[2].unusable, "");
    SIM("inject", "xid", "2", "31");
    WAIT_FOR(&seen, seen.n_events >= 1);
}

static void a_killed_helper_is_replaced(void **state)
{
    int pid = driver_pid(seen.driver);

    kill(pid, SIGKILL);
    WAIT_FOR(&seen, seen.n_inventories >= 2);
    assert_int_not_equal(driver_pid(seen.driver), pid);
}

static void a_lost_gpu_comes_back(void **state)
{
    char uuid[GPU_UUID_SIZE];
    unsigned n;

    memcpy(uuid, seen.inventory.gpus[3].uuid, sizeof(uuid));
    SIM("inject", "lost", "3");
    WAIT_FOR(&seen, seen.n_lost >= 1);
    assert_string_equal(seen.lost_uuid, uuid);
    WAIT_FOR(&seen, seen.inventory.gpus[3].unusable[0]);
    assert_string_equal(seen.inventory.gpus[0].unusable, "");
    n = seen.n_events;
    SIM("inject", "xid", "0", "31");
    WAIT_FOR(&seen, seen.n_events > n);
    SIM("inject", "back", "3");
    WAIT_FOR(&seen, !seen.inventory.gpus[3].unusable[0]);
    assert_string_equal(seen.inventory.gpus[3].uuid, uuid);
    assert_int_equal(seen.n_hangs, 0);
}

static void symbols_go_missing(void **state)
{
    SIM("inject", "symbol", "nvmlDeviceGetMemoryInfo_v2", "missing");
    SIM("inject", "symbol", "nvmlDeviceGetNvLinkState", "missing");
    SIM("inject", "symbol", "nvmlEventSetWait_v2", "missing");
    kill(driver_pid(seen.driver), SIGKILL);
    WAIT_FOR(&seen, seen.n_inventories >= 2);
    assert_int_equal(seen.inventory.n_gpus, 4);
    assert_string_equal(seen.inventory.gpus[0].unusable, "");
    assert_int_equal(seen.inventory.gpus[0].mem_total_bytes, 16384ULL << 20);
    assert_int_equal(seen.inventory.gpus[0].mem_reserved_bytes, 0);
    assert_int_equal(inventory_link(&seen.inventory, 0, 3).n_nvlinks, 0);
    assert_int_equal(seen.n_hangs, 0);
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p3_8xlarge),
        cmocka_unit_test(other_machines),
        cmocka_unit_test_setup_teardown(an_xid_arrives, begin, end),
        cmocka_unit_test_setup_teardown(a_hang_is_reported, begin, end),
        cmocka_unit_test_setup_teardown(a_killed_helper_is_replaced, begin, end),
        cmocka_unit_test_setup_teardown(a_lost_gpu_comes_back, begin, end),
        cmocka_unit_test_setup_teardown(symbols_go_missing, begin, end),
    };
    int r;

    if (argc > 1 && strcmp(argv[1], HELPER_PART) == 0)
        return helper_main(argc, argv);
    library = getenv("GPUSLICE_TEST_LIBRARY");
    if (!library || !getenv("GPUSLICE_TEST_SIM") || !mkdtemp(directory))
        return 1;
    setenv("GPUSLICE_SYSFS", "/nonexistent", 1);
    r = cmocka_run_group_tests_name("gpu", tests, NULL, NULL);
    seen_remove_tree(directory);
    return r;
}
