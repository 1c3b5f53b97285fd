// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * GetPreferredAllocation: which of the free slices one container should get. Pure and polynomial.
 *
 * Whole, unshared GPUs: the set with the best links, by PCIe path and NVLinks, where GPUs on one
 * NVSwitch count as linked; what is left should stay as good as possible for the next (align.h). A
 * GPU that is lost comes last and never makes the call fail.
 *
 * Everything else, by load: the device with the fewest (distributed) or the most (packed) slices in
 * use comes first; a tie goes to the device whose GPU has the fewest or the most, then to the one
 * picked least in this call, then to the lowest index. MIG devices belong here even when unshared,
 * since in MIG mode there is no peer-to-peer between GPUs that a better link could speed up.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slice/inventory.h"
#include "slice/plan.h"

enum allocation_policy { ALLOCATION_DISTRIBUTED, ALLOCATION_PACKED };

enum prefer_outcome {
    PREFER_TOO_FEW = 1, /* available and required together are fewer than asked for */
};

struct preference {
    const struct plan *plan;
    const struct plan_resource *resource;
    const struct inventory *inventory; /* NULL: no links are known */
    enum allocation_policy policy;
    bool unique; /* a device with a slice of this container comes after all others */
    /* Ids as sent by the kubelet; required ones may be in both. Available ids unknown to the plan
     * are skipped; required ones are kept, because the container has them. */
    const char *const *available, *const *required;
    size_t n_available, n_required;
    size_t size; /* how many ids are requested */
};

/*
 * ret_ids gets `size` borrowed pointers out of available and required: the required ones first, in
 * their order, then by device and n (links) or in the order of picking (load). It must have room
 * for `size`; its content is undefined unless 0 is returned. 0, PREFER_TOO_FEW or -ENOMEM.
 */
int prefer(const struct preference *wish, const char **ret_ids);
