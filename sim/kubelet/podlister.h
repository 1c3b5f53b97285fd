// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The pod-resources service on pod-resources/kubelet.sock: device assignments.
 *
 * As in the real kubelet: active pods only, no init containers except sidecars, one
 * ContainerDevices entry per device and NUMA node. Listing first reclaims the devices of finished
 * pods.
 */

#include "base/error.h"

struct kubelet;
struct podlister;

int podlister_new(struct kubelet *kubelet, const char *directory, struct podlister **ret_podlister,
                  struct error *err);
/* NULL is allowed. */
void podlister_free(struct podlister *podlister);
