// SPDX-License-Identifier: Apache-2.0
#include "node/healthwatch.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/problem.h"

enum { XID_QUIET_MS = 10000 };

/* --- probes --- */

static void arm(struct healthwatch *watch);

static void on_due(uv_timer_t *timer)
{
    struct healthwatch *watch = timer->data;
    uint64_t now_ms = clock_now_ms();
    const char *uuid;

    while ((uuid = health_take_due(&watch->health, now_ms)))
        watch->setup.probe(uuid, watch->setup.userdata);
    arm(watch);
}

static void arm(struct healthwatch *watch)
{
    uint64_t due_ms = health_next_probe_ms(&watch->health), now_ms = clock_now_ms();

    if (due_ms == UINT64_MAX)
        uv_timer_stop(&watch->timer);
    else
        uv_timer_start(&watch->timer, on_due, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* --- life --- */

/* NVIDIA's DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS. */
static int read_xid_filter(struct healthwatch *watch)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    const struct agent_flags *flags = watch->setup.flags;
    int r = xid_filter_parse(flags->disable_health_checks, flags->enable_health_checks, &problems,
                             &watch->xid_filter);

    problems_log(&problems);
    return r;
}

/* What the agent before us saw, as far as it counts with our switches. */
static void restore(struct healthwatch *watch)
{
    watch->health.only_enabled = xid_filter_only_enabled(&watch->xid_filter);
    if (watch->health.only_enabled)
        log_info("health checks are off, except for XIDs that are enabled", "hint",
                 "DP_DISABLE_HEALTHCHECKS lists 'all'");
    healthfile_init(&watch->file, watch->setup.flags->state_dir);
    healthfile_load(&watch->file, &watch->health, &watch->xid_filter);
}

int healthwatch_init(struct healthwatch *watch, const struct healthwatch_setup *setup,
                     struct error *err)
{
    int r;

    *watch = (struct healthwatch){.setup = *setup};
    r = read_xid_filter(watch);
    if (r < 0)
        return error_set_errno(err, r, "cannot watch the health of the GPUs");
    restore(watch);
    uv_timer_init(setup->loop, &watch->timer);
    watch->timer.data = watch;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct healthwatch *watch = handle->data;

    watch->on_closed(watch->setup.userdata);
}

void healthwatch_close(struct healthwatch *watch, void (*on_closed)(void *userdata))
{
    watch->on_closed = on_closed;
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}

void healthwatch_deinit(struct healthwatch *watch)
{
    xid_filter_deinit(&watch->xid_filter);
    health_deinit(&watch->health);
}

/* --- inputs --- */

/* `outcome` is the result of one of health.h's inputs. */
void healthwatch_apply(struct healthwatch *watch, int outcome)
{
    if (outcome < 0)
        log_error("out of memory for the health of the GPUs");
    if (outcome == HEALTH_CHANGED) {
        watch->setup.on_change(watch->setup.userdata);
        healthfile_save(&watch->file, &watch->health);
    }
    arm(watch);
}

/* Before each input of health: a change that it brings saves the file again. While a device is
 * Unhealthy it is probed, so this is noticed within a minute. */
static void heed_removal(struct healthwatch *watch)
{
    int r;

    if (!healthfile_was_removed(&watch->file, uv_now(watch->setup.loop)))
        return;
    r = health_clear(&watch->health, clock_now_ms());
    if (r == HEALTH_CHANGED)
        log_warning("the saved health of the GPUs was removed: faults seen so far no longer count",
                    "file", watch->file.path);
    healthwatch_apply(watch, r);
}

int healthwatch_forget(struct healthwatch *watch, const struct inventory *machine)
{
    return health_forget(&watch->health, machine);
}

int healthwatch_inventory(struct healthwatch *watch, const struct inventory *seen,
                          const struct inventory *machine)
{
    int r;

    heed_removal(watch);
    r = health_inventory(&watch->health, seen, clock_now_ms());
    if (health_forget(&watch->health, machine) == HEALTH_CHANGED && r == 0)
        r = HEALTH_CHANGED;
    return r;
}

static bool admits_xid(struct healthwatch *watch, const struct gpu_event *event)
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

void healthwatch_event(struct healthwatch *watch, const struct gpu_event *event)
{
    enum xid_class class = xid_filter_class(&watch->xid_filter, event->xid);

    if (admits_xid(watch, event))
        log_xid(event, class);
    heed_removal(watch);
    healthwatch_apply(watch, health_event(&watch->health, event, class, clock_now_ms()));
}

void healthwatch_probed(struct healthwatch *watch, const char *uuid, int outcome,
                        const struct gpu_probe *probe, const char *reason)
{
    int r;

    heed_removal(watch);
    r = health_probe(&watch->health, uuid, outcome, probe, reason, clock_now_ms());
    healthwatch_apply(watch, r);
    if (r != HEALTH_CHANGED && !health_is_well(&watch->health, uuid))
        /* Saved even if nothing changed, for the energy counter that reveals a reset. */
        healthfile_save(&watch->file, &watch->health);
}

void healthwatch_reports(struct healthwatch *watch, const char *uuid, const char *reason)
{
    if (health_watch(&watch->health, uuid, reason) != HEALTH_CHANGED)
        return;
    if (*reason)
        log_warning("GPU does not report XID events; it is only probed, and asked for them again",
                    "gpu", uuid, "reason", reason);
    else
        log_info("GPU reports XID events again", "gpu", uuid);
}

void healthwatch_hang(struct healthwatch *watch, const char *call, const char *uuid)
{
    heed_removal(watch);
    healthwatch_apply(watch, health_hang(&watch->health, call, uuid, clock_now_ms()));
}

void healthwatch_unavailable(struct healthwatch *watch, const char *reason)
{
    heed_removal(watch);
    healthwatch_apply(watch, health_unavailable(&watch->health, reason, clock_now_ms()));
}
