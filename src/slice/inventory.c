// SPDX-License-Identifier: Apache-2.0
#include "slice/inventory.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

void inventory_deinit(struct inventory *inventory)
{
    free(inventory->gpus);
    free(inventory->links);
    free(inventory->mig_devices);
    free(inventory->boards);
    *inventory = (struct inventory)INVENTORY_INIT;
}

/* A copy of n items, NULL for none. */
static int copy_items(void *ret_items_p, const void *items, size_t n, size_t item_size)
{
    void *copy = NULL;

    if (items && n > 0) {
        copy = reallocarray(NULL, n, item_size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, items, n * item_size);
    }
    memcpy(ret_items_p, &copy, sizeof(copy));
    return 0;
}

int inventory_copy(struct inventory *to, const struct inventory *from)
{
    cleanup_free struct gpu *gpus = NULL;
    cleanup_free struct gpu_link *links = NULL;
    cleanup_free struct device *mig_devices = NULL;
    cleanup_free struct mig_board *boards = NULL;
    size_t n = from->n_gpus;
    int r;

    r = copy_items(&gpus, from->gpus, n, sizeof(*gpus));
    if (r == 0)
        r = copy_items(&links, from->links, n * n, sizeof(*links));
    if (r == 0)
        r = copy_items(&mig_devices, from->mig_devices, from->n_mig_devices, sizeof(*mig_devices));
    if (r == 0)
        r = copy_items(&boards, from->boards, from->n_boards, sizeof(*boards));
    if (r < 0)
        return r;
    *to = *from;
    to->gpus = TAKE_PTR(gpus);
    to->links = TAKE_PTR(links);
    to->mig_devices = TAKE_PTR(mig_devices);
    to->boards = TAKE_PTR(boards);
    return 0;
}

const struct gpu *inventory_find(const struct inventory *inventory, const char *uuid)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (*uuid && strcasecmp(inventory->gpus[i].uuid, uuid) == 0)
            return &inventory->gpus[i];
    return NULL;
}

const struct device *inventory_find_mig(const struct inventory *inventory, const char *uuid)
{
    for (size_t i = 0; i < inventory->n_mig_devices; i++)
        if (*uuid && strcasecmp(inventory->mig_devices[i].uuid, uuid) == 0)
            return &inventory->mig_devices[i];
    return NULL;
}

struct device inventory_whole(const struct inventory *inventory, size_t gpu)
{
    const struct gpu *whole = &inventory->gpus[gpu];
    struct device device = {
        .kind = DEVICE_WHOLE,
        .gpu = gpu,
        .mem_total_bytes = whole->mem_total_bytes,
        .mem_reserved_bytes = whole->mem_reserved_bytes,
        .minor = whole->minor,
        .is_dxg = whole->is_dxg,
        .numa_node = whole->numa_node,
        .is_withheld = *whole->withheld != '\0',
        .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE},
        .gi_minor = -1,
        .ci_minor = -1,
    };

    static_assert(sizeof(device.uuid) == sizeof(whole->uuid), "one size of UUID");
    static_assert(sizeof(device.unusable) == sizeof(whole->unusable), "one size of reason");
    memcpy(device.uuid, whole->uuid, sizeof(device.uuid));
    memcpy(device.unusable, whole->unusable, sizeof(device.unusable));
    return device;
}

const struct mig_board *inventory_board(const struct inventory *inventory, const struct gpu *gpu)
{
    return gpu->board > 0 && gpu->board <= inventory->n_boards ? &inventory->boards[gpu->board - 1]
                                                               : NULL;
}

int inventory_share_board(struct inventory *inventory, const struct mig_board *board,
                          uint32_t *ret_place)
{
    struct mig_board *boards;

    for (size_t i = 0; i < inventory->n_boards; i++)
        if (mig_board_equal(&inventory->boards[i], board)) {
            *ret_place = (uint32_t)i + 1;
            return 0;
        }
    boards = reallocarray(inventory->boards, inventory->n_boards + 1, sizeof(*boards));
    if (!boards)
        return -ENOMEM;
    inventory->boards = boards;
    boards[inventory->n_boards++] = *board;
    *ret_place = (uint32_t)inventory->n_boards;
    return 0;
}

bool inventory_same_partitions(const struct inventory *a, const struct inventory *b)
{
    if (a->n_gpus != b->n_gpus || a->n_mig_devices != b->n_mig_devices)
        return false;
    for (size_t i = 0; i < a->n_gpus; i++)
        if (a->gpus[i].mig_capable != b->gpus[i].mig_capable ||
            !mig_layout_equal(&a->gpus[i].layout, &b->gpus[i].layout) ||
            !str_equal(a->gpus[i].unusable, b->gpus[i].unusable))
            return false;
    for (size_t i = 0; i < a->n_mig_devices; i++)
        if (a->mig_devices[i].gpu != b->mig_devices[i].gpu ||
            !str_equal(a->mig_devices[i].uuid, b->mig_devices[i].uuid) ||
            !device_equal(&a->mig_devices[i], &b->mig_devices[i]))
            return false;
    return true;
}

bool inventory_is_partitioned(const struct inventory *inventory, size_t gpu)
{
    for (size_t i = 0; i < inventory->n_mig_devices; i++)
        if (inventory->mig_devices[i].gpu == gpu)
            return true;
    return false;
}

struct gpu_link inventory_link(const struct inventory *inventory, size_t a, size_t b)
{
    if (!inventory->links || a >= inventory->n_gpus || b >= inventory->n_gpus)
        return (struct gpu_link){.path = GPU_PATH_UNKNOWN};
    return inventory->links[a * inventory->n_gpus + b];
}

bool gpu_is_display(const struct gpu *gpu)
{
    return str_equal(gpu->model, "DGX Display") || str_equal(gpu->model, "NVIDIA DGX Display");
}
