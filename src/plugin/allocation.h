// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Allocate, for one container: device ids in, device access out. The order of the steps and every
 * name in the response are those of NVIDIA's plugin, because container runtimes depend on them.
 */

#include "base/error.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "plugin/offer.h"

enum allocation_outcome {
    ALLOCATION_UNKNOWN_DEVICE = 1, /* an id that this resource never announced */
    ALLOCATION_TOO_MANY,           /* failRequestsGreaterThanOne, and more than one shared slice */
    ALLOCATION_WITHHELD,           /* its GPU is being partitioned, see offer_withholds */
    ALLOCATION_OTHER_NAME,         /* the device is announced under its other name */
    ALLOCATION_NOT_UNIQUE,         /* gpuslice.unique, and two slices of one device */
};

/*
 * `earlier` (may be NULL) is the offer before the current one: the kubelet may still request an id
 * that a reload just withdrew. Fills ret_answer, which owns everything it points to
 * (message_release). 0, an outcome with its message in err, or -ENOMEM.
 */
int allocation_answer(const struct offer *offer, const struct offer *earlier, const char *resource,
                      char *const *ids, size_t n_ids, v1beta1_ContainerAllocateResponse *ret_answer,
                      struct error *err);
