// SPDX-License-Identifier: Apache-2.0

/*
 * Memory of another process, by a handle. It is charged to the one that allocated it, and gone with
 * it; what is mapped elsewhere keeps its contents. Both have to be in one PID namespace.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cuda/address.h"
#include "cuda/arena.h"
#include "cuda/context.h"
#include "cuda/memory.h"
#include "cuda/physical.h"

#define MAGIC 0x31435049u

struct ticket {
    uint32_t magic;
    int32_t pid, fd;
    uint32_t gpu;
    uint64_t offset, size; /* of the mapping */
    uint64_t begin, bytes; /* of the allocation in it */
};

static_assert(sizeof(struct ticket) <= sizeof(CUipcMemHandle), "it goes into the handle");

CUresult sim_cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address)
{
    const struct range *range = address_find(address);
    const struct physical *physical;
    struct ticket ticket = {.magic = MAGIC, .pid = getpid()};

    if (!handle || !range || range->kind != RANGE_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    physical =
        range->arena ? arena_physical(range->arena, range->base, &ticket.begin) : range->physical;
    ticket.fd = physical->fd;
    ticket.gpu = range->device->index;
    ticket.offset = physical->offset;
    ticket.size = physical->size;
    ticket.bytes = range->size;
    memset(handle, 0, sizeof(*handle));
    memcpy(handle, &ticket, sizeof(ticket));
    return CUDA_SUCCESS;
}

static void release(struct range *range)
{
    physical_unreserve(range->base - range->offset, range->physical->size);
    physical_put(range->physical);
}

static struct cuda_device *device_of(unsigned gpu)
{
    struct cuda_device *device;

    for (int i = 0; (device = cuda_device(i)); i++)
        if (device->index == gpu)
            return device;
    return NULL;
}

static CUresult open_ticket(const struct ticket *ticket, struct physical **ret_physical)
{
    struct cuda_device *device = device_of(ticket->gpu);
    char path[64];
    cleanup_close int fd = -1;
    CUresult r;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", ticket->pid, ticket->fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (!device || fd < 0)
        return CUDA_ERROR_INVALID_VALUE;
    r = physical_open(device, fd, ticket->offset, ticket->size, ret_physical);
    if (r == CUDA_SUCCESS)
        (void)TAKE_FD(fd);
    return r;
}

CUresult sim_cuIpcOpenMemHandle_v2(CUdeviceptr *to, CUipcMemHandle handle, unsigned flags)
{
    struct range range = {.kind = RANGE_IMPORT, .release = release};
    struct ticket ticket;
    CUresult r = context_current(&range.context);

    memcpy(&ticket, &handle, sizeof(ticket));
    if (r != CUDA_SUCCESS)
        return r;
    if (!to || flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS || ticket.magic != MAGIC)
        return CUDA_ERROR_INVALID_VALUE;
    if (ticket.pid == getpid())
        return CUDA_ERROR_INVALID_CONTEXT;
    r = open_ticket(&ticket, &range.physical);
    if (r != CUDA_SUCCESS)
        return r;
    range.device = range.physical->device;
    range.size = ticket.bytes;
    range.offset = ticket.begin;
    range.base = physical_map(range.physical, 0, ticket.size, 0, PROT_READ | PROT_WRITE);
    if (range.base)
        range.base += ticket.begin;
    if (!range.base || !address_add(&range)) {
        physical_put(range.physical);
        return CUDA_ERROR_MAP_FAILED;
    }
    *to = range.base;
    return CUDA_SUCCESS;
}

CUresult sim_cuIpcCloseMemHandle(CUdeviceptr address)
{
    struct range *range = address_find_begin(address);

    if (!range || range->kind != RANGE_IMPORT)
        return CUDA_ERROR_INVALID_VALUE;
    return memory_free(range);
}
