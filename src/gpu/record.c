// SPDX-License-Identifier: Apache-2.0
#include "gpu/record.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"

static const size_t body_sizes[] = {
    [RECORD_INVENTORY] = sizeof(struct record_inventory),
    [RECORD_GPU] = sizeof(struct record_gpu),
    [RECORD_LINKS] = sizeof(struct record_links),
    [RECORD_BOARD] = sizeof(struct record_board),
    [RECORD_MIG] = sizeof(struct record_mig),
    [RECORD_UNAVAILABLE] = sizeof(struct record_reason),
    [RECORD_WATCH] = sizeof(struct record_reason),
    [RECORD_EVENT] = sizeof(struct gpu_event),
    [RECORD_PROBE] = sizeof(struct record_probe),
    [RECORD_ASK] = sizeof(struct record_ask),
    [RECORD_CHANGE] = sizeof(struct gpu_change),
    [RECORD_CHANGED] = sizeof(struct gpu_changed),
    [RECORD_LIST] = sizeof(struct record_ask),
    [RECORD_LISTED] = sizeof(struct record_listed),
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

/* Positions in the board are compared with it once it is here. */
static bool check_layout(struct mig_layout *layout)
{
    make_bool(&layout->enabled);
    make_bool(&layout->pending);
    if (layout->n_instances > MIG_INSTANCES_MAX)
        return false;
    for (uint32_t i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *instance = &layout->instances[i];

        if (instance->profile >= MIG_GI_PROFILES_MAX || instance->start >= MIG_SLOTS_MAX ||
            instance->n_computes > MIG_INSTANCES_MAX)
            return false;
        for (uint32_t k = 0; k < instance->n_computes; k++)
            if (instance->computes[k].profile >= MIG_CI_PROFILES_MAX)
                return false;
    }
    return true;
}

static int check_board(struct record_board *record)
{
    struct mig_board *board = &record->board;

    if (record->position >= RECORD_BOARDS_MAX || board->n_slots > MIG_SLOTS_MAX ||
        board->n_profiles > MIG_GI_PROFILES_MAX)
        return -EBADMSG;
    for (uint32_t i = 0; i < MIG_GI_PROFILES_MAX; i++) {
        struct mig_profile *profile = &board->profiles[i];

        TERMINATE(profile->name);
        if (profile->n_computes > MIG_CI_PROFILES_MAX || profile->slots > MIG_SLOTS_MAX ||
            profile->max_count > MIG_INSTANCES_MAX)
            return -EBADMSG;
    }
    return 0;
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
    return record->position < RECORD_GPUS_MAX && check_layout(&gpu->layout) ? 0 : -EBADMSG;
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
    make_bool(&record->is_reread);
    check_gaps(record->gaps);
    return record->n_gpus <= RECORD_GPUS_MAX && record->n_boards <= RECORD_BOARDS_MAX &&
                   record->n_mig_devices <= RECORD_MIG_MAX
               ? 0
               : -EBADMSG;
}

static int check_change(struct gpu_change *change)
{
    uint32_t verb;

    TERMINATE(change->uuid);
    make_bool(&change->enabled);
    memcpy(&verb, &change->verb, sizeof(verb));
    return verb < GPU_VERBS ? 0 : -EBADMSG;
}

static int check_changed(struct gpu_changed *changed)
{
    TERMINATE(changed->reason);
    for (size_t i = 0; i < GPU_HOLDERS_MAX; i++)
        TERMINATE(changed->holders[i].name);
    return changed->n_holders <= GPU_HOLDERS_MAX ? 0 : -EBADMSG;
}

static int check_listed(struct record_listed *listed)
{
    TERMINATE(listed->reason);
    TERMINATE(listed->unseen);
    return listed->n_processes <= RECORD_PROCESSES_MAX ? 0 : -EBADMSG;
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
    case RECORD_BOARD:
        return check_board(&record->board);
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
    case RECORD_LIST:
        TERMINATE(record->ask.uuid);
        return 0;
    case RECORD_CHANGE:
        return check_change(&record->change);
    case RECORD_CHANGED:
        return check_changed(&record->changed);
    case RECORD_LISTED:
        return check_listed(&record->listed);
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
