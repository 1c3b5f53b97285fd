// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is done about pods that use GPU memory which is not theirs, and about which of them.
 *
 * It is done only to pods for which it is certain: never to processes of the node, to pods of
 * spared namespaces, or to pods whose namespace is not known. Without the kubelet's checkpoint
 * every pod looks as if it held nothing; then only who is over a limit is certain.
 *
 * Pure: no file, no clock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/violations.h"

enum { VIOLATIONPOLICY_GRACE_S = 30 };

enum violation_action {
    VIOLATION_REPORT,
    VIOLATION_STARVE, /* its library is refused memory */
    VIOLATION_KILL,   /* its processes are ended */
};

struct violationpolicy {
    enum violation_action action;
    uint64_t grace_ms;  /* from the beginning of a violation */
    const char *spared; /* namespaces: "kube-system,gpu-operator"; "" = none */
};

/* "report", "starve", "kill". False: it is none of these. */
bool violation_action_parse(const char *word, enum violation_action *ret_action);
const char *violation_action_name(enum violation_action action);

/* Whether something is to be done about it now. knows_holders: the kubelet's checkpoint was there.
 */
bool violationpolicy_is_due(const struct violationpolicy *policy, const struct violation *violation,
                            bool knows_holders, uint64_t now_ms);
