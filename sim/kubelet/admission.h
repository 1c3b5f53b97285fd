// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Devices for one pod: container by container, resource by resource, asking the plugins in between.
 *
 * Pods are admitted one at a time, in the order in which they were scheduled, as the real kubelet
 * does. A failure anywhere fails the pod for good (reason UnexpectedAdmissionError); what its
 * earlier containers got returns at the next allocation, because the pod is then no longer active.
 */

#include <stdbool.h>

#include "manager.h"
#include "pod.h"

struct kubelet;

struct admission {
    char *pod_uid;    /* NULL = none under way */
    size_t container; /* where it stands: index in the pod's containers */
    size_t limit;     /* and in the container's limits */
    struct pick pick;
    struct reuse reuse;
};

/* Begins; must not be under way. */
void admission_begin(struct kubelet *kubelet, struct pod *pod);

bool admission_is_busy(const struct admission *admission);
bool admission_is_of(const struct admission *admission, const struct pod *pod);
void admission_deinit(struct admission *admission);
