// SPDX-License-Identifier: Apache-2.0
#include "node/driverwatch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "gpu/driver.h"
#include "gpu/pci.h"
#include "node/healthwatch.h"
#include "node/machine.h"
#include "node/reach.h"
#include "node/stepwatch.h"
#include "node/vanished.h"
#include "node/verdict.h"

enum { BUS_PERIOD_MS = 60000 };

struct driverwatch {
    uv_loop_t *loop;
    struct facts *facts;
    struct publisher *publisher;
    void (*on_machine)(void *userdata);
    void (*on_health)(void *userdata);
    void (*on_no_driver)(void *userdata);
    void (*on_reach)(bool is_lost, void *userdata);
    void *userdata;
    struct driver *driver;
    uv_timer_t bus;     /* while the driver is not available: when to look at the GPUs again */
    enum pci_gpus gpus; /* at the last look, */
    char reason[256];   /* and why it is not available, while the timer runs */
    struct reach reach;
    bool is_lost;                       /* no GPU can be reached, at the last look */
    char *container_root, *driver_root; /* where its library is looked for */
    struct healthwatch health;
    struct lograte problem;       /* of facts.driver_problem, in the log */
    struct lograte problem_event; /* and at the cluster, where events have a limit of their own */
    unsigned n_open;              /* timers that are being closed */
    int helper_pid;               /* of the process that sent the last inventory */
    struct stepwatch steps;
    struct vanished vanished;
    uv_timer_t forget; /* while MIG devices are missing: when to drop them */
};

/* --- what the helper reports --- */

static void report_driver_problem(struct driverwatch *watch, const char *message, const char *hint)
{
    const char *reason = watch->facts->driver_problem;

    publisher_touch(watch->publisher);
    if (lograte_begin(&watch->problem, reason, clock_now_ms()))
        log_error(message, "reason", reason, "hint", hint);
    /* A driver that comes and goes must not exhaust the log, but the condition's last sentence has
     * an event all the same. */
    if (lograte_change(&watch->problem_event, reason))
        publisher_event(watch->publisher, true, VERDICT_DRIVER, reason, NULL, 0);
}

static void end_driver_problem(struct driverwatch *watch)
{
    watch->facts->driver_problem[0] = '\0';
    lograte_end(&watch->problem);
    lograte_end(&watch->problem_event);
    publisher_touch(watch->publisher);
}

/* An open session in which no GPU answers is as good as none. reason: of a GPU that was tried; NULL
 * = none was. */
static void update_reach(struct driverwatch *watch, const char *reason)
{
    char *problem = watch->facts->driver_problem;
    const bool was_lost = watch->is_lost;

    watch->is_lost = reach_is_lost(&watch->reach);
    if (watch->is_lost && reason && (!was_lost || !*problem)) {
        snprintf(problem, sizeof(watch->facts->driver_problem), "no GPU can be reached: %.200s",
                 reason);
        report_driver_problem(watch, "no GPU can be reached, retrying", NULL);
    }
    if (was_lost && !watch->is_lost)
        end_driver_problem(watch);
    watch->on_reach(watch->is_lost, watch->userdata);
}

static const char *why_unusable(const struct inventory *seen)
{
    for (size_t i = 0; i < seen->n_gpus; i++)
        if (seen->gpus[i].is_out_of_reach)
            return seen->gpus[i].unusable;
    return NULL;
}

/* A driver that lists no GPU, though the bus has some, cannot reach them. */
static bool is_blind(const struct inventory *seen)
{
    return !seen->n_gpus && pci_find_gpus(NULL, NULL) == PCI_GPUS_PRESENT;
}

static void reach_seen(struct driverwatch *watch, const struct inventory *seen, bool blind)
{
    if (blind)
        reach_unavailable(&watch->reach);
    else if (reach_inventory(&watch->reach, seen) < 0)
        log_error("out of memory for the GPUs that can be reached");
}

/* --- MIG devices that somebody else removed --- */

static bool is_held(const char *uuid, void *userdata)
{
    const struct driverwatch *watch = userdata;
    const struct plan *plan = watch->facts->offer ? watch->facts->offer->plan : NULL;

    for (size_t i = 0; plan && watch->facts->grants && i < plan->n_resources; i++)
        for (size_t k = 0; k < plan->resources[i].n_slices; k++) {
            const struct slice *slice = &plan->resources[i].slices[k];

            if (strcasecmp(plan->devices[slice->device].device.uuid, uuid) == 0 &&
                grants_holds(watch->facts->grants, plan->resources[i].name, slice->id))
                return true;
        }
    return false;
}

static void arm_forget(struct driverwatch *watch);

static void on_forget_due(uv_timer_t *timer)
{
    struct driverwatch *watch = timer->data;
    char uuid[GPU_UUID_SIZE];
    bool changed = false;

    while (vanished_take(&watch->vanished, is_held, watch, clock_now_ms(), uuid)) {
        log_info("a MIG device that is gone, and that no pod holds, is dropped", "device", uuid);
        changed |= machine_forget(&watch->facts->machine, uuid);
    }
    if (changed) {
        int outcome = healthwatch_forget(&watch->health, &watch->facts->machine);

        watch->on_machine(watch->userdata);
        healthwatch_apply(&watch->health, outcome);
    }
    arm_forget(watch);
}

static void arm_forget(struct driverwatch *watch)
{
    const uint64_t due_ms = vanished_due_ms(&watch->vanished), now_ms = clock_now_ms();

    if (due_ms == UINT64_MAX)
        uv_timer_stop(&watch->forget);
    else
        uv_timer_start(&watch->forget, on_forget_due, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* --- what the driver lists --- */

static int take_machine(struct driverwatch *watch, const struct inventory *seen, bool *ret_changed)
{
    struct inventory *machine = &watch->facts->machine;
    int r = machine_update(machine, seen, watch->steps.uuids, watch->steps.n_uuids, ret_changed);

    stepwatch_inventory(&watch->steps);
    if (r == 0)
        r = vanished_update(&watch->vanished, machine, seen, clock_now_ms());
    arm_forget(watch);
    return r;
}

static void on_inventory(const struct inventory *seen, void *userdata)
{
    struct driverwatch *watch = userdata;
    const bool blind = is_blind(seen);
    bool changed, first = !watch->facts->machine_known;
    int outcome;

    watch->facts->unserved[0] = '\0';
    uv_timer_stop(&watch->bus);
    reach_seen(watch, seen, blind);
    if (!reach_is_lost(&watch->reach))
        end_driver_problem(watch);
    publisher_touch(watch->publisher);
    if (take_machine(watch, seen, &changed) < 0) {
        log_error("out of memory for the machine's inventory");
        return;
    }
    watch->facts->machine_known = !blind || watch->facts->machine.n_gpus;
    outcome = healthwatch_inventory(&watch->health, seen, &watch->facts->machine);
    if (watch->helper_pid != driver_pid(watch->driver))
        log_info("driver is available", "driver", seen->driver_version, "gpus",
                 log_number(seen->n_gpus));
    watch->helper_pid = driver_pid(watch->driver);
    update_reach(watch, seen->n_gpus ? why_unusable(seen) : "the driver lists none of them");
    if (watch->facts->machine_known && (first || changed || !watch->facts->offer))
        watch->on_machine(watch->userdata);
    healthwatch_apply(&watch->health, outcome);
}

/* A GPU that the kernel gave to another driver is reached from no container of ours. */
static bool may_be_reached(const char *driver)
{
    return !*driver || str_starts_with(driver, "nvidia");
}

/* What the kernel shows of GPUs that no driver's library answers for, where that is no problem. */
static const char *const nothing_to_serve[] = {
    [PCI_GPUS_NONE] = "",
    [PCI_GPUS_PASSED_THROUGH] = "the GPUs of this node are passed through to virtual machines, by ",
    [PCI_GPUS_TEGRA] = "the GPU of this node is a Tegra's, which this release does not serve",
    [PCI_GPUS_WSL] = "WSL2 without NVIDIA's library: the pod may need runtimeClassName: nvidia",
};

static void serve_nothing(struct driverwatch *watch, const char *driver)
{
    struct facts *facts = watch->facts;
    const bool is_known = facts->machine_known;
    char sentence[sizeof(facts->unserved)];
    bool is_new;

    snprintf(sentence, sizeof(sentence), "%s%s", nothing_to_serve[watch->gpus],
             watch->gpus == PCI_GPUS_PASSED_THROUGH ? driver : "");
    is_new = !is_known || !str_equal(sentence, facts->unserved);
    memcpy(facts->unserved, sentence, sizeof(sentence));
    facts->machine_known = true;
    end_driver_problem(watch);
    if (is_new && *sentence)
        log_info("this node has no GPU to serve", "reason", sentence);
    else if (is_new)
        log_info("this node has no NVIDIA GPU; nothing to offer");
    if (facts->machine.n_gpus)
        healthwatch_unavailable(&watch->health, sentence);
    if (!is_known)
        watch->on_machine(watch->userdata);
}

static void report_no_driver(struct driverwatch *watch, const char *driver)
{
    char hint[256] = "is the driver loaded, and does this container see its libraries? Where "
                     "NVIDIA's runtime is not the default one, the chart needs runtimeClassName: "
                     "nvidia";

    if (*driver && !str_starts_with(driver, "nvidia"))
        snprintf(hint, sizeof(hint),
                 "the kernel's driver %s has the GPU: blacklist it, and load NVIDIA's", driver);
    report_driver_problem(watch, "the NVIDIA driver is not available", hint);
}

/* GPUs that virtual machines took while we served them are as little ours as at a start. GPUs that
 * left the bus are missing. */
static bool is_nobodys(const struct driverwatch *watch)
{
    return watch->gpus == PCI_GPUS_PASSED_THROUGH ||
           (watch->gpus != PCI_GPUS_PRESENT && !watch->facts->machine.n_gpus);
}

static void report_unavailable(struct driverwatch *watch, const char *driver)
{
    struct facts *facts = watch->facts;

    facts->unserved[0] = '\0';
    facts->machine_known = facts->machine_known && facts->machine.n_gpus;
    snprintf(facts->driver_problem, sizeof(facts->driver_problem), "%s", watch->reason);
    if (facts->machine_known) {
        report_driver_problem(watch, "the driver is not available, retrying", NULL);
        healthwatch_unavailable(&watch->health, watch->reason);
        return;
    }
    report_no_driver(watch, driver);
    watch->on_no_driver(watch->userdata);
}

static void judge_bus(struct driverwatch *watch)
{
    struct pci_holder holder;

    watch->gpus = pci_find_gpus(NULL, &holder);
    if (!is_nobodys(watch) && may_be_reached(holder.driver))
        reach_unavailable(&watch->reach);
    else
        reach_reset(&watch->reach);
    update_reach(watch, NULL);
    if (is_nobodys(watch))
        serve_nothing(watch, holder.driver);
    else
        report_unavailable(watch, holder.driver);
}

/* Virtual machines may take GPUs, or give them back, long after the driver has gone. */
static void on_bus_due(uv_timer_t *timer)
{
    struct driverwatch *watch = timer->data;

    if (pci_find_gpus(NULL, NULL) != watch->gpus)
        judge_bus(watch);
}

static void on_unavailable(const char *reason, void *userdata)
{
    struct driverwatch *watch = userdata;

    snprintf(watch->reason, sizeof(watch->reason), "%s", reason);
    uv_timer_start(&watch->bus, on_bus_due, BUS_PERIOD_MS, BUS_PERIOD_MS);
    judge_bus(watch);
}

static void on_event(const struct gpu_event *event, void *userdata)
{
    struct driverwatch *watch = userdata;

    watch->facts->counters.xids++;
    healthwatch_event(&watch->health, event);
}

static void on_probe(const char *uuid, int outcome, const struct gpu_probe *probe,
                     const char *reason, void *userdata)
{
    struct driverwatch *watch = userdata;

    reach_probe(&watch->reach, uuid, outcome);
    update_reach(watch, reason);
    healthwatch_probed(&watch->health, uuid, outcome, probe, reason);
}

static void on_watch(const char *uuid, const char *reason, void *userdata)
{
    struct driverwatch *watch = userdata;

    healthwatch_reports(&watch->health, uuid, reason);
}

static void on_hang(const char *call, const char *uuid, bool stuck, void *userdata)
{
    struct driverwatch *watch = userdata;

    watch->facts->counters.hangs += !stuck;
    reach_reset(&watch->reach);
    update_reach(watch, NULL);
    snprintf(watch->facts->driver_problem, sizeof(watch->facts->driver_problem),
             "the driver call %s does not return", call);
    publisher_touch(watch->publisher);
    log_error(stuck ? "a driver call hangs in the kernel; its process cannot be killed"
                    : "a driver call does not return; its process was killed",
              "call", call, "gpu", *uuid ? uuid : NULL);
    healthwatch_hang(&watch->health, call, uuid);
}

/* --- life --- */

static void probe(const char *uuid, void *userdata)
{
    struct driverwatch *watch = userdata;

    driver_probe(watch->driver, uuid);
}

static void on_health_changed(void *userdata)
{
    struct driverwatch *watch = userdata;

    watch->on_health(watch->userdata);
}

int driverwatch_new(const struct driverwatch_setup *setup, struct driverwatch **ret_watch,
                    struct error *err)
{
    struct driverwatch *watch = calloc(1, sizeof(*watch));
    int r;

    if (!watch)
        return error_set_errno(err, -ENOMEM, "cannot watch the driver");
    watch->loop = setup->loop;
    watch->facts = setup->facts;
    watch->publisher = setup->publisher;
    watch->on_machine = setup->on_machine;
    watch->on_health = setup->on_health;
    watch->on_no_driver = setup->on_no_driver;
    watch->on_reach = setup->on_reach;
    watch->userdata = setup->userdata;
    r = healthwatch_init(&watch->health,
                         &(struct healthwatch_setup){.loop = watch->loop,
                                                     .flags = watch->facts->flags,
                                                     .probe = probe,
                                                     .on_change = on_health_changed,
                                                     .userdata = watch},
                         err);
    if (r < 0) {
        free(watch);
        return r;
    }
    watch->facts->health = &watch->health.health;
    uv_timer_init(watch->loop, &watch->bus);
    watch->bus.data = watch;
    uv_timer_init(watch->loop, &watch->forget);
    watch->forget.data = watch;
    *ret_watch = watch;
    return 0;
}

static int start_driver(struct driverwatch *watch, struct error *err)
{
    static const struct driver_callbacks callbacks = {on_inventory, on_unavailable, on_event,
                                                      on_probe,     on_watch,       on_hang};
    const struct driver_options options = {
        .container_driver_root = watch->container_root,
        .driver_root = watch->driver_root,
        .deadline_ms = watch->facts->flags->driver_deadline_ms,
    };

    return driver_new(watch->loop, &options, &callbacks, watch, &watch->driver, err);
}

int driverwatch_start(struct driverwatch *watch, struct error *err)
{
    return start_driver(watch, err);
}

static bool looks_below(const struct driverwatch *watch, const struct config *config)
{
    return watch->container_root &&
           str_equal(watch->container_root, config->plugin.container_driver_root) &&
           str_equal(watch->driver_root, config->driver_root);
}

static void swap(char **a, char **b)
{
    char *kept = *a;

    *a = *b;
    *b = kept;
}

/* In place of the helper that looks below the former roots. */
static int replace_driver(struct driverwatch *watch, struct error *err)
{
    struct driver *earlier = TAKE_PTR(watch->driver);
    int r = start_driver(watch, err);

    if (r < 0)
        watch->driver = earlier;
    else
        driver_free(earlier);
    return r;
}

int driverwatch_look_below(struct driverwatch *watch, const struct config *config,
                           struct error *err)
{
    cleanup_free char *container_root = NULL, *driver_root = NULL;
    int r = 0;

    if (looks_below(watch, config))
        return 0;
    container_root = strdup(config->plugin.container_driver_root);
    driver_root = strdup(config->driver_root);
    if (!container_root || !driver_root)
        return error_set_errno(err, -ENOMEM, "cannot watch the driver");
    swap(&watch->container_root, &container_root);
    swap(&watch->driver_root, &driver_root);
    if (watch->driver)
        r = replace_driver(watch, err);
    if (r < 0) { /* the next configuration is another attempt */
        swap(&watch->container_root, &container_root);
        swap(&watch->driver_root, &driver_root);
    }
    return r;
}

int driverwatch_change(struct driverwatch *watch, const struct gpu_change *change,
                       uint64_t deadline_ms, driver_changed_fn *done, void *userdata)
{
    return watch->driver ? stepwatch_change(&watch->steps, watch->driver, &watch->facts->machine,
                                            change, deadline_ms, done, userdata)
                         : -EAGAIN;
}

static void count_down(void *userdata)
{
    struct driverwatch *watch = userdata;

    if (--watch->n_open)
        return;
    free(watch->container_root);
    free(watch->driver_root);
    healthwatch_deinit(&watch->health);
    reach_deinit(&watch->reach);
    vanished_deinit(&watch->vanished);
    free(watch);
}

static void on_closed(uv_handle_t *handle)
{
    count_down(handle->data);
}

void driverwatch_free(struct driverwatch *watch)
{
    if (!watch)
        return;
    driver_free(TAKE_PTR(watch->driver));
    watch->facts->health = NULL;
    stepwatch_deinit(&watch->steps);
    watch->n_open = 3;
    healthwatch_close(&watch->health, count_down);
    uv_close((uv_handle_t *)&watch->bus, on_closed);
    uv_close((uv_handle_t *)&watch->forget, on_closed);
}
