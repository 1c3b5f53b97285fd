// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The names of a pod and a container, from the kubelet's log directories, so that neither the API
 * server nor the runtime is needed:
 *
 *     /var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log
 *     /var/log/containers/<pod>_<namespace>_<container>-<id>.log    a link to one of those
 *
 * Kubernetes documents the locations ("Logging Architecture"); the kubelet builds the names in
 * pkg/kubelet/kuberuntime/{helpers,legacy}.go (1.36), and truncates a link's name to 255 bytes.
 * Links are read, never followed, so that the node's files may be below another root. A sandbox's
 * own container ("pause") has no log.
 */

#include "arbiter/podcgroup.h"
#include "base/error.h"

/* Positive outcome: no directory belongs to this pod. */
enum { PODLOG_UNKNOWN = 1 };

struct podlog {
    char namespace_[64]; /* a DNS label */
    char pod[254];       /* a DNS subdomain */
    char container[64];  /* "" = unknown */
    char pod_uid[PODCGROUP_UID_SIZE];
};

/* By container id, else by pod UID. 0, the outcome above, or why nothing can be read. */
int podlog_find(const char *root, const struct podcgroup *cgroup, struct podlog *ret_log,
                struct error *err);
