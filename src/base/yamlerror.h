// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * libyaml's syntax errors as sentences for people who write configurations: what is wrong at this
 * place, and what to write instead. libyaml reports tokens and contexts ("mapping values are not
 * allowed in this context").
 */

#include <stdbool.h>
#include <stddef.h>

/*
 * problem and context as in yaml_parser_t (context may be NULL), and the line where the context
 * began. False if this version of libyaml has an error that is not in the table: then the sentence
 * is its own.
 */
bool yamlerror_format(const char *problem, const char *context, unsigned context_line, char *buffer,
                      size_t size);
