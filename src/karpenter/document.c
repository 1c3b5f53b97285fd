// SPDX-License-Identifier: Apache-2.0
#include "karpenter/document.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/array.h"

void documents_deinit(struct documents *documents)
{
    for (size_t i = 0; i < documents->n_items; i++) {
        json_decref(documents->items[i].tree);
        text_deinit(&documents->items[i].comments);
    }
    free(documents->items);
    *documents = (struct documents)DOCUMENTS_INIT;
}

int documents_add(struct documents *documents, json_t *tree)
{
    struct document *document = tree ? array_push(&documents->items, &documents->n_items,
                                                  &documents->capacity, sizeof(*document))
                                     : NULL;

    if (!document) {
        json_decref(tree);
        return -ENOMEM;
    }
    document->tree = tree;
    return 0;
}

void documents_comment(struct documents *documents, const char *format, ...)
{
    struct text *comments = &documents->items[documents->n_items - 1].comments;
    char line[512];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    str_make_line(line);
    text_add(comments, line);
    text_add_char(comments, '\n');
}

bool documents_failed(const struct documents *documents)
{
    for (size_t i = 0; i < documents->n_items; i++)
        if (text_failed(&documents->items[i].comments))
            return true;
    return false;
}
