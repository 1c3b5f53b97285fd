// SPDX-License-Identifier: Apache-2.0
#include "arbiter/tenant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "arbiter/localgrant.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "limits/uuid.h"

enum { MIB_SHIFT = 20, PERMILLE = 1000, PPM_OF_PERMILLE = 1000, PPM = 1000000 };

/* --- limits of a container --- */

/* What the grants of one container add up to. */
struct limits_sum {
    char uuids[LIMITS_DEVICES_MAX][GPU_UUID_SIZE];
    uint64_t bytes[LIMITS_DEVICES_MAX];      /* 0 = one of its grants has no limit */
    uint32_t shares_ppm[LIMITS_DEVICES_MAX]; /* 0 = one of its grants does not tell */
    size_t n;
};

static uint32_t share_of(uint32_t permille)
{
    return permille < PERMILLE ? permille * PPM_OF_PERMILLE : PPM;
}

/* Grants of a device are slices of it, together no more than all of it. */
static uint32_t add_shares(uint32_t one_ppm, uint32_t other_ppm)
{
    const uint32_t sum = one_ppm + other_ppm;

    return !one_ppm || !other_ppm ? 0 : sum < PPM ? sum : PPM;
}

/* Of devices beyond those of a page there is no limit. */
static void add_device(struct limits_sum *sum, const struct grant_device *device)
{
    size_t i = 0;

    while (i < sum->n && strcasecmp(sum->uuids[i], device->uuid) != 0)
        i++;
    if (i == LIMITS_DEVICES_MAX)
        return;
    if (i == sum->n) {
        if (str_copy(sum->uuids[i], GPU_UUID_SIZE, device->uuid) < 0)
            return;
        sum->bytes[i] = device->mem_bytes;
        sum->shares_ppm[i] = share_of(device->share_permille);
        sum->n++;
    } else {
        sum->bytes[i] = sum->bytes[i] && device->mem_bytes ? sum->bytes[i] + device->mem_bytes : 0;
        sum->shares_ppm[i] = add_shares(sum->shares_ppm[i], share_of(device->share_permille));
    }
}

static bool is_same(const struct kubeletcheckpoint_entry *entry, const char *pod_uid,
                    const char *container)
{
    return *entry->grant && str_equal(entry->pod_uid, pod_uid) &&
           str_equal(entry->container, container);
}

static void add_up(const struct podrecords *records, const char *pod_uid, const char *container,
                   struct limits_sum *sum)
{
    *sum = (struct limits_sum){.n = 0};
    for (size_t i = 0; i < records->checkpoint.n_entries; i++) {
        const struct kubeletcheckpoint_entry *entry = &records->checkpoint.entries[i];
        const struct ledger_grant *found =
            is_same(entry, pod_uid, container) ? ledger_find(&records->ledger, entry->grant) : NULL;

        for (size_t j = 0; found && j < found->grant.n_devices; j++)
            add_device(sum, &found->grant.devices[j]);
    }
}

static bool has_limits(const struct tenant *tenant, const struct limits_sum *sum)
{
    bool has = tenant->account->n_devices == sum->n;

    for (size_t i = 0; has && i < sum->n; i++)
        has = tenant->account->devices[i].limit_bytes == sum->bytes[i] &&
              tenant->shares_ppm[i] == sum->shares_ppm[i] &&
              str_equal(tenant->uuids[i], sum->uuids[i]);
    return has;
}

/* --- devices --- */

struct tenant_device {
    struct tenant_device *next;
    char uuid[GPU_UUID_SIZE];
    uint64_t returned_bytes;
};

/* Made if it is new; NULL without memory. */
static struct tenant_device *find_device(struct tenants *tenants, const char *uuid)
{
    struct tenant_device *device = tenants->devices;

    while (device && strcasecmp(device->uuid, uuid) != 0)
        device = device->next;
    if (device || !(device = calloc(1, sizeof(*device))))
        return device;
    memcpy(device->uuid, uuid, sizeof(device->uuid));
    device->returned_bytes = 1; /* known */
    device->next = tenants->devices;
    return tenants->devices = device;
}

static void free_devices(struct tenants *tenants)
{
    while (tenants->devices) {
        struct tenant_device *device = tenants->devices;

        tenants->devices = device->next;
        free(device);
    }
}

/* --- life --- */

static void free_tenant(struct tenant *tenant)
{
    account_free(tenant->account);
    limitspage_deinit(&tenant->page);
    free(tenant);
}
DEFINE_CLEANUP(struct tenant *, free_tenant)

static void leave(const struct tenants *tenants, struct tenant *tenant)
{
    if (tenants->on_leave)
        tenants->on_leave(tenant, tenants->userdata);
}

void tenants_deinit(struct tenants *tenants)
{
    while (tenants->first) {
        struct tenant *tenant = tenants->first;

        tenants->first = tenant->next;
        leave(tenants, tenant);
        free_tenant(tenant);
    }
    free_devices(tenants);
}

static int set_limits(struct tenants *tenants, struct tenant *tenant, const struct limits_sum *sum)
{
    struct account *account = account_new(sum->n);

    if (!account)
        return -ENOMEM;
    for (size_t i = 0; i < sum->n; i++) {
        struct tenant_device *device = find_device(tenants, sum->uuids[i]);

        account->devices[i].limit_bytes = sum->bytes[i];
        account->devices[i].returned_bytes = device ? &device->returned_bytes : NULL;
    }
    account_free(tenant->account);
    limitspage_deinit(&tenant->page);
    tenant->account = account;
    memcpy(tenant->uuids, sum->uuids, sizeof(tenant->uuids));
    memcpy(tenant->shares_ppm, sum->shares_ppm, sizeof(tenant->shares_ppm));
    return 0;
}

static int change_limits(struct tenants *tenants, struct tenant *tenant,
                         const struct limits_sum *sum)
{
    leave(tenants, tenant);
    return set_limits(tenants, tenant, sum);
}

static struct tenant *find(const struct tenants *tenants, const char *pod_uid,
                           const char *container)
{
    struct tenant *tenant = tenants->first;

    while (tenant &&
           !(str_equal(tenant->pod_uid, pod_uid) && str_equal(tenant->container, container)))
        tenant = tenant->next;
    return tenant;
}

static int make(struct tenants *tenants, const struct kubeletcheckpoint_entry *entry,
                const struct limits_sum *sum, struct tenant **ret_tenant)
{
    cleanup(free_tenant_p) struct tenant *tenant = calloc(1, sizeof(*tenant));

    if (!tenant)
        return -ENOMEM;
    tenant->page = (struct limitspage)LIMITSPAGE_INIT;
    if (set_limits(tenants, tenant, sum) < 0)
        return -ENOMEM;
    memcpy(tenant->pod_uid, entry->pod_uid, sizeof(tenant->pod_uid));
    memcpy(tenant->container, entry->container, sizeof(tenant->container));
    tenant->next = tenants->first;
    *ret_tenant = tenants->first = TAKE_PTR(tenant);
    return 0;
}

/* The tenant of an entry, with the limits that the records say. */
static int take_entry(struct tenants *tenants, const struct podrecords *records,
                      const struct kubeletcheckpoint_entry *entry, struct tenant **ret_tenant)
{
    struct tenant *tenant = find(tenants, entry->pod_uid, entry->container);
    struct limits_sum sum;
    int r = 0;

    add_up(records, entry->pod_uid, entry->container, &sum);
    if (!tenant)
        r = make(tenants, entry, &sum, &tenant);
    else if (!tenant->account->n_processes && !tenant->claims && !has_limits(tenant, &sum))
        r = change_limits(tenants, tenant, &sum);
    if (r < 0)
        return r;
    tenant->is_listed = true;
    *ret_tenant = tenant;
    return 0;
}

static void drop_unlisted(struct tenants *tenants)
{
    struct tenant **link = &tenants->first;

    while (*link) {
        struct tenant *tenant = *link;

        if (tenant->is_listed || tenant->account->n_processes || tenant->n_sessions) {
            link = &tenant->next;
        } else {
            *link = tenant->next;
            leave(tenants, tenant);
            free_tenant(tenant);
        }
    }
}

int tenants_update(struct tenants *tenants, const struct podrecords *records)
{
    struct tenant *tenant;
    int r = 0;

    for (tenant = tenants->first; tenant; tenant = tenant->next)
        tenant->is_listed = false;
    for (size_t i = 0; i < records->checkpoint.n_entries && r == 0; i++) {
        const struct kubeletcheckpoint_entry *entry = &records->checkpoint.entries[i];

        if (*entry->grant && ledger_find(&records->ledger, entry->grant))
            r = take_entry(tenants, records, entry, &tenant);
    }
    if (r == 0)
        drop_unlisted(tenants);
    return r;
}

/* --- questions --- */

int tenants_find(struct tenants *tenants, const struct podrecords *records, const char *grant_id,
                 struct tenant **ret_tenant)
{
    for (size_t i = 0; i < records->checkpoint.n_entries; i++) {
        const struct kubeletcheckpoint_entry *entry = &records->checkpoint.entries[i];

        if (str_equal(entry->grant, grant_id) && ledger_find(&records->ledger, grant_id))
            return take_entry(tenants, records, entry, ret_tenant);
    }
    return TENANT_UNKNOWN;
}

struct tenant *tenants_guess(const struct tenants *tenants, const char *pod_uid,
                             const char *container)
{
    struct tenant *only = NULL;
    size_t n_of_pod = 0;

    if (*container)
        return find(tenants, pod_uid, container);
    for (struct tenant *tenant = tenants->first; tenant; tenant = tenant->next)
        if (str_equal(tenant->pod_uid, pod_uid)) {
            only = tenant;
            n_of_pod++;
        }
    return n_of_pod == 1 ? only : NULL;
}

static void name_pod(const struct tenants *tenants, const struct audit_owner *owner)
{
    for (struct tenant *tenant = tenants->first; tenant; tenant = tenant->next) {
        if (!str_equal(tenant->pod_uid, owner->pod_uid))
            continue;
        memcpy(tenant->namespace_, owner->namespace_, sizeof(tenant->namespace_));
        memcpy(tenant->pod, owner->pod, sizeof(tenant->pod));
    }
}

void tenants_name(struct tenants *tenants, const struct audit *audit)
{
    for (size_t i = 0; i < audit->n_uses; i++)
        if (*audit->uses[i].owner.pod)
            name_pod(tenants, &audit->uses[i].owner);
}

size_t tenant_find_device(const struct tenant *tenant, const char *uuid)
{
    size_t i = 0;

    while (i < tenant->account->n_devices && strcasecmp(tenant->uuids[i], uuid) != 0)
        i++;
    return i;
}

/* The pod of a command is named by the number of its user. */
bool tenant_has_same_owner(const struct tenant *tenant, const struct tenant *other)
{
    if (str_equal(tenant->pod_uid, other->pod_uid))
        return true;
    if (!*tenant->namespace_ || !str_equal(tenant->namespace_, other->namespace_))
        return false;
    return !str_equal(tenant->namespace_, LOCALGRANT_NAMESPACE) ||
           str_equal(tenant->pod, other->pod);
}

/* --- its claims --- */

int tenant_add_claims(struct tenant *tenant, struct claimspage *claims, struct error *err)
{
    const int r = claimspage_make(claims, tenant->account->n_devices, err);

    if (r < 0)
        return r;
    claims->next = tenant->claims;
    tenant->claims = claims;
    return 0;
}

void tenant_drop_claims(struct tenant *tenant, struct claimspage *claims)
{
    struct claimspage **link = &tenant->claims;

    while (*link != claims)
        link = &(*link)->next;
    *link = claims->next;
    claimspage_deinit(claims);
}

/* --- its page --- */

int tenant_open_page(struct tenant *tenant, enum limits_mode mode, struct error *err)
{
    int r;

    if (tenant->page.page)
        return 0;
    r = limitspage_make(&tenant->page, err);
    if (r < 0)
        return r;
    tenant->page.page->n_devices = (uint32_t)tenant->account->n_devices;
    for (size_t i = 0; i < tenant->account->n_devices; i++) {
        /* All zero where it has no bytes: no device of CUDA is it. */
        (void)limits_parse_uuid(tenant->uuids[i], tenant->page.page->devices[i].uuid);
        tenant->page.page->devices[i].limit_bytes = tenant->account->devices[i].limit_bytes;
    }
    tenant_publish(tenant, mode);
    return 0;
}

/* Of what it may have, a container that is starved is shown nothing free: programs see it, and its
 * processes take no part of it while the arbiter is away. */
static uint64_t shown_charge(const struct account_device *device, bool is_starved)
{
    return is_starved && device->charged_bytes < device->limit_bytes ? device->limit_bytes
                                                                     : device->charged_bytes;
}

void tenant_publish(struct tenant *tenant, enum limits_mode mode)
{
    const struct account *account = tenant->account;
    const bool is_starved = account_is_starved(account, mode);
    struct limits_page *page = tenant->page.page;

    if (!page)
        return;
    for (size_t i = 0; i < account->n_devices; i++) {
        const struct account_device *from = &account->devices[i];
        struct limits_device *to = &page->devices[i];

        limits_store(to->charged_bytes, shown_charge(from, is_starved));
        limits_store(to->overhead_bytes, from->overhead_bytes);
        limits_store(to->n_denied, from->n_denied);
        limits_store(to->n_processes, (uint32_t)account->n_registered);
        limits_store(to->context_bytes_mib, (uint32_t)(from->context_bytes >> MIB_SHIFT));
        if (from->returned_bytes)
            limits_store(to->returned_bytes, *from->returned_bytes);
    }
    limits_store(page->n_reading, account->n_reading);
    limits_store(page->mode, mode);
}
