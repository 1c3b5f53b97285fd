// SPDX-License-Identifier: Apache-2.0
#include "arbiter/devicesets.h"

/* `all`: the first one of all devices. */
static void untie_all(struct gateddevice *all)
{
    for (struct gateddevice *device = all; device; device = device->next) {
        device->set = device;
        for (struct gatemember *member = device->members; member; member = member->next)
            turns_untie(member->party.unit);
    }
}

static size_t count(const struct gateddevice *all, const struct gateddevice *set)
{
    size_t n = 0;

    for (const struct gateddevice *device = all; device; device = device->next)
        n += device->set == set;
    return n;
}

/* False: that would be too many. */
static bool join(struct gateddevice *all, struct gateddevice *a, struct gateddevice *b)
{
    struct gateddevice *from = b->set, *to = a->set;

    if (from == to)
        return true;
    if (count(all, from) + count(all, to) > DEVICESETS_MOST)
        return false;
    for (struct gateddevice *device = all; device; device = device->next)
        if (device->set == from)
            device->set = to;
    return true;
}

/* Its units on all devices behind its first one. */
static void tie(struct gateddevice *all, struct gateddevice *first, struct gatemember *member)
{
    for (struct gateddevice *device = first->next; device && !member->group;
         device = device->next) {
        struct gatemember *other = gateddevice_find(device, member->tenant);

        if (other && !other->group && join(all, first, device))
            turns_tie(member->party.unit, other->party.unit);
    }
}

/* The first device on which it is no part of a group. */
static bool is_first(const struct gateddevice *all, const struct gateddevice *of,
                     const struct gatemember *member)
{
    for (const struct gateddevice *device = all; device != of; device = device->next) {
        const struct gatemember *other = gateddevice_find(device, member->tenant);

        if (other && !other->group)
            return false;
    }
    return true;
}

void devicesets_tie(struct gateddevice *all)
{
    untie_all(all);
    for (struct gateddevice *device = all; device; device = device->next)
        for (struct gatemember *member = device->members; member; member = member->next)
            if (is_first(all, device, member))
                tie(all, device, member);
}
