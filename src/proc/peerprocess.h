// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The process that opened the other end of a connection, as the kernel tells. Nothing that it says
 * itself counts.
 *
 * The number is of the process that connected, and stays so: it may end, hand the connection to
 * others, and have its number given to anybody. So it is held by a pidfd, which the socket itself
 * gives (SO_PEERPIDFD, Linux 6.5). Before, it is opened by number: so at once, when the connection
 * is accepted, wherever somebody else's number would be worth anything.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"

struct peerprocess {
    pid_t pid; /* in our namespace; 0 = none */
    int pidfd; /* readable once it has ended; -1 = none */
};

#define PEERPROCESS_INIT \
    {                    \
        .pidfd = -1      \
    }

/* 0, or a negative errno with a sentence: -ESRCH: it has ended, or is not in our namespace. */
int peerprocess_open(int fd, struct peerprocess *ret_peer, struct error *err);

/* Until then, what was read about its number is about this process. True for none. */
bool peerprocess_has_ended(const struct peerprocess *peer);

void peerprocess_deinit(struct peerprocess *peer);
#define cleanup_peerprocess cleanup(peerprocess_deinit)
