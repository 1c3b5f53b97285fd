// SPDX-License-Identifier: Apache-2.0
#include "gpu/recordout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proc/blocking.h"

/* To the agent; both threads send. */
static struct blocking_channel agent;

/* id 0: a notice, else the response to that request. Without a reader there is nothing left to
 * do. */
static void send_or_exit(enum record_type type, uint32_t id, const struct record *record)
{
    const struct proc_frame frame = {
        .type = id ? PROC_FRAME_ANSWER : PROC_FRAME_NOTICE,
        .kind = (uint16_t)type,
        .id = id,
        .body = &record->inventory, /* common address of all bodies */
        .size = record_size(type),
    };

    if (blocking_send(&agent, &frame) < 0)
        _exit(0);
}

void recordout_reason(enum record_type type, const char *uuid, const char *reason)
{
    struct record record = {.type = 0};

    snprintf(record.reason.uuid, sizeof(record.reason.uuid), "%s", uuid);
    snprintf(record.reason.reason, sizeof(record.reason.reason), "%.255s", reason);
    send_or_exit(type, 0, &record);
}

void recordout_watch(const char *uuid, const char *reason)
{
    recordout_reason(RECORD_WATCH, uuid, reason);
}

void recordout_event(const struct gpu_event *event)
{
    const struct record record = {.event = *event};

    send_or_exit(RECORD_EVENT, 0, &record);
}

void recordout_inventory(const struct inventory *inventory)
{
    struct record record = {.type = 0};

    memcpy(record.inventory.driver_version, inventory->driver_version,
           sizeof(record.inventory.driver_version));
    record.inventory.cuda_version = inventory->cuda_version;
    record.inventory.is_reread = inventory->is_reread;
    memcpy(record.inventory.gaps, inventory->gaps, sizeof(record.inventory.gaps));
    record.inventory.n_gpus = (uint32_t)inventory->n_gpus;
    record.inventory.n_boards = (uint32_t)inventory->n_boards;
    record.inventory.n_mig_devices = (uint32_t)inventory->n_mig_devices;
    send_or_exit(RECORD_INVENTORY, 0, &record);
    for (uint32_t i = 0; i < inventory->n_gpus; i++) {
        record.gpu.position = i;
        record.gpu.gpu = inventory->gpus[i];
        send_or_exit(RECORD_GPU, 0, &record);
        memset(&record.links, 0, sizeof(record.links));
        record.links.position = i;
        memcpy(record.links.links, inventory->links + i * inventory->n_gpus,
               inventory->n_gpus * sizeof(*inventory->links));
        send_or_exit(RECORD_LINKS, 0, &record);
    }
    memset(&record.board, 0, sizeof(record.board));
    for (uint32_t i = 0; i < inventory->n_boards; i++) {
        record.board.position = i;
        record.board.board = inventory->boards[i];
        send_or_exit(RECORD_BOARD, 0, &record);
    }
    for (uint32_t i = 0; i < inventory->n_mig_devices; i++) {
        record.mig.position = i;
        record.mig.device = inventory->mig_devices[i];
        send_or_exit(RECORD_MIG, 0, &record);
    }
}

void recordout_probe(uint32_t id, const char *uuid, int outcome, const struct gpu_probe *probe,
                     const char *reason)
{
    struct record record = {.type = 0};

    snprintf(record.probe.uuid, sizeof(record.probe.uuid), "%s", uuid);
    record.probe.outcome = outcome;
    record.probe.probe = *probe;
    snprintf(record.probe.reason, sizeof(record.probe.reason), "%.255s", reason);
    send_or_exit(RECORD_PROBE, id, &record);
}

void recordout_changed(uint32_t id, const struct gpu_changed *changed)
{
    const struct record record = {.changed = *changed};

    send_or_exit(RECORD_CHANGED, id, &record);
}

void recordout_listed(uint32_t id, int outcome, const struct gpu_processes *processes,
                      const char *reason)
{
    struct record record = {.type = 0};
    struct record_listed *listed = &record.listed;
    const bool fits = processes->n_items <= RECORD_PROCESSES_MAX;

    listed->outcome = fits ? outcome : -E2BIG;
    listed->n_processes = fits ? (uint32_t)processes->n_items : 0;
    listed->mem_free_bytes = processes->mem_free_bytes;
    memcpy(listed->unseen, processes->unseen, sizeof(listed->unseen));
    if (listed->n_processes)
        memcpy(listed->processes, processes->items,
               listed->n_processes * sizeof(*listed->processes));
    snprintf(listed->reason, sizeof(listed->reason), "%.255s",
             fits ? reason : "more processes use it than are asked for");
    send_or_exit(RECORD_LISTED, id, &record);
}

bool recordout_receive(struct proc_frame *ret_frame)
{
    const int r = blocking_receive(&agent, 0, ret_frame, NULL);

    if (r < 0)
        _exit(0); /* the agent is gone */
    return r == 0 && ret_frame->type == PROC_FRAME_REQUEST;
}

int recordout_start(int fd, uint32_t max_body_bytes)
{
    blocking_init(&agent, fd, max_body_bytes);
    return blocking_hello(&agent, "driver");
}
