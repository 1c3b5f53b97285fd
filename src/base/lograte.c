// SPDX-License-Identifier: Apache-2.0
#include "base/trouble.h"

#include <stdio.h>
#include <string.h>

bool trouble_is_news(struct trouble *trouble, const char *why, uint64_t now_ms)
{
    /* A reason too long to be kept is known by its beginning. */
    const bool same = strncmp(why, trouble->why, sizeof(trouble->why) - 1) == 0;

    if (now_ms - trouble->since_ms >= TROUBLE_PERIOD_MS) {
        trouble->since_ms = now_ms;
        trouble->n_said = 0;
    }
    if (same || trouble->n_said >= TROUBLE_SAY_MAX)
        return false;
    trouble->n_said++;
    snprintf(trouble->why, sizeof(trouble->why), "%s", why);
    return true;
}

void trouble_forget(struct trouble *trouble)
{
    trouble->why[0] = '\0';
}
