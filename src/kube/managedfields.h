// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who holds which field of an object: metadata.managedFields, as the API server keeps it.
 *
 * A field is named by its steps, each with its mark: "f:metadata", "f:labels", "f:team". An
 * object without managedFields, or with nonsense in it, is held by nobody.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { MANAGED_STEPS_MAX = 8 };

struct managed_field {
    const char *steps[MANAGED_STEPS_MAX]; /* up to the first NULL */
};

/* The fields that `manager` applied below the field, {} for a leaf; NULL = none. subresource "" =
 * the object itself. Borrowed. */
const json_t *managedfields_applied(const json_t *object, const char *manager,
                                    const char *subresource, const struct managed_field *field);

/* The first manager of the field other than `except` (up to the first NULL), or NULL. Borrowed. */
const char *managedfields_other(const json_t *object, const struct managed_field *field,
                                const char *const *except);

/* When the manager last wrote anything; NULL = never. Borrowed. */
const char *managedfields_time(const json_t *object, const char *manager);

/*
 * The JSON patch that releases these fields of `manager` without removing them: otherwise a field
 * missing from a server-side apply is removed, unless somebody else owns it. The server rejects it
 * if the object has changed since. NULL without memory.
 */
json_t *managedfields_release(const json_t *object, const char *manager,
                              const struct managed_field *parent, json_t *leaves);
