// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a person asked for on the command line: one table of options, one parser for all verbs.
 *
 * Strings are borrowed from argv. `--name VALUE`, `--name=VALUE` and `-x VALUE` are understood; a
 * value may be glued to its letter (`-ojson`) only where the words are known, so that `-config` is
 * a wrong option and not the file `onfig`. What is given twice is an error: nothing is silently
 * ignored.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct verb;

enum { REQUEST_OPERANDS_MAX = 256 };

struct request {
    const char *config;  /* --config, or the operand of verbs that take a file */
    const char *key;     /* --key */
    const char *machine; /* --machine */
    const char *output;  /* --output; NULL = the first word of the option's table row */
    const char *operand; /* of `help` and `completion` */
    const char *root;    /* --root */
    const char *operands[REQUEST_OPERANDS_MAX]; /* of verbs whose operand ends with "..." */
    size_t n_operands;
    bool node;   /* --node */
    bool labels; /* --labels */
    bool help;   /* --help */
};

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

struct option_row {
    const char *name; /* without dashes */
    char letter;
    const char *value; /* what stands for the value in help; NULL = a switch */
    bool words;    /* the value is one of `value`'s words, split by '|'; the first is the default */
    size_t offset; /* into struct request: const char *, or bool for a switch */
    const char *meaning; /* help, wrapped by who prints it */
};

extern const struct option_row option_rows[N_OPTIONS];

/* argv[0...argc-1] is what follows the verb. 0, or -EINVAL with a sentence in err. */
int request_parse(const struct verb *verb, int argc, char *const argv[],
                  struct request *ret_request, struct error *err);

/* True when --output asks for this format. */
bool request_wants(const struct request *request, const char *format);
