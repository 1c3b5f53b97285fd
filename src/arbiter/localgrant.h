// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A grant that no kubelet gave: what `gpuslice run` asks for one command. The arbiter of the node
 * keeps it, or one of its own. It lies in a directory:
 *
 *     <folder>/grants/<id>/    where the arbiter's socket is
 *         members              "cgroup <path>", or "tree <pid>": whose processes may ask; with
 *                              "owner <pid> <start>", the process that asked for it
 *         limits               "mode enforced", and "<device uuid> <bytes>" for each device; also
 *                              what the library reads while there is no arbiter
 *         shares               "<device uuid> <permille>" for each device whose time is shared; an
 *                              arbiter of earlier does not read it
 *
 * The arbiter treats it as a pod with a grant. No pod of Kubernetes has such names.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "arbiter/podcgroup.h"
#include "base/error.h"
#include "gpu/gpu.h"
#include "grant/grant.h"
#include "limits/page.h"

#define LOCALGRANT_FOLDER    "grants"
#define LOCALGRANT_ID        "0000000000000000" /* of an arbiter that has no other */
#define LOCALGRANT_NAMESPACE "[run]"            /* the pod's name is the number of its owner */
#define LOCALGRANT_CONTAINER "command"
#define LOCALGRANT_CGROUP    "gpuslice-run-" /* begins the name of each cgroup of a command */

struct localgrant_limit {
    char uuid[GPU_UUID_SIZE]; /* "GPU-..." or "MIG-..." */
    uint64_t bytes;
    uint32_t share_permille; /* of its time; 0 = not told */
};

struct localgrant {
    char id[GRANT_ID_SIZE];
    pid_t owner;           /* 0 = the arbiter ends with it anyway */
    uint64_t owner_start;  /* procfs_read_start: its number may be another's later */
    char cgroup[PATH_MAX]; /* as /proc/PID/cgroup shows it behind "0::"; "" = a tree */
    pid_t tree; /* this process and all that descend from it; the owner, if there is one */
    struct localgrant_limit limits[LIMITS_DEVICES_MAX];
    size_t n_limits;
};

/* Makes its directory. 0, or a negative errno with the file's name. */
int localgrant_store(const char *folder, const struct localgrant *grant, struct error *err);
int localgrant_load(const char *folder, const char *id, struct localgrant *ret_grant,
                    struct error *err);

/* And what the arbiter has put there. */
void localgrant_remove(const char *folder, const char *id);

/* Its members are those of the cgroup of that name right below that of the process, as this arbiter
 * sees it. 0, or a negative errno with a sentence: -EINVAL: no command has a cgroup of that name.
 */
int localgrant_set_cgroup(struct localgrant *grant, pid_t pid, const char *name, struct error *err);

/* The uid of its pod. */
void localgrant_format_uid(const char *id, char uid[PODCGROUP_UID_SIZE]);
bool localgrant_is_uid(const char *pod_uid);

enum { LOCALGRANT_DEPTH_MAX = 256 };

/* What decides whose a process is; read once for all grants. */
struct localgrant_process {
    char cgroup[PATH_MAX]; /* "" = none of version 2 */
    pid_t above[LOCALGRANT_DEPTH_MAX];
    size_t n_above; /* itself, its parent, and so on, as far up as /proc tells */
};

/* 0, or a negative errno if /proc does not tell. */
int localgrant_look(pid_t pid, struct localgrant_process *ret_process);

/* Whether it is one of the grant's. */
bool localgrant_has(const struct localgrant *grant, const struct localgrant_process *process);
