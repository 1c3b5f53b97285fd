// SPDX-License-Identifier: Apache-2.0
#include "cuda/sharedevent.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MAGIC 0x45435049u

struct ticket {
    uint32_t magic;
    int32_t pid, fd;
};

static struct sharedevent *map(int fd)
{
    void *memory =
        mmap(NULL, sizeof(struct sharedevent), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

struct sharedevent *sharedevent_new(CUipcEventHandle *ret_handle)
{
    cleanup_close int fd = memfd_create("gpuslice-sim-event", MFD_CLOEXEC);
    struct ticket ticket = {.magic = MAGIC, .pid = getpid(), .fd = fd};
    struct sharedevent *event;

    if (fd < 0 || ftruncate(fd, sizeof(*event)) < 0 || !(event = map(fd)))
        return NULL;
    memset(ret_handle, 0, sizeof(*ret_handle));
    memcpy(ret_handle, &ticket, sizeof(ticket));
    (void)TAKE_FD(fd);
    return event;
}

struct sharedevent *sharedevent_open(const CUipcEventHandle *handle)
{
    cleanup_close int fd = -1;
    struct ticket ticket;
    char path[64];

    memcpy(&ticket, handle, sizeof(ticket));
    if (ticket.magic != MAGIC)
        return NULL;
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", ticket.pid, ticket.fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    return fd < 0 ? NULL : map(fd);
}

void sharedevent_free(struct sharedevent *event)
{
    munmap(event, sizeof(*event));
}

uint64_t sharedevent_record(struct sharedevent *event)
{
    return __atomic_add_fetch(&event->n_recorded, 1, __ATOMIC_ACQ_REL);
}

/* Records of several streams pass in any order. */
void sharedevent_pass(struct sharedevent *event, uint64_t number)
{
    uint64_t seen = __atomic_load_n(&event->n_passed, __ATOMIC_ACQUIRE);

    while (seen < number && !__atomic_compare_exchange_n(&event->n_passed, &seen, number, false,
                                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
}

uint64_t sharedevent_last(const struct sharedevent *event)
{
    return __atomic_load_n(&event->n_recorded, __ATOMIC_ACQUIRE);
}

bool sharedevent_is_past(const struct sharedevent *event, uint64_t number)
{
    return __atomic_load_n(&event->n_passed, __ATOMIC_ACQUIRE) >= number;
}
