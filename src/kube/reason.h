// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Why a request failed, as one message for people: the request, the response, and a remedy if
 * known.
 */

#include <stddef.h>

enum { REASON_SIZE = 640 };

/*
 * A response other than 2xx. The body is a Status object of the API server, or whatever a proxy in
 * between wrote; the path is shown without its query.
 */
void reason_of_answer(const char *method, const char *path, unsigned http_status, const char *body,
                      size_t size, char buffer[static REASON_SIZE]);

/* No response, or an incomplete one. */
void reason_of_failure(const char *method, const char *path, const char *why,
                       char buffer[static REASON_SIZE]);
