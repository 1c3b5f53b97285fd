// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a hostile peer sends along: a descriptor that takes long to close. */

#include <stddef.h>

enum { SLOW_SOON_MS = 5000 }; /* it takes much longer */

/* A TCP socket that lingers: what was written has no room at the other end, *ret_peer. */
int make_slow(int *ret_peer);

/* The descriptor is the message's alone. */
void send_along(int fd, const void *message, size_t size, int descriptor);
