// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * ConfigMaps of a file that are labelled as slice profiles (configprofile.h), before they are in a
 * cluster: what the controller will make of each key, and what is wrong with it, each with its
 * place in the file.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"
#include "base/yaml.h"
#include "karpenter/document.h"

/* A ConfigMap with the label, as the controller watches it. */
bool configmaps_is_labelled(const struct yaml *document);

/* Adds the SliceProfile of each key of such a ConfigMap, as somebody's own. 0, -EBADMSG when
 * `problems` got an error, or -ENOMEM. */
int configmaps_convert(const struct yaml *config_map, struct problems *problems,
                       struct documents *documents);

/* Of every ConfigMap in a text, also in a List; of one key alone, unless it is NULL. What
 * `problems` already has at the same place is not repeated. 0 (there may be problems; a text that
 * is no YAML is the caller's to report), or -ENOMEM. */
int configmaps_check(const char *text, size_t size, const char *key, struct problems *problems);
