// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The exec probes: `gpuslice-node --part=probe` (alive?) and `--part=probe-ready` query the agent
 * over its own socket, so that no HTTP server or client can affect the result. The agent's side is
 * httplink.h, with the responses of /healthz and /readyz. An agent whose loop runs is alive.
 */

#include "proc/httplink.h"

enum { LIVENESS_DEADLINE_MS = 3000 };

/* Queries the agent listening on this socket for a page, prints the response to standard output,
 * and returns the exit status: 0 = alive or ready, 1 = not. */
int liveness_probe(const char *socket, enum httplink_page page);
