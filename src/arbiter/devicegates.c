// SPDX-License-Identifier: Apache-2.0
#include "arbiter/devicegates.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { NS_PER_MS = 1000000, ALL_PPM = 1000000, STEP_LEAST_NS = 10000, WOKEN_MOST = 128 };

/* A container on a device. */
struct member {
    struct member *next;
    struct tenant *tenant;
    size_t place; /* of the device, in the tenant's */
    struct turns_unit *unit;
    struct claimspage_sum claims;
    bool was_next; /* its waiting threads know that they are about to have a turn */
};

struct gated_device {
    struct gated_device *next;
    char uuid[GPU_UUID_SIZE];
    struct turns *turns;
    struct member *members;
    uint64_t due_ns; /* 0 = now */
    bool is_soon;    /* that was a moment ahead when it was worked out */
};

struct devicegates {
    const struct tenants *tenants;
    enum limits_compute mode;
    struct gated_device *first;
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
    free(device);
}

static struct gated_device *add_device(struct devicegates *gates, const char *uuid)
{
    struct gated_device *device = calloc(1, sizeof(*device));

    if (!device || !(device->turns = turns_new())) {
        free(device);
        return NULL;
    }
    memcpy(device->uuid, uuid, sizeof(device->uuid));
    turns_set_mode(device->turns, gates->mode);
    device->next = gates->first;
    gates->first = device;
    return device;
}

/* Of a device that is shared a container has a share; where it is not told, it has all. */
static int add_member(struct devicegates *gates, struct tenant *tenant, size_t place)
{
    const uint32_t share_ppm = tenant->shares_ppm[place];
    const struct turns_terms terms = {.share_ppm = share_ppm ? share_ppm : ALL_PPM};
    struct gated_device *device = find_device(gates, tenant->uuids[place]);
    cleanup_free struct member *member = calloc(1, sizeof(*member));
    int r;

    if (!device && member)
        device = add_device(gates, tenant->uuids[place]);
    if (!device || !member)
        return -ENOMEM;
    device->due_ns = 0;
    r = turns_add(device->turns, &terms, &member->unit);
    if (r < 0)
        return r;
    member->tenant = tenant;
    member->place = place;
    member->next = device->members;
    device->members = TAKE_PTR(member);
    return 0;
}

static void remove_member(struct gated_device *device, struct member *member)
{
    struct member **link = &device->members;

    while (*link != member)
        link = &(*link)->next;
    *link = member->next;
    turns_remove(member->unit);
    show_member(member, &open_gate, 0);
    free(member);
    device->due_ns = 0; /* the others may have gained by it */
}

/* Of one tenant, or of all (NULL); devices without members go as well. */
static void remove_members(struct devicegates *gates, const struct tenant *tenant)
{
    struct gated_device **link = &gates->first;

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

        if (find_member(device, tenant))
            device->due_ns = 0;
        else if (tenant->claims && gates->mode != LIMITS_COMPUTE_NONE && r == 0)
            r = add_member(gates, tenant, i);
    }
    return r;
}

void devicegates_forget(struct devicegates *gates, const struct tenant *tenant)
{
    remove_members(gates, tenant);
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
    turns_sample(member->unit, &now);
}

/* Who has no page of claims cannot be seen to wait. */
static const struct turns_gate *gate_of(const struct member *member)
{
    return member->tenant->claims ? turns_gate(member->unit) : &open_gate;
}

static void run(struct gated_device *device, uint64_t now_ns)
{
    const uint64_t beat_ns = now_ns + (uint64_t)DEVICEGATES_BEAT_MS * NS_PER_MS;
    bool is_any_closed = false, is_any_there = false;

    for (struct member *member = device->members; member; member = member->next) {
        sample(member, now_ns);
        is_any_there = is_any_there || member->tenant->claims;
    }
    device->due_ns = turns_run(device->turns, now_ns);
    if (!is_any_there)
        device->due_ns = DEVICEGATES_NEVER;
    if (device->due_ns < now_ns + STEP_LEAST_NS) /* whatever is claimed */
        device->due_ns = now_ns + STEP_LEAST_NS;
    /* What closes first: else two could have a turn. */
    for (int opens = 0; opens < 2; opens++)
        for (struct member *member = device->members; member; member = member->next) {
            const struct turns_gate *gate = gate_of(member);

            if ((gate->gate != LIMITS_GATE_CLOSED) == opens)
                is_any_closed = show_member(member, gate, now_ns) || is_any_closed;
        }
    if (is_any_closed && device->due_ns > beat_ns)
        device->due_ns = beat_ns;
    device->is_soon = device->due_ns < now_ns + DEVICEGATES_SOON_NS;
}

uint64_t devicegates_run(struct devicegates *gates, bool is_all, uint64_t now_ns)
{
    uint64_t due_ns = DEVICEGATES_NEVER;

    for (struct gated_device *device = gates->first; device; device = device->next) {
        if (is_all || device->due_ns <= now_ns)
            run(device, now_ns);
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
    const struct member *member = find_member(of, tenant);

    if (!member)
        return false;
    *ret_view = (struct devicegates_view){.claims = member->claims};
    turns_view(member->unit, &ret_view->turns);
    turns_state(of->turns, &ret_view->device);
    for (const struct claimspage *page = tenant->claims; page; page = page->next)
        ret_view->n_claims++;
    return true;
}
