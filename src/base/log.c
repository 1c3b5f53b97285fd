// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/lineout.h"
#include "base/text.h"

static enum log_level threshold = LOG_INFO;
static enum log_format layout = LOG_LOGFMT;

/* For concurrent threads; a line is one write, so that those of several processes do not mix. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lineout out = LINEOUT_INIT(STDERR_FILENO);
static uint64_t n_lost; /* since the last report */

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *const format_names[] = {"logfmt", "json"};

void log_setup(enum log_level level, enum log_format format)
{
    threshold = level;
    layout = format;
    lineout_open(&out); /* while we still have the permissions */
}

void log_setup_by_name(const char *level, const char *format)
{
    enum log_level named_level = LOG_INFO;
    enum log_format named_format = LOG_LOGFMT;

    if (level)
        log_level_parse(level, &named_level);
    if (format)
        log_format_parse(format, &named_format);
    log_setup(named_level, named_format);
}

const char *log_level_name(void)
{
    return level_names[threshold];
}

const char *log_format_name(void)
{
    return format_names[layout];
}

bool log_level_parse(const char *name, enum log_level *ret_level)
{
    for (unsigned i = 0; i < 4; i++)
        if (str_equal(name, level_names[i])) {
            *ret_level = (enum log_level)i;
            return true;
        }
    return false;
}

bool log_format_parse(const char *name, enum log_format *ret_format)
{
    for (unsigned i = 0; i < 2; i++)
        if (str_equal(name, format_names[i])) {
            *ret_format = (enum log_format)i;
            return true;
        }
    return false;
}

int log_check_words(const char *level, const char *format, struct error *err)
{
    enum log_level named_level;
    enum log_format named_format;

    if (level && !log_level_parse(level, &named_level))
        return error_set(err, -EINVAL, "--log-level=%s: write debug, info, warning or error",
                         level);
    if (format && !log_format_parse(format, &named_format))
        return error_set(err, -EINVAL, "--log-format=%s: write logfmt or json", format);
    return 0;
}

bool log_enabled(enum log_level level)
{
    return level >= threshold;
}

static void add_time(struct text *line)
{
    struct timespec now;
    struct tm tm;
    char text[48], stamp[64];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp, sizeof(stamp), "%s.%03ldZ", text, now.tv_nsec / 1000000);
    logline_add(line, layout, "time", stamp);
}

static void begin_line(struct text *line, enum log_level level, const char *message)
{
    add_time(line);
    logline_add(line, layout, "level", level_names[level]);
    logline_add(line, layout, "msg", message);
}

/* True when it was lost. */
static bool put_line(struct text *line)
{
    logline_end(line, layout);
    return text_failed(line) || lineout_write(&out, line->data, line->length) != 0;
}

static bool report_lost(void)
{
    cleanup_text struct text line = TEXT_INIT;

    begin_line(&line, LOG_WARNING, "lines of the log were lost, because nobody read them");
    logline_add(&line, layout, "lines", log_number((int64_t)n_lost));
    return put_line(&line);
}

static void write_line(struct text *line)
{
    pthread_mutex_lock(&lock);
    if (n_lost && !report_lost())
        n_lost = 0;
    if (n_lost || put_line(line))
        n_lost++;
    pthread_mutex_unlock(&lock);
}

void log_event(enum log_level level, const char *message, ...)
{
    cleanup_text struct text line = TEXT_INIT;
    const char *key;
    va_list args;

    if (!log_enabled(level))
        return;
    begin_line(&line, level, message);
    va_start(args, message);
    while ((key = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);

        if (value)
            logline_add(&line, layout, key, value);
    }
    va_end(args);
    write_line(&line);
}

const char *log_number_format(struct log_digits *digits, int64_t n)
{
    snprintf(digits->text, sizeof(digits->text), "%" PRId64, n);
    return digits->text;
}
