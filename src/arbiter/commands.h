// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Limits for commands on this node that are in no pod: `gpuslice run` asks for them on a socket of
 * its own (proc/arbitermessage.h), which is root's and, with --run-group, that group's.
 *
 * A command stands where a container would: its processes are counted with those of pods, and its
 * limit is given only where it fits into the device beside the limits of all containers and
 * commands that there are. The agent, which gives slices to pods later, knows of no command: a
 * GPU that both use should be left out of the node's slices, in part or in whole.
 *
 * A grant (localgrant.h) outlives us, and ends with the process that asked for it and the last one
 * that it limits. Who belongs to it is decided here, of what the kernel tells about the process
 * that asks: it can name a command's cgroup right below its own, and no other. A process of a pod
 * gets none.
 *
 * Who asks may be hostile: a peer has one request, what it may send along is never received
 * (proc/peersocket.h), and its number is known to be its own (proc/peerprocess.h).
 */

#include <uv.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/auditor.h"
#include "arbiter/limiter.h"
#include "base/error.h"

enum { COMMANDS_PEERS = 64, COMMANDS_MAX = 256 };

struct commands;

/* All but err are borrowed. */
int commands_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter *limiter,
                 const struct auditor *auditor, struct commands **ret_commands, struct error *err);

/* Before limiter and auditor. Grants stay. NULL is allowed. */
void commands_free(struct commands *commands);

/* About once a second: ends grants whose processes are gone. */
void commands_sweep(struct commands *commands);
