// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What /proc tells of the node's processes. root: of the node's files, "" for this one's. */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/podcgroup.h"
#include "base/error.h"

/* False: it shows those of a container. */
bool procfs_is_node(const char *root);

/* As podcgroup_parse; a negative errno also if there is no such process. */
int procfs_read_cgroup(const char *root, long pid, struct podcgroup *ret_pod, struct error *err);

/* The same for who acts by it: a nested tree (podcgroup.h) has pods of this node only if we are in
 * one as well; else a user's session may have made it, and its processes are in no pod. */
int procfs_read_pod(const char *root, long pid, struct podcgroup *ret_pod, struct error *err);

/* When a process started, in ticks of the kernel's clock since its boot; a number of a process is
 * used again only after it has ended, so with this one it is unique. 0 or a negative errno. */
int procfs_read_start(const char *root, long pid, uint64_t *ret_ticks, struct error *err);

/* Now, by the same clock. */
uint64_t procfs_now(void);
