// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether this process runs in a container, where the driver's library and device nodes are those
 * that the runtime mounted when the container was made.
 *
 * There is no single sign that every runtime leaves, so any of these counts:
 * KUBERNETES_SERVICE_HOST (the kubelet sets it in each container), `container` (systemd's
 * convention; podman and CRI-O), the files /.dockerenv and /run/.containerenv, and a process
 * namespace other than the kernel's first.
 */

#include <stdbool.h>

/* root: "" for this system; tests pass another. */
bool container_is_around(const char *root, char *const environment[]);
