// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What an allocation gives, as the record that will be kept of it: the ids of one container and
 * what they stand for in the plan at this moment.
 */

#include "grant/grant.h"
#include "plugin/offer.h"

/*
 * The ids are ones that allocation_answer (allocation.h) accepted, of `offer` or of `earlier`,
 * which may be NULL; one that is in neither adds no device. Into an empty grant, without an id of
 * its own, time and boot. 0 or -ENOMEM.
 */
int grantterms_make(const struct offer *offer, const struct offer *earlier, const char *resource,
                    char *const *ids, size_t n_ids, struct grant *ret_grant);
