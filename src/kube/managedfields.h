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

/* What `manager` applied below the field, {} when it is a leaf; NULL = nothing. subresource "" =
 * the object itself. Borrowed. */
const json_t *managedfields_applied(const json_t *object, const char *manager,
                                    const char *subresource, const struct managed_field *field);

/* The first manager of the field that is none of `except` (up to the first NULL), or NULL.
 * Borrowed.
 */
const char *managedfields_other(const json_t *object, const struct managed_field *field,
                                const char *const *except);

/* When the manager wrote last, whatever it was; NULL = never. Borrowed. */
const char *managedfields_time(const json_t *object, const char *manager);

/*
 * The JSON patch that gives these fields of `manager` up without removing them: what a server-side
 * apply does not name any more would vanish, if nobody else holds it. Fails at the server when the
 * object has changed since. NULL for want of memory.
 */
json_t *managedfields_release(const json_t *object, const char *manager,
                              const struct managed_field *parent, json_t *leaves);
