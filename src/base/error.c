// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

__attribute__((format(printf, 4, 0))) static void vset(struct error *err, int code,
                                                       const char *tail, const char *format,
                                                       va_list args)
{
    char head[sizeof(err->message)];
    int n = vsnprintf(head, sizeof(head), format, args), m;

    if (n < 0)
        head[0] = '\0';
    m = snprintf(err->message, sizeof(err->message), "%s%s%s", head, tail ? ": " : "",
                 tail ? tail : "");
    if (n >= (int)sizeof(head) || m >= (int)sizeof(err->message))
        str_mark_cut(err->message, sizeof(err->message));
    str_make_line(err->message);
    err->code = code;
}

int error_set(struct error *err, int code, const char *format, ...)
{
    va_list args;

    assert(code < 0);
    if (!err)
        return code;
    va_start(args, format);
    vset(err, code, NULL, format, args);
    va_end(args);
    return code;
}

int error_set_errno(struct error *err, int code, const char *format, ...)
{
    va_list args;

    assert(code < 0);
    if (!err)
        return code;
    va_start(args, format);
    vset(err, code, strerror(-code), format, args);
    va_end(args);
    return code;
}

int error_wrap(struct error *err, int code, const char *format, ...)
{
    char tail[sizeof(err->message)];
    va_list args;

    assert(code < 0);
    if (!err)
        return code;
    snprintf(tail, sizeof(tail), "%s", err->code ? err->message : strerror(-code));
    va_start(args, format);
    vset(err, code, tail, format, args);
    va_end(args);
    return code;
}

const char *error_text(const struct error *err)
{
    return err && err->code ? err->message : "no error";
}
