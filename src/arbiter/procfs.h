// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What /proc tells of the node's processes. root: of the node's files, "" for this one's. */

#include <stdbool.h>

#include "arbiter/podcgroup.h"
#include "base/error.h"

/* False: it shows those of a container. */
bool procfs_is_node(const char *root);

/* As podcgroup_parse; a negative errno also if there is no such process. */
int procfs_read_cgroup(const char *root, long pid, struct podcgroup *ret_pod, struct error *err);
