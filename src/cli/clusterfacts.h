// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a cluster shows of itself, as far as we may read it: one tree, which
 * `gpuslice check --cluster -o json` prints as it is.
 *
 *   kubernetes       the API server's version; null = not reported
 *   groups[]         of nodes with GPUs: by NodePool, node group, else instance type
 *     kind, name, nodes
 *     kubernetes, system, kernel, runtime, driver, cgroup, types, agent, plugins, migManagers
 *                    value -> on how many nodes; "" = not known
 *     sharing        "mig", "whole", "shared", "" (nothing advertised) -> on how many nodes
 *     mig            "capable", "incapable", "" -> on how many nodes
 *     advertised     resource -> the sum of what may be allocated
 *     autoMode       how many nodes are EKS Auto Mode's
 *     hidden         how many have the label by which cluster-autoscaler expects nvidia.com/gpu,
 *                    but not that
 *     doublyServed   how many have a device plugin and a DRA driver for their GPUs
 *   nodesWithoutGPU
 *   agent            our DaemonSet: namespace, name, version, nodes, partitions (MIG), podSecurity
 *                    ("" = no label, null = not known); null = there is none
 *   karpenter        namespace, name, version ("" = not known), gate ("on", "off", ""); null = none
 *   overlaysServed   whether the API server knows NodeOverlays; null = not known
 *   overlays[]       name, profile ("" = not ours), ready ("True", "False", ""), message
 *   pools            NodePool -> {profile, auto, class}; profile: "" = none; class: an
 * EC2NodeClass,
 *                    "" = another
 *   sharedClasses    EC2NodeClass -> how its GPUs are shared by DRA, by Karpenter's annotation
 *   components[]     what else concerns GPUs: role, what, kind, namespace, name, version, nodes
 *   draDrivers       driver -> on how many nodes it has devices
 *   deviceClasses[]  names of what pods ask such drivers for
 *   profilesServed   whether the API server knows SliceProfiles; null = not known
 *   sliceProfiles    how many; null = not known
 *   unknown[]        what could not be read: what, why
 */

#include <jansson.h>

#include "catalog/catalog.h"
#include "kube/reader.h"

/* *ret_facts is owned. 0, or a negative errno when the API server does not answer, or nothing may
 * be read of it at all. */
int clusterfacts_read(struct kube_reader *reader, const struct catalog *catalog, json_t **ret_facts,
                      struct error *err);
