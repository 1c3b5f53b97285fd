// SPDX-License-Identifier: Apache-2.0

/* Any bytes: a tree or problems, never both, every position inside the text. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_places(const struct yaml *node, size_t size)
{
    if (node->at.line == 0 || node->at.line > size + 1 || node->at.column > size + 1)
        abort();
    if (node->content_at.line > size + 1 || node->content_at.column > size + 1)
        abort();
    for (size_t i = 0; i < node->n_children; i++)
        check_places(&node->children[i], size);
}

static void parse_inner(const struct yaml *node)
{
    struct yaml *inner;
    size_t n_inner;

    if (node->kind == YAML_SCALAR &&
        yaml_parse(node->text, strlen(node->text), node->content_at, NULL, &inner, &n_inner) == 0)
        yaml_free(inner, n_inner);
    for (size_t i = 0; i < node->n_children && i < 4; i++)
        parse_inner(&node->children[i]);
}

/* No fault is reported in libyaml's words: those are "did not find", "could not find" and "found".
 * A text that has such words of its own may be quoted. */
static void check_words(const struct problems *problems, const char *data, size_t size)
{
    if (memmem(data, size, "find ", 5) || memmem(data, size, "found", 5))
        return;
    for (size_t i = 0; i < problems->n_items; i++)
        if (strstr(problems->items[i].text, "not find ") ||
            strstr(problems->items[i].text, "valid YAML: found"))
            abort();
}

static void check_lines(const char *data, size_t size)
{
    const char *start;
    size_t length;

    for (unsigned line = 1; yaml_find_line(data, size, line, &start, &length); line++)
        if (start < data || start + length > data + size || line > size + 1)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct yaml *documents = NULL;
    size_t n_documents = 0;
    int r = yaml_parse((const char *)data, size, (struct position){0, 0}, &problems, &documents,
                       &n_documents);

    if ((r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    check_words(&problems, (const char *)data, size);
    if (size < 4096)
        check_lines((const char *)data, size);
    for (size_t i = 0; r == 0 && i < n_documents; i++) {
        check_places(&documents[i], size);
        parse_inner(&documents[i]);
    }
    yaml_free(documents, n_documents);
    return 0;
}
