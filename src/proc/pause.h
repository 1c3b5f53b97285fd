// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Waiting outside of a loop, between attempts. SIGTERM and SIGINT are blocked around it: process 1
 * of a container loses a signal that is neither blocked nor handled.
 */

#include <stdbool.h>
#include <stdint.h>

/* how: SIG_BLOCK or SIG_UNBLOCK. */
void pause_mask(int how);

/* Waits with both blocked; false if one came, which is consumed. */
bool pause_ms(uint64_t ms);
