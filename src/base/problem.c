// SPDX-License-Identifier: Apache-2.0
#include "base/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"

void problems_deinit(struct problems *problems)
{
    for (size_t i = 0; i < problems->n_items; i++) {
        free(problems->items[i].path);
        free(problems->items[i].text);
    }
    free(problems->items);
    free(problems->source);
    *problems = (struct problems)PROBLEMS_INIT;
}

int problems_set_source(struct problems *problems, const char *source)
{
    char *copy = strdup(source);

    if (!copy)
        return -ENOMEM;
    free(problems->source);
    problems->source = copy;
    return 0;
}

static void push(struct problems *problems, enum problem_severity severity, struct position at,
                 const char *path, char *text)
{
    cleanup_free char *owned_text = text;
    cleanup_free char *owned_path = strdup(path);
    struct problem *problem = NULL;

    if (owned_text && owned_path)
        problem =
            array_push(&problems->items, &problems->n_items, &problems->capacity, sizeof(*problem));
    if (!problem) {
        problems->failed = true;
        return;
    }
    str_make_line(owned_path);
    str_make_line(owned_text);
    problem->severity = severity;
    problem->at = at;
    problem->path = TAKE_PTR(owned_path);
    problem->text = TAKE_PTR(owned_text);
}

void problem_add(struct problems *problems, enum problem_severity severity, struct position at,
                 const char *path, const char *format, ...)
{
    va_list args;
    char *text = NULL;

    if (!problems)
        return;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    push(problems, severity, at, path, text);
}

const struct problem *problems_next(const struct problems *problems, const struct problem *previous)
{
    static char nowhere[] = "", sentence[] = "out of memory: not every problem is shown";
    static const struct problem lost = {
        .severity = PROBLEM_ERROR, .path = nowhere, .text = sentence};
    size_t i;

    if (previous == &lost)
        return NULL;
    i = previous ? (size_t)(previous - problems->items) + 1 : 0;
    if (i < problems->n_items)
        return &problems->items[i];
    return problems->failed ? &lost : NULL;
}

static const struct problem *next_of(const struct problems *problems,
                                     const struct problem *previous, enum problem_severity severity)
{
    do
        previous = problems_next(problems, previous);
    while (previous && previous->severity != severity);
    return previous;
}

size_t problems_count(const struct problems *problems, enum problem_severity severity)
{
    const struct problem *problem = NULL;
    size_t n = 0;

    while ((problem = next_of(problems, problem, severity)))
        n++;
    return n;
}

static bool comes_after(struct position a, struct position b)
{
    return a.line != b.line ? a.line > b.line : a.column > b.column;
}

void problems_sort(struct problems *problems)
{
    /* Insertion sort is stable; a file has a handful of problems. */
    for (size_t i = 1; i < problems->n_items; i++) {
        struct problem moving = problems->items[i];
        size_t j = i;

        for (; j > 0 && comes_after(problems->items[j - 1].at, moving.at); j--)
            problems->items[j] = problems->items[j - 1];
        problems->items[j] = moving;
    }
}

static void format(const struct problems *problems, const struct problem *problem,
                   const char *severity, char *buffer, size_t size)
{
    char place[32] = "";

    if (problem->at.line)
        snprintf(place, sizeof(place), ":%u:%u", problem->at.line, problem->at.column);
    snprintf(buffer, size, "%s%s%s%s%s%s%s%s", problems->source ? problems->source : "", place,
             problems->source || *place ? ": " : "", severity, *severity ? ": " : "", problem->path,
             *problem->path ? ": " : "", problem->text);
    str_drop_partial(buffer);
    str_make_line(buffer); /* a file may have any name */
}

void problem_format(const struct problems *problems, const struct problem *problem, char *buffer,
                    size_t size)
{
    format(problems, problem, "", buffer, size);
}

void problem_format_severe(const struct problems *problems, const struct problem *problem,
                           char *buffer, size_t size)
{
    format(problems, problem, problem_severity_name(problem->severity), buffer, size);
}

void problems_describe(const struct problems *problems, char *buffer, size_t size)
{
    const struct problem *first = next_of(problems, NULL, PROBLEM_ERROR);
    const size_t n = problems_count(problems, PROBLEM_ERROR);
    char more[48] = "";
    size_t length;

    *buffer = '\0';
    if (!first)
        return;
    if (n > 1)
        snprintf(more, sizeof(more), " (and %zu more problem%s)", n - 1, n == 2 ? "" : "s");
    if (size > strlen(more))
        problem_format(problems, first, buffer, size - strlen(more));
    length = strlen(buffer);
    snprintf(buffer + length, size - length, "%s", more);
}

const char *problem_severity_name(enum problem_severity severity)
{
    static const char *const names[] = {"note", "warning", "error"};

    return names[severity];
}

void problems_log(const struct problems *problems)
{
    static const enum log_level levels[] = {LOG_INFO, LOG_WARNING, LOG_ERROR};
    const struct problem *problem = NULL;
    char line[1024];

    while ((problem = problems_next(problems, problem))) {
        problem_format(problems, problem, line, sizeof(line));
        log_event(levels[problem->severity], line, NULL);
    }
}
