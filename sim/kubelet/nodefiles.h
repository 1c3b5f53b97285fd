// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The files of a node by which gpuslice-arbiter (--root) knows whose a process is, in a folder of
 * their own. Containers are processes here, without cgroups, and need not run as root, so what
 * kernel and container runtime would show of them is written down:
 *
 *     proc/2/comm              "kthreadd", which only a node itself shows
 *     proc/PID/cgroup          0::/kubepods/besteffort/pod<uid>/<container id>
 *     var/log/pods             a link to the stand-in's own folder of pods
 *     var/log/containers/<pod>_<namespace>_<container>-<container id>.log
 *                              a link, which names them all
 *
 * Only the first process of a container is in it.
 */

#include <sys/types.h>

#include "base/error.h"

struct nodefiles_container {
    const char *namespace_, *pod, *pod_uid, *name;
    pid_t pid;
};

/* root: NULL = no such files, here and below. pods: the folder of pods. */
int nodefiles_make(const char *root, const char *pods, struct error *err);

/* Before its process does anything. Again after each restart of the container. */
int nodefiles_add(const char *root, const struct nodefiles_container *container, struct error *err);

/* The process has ended. */
void nodefiles_remove(const char *root, pid_t pid);
