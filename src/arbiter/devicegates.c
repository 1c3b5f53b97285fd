// SPDX-License-Identifier: Apache-2.0
#include "arbiter/devicegates.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arbiter/exchanges.h"
#include "arbiter/gangs.h"
#include "arbiter/party.h"
#include "base/cleanup.h"

enum {
    NS_PER_MS = 1000000,
    ALL_PPM = 1000000,
    STEP_LEAST_NS = 10000,
    WOKEN_MOST = 128,
    MATCH_MS = 100,   /* between two looks at who exchanged handles, whatever is claimed */
    APART_MS = 10000, /* who left a group is in none for so long */
    SET_MOST = 64,    /* devices; beyond that each gives turns by itself */
};

/* A container on a device. */
struct member {
    struct member *next;
    struct tenant *tenant;
    size_t place; /* of the device, in the tenant's */
    struct party party;
    struct claimspage_sum claims;
    uint64_t apart_ns; /* until then it joins no group; 0: it never left one */
    uint64_t group;    /* 0: none */
    bool was_named;    /* its namespace was known at the last look at who exchanged handles */
    bool was_next;     /* its waiting threads know that they are about to have a turn */
};

struct gated_device {
    struct gated_device *next; /* by UUID */
    struct gated_device *set;  /* the first one of those whose turns depend on each other */
    char uuid[GPU_UUID_SIZE];
    struct turns *turns;
    struct member *members;
    uint64_t due_ns; /* 0 = now */
    bool is_due;     /* it was, and has not been run yet */
    bool is_soon;    /* that was a moment ahead when it was worked out */
    struct exchanges *exchanges;
    bool has_news;     /* of who exchanged handles, or is there */
    uint64_t match_ns; /* when that may be looked at, ... */
    uint64_t until_ns; /* ... and has to be again; DEVICEGATES_NEVER */
    uint64_t n_groups; /* ever */
};

struct devicegates {
    const struct tenants *tenants;
    enum limits_compute mode;
    struct gated_device *first;
    bool has_ties; /* as the members are now */
};

static const struct turns_gate open_gate = {.gate = LIMITS_GATE_OPEN};

/* --- pages --- */

static struct limits_device *find_shown(const struct member *member)
{
    struct limits_page *page = member->tenant->page.page;

    return page ? &page->devices[member->place] : NULL;
}

/* The page is ours alone to write. */
static bool is_shown(const struct limits_device *shown, const struct turns_gate *gate)
{
    return shown->gate == (uint32_t)gate->gate && shown->turn_end_ns == gate->turn_end_ns &&
           shown->in_flight_us == gate->in_flight_us;
}

/* A thread that waits for the number finds the rest written. A page is shared, so its waiters are
 * found by its file: other processes are woken as well. There may be any number of them, and each
 * takes our time: those that are left look again by themselves. */
static void show_gate(struct limits_device *shown, const struct turns_gate *gate)
{
    limits_store(shown->turn_end_ns, gate->turn_end_ns);
    limits_store(shown->in_flight_us, gate->in_flight_us);
    __atomic_store_n(&shown->gate, (uint32_t)gate->gate, __ATOMIC_RELEASE);
    __atomic_store_n(&shown->gate_number, shown->gate_number + 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &shown->gate_number, FUTEX_WAKE, WOKEN_MOST, NULL, NULL, 0);
}

/* Before it is closed: who finds it closed finds a beat. */
static void beat(const struct member *member, uint64_t now_ns)
{
    limits_store(member->tenant->page.page->beat_ms, (uint32_t)(now_ns / NS_PER_MS));
}

/* False: it is open. */
static bool show_member(struct member *member, const struct turns_gate *gate, uint64_t now_ns)
{
    struct limits_device *shown = find_shown(member);
    const bool is_news = gate->is_next && !member->was_next;

    member->was_next = gate->is_next;
    if (!shown)
        return false;
    if (gate->gate != LIMITS_GATE_OPEN)
        beat(member, now_ns);
    if (is_news || !is_shown(shown, gate))
        show_gate(shown, gate);
    return gate->gate != LIMITS_GATE_OPEN;
}

static void show_tenant(const struct tenant *tenant, enum limits_compute mode)
{
    for (size_t i = 0; tenant->page.page && i < tenant->account->n_devices; i++) {
        limits_store(tenant->page.page->devices[i].share_ppm, tenant->shares_ppm[i]);
        limits_store(tenant->page.page->devices[i].compute, (uint32_t)mode);
    }
}

/* --- who shares which device --- */

static struct gated_device *find_device(const struct devicegates *gates, const char *uuid)
{
    struct gated_device *device = gates->first;

    while (device && strcasecmp(device->uuid, uuid) != 0)
        device = device->next;
    return device;
}

static struct member *find_member(const struct gated_device *device, const struct tenant *tenant)
{
    struct member *member = device ? device->members : NULL;

    while (member && member->tenant != tenant)
        member = member->next;
    return member;
}

static void free_device(struct gated_device *device)
{
    turns_free(device->turns);
    exchanges_free(device->exchanges);
    free(device);
}

static struct gated_device *add_device(struct devicegates *gates, const char *uuid)
{
    struct gated_device *device = calloc(1, sizeof(*device)), **link = &gates->first;

    if (!device)
        return NULL;
    device->turns = turns_new();
    device->exchanges = exchanges_new();
    if (!device->turns || !device->exchanges) {
        free_device(device);
        return NULL;
    }
    device->until_ns = DEVICEGATES_NEVER;
    memcpy(device->uuid, uuid, sizeof(device->uuid));
    turns_set_mode(device->turns, gates->mode);
    device->set = device;
    while (*link && strcasecmp((*link)->uuid, uuid) < 0)
        link = &(*link)->next;
    device->next = *link;
    *link = device;
    return device;
}

/* Of a device that is shared a container has a share; where it is not told, it has all. */
static int add_member(struct devicegates *gates, struct tenant *tenant, size_t place)
{
    const uint32_t share_ppm = tenant->shares_ppm[place];
    struct gated_device *device = find_device(gates, tenant->uuids[place]);
    cleanup_free struct member *member = calloc(1, sizeof(*member));
    int r;

    if (!device && member)
        device = add_device(gates, tenant->uuids[place]);
    if (!device || !member)
        return -ENOMEM;
    device->due_ns = 0;
    device->has_news = true;
    r = party_begin(&member->party, device->turns, share_ppm ? share_ppm : ALL_PPM);
    if (r < 0)
        return r;
    member->tenant = tenant;
    member->place = place;
    member->next = device->members;
    device->members = TAKE_PTR(member);
    gates->has_ties = false;
    return 0;
}

static void remove_member(struct gated_device *device, struct member *member)
{
    struct member **link = &device->members;

    while (*link != member)
        link = &(*link)->next;
    *link = member->next;
    party_end(&member->party);
    show_member(member, &open_gate, 0);
    free(member);
    device->due_ns = 0; /* the others may have gained by it */
    device->has_news = true;
}

/* Of one tenant, or of all (NULL); devices without members go as well. */
static void remove_members(struct devicegates *gates, const struct tenant *tenant)
{
    struct gated_device **link = &gates->first;

    gates->has_ties = false;
    while (*link) {
        struct gated_device *device = *link;
        struct member *next;

        for (struct member *member = device->members; member; member = next) {
            next = member->next;
            if (!tenant || member->tenant == tenant)
                remove_member(device, member);
        }
        if (device->members) {
            link = &device->next;
        } else {
            *link = device->next;
            free_device(device);
        }
    }
}

/* --- life --- */

struct devicegates *devicegates_new(const struct tenants *tenants)
{
    struct devicegates *gates = calloc(1, sizeof(*gates));

    if (gates)
        gates->tenants = tenants;
    return gates;
}

void devicegates_free(struct devicegates *gates)
{
    if (!gates)
        return;
    (void)devicegates_set_mode(gates, LIMITS_COMPUTE_NONE);
    free(gates);
}

static int add_all(struct devicegates *gates)
{
    int r = 0;

    for (struct tenant *tenant = gates->tenants->first; tenant; tenant = tenant->next) {
        const int one = devicegates_update(gates, tenant);

        r = one < 0 ? one : r;
    }
    return r;
}

int devicegates_set_mode(struct devicegates *gates, enum limits_compute mode)
{
    gates->mode = mode;
    for (const struct tenant *tenant = gates->tenants->first; tenant; tenant = tenant->next)
        show_tenant(tenant, mode);
    if (mode == LIMITS_COMPUTE_NONE) {
        remove_members(gates, NULL);
        return 0;
    }
    for (struct gated_device *device = gates->first; device; device = device->next) {
        turns_set_mode(device->turns, mode);
        device->due_ns = 0;
    }
    return add_all(gates);
}

enum limits_compute devicegates_get_mode(const struct devicegates *gates)
{
    return gates->mode;
}

void devicegates_show(const struct devicegates *gates, const struct tenant *tenant)
{
    show_tenant(tenant, gates->mode);
}

int devicegates_update(struct devicegates *gates, struct tenant *tenant)
{
    int r = 0;

    for (size_t i = 0; i < tenant->account->n_devices; i++) {
        struct gated_device *device = find_device(gates, tenant->uuids[i]);

        if (find_member(device, tenant)) {
            device->due_ns = 0;
            device->has_news = true;
        } else if (tenant->claims && gates->mode != LIMITS_COMPUTE_NONE && r == 0)
            r = add_member(gates, tenant, i);
    }
    return r;
}

void devicegates_forget(struct devicegates *gates, const struct tenant *tenant)
{
    remove_members(gates, tenant);
}

/* --- groups of those who exchange handles --- */

struct members {
    size_t n, n_processes;
    struct member **members;
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

static int list(const struct gated_device *device, struct members *all)
{
    size_t i = 0, n_processes = 0;

    for (const struct member *member = device->members; member; member = member->next, all->n++)
        for (const struct claimspage *page = member->tenant->claims; page; page = page->next)
            all->n_processes++;
    all->members = calloc(all->n + 1, sizeof(*all->members));
    all->groups = calloc(all->n + 1, sizeof(*all->groups));
    all->processes = calloc(all->n_processes + 1, sizeof(*all->processes));
    if (!all->members || !all->groups || !all->processes)
        return -ENOMEM;
    for (struct member *member = device->members; member; member = member->next, i++) {
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
        struct member *member = all->members[i];

        if (find_group(all, member->party.lead) != all->groups[i])
            party_leave(&member->party);
    }
    for (size_t i = 0; i < all->n; i++) {
        struct member *member = all->members[i];

        if (member->group && is_alone(all, i)) {
            member->group = 0;
            member->apart_ns = now_ns + (uint64_t)APART_MS * NS_PER_MS;
        }
    }
}

/* Who is in a group already has the others come to him. */
static struct member *find_first(const struct members *all, size_t group)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->groups[i] == group && all->members[i]->group)
            return all->members[i];
    return all->members[group];
}

static bool may_join(struct gated_device *device, const struct member *member, uint64_t now_ns)
{
    if (member->apart_ns <= now_ns)
        return true;
    if (member->apart_ns < device->until_ns)
        device->until_ns = member->apart_ns;
    return false;
}

static void join_one(struct gated_device *device, struct member *member, struct member *first)
{
    struct party *lead = first->party.lead;

    if (!first->group)
        first->group = ++device->n_groups;
    party_leave(&member->party);
    party_join(&member->party, lead);
    member->group = first->group;
}

static void join(struct gated_device *device, const struct members *all, uint64_t now_ns)
{
    for (size_t i = 0; i < all->n; i++) {
        struct member *member = all->members[i], *first = find_first(all, all->groups[i]);

        if (member->party.lead != first->party.lead && may_join(device, member, now_ns) &&
            may_join(device, first, now_ns))
            join_one(device, member, first);
    }
}

/* Without memory all stay as they are. */
static void match(struct gated_device *device, uint64_t now_ns)
{
    struct members all = {0};

    if (list(device, &all) == 0) {
        (void)exchanges_match(device->exchanges, all.processes, all.n_processes, all.n, all.groups);
        separate(&all, now_ns);
        join(device, &all, now_ns);
    }
    members_deinit(&all);
}

static bool has_news(const struct gated_device *device)
{
    bool has = device->has_news;

    for (struct member *member = device->members; member; member = member->next) {
        const bool is_named = *member->tenant->namespace_;

        has = has || is_named != member->was_named;
        member->was_named = is_named;
        for (struct claimspage *page = member->tenant->claims; page; page = page->next)
            has = exchanges_has_news(page, member->place) || has;
    }
    return has;
}

static uint64_t sum_groups(const struct gated_device *device)
{
    uint64_t sum = 0;

    for (const struct member *member = device->members; member; member = member->next)
        sum = sum * 31 + member->group;
    return sum;
}

/* Whether somebody joined a group, or left one. */
static bool regroup(struct gated_device *device, uint64_t now_ns)
{
    const uint64_t groups = sum_groups(device);

    device->has_news = has_news(device) || device->until_ns <= now_ns;
    if (!device->has_news || now_ns < device->match_ns)
        return false;
    device->has_news = false;
    device->match_ns = now_ns + (uint64_t)MATCH_MS * NS_PER_MS;
    device->until_ns = DEVICEGATES_NEVER;
    match(device, now_ns);
    return sum_groups(device) != groups;
}

/* Before so much was launched that nobody knows whose it was. */
static void settle_all(struct gated_device *device)
{
    for (struct member *member = device->members; member; member = member->next)
        if (member->group && member->party.lead == &member->party)
            party_settle(&member->party);
}

/* --- containers on several devices --- */

static void untie_all(struct devicegates *gates)
{
    for (struct gated_device *device = gates->first; device; device = device->next) {
        device->set = device;
        for (struct member *member = device->members; member; member = member->next)
            turns_untie(member->party.unit);
    }
}

static size_t count_set(const struct devicegates *gates, const struct gated_device *set)
{
    size_t n = 0;

    for (const struct gated_device *device = gates->first; device; device = device->next)
        n += device->set == set;
    return n;
}

/* False: that would be too many. */
static bool join_sets(struct devicegates *gates, struct gated_device *a, struct gated_device *b)
{
    struct gated_device *from = b->set, *to = a->set;

    if (from == to)
        return true;
    if (count_set(gates, from) + count_set(gates, to) > SET_MOST)
        return false;
    for (struct gated_device *device = gates->first; device; device = device->next)
        if (device->set == from)
            device->set = to;
    return true;
}

/* A group stands for several containers, which may be on other devices each: it is tied to none. */
static void tie(struct devicegates *gates, struct gated_device *first, struct member *member)
{
    for (struct gated_device *device = first->next; device && !member->group;
         device = device->next) {
        struct member *other = find_member(device, member->tenant);

        if (other && !other->group && join_sets(gates, first, device))
            turns_tie(member->party.unit, other->party.unit);
    }
}

/* The first device on which it is no part of a group. */
static bool is_first(const struct devicegates *gates, const struct gated_device *of,
                     const struct member *member)
{
    for (const struct gated_device *device = gates->first; device != of; device = device->next) {
        const struct member *other = find_member(device, member->tenant);

        if (other && !other->group)
            return false;
    }
    return true;
}

/* From the beginning: who begins, ends, joins a group or leaves one is rare. */
static void tie_all(struct devicegates *gates)
{
    untie_all(gates);
    for (struct gated_device *device = gates->first; device; device = device->next)
        for (struct member *member = device->members; member; member = member->next)
            if (is_first(gates, device, member))
                tie(gates, device, member);
    gates->has_ties = true;
}

/* --- turns --- */

static void sample(struct member *member, uint64_t now_ns)
{
    struct turns_sample now = {.n_launched = 0};

    member->claims.is_in_flight = false;
    member->claims.n_waiting = 0;
    for (struct claimspage *page = member->tenant->claims; page; page = page->next)
        claimspage_read(page, member->place, now_ns, &member->claims);
    now.n_launched = member->claims.n_launched;
    now.n_done = member->claims.n_done;
    now.n_passed = member->claims.n_passed;
    now.waited_ns = member->claims.waited_ns;
    now.n_waiting = member->claims.n_waiting;
    now.is_in_flight = member->claims.is_in_flight;
    party_sample(&member->party, &now);
}

/* Who has no page of claims cannot be seen to wait. */
static struct turns_gate gate_of(const struct member *member)
{
    return member->tenant->claims ? party_gate(&member->party) : open_gate;
}

static void read_claims(struct gated_device *device, uint64_t now_ns)
{
    for (struct member *member = device->members; member; member = member->next)
        sample(member, now_ns);
    for (struct member *member = device->members; member; member = member->next)
        party_tell(&member->party);
}

static bool is_any_there(const struct gated_device *device)
{
    const struct member *member = device->members;

    while (member && !member->tenant->claims)
        member = member->next;
    return member;
}

/* What closes first: else two could have a turn. */
static void show_gates(struct gated_device *device, uint64_t now_ns)
{
    const uint64_t beat_ns = now_ns + (uint64_t)DEVICEGATES_BEAT_MS * NS_PER_MS;
    bool is_any_closed = false;

    for (int opens = 0; opens < 2; opens++)
        for (struct member *member = device->members; member; member = member->next) {
            const struct turns_gate gate = gate_of(member);

            if ((gate.gate != LIMITS_GATE_CLOSED) == opens)
                is_any_closed = show_member(member, &gate, now_ns) || is_any_closed;
        }
    if (is_any_closed && device->due_ns > beat_ns)
        device->due_ns = beat_ns;
}

static void set_due(struct gated_device *device, uint64_t due_ns, uint64_t now_ns)
{
    device->due_ns = due_ns;
    if (device->has_news && device->due_ns > device->match_ns)
        device->due_ns = device->match_ns;
    if (!is_any_there(device))
        device->due_ns = DEVICEGATES_NEVER;
    if (device->due_ns < now_ns + STEP_LEAST_NS) /* whatever is claimed */
        device->due_ns = now_ns + STEP_LEAST_NS;
    show_gates(device, now_ns);
    device->is_soon = device->due_ns < now_ns + DEVICEGATES_SOON_NS;
}

/* All devices of a set at once. */
static void run(struct devicegates *gates, const struct gated_device *set, uint64_t now_ns)
{
    struct turns *turns[SET_MOST];
    size_t n = 0;
    uint64_t due_ns;

    for (struct gated_device *device = gates->first; device; device = device->next)
        if (device->set == set) {
            device->is_due = false;
            read_claims(device, now_ns);
            turns[n++] = device->turns;
        }
    due_ns = gangs_run(turns, n, now_ns);
    for (struct gated_device *device = gates->first; device; device = device->next)
        if (device->set == set)
            set_due(device, due_ns, now_ns);
}

/* Groups and rings, of all devices that are about to be run. */
static void prepare(struct devicegates *gates, bool is_all, uint64_t now_ns)
{
    for (struct gated_device *device = gates->first; device; device = device->next)
        if ((is_all || device->due_ns <= now_ns) && regroup(device, now_ns))
            gates->has_ties = false;
    if (!gates->has_ties)
        tie_all(gates);
}

uint64_t devicegates_run(struct devicegates *gates, bool is_all, uint64_t now_ns)
{
    uint64_t due_ns = DEVICEGATES_NEVER;

    prepare(gates, is_all, now_ns);
    for (struct gated_device *device = gates->first; device; device = device->next)
        device->is_due = is_all || device->due_ns <= now_ns;
    for (struct gated_device *device = gates->first; device; device = device->next)
        if (device->is_due)
            run(gates, device->set, now_ns);
    for (struct gated_device *device = gates->first; device; device = device->next) {
        if (is_all)
            settle_all(device);
        due_ns = device->due_ns < due_ns ? device->due_ns : due_ns;
    }
    return due_ns;
}

bool devicegates_is_soon(const struct devicegates *gates)
{
    for (const struct gated_device *device = gates->first; device; device = device->next)
        if (device->is_soon)
            return true;
    return false;
}

uint64_t devicegates_pace(uint64_t due_ns, uint64_t began_ns, uint64_t ended_ns)
{
    const uint64_t least_ns = ended_ns + (ended_ns - began_ns);

    return due_ns > least_ns ? due_ns : least_ns;
}

/* --- what there is to show --- */

bool devicegates_view(const struct devicegates *gates, const struct tenant *tenant, size_t device,
                      struct devicegates_view *ret_view)
{
    const struct gated_device *of = find_device(gates, tenant->uuids[device]);
    struct member *member = find_member(of, tenant);

    if (!member)
        return false;
    *ret_view = (struct devicegates_view){.claims = member->claims, .group = member->group};
    party_view(&member->party, &ret_view->turns);
    turns_state(of->turns, &ret_view->device);
    return true;
}
