// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How the memory limit of a container reaches it, where the arbiter serves limits: three read-only
 * mounts beside what allocation.h gives. The directory of the grant (grant/grantdir.h), with the
 * arbiter's socket and the limits; the library, by the folder of its version; and the file that has
 * the container's dynamic loader load it.
 *
 * The kubelet keeps an answer for as long as the pod lives, and a runtime makes an empty directory
 * of a source that is missing. So the version is named that is there now: the arbiter removes one
 * only when no answer names it.
 *
 * What several resources give one container the kubelet merges by the path in the container: the
 * library's two are the same for all.
 */

#include <limits.h>
#include <stdbool.h>

#include "deviceplugin/v1beta1/api.pb.h"

enum limitmounts_outcome {
    LIMITMOUNTS_NO_LIBRARY = 1, /* none is there that a container could load */
};

/* What is known of it on this node. */
struct limitmounts {
    const char *folder; /* of grants and libraries, on the node and here; borrowed */
    bool withholds;     /* what is given now would not be limited, and is to be */
};

/* The folder of the library that containers get now. 0, LIMITMOUNTS_NO_LIBRARY or a negative
 * errno. */
int limitmounts_library(const struct limitmounts *limits, char ret_library[PATH_MAX]);

/* Adds the mounts to the answer of one container. 0, LIMITMOUNTS_NO_LIBRARY (nothing is added) or a
 * negative errno. */
int limitmounts_add(const struct limitmounts *limits, const char *resource, const char *grant_id,
                    v1beta1_ContainerAllocateResponse *answer);
