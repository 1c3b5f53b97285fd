// SPDX-License-Identifier: Apache-2.0
#include "arbiter/kernellimits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "arbiter/dmem.h"
#include "arbiter/localgrant.h"
#include "base/clock.h"
#include "base/log.h"

struct kernellimits_gpu {
    char uuid[GPU_UUID_SIZE], pci_address[PCI_ADDRESS_SIZE];
};

void kernellimits_deinit(struct kernellimits *limits)
{
    free(limits->gpus);
    limits->gpus = NULL;
    limits->n_gpus = 0;
}

void kernellimits_set_gpus(struct kernellimits *limits, const struct audit *audit,
                           const struct inventory *machine)
{
    struct kernellimits_gpu *gpus = calloc(audit->n_devices + 1, sizeof(*gpus));
    size_t n = 0;

    if (!gpus)
        return;
    for (size_t i = 0; i < audit->n_devices; i++) {
        const struct device *device = &audit->devices[i].device;

        if (device->kind != DEVICE_WHOLE)
            continue;
        memcpy(gpus[n].uuid, device->uuid, sizeof(gpus[n].uuid));
        memcpy(gpus[n].pci_address, machine->gpus[device->gpu].pci_address,
               sizeof(gpus[n].pci_address));
        n++;
    }
    free(limits->gpus);
    limits->gpus = gpus;
    limits->n_gpus = n;
}

static const char *find_address(const struct kernellimits *limits, const char *uuid)
{
    for (size_t i = 0; i < limits->n_gpus; i++)
        if (strcasecmp(limits->gpus[i].uuid, uuid) == 0)
            return limits->gpus[i].pci_address;
    return NULL;
}

static size_t list_limits(const struct kernellimits *limits, const struct tenant *tenant,
                          enum limits_mode mode, struct dmem_limit of_gpus[LIMITS_DEVICES_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < tenant->account->n_devices; i++) {
        const uint64_t bytes = tenant->account->devices[i].limit_bytes;
        const char *address = find_address(limits, tenant->uuids[i]);

        if (address)
            of_gpus[n++] = (struct dmem_limit){
                address, mode == LIMITS_ENFORCED && bytes ? bytes : DMEM_UNLIMITED};
    }
    return n;
}

void kernellimits_apply(struct kernellimits *limits, const struct tenant *tenant,
                        enum limits_mode mode)
{
    struct dmem_limit of_gpus[LIMITS_DEVICES_MAX];
    const size_t n = list_limits(limits, tenant, mode, of_gpus);
    struct error err = ERROR_INIT;
    int r = 0;

    if (!n || localgrant_is_uid(tenant->pod_uid)) /* commands have no cgroup of a runtime's */
        return;
    /* One is enough, unless it has just ended. */
    for (const struct account_process *process = tenant->account->processes; process;
         process = process->next) {
        r = dmem_limit(limits->root, process->pid, of_gpus, n, &err);
        if (r != -ENOENT)
            break;
    }
    if (r == 0)
        lograte_end(&limits->trouble);
    else if (r == DMEM_ABSENT)
        error_set(&err, r,
                  "dmem.capacity in /sys/fs/cgroup has no region of this GPU: it takes "
                  "Linux 6.14 and NVIDIA's driver 615");
    if (r && lograte_begin(&limits->trouble, error_text(&err), clock_now_ms()))
        log_warning("memory is limited by the library alone", "reason", error_text(&err), "pod_uid",
                    tenant->pod_uid, "container", tenant->container);
}
