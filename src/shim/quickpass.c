// SPDX-License-Identifier: Apache-2.0
#include "shim/quickpass.h"

__thread struct quickpass quickpasses[QUICKPASS_STREAMS];

/* A thread that waits for each launch opens none. */
static __thread uint32_t round_now = 1; /* between two waits */
static __thread bool is_any_open;       /* in this round */

void quickpass_begin(struct quickpass *pass, CUstream stream)
{
    pass->n_left = 0;
    if (pass->stream != stream)
        pass->round = 0;
    pass->stream = stream;
    pass->generation = lanes_generation();
}

void quickpass_open(struct quickpass *pass, struct lane *lane, CUcontext context,
                    const struct limits_device *device, struct claims_device *claims)
{
    uint64_t span;

    if (pass->stream != lane->stream || pass->generation == 0)
        return;
    if (pass->round != round_now) {
        pass->round = round_now;
        return;
    }
    span = quickclock_span(QUICKPASS_NS);
    if (span == 0)
        return;
    is_any_open = true;
    pass->generation_at = lanes_generation_at();
    pass->lane = lane;
    pass->context = context;
    pass->device = device;
    pass->claims = claims;
    pass->end_ticks = quickclock_ticks() + span;
    pass->n_left = QUICKPASS_MOST;
}

/* By a child of fork it was the parent that launched. */
static bool is_own(const struct quickpass *pass)
{
    return pass->generation >> 32 == lanes_generation() >> 32;
}

/* The lane may be another stream's by now: what was launched counts as done then, since no fence
 * of that one is behind it. */
void quickpass_claim(struct quickpass *pass, uint64_t now_ns)
{
    const uint32_t n = pass->n;

    pass->n_left = pass->n = 0;
    if (n == 0 || !is_own(pass))
        return;
    __atomic_add_fetch(&pass->claims->n_launched, n, __ATOMIC_RELAXED);
    if (pass->generation == lanes_generation())
        lanes_given(pass->lane, n, now_ns);
    else
        __atomic_add_fetch(&pass->claims->n_done, n, __ATOMIC_RELAXED);
}

void quickpass_claim_all(void)
{
    round_now++;
    if (!is_any_open)
        return;
    is_any_open = false;
    for (struct quickpass *pass = quickpasses; pass < quickpasses + QUICKPASS_STREAMS; pass++)
        quickpass_claim(pass, pass->n ? quickclock_ns() : 0);
}
