// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is kept of a Pending pod that the scheduler found no Node for, if it requests resources of
 * nvidia.com/: which and how many, since when, and where it may run. Of any other pod nothing is.
 *
 *   {"metadata": {"namespace": ..., "name": ..., "uid": ...}, "spec": {"nodeSelector": ...,
 *    "affinity": {"nodeAffinity": ...}, "tolerations": ...}, "requests": {"nvidia.com/gpu": 1},
 *    "since": 1767225600}
 *
 * Pure.
 */

#include <jansson.h>
#include <stdint.h>

#define PODNEED_QUERY "fieldSelector=spec.nodeName%3D%2Cstatus.phase%3DPending"

/* {} for a pod that does not wait; NULL without memory. */
json_t *podneed_reduce(const json_t *pod);

/* Of a reduced one; NULL = it does not wait. */
json_t *podneed_requests(const json_t *pod);

const char *podneed_uid(const json_t *pod);

/* When the scheduler gave up for the first time, in seconds of the wall clock. */
int64_t podneed_since(const json_t *pod);
