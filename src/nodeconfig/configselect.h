// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which of a directory's configurations a node uses, as in NVIDIA's config-manager: the one named
 * by the Node's label; without the label the default; without a default the first fallback strategy
 * that finds one. Pure; nodeconfig.h watches and waits.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { CONFIGSELECT_EMPTY = 1 };

struct configselect {
    const char *folder;         /* for messages */
    const char *label;          /* its key, for messages */
    const char *value;          /* the label's; NULL or "" = the Node does not have it */
    const char *default_config; /* NULL = none */
    const char *fallbacks; /* of "named", "single" and "empty", joined by commas; NULL = none */
};

/* False for the internal entries of a ConfigMap volume, "..data" and the like. */
bool configselect_is_candidate(const char *name);

/*
 * names: the directory's candidates, sorted. 0 and one of names; CONFIGSELECT_EMPTY (and NULL) for
 * an empty configuration; or -ENOENT with a message that lists the choices.
 */
int configselect_pick(const struct configselect *choice, char *const *names, size_t n_names,
                      const char **ret_name, struct error *err);
