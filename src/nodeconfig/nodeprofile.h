// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The slice profile of our Node, if it has one: its name (a label) and the configuration that
 * belongs to it (an annotation), both from the NodePool's template (karpenter/nodekeys.h).
 *
 * The last known ones are kept below the state folder, as a file that the agent reads like any
 * other configuration. What may annotate a Node is not trusted with more than slices: nothing in
 * the text may say where the driver is, or how devices are handed out.
 */

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

struct nodeprofile {
    const char *folder;  /* borrowed; where the file is */
    char path[PATH_MAX]; /* of the file */
    char *name;          /* NULL = the Node has none */
    char *text;          /* NULL = the configuration is not there */
    bool is_unwritten;   /* the file is not of these */
};

/* Reads what is remembered; its absence is no profile. */
void nodeprofile_init(struct nodeprofile *profile, const char *state_folder);
void nodeprofile_deinit(struct nodeprofile *profile);

/* The Node's values; NULL or "" = it does not have it. True if that changes something, which is
 * remembered then. What could not be remembered is tried again the next time. */
bool nodeprofile_set(struct nodeprofile *profile, const char *name, const char *text);

/* 0: the file can be read. -ENODATA: the configuration is not there (yet); -EINVAL: the text is no
 * configuration of slices; -EIO: the file is of an earlier profile, or missing. */
int nodeprofile_check(const struct nodeprofile *profile, struct error *err);
