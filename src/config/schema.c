// SPDX-License-Identifier: Apache-2.0
#include "config/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"

static size_t append_path(struct reader *reader, const char *step)
{
    size_t before = reader->path_length, room = sizeof(reader->path) - before;
    int n = snprintf(reader->path + before, room, "%s", step);

    reader->path_length += n < (int)room ? (size_t)n : room - 1;
    return before;
}

size_t reader_enter(struct reader *reader, const char *key)
{
    size_t before = reader->path_length;

    if (before)
        append_path(reader, ".");
    append_path(reader, show(key).text);
    return before;
}

static size_t enter_item(struct reader *reader, size_t index)
{
    char step[24];

    snprintf(step, sizeof(step), "[%zu]", index);
    return append_path(reader, step);
}

void reader_leave(struct reader *reader, size_t path_length)
{
    reader->path_length = path_length;
    reader->path[path_length] = '\0';
}

/* The suppressed problems are summarised with their highest severity: a flood of mere warnings is
 * not an error. */
static void report_dropped(struct reader *reader, enum problem_severity severity,
                           struct position at)
{
    if (reader->cut > (int)severity)
        return;
    reader->cut = (int)severity + 1;
    problem_add(reader->problems, severity, at, "", "more than %d problems; the rest is not shown",
                READER_MAX_PROBLEMS);
}

__attribute__((format(printf, 5, 0))) static void report(struct reader *reader,
                                                         enum problem_severity severity,
                                                         struct position at, const char *path,
                                                         const char *format, va_list args)
{
    char sentence[512];

    if (reader->n_problems == READER_MAX_PROBLEMS) {
        report_dropped(reader, severity, at);
        return;
    }
    reader->n_problems++;
    vsnprintf(sentence, sizeof(sentence), format, args);
    problem_add(reader->problems, severity, at, path, "%s", sentence);
}

void reader_report_at(struct reader *reader, enum problem_severity severity, struct position at,
                      const char *path, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report(reader, severity, at, path, format, args);
    va_end(args);
}

void reader_report(struct reader *reader, enum problem_severity severity, struct position at,
                   const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report(reader, severity, at, reader->path, format, args);
    va_end(args);
}

static bool in_our_section(const struct reader *reader)
{
    return strncasecmp(reader->path, "gpuslice.", strlen("gpuslice.")) == 0;
}

enum problem_severity reader_lenient(const struct reader *reader)
{
    return reader->strictness == CONFIG_CHECK || in_our_section(reader) ? PROBLEM_ERROR
                                                                        : PROBLEM_WARNING;
}

struct shown show(const char *text)
{
    struct shown shown;

    if (snprintf(shown.text, sizeof(shown.text), "%s", text) >= (int)sizeof(shown.text))
        str_mark_cut(shown.text, sizeof(shown.text));
    str_make_line(shown.text);
    return shown;
}

struct shown show_node(const struct yaml *node)
{
    static const char *const names[] = {
        [YAML_NULL] = "nothing", [YAML_LIST] = "a list", [YAML_MAP] = "a map"};
    struct shown shown;
    char text[57];

    if (node->kind != YAML_SCALAR) {
        snprintf(shown.text, sizeof(shown.text), "%s", names[node->kind]);
        return shown;
    }
    snprintf(text, sizeof(text), "%s", show(node->text).text);
    str_drop_partial(text);
    snprintf(shown.text, sizeof(shown.text), "%s'%s'", node->quoted ? "the string " : "", text);
    return shown;
}

static bool is_before(struct position a, struct position b)
{
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

void reader_check_alias(struct reader *reader, const struct yaml *node,
                        struct position container_at)
{
    struct position at = node->key ? node->key_at : container_at;

    if (node->key && is_before(node->key_at, container_at))
        reader_warning(
            reader, container_at,
            "merged from line %u by '<<'; write it out, since not every tool supports merge keys",
            node->key_at.line);
    else if (is_before(node->at, at))
        reader_warning(
            reader, at,
            "copied from line %u by an alias; write it out, since not every tool supports aliases",
            node->at.line);
}

/* The first component of path below prefix: its length, or 0 if path is not below prefix. */
static size_t step_below(const char *path, const char *prefix)
{
    if (!path || !str_starts_with(path, prefix))
        return 0;
    return strcspn(path + strlen(prefix), ".");
}

enum match { MATCH_NONE, MATCH_SECTION, MATCH_OPTION };

/* Finds the row, or a row of the section, that `key` names. An exact match wins over one that
 * ignores case. */
static enum match find(const struct schema *schema, const char *prefix, const char *key,
                       bool any_case, size_t *ret_index)
{
    for (size_t i = 0; i < schema->n_options; i++) {
        const char *path = schema->options[i].path;
        size_t length = step_below(path, prefix);
        const char *step = length ? path + strlen(prefix) : "";

        if (length == 0 || length != strlen(key) ||
            (any_case ? strncasecmp(step, key, length) : strncmp(step, key, length)) != 0)
            continue;
        *ret_index = i;
        return step[length] == '.' ? MATCH_SECTION : MATCH_OPTION;
    }
    return MATCH_NONE;
}

bool schema_knows(const struct schema *schema, const char *key)
{
    size_t i;

    return find(schema, "", key, true, &i) != MATCH_NONE;
}

/* The length of the part of a path that ends with `key`: "flags.plugin" of "flags.plugin.x"; 0 if
 * no component is this key. */
static size_t find_component(const char *path, const char *key)
{
    const char *at = path;

    for (;;) {
        size_t length = strcspn(at, ".");

        if (strlen(key) == length && strncasecmp(at, key, length) == 0)
            return (size_t)(at - path) + length;
        if (!at[length])
            return 0;
        at += length + 1;
    }
}

struct elsewhere {
    char path[120];
};

/* Where a misplaced key belongs: "sharing.timeSlicing.resources[].replicas"; outer places first. */
static bool find_elsewhere(const struct schema *schema, const char *prefix, const char *key,
                           struct elsewhere *ret_elsewhere)
{
    for (size_t i = 0; i < schema->n_options; i++) {
        const char *path = schema->options[i].path;
        size_t length = path ? find_component(path, key) : 0;

        if (length) {
            snprintf(ret_elsewhere->path, sizeof(ret_elsewhere->path), "%s%.*s", prefix,
                     (int)length, path);
            return true;
        }
    }
    for (size_t i = 0; i < schema->n_options; i++) {
        const struct option *option = &schema->options[i];
        char below[2 * sizeof(ret_elsewhere->path)];

        if (!option->path || !option->kind->below)
            continue;
        snprintf(below, sizeof(below), "%s%s%s.", prefix, option->path,
                 option->kind->is_list_of_maps ? "[]" : "");
        if (find_elsewhere(option->kind->below, below, key, ret_elsewhere))
            return true;
    }
    return false;
}

/* The keys of one section, without duplicates. */
struct key_list {
    char names[SCHEMA_MAX_OPTIONS][OPTION_KEY_SIZE];
    const char *pointers[SCHEMA_MAX_OPTIONS];
    size_t n;
};

static void list_keys(const struct schema *schema, const char *prefix, struct key_list *list)
{
    list->n = 0;
    for (size_t i = 0; i < schema->n_options; i++) {
        size_t length = step_below(schema->options[i].path, prefix);
        char *name = list->names[list->n];
        bool known = false;

        if (length == 0 || length >= OPTION_KEY_SIZE)
            continue;
        snprintf(name, OPTION_KEY_SIZE, "%.*s", (int)length,
                 schema->options[i].path + strlen(prefix));
        for (size_t j = 0; j < list->n && !known; j++)
            known = str_equal(list->names[j], name);
        if (!known)
            list->pointers[list->n++] = name;
    }
}

static void report_known_keys(struct reader *reader, const struct key_list *list,
                              struct position at)
{
    char known[300];
    size_t n = 0;

    for (size_t i = 0; i < list->n && n < sizeof(known); i++)
        n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "", list->names[i]);
    reader_report(reader, reader_lenient(reader), at, "unknown key; valid here: %s", known);
}

/* From the root's own sections a key may belong anywhere; from others, only further inside. */
static bool find_place(const struct reader *reader, const struct schema *schema, const char *key,
                       struct elsewhere *ret_elsewhere)
{
    const char *dot = strrchr(reader->path, '.');
    char prefix[sizeof(reader->path)];

    snprintf(prefix, sizeof(prefix), "%.*s",
             dot && schema != reader->root ? (int)(dot - reader->path) + 1 : 0, reader->path);
    return find_elsewhere(schema, prefix, key, ret_elsewhere);
}

static void report_unknown(struct reader *reader, const struct schema *schema, const char *prefix,
                           const struct yaml *child)
{
    struct elsewhere elsewhere;
    struct key_list list;
    const char *near;

    if (reader->n_problems > READER_MAX_PROBLEMS)
        return;
    list_keys(schema, prefix, &list);
    near = str_suggest(child->key, list.pointers, list.n);
    if (near)
        reader_report(reader, reader_lenient(reader), child->key_at,
                      "unknown key; did you mean '%s'?", near);
    else if (find_place(reader, schema, child->key, &elsewhere))
        reader_report(reader, reader_lenient(reader), child->key_at,
                      "unknown key here; it belongs at %s", elsewhere.path);
    else
        report_known_keys(reader, &list, child->key_at);
}

/* An option that is accepted but not implemented yet: who asks for it would rely on it. */
static void report_not_yet(struct reader *reader, const struct option *option,
                           const struct yaml *node, const void *slot)
{
    if (option->differs)
        reader_note(reader, node->key_at, "%s", option->differs);
    if (option->not_yet && (!option->asks || option->asks(slot)))
        reader_warning(reader, node->key_at, "has no effect yet: %s", option->not_yet);
}

static int read_option(struct reader *reader, const struct option *option, const struct yaml *node,
                       void *target)
{
    size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);
    int r;

    if (node->kind == YAML_NULL && !option->kind->takes_null)
        return 0; /* as NVIDIA reads it: unset */
    if (option->place)
        *(struct position *)(void *)((char *)target + option->place) = node->at;
    r = option->kind->read(reader, option, node, (char *)target + option->offset);
    if (r == 0 && problems_count(reader->problems, PROBLEM_ERROR) == n_errors)
        report_not_yet(reader, option, node, (char *)target + option->offset);
    return r;
}

/* Looks a key up as NVIDIA does; warns about a spelling that only NVIDIA's lenient lookup
 * accepts. */
static enum match match_key(struct reader *reader, const struct schema *schema, const char *prefix,
                            const struct yaml *child, size_t *ret_index)
{
    enum match match = find(schema, prefix, child->key, false, ret_index);
    const char *step;

    if (match == MATCH_NONE && !schema->exact_keys && !in_our_section(reader)) {
        match = find(schema, prefix, child->key, true, ret_index);
        step = match ? schema->options[*ret_index].path + strlen(prefix) : "";
        if (match != MATCH_NONE)
            reader_warning(reader, child->key_at, "write this key as '%.*s'",
                           (int)strcspn(step, "."), step);
    }
    if (match == MATCH_NONE)
        report_unknown(reader, schema, prefix, child);
    return match;
}

/* Two spellings of one key: the first one wins. */
static bool report_repeated(struct reader *reader, const struct yaml *child, unsigned first_line)
{
    if (first_line == 0)
        return false;
    reader_report(reader, reader_lenient(reader), child->key_at,
                  "the same key in another spelling is at line %u, which takes precedence",
                  first_line);
    return true;
}

/* A section with nothing below it is often what a template or an editor left of a full one. */
static void report_no_content(struct reader *reader, enum match match, const struct option *option,
                              const struct yaml *child)
{
    bool is_section = match == MATCH_SECTION || !option->kind->parse;

    if (child->kind == YAML_NULL && is_section && !option->kind->takes_null &&
        reader->strictness == CONFIG_CHECK)
        reader_warning(reader, child->key_at, "nothing is below this key; fill it, or remove it");
}

static int read_child(struct reader *reader, const struct schema *schema, const char *prefix,
                      const struct yaml *child, unsigned seen[], void *target)
{
    char below[OPTION_KEY_SIZE * 3];
    enum match match;
    size_t i;

    /* An unknown key has its own path, but its section decides how strictly it is treated. */
    match = match_key(reader, schema, prefix, child, &i);
    if (match == MATCH_NONE || report_repeated(reader, child, seen[i]))
        return 0;
    seen[i] = child->key_at.line;
    report_no_content(reader, match, &schema->options[i], child);
    if (match == MATCH_OPTION)
        return read_option(reader, &schema->options[i], child, target);
    if (child->kind == YAML_NULL)
        return 0;
    snprintf(below, sizeof(below), "%s%.*s.", prefix,
             (int)step_below(schema->options[i].path, prefix),
             schema->options[i].path + strlen(prefix));
    return schema_read(reader, schema, below, child, target);
}

static void report_missing(struct reader *reader, const struct schema *schema, const char *prefix,
                           const struct yaml *node)
{
    for (size_t i = 0; i < schema->n_options; i++) {
        const struct option *option = &schema->options[i];
        const struct yaml *child;

        if (!option->required || step_below(option->path, prefix) == 0)
            continue;
        child = yaml_get(node, option->path + strlen(prefix));
        if (!child || (child->kind == YAML_NULL && !option->kind->takes_null))
            reader_error(reader, child ? child->key_at : node->at, "'%s' is missing: %s",
                         option->path + strlen(prefix), option->help);
    }
}

int schema_read(struct reader *reader, const struct schema *schema, const char *prefix,
                const struct yaml *node, void *target)
{
    unsigned seen[SCHEMA_MAX_OPTIONS] = {
        0}; /* the key's line; a section counts under its first row */

    assert(schema->n_options <= SCHEMA_MAX_OPTIONS);
    if (node->kind != YAML_MAP) {
        reader_error(reader, node->at, "expected a map (key: value), got %s", show_node(node).text);
        return 0;
    }
    for (size_t i = 0; i < node->n_children; i++) {
        const struct yaml *child = &node->children[i];
        size_t before = reader_enter(reader, child->key);
        int r;

        reader_check_alias(reader, child, node->at);
        r = read_child(reader, schema, prefix, child, seen, target);
        reader_leave(reader, before);
        if (r < 0)
            return r;
    }
    report_missing(reader, schema, prefix, node);
    return 0;
}

int schema_set_defaults(const struct schema *schema, enum option_target target_kind, void *target)
{
    for (size_t i = 0; i < schema->n_options; i++) {
        const struct option *option = &schema->options[i];
        int r;

        if (!option->standard || option->target != target_kind)
            continue;
        r = option->kind->parse(option, option->standard, (char *)target + option->offset, NULL);
        assert(r != -EINVAL);
        if (r < 0)
            return r;
    }
    return 0;
}

void schema_free_texts(const struct schema *schema, void *target)
{
    for (size_t i = 0; i < schema->n_options; i++) {
        char **slot = (char **)(void *)((char *)target + schema->options[i].offset);

        if (!schema->options[i].kind->owns_text || schema->options[i].target != OPTION_CONFIG)
            continue;
        free(*slot);
        *slot = NULL;
    }
}

int schema_read_list(struct reader *reader, const struct yaml *node, const char *item_name,
                     int (*read_item)(struct reader *reader, const struct yaml *item,
                                      void *context),
                     void *context)
{
    if (node->kind != YAML_LIST) {
        reader_error(reader, node->at, "expected a list of %s (- ...), got %s", item_name,
                     show_node(node).text);
        return 0;
    }
    for (size_t i = 0; i < node->n_children; i++) {
        size_t before = enter_item(reader, i);
        int r;

        reader_check_alias(reader, &node->children[i], node->at);
        r = read_item(reader, &node->children[i], context);
        reader_leave(reader, before);
        if (r < 0)
            return r;
    }
    return 0;
}
