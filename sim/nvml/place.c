// SPDX-License-Identifier: Apache-2.0

/* The location of a device: processors, bridges, NVLink, fabric. */

#include <stdio.h>
#include <string.h>

#include "nvml/abi.h"
#include "nvml/library.h"

static void copy_bits(unsigned long *to, unsigned n_words, const uint64_t *from, unsigned n_from)
{
    for (unsigned i = 0; i < n_words; i++)
        to[i] = i < n_from ? from[i] : 0;
}

static nvmlReturn_t give_cpus(const char *call, nvmlDevice_t device, unsigned n_words,
                              unsigned long *cpus)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(call, device, &v);

    if (r)
        return r;
    if (!cpus || !n_words)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (v.gpu->node < 0)
        return NVML_ERROR_NOT_SUPPORTED;
    copy_bits(cpus, n_words, v.state->machine.nodes[v.gpu->node].cpus, MACHINE_MAX_CPUS / 64);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int cpuSetSize,
                                      unsigned long *cpuSet)
{
    return give_cpus(__func__, device, cpuSetSize, cpuSet);
}

nvmlReturn_t nvmlDeviceGetCpuAffinityWithinScope(nvmlDevice_t device, unsigned int cpuSetSize,
                                                 unsigned long *cpuSet, nvmlAffinityScope_t scope)
{
    if (scope > NVML_AFFINITY_SCOPE_SOCKET)
        return NVML_ERROR_INVALID_ARGUMENT;
    return give_cpus(__func__, device, cpuSetSize, cpuSet);
}

nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned int nodeSetSize,
                                         unsigned long *nodeSet, nvmlAffinityScope_t scope)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    uint64_t bits;

    if (r)
        return r;
    if (!nodeSet || !nodeSetSize || scope > NVML_AFFINITY_SCOPE_SOCKET)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (v.gpu->node < 0)
        return NVML_ERROR_NOT_SUPPORTED;
    bits = 1ull << v.gpu->node;
    copy_bits(nodeSet, nodeSetSize, &bits, 1);
    return NVML_SUCCESS;
}

/* Not the node near the GPU, but the node that the GPU itself is, on Grace Hopper and the like. */
nvmlReturn_t nvmlDeviceGetNumaNodeId(nvmlDevice_t device, unsigned int *node)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    return node ? NVML_ERROR_NOT_SUPPORTED : NVML_ERROR_INVALID_ARGUMENT;
}

static nvmlGpuTopologyLevel_t ancestor(const struct machine_gpu *a, const struct machine_gpu *b)
{
    if (a->node != b->node)
        return NVML_TOPOLOGY_SYSTEM;
    if (a->bridge >= 0 && a->bridge == b->bridge)
        return NVML_TOPOLOGY_SINGLE;
    if (a->bridge >= 0 && b->bridge >= 0)
        return NVML_TOPOLOGY_NODE;
    return NVML_TOPOLOGY_HOSTBRIDGE;
}

static nvmlReturn_t enter_pair(const char *call, nvmlDevice_t device1, nvmlDevice_t device2,
                               struct view *a, struct view *b)
{
    nvmlReturn_t r = library_enter_device(call, device1, a);

    return r ? r : library_enter_device(call, device2, b);
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t device1, nvmlDevice_t device2,
                                                 nvmlGpuTopologyLevel_t *pathInfo)
{
    struct view a, b;
    nvmlReturn_t r = enter_pair(__func__, device1, device2, &a, &b);

    if (r)
        return r;
    if (!pathInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (a.index == b.index)
        return NVML_ERROR_NOT_SUPPORTED;
    *pathInfo = ancestor(a.gpu, b.gpu);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTopologyNearestGpus(nvmlDevice_t device, nvmlGpuTopologyLevel_t level,
                                              unsigned int *count, nvmlDevice_t *deviceArray)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned n = 0;

    if (r)
        return r;
    /* Boards with several GPUs, which alone have neighbours on the same board, are gone. */
    if (!count || (*count && !deviceArray) || level <= NVML_TOPOLOGY_INTERNAL ||
        level > NVML_TOPOLOGY_SYSTEM || level % 10)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned i = 0; i < v.state->machine.n_gpus; i++) {
        if (i == v.index || ancestor(v.gpu, &v.state->machine.gpus[i]) != level)
            continue;
        if (n < *count)
            deviceArray[n] = library_handle(v.state, i);
        n++;
    }
    *count = n;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t device1, nvmlDevice_t device2, int *onSameBoard)
{
    struct view a, b;
    nvmlReturn_t r = enter_pair(__func__, device1, device2, &a, &b);

    if (r)
        return r;
    if (!onSameBoard)
        return NVML_ERROR_INVALID_ARGUMENT;
    *onSameBoard = a.index == b.index;
    return NVML_SUCCESS;
}

static bool is_linked(const struct view *a, const struct view *b)
{
    for (unsigned i = 0; i < a->model->nvlink_count; i++) {
        const struct link *link = &a->gpu->links[i];

        if (link->end == LINK_GPU && (link->peer == b->index || a->index == b->index))
            return true; /* a GPU that has links counts as linked to itself */
        if (link->end == LINK_SWITCH && b->gpu->links[0].end == LINK_SWITCH)
            return true;
    }
    return false;
}

nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t device1, nvmlDevice_t device2,
                                    nvmlGpuP2PCapsIndex_t p2pIndex, nvmlGpuP2PStatus_t *p2pStatus)
{
    struct view a, b;
    nvmlReturn_t r = enter_pair(__func__, device1, device2, &a, &b);

    if (r)
        return r;
    if (!p2pStatus || p2pIndex >= NVML_P2P_CAPS_INDEX_UNKNOWN)
        return NVML_ERROR_INVALID_ARGUMENT;
    *p2pStatus = is_linked(&a, &b) ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
    return NVML_SUCCESS;
}

/* A link of a device: absent, present, or in use. */
static nvmlReturn_t enter_link(const char *call, nvmlDevice_t device, unsigned link, const void *to,
                               struct view *v, const struct link **ret_link)
{
    nvmlReturn_t r = library_enter_device(call, device, v);

    if (r)
        return r;
    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    /* Without connected links a real H200 answers so for every number; and nvidia-smi asks every
     * GPU about as many as its release knows, and would end at any other answer. */
    if (v->gpu->links[0].end == LINK_NONE ||
        (link >= v->model->nvlink_count && link < NVML_NVLINK_MAX_LINKS))
        return NVML_ERROR_NOT_SUPPORTED;
    if (link >= NVML_NVLINK_MAX_LINKS)
        return NVML_ERROR_INVALID_ARGUMENT;
    *ret_link = &v->gpu->links[link];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link,
                                      nvmlEnableState_t *isActive)
{
    struct view v;
    const struct link *l;
    nvmlReturn_t r = enter_link(__func__, device, link, isActive, &v, &l);

    if (r == NVML_SUCCESS)
        *isActive = l->end == LINK_NONE ? NVML_FEATURE_DISABLED : NVML_FEATURE_ENABLED;
    return r;
}

nvmlReturn_t nvmlDeviceGetNvLinkVersion(nvmlDevice_t device, unsigned int link,
                                        unsigned int *version)
{
    struct view v;
    const struct link *l;
    nvmlReturn_t r = enter_link(__func__, device, link, version, &v, &l);

    if (r == NVML_SUCCESS)
        *version = abi_nvlink_version(v.model);
    return r;
}

nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t device, unsigned int link,
                                           nvmlNvLinkCapability_t capability,
                                           unsigned int *capResult)
{
    struct view v;
    const struct link *l;
    nvmlReturn_t r = enter_link(__func__, device, link, capResult, &v, &l);

    if (r == NVML_ERROR_NOT_SUPPORTED && link >= NVML_NVLINK_MAX_LINKS)
        return NVML_ERROR_INVALID_ARGUMENT; /* alone among these functions */
    if (r)
        return r;
    if (capability > NVML_NVLINK_CAP_VALID)
        return NVML_ERROR_INVALID_ARGUMENT;
    /* System memory is attached by NVLink on POWER only, and servers have no SLI bridge. */
    *capResult = capability == NVML_NVLINK_CAP_P2P_SUPPORTED ||
                 capability == NVML_NVLINK_CAP_P2P_ATOMICS || capability == NVML_NVLINK_CAP_VALID;
    return NVML_SUCCESS;
}

static nvmlReturn_t give_remote_pci(const char *call, nvmlDevice_t device, unsigned link,
                                    nvmlPciInfo_t *pci)
{
    struct view v;
    const struct link *l;
    nvmlReturn_t r = enter_link(call, device, link, pci, &v, &l);
    const struct machine *m;
    const struct pci_address *at;

    if (r)
        return r;
    m = &v.state->machine;
    if (l->end == LINK_NONE)
        return NVML_ERROR_NOT_SUPPORTED;
    at = l->end == LINK_GPU ? &m->gpus[l->peer].pci : &m->switches[l->peer];
    memset(pci, 0, sizeof(*pci));
    snprintf(pci->busIdLegacy, sizeof(pci->busIdLegacy), "%04X:%02X:%02X.0", at->domain & 0xffff,
             at->bus & 0xff, at->device & 0xff);
    snprintf(pci->busId, sizeof(pci->busId), "%08X:%02X:%02X.0", at->domain, at->bus, at->device);
    pci->domain = at->domain;
    pci->bus = at->bus;
    pci->device = at->device;
    pci->pciDeviceId = l->end == LINK_GPU ? m->gpus[l->peer].model.pci_device : 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo(nvmlDevice_t device, unsigned int link,
                                              nvmlPciInfo_t *pci)
{
    return give_remote_pci(__func__, device, link, pci);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link,
                                                 nvmlPciInfo_t *pci)
{
    return give_remote_pci(__func__, device, link, pci);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned int link,
                                                 nvmlIntNvLinkDeviceType_t *pNvLinkDeviceType)
{
    static const nvmlIntNvLinkDeviceType_t types[] = {
        [LINK_NONE] = NVML_NVLINK_DEVICE_TYPE_UNKNOWN,
        [LINK_GPU] = NVML_NVLINK_DEVICE_TYPE_GPU,
        [LINK_SWITCH] = NVML_NVLINK_DEVICE_TYPE_SWITCH,
    };
    struct view v;
    const struct link *l;
    nvmlReturn_t r = enter_link(__func__, device, link, pNvLinkDeviceType, &v, &l);

    if (r)
        return r;
    if (l->end == LINK_NONE)
        return NVML_ERROR_NOT_SUPPORTED;
    *pNvLinkDeviceType = types[l->end];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned int link,
                                             nvmlNvLinkErrorCounter_t counter,
                                             unsigned long long *counterValue)
{
    struct view v;
    const struct link *l;
    nvmlReturn_t r = enter_link(__func__, device, link, counterValue, &v, &l);

    if (r)
        return r;
    if (counter > NVML_NVLINK_ERROR_DL_ECC_DATA)
        return NVML_ERROR_INVALID_ARGUMENT;
    *counterValue = 0;
    return NVML_SUCCESS;
}

/* One host's NVSwitches form a separate fabric: completed, healthy, and without a cluster UUID. */
nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *gpuFabricInfo)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!gpuFabricInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    *gpuFabricInfo = (nvmlGpuFabricInfo_t){
        .state =
            v.model->fabric ? NVML_GPU_FABRIC_STATE_COMPLETED : NVML_GPU_FABRIC_STATE_NOT_SUPPORTED,
    };
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfo_v2_t *gpuFabricInfo)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned version;

    if (r)
        return r;
    if (!gpuFabricInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    version = gpuFabricInfo->version;
    if (version != NVML_STRUCT_VERSION_OF(nvmlGpuFabricInfo_v2_t, 2) &&
        version != NVML_STRUCT_VERSION_OF(nvmlGpuFabricInfo_v3_t, 3))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    *gpuFabricInfo = (nvmlGpuFabricInfo_v2_t){
        .version = version,
        .state =
            v.model->fabric ? NVML_GPU_FABRIC_STATE_COMPLETED : NVML_GPU_FABRIC_STATE_NOT_SUPPORTED,
    };
    if (version == NVML_STRUCT_VERSION_OF(nvmlGpuFabricInfo_v3_t, 3))
        ((nvmlGpuFabricInfo_v3_t *)(void *)gpuFabricInfo)->healthSummary = 0;
    return NVML_SUCCESS;
}
