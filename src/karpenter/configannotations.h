// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What annotations of a ConfigMap say of the SliceProfile of one of its keys
 * (karpenter/configprofile.h): members of the spec in kubectl's form. One for this key alone, with
 * a dot and the key behind it, outranks one for all.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/problem.h"

/* Borrowed. */
struct configannotations {
    const json_t *config_map;
    const char *key;
    struct problems *problems;
};

/* Instance types or GPUs are named for this key, or for all. */
bool configannotations_have_types(const struct configannotations *from);

/* Some key has types of its own: then a key without any is not for Karpenter. */
bool configannotations_have_types_of_others(const struct configannotations *from);

/* Adds what they say to the spec. Missing types, unknown annotations of ours and values of another
 * form are problems; the rest is the profile's reader's to judge. */
void configannotations_read(const struct configannotations *from, json_t *spec);

/* The annotation that became this part of a profile, "spec.nodePool"; the path itself if none did.
 * Borrowed. */
const char *configannotations_origin(const char *path);
