// SPDX-License-Identifier: Apache-2.0
#include "kube/backoff.h"

#include <sys/random.h>

enum {
    FIRST_MS = 500,
    LAST_MS = 60000,
    ASKED_MAX_S = 600, /* upper limit for a delay requested by the server */
};

/* A random number from 1 to bound. */
static unsigned random_up_to(unsigned bound)
{
    unsigned number = 0;

    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        return bound;
    return 1 + number % bound;
}

unsigned backoff_next_ms(struct backoff *backoff, unsigned retry_after_s)
{
    unsigned first_ms = backoff->first_ms ? backoff->first_ms : FIRST_MS;
    unsigned last_ms = backoff->last_ms ? backoff->last_ms : LAST_MS;
    unsigned now_ms = backoff->next_ms ? backoff->next_ms : first_ms;
    unsigned asked_ms = (retry_after_s < ASKED_MAX_S ? retry_after_s : ASKED_MAX_S) * 1000;

    if (now_ms > last_ms)
        now_ms = last_ms;
    backoff->next_ms = now_ms > last_ms / 2 ? last_ms : now_ms * 2;
    return asked_ms + random_up_to(now_ms);
}

void backoff_reset(struct backoff *backoff)
{
    backoff->next_ms = 0;
}
