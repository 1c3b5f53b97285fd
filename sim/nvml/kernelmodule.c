// SPDX-License-Identifier: Apache-2.0

/*
 * The kernel module of the machine: requests to its resource manager, as its users send them by
 * ioctl (gpu/rm-abi.h). What NVML does not list is here too: a process of kind `client` with memory
 * is one that took it without a context, one of kind `raw` did so without a subdevice.
 *
 * A descriptor has one client, as its only user has it.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "nvml/library.h"
#include "nvml/migstate.h"

enum { CLIENT = 0x41d00001, NO_DEVICE = -1, CLIENTS_MAX = 64 };

/* By the number of its descriptor. */
static struct client {
    struct state_file *file;
    int gpu;                    /* of its device */
    uint32_t device, subdevice; /* handles */
} clients[CLIENTS_MAX];

static int open_module(const char *path, int flags)
{
    struct client fresh = {.gpu = NO_DEVICE};
    int fd;

    if (!str_equal(path, RM_PATH) || library_enter(__func__, &fresh.file) != NVML_SUCCESS) {
        errno = ENOENT;
        return -1;
    }
    fd = open("/dev/null", flags);
    if (fd >= CLIENTS_MAX) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    if (fd >= 0)
        clients[fd] = fresh;
    return fd;
}

/* Handles and the order of objects are checked as there. */
static uint32_t alloc(struct client *client, struct rm_alloc *call)
{
    const struct rm_device *device = (const void *)(uintptr_t)call->parameters;

    switch (call->object_class) {
    case RM_CLASS_CLIENT:
        call->object = CLIENT;
        return RM_OK;
    case RM_CLASS_DEVICE:
        if (call->root != CLIENT || call->size != sizeof(*device))
            return RM_BAD_PARAMETERS;
        if (device->device >= client->file->state->machine.n_gpus)
            return RM_NOT_FOUND;
        client->gpu = (int)device->device;
        client->device = call->object;
        return RM_OK;
    case RM_CLASS_SUBDEVICE:
        if (client->gpu == NO_DEVICE || call->parent != client->device ||
            call->size != sizeof(struct rm_subdevice))
            return RM_BAD_PARAMETERS;
        client->subdevice = call->object;
        return RM_OK;
    default:
        return RM_NOT_SUPPORTED;
    }
}

/* An id is no index, there as here. */
static uint32_t id_of(uint32_t gpu)
{
    return (gpu + 1) << 8;
}

static uint32_t give_attached(const struct client *client, struct rm_attached *attached)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < client->file->state->machine.n_gpus && n < RM_ATTACHED_MAX; i++)
        if (!atomic_load(&client->file->state->gpus[i].lost))
            attached->gpus[n++] = id_of(i);
    for (; n < RM_ATTACHED_MAX; n++)
        attached->gpus[n] = RM_NO_GPU;
    return RM_OK;
}

static uint32_t give_id_info(const struct client *client, struct rm_id_info *info)
{
    info->device = (info->gpu >> 8) - 1;
    info->subdevice = 0;
    return info->device < client->file->state->machine.n_gpus ? RM_OK : RM_NOT_FOUND;
}

static uint32_t give_uuid(const struct client *client, struct rm_uuid *answer)
{
    const uint32_t gpu = (answer->gpu >> 8) - 1;

    if (gpu >= client->file->state->machine.n_gpus)
        return RM_NOT_FOUND;
    answer->length = (uint32_t)snprintf(answer->uuid, sizeof(answer->uuid), "%s",
                                        client->file->state->machine.gpus[gpu].uuid) +
                     1;
    return RM_OK;
}

static bool is_on(const struct client *client, unsigned slot)
{
    const struct state_process *process = &client->file->state->processes[slot];

    return atomic_load(&process->pid) && process->gpu == (uint32_t)client->gpu;
}

static uint32_t give_pids(const struct client *client, struct rm_pids *answer)
{
    if (answer->id != RM_CLASS_SUBDEVICE)
        return RM_NOT_SUPPORTED;
    answer->n = 0;
    for (unsigned i = 0; i < STATE_MAX_PROCESSES && answer->n < RM_PIDS_MAX; i++) {
        const bool is_named =
            is_on(client, i) && client->file->state->processes[i].kind != PROCESS_RAW;
        const unsigned pid = is_named ? state_process_pid(client->file->state, i) : 0;

        if (pid)
            answer->pids[answer->n++] = pid;
    }
    return RM_OK;
}

static void sum_memory(const struct client *client, struct rm_pid_info *info)
{
    *info = (struct rm_pid_info){
        .pid = info->pid, .compute_instance = STATE_NO_INSTANCE, .gpu_instance = STATE_NO_INSTANCE};
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        if (is_on(client, i) && state_process_pid(client->file->state, i) == info->pid)
            info->private_bytes += atomic_load(&client->file->state->processes[i].memory_bytes);
}

static uint32_t give_memory(const struct client *client, struct rm_pid_infos *answer)
{
    if (answer->n == 0 || answer->n > RM_PID_INFO_MAX)
        return RM_NOT_SUPPORTED;
    for (uint32_t i = 0; i < answer->n; i++)
        sum_memory(client, &answer->infos[i]);
    return RM_OK;
}

/* Then it answers only who is subscribed to an instance, or may monitor all. */
static bool is_partitioned(const struct client *client)
{
    struct mig_layout layout;

    migstate_read(client->file->state, (unsigned)client->gpu, &layout);
    return layout.enabled;
}

static uint32_t control_gpu(const struct client *client, const struct rm_control *call,
                            void *parameters)
{
    if (client->gpu == NO_DEVICE || call->object != client->subdevice)
        return RM_NOT_FOUND;
    if (is_partitioned(client))
        return RM_NO_PERMISSION;
    if (call->command == RM_GET_PIDS)
        return call->size == sizeof(struct rm_pids) ? give_pids(client, parameters)
                                                    : RM_BAD_PARAMETERS;
    if (call->command == RM_GET_PID_INFO)
        return call->size == sizeof(struct rm_pid_infos) ? give_memory(client, parameters)
                                                         : RM_BAD_PARAMETERS;
    return RM_NOT_SUPPORTED;
}

static uint32_t control(const struct client *client, const struct rm_control *call)
{
    void *parameters = (void *)(uintptr_t)call->parameters;

    if (call->client != CLIENT)
        return RM_NOT_FOUND;
    switch (call->command) {
    case RM_GET_ATTACHED:
        return call->size == sizeof(struct rm_attached) ? give_attached(client, parameters)
                                                        : RM_BAD_PARAMETERS;
    case RM_GET_ID_INFO:
        return call->size == sizeof(struct rm_id_info) ? give_id_info(client, parameters)
                                                       : RM_BAD_PARAMETERS;
    case RM_GET_UUID:
        return call->size == sizeof(struct rm_uuid) ? give_uuid(client, parameters)
                                                    : RM_BAD_PARAMETERS;
    default:
        return control_gpu(client, call, parameters);
    }
}

static int ask_module(int fd, unsigned long request, void *argument)
{
    struct client *client = fd >= 0 && fd < CLIENTS_MAX ? &clients[fd] : NULL;
    struct rm_control *call = argument;

    if (!client || !client->file) {
        errno = EBADF;
        return -1;
    }
    if (request == RM_ALLOC) {
        struct rm_alloc *new_object = argument;

        new_object->status = alloc(client, new_object);
        return 0;
    }
    if (request == RM_CONTROL) {
        call->status = control(client, call);
        return 0;
    }
    errno = EINVAL;
    return -1;
}

static int close_module(int fd)
{
    if (fd >= 0 && fd < CLIENTS_MAX)
        clients[fd].file = NULL;
    return close(fd);
}

const struct rm_kernel gpuslice_rm_kernel = {open_module, ask_module, close_module};
