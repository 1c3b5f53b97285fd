// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A line of a file with a caret below one of its characters, as compilers show where an error is:
 *
 *     4 |   replicas: ten
 *       |             ^
 */

#include <stdio.h>

#include "base/problem.h"

/* Nothing for a place that is not in the text. Of a line wider than `width` columns only the part
 * around the caret; control characters are masked. */
void excerpt_print(const char *text, size_t size, struct position at, unsigned width, FILE *out);

/* Columns of a terminal; 80 if unknown. */
unsigned excerpt_width(FILE *out);
