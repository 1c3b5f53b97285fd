// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What each of our programs may do, and how it gives up the rest. doc/privileges.md shows the table
 * to people; a test compares it with the processes of a running node.
 *
 * A program enters its role as early as it can, while it has one thread: capabilities belong to
 * threads. Nothing of it can be undone. What the process was started without (a container's
 * capabilities) it does not get back.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum {
    ROLE_NOBODY = 65534,    /* user and group of what needs no files of root's */
    ROLE_USER_KEPT = 1,     /* an outcome of role_enter */
    ROLE_CAPABILITIES = 64, /* bits of a set */
};

enum role {
    ROLE_AGENT,
    ROLE_DRIVER,
    ROLE_HTTP,
    ROLE_NODESYNC_START, /* until it has read its credentials */
    ROLE_NODESYNC,
    ROLE_NODESYNC_AS_ROOT, /* its credentials are for root only, and may change */
    ROLE_PROBE,
    ROLE_REBOOT, /* asks the host to reboot */
    ROLE_CONTROLLER,
    ROLE_ARBITER,
    ROLE_ARBITER_WITH_GROUP, /* --run-group */
    ROLE_COUNT,
};

struct role_rights {
    const char *name;
    bool becomes_nobody;   /* when it is root */
    uint64_t capabilities; /* a set of 1 << CAP_X: it keeps these at most */
};

const struct role_rights *role_rights(enum role role);

/*
 * 0; ROLE_USER_KEPT when the role's user should be another one, and root may not change it here (in
 * a container without capabilities); or a negative errno: the process has more rights than it
 * should, and must not go on.
 */
int role_enter(enum role role, struct error *err);

/* Whether a file can be read by ROLE_NOBODY: 0 or a negative errno. For root, with one thread. */
int role_check_readable(const char *path);
