// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent's current knowledge of this node: the machine, the configuration in force, the
 * resulting plan, the services, and what is wrong.
 *
 * The observers that agent.c starts write here; the outputs (verdict.h, status.h, nodestate.h,
 * publisher.h) only read it, and know nothing else of the agent.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/agentflags.h"
#include "health/health.h"
#include "node/coexist.h"
#include "node/memorylimits.h"
#include "node/nodepromise.h"
#include "node/partitioner.h"
#include "node/serviceset.h"
#include "nodeconfig/nodeconfig.h"
#include "plugin/grants.h"
#include "plugin/nodestatus.h"
#include "plugin/offer.h"

enum { FACTS_MESSAGE_SIZE = 1024 };

struct facts_counters {
    uint64_t reloads, failed_reloads, xids, hangs;
};

/* All zero = nothing is known. */
struct facts {
    const struct agent_flags *flags;       /* borrowed, like the next eight */
    const struct serviceset *services;     /* NULL before the first plan */
    const struct grants *grants;           /* NULL = grants are not recorded */
    const struct memorylimits *limits;     /* NULL = memory limits are not served */
    const struct coexist *coexist;         /* NULL before it is observed */
    const struct nodeconfig *nodeconfig;   /* NULL before it is observed */
    const struct health *health;           /* NULL before the driver is watched */
    const struct partitioner *partitioner; /* NULL = MIG layouts are not changed */
    struct nodepromise promise;            /* what Karpenter expects of this node */
    struct inventory machine;              /* as remembered, see machine.h */
    bool machine_known;                    /* the driver listed GPUs, or there is none to list */
    struct config *next_config;    /* parsed, but not yet planned because the machine is unknown */
    struct offer *offer, *earlier; /* NULL before the first plan; the previous one */
    struct nodestatus nodestatus;  /* the Node's status */
    char config_path[PATH_MAX];    /* of the last used configuration; "" = none was needed */
    bool is_fallback;         /* it is not the selected one, which is unusable since the start */
    int64_t config_taken_at;  /* in seconds of the wall clock */
    char refusal[512];        /* why the selected one is not used; "" = it is */
    char shortfall[512];      /* what of it cannot be offered; "" = all of it is */
    char driver_problem[256]; /* why the driver is unusable; "" = it is usable */
    char unserved[256];       /* why this node's GPUs are nobody's to slice here, which is no
                                 problem; "" = there are none, or they are served */
    struct facts_counters counters;
};

void facts_deinit(struct facts *facts);

/*
 * Puts `next` in force, and takes it over with its configuration. The current offer becomes the
 * earlier one unless the kubelet cannot tell the two apart: then it may still ask for what is
 * older. *ret_dropped is an offer that nothing refers to after this; free it with facts_drop once
 * the services have seen the new one. It may be NULL.
 */
void facts_offer(struct facts *facts, struct offer *next, struct offer **ret_dropped);

/* Frees an offer, and its configuration unless an offer in force uses it. NULL is allowed. */
void facts_drop(const struct facts *facts, struct offer *offer);

/* True if there is an offer, and it is one of GPUs that could be looked at. Else what an earlier
 * agent published of them (labels, CDI specifications) is better than what this one would. */
bool facts_is_planned(const struct facts *facts);

/*
 * Nothing is registered yet, and nothing is to be: the node of a slice profile is being partitioned
 * for the first time. So the kubelet's first number of each resource is the promised one, and no
 * whole GPU is given out in between. It ends with the layout, or with what can be made of it; and
 * at once where pods have devices already.
 */
bool facts_is_held_back(const struct facts *facts);

/* MPS slices are not offered because no control daemon answers; the message (NULL: none) names
 * where it is looked for. */
bool facts_waits_for_mps(const struct facts *facts, char *message, size_t size);
