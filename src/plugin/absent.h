// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Device ids that pods hold of MIG devices that are gone: destroyed while no agent ran, or by a
 * reboot, or replaced by one of another profile in the same place.
 *
 * The kubelet may start such a pod again with the answer that it keeps, and asks nobody but the
 * device list. So the id stays in the list of its resource, Unhealthy, until the pod has ended,
 * also if the resource has no other device. It stands for no device: nothing can be allocated by
 * it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "plugin/offer.h"

struct absent {
    const char *resource, *id; /* borrowed until the grants change */
};

/*
 * The next one of a resource (NULL = of any), from *position on, which is 0 at first. False: there
 * is none. None is of a machine whose GPUs are not known.
 */
bool absent_next(const struct offer *offer, const char *resource, size_t *position,
                 struct absent *ret_absent);

/* True if the resource's list has others in one offer than in the other. */
bool absent_differ(const struct offer *a, const struct offer *b, const char *resource);
