// SPDX-License-Identifier: Apache-2.0
#include "plugin/formerholds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "slice/share.h"

/* Slice n of a device, under its first name and, where it has two, its second. */
struct slot {
    const struct plan_resource *resources[2];
    const struct slice *slices[2];
    const char *held_as[2];  /* exactly so */
    const char *held_former; /* under another name */
};

/* What is held of one device. */
struct account {
    const struct offer *offer;
    const struct plan_device *on;
    struct slot *slots;
    size_t n_slots;
    const char *otherwise; /* a resource under which some of it is held otherwise; NULL = none is */
    const char *by_others; /* the resource under which its GPU, or a part of it, is held */
    uint64_t permille, mem_bytes;
};

/* --- the slices of a device --- */

/* The first slice of a resource that is of this device or a later one. */
static size_t find_first(const struct plan_resource *resource, size_t device)
{
    size_t low = 0, high = resource->n_slices;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (resource->slices[middle].device < device)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_slots(struct account *account, size_t device)
{
    const struct plan *plan = account->offer->plan;

    for (size_t r = 0; r < plan->n_resources; r++) {
        const struct plan_resource *resource = &plan->resources[r];

        for (size_t i = find_first(resource, device);
             i < resource->n_slices && resource->slices[i].device == device; i++) {
            const struct slice *slice = &resource->slices[i];
            struct slot *slot = slice->n < account->n_slots ? &account->slots[slice->n] : NULL;

            if (!slot)
                continue;
            slot->resources[slice->is_second] = resource;
            slot->slices[slice->is_second] = slice;
        }
    }
}

static int begin(struct account *account, const struct offer *offer, size_t device)
{
    *account = (struct account){.offer = offer, .on = &offer->plan->devices[device]};
    account->n_slots = account->on->n_slices;
    account->slots = calloc(account->n_slots + 1, sizeof(*account->slots));
    if (!account->slots)
        return -ENOMEM;
    list_slots(account, device);
    return 0;
}

static void account_deinit(struct account *account)
{
    free(account->slots);
}

/* --- what is held of it --- */

enum relation { RELATION_NONE, RELATION_SAME, RELATION_PART };

/* An id is a UUID, or one with "::" and a number. */
static size_t uuid_length(const char *id)
{
    const char *end = strstr(id, "::");

    return end ? (size_t)(end - id) : strlen(id);
}

static bool is_uuid(const char *id, size_t length, const char *uuid)
{
    return length && strncasecmp(id, uuid, length) == 0 && !uuid[length];
}

bool formerholds_is_device(const struct inventory *inventory, const char *id)
{
    const size_t length = uuid_length(id);
    char uuid[GPU_UUID_SIZE];

    if (!length || length >= sizeof(uuid))
        return false;
    snprintf(uuid, sizeof(uuid), "%.*s", (int)length, id);
    return inventory_find(inventory, uuid) || inventory_find_mig(inventory, uuid);
}

static bool is_part_of(const struct inventory *inventory, const char *id, size_t length,
                       const char *uuid)
{
    for (size_t i = 0; i < inventory->n_mig_devices; i++)
        if (is_uuid(id, length, inventory->mig_devices[i].uuid))
            return str_equal(inventory->gpus[inventory->mig_devices[i].gpu].uuid, uuid);
    return false;
}

static enum relation relate(const struct account *account, const char *id)
{
    const struct device *device = &account->on->device;
    const size_t length = uuid_length(id);
    bool is_part;

    if (is_uuid(id, length, device->uuid))
        return RELATION_SAME;
    if (device->kind == DEVICE_MIG)
        is_part = is_uuid(id, length, plan_gpu(account->offer->plan, account->on)->uuid);
    else
        is_part = str_starts_with(id, "MIG-") &&
                  is_part_of(&account->offer->inventory, id, length, device->uuid);
    return is_part ? RELATION_PART : RELATION_NONE;
}

/* The n of an id; SIZE_MAX: it stands for the whole device. */
static size_t parse_n(const char *id)
{
    const char *digits = strstr(id, "::");
    unsigned long n = digits ? strtoul(digits + 2, NULL, 10) : SIZE_MAX;

    return n;
}

static void add_slice(struct account *account, const struct slice *slice)
{
    account->permille += slice->share_permille;
    account->mem_bytes += slice->mem_bytes;
}

/* Slice n is held. True if just as it is offered: then it counts as what it is now. */
static bool note_id(struct account *account, const char *resource, const char *id)
{
    const size_t n = parse_n(id) == SIZE_MAX ? 0 : parse_n(id);
    struct slot *slot = n < account->n_slots ? &account->slots[n] : NULL;

    for (int name = 0; slot && name < 2; name++)
        if (slot->slices[name] && strcasecmp(slot->slices[name]->id, id) == 0 &&
            str_equal(slot->resources[name]->name, resource)) {
            slot->held_as[name] = resource;
            add_slice(account, slot->slices[name]);
            return true;
        }
    if (slot)
        slot->held_former = resource;
    return false;
}

/* Of an id whose grant does not say it: what it would be now, or the most that it can have been. */
static void add_unknown(struct account *account, const char *id)
{
    const size_t n = parse_n(id);
    const struct slot *slot = n < account->n_slots ? &account->slots[n] : NULL;

    if (slot && slot->slices[0])
        add_slice(account, slot->slices[0]);
    else
        account->permille += n == SIZE_MAX ? SHARE_WHOLE : (SHARE_WHOLE + n) / (n + 1);
}

static const struct grant_device *find_terms(const struct grant *grant, const char *uuid)
{
    for (size_t i = 0; i < grant->n_devices; i++)
        if (strcasecmp(grant->devices[i].uuid, uuid) == 0)
            return &grant->devices[i];
    return NULL;
}

static bool is_held(const struct ledger *ledger, const struct ledger_grant *of, const char *id)
{
    return ledger_holder(ledger, of->grant.resource, id) == of;
}

static void add_grant(struct account *account, const struct ledger *ledger,
                      const struct ledger_grant *entry)
{
    const struct grant *grant = &entry->grant;
    const struct grant_device *terms = find_terms(grant, account->on->device.uuid);
    const bool is_known = terms && terms->share_permille;
    size_t n_had = 0, n_otherwise = 0;

    for (size_t i = 0; i < grant->n_ids; i++) {
        const enum relation relation = relate(account, grant->ids[i]);

        n_had += relation == RELATION_SAME;
        if (relation == RELATION_NONE || !is_held(ledger, entry, grant->ids[i]))
            continue;
        if (relation == RELATION_PART) {
            account->by_others = grant->resource;
            continue;
        }
        if (note_id(account, grant->resource, grant->ids[i]))
            continue;
        n_otherwise++;
        account->otherwise = grant->resource;
        if (!is_known)
            add_unknown(account, grant->ids[i]);
    }
    if (is_known && n_otherwise) {
        account->permille += (terms->share_permille * n_otherwise + n_had - 1) / n_had;
        account->mem_bytes += terms->mem_bytes / n_had * n_otherwise;
    }
}

/* --- what is left of it --- */

static bool is_free(const struct slot *slot)
{
    return !slot->held_as[0] && !slot->held_as[1] && !slot->held_former;
}

static bool fits(const struct account *account, const struct slice *slice)
{
    const uint64_t mem_bytes = share_memory_mib(&account->on->device) * SHARE_MIB;
    /* What a driver reserves differs by a few MiB from one to the next. */
    const uint64_t most_bytes = mem_bytes + mem_bytes / 256;

    return account->permille + slice->share_permille <= SHARE_WHOLE &&
           (!mem_bytes || account->mem_bytes + slice->mem_bytes <= most_bytes);
}

/* Free slices beyond the whole device count as held. */
static void close_account(struct account *account)
{
    for (size_t n = 0; n < account->n_slots; n++) {
        struct slot *slot = &account->slots[n];
        const struct slice *slice = slot->slices[0];

        if (!slice || !is_free(slot))
            continue;
        if (fits(account, slice))
            add_slice(account, slice);
        else
            slot->held_former = account->otherwise;
    }
}

static void fill(struct account *account, const struct ledger *ledger)
{
    for (size_t i = 0; *account->on->device.uuid && i < ledger->n_grants; i++)
        if (ledger->grants[i]->n_held)
            add_grant(account, ledger, ledger->grants[i]);
    if (account->otherwise)
        close_account(account);
}

static const char *held_elsewhere(const struct account *account, const struct slot *slot, int name)
{
    if (account->by_others)
        return account->by_others;
    return slot->held_former ? slot->held_former : slot->held_as[!name];
}

static void collect(const struct account *account, const char **ret_as)
{
    for (size_t n = 0; n < account->n_slots; n++)
        for (int name = 0; name < 2; name++) {
            const struct slot *slot = &account->slots[n];

            if (slot->slices[name])
                ret_as[offer_slice_place(account->offer, slot->resources[name],
                                         slot->slices[name])] = held_elsewhere(account, slot, name);
        }
}

int formerholds_find(const struct offer *offer, const struct ledger *ledger, const char **ret_as)
{
    for (size_t device = 0; device < offer->plan->n_devices; device++) {
        cleanup(account_deinit) struct account account;
        int r = begin(&account, offer, device);

        if (r < 0)
            return r;
        fill(&account, ledger);
        collect(&account, ret_as);
    }
    return 0;
}

int formerholds_of_slice(const struct offer *offer, const struct ledger *ledger,
                         const struct slice *slice, const char **ret_as)
{
    cleanup(account_deinit) struct account account;
    int r = begin(&account, offer, slice->device);

    if (r < 0)
        return r;
    fill(&account, ledger);
    *ret_as = slice->n < account.n_slots
                  ? held_elsewhere(&account, &account.slots[slice->n], slice->is_second)
                  : NULL;
    return 0;
}
