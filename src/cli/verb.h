// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The verbs of `gpuslice`: one table, one file per verb (verb-<name>.c). Help, completion and the
 * suggestions for misspelt words all read the table.
 */

#include <stddef.h>
#include <stdio.h>

#include "cli/request.h"

/* What the shell gets to see. */
enum exit_status {
    EXIT_CLEAN = 0,
    EXIT_WARNINGS = 1,
    EXIT_ERRORS = 2,
    EXIT_UNREADABLE = 3, /* the file, the machine or the output failed */
    EXIT_USAGE = 64,     /* EX_USAGE of sysexits.h: the command line is wrong */
};

struct verb {
    const char *name;
    const char *operand;  /* "[FILE]" as help shows it, "PID..." for many; NULL = takes none */
    const char *summary;  /* one line for the list of verbs */
    const char *about;    /* what `gpuslice help VERB` says; lines of 80 columns at most */
    const char *examples; /* whole commands, one a line, indented by two */
    unsigned options;     /* set of 1 << enum option_id */
    enum exit_status (*run)(const struct request *request);
};

extern const struct verb verbs[];
extern const size_t n_verbs;

/* NULL when there is none of that name. */
const struct verb *verb_find(const char *name);

/* The verb nearest to a misspelt word, or NULL. */
const struct verb *verb_suggest(const char *word);

enum exit_status verb_plan(const struct request *request);
enum exit_status verb_check(const struct request *request);
enum exit_status verb_who(const struct request *request);
enum exit_status verb_version(const struct request *request);
enum exit_status verb_help(const struct request *request);
enum exit_status verb_completion(const struct request *request);

/* The pages behind `help`: of the program, and of one verb. */
void help_program(FILE *out);
void help_verb(FILE *out, const struct verb *verb);

/* "gpuslice: <sentence>" on standard error, in one line. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
