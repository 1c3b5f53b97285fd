// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One line per event on standard error, for people (logfmt) or machines (JSON).
 *
 * Programs log at their edge, once; rooms below the programs return errors instead and may log at
 * debug only. Keys are stable: gpu=, resource=, slice=, file=. Values are quoted when they need it.
 * Logging never blocks: what nobody reads is lost, counted, and the count is logged once somebody
 * reads again.
 *
 *     log_info("resource registered", "resource", name, "devices", log_number(n));
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/logline.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* Sets level and format of this process; LOG_INFO and LOG_LOGFMT before the first call. */
void log_setup(enum log_level level, enum log_format format);

/* Sets both by their names; NULL and an unknown word mean the default. */
void log_setup_by_name(const char *level, const char *format);

/* Both as words, for a child process that is to log alike. */
const char *log_level_name(void);
const char *log_format_name(void);

/* "debug", "info", "warning", "error"; false for any other word. */
bool log_level_parse(const char *name, enum log_level *ret_level);
/* "logfmt" or "json"; false for any other word. */
bool log_format_parse(const char *name, enum log_format *ret_format);

/* The words of --log-level and --log-format, NULL = not given. 0, or -EINVAL with what to write. */
int log_check_words(const char *level, const char *format, struct error *err);

bool log_enabled(enum log_level level);

/* Pairs of (const char *key, const char *value), terminated by a NULL key; a NULL value omits its
 * pair. */
void log_event(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_debug(...)   log_event(LOG_DEBUG, __VA_ARGS__, NULL)
#define log_info(...)    log_event(LOG_INFO, __VA_ARGS__, NULL)
#define log_warning(...) log_event(LOG_WARNING, __VA_ARGS__, NULL)
#define log_error(...)   log_event(LOG_ERROR, __VA_ARGS__, NULL)

/* A number as a value; valid until the end of the enclosing block. */
#define log_number(n) (log_number_format(&(struct log_digits){.text = ""}, (int64_t)(n)))

struct log_digits {
    char text[24];
};
const char *log_number_format(struct log_digits *digits, int64_t n);
