// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Configuration and machine become what this node offers.
 *
 * Whatever the plan depends on, its change ends here: everything is planned again from the facts,
 * what cannot be offered is reported, and the services and CDI specs are brought in line. Nothing
 * is remembered of the change itself, so a change that came twice or too early does no harm.
 *
 * Until the machine is known a configuration waits in facts.next_config. Nothing is registered
 * before it is known what pods hold (grants_is_ready), or while it is held back
 * (facts_is_held_back).
 */

#include <stdbool.h>

#include "node/coexist.h"
#include "node/facts.h"
#include "node/formernames.h"
#include "node/mignames.h"
#include "node/mpswatch.h"
#include "node/publisher.h"

/* All borrowed. Set before the machine can be known. */
struct reconciler {
    struct facts *facts;
    struct serviceset *services;
    struct publisher *publisher;
    struct coexist *coexist;
    struct mpswatch *mpswatch;
    struct mignames *mignames;   /* NULL = each device has one name */
    struct grants *grants;       /* NULL = grants are not recorded */
    struct memorylimits *limits; /* NULL = memory limits are not served */
    bool withholds;              /* as last reported, see memorylimits_problem */
    char *left_out;              /* the devices that were left out last, each a line; NULL = none */
    size_t n_absent;             /* ids that pods hold of MIG devices that are gone */
    bool serves;                 /* a resource is registered with the kubelet */
    char about_mig[1024];        /* what was reported of MIG the last time */
    struct formernames formernames;
};

void reconciler_deinit(struct reconciler *reconciler);

/* Takes ownership of a configuration to put in force. */
void reconciler_take_config(struct reconciler *reconciler, struct config *config);

/* facts.machine became known, or changed. */
void reconciler_machine_changed(struct reconciler *reconciler);

/* An MPS daemon that the configuration in force asks for came or went. */
void reconciler_mps_changed(struct reconciler *reconciler);

/* What the partitioner withholds changed. */
void reconciler_withheld_changed(struct reconciler *reconciler);

/* The partitioner has nothing under way: what was held back (facts_is_held_back) may not be any
 * more. */
void reconciler_partitioned(struct reconciler *reconciler);

/* facts.health or what pods hold changed: devices become Healthy and Unhealthy. */
void reconciler_health_changed(struct reconciler *reconciler);

/* Grants became ready, or their problem changed. */
void reconciler_grants_changed(struct reconciler *reconciler);

/* The arbiter came or went, or told something else. */
void reconciler_limits_changed(struct reconciler *reconciler);

/* A service is registered, or no longer, or stands back for another plugin. */
void reconciler_services_changed(struct reconciler *reconciler);
