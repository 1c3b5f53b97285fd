// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `gpuslice-nodesync --retire DAEMONSET`: deletes our DaemonSet, or with `deployments/NAME` the
 * controller's Deployment, in the namespace NAMESPACE of the environment or else our own, in the
 * foreground, and waits until it and its pods are gone.
 *
 * An uninstaller that deletes the DaemonSet and immediately afterwards its pods' permissions leaves
 * them no time to clean up their Nodes. Run before that, this command provides it: each pod ends,
 * sees that its DaemonSet is being deleted, and removes what it wrote.
 */

/* Returns the exit status: 0 if it is gone, even if it never existed; otherwise logs why. */
int uninstall_run(const char *workload);
