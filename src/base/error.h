// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The error a person will read.
 *
 * Functions return 0 when done, a negative errno when broken (forward it) and a positive number for
 * an outcome named in their own header (handle it, never forward it). Where a person will read why,
 * the last parameter is a `struct error *`: it lives on the caller's stack, needs no allocation and
 * may be NULL ("I do not care"). It is written only on failure.
 *
 * error_set and error_wrap return the code they were given, so that raising is one line:
 *
 *     return error_set(err, -ENOENT, "no GPU has the UUID %s", uuid);
 *     return error_wrap(err, r, "cannot read the machine file %s", path);
 *
 * What an outside word brought into a message cannot break it: it is made a line of UTF-8
 * (str_make_line).
 *
 * Messages grow from the inside out: "cannot start: cannot read x.yaml: No such file or directory".
 */

#include <stdarg.h>

struct error {
    int code;          /* the negative errno that travels with it; 0 = no error */
    char message[512]; /* one sentence, without a full stop; cut with "..." when too long */
};

#define ERROR_INIT \
    {              \
        .code = 0  \
    }

/* Replaces what err holds. Returns code, which must be negative. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Raises a failed libc call: appends ": <strerror(-code)>" to the sentence. Returns code. */
int error_set_errno(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "sentence: " in front of what err holds (or of strerror, when err is empty). Returns code.
 */
int error_wrap(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Never NULL: the message, or "no error". */
const char *error_text(const struct error *err);
