// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static enum log_level threshold = LOG_INFO;
static enum log_format layout = LOG_LOGFMT;

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *const format_names[] = {"logfmt", "json"};

void log_setup(enum log_level level, enum log_format format)
{
    threshold = level;
    layout = format;
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

bool log_enabled(enum log_level level)
{
    return level >= threshold;
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

static void add_quoted(struct text *line, const char *value)
{
    text_add_char(line, '"');
    for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
        if (*c == '"' || *c == '\\')
            text_addf(line, "\\%c", *c);
        else if (*c == '\n')
            text_add(line, "\\n");
        else if (is_control(*c))
            text_addf(line, "\\u%04x", *c);
        else
            text_add_char(line, (char)*c);
    }
    text_add_char(line, '"');
}

static bool is_plain(const char *value)
{
    for (const char *c = value; *c; c++)
        if (is_control((unsigned char)*c) || strchr(" \"=\\", *c))
            return false;
    return *value;
}

static void add_pair(struct text *line, const char *key, const char *value)
{
    if (layout == LOG_JSON) {
        text_addf(line, "%s\"%s\":", line->length ? "," : "{", key);
        add_quoted(line, value);
        return;
    }
    text_addf(line, "%s%s=", line->length ? " " : "", key);
    if (is_plain(value))
        text_add(line, value);
    else
        add_quoted(line, value);
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
    add_pair(line, "time", stamp);
}

void log_event(enum log_level level, const char *message, ...)
{
    cleanup_text struct text line = TEXT_INIT;
    const char *key;
    va_list args;

    if (!log_enabled(level))
        return;
    add_time(&line);
    add_pair(&line, "level", level_names[level]);
    add_pair(&line, "msg", message);
    va_start(args, message);
    while ((key = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);

        if (value)
            add_pair(&line, key, value);
    }
    va_end(args);
    text_add(&line, layout == LOG_JSON ? "}\n" : "\n");
    /* One write, so that lines of several processes do not mix; nobody to tell when it fails. */
    if (!text_failed(&line))
        (void)!write(STDERR_FILENO, line.data, line.length);
}

const char *log_number_format(struct log_digits *digits, int64_t n)
{
    snprintf(digits->text, sizeof(digits->text), "%" PRId64, n);
    return digits->text;
}
