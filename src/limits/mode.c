// SPDX-License-Identifier: Apache-2.0
#include "limits/mode.h"

#include <string.h>

#define N_NAMES(names) (sizeof(names) / sizeof(*(names)))

static const char *const names[] = {
    [LIMITS_NONE] = "none",
    [LIMITS_OBSERVE] = "observe",
    [LIMITS_ENFORCED] = "enforced",
};
static const char *const compute_names[] = {
    [LIMITS_COMPUTE_NONE] = "none",
    [LIMITS_COMPUTE_OBSERVE] = "observe",
    [LIMITS_COMPUTE_ELASTIC] = "elastic",
    [LIMITS_COMPUTE_STRICT] = "strict",
};

/* n: it is none of them. */
static unsigned find(const char *const *words, unsigned n, const char *word)
{
    unsigned i = 0;

    while (i < n && strcmp(word, words[i]) != 0)
        i++;
    return i;
}

const char *limits_mode_name(enum limits_mode mode)
{
    return names[mode];
}

bool limits_parse_mode(const char *word, enum limits_mode *ret_mode)
{
    const unsigned i = find(names, N_NAMES(names), word);

    if (i == N_NAMES(names))
        return false;
    *ret_mode = (enum limits_mode)i;
    return true;
}

const char *limits_compute_name(enum limits_compute compute)
{
    return compute_names[compute];
}

bool limits_parse_compute(const char *word, enum limits_compute *ret_compute)
{
    const unsigned i = find(compute_names, N_NAMES(compute_names), word);

    if (i == N_NAMES(compute_names))
        return false;
    *ret_compute = (enum limits_compute)i;
    return true;
}
