// SPDX-License-Identifier: Apache-2.0
#include "node/driverwatch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "gpu/driver.h"
#include "gpu/pci.h"
#include "health/health.h"
#include "health/healthfile.h"
#include "health/xid.h"
#include "node/machine.h"
#include "node/reach.h"
#include "node/verdict.h"

enum { XID_QUIET_MS = 10000, BUS_PERIOD_MS = 60000 };

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
    uv_timer_t probe;                   /* while a device is unhealthy: when to probe again */
    struct health health;
    struct healthfile healthfile;
    struct xid_filter xid_filter;
    struct lograte problem;       /* of facts.driver_problem, in the log */
    struct lograte problem_event; /* and at the cluster, where events have a limit of their own */
    struct lograte_keys logged_xids; /* a failing GPU repeats its XID many times a second */
    unsigned n_open;                 /* timers that are being closed */
    int helper_pid;                  /* of the process that sent the last inventory */
};

/* --- health --- */

static void arm_probe(struct driverwatch *watch);

static void on_probe_due(uv_timer_t *timer)
{
    struct driverwatch *watch = timer->data;
    uint64_t now_ms = clock_now_ms();
    const char *uuid;

    while ((uuid = health_take_due(&watch->health, now_ms)))
        driver_probe(watch->driver, uuid);
    arm_probe(watch);
}

static void arm_probe(struct driverwatch *watch)
{
    uint64_t due_ms = health_next_probe_ms(&watch->health), now_ms = clock_now_ms();

    if (due_ms == UINT64_MAX)
        uv_timer_stop(&watch->probe);
    else
        uv_timer_start(&watch->probe, on_probe_due, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* `outcome` is the result of one of health.h's inputs. */
static void apply_health(struct driverwatch *watch, int outcome)
{
    if (outcome < 0)
        log_error("out of memory for the health of the GPUs");
    if (outcome == HEALTH_CHANGED) {
        watch->on_health(watch->userdata);
        healthfile_save(&watch->healthfile, &watch->health);
    }
    arm_probe(watch);
}

/* Before each input of health: a change that it brings saves the file again. While a device is
 * Unhealthy it is probed, so this is noticed within a minute. */
static void heed_removal(struct driverwatch *watch)
{
    int r;

    if (!healthfile_was_removed(&watch->healthfile))
        return;
    r = health_clear(&watch->health, clock_now_ms());
    if (r == HEALTH_CHANGED)
        log_warning("the saved health of the GPUs was removed: faults seen so far no longer count",
                    "file", watch->healthfile.path);
    apply_health(watch, r);
}

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
    if (machine_update(&watch->facts->machine, seen, NULL, 0, &changed) < 0) {
        log_error("out of memory for the machine's inventory");
        return;
    }
    watch->facts->machine_known = !blind || watch->facts->machine.n_gpus;
    heed_removal(watch);
    outcome = health_inventory(&watch->health, seen, clock_now_ms());
    if (health_forget(&watch->health, &watch->facts->machine) == HEALTH_CHANGED && outcome == 0)
        outcome = HEALTH_CHANGED;
    if (watch->helper_pid != driver_pid(watch->driver))
        log_info("driver is available", "driver", seen->driver_version, "gpus",
                 log_number(seen->n_gpus));
    watch->helper_pid = driver_pid(watch->driver);
    update_reach(watch, seen->n_gpus ? why_unusable(seen) : "the driver lists none of them");
    if (watch->facts->machine_known && (first || changed || !watch->facts->offer))
        watch->on_machine(watch->userdata);
    apply_health(watch, outcome);
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

static void lose_driver(struct driverwatch *watch, const char *reason)
{
    heed_removal(watch);
    apply_health(watch, health_unavailable(&watch->health, reason, clock_now_ms()));
}

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
        lose_driver(watch, sentence);
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
        lose_driver(watch, watch->reason);
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

static bool admits_xid(struct driverwatch *watch, const struct gpu_event *event)
{
    char key[GPU_UUID_SIZE + 64];

    snprintf(key, sizeof(key), "%s %u %u %" PRIu64, event->uuid, event->gpu_instance,
             event->compute_instance, event->xid);
    return lograte_admit(&watch->logged_xids, key, XID_QUIET_MS, clock_now_ms());
}

static void log_xid(const struct gpu_event *event, enum xid_class class)
{
    const bool has_gi = event->gpu_instance != DEVICE_NO_INSTANCE;
    const bool has_ci = event->compute_instance != DEVICE_NO_INSTANCE;
    struct log_digits gi, ci;

    log_event(class == XID_INFORMATION || class == XID_APPLICATION ? LOG_INFO : LOG_WARNING,
              "the driver reported an XID", "gpu", *event->uuid ? event->uuid : NULL,
              "gpu_instance", has_gi ? log_number_format(&gi, event->gpu_instance) : NULL,
              "compute_instance", has_ci ? log_number_format(&ci, event->compute_instance) : NULL,
              "xid", log_number(event->xid), "class", xid_class_name(class), "meaning",
              xid_find(event->xid)->meaning, NULL);
}

static void on_event(const struct gpu_event *event, void *userdata)
{
    struct driverwatch *watch = userdata;
    enum xid_class class = xid_filter_class(&watch->xid_filter, event->xid);

    watch->facts->counters.xids++;
    if (admits_xid(watch, event))
        log_xid(event, class);
    heed_removal(watch);
    apply_health(watch, health_event(&watch->health, event, class, clock_now_ms()));
}

static void on_probe(const char *uuid, int outcome, const struct gpu_probe *probe,
                     const char *reason, void *userdata)
{
    struct driverwatch *watch = userdata;
    int r;

    heed_removal(watch);
    r = health_probe(&watch->health, uuid, outcome, probe, reason, clock_now_ms());
    reach_probe(&watch->reach, uuid, outcome);
    update_reach(watch, reason);
    apply_health(watch, r);
    if (r != HEALTH_CHANGED && !health_is_well(&watch->health, uuid))
        /* Saved even if nothing changed, for the energy counter that reveals a reset. */
        healthfile_save(&watch->healthfile, &watch->health);
}

static void on_watch(const char *uuid, const char *reason, void *userdata)
{
    struct driverwatch *watch = userdata;

    if (health_watch(&watch->health, uuid, reason) != HEALTH_CHANGED)
        return;
    if (*reason)
        log_warning("GPU does not report XID events; it is only probed, and asked for them again",
                    "gpu", uuid, "reason", reason);
    else
        log_info("GPU reports XID events again", "gpu", uuid);
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
    heed_removal(watch);
    apply_health(watch, health_hang(&watch->health, call, uuid, clock_now_ms()));
}

/* --- life --- */

/* NVIDIA's DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS. */
static int read_xid_filter(struct driverwatch *watch)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r =
        xid_filter_parse(watch->facts->flags->disable_health_checks,
                         watch->facts->flags->enable_health_checks, &problems, &watch->xid_filter);

    problems_log(&problems);
    return r;
}

/* What the agent before us saw, as far as it counts with our switches. */
static void restore_health(struct driverwatch *watch)
{
    watch->health.only_enabled = xid_filter_only_enabled(&watch->xid_filter);
    if (watch->health.only_enabled)
        log_info("health checks are off, except for XIDs that are enabled", "hint",
                 "DP_DISABLE_HEALTHCHECKS lists 'all'");
    healthfile_init(&watch->healthfile, watch->facts->flags->state_dir);
    healthfile_load(&watch->healthfile, &watch->health, &watch->xid_filter);
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
    r = read_xid_filter(watch);
    if (r < 0) {
        free(watch);
        return error_set_errno(err, r, "cannot watch the driver");
    }
    restore_health(watch);
    watch->facts->health = &watch->health;
    uv_timer_init(watch->loop, &watch->probe);
    watch->probe.data = watch;
    uv_timer_init(watch->loop, &watch->bus);
    watch->bus.data = watch;
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

static void on_closed(uv_handle_t *handle)
{
    struct driverwatch *watch = handle->data;

    if (--watch->n_open)
        return;
    free(watch->container_root);
    free(watch->driver_root);
    xid_filter_deinit(&watch->xid_filter);
    health_deinit(&watch->health);
    reach_deinit(&watch->reach);
    free(watch);
}

void driverwatch_free(struct driverwatch *watch)
{
    if (!watch)
        return;
    driver_free(TAKE_PTR(watch->driver));
    watch->facts->health = NULL;
    watch->n_open = 2;
    uv_close((uv_handle_t *)&watch->probe, on_closed);
    uv_close((uv_handle_t *)&watch->bus, on_closed);
}
