// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `gpuslice-nodesync --retire DAEMONSET`: deletes our DaemonSet, in the namespace NAMESPACE of the
 * environment or else our own, in the foreground, and waits until it and its pods are gone.
 *
 * An uninstaller that deletes the DaemonSet and then, at once, the rights of its pods leaves them
 * no time to clean their Nodes up. Run before that, this gives it: each pod ends, sees that its
 * DaemonSet is being deleted, and removes what is its own.
 */

/* Returns the exit status: 0 when it is gone, also when it was not there; else logs why. */
int uninstall_run(const char *daemonset);
