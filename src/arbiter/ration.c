// SPDX-License-Identifier: Apache-2.0
#include "arbiter/ration.h"

#define PPM INT64_C(1000000)
#define MS  INT64_C(1000000)

static int64_t clamp(int64_t value, int64_t lowest, int64_t highest)
{
    return value < lowest ? lowest : value > highest ? highest : value;
}

/* No single step is longer than what can be owed: then no product overflows. */
static int64_t bound(uint64_t ns)
{
    return ns > RATION_CAP_MS * MS ? RATION_CAP_MS * MS : (int64_t)ns;
}

static int64_t get_resume_ns(const struct ration *ration)
{
    const int64_t least_ns = RATION_RESUME_LEAST_US * INT64_C(1000);
    const int64_t ns = RATION_RESUME_MS * MS / PPM * ration->share_ppm;

    return ns < least_ns ? least_ns : ns;
}

static void cap(struct ration *ration)
{
    const int64_t most_ns = RATION_CAP_MS * MS / PPM * ration->share_ppm;

    ration->owed_ns = clamp(ration->owed_ns, -most_ns, most_ns);
    ration->aside_ns = clamp(ration->aside_ns, -most_ns, most_ns);
    ration->allowance_ns = clamp(ration->allowance_ns, -RATION_CAP_MS * MS, RATION_BURST_MS * MS);
    if (ration->allowance_ns <= 0)
        ration->is_used_up = true;
    else if (ration->allowance_ns >= get_resume_ns(ration))
        ration->is_used_up = false;
}

void ration_begin(struct ration *ration)
{
    ration->owed_ns = ration->aside_ns = ration->allowance_ns = 0;
    cap(ration);
}

void ration_receive(struct ration *ration, uint64_t received_ns)
{
    ration->received_ns += received_ns;
    ration->window_received_ns += received_ns;
    ration->allowance_ns -= bound(received_ns);
    cap(ration);
}

void ration_pass(struct ration *ration, uint64_t ns)
{
    const int64_t part_ns = bound(ns) * ration->share_ppm / PPM;

    ration->entitled_ns += (uint64_t)part_ns;
    ration->window_entitled_ns += (uint64_t)part_ns;
    ration->allowance_ns += part_ns;
    cap(ration);
}

void ration_owe(struct ration *ration, uint64_t own_ns, uint64_t charged_ns, uint64_t shares_ppm)
{
    ration->owed_ns += bound(charged_ns) * ration->share_ppm / (int64_t)shares_ppm - bound(own_ns);
    cap(ration);
}

void ration_forget(struct ration *ration)
{
    ration->owed_ns = ration->aside_ns = 0;
}

void ration_forget_credit(struct ration *ration)
{
    ration_put_back(ration);
    if (ration->owed_ns > 0)
        ration->owed_ns = 0;
}

void ration_put_aside(struct ration *ration)
{
    ration->aside_ns += ration->owed_ns;
    ration->owed_ns = 0;
    cap(ration);
}

void ration_put_back(struct ration *ration)
{
    ration->owed_ns += ration->aside_ns;
    ration->aside_ns = 0;
    cap(ration);
}

void ration_close_window(struct ration *ration, bool has_borrowers)
{
    const uint64_t received_ns = ration->window_received_ns,
                   entitled_ns = ration->window_entitled_ns;

    if (received_ns > entitled_ns)
        ration->borrowed_ns += received_ns - entitled_ns;
    else if (has_borrowers)
        ration->lent_ns += entitled_ns - received_ns;
    ration->window_received_ns = ration->window_entitled_ns = 0;
}

double ration_urgency(const struct ration *ration)
{
    return (double)ration->owed_ns / (double)ration->share_ppm;
}
