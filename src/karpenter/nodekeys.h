// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a Node of a slice profile has beside what Kubernetes and NVIDIA define, and who writes it.
 *
 * The first four come from the NodePool's template: Karpenter copies them to each Node, once, so
 * that a Node keeps what it was made for whatever becomes of its profile, and the agent needs no
 * right to read profiles. All of them are part of Karpenter's drift hash: a text that changes
 * replaces nodes.
 */

#define SLICEPROFILE_LABEL      "gpuslice.dev/profile"      /* its name */
#define SLICEPROFILE_HASH_LABEL "gpuslice.dev/profile-hash" /* see sliceprofile_hash */

/* The agent's configuration, as sliceprofile_add_config writes it. It is in force on a Node with
 * the label. */
#define SLICEPROFILE_CONFIG "gpuslice.dev/config"

/* What the node will advertise (promisetext.h). */
#define SLICEPROFILE_PROMISE "gpuslice.dev/promise"

/* A taint from the node's start until it advertises what was promised. */
#define SLICEPROFILE_STARTUP_TAINT "gpuslice.dev/not-ready"

/* The agent's: what it offers by the configuration in force, "nvidia.com/gpu.shared=16", whether or
 * not the kubelet knows it yet, healthy or not. Resources by name, in the form of
 * slice/namedemand.h; what cannot be offered is not counted. Absent: nothing is offered, or it is
 * not known yet. */
#define SLICEPROFILE_ADVERTISES "gpuslice.dev/advertises"
