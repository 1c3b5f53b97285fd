// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A limit for a command of the arbiter of this node, which counts it with the pods' slices
 * (arbiter/commands.h).
 */

#include <limits.h>

#include "arbiter/localgrant.h"
#include "base/error.h"
#include "base/text.h"

struct runnode {
    char id[GRANT_ID_SIZE];                  /* "" = there is none */
    char socket[PATH_MAX], folder[PATH_MAX]; /* of the grant, for the library */
    enum limits_mode mode;                   /* in effect on this node */
};

#define RUNNODE_INIT \
    {                \
        .id = ""     \
    }

enum {
    RUNNODE_ABSENT = 1,        /* no arbiter of this node gives limits */
    RUNNODE_NOT_PERMITTED = 2, /* to this user */
};

/*
 * What the grant wants, of which the limits and the last name of the cgroup count: who asks is us.
 * arbiter_dir: NULL = the standard one. 0, an outcome above, or a negative errno with the
 * arbiter's sentence: it refuses.
 */
int runnode_begin(const char *arbiter_dir, const struct localgrant *wanted,
                  struct runnode *ret_node, struct error *err);

/* Adds what was counted, as runarbiter_end; nothing while the arbiter is away. */
void runnode_end(struct runnode *node, struct text *counts);
