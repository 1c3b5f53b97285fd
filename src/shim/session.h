// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * This process at the arbiter: one connection, and what of each device's memory is taken.
 *
 * A device is known by its UUID, and by a number of ours (a slot) that stays the same as long as
 * the process. What is taken is charged before the driver is asked, so the limit holds whatever
 * other processes of the container do at the same time. Small amounts come out of a credit.
 *
 * It starts with the first call that needs it: without a grant's directory nothing is limited and
 * nothing costs anything from then on. Every wait has an end: an arbiter that does not answer is
 * away, and then the process keeps to its part of what was free (doc/design/0026). A forked child
 * starts from nothing.
 *
 * Any thread may call anything at any time. One lock, never held across a call of the driver's, nor
 * while a reading of it is waited for; what is behind it (uplink.h, reservation.h, overhead.h) has
 * none. No thread, no signal, no message to the program but one line on standard error.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/claims.h"
#include "limits/page.h"

enum {
    SESSION_NO_SLOT = -1, /* no slice of that device: it is not limited */
    SESSION_SLOTS = LIMITS_DEVICES_MAX,
};

enum session_outcome {
    SESSION_DENIED = 1,
};

/* Connects if that was not tried. False: nothing is limited here. */
bool session_start(void);

int session_find(const uint8_t uuid[static LIMITS_UUID_SIZE]);

/* --- bytes of a device; slot: not SESSION_NO_SLOT --- */

/* 0 or SESSION_DENIED. */
int session_take(int slot, uint64_t bytes);

/* The driver has taken them already, whatever the limit is. */
void session_charge(int slot, uint64_t bytes);

void session_give(int slot, uint64_t bytes);

/* What all containers gave back on the device, ever, as the arbiter has just told; 0 = not known.
 */
uint64_t session_returned(int slot);

/* The driver took about *bytes by itself, for a module that was loaded: it is charged, and if that
 * may be beyond the limit, the arbiter's next reading of the driver is waited for; then *bytes is
 * what that has shown. Up to hidden_bytes more may have been taken. They are not charged; but until
 * a reading has shown what is true, one is waited for where they would be beyond the limit, now or
 * when more is taken: for a second and a tenth of the time at most. 0, or SESSION_DENIED: it was
 * beyond; what was loaded has to go, and session_shrank to be called. */
int session_grew(int slot, uint64_t *bytes, uint64_t hidden_bytes);

/* The driver gave as much of that back. */
void session_shrank(int slot, uint64_t bytes);

/* May as much be taken now, as far as is known without asking for it? */
bool session_has(int slot, uint64_t bytes);

/* --- contexts --- */

/* Before one is created: 0 or SESSION_DENIED. */
int session_enter(int slot);
void session_entered(int slot);
void session_left(int slot);

/* --- what programs see --- */

struct session_view {
    bool is_limited; /* else they see the device */
    uint64_t limit_bytes, free_bytes;
};

struct session_view session_see(int slot);

/* --- turns (gate.h) --- */

/* At once, without the lock. The page, at the same address for good once there is one; NULL: none
 * yet. A forked child sees its parent's until it starts over. */
const struct limits_page *session_page(void);

/* A number of that page, the same in all processes of the container and another one elsewhere. */
uint64_t session_page_number(void);

/* A device's position in it; negative: it has none. */
int session_position(int slot);

/* May session_claims get another answer than the last one, by what is in the page? At once. */
bool session_may_claim(void);

/* The process's page of claims at the arbiter that is there now, asked for where that was not
 * tried. It stays mapped when there is another. 0, SESSION_DENIED: there are no turns, or a
 * negative errno: nobody is there. */
int session_claims(struct claims **ret_claims);

/* Whether the arbiter is still there; connects to another one if not. For who does nothing else
 * that would show it. */
void session_look(void);
