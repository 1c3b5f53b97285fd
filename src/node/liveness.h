// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The liveness check. An exec probe (`gpuslice-node --part=probe`) queries the agent over its own
 * socket, so that no HTTP server or client can affect the result. An agent whose loop runs is
 * alive; whether it is ready is a different question (/readyz).
 */

struct listener;

/* The agent's side. 0 or a negative errno. */
int liveness_serve(struct listener *listener);

enum { LIVENESS_DEADLINE_MS = 3000 };

/* The probe's side: queries the agent listening on this socket, prints a message to standard
 * output, and returns the exit status: 0 = alive, 1 = not. */
int liveness_probe(const char *socket);
