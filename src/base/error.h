// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An error for people to read.
 *
 * Functions return 0 when done, a negative errno when broken (forward it) and a positive number for
 * an outcome named in their own header (handle it, never forward it). Where people will read the
 * reason, the last parameter is a `struct error *`: it lives on the caller's stack, needs no
 * allocation and may be NULL. It is written only on failure.
 *
 * error_set and error_wrap return the code passed to them, so that raising is one line:
 *
 *     return error_set(err, -ENOENT, "no GPU has the UUID %s", uuid);
 *     return error_wrap(err, r, "cannot read the machine file %s", path);
 *
 * Outside text cannot break a message: it is made a single line of UTF-8 (str_make_line).
 *
 * Messages grow from the inside out: "cannot start: cannot read x.yaml: No such file or directory".
 */

#include <stdarg.h>

struct error {
    int code;          /* negative errno; 0 = no error */
    char message[512]; /* one sentence, without a full stop; truncated with "..." if too long */
};

#define ERROR_INIT \
    {              \
        .code = 0  \
    }

/* Replaces the content of err. Returns code, which must be negative. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reports a failed libc call: appends ": <strerror(-code)>" to the message. Returns code. */
int error_set_errno(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prepends "sentence: " to the content of err (or to strerror, if err is empty). Returns code. */
int error_wrap(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Never NULL: the message, or "no error". */
const char *error_text(const struct error *err);
