// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One line of a log, for people (logfmt) or machines (JSON).
 *
 * Whatever keys and values contain, the line stays one line, its JSON stays valid, and it is safe
 * for a terminal: quotes, backslashes and control characters are escaped, and bytes that are not
 * UTF-8 become '?'.
 */

#include "base/text.h"

enum log_format { LOG_LOGFMT, LOG_JSON };

/* The next pair of an unfinished line. */
void logline_add(struct text *line, enum log_format format, const char *key, const char *value);

/* Ends the line, newline included. */
void logline_end(struct text *line, enum log_format format);
