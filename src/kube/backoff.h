// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How long to wait before the next try: doubled each time, with full jitter, so that a thousand
 * agents do not come back to an API server at one moment. What the server asks for (Retry-After)
 * is the least.
 */

struct backoff {
    unsigned first_ms, last_ms; /* 0 = 500 ms, 60 s */
    unsigned next_ms;           /* 0 before the first failure */
};

/* The wait before the next try. */
unsigned backoff_next_ms(struct backoff *backoff, unsigned retry_after_s);

/* It worked. */
void backoff_reset(struct backoff *backoff);
