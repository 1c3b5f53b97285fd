// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One socket (LIMITS_SOCKET, mode 0666) in the directory of each grant: made when the directory
 * appears, closed when it is gone, made again where somebody removed it. What an earlier arbiter
 * left there is replaced. Directories are the agent's; containers see them read-only.
 */

#include <stddef.h>
#include <uv.h>

#include "base/error.h"

struct grantsockets;

/* Somebody connected; owns fd, which does not block. */
typedef void grantsockets_accept_fn(int fd, const char *grant_id, void *userdata);

/* NULL without memory. */
struct grantsockets *grantsockets_new(uv_loop_t *loop, grantsockets_accept_fn *on_accept,
                                      void *userdata);

/* Removes the sockets; handles close in later turns of the loop. NULL is allowed. */
void grantsockets_free(struct grantsockets *sockets);

/* The directories are in this folder now, which may not exist: looks again. About once a second,
 * for what the watch may have missed. */
void grantsockets_check(struct grantsockets *sockets, const char *folder);

size_t grantsockets_count(const struct grantsockets *sockets);
