// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is wrong with user input: every problem of a file at once, each with its position.
 *
 * A problem prints as one line, `file:line:column: path: sentence`; line 0 means that it has no
 * position in a file (a command-line flag, an environment variable, the machine itself). Path and
 * sentence are made a single line of UTF-8 (str_make_line).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/cleanup.h"

struct position {
    unsigned line;   /* from 1; 0 = nowhere */
    unsigned column; /* from 1, in characters */
};

enum problem_severity {
    PROBLEM_NOTE,    /* informational; does not change the exit status */
    PROBLEM_WARNING, /* works, but probably not as intended */
    PROBLEM_ERROR,   /* cannot be honoured */
};

struct problem {
    enum problem_severity severity;
    struct position at;
    char *path; /* "sharing.timeSlicing.resources[0].replicas", or "" */
    char *text; /* one sentence that says what to write instead */
};

struct problems {
    char *source; /* file name to show; NULL = none */
    struct problem *items;
    size_t n_items, capacity;
    bool failed; /* a problem was lost without memory: treat as an error */
};

#define PROBLEMS_INIT  \
    {                  \
        .source = NULL \
    }

void problems_deinit(struct problems *problems);
#define cleanup_problems cleanup(problems_deinit)

/* Sets the file that positions refer to. 0, or -ENOMEM. */
int problems_set_source(struct problems *problems, const char *source);

/* problems may be NULL. */
void problem_add(struct problems *problems, enum problem_severity severity, struct position at,
                 const char *path, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The problem after `previous` (NULL: the first), or NULL. A lost problem is the last one: an error
 * that reports the loss. */
const struct problem *problems_next(const struct problems *problems,
                                    const struct problem *previous);

/* How many problems problems_next returns. */
size_t problems_count(const struct problems *problems, enum problem_severity severity);

/* By position; stable. */
void problems_sort(struct problems *problems);

/* One line, without a line feed; `buffer` is always terminated. */
void problem_format(const struct problems *problems, const struct problem *problem, char *buffer,
                    size_t size);

/* The same with its severity, as compilers write it: `file:line:column: error: path: sentence`. */
void problem_format_severe(const struct problems *problems, const struct problem *problem,
                           char *buffer, size_t size);

/* The first error as one line, and how many more there are: "x.yaml:4:7: path: sentence (and 2 more
 * problems)"; "" without an error. */
void problems_describe(const struct problems *problems, char *buffer, size_t size);

/* One line in the log for each. */
void problems_log(const struct problems *problems);

const char *problem_severity_name(enum problem_severity severity);
