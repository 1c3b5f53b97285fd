// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What pods hold otherwise than it is offered now. A configuration that changes live gives devices
 * other names, other parts (whole GPUs instead of MIG devices, or the other way round) or other
 * slices, and what was allocated before stays with its pod. The kubelet counts each resource by
 * itself: it would give the same device to a second pod. So, from the grants that hold ids now:
 *  - A MIG device is nobody else's while its GPU is held whole, and a GPU while a part of it is.
 *  - Slice n of a device is nobody else's while slice n is held under another name, and while it is
 *    held under both of two names.
 *  - While anything of a device is held otherwise, that, what is held as it is offered and the free
 *    slices are together at most the whole device, in compute and in memory; free slices beyond
 *    that are nobody's, from the highest n down. What is held otherwise counts as what was promised
 *    then; of an adopted grant that is unknown, and its n tells. An id that is in the list counts
 *    as what it is there.
 *
 * An Allocate of a slice that is free by these rules makes no other slice free or taken.
 */

#include "grant/ledger.h"
#include "plugin/offer.h"

/*
 * For each slice of the offer's plan (offer_slice_place) the resource under which it, another part
 * or slice of its device is held, so that nobody else may have it; NULL = none is. The strings
 * belong to the ledger. 0 or -ENOMEM.
 */
int formerholds_find(const struct offer *offer, const struct ledger *ledger, const char **ret_as);

/* Whether an id of the kubelet names a GPU or a MIG device of this machine, or a slice of one. */
bool formerholds_is_device(const struct inventory *inventory, const char *id);

/* As formerholds_find for one slice of the plan. 0 or -ENOMEM. */
int formerholds_of_slice(const struct offer *offer, const struct ledger *ledger,
                         const struct slice *slice, const char **ret_as);
