// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Why a request came to nothing, as one sentence for people: what was asked, what was answered, and
 * where it is known what to do about it.
 */

#include <stddef.h>

enum { REASON_SIZE = 640 };

/*
 * An answer outside 2xx. The body is a Status object of the API server, or whatever a proxy in
 * between wrote; the path is said without its query.
 */
void reason_of_answer(const char *method, const char *path, unsigned http_status, const char *body,
                      size_t size, char buffer[static REASON_SIZE]);

/* No answer, or not a whole one. */
void reason_of_failure(const char *method, const char *path, const char *why,
                       char buffer[static REASON_SIZE]);
