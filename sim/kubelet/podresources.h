// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The pod-resources service on pod-resources/kubelet.sock: who holds which device.
 *
 * As the real one: active pods only, init containers left out unless they are sidecars, one
 * ContainerDevices entry per device and NUMA node. Listing reclaims the devices of ended pods
 * first.
 */

#include "base/error.h"

struct kubelet;
struct podresources;

int podresources_new(struct kubelet *kubelet, const char *directory,
                     struct podresources **ret_podresources, struct error *err);
/* NULL is fine. */
void podresources_free(struct podresources *podresources);
