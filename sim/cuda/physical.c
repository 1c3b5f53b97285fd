// SPDX-License-Identifier: Apache-2.0
#include "cuda/physical.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The file of all that is not shared by a descriptor. Ranges are never used twice. */
static int common_fd = -1;
static uint64_t common_end;

static int open_file(uint64_t size)
{
    cleanup_close int fd = memfd_create("gpuslice-sim", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return -1;
    return TAKE_FD(fd);
}

static bool place(struct physical *p, bool can_share)
{
    if (can_share) {
        p->fd = open_file(p->size);
        p->owns_fd = true;
        return p->fd >= 0;
    }
    if (common_fd < 0)
        common_fd = open_file(0);
    p->fd = common_fd;
    p->offset = common_end;
    if (common_fd < 0 || ftruncate(common_fd, (off_t)(common_end + p->size)) < 0)
        return false;
    common_end += p->size;
    return true;
}

CUresult physical_new(struct cuda_device *device, uint64_t bytes, bool can_share,
                      struct physical **ret_physical)
{
    cleanup_free struct physical *p = calloc(1, sizeof(*p));
    CUresult r;

    if (!p || bytes > cuda_total_bytes(device))
        return CUDA_ERROR_OUT_OF_MEMORY;
    *p = (struct physical){
        .n_users = 1, .fd = -1, .device = device, .size = cuda_round_up(bytes, CUDA_GRANULE)};
    r = cuda_charge(device, p->size);
    if (r != CUDA_SUCCESS)
        return r;
    if (!place(p, can_share)) {
        cuda_refund(device, p->size);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *ret_physical = TAKE_PTR(p);
    return CUDA_SUCCESS;
}

CUresult physical_open(struct cuda_device *device, int fd, uint64_t offset, uint64_t size,
                       struct physical **ret_physical)
{
    struct physical *p = calloc(1, sizeof(*p));

    if (!p)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *p = (struct physical){.n_users = 1,
                           .fd = fd,
                           .owns_fd = true,
                           .is_foreign = true,
                           .offset = offset,
                           .size = size,
                           .device = device};
    *ret_physical = p;
    return CUDA_SUCCESS;
}

int physical_open_again(int fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDWR | O_CLOEXEC);
}

struct physical *physical_get(struct physical *p)
{
    p->n_users++;
    return p;
}

void physical_put(struct physical *p)
{
    if (!p || --p->n_users > 0)
        return;
    if (!p->is_foreign)
        cuda_refund(p->device, p->size);
    if (p->owns_fd)
        close(p->fd);
    else
        (void)fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)p->offset,
                        (off_t)p->size);
    free(p);
}

CUdeviceptr physical_reserve(uint64_t size)
{
    const uint64_t with_slack = size + CUDA_GRANULE;
    char *base =
        mmap(NULL, with_slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CUdeviceptr begin, aligned;

    if (base == MAP_FAILED)
        return 0;
    begin = (uintptr_t)base;
    aligned = cuda_round_up(begin, CUDA_GRANULE);
    if (aligned > begin)
        munmap(base, aligned - begin);
    munmap(base + (aligned - begin) + size, CUDA_GRANULE - (aligned - begin));
    return aligned;
}

void physical_unreserve(CUdeviceptr address, uint64_t size)
{
    munmap((void *)(uintptr_t)address, size);
}

void physical_unmap(CUdeviceptr address, uint64_t size)
{
    (void)mmap((void *)(uintptr_t)address, size, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

/* A child has none of its parent's device memory. */
CUdeviceptr physical_map(const struct physical *p, uint64_t offset, uint64_t size,
                         CUdeviceptr address, int protection)
{
    CUdeviceptr at = address ? address : physical_reserve(size);
    void *memory =
        at ? mmap((void *)(uintptr_t)at, size, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                  p->fd, (off_t)(p->offset + offset))
           : MAP_FAILED;

    if (memory == MAP_FAILED && at && !address)
        physical_unreserve(at, size);
    if (memory == MAP_FAILED)
        return 0;
    (void)madvise(memory, size, MADV_DONTFORK);
    return at;
}
