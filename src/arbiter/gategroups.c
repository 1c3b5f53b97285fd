// SPDX-License-Identifier: Apache-2.0
#include "arbiter/gategroups.h"

#include <errno.h>
#include <stdlib.h>

enum {
    NS_PER_MS = 1000000,
    MATCH_MS = 100,   /* between two looks at who exchanged handles, whatever is claimed */
    APART_MS = 10000, /* who left a group is in none for so long */
};

struct members {
    size_t n, n_processes;
    struct gatemember **members;
    struct exchanges_process *processes;
    size_t *groups; /* by the first one of each */
};

static void members_deinit(struct members *all)
{
    free(all->members);
    free(all->processes);
    free(all->groups);
}

/* By the first one of each owner. */
static size_t find_owner(const struct members *all, const struct tenant *tenant)
{
    size_t i = 0;

    while (all->members[i]->tenant != tenant &&
           !tenant_has_same_owner(all->members[i]->tenant, tenant))
        i++;
    return i;
}

static int list(const struct gateddevice *device, struct members *all)
{
    size_t i = 0, n_processes = 0;

    for (const struct gatemember *member = device->members; member; member = member->next, all->n++)
        for (const struct claimspage *page = member->tenant->claims; page; page = page->next)
            all->n_processes++;
    all->members = calloc(all->n + 1, sizeof(*all->members));
    all->groups = calloc(all->n + 1, sizeof(*all->groups));
    all->processes = calloc(all->n_processes + 1, sizeof(*all->processes));
    if (!all->members || !all->groups || !all->processes)
        return -ENOMEM;
    for (struct gatemember *member = device->members; member; member = member->next, i++) {
        size_t owner;

        all->members[i] = member;
        owner = find_owner(all, member->tenant);
        for (const struct claimspage *page = member->tenant->claims; page; page = page->next)
            all->processes[n_processes++] =
                (struct exchanges_process){page, i, member->place, owner};
    }
    return 0;
}

static size_t find_group(const struct members *all, const struct party *party)
{
    size_t i = 0;

    while (&all->members[i]->party != party)
        i++;
    return all->groups[i];
}

static bool is_alone(const struct members *all, size_t place)
{
    for (size_t i = 0; i < all->n; i++)
        if (i != place && all->groups[i] == all->groups[place])
            return false;
    return true;
}

/* Those whose lead has gone are a group by themselves. */
static void separate(const struct members *all, uint64_t now_ns)
{
    for (size_t i = 0; i < all->n; i++) {
        struct gatemember *member = all->members[i];

        if (find_group(all, member->party.lead) != all->groups[i])
            party_leave(&member->party);
    }
    for (size_t i = 0; i < all->n; i++) {
        struct gatemember *member = all->members[i];

        if (member->group && is_alone(all, i)) {
            member->group = 0;
            member->apart_ns = now_ns + (uint64_t)APART_MS * NS_PER_MS;
        }
    }
}

/* Who is in a group already has the others come to him. */
static struct gatemember *find_first(const struct members *all, size_t group)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->groups[i] == group && all->members[i]->group)
            return all->members[i];
    return all->members[group];
}

static bool may_join(struct gateddevice *device, const struct gatemember *member, uint64_t now_ns)
{
    if (member->apart_ns <= now_ns)
        return true;
    if (member->apart_ns < device->until_ns)
        device->until_ns = member->apart_ns;
    return false;
}

static void join_one(struct gateddevice *device, struct gatemember *member,
                     struct gatemember *first)
{
    struct party *lead = first->party.lead;

    if (!first->group)
        first->group = ++device->n_groups;
    party_leave(&member->party);
    party_join(&member->party, lead);
    member->group = first->group;
}

static void join(struct gateddevice *device, const struct members *all, uint64_t now_ns)
{
    for (size_t i = 0; i < all->n; i++) {
        struct gatemember *member = all->members[i], *first = find_first(all, all->groups[i]);

        if (member->party.lead != first->party.lead && may_join(device, member, now_ns) &&
            may_join(device, first, now_ns))
            join_one(device, member, first);
    }
}

/* Without memory all stay as they are. */
static void match(struct gateddevice *device, uint64_t now_ns)
{
    struct members all = {0};

    if (list(device, &all) == 0) {
        (void)exchanges_match(device->exchanges, all.processes, all.n_processes, all.n, all.groups);
        separate(&all, now_ns);
        join(device, &all, now_ns);
    }
    members_deinit(&all);
}

static bool has_news(const struct gateddevice *device)
{
    bool has = device->has_news;

    for (struct gatemember *member = device->members; member; member = member->next) {
        const bool is_named = *member->tenant->namespace_;

        has = has || is_named != member->was_named;
        member->was_named = is_named;
        for (struct claimspage *page = member->tenant->claims; page; page = page->next)
            has = exchanges_has_news(page, member->place) || has;
    }
    return has;
}

static uint64_t sum_groups(const struct gateddevice *device)
{
    uint64_t sum = 0;

    for (const struct gatemember *member = device->members; member; member = member->next)
        sum = sum * 31 + member->group;
    return sum;
}

bool gategroups_update(struct gateddevice *device, uint64_t now_ns)
{
    const uint64_t groups = sum_groups(device);

    device->has_news = has_news(device) || device->until_ns <= now_ns;
    if (!device->has_news || now_ns < device->match_ns)
        return false;
    device->has_news = false;
    device->match_ns = now_ns + (uint64_t)MATCH_MS * NS_PER_MS;
    device->until_ns = GATEDDEVICE_NEVER;
    match(device, now_ns);
    return sum_groups(device) != groups;
}

void gategroups_settle(struct gateddevice *device)
{
    for (struct gatemember *member = device->members; member; member = member->next)
        if (member->group && member->party.lead == &member->party)
            party_settle(&member->party);
}
