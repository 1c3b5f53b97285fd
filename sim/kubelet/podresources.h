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
struct podresources;

int podresources_new(struct kubelet *kubelet, const char *directory,
                     struct podresources **ret_podresources, struct error *err);
/* NULL is allowed. */
void podresources_free(struct podresources *podresources);
