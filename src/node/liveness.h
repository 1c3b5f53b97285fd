// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Is the agent alive? An exec probe (`gpuslice-node --part=probe`) asks it over its own socket, so
 * that no HTTP server and no client of one has a part in the answer. An agent whose loop turns is
 * alive; whether it is ready is another question (/readyz).
 */

struct listener;

/* The agent's side. 0 or a negative errno. */
int liveness_serve(struct listener *listener);

enum { LIVENESS_DEADLINE_MS = 3000 };

/* The probe's: asks the agent that listens at this socket, says a sentence on standard output, and
 * returns the exit status: 0 = alive, 1 = not. */
int liveness_probe(const char *socket);
