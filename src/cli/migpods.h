// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The pods that have GPUs and MIG devices of this node, as far as its files tell (podrecords.h).
 *
 * A pod may have a device before any of its processes uses it, and then the driver knows of none.
 */

#include "base/error.h"
#include "grant/podrecords.h"
#include "slice/inventory.h"

/* Before why the pods of a machine are not known. */
#define MIGPODS_UNKNOWN \
    "the steps are shown as if nobody used the MIG devices; which pods do is unknown: "

/* The pods of a simulated machine, or (NULL) of this node, as its agent or else the kubelet's
 * standard folder tells. 0, or a negative errno: nothing is known of them. */
int migpods_look(const char *machine, struct podrecords *ret_pods, struct error *err);

/* who: "pod default/train", where: "MIG device 0:1". */
typedef void migpods_found_fn(struct device_instance instance, const char *who, const char *where,
                              void *userdata);

/* Calls found for each device of the GPU at that position that a pod has. */
void migpods_find(const struct podrecords *pods, const struct inventory *machine, size_t gpu,
                  migpods_found_fn *found, void *userdata);
