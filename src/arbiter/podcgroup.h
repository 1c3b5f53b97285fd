// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which pod a process belongs to according to the kernel: from the text of /proc/PID/cgroup,
 * independent of anything that the process itself claims.
 *
 * Names are created from the outside in: systemd and the kubelet make those down to the pod's, the
 * runtime makes the container's, and processes in the container may create what is below it. So the
 * outermost pod of a path is the real one, only the cgroup right below it can be its container, and
 * a pod whose UID cannot be parsed is an error, never a reason to search further inside.
 *
 * Forms, one path each (h/ stands for what may lie above, such as kind's node):
 *
 *     cgroupfs driver   h/kubepods[/QOS]/pod<uid>/<id>                    CRI-O: crio-<id>
 *     systemd driver    h/kubepods.slice[/kubepods-QOS.slice]/kubepods[-QOS]-pod<uid>.slice/
 *                           <runtime>-<id>.scope                          uid: '_' instead of '-'
 *     drivers at odds   h/kubepods[-QOS]-pod<uid>.slice:<runtime>:<id>    containerd and runc
 *     --cgroup-root     kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-QOS.slice/...
 *     from another
 *     cgroup namespace  ../../pod<uid>/<id>      as many ".." as cgroups up to the common one
 *
 * QOS is burstable or besteffort; guaranteed pods have no such part. <uid> has dashes in groups of
 * 8-4-4-4-12, or is the plain 32 digits that the kubelet gives a static pod (the API server knows
 * that pod under another UID). <id> is 64 digits. Cgroups v1 have a line for each hierarchy: those
 * that name a pod must name the same one; others (rdma at "/", a hybrid's "0::") do not count.
 *
 * Sources: cgroups(7) and cgroup_namespaces(7); kernel/cgroup/cgroup.c (a name holds no line feed,
 * " (deleted)" follows the path of a removed cgroup); Kubernetes 1.36, pkg/kubelet/cm,
 * {cgroup_manager,pod_container_manager}_linux.go, and pkg/kubelet/config/common.go (static pods);
 * containerd 2.4, internal/cri/server/helpers.go (slice:cri-containerd:id, which runc makes
 * cri-containerd-id.scope of); and the recordings in tests/data/cgroup.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum {
    PODCGROUP_TEXT_MAX = 65536, /* bytes; the kernel shows at most 4096 of each hierarchy's path */
    PODCGROUP_UID_SIZE = 37,
    PODCGROUP_ID_SIZE = 65,
    PODCGROUP_RUNTIME_SIZE = 32,
};

/* Positive outcomes of podcgroup_parse. */
enum {
    PODCGROUP_NO_POD = 1, /* a process of the host, of a plain container, or of "/" */
    PODCGROUP_HIDDEN = 2, /* a container beside the reader's own, seen from a cgroup namespace that
                             cuts the pod off: only runtime and container_id are known */
};

enum podcgroup_qos {
    PODCGROUP_QOS_UNKNOWN, /* a cgroup namespace cut it off */
    PODCGROUP_QOS_GUARANTEED,
    PODCGROUP_QOS_BURSTABLE,
    PODCGROUP_QOS_BESTEFFORT,
};

struct podcgroup {
    char pod_uid[PODCGROUP_UID_SIZE];     /* lower case, with dashes where it has groups */
    char container_id[PODCGROUP_ID_SIZE]; /* "": in the pod's cgroup, but in no container's */
    char runtime[PODCGROUP_RUNTIME_SIZE]; /* "cri-containerd", "crio", "docker"; "": not told */
    enum podcgroup_qos qos;
    /*
     * Something lies above the pods' tree: kind, rootless k3s, --cgroup-root, drivers at odds. Then
     * a plain container or a user's session that was given a cgroup of its own could have made
     * these names. Who decides by them must know that the pods of this node do lie there
     * (procfs_read_pod).
     */
    bool is_nested;
};

/*
 * 0, an outcome above, or -EBADMSG with a sentence: no text of this form, lines that name different
 * pods or containers, or a pod whose UID has no known form. The reader itself is trusted: in a
 * cgroup namespace of its own it cannot tell cgroups below its own from the host's.
 */
int podcgroup_parse(const char *text, size_t size, struct podcgroup *ret_pod, struct error *err);

/* "Guaranteed", as the Kubernetes API spells it; NULL when unknown. */
const char *podcgroup_qos_name(enum podcgroup_qos qos);
