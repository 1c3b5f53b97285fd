// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether a node that never opened is replaced, by deleting its NodeClaim. The rules, of which
 * nothing else decides:
 *
 *  - Only if its SliceProfile says `repair: replace`, and it is of the profile's present state.
 *  - Never a node of reserved capacity (or that may be), which is paid for whether it runs or not;
 *    nor one that is marked as not to be disturbed.
 *  - So many at a time, and after three in a row of one instance type no more: what the next one
 *    would have is the same.
 *
 * What counts is written down before a NodeClaim is deleted, in the profile's status.replacements:
 * for each instance type the NodeClaims that were deleted since a node of the type opened. So a
 * controller that ends in between counts one too many, and never one too few. A change of the
 * profile's spec starts again with none.
 *
 * Pure.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "controller/nodekind.h"
#include "controller/nodeview.h"

enum { REPLACEMENT_IN_A_ROW = 3 };

/* What is written down, of a profile with this metadata.generation. Borrowed; NULL = nothing. */
const json_t *replacement_list(const json_t *status, json_int_t generation);

/* The same after a deletion, and after a node of the type opened: the new status.replacements. NULL
 * without memory. */
json_t *replacement_add(const json_t *list, json_int_t generation, const char *type,
                        const char *claim);
json_t *replacement_clear(const json_t *list, json_int_t generation, const char *type);

bool replacement_has(const json_t *list, const char *type, const char *claim);
size_t replacement_count(const json_t *list, const char *type);

enum replacement_step {
    REPLACEMENT_LEFT,   /* it stays, for *ret_why */
    REPLACEMENT_WAITS,  /* others are being replaced */
    REPLACEMENT_RECORD, /* to be written down first */
    REPLACEMENT_DELETE, /* it is written down */
};

struct replacement_facts {
    const struct nodeview *node;
    const struct nodekind *kind;
    bool is_wanted; /* by its profile */
    const json_t *list;
    size_t n_going; /* nodes that are being replaced, or about to be */
    size_t at_most;
};

/* Of a node that is overdue. ret_why: static, the end of "it is not replaced: "; may be written in
 * any case. */
enum replacement_step replacement_decide(const struct replacement_facts *facts,
                                         const char **ret_why);
