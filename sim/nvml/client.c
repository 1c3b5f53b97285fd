// SPDX-License-Identifier: Apache-2.0
#include "nvml/client.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "nvml/alive.h"

int client_slot(const struct state *s, unsigned gpu)
{
    const uint64_t self = alive_self();

    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        if (s->processes[i].client == self && s->processes[i].gpu == gpu &&
            atomic_load(&s->processes[i].pid))
            return (int)i;
    return -ESRCH;
}

static struct state_process *own_slot(struct state *s, unsigned gpu)
{
    int slot = client_slot(s, gpu);

    return slot < 0 ? NULL : &s->processes[slot];
}

static void name_self(char name[MACHINE_NAME])
{
    ssize_t length = readlink("/proc/self/exe", name, MACHINE_NAME - 1);

    name[length > 0 ? length : 0] = '\0';
}

static void fill(struct state_process *slot, unsigned gpu)
{
    atomic_store(&slot->pid, 0);
    slot->gpu = gpu;
    slot->kind = PROCESS_COMPUTE;
    slot->utilization = 0;
    slot->gpu_instance = slot->compute_instance = STATE_NO_INSTANCE;
    slot->client = alive_self();
    atomic_store(&slot->memory_bytes, 0);
    memset(slot->name, 0, sizeof(slot->name));
    name_self(slot->name);
    atomic_store(&slot->pid, (unsigned)getpid());
}

/* A free slot, or one whose process ended. */
static struct state_process *take_slot(struct state *s, unsigned gpu)
{
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++) {
        if (state_process_exists(s, i) || alive_hold(i) < 0)
            continue;
        fill(&s->processes[i], gpu);
        return &s->processes[i];
    }
    return NULL;
}

static bool has_room(const struct state *s, unsigned gpu, uint64_t bytes)
{
    const struct gpu_model *model = &s->machine.gpus[gpu].model;
    uint64_t most = model->memory_bytes - model->reserved_bytes;

    return bytes <= most - state_used_bytes(s, gpu);
}

int client_charge(struct state_file *file, unsigned gpu, uint64_t bytes)
{
    struct state_process *slot;
    int r = 0;

    state_lock(file);
    if (!has_room(file->state, gpu, bytes)) {
        r = -ENOMEM;
    } else {
        slot = own_slot(file->state, gpu);
        if (!slot)
            slot = take_slot(file->state, gpu);
        if (slot)
            atomic_fetch_add(&slot->memory_bytes, bytes);
        else
            r = -ENOSPC;
    }
    state_unlock(file);
    return r;
}

void client_refund(struct state_file *file, unsigned gpu, uint64_t bytes)
{
    struct state_process *slot;
    uint64_t had;

    state_lock(file);
    slot = own_slot(file->state, gpu);
    had = slot ? atomic_load(&slot->memory_bytes) : 0;
    if (slot && had > bytes) {
        atomic_store(&slot->memory_bytes, had - bytes);
    } else if (slot) {
        atomic_store(&slot->pid, 0);
        alive_release((unsigned)(slot - file->state->processes));
    }
    state_unlock(file);
}

static bool exist(const void *data, uint64_t client)
{
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        if (state_has_client(data, i, client))
            return true;
    return false;
}

bool client_publish(struct state *state, unsigned gpu, uint64_t number,
                    const struct timeslices *record)
{
    const struct timeshare_clients clients = {alive_self(), exist, state};

    return timeshare_publish(&state->shares[gpu], number, record, &clients);
}
