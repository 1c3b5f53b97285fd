// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * May a pod that a MIG layout waits for be evicted? The rules, of which nothing else decides:
 *
 *  - Only with consent: of the Node's annotation gpuslice.dev/mig-drain, or where it has none, of
 *    the flag --drain-for-mig.
 *  - Only the very pod that the Node's agent named, by its uid, and only on that Node: an agent
 *    cannot have pods of other Nodes evicted, and a pod that took the name of one that ended is
 *    another pod.
 *  - Never a static pod or one of a DaemonSet, which would come back to the same Node; nor one that
 *    is marked as not to be disturbed, for Karpenter or the cluster-autoscaler. A pod that nobody
 *    would create again only if forced.
 *
 * Pure.
 */

#include <jansson.h>
#include <stdbool.h>

#include "controller/migwaits.h"

#define DRAINPLAN_ANNOTATION "gpuslice.dev/mig-drain"

enum drain_consent {
    DRAIN_DENIED,
    DRAIN_ALLOWED,
    DRAIN_FORCED, /* also pods without a controller, which nobody creates again */
    DRAIN_CONSENTS,
};

/* "denied", "allowed", "forced". */
extern const char *const drain_consent_names[DRAIN_CONSENTS];

/* False for any other word. */
bool drain_consent_parse(const char *word, enum drain_consent *ret_consent);

enum drain_step {
    DRAIN_GONE,  /* that pod does not exist any more, or has ended, or is not on this Node */
    DRAIN_GOING, /* it is being deleted */
    DRAIN_EVICT,
    DRAIN_LEFT,    /* it stays, for *ret_why */
    DRAIN_UNKNOWN, /* its agent does not know its uid yet */
};

/* pod: the object of that name; NULL = there is none. ret_why: static, the end of "pod x is not
 * evicted: it ..."; may be written in any case. */
enum drain_step drainplan_pod(const json_t *pod, const struct migwaits_pod *wanted,
                              const char *node, enum drain_consent consent, const char **ret_why);
