// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An arbiter without a socket: wire.h and grantdir.h as a test wants them, with a clock that it
 * moves. It keeps one account by the messages, which is the first device of its page.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/claims.h"
#include "limits/message.h"
#include "limits/page.h"

struct fakewire {
    struct limits_page page; /* as the process sees it: it counts what comes */
    uint64_t now_ms;
    uint64_t step_ms; /* that the clock goes on each time it is read */
    bool has_no_grant;
    bool is_gone;     /* connecting to it fails, which takes longer than anybody waits */
    bool is_refusing; /* in place of a welcome */
    bool is_slow;     /* it welcomes, and counts and answers nothing */
    bool is_deaf;     /* there is no room for messages without an answer */
    bool has_claims;
    uint64_t revision;
    struct limits_request last; /* received last */
    unsigned n_heard[LIMITS_CLAIMS + 1];
    unsigned n_connected, n_closed;
    bool is_connected;
};

/* A new one, that is there: its device 0 has this limit, and it enforces it. */
struct fakewire *fakewire_new(uint64_t limit_bytes);

/* Ended, and another one is there: with a new page, and the same clock. */
void fakewire_replace(void);

/* Its device's. */
extern const uint8_t fakewire_uuid[LIMITS_UUID_SIZE];
