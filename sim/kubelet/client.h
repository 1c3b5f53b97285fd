// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The user's end of the control socket: one request, one answer. */

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Sends `request` to the stand-in under root_dir and gives its answer: the exit status in
 * *ret_status, the text in *ret_output (free it). A stand-in that is not there yet is awaited up to
 * patience_ms (0 = not at all), by watching the folder.
 */
int client_call(const char *root_dir, const json_t *request, uint64_t patience_ms, int *ret_status,
                char **ret_output, struct error *err);
