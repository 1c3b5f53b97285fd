// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Problems as shown to people: by descending severity, each group under a heading, each line
 * `file:line:column: path: sentence`, and a summary; or as a tree for programs.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/problem.h"

/* Also sorts `problems`. Without any, prints nothing but the summary, if requested. */
void findings_print(struct problems *problems, bool with_summary, FILE *out);

/* {"file", "errors", "warnings", "notes", "problems": [{"severity", "line", "column", "path",
 * "text"}]}; line and column are null for a problem without a position. NULL without memory. */
json_t *findings_tree(struct problems *problems);
