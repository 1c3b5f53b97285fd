// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "gpu/nvml.h"

static const struct level {
    nvmlGpuTopologyLevel_t level;
    enum gpu_path path;
} levels[] = {
    {NVML_TOPOLOGY_INTERNAL, GPU_PATH_SAME_BOARD},
    {NVML_TOPOLOGY_SINGLE, GPU_PATH_SINGLE_SWITCH},
    {NVML_TOPOLOGY_MULTIPLE, GPU_PATH_SEVERAL_SWITCHES},
    {NVML_TOPOLOGY_HOSTBRIDGE, GPU_PATH_HOST_BRIDGE},
    {NVML_TOPOLOGY_NODE, GPU_PATH_SAME_CPU},
    {NVML_TOPOLOGY_SYSTEM, GPU_PATH_ACROSS_CPUS},
};

static uint8_t read_path(struct gpu_driver *driver, struct inventory *inventory, size_t a, size_t b)
{
    nvmlGpuTopologyLevel_t level = NVML_TOPOLOGY_SYSTEM;
    nvmlReturn_t status =
        NVML_ASK(driver, driver->gpus[a].uuid, nvmlDeviceGetTopologyCommonAncestor,
                 driver->gpus[a].device, driver->gpus[b].device, &level);
    enum fact_gap gap = status == NVML_SUCCESS ? FACT_ABSURD : nvml_gap(status);

    for (size_t i = 0; status == NVML_SUCCESS && i < ARRAY_SIZE(levels); i++)
        if (levels[i].level == level)
            return (uint8_t)levels[i].path;
    nvml_note_gap(&inventory->gpus[a].gaps[FACT_PATHS], gap);
    nvml_note_gap(&inventory->gpus[b].gaps[FACT_PATHS], gap);
    return GPU_PATH_UNKNOWN;
}

/* The GPU at the far end of a link, or n_gpus if it is not one of ours. */
static size_t find_peer(const struct inventory *inventory, const char *address)
{
    size_t i;

    for (i = 0; i < inventory->n_gpus; i++)
        if (*address && strcmp(inventory->gpus[i].pci_address, address) == 0)
            break;
    return i;
}

/* Drivers before R460 do not report the type of the remote device: there only its address
 * counts. */
static void read_nvlink(struct gpu_driver *driver, struct inventory *inventory, size_t a,
                        unsigned link)
{
    nvmlIntNvLinkDeviceType_t type = NVML_NVLINK_DEVICE_TYPE_UNKNOWN;
    const struct nvml_gpu *gpu = &driver->gpus[a];
    char address[PCI_ADDRESS_SIZE];
    uint8_t *gaps = inventory->gpus[a].gaps;
    nvmlPciInfo_t remote = {.busId = ""};
    nvmlReturn_t typed, status;
    size_t b;

    typed =
        NVML_ASK(driver, gpu->uuid, nvmlDeviceGetNvLinkRemoteDeviceType, gpu->device, link, &type);
    if (typed == NVML_SUCCESS && type == NVML_NVLINK_DEVICE_TYPE_SWITCH) {
        inventory->gpus[a].n_nvswitch_links++;
        return;
    }
    status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetNvLinkRemotePciInfo_v2, gpu->device, link,
                      &remote);
    nvml_note_gap(&gaps[FACT_LINK_ENDS], nvml_gap(status));
    if (status != NVML_SUCCESS)
        return;
    remote.busId[sizeof(remote.busId) - 1] = '\0';
    nvml_pci_address(remote.busId, address, sizeof(address));
    b = find_peer(inventory, address);
    if (b < inventory->n_gpus && b != a)
        inventory->links[a * inventory->n_gpus + b].n_nvlinks++;
    else if (!*address)
        nvml_note_gap(&gaps[FACT_LINK_ENDS], FACT_ABSURD);
    else if (typed != NVML_SUCCESS)
        nvml_note_gap(&gaps[FACT_NVSWITCHES], nvml_gap(typed));
    else if (type > NVML_NVLINK_DEVICE_TYPE_SWITCH)
        nvml_note_gap(&gaps[FACT_NVSWITCHES], FACT_ABSURD);
}

static void read_nvlinks(struct gpu_driver *driver, struct inventory *inventory, size_t a)
{
    uint8_t *gap = &inventory->gpus[a].gaps[FACT_NVLINKS];

    for (unsigned link = 0; link < NVML_NVLINK_MAX_LINKS; link++) {
        nvmlEnableState_t active = NVML_FEATURE_DISABLED;
        nvmlReturn_t status = NVML_ASK(driver, driver->gpus[a].uuid, nvmlDeviceGetNvLinkState,
                                       driver->gpus[a].device, link, &active);

        /* Link numbers end with the first of these; a link that is down returns "not active". */
        if (status == NVML_ERROR_INVALID_ARGUMENT || nvml_gap(status) == FACT_UNSUPPORTED)
            return;
        nvml_note_gap(gap, nvml_gap(status));
        if (status != NVML_SUCCESS)
            return;
        if (active == NVML_FEATURE_ENABLED)
            read_nvlink(driver, inventory, a, link);
        else if (active != NVML_FEATURE_DISABLED)
            nvml_note_gap(gap, FACT_ABSURD);
    }
}

int nvml_read_links(struct gpu_driver *driver, struct inventory *inventory)
{
    size_t n = inventory->n_gpus;

    if (n == 0)
        return 0;
    inventory->links = calloc(n * n, sizeof(*inventory->links));
    if (!inventory->links)
        return -ENOMEM;
    for (size_t i = 0; i < n * n; i++)
        inventory->links[i].path = i % (n + 1) ? GPU_PATH_UNKNOWN : GPU_PATH_SAME_BOARD;
    for (size_t a = 0; a < n; a++) {
        if (inventory->gpus[a].unusable[0])
            continue;
        for (size_t b = a + 1; b < n; b++) {
            if (inventory->gpus[b].unusable[0])
                continue;
            inventory->links[a * n + b].path = read_path(driver, inventory, a, b);
            inventory->links[b * n + a].path = inventory->links[a * n + b].path;
        }
        read_nvlinks(driver, inventory, a);
    }
    return 0;
}
