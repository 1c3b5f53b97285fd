// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The end of a connection whose other end is hostile, as to what it sends along. A message may
 * carry descriptors, and who receives or discards it closes them. That may take as long as the
 * sender likes: a TCP socket that lingers blocks who closes it for hours. So such messages are
 * never received, and are discarded by a process of their own: one that ends does not linger.
 */

#include <stddef.h>
#include <sys/types.h>

/* The next message, without waiting: its length, also where that is more than size, and 0 at the
 * end. -EBADMSG: descriptors come with it, and it stays where it is. */
ssize_t peersocket_receive(int fd, void *message, size_t size);

/* As that, of a stream: what is there, up to size (above 0). */
ssize_t peersocket_read(int fd, void *space, size_t size);

/* Closes it, with what was not received. Never waits for what that was. */
void peersocket_close(int fd);

/* The same for a socket that listens, with who was not accepted. */
void peersocket_close_listener(int fd);
