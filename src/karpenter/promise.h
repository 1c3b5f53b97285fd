// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a node of an instance type will advertise under a profile, before there is any such node:
 * the numbers that Karpenter must be told, and that the node must then reach.
 *
 * They come from the plan that the agent itself makes (slice/planner.h), on the machine that the
 * catalog describes. Karpenter knows each of these types with its whole GPUs, as nvidia.com/gpu, so
 * that resource is always among them: with 0 when the node will not have it (it is masked).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "karpenter/sliceprofile.h"

enum { PROMISE_RESOURCES_MAX = 16 };

struct promise_resource {
    char name[RESOURCE_NAME_SIZE];
    size_t count;
};

struct promise {
    const struct instance_type *type;                         /* of the catalog */
    struct promise_resource resources[PROMISE_RESOURCES_MAX]; /* by name */
    size_t n_resources;
    size_t n_slices; /* of all of them */
    bool is_masked;  /* the whole GPUs are not to be had */
};

enum promise_outcome {
    PROMISE_IMPOSSIBLE = 1, /* such a node cannot do what the profile wants */
};

/* 0; PROMISE_IMPOSSIBLE, with the end of a sentence about the type in err; or -ENOMEM. */
int promise_make(const struct sliceprofile *profile, const struct catalog *catalog,
                 const struct instance_type *type, struct promise *ret_promise, struct error *err);

struct promises {
    const struct catalog *catalog; /* borrowed; NULL = there are none */
    struct promise *items;         /* in the catalog's order */
    size_t n_items, capacity;
};

#define PROMISES_INIT   \
    {                   \
        .catalog = NULL \
    }

void promises_deinit(struct promises *promises);
#define cleanup_promises cleanup(promises_deinit)

/* The names of all types that promise the same as item i, which is the first of them; NULL if it is
 * not. */
json_t *promises_like(const struct promises *promises, size_t i);

/*
 * Of every type that the profile selects; `only`: of those among these (NULL: of all). A type that
 * it names and that cannot do it is an error; one that it selects by its GPU is left out with a
 * warning. Warnings also say where pods run out before slices do. 0, -EBADMSG when `problems` got
 * an error, or -ENOMEM. That no type is left is an error; with `only` it is a warning, and there is
 * no promise.
 */
int promises_make(const struct sliceprofile *profile, const struct catalog *catalog,
                  const struct names *only, struct problems *problems,
                  struct promises *ret_promises);
