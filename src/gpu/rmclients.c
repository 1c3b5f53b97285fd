// SPDX-License-Identifier: Apache-2.0
#include "gpu/rmclients.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/array.h"
#include "gpu/guard.h"
#include "gpu/holders.h"

/* Handles that we choose; that of the client is the module's choice. */
enum { DEVICE = 0x10, SUBDEVICE = 0x11 };

struct rmclients {
    const struct rm_kernel *kernel;
    const char *uuid;
    int fd;
    uint32_t client; /* our handle */
    /* As of explain(), the most since all processes were asked about; 0: they were not yet. */
    uint64_t explained_bytes;
};

static int kernel_open(const char *path, int flags)
{
    return open(path, flags);
}

static int kernel_ioctl(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument);
}

const struct rm_kernel rmclients_kernel = {kernel_open, kernel_ioctl, close};

static int request(const struct rmclients *clients, const char *call, unsigned long number,
                   void *argument, struct error *err)
{
    int r;

    guard_enter(call, clients->uuid, 0);
    do {
        r = clients->kernel->ioctl(clients->fd, number, argument);
    } while (r < 0 && errno == EINTR);
    r = r < 0 ? -errno : 0;
    guard_leave();
    return r < 0 ? error_set_errno(err, r, "%s on " RM_PATH, call) : 0;
}

static int refuse(const char *what, uint32_t number, uint32_t status, const char *why,
                  struct error *err)
{
    return error_set(err, status == RM_NO_PERMISSION ? -EPERM : -ENOTSUP,
                     "the kernel module refuses %s 0x%x with status 0x%x%s", what, number, status,
                     status == RM_NO_PERMISSION ? why : "");
}

/* *object: 0 = the module chooses. */
static int alloc(const struct rmclients *clients, uint32_t parent, uint32_t object_class,
                 void *parameters, uint32_t size, uint32_t *object, struct error *err)
{
    struct rm_alloc call = {.root = clients->client,
                            .parent = parent,
                            .object = *object,
                            .object_class = object_class,
                            .parameters = (uintptr_t)parameters,
                            .size = size};
    const int r = request(clients, "NV_ESC_RM_ALLOC", RM_ALLOC, &call, err);

    if (r < 0)
        return r;
    if (call.status != RM_OK)
        return refuse("class", object_class, call.status,
                      ": this process has not opened the GPU's node", err);
    *object = call.object;
    return 0;
}

static int control(const struct rmclients *clients, uint32_t object, enum rm_command command,
                   void *parameters, uint32_t size, struct error *err)
{
    struct rm_control call = {.client = clients->client,
                              .object = object,
                              .command = command,
                              .parameters = (uintptr_t)parameters,
                              .size = size};
    const int r = request(clients, "NV_ESC_RM_CONTROL", RM_CONTROL, &call, err);

    if (r < 0)
        return r;
    return call.status == RM_OK
               ? 0
               : refuse("control", command, call.status, ", as it does for a GPU in MIG mode", err);
}

/* --- which GPU --- */

static bool has_uuid(const struct rmclients *clients, uint32_t gpu)
{
    struct rm_uuid answer = {.gpu = gpu};

    if (control(clients, clients->client, RM_GET_UUID, &answer, sizeof(answer), NULL) < 0)
        return false;
    answer.uuid[sizeof(answer.uuid) - 1] = '\0';
    return strcasecmp(answer.uuid, clients->uuid) == 0;
}

/* The module numbers GPUs in its own order. */
static int find_gpu(const struct rmclients *clients, struct rm_id_info *ret_info, struct error *err)
{
    struct rm_attached attached;
    int r;

    memset(&attached, 0xff, sizeof(attached));
    r = control(clients, clients->client, RM_GET_ATTACHED, &attached, sizeof(attached), err);
    for (size_t i = 0; r == 0 && i < RM_ATTACHED_MAX && attached.gpus[i] != RM_NO_GPU; i++) {
        if (!has_uuid(clients, attached.gpus[i]))
            continue;
        *ret_info = (struct rm_id_info){.gpu = attached.gpus[i]};
        return control(clients, clients->client, RM_GET_ID_INFO, ret_info, sizeof(*ret_info), err);
    }
    return r < 0 ? r
                 : error_set(err, -ENXIO, "the kernel module tells of no attached GPU %s",
                             clients->uuid);
}

static int attach(const struct rmclients *clients, struct error *err)
{
    struct rm_id_info info = {.gpu = 0};
    struct rm_device device = {.device = 0};
    struct rm_subdevice subdevice = {.subdevice = 0};
    uint32_t object = DEVICE;
    int r = find_gpu(clients, &info, err);

    if (r < 0)
        return r;
    device.device = info.device;
    subdevice.subdevice = info.subdevice;
    r = alloc(clients, clients->client, RM_CLASS_DEVICE, &device, sizeof(device), &object, err);
    object = SUBDEVICE;
    return r < 0 ? r
                 : alloc(clients, DEVICE, RM_CLASS_SUBDEVICE, &subdevice, sizeof(subdevice),
                         &object, err);
}

/* --- its clients --- */

static bool is_listed(const struct gpu_processes *processes, uint32_t pid)
{
    for (size_t i = 0; i < processes->n_items; i++)
        if (processes->items[i].pid == pid)
            return true;
    return false;
}

/* What others own of its memory is theirs. A process may be asked about twice, as it may have
 * several clients. */
static int add(struct gpu_processes *processes, const struct rm_pid_info *info)
{
    const uint64_t mem_bytes = info->private_bytes + info->owned_bytes;
    struct gpu_process *process;

    if (info->result != RM_OK || mem_bytes == 0 || info->pid == (uint32_t)getpid() ||
        is_listed(processes, info->pid))
        return 0;
    process =
        array_push(&processes->items, &processes->n_items, &processes->capacity, sizeof(*process));
    if (!process)
        return -ENOMEM;
    *process = (struct gpu_process){.pid = info->pid,
                                    .instance = {info->gpu_instance, info->compute_instance},
                                    .mem_bytes = mem_bytes};
    return 0;
}

static int ask_part(const struct rmclients *clients, const uint32_t *pids, uint32_t n,
                    struct gpu_processes *processes, struct error *err)
{
    struct rm_pid_infos answer = {.n = n};
    int r;

    for (uint32_t i = 0; i < n; i++)
        answer.infos[i].pid = pids[i];
    r = control(clients, SUBDEVICE, RM_GET_PID_INFO, &answer, sizeof(answer), err);
    for (uint32_t i = 0; i < n && r == 0; i++)
        r = add(processes, &answer.infos[i]);
    return r;
}

static int ask(const struct rmclients *clients, const uint32_t *pids, size_t n,
               struct gpu_processes *processes, struct error *err)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i += RM_PID_INFO_MAX)
        r = ask_part(clients, pids + i,
                     (uint32_t)(n - i < RM_PID_INFO_MAX ? n - i : RM_PID_INFO_MAX), processes, err);
    return r;
}

static int ask_named(const struct rmclients *clients, struct gpu_processes *processes,
                     struct error *err)
{
    struct rm_pids named = {.id = RM_CLASS_SUBDEVICE};
    int r = control(clients, SUBDEVICE, RM_GET_PIDS, &named, sizeof(named), err);

    if (r < 0)
        return r;
    if (named.n > RM_PIDS_MAX)
        return error_set(err, -EBADMSG, "the kernel module lists %u clients", named.n);
    return ask(clients, named.pids, named.n, processes, err);
}

static int ask_all(const struct rmclients *clients, struct gpu_processes *processes,
                   struct error *err)
{
    cleanup_free uint32_t *pids = NULL;
    size_t n;
    const int r = holders_list_processes(&pids, &n);

    return r < 0 ? r : ask(clients, pids, n, processes, err);
}

/* What is free, or of a process in the list. */
static uint64_t explain(const struct gpu_processes *processes, uint64_t mem_free_bytes)
{
    uint64_t bytes = mem_free_bytes;

    for (size_t i = 0; i < processes->n_items; i++)
        if (processes->items[i].mem_bytes != GPU_MEMORY_UNKNOWN)
            bytes += processes->items[i].mem_bytes;
    return bytes;
}

int rmclients_add(struct rmclients *clients, uint64_t mem_free_bytes,
                  struct gpu_processes *processes, struct error *err)
{
    int r = ask_named(clients, processes, err);
    uint64_t explained;

    if (r < 0 || mem_free_bytes == 0)
        return r;
    explained = explain(processes, mem_free_bytes);
    if (explained > clients->explained_bytes && clients->explained_bytes)
        clients->explained_bytes = explained;
    if (clients->explained_bytes && explained + RMCLIENTS_HIDDEN_BYTES >= clients->explained_bytes)
        return 0;
    r = ask_all(clients, processes, err);
    clients->explained_bytes = explain(processes, mem_free_bytes);
    return r;
}

/* --- a session --- */

static int open_module(struct rmclients *clients, struct error *err)
{
    int r;

    guard_enter("open", clients->uuid, 0);
    clients->fd = clients->kernel->open(RM_PATH, O_RDWR | O_CLOEXEC);
    r = clients->fd < 0 ? -errno : 0;
    guard_leave();
    return r < 0 ? error_set_errno(err, r, "cannot open " RM_PATH) : 0;
}

int rmclients_open(const struct rm_kernel *kernel, const char *uuid, struct rmclients **ret_clients,
                   struct error *err)
{
    struct rmclients *clients = calloc(1, sizeof(*clients));
    uint32_t client = 0;
    int r;

    if (!clients)
        return -ENOMEM;
    *clients = (struct rmclients){.kernel = kernel, .uuid = uuid, .fd = -1};
    r = open_module(clients, err);
    if (r == 0)
        r = alloc(clients, 0, RM_CLASS_CLIENT, NULL, 0, &client, err);
    clients->client = client;
    if (r == 0)
        r = attach(clients, err);
    if (r < 0) {
        rmclients_close(clients);
        return r;
    }
    *ret_clients = clients;
    return 0;
}

/* The module frees with the descriptor what was allocated by it. */
void rmclients_close(struct rmclients *clients)
{
    if (!clients)
        return;
    if (clients->fd >= 0) {
        guard_enter("close", clients->uuid, 0);
        (void)clients->kernel->close(clients->fd);
        guard_leave();
    }
    free(clients);
}
