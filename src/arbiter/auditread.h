// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An audit of this node: what the driver told, joined with what the node's files tell. Its caller
 * has asked the driver, and has read the records of what pods were given.
 *
 * root: of the node's files, "" for this one's; below it are /proc and the kubelet's logs. NULL =
 * there are no pods. commands: those with a limit; a process of a pod is of none.
 */

#include "arbiter/audit.h"
#include "arbiter/localgrants.h"
#include "gpu/usage.h"
#include "grant/podrecords.h"

/* Into an empty audit. 0 or -ENOMEM. */
int auditread(const char *root, const struct localgrants *commands, const struct inventory *machine,
              const struct usage *usage, const struct podrecords *records, struct audit *audit);
