// SPDX-License-Identifier: Apache-2.0
#include "arbiter/pace.h"

#define MS UINT64_C(1000000)

enum {
    WINDOW_MS = 100,      /* some turns: the first launches of a turn fill an empty queue */
    WINDOW_LEAST_MS = 12, /* where there will be no more of it: a probe */
    WINDOW_COMMANDS = 8,  /* and so many commands, or the last one that began decides the figure */
    WINDOW_LONGEST_MS = 2000,
    FORGET_PART = 20, /* of what it was better before, each window forgets as much */
};

static void close_window(struct pace *pace)
{
    const double per_s = (double)pace->n_done * 1e9 / (double)pace->ns;

    pace->recent_per_s = per_s;
    if (per_s > pace->alone_per_s)
        pace->alone_per_s = per_s;
    else
        pace->alone_per_s -= (pace->alone_per_s - per_s) / FORGET_PART;
    pace->n_windows++;
    pace->n_done = pace->ns = 0;
}

void pace_pass(struct pace *pace, uint64_t n_done, uint64_t ns)
{
    pace->n_done += n_done;
    pace->ns += ns;
    if (pace->ns >= WINDOW_LONGEST_MS * MS ||
        (pace->ns >= WINDOW_MS * MS && pace->n_done >= WINDOW_COMMANDS))
        close_window(pace);
}

void pace_end(struct pace *pace)
{
    if (pace->ns >= WINDOW_LEAST_MS * MS)
        close_window(pace);
    pace->n_done = pace->ns = 0;
}
