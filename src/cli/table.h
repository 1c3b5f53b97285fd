// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Columns for people: each as wide as its widest cell, two spaces apart, numbers right-aligned.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TABLE_MAX_COLUMNS = 8 };

struct table {
    const char *headings[TABLE_MAX_COLUMNS]; /* borrowed, NULL-terminated */
    bool right[TABLE_MAX_COLUMNS];           /* right-aligned */
    char **cells;                            /* row by row */
    size_t n_cells, capacity;
    bool failed; /* a cell was lost without memory */
};

void table_deinit(struct table *table);
#define cleanup_table cleanup(table_deinit)

/* Adds the next cell, row by row from the left. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

void table_print(const struct table *table, FILE *out);
