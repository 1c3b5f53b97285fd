// SPDX-License-Identifier: Apache-2.0
#include "arbiter/gateddevice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "arbiter/gatepage.h"
#include "base/cleanup.h"

enum {
    NS_PER_MS = 1000000,
    ALL_PPM = 1000000,
    STEP_LEAST_NS = 10000,
};

/* --- life --- */

struct gateddevice *gateddevice_new(const char *uuid, enum limits_compute mode)
{
    struct gateddevice *device = calloc(1, sizeof(*device));

    if (!device)
        return NULL;
    device->turns = turns_new();
    device->exchanges = exchanges_new();
    if (!device->turns || !device->exchanges) {
        gateddevice_free(device);
        return NULL;
    }
    device->until_ns = GATEDDEVICE_NEVER;
    snprintf(device->uuid, sizeof(device->uuid), "%s", uuid);
    device->set = device;
    turns_set_mode(device->turns, mode);
    return device;
}

void gateddevice_free(struct gateddevice *device)
{
    turns_free(device->turns);
    exchanges_free(device->exchanges);
    free(device);
}

void gateddevice_set_mode(struct gateddevice *device, enum limits_compute mode)
{
    turns_set_mode(device->turns, mode);
    device->due_ns = 0;
}

/* --- its members --- */

void gateddevice_note(struct gateddevice *device)
{
    device->due_ns = 0;
    device->has_news = true;
}

/* Of a device that is shared a container has a share; where it is not told, it has all. */
int gateddevice_add(struct gateddevice *device, struct tenant *tenant, size_t place)
{
    const uint32_t share_ppm = tenant->shares_ppm[place];
    cleanup_free struct gatemember *member = calloc(1, sizeof(*member));
    int r;

    if (!member)
        return -ENOMEM;
    gateddevice_note(device);
    r = party_begin(&member->party, device->turns, share_ppm ? share_ppm : ALL_PPM);
    if (r < 0)
        return r;
    member->tenant = tenant;
    member->place = place;
    member->next = device->members;
    device->members = TAKE_PTR(member);
    return 0;
}

struct gatemember *gateddevice_find(const struct gateddevice *device, const struct tenant *tenant)
{
    struct gatemember *member = device->members;

    while (member && member->tenant != tenant)
        member = member->next;
    return member;
}

/* False: it is open. */
static bool show_gate(struct gatemember *member, const struct turns_gate *gate, uint64_t now_ns)
{
    const bool is_news = gate->is_next && !member->was_next;

    member->was_next = gate->is_next;
    return gatepage_show(member->tenant, member->place, gate, is_news, now_ns);
}

static void remove_one(struct gateddevice *device, struct gatemember *member)
{
    struct gatemember **link = &device->members;

    while (*link != member)
        link = &(*link)->next;
    *link = member->next;
    party_end(&member->party);
    show_gate(member, &gatepage_open, 0);
    free(member);
    gateddevice_note(device); /* the others may have gained by it */
}

void gateddevice_remove(struct gateddevice *device, const struct tenant *tenant)
{
    struct gatemember *next;

    for (struct gatemember *member = device->members; member; member = next) {
        next = member->next;
        if (!tenant || member->tenant == tenant)
            remove_one(device, member);
    }
}

/* --- a run --- */

static void sample(struct gatemember *member, uint64_t now_ns)
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

void gateddevice_read(struct gateddevice *device, uint64_t now_ns)
{
    for (struct gatemember *member = device->members; member; member = member->next)
        sample(member, now_ns);
    for (struct gatemember *member = device->members; member; member = member->next)
        party_tell(&member->party);
}

static bool is_any_there(const struct gateddevice *device)
{
    const struct gatemember *member = device->members;

    while (member && !member->tenant->claims)
        member = member->next;
    return member;
}

/* Who has no page of claims cannot be seen to wait. */
static struct turns_gate gate_of(const struct gatemember *member)
{
    return member->tenant->claims ? party_gate(&member->party) : gatepage_open;
}

/* What closes first: else two could have a turn. */
static void show_gates(struct gateddevice *device, uint64_t now_ns)
{
    const uint64_t beat_ns = now_ns + (uint64_t)GATEDDEVICE_BEAT_MS * NS_PER_MS;
    bool is_any_closed = false;

    for (int opens = 0; opens < 2; opens++)
        for (struct gatemember *member = device->members; member; member = member->next) {
            const struct turns_gate gate = gate_of(member);

            if ((gate.gate != LIMITS_GATE_CLOSED) == opens)
                is_any_closed = show_gate(member, &gate, now_ns) || is_any_closed;
        }
    if (is_any_closed && device->due_ns > beat_ns)
        device->due_ns = beat_ns;
}

void gateddevice_show(struct gateddevice *device, uint64_t due_ns, uint64_t now_ns)
{
    device->due_ns = due_ns;
    if (device->has_news && device->due_ns > device->match_ns)
        device->due_ns = device->match_ns;
    if (!is_any_there(device))
        device->due_ns = GATEDDEVICE_NEVER;
    if (device->due_ns < now_ns + STEP_LEAST_NS) /* whatever is claimed */
        device->due_ns = now_ns + STEP_LEAST_NS;
    show_gates(device, now_ns);
    device->is_soon = device->due_ns < now_ns + GATEDDEVICE_SOON_NS;
}
