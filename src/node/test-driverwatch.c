// SPDX-License-Identifier: Apache-2.0
#include "node/driverwatch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "gpu/driver.h"
#include "gpu/pci.h"
#include "plugin/test-bed.h"

/* --- the helper, played: the test reports in its place --- */

static struct driver_callbacks reports;
static void *reports_userdata;
static struct text probed;
static char driver_place;
static bool cannot_start;
static unsigned n_started;

int driver_new(uv_loop_t *loop, const struct driver_options *options,
               const struct driver_callbacks *callbacks, void *userdata, struct driver **ret_driver,
               struct error *err)
{
    (void)loop, (void)options;
    if (cannot_start)
        return error_set_errno(err, -EAGAIN, "cannot start the helper");
    n_started++;
    reports = *callbacks;
    reports_userdata = userdata;
    *ret_driver = (struct driver *)&driver_place;
    return 0;
}

void driver_free(struct driver *driver)
{
    (void)driver;
}

int driver_pid(const struct driver *driver)
{
    (void)driver;
    return 7;
}

void driver_probe(struct driver *driver, const char *uuid)
{
    (void)driver;
    text_addf(&probed, "%s ", uuid);
}

static const struct gpu_change *asked;
static driver_changed_fn *asked_done;
static void *asked_userdata;

int driver_change(struct driver *driver, const struct gpu_change *change, uint64_t deadline_ms,
                  driver_changed_fn *done, void *userdata)
{
    (void)driver, (void)deadline_ms;
    asked = change;
    asked_done = done;
    asked_userdata = userdata;
    return 0;
}

static enum pci_gpus gpus;
static const char *holder;

enum pci_gpus pci_find_gpus(const char *sysfs, struct pci_holder *ret_holder)
{
    (void)sysfs;
    if (ret_holder)
        snprintf(ret_holder->driver, sizeof(ret_holder->driver), "%s", holder);
    return gpus;
}

/* --- what it leads to --- */

static struct text events;
static unsigned n_machine, n_health, n_no_driver;

void publisher_event(struct publisher *publisher, bool warning, const char *reason,
                     const char *message, const struct sync_pod *pods, size_t n_pods)
{
    (void)publisher, (void)warning, (void)message, (void)pods, (void)n_pods;
    text_addf(&events, "%s ", reason);
}

void publisher_touch(struct publisher *publisher)
{
    (void)publisher;
}

static void on_machine(void *userdata)
{
    (void)userdata;
    n_machine++;
}

static void on_health(void *userdata)
{
    (void)userdata;
    n_health++;
}

static bool is_lost;

static void on_reach(bool is_lost_now, void *userdata)
{
    (void)userdata;
    is_lost = is_lost_now;
}

static void on_no_driver(void *userdata)
{
    (void)userdata;
    n_no_driver++;
}

/* --- the world --- */

struct world {
    struct bed bed;
    struct agent_flags flags;
    struct facts facts;
    struct driverwatch *watch;
    struct offer *offer; /* lends its machine: two whole GPUs */
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    gpus = PCI_GPUS_PRESENT;
    holder = "";
    is_lost = cannot_start = false;
    n_started = 0;
    n_machine = n_health = n_no_driver = 0;
    world->flags.state_dir = world->bed.folder;
    world->facts.flags = &world->flags;
    world->offer = bed_offer(BED_SHARED_BY_4);
    *state = world;
    return 0;
}

static void start(struct world *world)
{
    const struct driverwatch_setup setup = {.loop = &world->bed.loop,
                                            .facts = &world->facts,
                                            .on_machine = on_machine,
                                            .on_health = on_health,
                                            .on_no_driver = on_no_driver,
                                            .on_reach = on_reach};

    assert_int_equal(driverwatch_new(&setup, &world->watch, NULL), 0);
    assert_int_equal(driverwatch_start(world->watch, NULL), 0);
}

static int tear_down(void **state)
{
    struct world *world = *state;

    driverwatch_free(world->watch);
    bed_settle(&world->bed);
    bed_deinit(&world->bed);
    bed_offer_free(world->offer);
    facts_deinit(&world->facts);
    text_deinit(&events);
    text_deinit(&probed);
    free(world);
    return 0;
}

static void see_machine(struct world *world)
{
    reports.on_inventory(&world->offer->inventory, reports_userdata);
}

static void see_xid(uint64_t xid)
{
    struct gpu_event event = {
        .xid = xid, .gpu_instance = DEVICE_NO_INSTANCE, .compute_instance = DEVICE_NO_INSTANCE};

    snprintf(event.uuid, sizeof(event.uuid), "%s", BED_UUID_0);
    reports.on_event(&event, reports_userdata);
}

static void assert_healthy(const struct world *world, const char *uuid, bool healthy)
{
    const struct devicehealth *device = health_find(world->facts.health, uuid);

    assert_int_equal(!device || device->healthy, healthy);
}

static void probe(const char *uuid, int outcome, const char *reason)
{
    const struct gpu_probe nothing = GPU_PROBE_INIT;

    reports.on_probe(uuid, outcome, &nothing, reason, reports_userdata);
}

/* --- the cases --- */

static void the_machine_becomes_known_once(void **state)
{
    struct world *world = *state;

    start(world);
    see_machine(world);
    assert_true(world->facts.machine_known);
    assert_int_equal(world->facts.machine.n_gpus, 2);
    assert_int_equal(n_machine, 1);
    world->facts.offer = world->offer; /* what the agent made of it */
    see_machine(world);
    world->facts.offer = NULL;
    assert_int_equal(n_machine, 1);
    assert_int_equal(n_health, 0);
}

static void a_driver_that_is_missing_is_reported_once(void **state)
{
    struct world *world = *state;

    start(world);
    for (int i = 0; i < 3; i++)
        reports.on_unavailable("the driver is not loaded", reports_userdata);
    assert_string_equal(world->facts.driver_problem, "the driver is not loaded");
    assert_string_equal(text_string(&events), "DriverNotAvailable ");
    assert_int_equal(n_no_driver, 3);
    assert_int_equal(n_machine, 0);
    see_machine(world);
    assert_string_equal(world->facts.driver_problem, "");
    reports.on_unavailable("the driver is not loaded", reports_userdata);
    assert_string_equal(text_string(&events), "DriverNotAvailable DriverNotAvailable ");
    assert_int_equal(n_no_driver, 3); /* it answered once: the agent goes on */
}

/* The condition changes its sentence each time, so each has an event, whatever the log's limit. */
static void each_sentence_has_an_event(void **state)
{
    struct world *world = *state;
    size_t expected = 0;

    start(world);
    for (int i = 0; i < 5; i++) {
        see_machine(world);
        reports.on_unavailable("versions differ", reports_userdata);
        reports.on_unavailable("versions differ", reports_userdata);
        reports.on_unavailable("the driver is not loaded", reports_userdata);
        expected += 2 * strlen("DriverNotAvailable ");
        assert_int_equal(strlen(text_string(&events)), expected);
    }
}

/* At the first start as later: it is tried again, and the node does not count as one without. */
static void a_driver_that_lists_none_of_the_gpus_is_a_problem_at_first_too(void **state)
{
    static const char sentence[] = "no GPU can be reached: the driver lists none of them";
    const struct inventory none = {.n_gpus = 0};
    struct world *world = *state;

    start(world);
    for (int i = 0; i < 2; i++) {
        reports.on_inventory(&none, reports_userdata);
        assert_false(world->facts.machine_known);
        assert_true(is_lost);
        assert_string_equal(world->facts.driver_problem, sentence);
    }
    assert_string_equal(text_string(&events), "DriverNotAvailable ");
    assert_int_equal(n_machine, 0);
    see_machine(world);
    assert_true(world->facts.machine_known);
    assert_false(is_lost);
    assert_int_equal(n_machine, 1);
    assert_string_equal(world->facts.driver_problem, "");
    reports.on_inventory(&none, reports_userdata);
    assert_true(world->facts.machine_known);
    assert_string_equal(world->facts.driver_problem, sentence);
}

static void a_driver_without_a_gpu_on_the_bus_is_none(void **state)
{
    const struct inventory none = {.n_gpus = 0};
    struct world *world = *state;

    gpus = PCI_GPUS_NONE;
    start(world);
    reports.on_inventory(&none, reports_userdata);
    assert_true(world->facts.machine_known);
    assert_int_equal(n_machine, 1);
    assert_string_equal(world->facts.driver_problem, "");
    assert_string_equal(text_string(&events), "");
}

static void a_node_without_a_gpu_has_a_known_and_empty_machine(void **state)
{
    struct world *world = *state;

    gpus = PCI_GPUS_NONE;
    start(world);
    reports.on_unavailable("the driver is not loaded", reports_userdata);
    assert_true(world->facts.machine_known);
    assert_int_equal(n_machine, 1);
    assert_string_equal(world->facts.unserved, "");
    reports.on_unavailable("the library is still not there", reports_userdata);
    assert_int_equal(n_machine, 1);
    assert_int_equal(n_no_driver, 0);
    assert_string_equal(text_string(&events), "");
    assert_string_equal(world->facts.driver_problem, "");
}

/* GPUs that are nobody's to slice here: known, Ready and silent, with a sentence for the Node. */
static void gpus_that_cannot_be_served_are_no_problem(void **state)
{
    static const struct {
        enum pci_gpus gpus;
        const char *driver, *sentence;
    } cases[] = {
        {PCI_GPUS_PASSED_THROUGH, "vfio-pci", "virtual machines, by vfio-pci"},
        {PCI_GPUS_TEGRA, "", "Tegra"},
        {PCI_GPUS_WSL, "", "runtimeClassName"},
    };

    struct world *world = *state;

    start(world);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        gpus = cases[i].gpus;
        holder = cases[i].driver;
        reports.on_unavailable("cannot load libnvidia-ml.so.1", reports_userdata);
        assert_non_null(strstr(world->facts.unserved, cases[i].sentence));
        assert_true(world->facts.machine_known);
        assert_string_equal(world->facts.driver_problem, "");
    }
    assert_int_equal(n_machine, 1);
    assert_int_equal(n_no_driver, 0);
    assert_string_equal(text_string(&events), "");
}

/* A GPU that virtual machines gave back is looked for, and the driver's absence counts then. */
static void gpus_that_are_given_back_count(void **state)
{
    struct world *world = *state;

    start(world);
    gpus = PCI_GPUS_PASSED_THROUGH;
    holder = "vfio-pci";
    reports.on_unavailable("cannot load libnvidia-ml.so.1", reports_userdata);
    bed_advance(&world->bed, 61000);
    assert_int_equal(n_no_driver, 0);
    gpus = PCI_GPUS_PRESENT;
    holder = "";
    bed_advance(&world->bed, 61000);
    assert_int_equal(n_no_driver, 1);
    assert_string_equal(world->facts.unserved, "");
    assert_string_equal(world->facts.driver_problem, "cannot load libnvidia-ml.so.1");
    see_machine(world);
    assert_string_equal(world->facts.driver_problem, "");
}

/* The driver is unloaded first, so the bus shows it only later. What held the GPUs is Unhealthy. */
static void gpus_that_virtual_machines_take_are_no_problem(void **state)
{
    struct world *world = *state;

    start(world);
    see_machine(world);
    reports.on_unavailable("the driver is not loaded", reports_userdata);
    assert_string_equal(world->facts.driver_problem, "the driver is not loaded");
    gpus = PCI_GPUS_PASSED_THROUGH;
    holder = "vfio-pci";
    bed_advance(&world->bed, 61000);
    assert_string_equal(
        world->facts.unserved,
        "the GPUs of this node are passed through to virtual machines, by vfio-pci");
    assert_string_equal(world->facts.driver_problem, "");
    assert_true(world->facts.machine_known);
    assert_false(is_lost);
    assert_healthy(world, BED_UUID_0, false);
    assert_healthy(world, BED_UUID_1, false);
    gpus = PCI_GPUS_PRESENT;
    holder = "";
    bed_advance(&world->bed, 61000);
    assert_string_equal(world->facts.unserved, "");
    assert_string_equal(world->facts.driver_problem, "the driver is not loaded");
    assert_true(world->facts.machine_known);
    see_machine(world);
    probe(BED_UUID_0, 0, "");
    assert_string_equal(world->facts.driver_problem, "");
    assert_healthy(world, BED_UUID_0, true);
    assert_int_equal(n_no_driver, 0);
}

static void a_fatal_xid_makes_a_device_unhealthy_and_it_is_probed(void **state)
{
    struct world *world = *state;

    start(world);
    see_machine(world);
    see_xid(13); /* the program's own fault */
    assert_healthy(world, BED_UUID_0, true);
    see_xid(79);
    assert_int_equal(world->facts.counters.xids, 2);
    assert_int_equal(n_health, 1);
    assert_healthy(world, BED_UUID_0, false);
    assert_healthy(world, BED_UUID_1, true);
    assert_non_null(
        strstr(devicehealth_reason(health_find(world->facts.health, BED_UUID_0)), "XID 79"));
    bed_advance(&world->bed, 60000);
    assert_non_null(strstr(text_string(&probed), BED_UUID_0));
    assert_null(strstr(text_string(&probed), BED_UUID_1));
}

static void restart(struct world *world)
{
    driverwatch_free(world->watch);
    bed_settle(&world->bed);
    facts_deinit(&world->facts);
    world->facts = (struct facts){.flags = &world->flags};
    start(world);
    see_machine(world);
}

/* The agent that comes next knows it from the file. */
static void health_outlives_the_agent(void **state)
{
    struct world *world = *state;

    start(world);
    see_machine(world);
    see_xid(79);
    restart(world);
    assert_healthy(world, BED_UUID_0, false);
    assert_healthy(world, BED_UUID_1, true);
}

/* A person says by the flags that it does not count, and then takes them back. */
static void the_flags_overrule_what_is_remembered(void **state)
{
    static const char *const switches[] = {"79", "all", "xids"};
    struct world *world = *state;

    start(world);
    see_machine(world);
    for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
        see_xid(79);
        assert_healthy(world, BED_UUID_0, false);
        world->flags.disable_health_checks = switches[i];
        restart(world);
        assert_healthy(world, BED_UUID_0, true);
        world->flags.disable_health_checks = NULL;
        restart(world);
        assert_healthy(world, BED_UUID_0, true);
    }
}

/* NVIDIA's plugin has no checks at all then. */
static void all_checks_are_off(void **state)
{
    struct world *world = *state;

    world->flags.disable_health_checks = "all";
    start(world);
    see_machine(world);
    see_xid(79);
    reports.on_probe(BED_UUID_0, GPU_LOST, &(struct gpu_probe)GPU_PROBE_INIT, "it is lost",
                     reports_userdata);
    reports.on_hang("nvmlDeviceGetName", BED_UUID_1, false, reports_userdata);
    assert_healthy(world, BED_UUID_0, true);
    assert_healthy(world, BED_UUID_1, true);
}

/* The other way to overrule, without a restart. */
static void removing_the_file_clears_faults(void **state)
{
    struct world *world = *state;
    const struct gpu_probe probe = GPU_PROBE_INIT;
    char path[BED_PATH_SIZE];

    start(world);
    see_machine(world);
    see_xid(79);
    bed_path(&world->bed, "health", path);
    reports.on_probe(BED_UUID_0, 0, &probe, "", reports_userdata);
    assert_healthy(world, BED_UUID_0, false);
    assert_int_equal(unlink(path), 0);
    bed_advance(&world->bed, 1); /* it is looked at once in each turn of the loop */
    reports.on_probe(BED_UUID_0, 0, &probe, "", reports_userdata);
    assert_healthy(world, BED_UUID_0, true);
    see_xid(79); /* a new one */
    reports.on_probe(BED_UUID_0, 0, &probe, "", reports_userdata);
    assert_healthy(world, BED_UUID_0, false);
    bed_remove(&world->bed, "health");
}

static void a_silence(struct world *world)
{
    (void)world;
    reports.on_unavailable("versions differ", reports_userdata);
}

static void virtual_machines(struct world *world)
{
    gpus = PCI_GPUS_PASSED_THROUGH;
    a_silence(world);
}

static void a_hang(struct world *world)
{
    (void)world;
    reports.on_hang("nvmlDeviceGetName", BED_UUID_1, false, reports_userdata);
}

static void another_xid(struct world *world)
{
    struct gpu_event event = {
        .xid = 79, .gpu_instance = DEVICE_NO_INSTANCE, .compute_instance = DEVICE_NO_INSTANCE};

    (void)world;
    snprintf(event.uuid, sizeof(event.uuid), "%s", BED_UUID_1);
    reports.on_event(&event, reports_userdata);
}

/* The other GPU is missing. */
static void another_inventory(struct world *world)
{
    struct inventory seen = world->offer->inventory;

    seen.n_gpus = 1;
    reports.on_inventory(&seen, reports_userdata);
}

/* Whatever else changes before the next probe, and saves the file again. */
static void a_removal_is_heeded_before_any_change(void **state)
{
    void (*const changes[])(struct world *) = {a_silence, virtual_machines, a_hang, another_xid,
                                               another_inventory};
    struct world *world = *state;
    const struct gpu_probe probe = {.recovery = GPU_RECOVERY_NONE, .energy_millijoule = UINT64_MAX};
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, "health", path);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        start(world);
        see_machine(world);
        see_xid(79);
        assert_healthy(world, BED_UUID_0, false);
        assert_int_equal(unlink(path), 0);
        changes[i](world);
        reports.on_probe(BED_UUID_0, 0, &probe, "", reports_userdata);
        if (!health_find(world->facts.health, BED_UUID_0)->healthy)
            fail_msg("change %zu", i);
        bed_remove(&world->bed, "health");
        tear_down(state);
        set_up(state);
        world = *state;
        bed_path(&world->bed, "health", path);
    }
}

static void an_xid_that_the_flags_exclude_is_no_fault(void **state)
{
    struct world *world = *state;

    world->flags.disable_health_checks = "79";
    start(world);
    see_machine(world);
    see_xid(79);
    assert_healthy(world, BED_UUID_0, true);
    assert_int_equal(world->facts.counters.xids, 1);
}

static void assert_lost(const struct world *world, bool expected, const char *problem)
{
    assert_int_equal(is_lost, expected);
    assert_string_equal(world->facts.driver_problem, problem);
}

/* While the driver cannot be opened, and until a GPU has answered again. */
static void a_driver_that_is_gone_is_lost(void **state)
{
    struct world *world = *state;

    start(world);
    see_machine(world);
    probe(BED_UUID_0, 0, "");
    probe(BED_UUID_1, 0, "");
    assert_lost(world, false, "");
    reports.on_unavailable("versions differ", reports_userdata);
    assert_lost(world, true, "versions differ");
    see_machine(world);
    assert_lost(world, true, "versions differ");
    probe(BED_UUID_0, 0, "");
    assert_lost(world, false, "");
    assert_string_equal(text_string(&events), "DriverNotAvailable ");
}

/* The driver opens, and each GPU fails: that is no better, and said in the same way. */
static void gpus_that_all_fail_are_a_problem_of_the_driver(void **state)
{
    struct world *world = *state;

    start(world);
    see_machine(world);
    probe(BED_UUID_0, -EPERM, "no permission");
    assert_lost(world, false, "");
    probe(BED_UUID_1, -EPERM, "no permission");
    assert_lost(world, true, "no GPU can be reached: no permission");
    see_machine(world); /* the helper tries again */
    probe(BED_UUID_0, -EPERM, "no permission");
    probe(BED_UUID_1, -EPERM, "no permission");
    assert_lost(world, true, "no GPU can be reached: no permission");
    assert_string_equal(text_string(&events), "DriverNotAvailable ");
    probe(BED_UUID_1, 0, "");
    assert_lost(world, false, "");
}

static void gpus_of_an_inventory_that_all_fail_are_it_too(void **state)
{
    struct world *world = *state;
    struct gpu blocked[2] = {{.index = 0, .unusable = "blocked", .is_out_of_reach = true},
                             {.index = 1, .unusable = "blocked", .is_out_of_reach = true}};
    const struct inventory seen = {.gpus = blocked, .n_gpus = 2}, none = {.n_gpus = 0};

    start(world);
    see_machine(world);
    reports.on_inventory(&seen, reports_userdata);
    assert_lost(world, true, "no GPU can be reached: blocked");
    blocked[1].is_out_of_reach = false; /* it fell off the bus */
    reports.on_inventory(&seen, reports_userdata);
    assert_lost(world, false, "");
    gpus = PCI_GPUS_PRESENT;
    reports.on_inventory(&none, reports_userdata);
    assert_lost(world, true, "no GPU can be reached: the driver lists none of them");
    gpus = PCI_GPUS_NONE; /* they were removed */
    reports.on_inventory(&none, reports_userdata);
    assert_lost(world, false, "");
}

/* Faults that a new process would meet as well. */
static void what_no_container_mends_is_not_lost(void **state)
{
    struct world *world = *state;

    start(world);
    see_machine(world);
    reports.on_unavailable("it is gone", reports_userdata);
    assert_lost(world, true, "it is gone");
    reports.on_hang("nvmlInit_v2", "", false, reports_userdata);
    assert_lost(world, false, "the driver call nvmlInit_v2 does not return");
    see_machine(world);
    probe(BED_UUID_0, GPU_LOST, "it fell off the bus");
    probe(BED_UUID_1, -EREMOTEIO, "no power");
    assert_lost(world, false, "");
    holder = "nouveau";
    reports.on_unavailable("not loaded", reports_userdata);
    assert_lost(world, false, "not loaded");
    holder = "nvidia";
    reports.on_unavailable("not loaded", reports_userdata);
    assert_lost(world, true, "not loaded");
    gpus = PCI_GPUS_PASSED_THROUGH;
    reports.on_unavailable("not loaded", reports_userdata);
    assert_lost(world, false, "");
}

/* A root that could not be taken is not remembered: the next configuration tries it again. */
static void a_root_is_tried_again(void **state)
{
    struct world *world = *state;
    struct config config = *world->offer->config;
    struct error err = ERROR_INIT;

    start(world);
    assert_int_equal(driverwatch_look_below(world->watch, &config, &err), 0);
    n_started = 0;
    config.driver_root = (char *)"/run/nvidia/driver";
    cannot_start = true;
    assert_int_equal(driverwatch_look_below(world->watch, &config, &err), -EAGAIN);
    assert_int_equal(driverwatch_look_below(world->watch, &config, &err), -EAGAIN);
    cannot_start = false;
    assert_int_equal(driverwatch_look_below(world->watch, &config, &err), 0);
    assert_int_equal(n_started, 1);
    assert_int_equal(driverwatch_look_below(world->watch, &config, &err), 0);
    assert_int_equal(n_started, 1);
}

/* GPU 0 of two is cut into two MIG devices. */
static struct inventory partitioned(const struct world *world)
{
    struct inventory machine;

    assert_int_equal(inventory_copy(&machine, &world->offer->inventory), 0);
    machine.gpus[0].mig_capable = machine.gpus[0].mig_enabled = true;
    machine.mig_devices = calloc(2, sizeof(*machine.mig_devices));
    machine.n_mig_devices = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct device *device = &machine.mig_devices[i];

        device->kind = DEVICE_MIG;
        device->mig_index = i;
        device->instance = (struct device_instance){i + 1, 0};
        snprintf(device->uuid, sizeof(device->uuid), "MIG-%u", i);
        snprintf(device->profile, sizeof(device->profile), "3g.20gb");
    }
    return machine;
}

static unsigned n_done;

static void on_done(const struct gpu_changed *changed, void *userdata)
{
    (void)changed, (void)userdata;
    n_done++;
}

/* The same change, made by us and by somebody else. */
static void a_mig_device_that_we_destroy_is_no_fault(void **state)
{
    struct world *world = *state;
    struct inventory machine = partitioned(world);
    struct gpu_change change = {.verb = GPU_DESTROY_INSTANCE, .instance = {1, DEVICE_NO_INSTANCE}};
    const struct gpu_changed changed = {.outcome = 0};

    n_done = 0;
    start(world);
    reports.on_inventory(&machine, reports_userdata);
    snprintf(change.uuid, sizeof(change.uuid), "%s", BED_UUID_0);
    assert_int_equal(driverwatch_change(world->watch, &change, 1000, on_done, NULL), 0);
    assert_ptr_equal(asked, &change);
    machine.mig_devices[0] = machine.mig_devices[1];
    machine.n_mig_devices = 1;
    reports.on_inventory(&machine, reports_userdata);
    asked_done(&changed, asked_userdata);
    assert_int_equal(n_done, 1);
    assert_int_equal(world->facts.machine.n_mig_devices, 1);
    assert_null(health_find(world->facts.health, "MIG-0"));
    machine.n_mig_devices = 0; /* the other one goes by itself */
    reports.on_inventory(&machine, reports_userdata);
    assert_int_equal(world->facts.machine.n_mig_devices, 1);
    assert_healthy(world, "MIG-1", false);
    inventory_deinit(&machine);
}

/* The helper ended in the middle of a step: what is missing afterwards is our work. */
static void a_step_of_unknown_outcome_may_have_destroyed_it(void **state)
{
    struct world *world = *state;
    struct inventory machine = partitioned(world);
    struct gpu_change change = {.verb = GPU_SET_MIG_MODE};
    const struct gpu_changed changed = {.outcome = -ECANCELED};

    start(world);
    reports.on_inventory(&machine, reports_userdata);
    snprintf(change.uuid, sizeof(change.uuid), "%s", BED_UUID_0);
    assert_int_equal(driverwatch_change(world->watch, &change, 1000, on_done, NULL), 0);
    asked_done(&changed, asked_userdata);
    machine.n_mig_devices = 0;
    reports.on_inventory(&machine, reports_userdata);
    assert_int_equal(world->facts.machine.n_mig_devices, 0);
    assert_null(health_find(world->facts.health, "MIG-1"));
    inventory_deinit(&machine);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(the_machine_becomes_known_once),
        IN_A_WORLD(a_driver_that_is_missing_is_reported_once),
        IN_A_WORLD(each_sentence_has_an_event),
        IN_A_WORLD(a_driver_that_lists_none_of_the_gpus_is_a_problem_at_first_too),
        IN_A_WORLD(a_driver_without_a_gpu_on_the_bus_is_none),
        IN_A_WORLD(gpus_that_virtual_machines_take_are_no_problem),
        IN_A_WORLD(a_root_is_tried_again),
        IN_A_WORLD(a_node_without_a_gpu_has_a_known_and_empty_machine),
        IN_A_WORLD(gpus_that_cannot_be_served_are_no_problem),
        IN_A_WORLD(gpus_that_are_given_back_count),
        IN_A_WORLD(a_fatal_xid_makes_a_device_unhealthy_and_it_is_probed),
        IN_A_WORLD(a_driver_that_is_gone_is_lost),
        IN_A_WORLD(gpus_that_all_fail_are_a_problem_of_the_driver),
        IN_A_WORLD(gpus_of_an_inventory_that_all_fail_are_it_too),
        IN_A_WORLD(what_no_container_mends_is_not_lost),
        IN_A_WORLD(health_outlives_the_agent),
        IN_A_WORLD(the_flags_overrule_what_is_remembered),
        IN_A_WORLD(all_checks_are_off),
        IN_A_WORLD(removing_the_file_clears_faults),
        IN_A_WORLD(a_removal_is_heeded_before_any_change),
        IN_A_WORLD(an_xid_that_the_flags_exclude_is_no_fault),
        IN_A_WORLD(a_mig_device_that_we_destroy_is_no_fault),
        IN_A_WORLD(a_step_of_unknown_outcome_may_have_destroyed_it),
    };

    return cmocka_run_group_tests_name("node/driverwatch", tests, NULL, NULL);
}
