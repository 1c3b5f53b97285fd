// SPDX-License-Identifier: Apache-2.0
#include "gpu/record.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"

static const size_t body_sizes[] = {
    [RECORD_INVENTORY] = sizeof(struct record_inventory),
    [RECORD_GPU] = sizeof(struct record_gpu),
    [RECORD_LINKS] = sizeof(struct record_links),
    [RECORD_MIG] = sizeof(struct record_mig),
    [RECORD_UNAVAILABLE] = sizeof(struct record_reason),
    [RECORD_WATCH] = sizeof(struct record_reason),
    [RECORD_EVENT] = sizeof(struct gpu_event),
    [RECORD_PROBE] = sizeof(struct record_probe),
    [RECORD_ASK] = sizeof(struct record_ask),
};

size_t record_size(uint32_t type)
{
    return type < ARRAY_SIZE(body_sizes) ? body_sizes[type] : 0;
}

static void terminate(char *text, size_t size)
{
    text[size - 1] = '\0';
}

#define TERMINATE(array) terminate((array), sizeof(array))

/* A bool with the value 2 must not even be read. */
static void make_bool(bool *value)
{
    unsigned char byte;

    memcpy(&byte, value, 1);
    *value = byte != 0;
}

static void check_gaps(uint8_t gaps[N_FACTS])
{
    for (size_t i = 0; i < N_FACTS; i++)
        if (gaps[i] > FACT_ABSURD)
            gaps[i] = FACT_ABSURD;
}

static int check_gpu(struct record_gpu *record)
{
    struct gpu *gpu = &record->gpu;

    TERMINATE(gpu->uuid);
    TERMINATE(gpu->model);
    TERMINATE(gpu->unusable);
    TERMINATE(gpu->pci_address);
    TERMINATE(gpu->fabric_cluster);
    make_bool(&gpu->is_out_of_reach);
    make_bool(&gpu->mig_capable);
    make_bool(&gpu->mig_enabled);
    make_bool(&gpu->is_vgpu);
    make_bool(&gpu->fabric_completed);
    make_bool(&gpu->is_dxg);
    check_gaps(gpu->gaps);
    return record->position < RECORD_GPUS_MAX ? 0 : -EBADMSG;
}

static int check_links(struct record_links *record)
{
    for (size_t i = 0; i < ARRAY_SIZE(record->links); i++)
        if (record->links[i].path > GPU_PATH_UNKNOWN)
            record->links[i].path = GPU_PATH_UNKNOWN;
    return record->position < RECORD_GPUS_MAX ? 0 : -EBADMSG;
}

/* The kind is compared as a number: an enum of another value may not even be read. */
static int check_mig(struct record_mig *record)
{
    struct device *device = &record->device;
    uint32_t kind;

    TERMINATE(device->uuid);
    TERMINATE(device->unusable);
    TERMINATE(device->profile);
    make_bool(&device->is_dxg);
    memcpy(&kind, &device->kind, sizeof(kind));
    return record->position < RECORD_MIG_MAX && device->gpu < RECORD_GPUS_MAX && kind == DEVICE_MIG
               ? 0
               : -EBADMSG;
}

static int check_inventory(struct record_inventory *record)
{
    TERMINATE(record->driver_version);
    check_gaps(record->gaps);
    return record->n_gpus <= RECORD_GPUS_MAX && record->n_mig_devices <= RECORD_MIG_MAX ? 0
                                                                                        : -EBADMSG;
}

static int check_probe(struct record_probe *record)
{
    uint32_t recovery;

    TERMINATE(record->uuid);
    TERMINATE(record->reason);
    memcpy(&recovery, &record->probe.recovery, sizeof(recovery));
    return recovery <= GPU_RECOVERY_DRAIN ? 0 : -EBADMSG;
}

static int check(struct record *record)
{
    switch (record->type) {
    case RECORD_INVENTORY:
        return check_inventory(&record->inventory);
    case RECORD_GPU:
        return check_gpu(&record->gpu);
    case RECORD_LINKS:
        return check_links(&record->links);
    case RECORD_MIG:
        return check_mig(&record->mig);
    case RECORD_UNAVAILABLE:
    case RECORD_WATCH:
        TERMINATE(record->reason.uuid);
        TERMINATE(record->reason.reason);
        return 0;
    case RECORD_EVENT:
        TERMINATE(record->event.uuid);
        return 0;
    case RECORD_PROBE:
        return check_probe(&record->probe);
    case RECORD_ASK:
        TERMINATE(record->ask.uuid);
        return 0;
    }
    return -EBADMSG;
}

int record_load(uint32_t type, const void *body, size_t size, struct record *ret_record)
{
    const size_t expected = record_size(type);

    if (!expected || size != expected)
        return -EBADMSG;
    memset(ret_record, 0, sizeof(*ret_record));
    ret_record->type = (enum record_type)type;
    memcpy(&ret_record->inventory, body, size); /* all bodies lie there */
    return check(ret_record);
}
