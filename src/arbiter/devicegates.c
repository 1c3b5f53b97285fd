// SPDX-License-Identifier: Apache-2.0
#include "arbiter/devicegates.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "arbiter/devicesets.h"
#include "arbiter/gangs.h"
#include "arbiter/gateddevice.h"
#include "arbiter/gategroups.h"
#include "arbiter/gatepage.h"

_Static_assert(DEVICEGATES_NEVER == GATEDDEVICE_NEVER, "no device is due");

struct devicegates {
    const struct tenants *tenants;
    enum limits_compute mode;
    struct gateddevice *first;
    bool has_ties; /* as the members are now */
};

/* --- devices --- */

static struct gateddevice *find_device(const struct devicegates *gates, const char *uuid)
{
    struct gateddevice *device = gates->first;

    while (device && strcasecmp(device->uuid, uuid) != 0)
        device = device->next;
    return device;
}

static struct gateddevice *add_device(struct devicegates *gates, const char *uuid)
{
    struct gateddevice *device = gateddevice_new(uuid, gates->mode), **link = &gates->first;

    if (!device)
        return NULL;
    while (*link && strcasecmp((*link)->uuid, uuid) < 0)
        link = &(*link)->next;
    device->next = *link;
    *link = device;
    return device;
}

static int add_member(struct devicegates *gates, struct tenant *tenant, size_t place)
{
    struct gateddevice *device = find_device(gates, tenant->uuids[place]);
    int r;

    if (!device)
        device = add_device(gates, tenant->uuids[place]);
    if (!device)
        return -ENOMEM;
    r = gateddevice_add(device, tenant, place);
    if (r == 0)
        gates->has_ties = false;
    return r;
}

/* Of one tenant, or of all (NULL); devices without members go as well. */
static void remove_members(struct devicegates *gates, const struct tenant *tenant)
{
    struct gateddevice **link = &gates->first;

    gates->has_ties = false;
    while (*link) {
        struct gateddevice *device = *link;

        gateddevice_remove(device, tenant);
        if (device->members) {
            link = &device->next;
        } else {
            *link = device->next;
            gateddevice_free(device);
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
        gatepage_show_mode(tenant, mode);
    if (mode == LIMITS_COMPUTE_NONE) {
        remove_members(gates, NULL);
        return 0;
    }
    for (struct gateddevice *device = gates->first; device; device = device->next)
        gateddevice_set_mode(device, mode);
    return add_all(gates);
}

enum limits_compute devicegates_get_mode(const struct devicegates *gates)
{
    return gates->mode;
}

void devicegates_show(const struct devicegates *gates, const struct tenant *tenant)
{
    gatepage_show_mode(tenant, gates->mode);
}

int devicegates_update(struct devicegates *gates, struct tenant *tenant)
{
    int r = 0;

    for (size_t i = 0; i < tenant->account->n_devices; i++) {
        struct gateddevice *device = find_device(gates, tenant->uuids[i]);

        if (device && gateddevice_find(device, tenant))
            gateddevice_note(device);
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

/* All devices of a set at once. */
static void run(struct devicegates *gates, const struct gateddevice *set, uint64_t now_ns)
{
    struct turns *turns[DEVICESETS_MOST];
    size_t n = 0;
    uint64_t due_ns;

    for (struct gateddevice *device = gates->first; device; device = device->next)
        if (device->set == set) {
            device->is_due = false;
            gateddevice_read(device, now_ns);
            turns[n++] = device->turns;
        }
    due_ns = gangs_run(turns, n, now_ns);
    for (struct gateddevice *device = gates->first; device; device = device->next)
        if (device->set == set)
            gateddevice_show(device, due_ns, now_ns);
}

/* Groups and rings, of all devices that are about to be run. */
static void prepare(struct devicegates *gates, bool is_all, uint64_t now_ns)
{
    for (struct gateddevice *device = gates->first; device; device = device->next)
        if ((is_all || device->due_ns <= now_ns) && gategroups_update(device, now_ns))
            gates->has_ties = false;
    if (!gates->has_ties)
        devicesets_tie(gates->first);
    gates->has_ties = true;
}

uint64_t devicegates_run(struct devicegates *gates, bool is_all, uint64_t now_ns)
{
    uint64_t due_ns = DEVICEGATES_NEVER;

    prepare(gates, is_all, now_ns);
    for (struct gateddevice *device = gates->first; device; device = device->next)
        device->is_due = is_all || device->due_ns <= now_ns;
    for (struct gateddevice *device = gates->first; device; device = device->next)
        if (device->is_due)
            run(gates, device->set, now_ns);
    for (struct gateddevice *device = gates->first; device; device = device->next) {
        if (is_all)
            gategroups_settle(device);
        due_ns = device->due_ns < due_ns ? device->due_ns : due_ns;
    }
    return due_ns;
}

bool devicegates_is_soon(const struct devicegates *gates)
{
    for (const struct gateddevice *device = gates->first; device; device = device->next)
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
    const struct gateddevice *of = find_device(gates, tenant->uuids[device]);
    struct gatemember *member = of ? gateddevice_find(of, tenant) : NULL;

    if (!member)
        return false;
    *ret_view = (struct devicegates_view){.claims = member->claims, .group = member->group};
    party_view(&member->party, &ret_view->turns);
    turns_state(of->turns, &ret_view->device);
    return true;
}
