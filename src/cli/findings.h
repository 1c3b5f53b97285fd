// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Problems as a person reads them: the gravest first, each group under its word, each line
 * `file:line:column: path: sentence`, and a summary; or as a tree for programs.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/problem.h"

/* Sorts `problems` on the way. Prints nothing but the summary, if wanted, when there are none. */
void findings_print(struct problems *problems, bool with_summary, FILE *out);

/* {"file", "errors", "warnings", "notes", "problems": [{"severity", "line", "column", "path",
   "text"}]}; line and column are null for a problem without a place. NULL for want of memory. */
json_t *findings_tree(struct problems *problems);
