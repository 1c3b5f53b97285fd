// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The delay before the next retry: doubled each time, with full jitter, so that a thousand agents
 * do not hit the API server at the same moment. At least as long as the server requests
 * (Retry-After).
 */

struct backoff {
    unsigned first_ms, last_ms; /* 0 = 500 ms, 60 s */
    unsigned next_ms;           /* 0 before the first failure */
};

/* The delay before the next try. */
unsigned backoff_next_ms(struct backoff *backoff, unsigned retry_after_s);

/* A try succeeded. */
void backoff_reset(struct backoff *backoff);
