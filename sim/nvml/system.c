// SPDX-License-Identifier: Apache-2.0

/* The machine as a whole, and lookups of handles. */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "nvml/library.h"

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    return r ? r : library_give_text(version, length, file->state->machine.driver);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);
    char text[48];

    if (r)
        return r;
    snprintf(text, sizeof(text), "%u.%s", file->state->machine.cuda / 1000,
             file->state->machine.driver);
    return library_give_text(version, length, text);
}

static nvmlReturn_t give_cuda(const char *call, int *version)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(call, &file);

    if (r)
        return r;
    if (!version)
        return NVML_ERROR_INVALID_ARGUMENT;
    *version = (int)file->state->machine.cuda;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *cudaDriverVersion)
{
    return give_cuda(__func__, cudaDriverVersion);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *cudaDriverVersion)
{
    return give_cuda(__func__, cudaDriverVersion);
}

/* NVIDIA names the branch after the release that it was cut for; of that nothing is known here. */
nvmlReturn_t nvmlSystemGetDriverBranch(nvmlSystemDriverBranchInfo_t *branchInfo,
                                       unsigned int length)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);
    char text[16];

    if (r)
        return r;
    if (!branchInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (branchInfo->version != NVML_STRUCT_VERSION_OF(nvmlSystemDriverBranchInfo_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    snprintf(text, sizeof(text), "r%.3s_00", file->state->machine.driver);
    return library_give_text(branchInfo->branch, length, text);
}

/* Confidential computing is a feature of Hopper and later, off here. */
nvmlReturn_t nvmlSystemGetConfComputeCapabilities(nvmlConfComputeSystemCaps_t *capabilities)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    if (r)
        return r;
    if (!capabilities)
        return NVML_ERROR_INVALID_ARGUMENT;
    *capabilities = (nvmlConfComputeSystemCaps_t){
        .gpusCaps = file->state->machine.gpus[0].model.architecture >= GPU_ARCHITECTURE_HOPPER};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetConfComputeKeyRotationThresholdInfo(
    nvmlConfComputeGetKeyRotationThresholdInfo_t *pKeyRotationThrInfo)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    if (r)
        return r;
    if (!pKeyRotationThrInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (pKeyRotationThrInfo->version !=
        NVML_STRUCT_VERSION_OF(nvmlConfComputeGetKeyRotationThresholdInfo_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    pKeyRotationThrInfo->attackerAdvantage = 60; /* the default */
    return NVML_SUCCESS;
}

static const char *simulated_name(const struct state *state, unsigned pid)
{
    for (unsigned i = 0; pid && i < STATE_MAX_PROCESSES; i++)
        if (atomic_load(&state->processes[i].pid) == pid && state->processes[i].name[0])
            return state->processes[i].name;
    return NULL;
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);
    cleanup_free char *command = NULL;
    const char *found;
    char path[64], room[MACHINE_NAME + 1] = "";
    size_t size;

    if (r)
        return r;
    if (!name || !length)
        return NVML_ERROR_INVALID_ARGUMENT;
    found = simulated_name(file->state, pid);
    if (found) {
        memcpy(room, found, MACHINE_NAME);
        found = room;
    } else {
        snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
        if (file_read(path, 1 << 17, &command, &size, NULL) < 0)
            return NVML_ERROR_NOT_FOUND;
        found = command;
    }
    snprintf(name, length, "%s", found); /* NVML truncates a name that is too long */
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetTopologyGpuSet(unsigned int cpuNumber, unsigned int *count,
                                         nvmlDevice_t *deviceArray)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);
    const struct machine *m;
    unsigned n = 0;

    if (r)
        return r;
    m = &file->state->machine;
    if (!count || (*count && !deviceArray) || cpuNumber >= MACHINE_MAX_CPUS)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned i = 0; i < m->n_gpus; i++) {
        int node = m->gpus[i].node;

        if (node >= 0 && !(m->nodes[node].cpus[cpuNumber / 64] >> (cpuNumber % 64) & 1))
            continue;
        if (n < *count)
            deviceArray[n] = library_handle(file->state, i);
        n++;
    }
    *count = n;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlUnitGetCount(unsigned int *unitCount)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    if (r)
        return r;
    if (!unitCount)
        return NVML_ERROR_INVALID_ARGUMENT;
    *unitCount = 0; /* S-class boxes of 2008 */
    return NVML_SUCCESS;
}

static nvmlReturn_t give_count(const char *call, unsigned *count)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(call, &file);

    if (r)
        return r;
    if (!count)
        return NVML_ERROR_INVALID_ARGUMENT;
    *count = file->state->machine.n_gpus;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount(unsigned int *deviceCount)
{
    return give_count(__func__, deviceCount);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *deviceCount)
{
    return give_count(__func__, deviceCount);
}

/* A handle lookup: what is searched, and the predicate for a GPU. */
struct search {
    bool (*is_it)(const struct search *search, unsigned index, const struct machine_gpu *gpu);
    const char *text;
    unsigned number;
    struct pci_address pci;
};

static bool has_index(const struct search *search, unsigned index, const struct machine_gpu *gpu)
{
    return index == search->number;
}

static bool has_uuid(const struct search *search, unsigned index, const struct machine_gpu *gpu)
{
    return strcasecmp(search->text, gpu->uuid) == 0;
}

static bool has_serial(const struct search *search, unsigned index, const struct machine_gpu *gpu)
{
    return str_equal(search->text, gpu->serial);
}

static bool has_pci(const struct search *search, unsigned index, const struct machine_gpu *gpu)
{
    return gpu->pci.domain == search->pci.domain && gpu->pci.bus == search->pci.bus &&
           gpu->pci.device == search->pci.device;
}

static nvmlReturn_t find(const char *call, const struct search *search, nvmlReturn_t when_absent,
                         nvmlDevice_t *ret_device)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(call, &file);
    const struct machine *m;

    if (r)
        return r;
    if (!ret_device || !search->is_it)
        return NVML_ERROR_INVALID_ARGUMENT;
    m = &file->state->machine;
    for (unsigned i = 0; i < m->n_gpus; i++) {
        struct view view;

        if (!search->is_it(search, i, &m->gpus[i]))
            continue;
        r = library_enter_device(call, library_handle(file->state, i), &view);
        if (r == NVML_SUCCESS)
            *ret_device = library_handle(file->state, i);
        return r;
    }
    if (search->is_it == has_uuid) {
        nvmlDevice_t mig = migdevice_by_uuid(file->state, search->text);
        struct view view;

        if (mig && (r = library_enter_any(call, mig, &view)) == NVML_SUCCESS)
            *ret_device = mig;
        if (mig)
            return r;
    }
    return when_absent;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
    const struct search search = {.is_it = has_index, .number = index};

    return find(__func__, &search, NVML_ERROR_INVALID_ARGUMENT, device);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    const struct search search = {.is_it = has_index, .number = index};

    return find(__func__, &search, NVML_ERROR_INVALID_ARGUMENT, device);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    const struct search search = {.is_it = uuid ? has_uuid : NULL, .text = uuid};

    return find(__func__, &search, NVML_ERROR_NOT_FOUND, device);
}

nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *device)
{
    const struct search search = {.is_it = serial ? has_serial : NULL, .text = serial};

    return find(__func__, &search, NVML_ERROR_NOT_FOUND, device);
}

nvmlReturn_t nvmlDeviceGetHandleByUUIDV(const nvmlUUID_t *uuid, nvmlDevice_t *device)
{
    char text[NVML_DEVICE_UUID_ASCII_LEN + 1] = "";
    struct search search = {.is_it = has_uuid, .text = text};

    if (uuid && device && uuid->version != NVML_STRUCT_VERSION_OF(nvmlUUID_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (!uuid || (uuid->type != NVML_UUID_TYPE_ASCII && uuid->type != NVML_UUID_TYPE_BINARY)) {
        search.is_it = NULL;
    } else if (uuid->type == NVML_UUID_TYPE_ASCII) {
        memcpy(text, uuid->value.str, NVML_DEVICE_UUID_ASCII_LEN);
    } else {
        size_t n = (size_t)snprintf(text, sizeof(text), "GPU-");

        for (unsigned i = 0; i < NVML_DEVICE_UUID_BINARY_LEN; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%02x%s", uuid->value.bytes[i],
                                  i == 3 || i == 5 || i == 7 || i == 9 ? "-" : "");
    }
    return find(__func__, &search, NVML_ERROR_NOT_FOUND, device);
}

static nvmlReturn_t find_pci(const char *call, const char *pci, nvmlDevice_t *device)
{
    struct search search = {.is_it = pci ? has_pci : NULL};

    if (pci && !word_pci(pci, &search.pci))
        search.is_it = NULL; /* no address at all */
    return find(call, &search, NVML_ERROR_NOT_FOUND, device);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *pciBusId, nvmlDevice_t *device)
{
    return find_pci(__func__, pciBusId, device);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *pciBusId, nvmlDevice_t *device)
{
    return find_pci(__func__, pciBusId, device);
}

nvmlReturn_t nvmlDeviceQueryDrainState(nvmlPciInfo_t *pciInfo, nvmlEnableState_t *currentState)
{
    struct search search = {.is_it = pciInfo && currentState ? has_pci : NULL};
    nvmlDevice_t device = NULL;
    nvmlReturn_t r;

    if (pciInfo)
        search.pci = (struct pci_address){pciInfo->domain, pciInfo->bus, pciInfo->device};
    r = find(__func__, &search, NVML_ERROR_NOT_FOUND, &device);
    if (r == NVML_SUCCESS)
        *currentState = NVML_FEATURE_DISABLED;
    return r;
}
