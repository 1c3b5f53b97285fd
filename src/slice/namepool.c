// SPDX-License-Identifier: Apache-2.0
#include "slice/namepool.h"

#include <stdint.h>

#include "slice/share.h"

/* The usable devices of a pool. */
struct counts {
    size_t n, n_held[2];
    size_t n_free[3]; /* by the name that they have now */
};

static struct counts count(const struct namepool_device *devices, size_t n)
{
    struct counts counts = {0};

    for (size_t i = 0; i < n; i++) {
        if (!devices[i].is_usable)
            continue;
        counts.n++;
        if (devices[i].held == NAMEPOOL_NEITHER)
            counts.n_free[devices[i].now]++;
        else
            counts.n_held[devices[i].held]++;
    }
    return counts;
}

size_t namepool_split(size_t n, unsigned permille)
{
    return n * permille / SHARE_WHOLE;
}

static size_t clamp(size_t value, size_t low, size_t high)
{
    return value < low ? low : value > high ? high : value;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many free devices are to have the second name. */
static size_t find_target(const struct counts *counts, const struct namepool_rule *rule)
{
    const size_t split = namepool_split(counts->n, rule->split_permille);
    const size_t n_free = counts->n - counts->n_held[0] - counts->n_held[1];
    const size_t second = smaller(rule->n_wanted[NAMEPOOL_SECOND], n_free);
    const size_t rest = n_free - smaller(rule->n_wanted[NAMEPOOL_FIRST], n_free);
    size_t target =
        split > counts->n_held[NAMEPOOL_SECOND] ? split - counts->n_held[NAMEPOOL_SECOND] : 0;

    if (rule->keeps)
        target = clamp(target, counts->n_free[NAMEPOOL_SECOND],
                       counts->n_free[NAMEPOOL_SECOND] + counts->n_free[NAMEPOOL_NEITHER]);
    /* With fewer devices than are waited for, the two bounds are the other way round: within them
     * each name has no more than is waited for. */
    return clamp(target, smaller(second, rest), second > rest ? second : rest);
}

static bool is_free(const struct namepool_device *device)
{
    return device->is_usable && device->held == NAMEPOOL_NEITHER;
}

/* Gives one device a name that has room. */
static void give(enum namepool_name name, size_t room[2], enum namepool_name *ret_name)
{
    if (!room[name])
        return;
    room[name]--;
    *ret_name = name;
}

/* Those without a name come first, so what is left of the room is what the other name has too many
 * of: the last ones of the first, or the first ones of the second. */
static void fill(const struct namepool_device *devices, size_t n, size_t room[2],
                 enum namepool_name *ret_names)
{
    for (size_t i = 0; i < n; i++)
        if (is_free(&devices[i]) && devices[i].now == NAMEPOOL_NEITHER)
            give(room[NAMEPOOL_FIRST] ? NAMEPOOL_FIRST : NAMEPOOL_SECOND, room, &ret_names[i]);
    for (size_t i = n; i-- > 0;)
        if (is_free(&devices[i]) && devices[i].now == NAMEPOOL_FIRST)
            give(NAMEPOOL_SECOND, room, &ret_names[i]);
    for (size_t i = 0; i < n; i++)
        if (is_free(&devices[i]) && devices[i].now == NAMEPOOL_SECOND)
            give(NAMEPOOL_FIRST, room, &ret_names[i]);
}

void namepool_divide(const struct namepool_device *devices, size_t n,
                     const struct namepool_rule *rule, enum namepool_name *ret_names)
{
    const struct counts counts = count(devices, n);
    const size_t n_free = counts.n - counts.n_held[0] - counts.n_held[1];
    const size_t target = find_target(&counts, rule);
    size_t room[2];

    for (size_t i = 0; i < n; i++)
        ret_names[i] =
            devices[i].is_usable && !is_free(&devices[i]) ? devices[i].held : devices[i].now;
    room[NAMEPOOL_FIRST] =
        n_free - target - smaller(n_free - target, counts.n_free[NAMEPOOL_FIRST]);
    room[NAMEPOOL_SECOND] = target - smaller(target, counts.n_free[NAMEPOOL_SECOND]);
    fill(devices, n, room, ret_names);
}
