// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent of one node: observe, plan, apply, report.
 *
 * It observes the configuration file, the machine (through driver.h, whose helper process makes all
 * driver calls) and the kubelet's folder; whenever one of them changed it plans anew and applies
 * the difference to the services. Nothing in this process blocks.
 *
 * The struct is visible inside this room: status.c reports from it.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "config/flags.h"
#include "gpu/driver.h"
#include "health/health.h"
#include "health/healthfile.h"
#include "health/xidlog.h"
#include "node/coexist.h"
#include "node/httplink.h"
#include "node/publisher.h"
#include "nodeconfig/nodeconfig.h"
#include "plugin/kubeletdir.h"
#include "plugin/offer.h"
#include "plugin/podresources.h"
#include "plugin/service.h"

struct agent_counters {
    uint64_t reloads, failed_reloads, xids, hangs;
};

struct agent {
    const struct agent_flags *flags;
    const struct config_overrides *overrides;
    uv_loop_t loop;
    uv_signal_t signals[4];
    uv_timer_t tick;  /* once a minute: what inotify may have lost */
    uv_timer_t probe; /* while a GPU is not well: when to ask again */
    struct driver *driver;
    struct kubeletdir *kubelet;
    struct nodeconfig *nodeconfig;
    struct publisher *publisher;
    struct podresources *podresources;
    struct coexist *coexist;
    struct nodestatus nodestatus;
    struct httplink *httplink; /* NULL without an address */
    struct health health;
    struct xid_filter xid_filter;
    struct xidlog xidlog;
    struct healthfile healthfile;
    struct inventory machine;      /* as remembered, see machine.h */
    int helper_pid;                /* who told the inventory last */
    bool machine_known;            /* the driver answered, or there is no GPU to ask about */
    struct config *next_config;    /* read, and not yet planned because the machine is unknown */
    struct offer *offer, *earlier; /* NULL before the first plan; the one before the current */
    struct service_context services_context;
    struct service **services;
    size_t n_services, services_capacity;
    bool serves;                /* one of them at least is registered */
    char config_path[PATH_MAX]; /* of the configuration taken last; "" = none was needed */
    int64_t config_taken_at;    /* in seconds of the wall clock */
    char refusal[512];          /* why another one is meant and not taken; "" = it is as meant */
    char driver_trouble[256];   /* why the driver cannot be asked now; "" = it can */
    bool stopping;
    int status; /* what main returns */
    struct agent_counters counters;
};

/*
 * Runs until SIGTERM, SIGINT or SIGQUIT, or until it cannot start (logged). Returns the exit
 * status. flags and overrides are borrowed.
 */
int agent_run(const struct agent_flags *flags, const struct config_overrides *overrides);

/* For the rest of this room. */

/* Plans by config as soon as the machine is known; owns it from here on. */
void agent_adopt(struct agent *agent, struct config *config);

/* The loop runs on until everything is closed. */
void agent_stop(struct agent *agent, int status);

void agent_log_problems(const struct problems *problems);
