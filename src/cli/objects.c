// SPDX-License-Identifier: Apache-2.0
#include "cli/objects.h"

#include <errno.h>
#include <string.h>

#include "cli/emit.h"

static void print_comments(const char *lines, FILE *out)
{
    while (*lines) {
        size_t length = strcspn(lines, "\n");

        fprintf(out, "# %.*s\n", (int)length, lines);
        lines += length + (lines[length] == '\n');
    }
}

int objects_print(const struct documents *documents, FILE *out)
{
    for (size_t i = 0; i < documents->n_items; i++) {
        cleanup_text struct text yaml = TEXT_INIT;

        emit_yaml(&yaml, documents->items[i].tree);
        if (text_failed(&yaml) || text_failed(&documents->items[i].comments))
            return -ENOMEM;
        if (i)
            fputs("---\n", out);
        print_comments(text_string(&documents->items[i].comments), out);
        fputs(text_string(&yaml), out);
    }
    return 0;
}
