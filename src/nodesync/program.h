// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The whole of gpuslice-nodesync: connects the agent and the API server, and keeps our Node as the
 * agent wants it. Everything is level-triggered: whenever the desired state or the Node changes,
 * each writer looks at both as they are now.
 */

enum { PROGRAM_AGAIN = -1, PROGRAM_AGAIN_LATER = -2 };

/*
 * Communicates with the agent until it is time to exit. socket: of the agent, if this program is
 * not its child; NULL = the channel was inherited. Returns the exit status, or PROGRAM_AGAIN: the
 * agent beside us is gone, and the program should restart; or PROGRAM_AGAIN_LATER: after a pause,
 * since the agent was there for a moment only, or refused us. SIGTERM and SIGINT are blocked then.
 */
int program_run(const char *socket);
