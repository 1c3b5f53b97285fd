// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The verbs of `gpuslice`: one table, one file per verb (verb-<name>.c). Help, completion and
 * suggestions for misspelt words all use the table.
 */

#include <stddef.h>
#include <stdio.h>

struct request;

enum option_id {
    OPTION_CONFIG,
    OPTION_KEY,
    OPTION_MACHINE,
    OPTION_NODE,
    OPTION_PLAN_OUTPUT,
    OPTION_CHECK_OUTPUT,
    OPTION_LABELS,
    OPTION_ROOT,
    OPTION_HELP,
    N_OPTIONS,
};

/* The program's exit status. */
enum exit_status {
    EXIT_CLEAN = 0,
    EXIT_WARNINGS = 1,
    EXIT_ERRORS = 2,
    EXIT_UNREADABLE = 3, /* the file, the machine or the output failed */
    EXIT_USAGE = 64,     /* EX_USAGE of sysexits.h: invalid command line */
};

struct verb {
    const char *name;
    const char *operand;  /* "[FILE]" as help shows it, "PID..." for several; NULL = takes none */
    const char *summary;  /* one line for the list of verbs */
    const char *about;    /* the text of `gpuslice help VERB`; lines of at most 80 columns */
    const char *examples; /* whole commands, one per line, indented by two */
    unsigned options;     /* set of 1 << enum option_id */
    enum exit_status (*run)(const struct request *request);
};

extern const struct verb verbs[];
extern const size_t n_verbs;

/* NULL if there is none of that name. */
const struct verb *verb_find(const char *name);

/* The verb nearest to a misspelt word, or NULL. */
const struct verb *verb_suggest(const char *word);

enum exit_status verb_plan(const struct request *request);
enum exit_status verb_check(const struct request *request);
enum exit_status verb_who(const struct request *request);
enum exit_status verb_version(const struct request *request);
enum exit_status verb_help(const struct request *request);
enum exit_status verb_completion(const struct request *request);

/* The `help` pages: of the program, and of one verb. */
void help_program(FILE *out);
void help_verb(FILE *out, const struct verb *verb);

/* Prints "gpuslice: <sentence>" to standard error, on one line. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
