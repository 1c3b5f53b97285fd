// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A lock for state that belongs to one process: a forked child has a copy of it, in which another
 * thread of the parent may just have been at work. The first who enters there finds the lock open,
 * and starts over. A thread that is cancelled while it has the lock leaves first.
 *
 * Entered by `if (ownlock_enter(&lock)) start_over();`, left by ownlock_leave.
 */

#include <pthread.h>
#include <stdbool.h>

struct ownlock {
    int owner; /* the process; 0: none yet; negative: that one takes it over */
    pthread_mutex_t mutex;
    int cancel_state; /* of who has it, before */
};

#define OWNLOCK_NEW                                    \
    {                                                  \
        .owner = 0, .mutex = PTHREAD_MUTEX_INITIALIZER \
    }

/* True: whatever it guards is not this process's. */
bool ownlock_enter(struct ownlock *lock);
void ownlock_leave(struct ownlock *lock);
