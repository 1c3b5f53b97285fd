// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What was read as YAML, as values that can be written again. */

#include <jansson.h>

#include "base/yaml.h"

/* Plain scalars are numbers or truth values where YAML 1.2 says so. NULL without memory. */
json_t *yamljson(const struct yaml *node);

/* Adds every object of that kind in a text, also of a List, to the array. 0, -EBADMSG or -ENOMEM.
 */
int yamljson_collect(const char *text, size_t size, const char *kind, struct problems *problems,
                     json_t *objects);

/* A map of texts (labels, annotations, tags), whatever its values look like. Of another kind, or
 * with something else than a scalar in it: a problem, and an empty map. */
json_t *yamljson_texts(const struct yaml *map, const char *path, struct problems *problems);
