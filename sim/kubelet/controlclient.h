// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The client end of the control socket: one request, one response. */

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Sends `request` to the stand-in under root_dir: exit status in *ret_status, text in *ret_output
 * (free it). Waits up to timeout_ms for a stand-in that is not there yet (0 = fail at once), by
 * watching the directory.
 */
int controlclient_call(const char *root_dir, const json_t *request, uint64_t timeout_ms,
                       int *ret_status, char **ret_output, struct error *err);
