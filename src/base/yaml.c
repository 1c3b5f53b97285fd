// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/yamlerror.h"

/* Aliases may repeat a long scalar once per node, so text has its own budget. */
enum { MAX_TEXT_BYTES = 4 * YAML_MAX_BYTES, MAX_ANCHORS = 1024 };

struct anchor {
    char *name;
    struct yaml *node; /* a copy of the anchored node; NULL while it is being read */
    bool open;
};

struct loader {
    yaml_parser_t parser;
    const char *data;
    size_t size;
    const char **lines; /* start of each line; needed only to find the indentation of a block */
    size_t n_lines, lines_capacity;
    struct position origin;
    struct problems *problems;
    size_t n_errors;
    size_t n_nodes, n_text_bytes;
    struct anchor *anchors;
    size_t n_anchors, anchors_capacity;
};

static void event_clear(yaml_event_t *event)
{
    yaml_event_delete(event);
}
#define cleanup_event cleanup(event_clear)

static void node_deinit(struct yaml *node)
{
    for (size_t i = 0; i < node->n_children; i++)
        node_deinit(&node->children[i]);
    free(node->children);
    free(node->key);
    free(node->text);
    *node = (struct yaml){.kind = YAML_NULL};
}

static void anchors_clear(struct loader *l)
{
    for (size_t i = 0; i < l->n_anchors; i++) {
        free(l->anchors[i].name);
        if (l->anchors[i].node)
            node_deinit(l->anchors[i].node);
        free(l->anchors[i].node);
    }
    l->n_anchors = 0;
}

static void loader_deinit(struct loader *l)
{
    anchors_clear(l);
    free(l->anchors);
    free(l->lines);
    yaml_parser_delete(&l->parser);
}
#define cleanup_loader cleanup(loader_deinit)

static struct position place(const struct loader *l, size_t line, size_t column)
{
    struct position first = l->origin.line ? l->origin : (struct position){1, 1};

    return (struct position){first.line + (unsigned)line, first.column + (unsigned)column};
}

/* Length of the line break at p, by libyaml's rules (which include NEL, LS and PS); 0 = none. */
static size_t line_break(const char *p, const char *end)
{
    size_t left = (size_t)(end - p);

    if (*p == '\r')
        return left > 1 && p[1] == '\n' ? 2 : 1;
    if (*p == '\n')
        return 1;
    if (left > 1 && memcmp(p, "\xc2\x85", 2) == 0)
        return 2;
    if (left > 2 && (memcmp(p, "\xe2\x80\xa8", 3) == 0 || memcmp(p, "\xe2\x80\xa9", 3) == 0))
        return 3;
    return 0;
}

static size_t count_characters(const char *p, const char *end)
{
    size_t n = 0;

    for (; p < end; p++)
        n += ((unsigned char)*p & 0xc0) != 0x80;
    return n;
}

static const char *line_end(const char *p, const char *end)
{
    while (p < end && !line_break(p, end))
        p++;
    return p;
}

static const char *skip_byte_order_mark(const char *data, size_t size)
{
    return size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? data + 3 : data;
}

bool yaml_find_line(const char *data, size_t size, unsigned line, const char **ret_start,
                    size_t *ret_length)
{
    const char *p = skip_byte_order_mark(data, size), *end = data + size, *stop;

    for (unsigned n = 1; n < line; n++) {
        p = line_end(p, end);
        if (p == end)
            return false;
        p += line_break(p, end);
    }
    stop = line_end(p, end);
    *ret_start = p;
    *ret_length = (size_t)(stop - p);
    return line > 0;
}

static int find_lines(struct loader *l)
{
    const char *p = skip_byte_order_mark(l->data, l->size), *end = l->data + l->size;

    for (;;) {
        const char **line =
            array_push(&l->lines, &l->n_lines, &l->lines_capacity, sizeof(*l->lines));

        if (!line)
            return -ENOMEM;
        *line = p;
        p = line_end(p, end);
        if (p == end)
            return 0;
        p += line_break(p, end);
    }
}

static struct position place_of_byte(const struct loader *l, size_t offset)
{
    const char *p = l->data + (offset < l->size ? offset : l->size);
    size_t line = l->n_lines - 1;

    while (line > 0 && l->lines[line] > p)
        line--;
    return place(l, line, l->lines[line] < p ? count_characters(l->lines[line], p) : 0);
}

/* libyaml ends a text without a last line break at a line that the text does not have. */
static struct position place_of(const struct loader *l, yaml_mark_t mark)
{
    return mark.line < l->n_lines ? place(l, mark.line, mark.column) : place_of_byte(l, l->size);
}

#define fail_at(l, at, ...)                                             \
    ({                                                                  \
        (l)->n_errors++;                                                \
        problem_add((l)->problems, PROBLEM_ERROR, at, "", __VA_ARGS__); \
        -EBADMSG;                                                       \
    })

static bool is_tab(const struct loader *l, yaml_mark_t mark)
{
    return mark.line < l->n_lines &&
           l->lines[mark.line] + mark.column < l->data + l->size && /* preceded only by spaces */
           l->lines[mark.line][mark.column] == '\t';
}

/* The second brace of "{{ .Values.x }}". */
static bool is_template(const struct loader *l, yaml_mark_t mark)
{
    const char *brace = mark.line < l->n_lines ? l->lines[mark.line] + mark.column : NULL;

    return brace && mark.column > 0 && brace < l->data + l->size && brace[0] == '{' &&
           brace[-1] == '{';
}

static int syntax_error(struct loader *l)
{
    const yaml_parser_t *p = &l->parser;
    const bool is_byte = p->error == YAML_READER_ERROR;
    struct position at =
        is_byte ? place_of_byte(l, p->problem_offset) : place_of(l, p->problem_mark);
    char sentence[256];

    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (!is_byte && is_tab(l, p->problem_mark))
        return fail_at(l, at, "YAML does not allow tabs for indentation; use spaces instead");
    yamlerror_format(p->problem, p->context, place_of(l, p->context_mark).line, sentence,
                     sizeof(sentence));
    return fail_at(l, at, "%s%s", is_byte ? "" : "not valid YAML: ", sentence);
}

static int next_event(struct loader *l, yaml_event_t *event)
{
    return yaml_parser_parse(&l->parser, event) ? 0 : syntax_error(l);
}

/* Every node is charged for itself and its text before memory is allocated. */
static int charge(struct loader *l, struct position at, size_t n_text_bytes)
{
    l->n_nodes++;
    l->n_text_bytes += n_text_bytes;
    if (l->n_nodes > YAML_MAX_NODES)
        return fail_at(l, at, "too large: more than %d values once its aliases are expanded",
                       YAML_MAX_NODES);
    if (l->n_text_bytes > MAX_TEXT_BYTES)
        return fail_at(l, at, "too large: more than %d bytes of text once its aliases are expanded",
                       MAX_TEXT_BYTES);
    return 0;
}

static int check_depth(struct loader *l, struct position at, unsigned depth)
{
    if (depth > YAML_MAX_DEPTH)
        return fail_at(l, at, "nested deeper than %d levels", YAML_MAX_DEPTH);
    return 0;
}

static int copy_into(struct loader *l, const struct yaml *from, unsigned depth, struct yaml *to);

static int copy_children(struct loader *l, const struct yaml *from, unsigned depth, struct yaml *to)
{
    int r = check_depth(l, from->at, depth + 1);

    if (r < 0)
        return r;
    if (from->n_children == 0)
        return 0;
    to->children = calloc(from->n_children, sizeof(*to->children));
    if (!to->children)
        return -ENOMEM;
    for (size_t i = 0; i < from->n_children; i++) {
        struct yaml *child = &to->children[to->n_children++];

        r = copy_into(l, &from->children[i], depth + 1, child);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A copy keeps the positions of the original; `to` can be passed to node_deinit even after a
 * failure. */
static int copy_into(struct loader *l, const struct yaml *from, unsigned depth, struct yaml *to)
{
    size_t n_bytes = (from->text ? strlen(from->text) : 0) + (from->key ? strlen(from->key) : 0);
    int r = charge(l, from->at, n_bytes);

    if (r < 0)
        return r;
    *to = *from;
    to->key = NULL;
    to->text = NULL;
    to->children = NULL;
    to->n_children = 0;
    if (from->key && !(to->key = strdup(from->key)))
        return -ENOMEM;
    if (from->text && !(to->text = strdup(from->text)))
        return -ENOMEM;
    if (from->kind != YAML_LIST && from->kind != YAML_MAP)
        return 0;
    return copy_children(l, from, depth, to);
}

/* A name may be redefined: the latest definition counts. */
static struct anchor *anchor_find(struct loader *l, const char *name)
{
    for (size_t i = l->n_anchors; i > 0; i--)
        if (str_equal(l->anchors[i - 1].name, name))
            return &l->anchors[i - 1];
    return NULL;
}

static int anchor_open(struct loader *l, struct position at, const char *name)
{
    struct anchor *anchor = anchor_find(l, name);
    int r = charge(l, at, strlen(name));

    if (r < 0)
        return r;
    if (!anchor) {
        if (l->n_anchors == MAX_ANCHORS)
            return fail_at(l, at, "more than %d anchors", MAX_ANCHORS);
        anchor = array_push(&l->anchors, &l->n_anchors, &l->anchors_capacity, sizeof(*anchor));
        if (!anchor)
            return -ENOMEM;
        anchor->name = strdup(name);
        if (!anchor->name) {
            l->n_anchors--;
            return -ENOMEM;
        }
    }
    anchor->open = true;
    return 0;
}

static int anchor_close(struct loader *l, const char *name, const struct yaml *node)
{
    struct anchor *anchor = anchor_find(l, name);
    struct yaml *copy = calloc(1, sizeof(*copy));
    int r = copy ? copy_into(l, node, 0, copy) : -ENOMEM;

    if (r < 0) {
        if (copy)
            node_deinit(copy);
        free(copy);
        return r;
    }
    if (anchor->node)
        node_deinit(anchor->node);
    free(anchor->node);
    anchor->node = copy;
    anchor->open = false;
    return 0;
}

static int load_alias(struct loader *l, const yaml_event_t *event, unsigned depth,
                      struct yaml *node)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct position at = place_of(l, event->start_mark);
    struct anchor *anchor = anchor_find(l, name);

    if (!anchor)
        return fail_at(l, at, "the alias '*%s' has no preceding anchor '&%s'", name, name);
    if (anchor->open)
        return fail_at(l, at, "the alias '*%s' is inside its own anchor", name);
    return copy_into(l, anchor->node, depth, node);
}

static bool is_null_word(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_equal(text, words[i]))
            return true;
    return false;
}

/* Core tags state the obvious; only !!str changes the meaning. */
static int apply_tag(struct loader *l, struct position at, const yaml_char_t *tag, bool *ret_string)
{
    static const char core[] = "tag:yaml.org,2002:";
    static const char *const known[] = {"str", "int", "bool", "float", "null", "map", "seq"};
    const char *name = (const char *)tag;

    if (!name)
        return 0;
    if (str_equal(name, "!")) {
        *ret_string = true;
        return 0;
    }
    if (str_starts_with(name, core)) {
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            if (str_equal(name + strlen(core), known[i])) {
                *ret_string = i == 0;
                return 0;
            }
    }
    fail_at(l, at, "the tag '%s' is not supported; remove it", name);
    return 0; /* the value can still be read, so that further problems are found */
}

/*
 * libyaml does not report the indentation of a literal block. The source line is longer than the
 * line of the value by exactly that much, whether the indentation was explicit or detected.
 */
static struct position find_block_content(const struct loader *l, const struct yaml *node,
                                          size_t header_line)
{
    size_t line = header_line + 1;
    const char *text = node->text, *end = text + strlen(text);

    for (; line < l->n_lines && text < end; line++) {
        const char *stop = line_end(text, end);
        size_t n_wanted = count_characters(text, stop);

        if (n_wanted > 0) {
            const char *source = l->lines[line];
            size_t n = count_characters(source, line_end(source, l->data + l->size));

            return place(l, header_line + 1, n >= n_wanted ? n - n_wanted : 0);
        }
        text = stop + (stop < end ? line_break(stop, end) : 0);
    }
    return place(l, header_line + 1, 0);
}

static int load_scalar(struct loader *l, const yaml_event_t *event, struct yaml *node)
{
    const char *value = (const char *)event->data.scalar.value;
    yaml_scalar_style_t style = event->data.scalar.style;
    size_t length = event->data.scalar.length;
    bool one_line = event->start_mark.line == event->end_mark.line && !strpbrk(value, "\r\n");
    bool is_string = style != YAML_PLAIN_SCALAR_STYLE;
    int r;

    node->at = place_of(l, event->start_mark);
    if (memchr(value, '\0', length))
        return fail_at(l, node->at, "a text cannot contain the character NUL");
    r = charge(l, node->at, length);
    if (r < 0)
        return r;
    r = apply_tag(l, node->at, event->data.scalar.tag, &is_string);
    if (r < 0)
        return r;
    if (!is_string && is_null_word(value))
        return 0;
    node->kind = YAML_SCALAR;
    node->quoted = is_string;
    node->block = style == YAML_LITERAL_SCALAR_STYLE;
    node->folded = style == YAML_FOLDED_SCALAR_STYLE;
    node->text = strdup(value);
    if (!node->text)
        return -ENOMEM;
    if (node->block)
        node->content_at = find_block_content(l, node, event->start_mark.line);
    else if (one_line)
        node->content_at = place(l, event->start_mark.line,
                                 event->start_mark.column + (style != YAML_PLAIN_SCALAR_STYLE));
    return 0;
}

static int load_node(struct loader *l, const yaml_event_t *event, unsigned depth,
                     struct yaml *node);

static int load_list(struct loader *l, unsigned depth, struct yaml *node)
{
    size_t capacity = 0;
    int r;

    for (;;) {
        cleanup_event yaml_event_t event = {.type = YAML_NO_EVENT};
        struct yaml *child;

        r = next_event(l, &event);
        if (r < 0 || event.type == YAML_SEQUENCE_END_EVENT)
            return r;
        child = array_push(&node->children, &node->n_children, &capacity, sizeof(*child));
        if (!child)
            return -ENOMEM;
        r = load_node(l, &event, depth + 1, child);
        if (r < 0)
            return r;
    }
}

static int load_key(struct loader *l, const yaml_event_t *event, struct yaml *node)
{
    const char *key = (const char *)event->data.scalar.value;
    struct position at = place_of(l, event->start_mark);
    int r;

    if (event->type != YAML_SCALAR_EVENT)
        return fail_at(l, at, "a key must be a plain word or a quoted text%s",
                       is_template(l, event->start_mark)
                           ? "; '{{' is of a template, which has to be rendered first"
                           : "");
    if (memchr(key, '\0', event->data.scalar.length))
        return fail_at(l, at, "a key cannot contain the character NUL");
    r = charge(l, at, event->data.scalar.length);
    if (r < 0)
        return r;
    node->key_at = at;
    node->key = strdup(key);
    return node->key ? 0 : -ENOMEM;
}

struct key_ref {
    const struct yaml *child;
    size_t index;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key_ref *x = a, *y = b;
    int order = strcmp(x->child->key, y->child->key);

    if (order)
        return order;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Keeps the first child of each key: a later one is an error if written here, and dropped if
 * merged. */
static int drop_repeated_keys(struct loader *l, struct yaml *map, size_t n_written)
{
    cleanup_free struct key_ref *refs = calloc(map->n_children + 1, sizeof(*refs));
    cleanup_free bool *drop = calloc(map->n_children + 1, sizeof(*drop));
    size_t first = 0, kept = 0;

    if (!refs || !drop)
        return -ENOMEM;
    for (size_t i = 0; i < map->n_children; i++)
        refs[i] = (struct key_ref){&map->children[i], i};
    qsort(refs, map->n_children, sizeof(*refs), compare_keys);
    for (size_t i = 1; i < map->n_children; i++) {
        if (!str_equal(refs[first].child->key, refs[i].child->key)) {
            first = i;
            continue;
        }
        drop[refs[i].index] = true;
        if (refs[i].index < n_written)
            fail_at(l, refs[i].child->key_at, "duplicate key '%s' (first at line %u)",
                    refs[i].child->key, refs[first].child->key_at.line);
    }
    for (size_t i = 0; i < map->n_children; i++) {
        if (drop[i])
            node_deinit(&map->children[i]);
        else
            map->children[kept++] = map->children[i];
    }
    map->n_children = kept;
    return 0;
}

/* Moves the children of a merged map after the explicit ones. */
static int take_children(struct loader *l, struct yaml *map, size_t *capacity, struct yaml *from)
{
    if (from->kind != YAML_MAP)
        return fail_at(l, from->at, "the merge key '<<' takes a map, or a list of maps");
    for (size_t i = 0; i < from->n_children; i++) {
        struct yaml *child = array_push(&map->children, &map->n_children, capacity, sizeof(*child));

        if (!child)
            return -ENOMEM;
        *child = from->children[i];
        from->children[i] = (struct yaml){.kind = YAML_NULL};
    }
    return 0;
}

static int merge(struct loader *l, struct yaml *map, size_t *capacity, struct yaml *value)
{
    if (value->kind != YAML_LIST)
        return take_children(l, map, capacity, value);
    for (size_t i = 0; i < value->n_children; i++) {
        int r = take_children(l, map, capacity, &value->children[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_merge_key(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT &&
           event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           str_equal((const char *)event->data.scalar.value, "<<");
}

static int load_entry(struct loader *l, const yaml_event_t *key, unsigned depth, struct yaml *child)
{
    cleanup_event yaml_event_t event = {.type = YAML_NO_EVENT};
    struct position key_at;
    char *key_text;
    int r = load_key(l, key, child);

    if (r < 0)
        return r;
    r = next_event(l, &event);
    if (r < 0)
        return r;
    key_text = TAKE_PTR(child->key); /* an alias overwrites the whole node */
    key_at = child->key_at;
    r = load_node(l, &event, depth + 1, child);
    free(child->key);
    child->key = key_text;
    child->key_at = key_at;
    return r;
}

static int load_entries(struct loader *l, unsigned depth, struct yaml *node, size_t *capacity,
                        struct yaml *merged)
{
    for (;;) {
        cleanup_event yaml_event_t event = {.type = YAML_NO_EVENT};
        struct yaml *child;
        int r = next_event(l, &event);

        if (r < 0 || event.type == YAML_MAPPING_END_EVENT)
            return r;
        if (is_merge_key(&event) && !merged->key) {
            child = merged;
        } else {
            child = array_push(&node->children, &node->n_children, capacity, sizeof(*child));
            if (!child)
                return -ENOMEM;
        }
        r = load_entry(l, &event, depth, child);
        if (r < 0)
            return r;
        if (is_merge_key(&event) && child != merged)
            return fail_at(l, child->key_at, "duplicate key '<<' (first at line %u)",
                           merged->key_at.line);
    }
}

static int load_map(struct loader *l, unsigned depth, struct yaml *node)
{
    struct yaml merged = {.kind = YAML_NULL};
    size_t capacity = 0, n_written;
    int r = load_entries(l, depth, node, &capacity, &merged);

    n_written = node->n_children;
    if (r == 0 && merged.key)
        r = merge(l, node, &capacity, &merged);
    node_deinit(&merged);
    if (r < 0)
        return r;
    return drop_repeated_keys(l, node, n_written);
}

static int load_collection(struct loader *l, const yaml_event_t *event, unsigned depth,
                           struct yaml *node)
{
    bool is_list = event->type == YAML_SEQUENCE_START_EVENT, is_string = false;
    int r;

    node->at = place_of(l, event->start_mark);
    r = check_depth(l, node->at, depth + 1);
    if (r == 0)
        r = charge(l, node->at, 0);
    if (r == 0)
        r = apply_tag(l, node->at,
                      is_list ? event->data.sequence_start.tag : event->data.mapping_start.tag,
                      &is_string);
    if (r < 0)
        return r;
    node->kind = is_list ? YAML_LIST : YAML_MAP;
    return is_list ? load_list(l, depth, node) : load_map(l, depth, node);
}

static const char *anchor_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return (const char *)event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static int load_node(struct loader *l, const yaml_event_t *event, unsigned depth, struct yaml *node)
{
    const char *anchor = anchor_of(event);
    int r;

    if (event->type == YAML_ALIAS_EVENT)
        return load_alias(l, event, depth, node);
    if (anchor) {
        r = anchor_open(l, place_of(l, event->start_mark), anchor);
        if (r < 0)
            return r;
    }
    r = event->type == YAML_SCALAR_EVENT ? load_scalar(l, event, node)
                                         : load_collection(l, event, depth, node);
    if (r < 0 || !anchor)
        return r;
    return anchor_close(l, anchor, node);
}

static int load_document(struct loader *l, struct yaml *document)
{
    cleanup_event yaml_event_t root = {.type = YAML_NO_EVENT}, end = {.type = YAML_NO_EVENT};
    int r = next_event(l, &root);

    if (r == 0)
        r = load_node(l, &root, 0, document);
    anchors_clear(l);
    return r < 0 ? r : next_event(l, &end);
}

static int load_stream(struct loader *l, struct yaml **documents, size_t *n_documents)
{
    size_t capacity = 0;

    for (;;) {
        cleanup_event yaml_event_t event = {.type = YAML_NO_EVENT};
        struct yaml *document;
        int r = next_event(l, &event);

        if (r < 0 || event.type == YAML_STREAM_END_EVENT)
            return r;
        if (event.type != YAML_DOCUMENT_START_EVENT)
            continue;
        document = array_push(documents, n_documents, &capacity, sizeof(*document));
        if (!document)
            return -ENOMEM;
        r = load_document(l, document);
        if (r < 0)
            return r;
    }
}

/* As written by some shells' redirections: ASCII with a NUL after each character, or a BOM. */
static bool is_utf16(const struct loader *l)
{
    const unsigned char *b = (const unsigned char *)l->data;

    return l->size >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff) ||
                            (b[0] == 0) != (b[1] == 0));
}

static int check_input(struct loader *l)
{
    const char *nul = l->size ? memchr(l->data, '\0', l->size) : NULL;

    if (l->size > YAML_MAX_BYTES)
        return fail_at(l, place(l, 0, 0), "too large: %zu bytes, the limit is %d", l->size,
                       YAML_MAX_BYTES);
    if (find_lines(l) < 0)
        return -ENOMEM;
    if (nul)
        return fail_at(l, place_of_byte(l, (size_t)(nul - l->data)),
                       "not a text file: it contains the character NUL%s",
                       is_utf16(l) ? "; it looks like UTF-16, save it as UTF-8" : "");
    return 0;
}

int yaml_parse(const char *data, size_t size, struct position origin, struct problems *problems,
               struct yaml **ret_documents, size_t *ret_n_documents)
{
    cleanup_loader struct loader l = {
        .data = data, .size = size, .origin = origin, .problems = problems};
    struct yaml *documents = NULL;
    size_t n_documents = 0;
    int r;

    if (!yaml_parser_initialize(&l.parser))
        return -ENOMEM;
    r = check_input(&l);
    if (r == 0) {
        yaml_parser_set_input_string(&l.parser, (const unsigned char *)data, size);
        r = load_stream(&l, &documents, &n_documents);
    }
    if (r == 0 && l.n_errors > 0)
        r = -EBADMSG;
    if (r < 0) {
        yaml_free(documents, n_documents);
        return r;
    }
    *ret_documents = documents;
    *ret_n_documents = n_documents;
    return 0;
}

void yaml_free(struct yaml *documents, size_t n_documents)
{
    for (size_t i = 0; i < n_documents; i++)
        node_deinit(&documents[i]);
    free(documents);
}

bool yaml_is_empty(const struct yaml *node)
{
    if (node->kind == YAML_SCALAR)
        return false;
    for (size_t i = 0; i < node->n_children; i++)
        if (!yaml_is_empty(&node->children[i]))
            return false;
    return true;
}

const struct yaml *yaml_get(const struct yaml *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->n_children; i++)
        if (str_equal(map->children[i].key, key))
            return &map->children[i];
    return NULL;
}

const char *yaml_get_text(const struct yaml *map, const char *key)
{
    const struct yaml *node = yaml_get(map, key);

    return node ? node->text : NULL;
}

static bool is_plain(const struct yaml *node)
{
    return node && node->kind == YAML_SCALAR && !node->quoted;
}

bool yaml_as_bool(const struct yaml *node, bool *ret_value)
{
    static const char *const words[] = {"false", "False", "FALSE", "true", "True", "TRUE"};

    if (!is_plain(node))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (str_equal(node->text, words[i])) {
            *ret_value = i >= 3;
            return true;
        }
    }
    return false;
}

/* Digits only. A leading zero is rejected: octal in YAML 1.1 and decimal in YAML 1.2. */
static bool read_magnitude(const char *digits, uint64_t *ret_value)
{
    unsigned base = 10;
    uint64_t value = 0;

    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o')) {
        base = digits[1] == 'x' ? 16 : 8;
        digits += 2;
    } else if (digits[0] == '0' && digits[1]) {
        return false;
    }
    if (!*digits)
        return false;
    for (; *digits; digits++) {
        const char *set = "0123456789abcdef";
        const char *digit = strchr(set, *digits >= 'A' && *digits <= 'F' ? *digits + 32 : *digits);

        if (!digit || (size_t)(digit - set) >= base ||
            __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)(digit - set), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

bool yaml_as_int(const struct yaml *node, int64_t *ret_value)
{
    uint64_t magnitude;
    bool negative;

    if (!is_plain(node))
        return false;
    negative = node->text[0] == '-';
    if (!read_magnitude(node->text + (negative || node->text[0] == '+'), &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool yaml_as_double(const struct yaml *node, double *ret_value)
{
    locale_t locale;
    double value;
    char *end;

    if (!is_plain(node) || strspn(node->text, "+-.0123456789eE") != strlen(node->text) ||
        !strpbrk(node->text, "0123456789"))
        return false;
    locale =
        newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* the caller may have set another locale */
    if (!locale)
        return false;
    value = strtod_l(node->text, &end, locale);
    freelocale(locale);
    if (*end || end == node->text || value != value || value - value != 0)
        return false;
    *ret_value = value;
    return true;
}
