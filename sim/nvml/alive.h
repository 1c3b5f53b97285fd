// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which of the processes that registered themselves in the running machine are alive.
 *
 * A process holds a byte of the file "<state>.clients" under a POSIX lock for each of its slots.
 * The kernel drops the lock when the process ends, however it ends, does not hand it to a forked
 * child, and tells who holds it by the number that the asker's PID namespace has for that process:
 * so a reader on the host sees the host's number of a process in a container.
 *
 * A process loses such locks when it closes any descriptor of the file. So each library that is
 * loaded opens it once, and never closes it.
 */

#include <stdint.h>
#include <sys/types.h>

/* From now on the processes of this state. */
void alive_use(const char *state_path);

/* Identifies this process among all that ever ran since the boot. */
uint64_t alive_self(void);

/* Holds a slot until the process ends. -EBUSY if another process holds it. */
int alive_hold(unsigned slot);
void alive_release(unsigned slot);

/* Who holds a slot, never this process itself: its PID as this process sees it; 0 if it is in a PID
 * namespace that cannot be seen from here; -ESRCH if nobody holds it. */
pid_t alive_holder(unsigned slot);
