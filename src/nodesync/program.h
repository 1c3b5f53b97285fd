// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The whole of gpuslice-nodesync: hears the agent and the API server, and keeps our Node as the
 * agent wants it. Everything is level-triggered: whenever the wish or the Node changed, each writer
 * looks at both as they are now.
 */

/* Speaks with the agent over fd, which it takes, until it is time to end. Returns the exit status.
 */
int program_run(int fd);
