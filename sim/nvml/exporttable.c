// SPDX-License-Identifier: Apache-2.0

/*
 * What nvidia-smi uses beside NVML: a table of internal functions, by the number of their slot.
 * NVIDIA documents none of it. Source of the table's identifier, the slots, their arguments and the
 * entry of a list of processes: NVIDIA's own simulator (NVIDIA/k8s-test-infra,
 * pkg/gpu/mocknvml/bridge/internal.go, for 580); tried with nvidia-smi 535.261.03. Every other slot
 * is answered NOT_SUPPORTED, and nvidia-smi prints N/A.
 */

#include <string.h>

#include "nvml/library.h"

enum {
    SLOTS = 256,
    PROCESS_NAME = 4096,
};

#define NO_INSTANCE 0xffffffffu /* not on a MIG device */

typedef uintptr_t word; /* an argument; every slot has at most four that matter */

/* An entry of slots 213 to 215. */
struct process_entry {
    uint32_t pid;
    uint64_t memory_bytes;
    uint32_t gpu_instance, compute_instance;
    uint64_t protected_bytes;
    char name[PROCESS_NAME];
};

static nvmlReturn_t give_handle(word index, word to)
{
    return to ? nvmlDeviceGetHandleByIndex_v2((unsigned)index, (nvmlDevice_t *)to)
              : NVML_ERROR_INVALID_ARGUMENT;
}

typedef nvmlReturn_t list_fn(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *infos);

static nvmlReturn_t give_processes(list_fn *list, word device, word count, word to)
{
    nvmlProcessInfo_t infos[STATE_MAX_PROCESSES];
    struct process_entry *entries = (struct process_entry *)to;
    unsigned n = STATE_MAX_PROCESSES, *room = (unsigned *)count;
    nvmlReturn_t r;

    if (!room || !entries)
        return NVML_ERROR_INVALID_ARGUMENT;
    r = list((nvmlDevice_t)device, &n, infos);
    if (r)
        return r;
    if (n > *room)
        n = *room;
    for (unsigned i = 0; i < n; i++) {
        entries[i] = (struct process_entry){.pid = infos[i].pid,
                                            .memory_bytes = infos[i].usedGpuMemory,
                                            .gpu_instance = NO_INSTANCE,
                                            .compute_instance = NO_INSTANCE};
        (void)nvmlSystemGetProcessName(infos[i].pid, entries[i].name, PROCESS_NAME);
    }
    *room = n;
    return NVML_SUCCESS;
}

static nvmlReturn_t meet_slot(unsigned slot, word a, word b, word c)
{
    switch (slot) {
    case 23: /* before `topo -m`, and `dmon`: nvidia-smi ends at any other answer, and takes nothing
                from it */
    case 72:
        return NVML_SUCCESS;
    case 81:
        return give_handle(a, b);
    case 213:
        return give_processes(nvmlDeviceGetComputeRunningProcesses_v3, a, b, c);
    case 214:
        return give_processes(nvmlDeviceGetGraphicsRunningProcesses_v3, a, b, c);
    case 215:
        return give_processes(nvmlDeviceGetMPSComputeRunningProcesses_v3, a, b, c);
    case 230: /* the PCIe generation of the host, which here is that of the GPU */
        return nvmlDeviceGetMaxPcieLinkGeneration((nvmlDevice_t)a, (unsigned *)b);
    default:
        return NVML_ERROR_NOT_SUPPORTED;
    }
}

#define STUB(n)                                                  \
    static nvmlReturn_t stub_##n(word a, word b, word c, word d) \
    {                                                            \
        return meet_slot(0x##n, a, b, c);                        \
    }
/* clang-format off */
#define ROW(EACH, high)                                                              \
    EACH(high##0) EACH(high##1) EACH(high##2) EACH(high##3) EACH(high##4)            \
    EACH(high##5) EACH(high##6) EACH(high##7) EACH(high##8) EACH(high##9)            \
    EACH(high##a) EACH(high##b) EACH(high##c) EACH(high##d) EACH(high##e) EACH(high##f)
#define EVERY(EACH)                                                                  \
    ROW(EACH, 0) ROW(EACH, 1) ROW(EACH, 2) ROW(EACH, 3) ROW(EACH, 4) ROW(EACH, 5)    \
    ROW(EACH, 6) ROW(EACH, 7) ROW(EACH, 8) ROW(EACH, 9) ROW(EACH, a) ROW(EACH, b)    \
    ROW(EACH, c) ROW(EACH, d) ROW(EACH, e) ROW(EACH, f)
/* clang-format on */
EVERY(STUB)

typedef nvmlReturn_t slot_fn(word a, word b, word c, word d);

#define ADDRESS(n) stub_##n,
static slot_fn *const stubs[SLOTS] = {EVERY(ADDRESS)};

static struct {
    uintptr_t size_bytes; /* in place of slot 0 */
    slot_fn *slots[SLOTS - 1];
} table;

#pragma GCC visibility push(default)
nvmlReturn_t nvmlInternalGetExportTable(const void **ret_table, const void *id);
#pragma GCC visibility pop

nvmlReturn_t nvmlInternalGetExportTable(const void **ret_table, const void *id)
{
    static const unsigned char known[16] = {0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e,
                                            0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4};

    if (!ret_table || !id)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (memcmp(id, known, sizeof(known)) != 0)
        return NVML_ERROR_NOT_SUPPORTED;
    table.size_bytes = sizeof(table);
    memcpy(table.slots, stubs + 1, sizeof(table.slots));
    *ret_table = &table;
    return NVML_SUCCESS;
}
