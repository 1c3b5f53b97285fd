// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Problems as shown to people: one line each as compilers have it, `file:line:column: severity:
 * path: sentence`, in the order of the file, what concerns the machine last, and a summary. At a
 * terminal the line of the file stands below. Or as a tree for programs.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/problem.h"
#include "cli/verb.h"

struct source;

/* Also sorts `problems`. Without any, prints nothing but the summary, if requested. source has the
 * file's text; NULL = unknown. */
void findings_print(struct problems *problems, const struct source *source, bool with_summary,
                    FILE *out);

/* "4 errors, 1 note", or "clean". */
void findings_summarise(const size_t counts[PROBLEM_ERROR + 1], FILE *out);

/* {"file", "errors", "warnings", "notes", "problems": [{"severity", "line", "column", "path",
 * "text"}]}; line and column are null for a problem without a position. NULL without memory. */
json_t *findings_tree(struct problems *problems);

/* The exit status by the worst of them: EXIT_CLEAN, EXIT_WARNINGS or EXIT_ERRORS. */
enum exit_status findings_status(const struct problems *problems);
