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

#define FIELD_MANAGER "gpuslice-node" /* under which all of ours is written */

enum { MANAGED_STEPS_MAX = 8 };

struct managed_field {
    const char *steps[MANAGED_STEPS_MAX]; /* up to the first NULL */
};

/* What we hold below the field, {} when it is a leaf; NULL = not ours. subresource "" = the object
 * itself. Borrowed. */
const json_t *managed_by_us(const json_t *object, const char *subresource,
                            const struct managed_field *field);

/* The first manager of the field that is neither we nor `besides` (NULL = nobody), or NULL.
 * Borrowed. */
const char *managed_by_other(const json_t *object, const struct managed_field *field,
                             const char *besides);

/* When the manager wrote last, whatever it was; NULL = never. Borrowed. */
const char *managed_time(const json_t *object, const char *manager);

/*
 * The JSON patch that gives these fields up without removing them: what a server-side apply does
 * not name any more would vanish, if nobody else holds it. Fails at the server when the object has
 * changed since. NULL for want of memory.
 */
json_t *managed_release(const json_t *object, const struct managed_field *parent, json_t *leaves);
