// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which of a folder's configurations a node takes, as NVIDIA's config-manager chooses: the one that
 * the Node's label names; without the label the default; without a default the first fallback
 * strategy that finds one. Only computes; nodeconfig.h looks and waits.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { CONFIGSELECT_EMPTY = 1 };

struct configselect {
    const char *folder;         /* for the sentences */
    const char *label;          /* its key, likewise */
    const char *value;          /* the label's; NULL or "" = the Node does not have it */
    const char *default_config; /* NULL = none */
    const char *fallbacks; /* of "named", "single" and "empty", joined by commas; NULL = none */
};

/* False for what a ConfigMap volume needs for itself, "..data" and the like. */
bool configselect_is_candidate(const char *name);

/*
 * names: the folder's candidates, sorted. 0 and one of names; CONFIGSELECT_EMPTY (and NULL) for an
 * empty configuration; or -ENOENT with a sentence that says what could be chosen.
 */
int configselect_pick(const struct configselect *choice, char *const *names, size_t n_names,
                      const char **ret_name, struct error *err);
