// SPDX-License-Identifier: Apache-2.0
#include "shim/ownlock.h"

#include <sched.h>
#include <unistd.h>

/* Waits for a thread that takes it over at the same time; one of a parent does so no more. */
static bool take_over(struct ownlock *lock, int process)
{
    int seen = __atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE);

    while (seen != process) {
        if (seen != -process && __atomic_compare_exchange_n(&lock->owner, &seen, -process, false,
                                                            __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return true;
        sched_yield();
        seen = __atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE);
    }
    return false;
}

bool ownlock_enter(struct ownlock *lock)
{
    const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    const int process = getpid();
    int cancel_state;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    if (!take_over(lock, process)) {
        pthread_mutex_lock(&lock->mutex);
        lock->cancel_state = cancel_state;
        return false;
    }
    lock->mutex = fresh;
    pthread_mutex_lock(&lock->mutex);
    lock->cancel_state = cancel_state;
    __atomic_store_n(&lock->owner, process, __ATOMIC_RELEASE);
    return true;
}

void ownlock_leave(struct ownlock *lock)
{
    const int cancel_state = lock->cancel_state;

    pthread_mutex_unlock(&lock->mutex);
    pthread_setcancelstate(cancel_state, NULL);
}
