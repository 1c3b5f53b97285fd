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

static uint8_t read_path(struct gpu_driver *driver, size_t a, size_t b)
{
    nvmlGpuTopologyLevel_t level;

    if (NVML_ASK(driver, driver->gpus[a].uuid, nvmlDeviceGetTopologyCommonAncestor,
                 driver->gpus[a].device, driver->gpus[b].device, &level) != NVML_SUCCESS)
        return GPU_PATH_UNKNOWN;
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (levels[i].level == level)
            return (uint8_t)levels[i].path;
    return GPU_PATH_UNKNOWN;
}

/* The GPU at the far end of a link, or n_gpus if it is not one of ours. */
static size_t find_peer(const struct inventory *inventory, const nvmlPciInfo_t *remote)
{
    char address[PCI_ADDRESS_SIZE];
    size_t i;

    nvml_pci_address(remote->busId, address, sizeof(address));
    for (i = 0; i < inventory->n_gpus; i++)
        if (address[0] && strcmp(inventory->gpus[i].pci_address, address) == 0)
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
    nvmlPciInfo_t remote = {.busId = ""};
    size_t b;

    (void)NVML_ASK(driver, gpu->uuid, nvmlDeviceGetNvLinkRemoteDeviceType, gpu->device, link,
                   &type);
    if (type == NVML_NVLINK_DEVICE_TYPE_SWITCH) {
        inventory->gpus[a].n_nvswitch_links++;
        return;
    }
    if (NVML_ASK(driver, gpu->uuid, nvmlDeviceGetNvLinkRemotePciInfo_v2, gpu->device, link,
                 &remote) != NVML_SUCCESS)
        return;
    remote.busId[sizeof(remote.busId) - 1] = '\0';
    b = find_peer(inventory, &remote);
    if (b < inventory->n_gpus && b != a)
        inventory->links[a * inventory->n_gpus + b].n_nvlinks++;
}

static void read_nvlinks(struct gpu_driver *driver, struct inventory *inventory, size_t a)
{
    for (unsigned link = 0; link < NVML_NVLINK_MAX_LINKS; link++) {
        nvmlEnableState_t active = NVML_FEATURE_DISABLED;
        nvmlReturn_t status = NVML_ASK(driver, driver->gpus[a].uuid, nvmlDeviceGetNvLinkState,
                                       driver->gpus[a].device, link, &active);

        /* Link numbers end with the first error; a link that is down returns "not active". */
        if (status != NVML_SUCCESS)
            return;
        if (active == NVML_FEATURE_ENABLED)
            read_nvlink(driver, inventory, a, link);
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
            inventory->links[a * n + b].path = read_path(driver, a, b);
            inventory->links[b * n + a].path = inventory->links[a * n + b].path;
        }
        read_nvlinks(driver, inventory, a);
    }
    return 0;
}
