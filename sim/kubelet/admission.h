// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Allocates the devices of one pod: container by container, resource by resource, calling the
 * plugins in between.
 *
 * Pods are admitted one at a time, in the order in which they were scheduled, as in the real
 * kubelet. Any failure fails the pod for good (reason UnexpectedAdmissionError); devices already
 * given to its earlier containers are reclaimed at the next allocation, because the pod is then no
 * longer active.
 */

#include <stdbool.h>

#include "manager.h"
#include "pod.h"

struct kubelet;

struct admission {
    char *pod_uid;    /* NULL = no admission in progress */
    size_t container; /* current index in the pod's containers */
    size_t limit;     /* current index in the container's limits */
    struct pick pick;
    struct reuse reuse;
};

/* Starts an admission; none may be in progress. */
void admission_begin(struct kubelet *kubelet, struct pod *pod);

bool admission_is_busy(const struct admission *admission);
bool admission_is_of(const struct admission *admission, const struct pod *pod);
void admission_deinit(struct admission *admission);
