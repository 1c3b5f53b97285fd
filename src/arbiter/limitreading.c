// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitreading.h"

#include <errno.h>

void limitreading_begin(struct limitreading *reading, const struct tenants *tenants,
                        uint64_t now_ms)
{
    endings_clear(&reading->endings);
    reading->is_begun = true;
    for (struct tenant *tenant = tenants->first; tenant; tenant = tenant->next)
        account_begin_reading(tenant->account, now_ms);
}

void limitreading_note_ended(struct limitreading *reading, const struct tenant *tenant,
                             uint32_t pid)
{
    if (reading->is_begun)
        endings_add(&reading->endings, pid, tenant);
}

static bool has_ended(const struct limitreading *reading, const struct tenant *tenant, uint32_t pid)
{
    return !account_find(tenant->account, pid) && endings_have(&reading->endings, pid, tenant);
}

/* Who has connected is known by that; of others the cgroups decide. */
static struct tenant *find_of_process(const struct tenants *tenants,
                                      const struct audit_process *process)
{
    for (struct tenant *tenant = tenants->first; tenant; tenant = tenant->next) {
        const struct account_process *found = account_find(tenant->account, process->pid);

        if (found && found->is_registered)
            return tenant;
    }
    return *process->pod_uid ? tenants_guess(tenants, process->pod_uid, process->container) : NULL;
}

/* 0 or -ENOMEM: too many processes of one container are no trouble of ours. */
static int show_process(const struct limitreading *reading, const struct tenants *tenants,
                        const struct audit *audit, const struct audit_process *process)
{
    struct tenant *tenant = find_of_process(tenants, process);
    size_t device;

    if (!tenant || !tenant->account->is_reading || has_ended(reading, tenant, process->pid))
        return 0;
    device = tenant_find_device(tenant, audit->devices[process->device].device.uuid);
    if (device == tenant->account->n_devices) /* another device: the audit's affair */
        return 0;
    return account_show(tenant->account, process->pid, device, process->mem_bytes) == -ENOMEM
               ? -ENOMEM
               : 0;
}

static void end_of_tenant(const struct tenant *tenant, const struct audit *audit)
{
    bool is_read[LIMITS_DEVICES_MAX] = {false};

    for (size_t i = 0; i < tenant->account->n_devices; i++) {
        const struct audit_device *device = audit_find_uuid(audit, tenant->uuids[i]);

        is_read[i] = device && !device->is_unread;
    }
    account_end_reading(tenant->account, is_read);
}

int limitreading_end(struct limitreading *reading, const struct tenants *tenants,
                     const struct audit *audit)
{
    int r = 0;

    for (size_t i = 0; i < audit->n_processes; i++)
        if (show_process(reading, tenants, audit, &audit->processes[i]) < 0)
            r = -ENOMEM;
    for (const struct tenant *tenant = tenants->first; tenant; tenant = tenant->next)
        end_of_tenant(tenant, audit);
    reading->is_begun = false;
    return r;
}

void limitreading_deinit(struct limitreading *reading)
{
    endings_deinit(&reading->endings);
}
