// SPDX-License-Identifier: Apache-2.0
#include "node/machine.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"

struct update {
    const struct inventory *known, *seen;
    const char *const *destroyed;
    size_t n_destroyed;
};

static bool usable(const struct inventory *seen, const struct gpu *known)
{
    const struct gpu *now = *known->uuid ? inventory_find(seen, known->uuid) : NULL;

    return now && !*now->unusable;
}

/* A GPU that was usable before and is not now. */
static bool is_missing(const struct inventory *seen, const struct gpu *known)
{
    return !*known->unusable && !usable(seen, known);
}

static bool is_destroyed(const struct update *update, const struct device *device)
{
    for (size_t i = 0; i < update->n_destroyed; i++)
        if (strcasecmp(update->destroyed[i], device->uuid) == 0)
            return true;
    return false;
}

/* A MIG device that existed before, does not now, and should. */
static bool is_mig_missing(const struct update *update, const struct device *device)
{
    return !*device->unusable && !inventory_find_mig(update->seen, device->uuid) &&
           !is_destroyed(update, device);
}

static bool any_missing(const struct update *update)
{
    const struct inventory *known = update->known;

    for (size_t i = 0; i < known->n_gpus; i++)
        if (is_missing(update->seen, &known->gpus[i]))
            return true;
    for (size_t i = 0; i < known->n_mig_devices; i++)
        if (is_mig_missing(update, &known->mig_devices[i]))
            return true;
    return false;
}

/* What a GPU has for life, or until somebody sets it up differently. */
static const struct {
    enum fact fact;
    size_t offset, size;
} constants[] = {
#define CONSTANT(fact, member)                                                \
    {                                                                         \
        fact, offsetof(struct gpu, member), sizeof(((struct gpu *)0)->member) \
    }
    CONSTANT(FACT_MODEL, model),
    CONSTANT(FACT_MINOR, minor),
    CONSTANT(FACT_PCI, pci_address),
    CONSTANT(FACT_PCI, pci_device_id),
    CONSTANT(FACT_PCI, pci_subsystem_id),
    CONSTANT(FACT_CLASS, pci_class),
    CONSTANT(FACT_NUMA, numa_node),
    CONSTANT(FACT_MEMORY, mem_total_bytes),
    CONSTANT(FACT_MEMORY, mem_reserved_bytes),
    CONSTANT(FACT_RESERVED, mem_reserved_bytes),
    CONSTANT(FACT_CAPABILITY, cc_major),
    CONSTANT(FACT_CAPABILITY, cc_minor),
    CONSTANT(FACT_MIG, mig_capable),
    CONSTANT(FACT_MIG, mig_enabled),
    CONSTANT(FACT_FABRIC, fabric_completed),
    CONSTANT(FACT_FABRIC, fabric_cluster),
    CONSTANT(FACT_FABRIC, fabric_clique),
    CONSTANT(FACT_VIRTUALIZATION, is_vgpu),
#undef CONSTANT
};

static bool is_lapse(const uint8_t *before, const uint8_t *now, enum fact fact)
{
    return before[fact] == FACT_KNOWN && now[fact] >= FACT_FAILED;
}

/* A query that fails once takes nothing from a GPU: its slices would change under running pods. */
static void keep_constants(const struct gpu *before, struct gpu *now)
{
    for (size_t i = 0; i < ARRAY_SIZE(constants); i++)
        if (is_lapse(before->gaps, now->gaps, constants[i].fact))
            memcpy((char *)now + constants[i].offset, (const char *)before + constants[i].offset,
                   constants[i].size);
    for (size_t i = 0; i < ARRAY_SIZE(constants); i++)
        if (is_lapse(before->gaps, now->gaps, constants[i].fact))
            now->gaps[constants[i].fact] = FACT_KNOWN;
    now->is_dxg &= now->minor < 0;
}

/* The layout refers to the board, so both stay or neither. */
static int keep_partitions(const struct inventory *known, const struct gpu *before,
                           struct inventory *next, struct gpu *now)
{
    static const enum fact facts[] = {FACT_MIG, FACT_MIG_PROFILES, FACT_MIG_INSTANCES};
    const struct mig_board *board = inventory_board(known, before);
    bool lapsed = false;

    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        lapsed |= is_lapse(before->gaps, now->gaps, facts[i]);
    if (!lapsed)
        return 0;
    now->layout = before->layout;
    now->board = 0;
    return board ? inventory_share_board(next, board, &now->board) : 0;
}

/* MIG devices that are there still, though not all of them could be asked. */
static void keep_mig_devices(const struct inventory *known, const struct gpu *before,
                             struct inventory *next, const struct gpu *now)
{
    static const enum fact facts[] = {FACT_MIG_SHAPES, FACT_MIG_INSTANCES, FACT_MIG_NODES};
    bool lapsed = false;

    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        lapsed |= is_lapse(before->gaps, now->gaps, facts[i]);
    for (size_t i = 0; lapsed && i < next->n_mig_devices; i++) {
        struct device *device = &next->mig_devices[i];
        const struct device *was = inventory_find_mig(known, device->uuid);
        const size_t gpu = device->gpu;

        if (&next->gpus[gpu] != now || !was)
            continue;
        *device = *was;
        device->gpu = gpu;
    }
}

static void keep_mig_gaps(const struct gpu *before, struct gpu *now)
{
    for (unsigned fact = FACT_MIG_PROFILES; fact <= FACT_MIG_NODES; fact++)
        if (is_lapse(before->gaps, now->gaps, (enum fact)fact))
            now->gaps[fact] = FACT_KNOWN;
}

/* Labels tell them. What CUDA version a driver supports says nothing of another driver. */
static void keep_versions(const struct inventory *known, struct inventory *next)
{
    if (*known->driver_version && is_lapse(known->gaps, next->gaps, FACT_DRIVER_VERSION)) {
        memcpy(next->driver_version, known->driver_version, sizeof(next->driver_version));
        next->gaps[FACT_DRIVER_VERSION] = FACT_KNOWN;
    }
    if (known->cuda_version && is_lapse(known->gaps, next->gaps, FACT_CUDA_VERSION) &&
        str_equal(known->driver_version, next->driver_version)) {
        next->cuda_version = known->cuda_version;
        next->gaps[FACT_CUDA_VERSION] = FACT_KNOWN;
    }
}

static int keep_all_constants(const struct inventory *known, struct inventory *next)
{
    int r = 0;

    keep_versions(known, next);
    for (size_t i = 0; i < next->n_gpus && r == 0; i++) {
        struct gpu *now = &next->gpus[i];
        const struct gpu *before = inventory_find(known, now->uuid);

        if (!before || *before->unusable || *now->unusable)
            continue;
        r = keep_partitions(known, before, next, now);
        keep_mig_devices(known, before, next, now);
        keep_mig_gaps(before, now);
        keep_constants(before, now);
    }
    return r;
}

static int by_index(const void *a, const void *b)
{
    const struct gpu *left = a, *right = b;

    return left->index < right->index ? -1 : left->index > right->index;
}

/* A GPU of another inventory, with its board. */
static int take_gpu(struct inventory *merged, const struct inventory *from, const struct gpu *gpu,
                    struct gpu *place)
{
    const struct mig_board *board = inventory_board(from, gpu);

    *place = *gpu;
    place->board = 0;
    return board ? inventory_share_board(merged, board, &place->board) : 0;
}

/*
 * The known GPUs, with current values where available, followed by new ones. A GPU listed without a
 * UUID is most likely the missing one, and tells nothing else.
 */
static int merge_gpus(const struct update *update, struct inventory *merged)
{
    const struct inventory *known = update->known, *seen = update->seen;
    struct gpu *gpus = merged->gpus;
    int r = 0;

    for (size_t i = 0; i < known->n_gpus && r == 0; i++)
        if (usable(seen, &gpus[i])) {
            unsigned index = gpus[i].index;

            r = take_gpu(merged, seen, inventory_find(seen, gpus[i].uuid), &gpus[i]);
            gpus[i].index = index;
        }
    for (size_t i = 0; i < seen->n_gpus && r == 0; i++)
        if (*seen->gpus[i].uuid && !inventory_find(known, seen->gpus[i].uuid))
            r = take_gpu(merged, seen, &seen->gpus[i], &gpus[merged->n_gpus++]);
    if (merged->n_gpus != known->n_gpus) {
        free(merged->links); /* the matrix has another size now; links are only hints */
        merged->links = NULL;
        qsort(gpus, merged->n_gpus, sizeof(*gpus), by_index);
    }
    return r;
}

/* A device of another inventory, on the same GPU of this one. */
static void add_mig(struct inventory *merged, const struct inventory *from,
                    const struct device *device)
{
    const struct gpu *gpu = inventory_find(merged, from->gpus[device->gpu].uuid);
    struct device *place = &merged->mig_devices[merged->n_mig_devices];

    if (!gpu)
        return;
    merged->n_mig_devices++;
    *place = *device;
    place->gpu = (size_t)(gpu - merged->gpus);
}

static void merge_mig_devices(const struct update *update, struct inventory *merged)
{
    const struct inventory *known = update->known, *seen = update->seen;

    merged->n_mig_devices = 0;
    for (size_t i = 0; i < known->n_mig_devices; i++)
        if (is_mig_missing(update, &known->mig_devices[i]))
            add_mig(merged, known, &known->mig_devices[i]);
    for (size_t i = 0; i < seen->n_mig_devices; i++) {
        const struct device *was = inventory_find_mig(known, seen->mig_devices[i].uuid);
        struct device now = seen->mig_devices[i];

        if (was)
            now.mig_index = was->mig_index;
        add_mig(merged, seen, &now);
    }
    if (merged->n_mig_devices > 0)
        qsort(merged->mig_devices, merged->n_mig_devices, sizeof(struct device), device_compare);
}

/* Room for both inventories. */
static int make_room(struct inventory *merged, const struct inventory *more)
{
    struct gpu *gpus = reallocarray(merged->gpus, merged->n_gpus + more->n_gpus + 1, sizeof(*gpus));
    struct device *devices;

    if (!gpus)
        return -ENOMEM;
    merged->gpus = gpus;
    devices = reallocarray(merged->mig_devices, merged->n_mig_devices + more->n_mig_devices + 1,
                           sizeof(*devices));
    if (!devices)
        return -ENOMEM;
    merged->mig_devices = devices;
    return 0;
}

static int remember(const struct update *update, struct inventory *ret_merged)
{
    struct inventory merged;
    int r = inventory_copy(&merged, update->known);

    if (r < 0)
        return r;
    r = make_room(&merged, update->seen);
    if (r == 0)
        r = merge_gpus(update, &merged);
    if (r < 0) {
        inventory_deinit(&merged);
        return r;
    }
    merge_mig_devices(update, &merged);
    *ret_merged = merged;
    return 0;
}

static bool gpu_equal(const struct gpu *a, const struct gpu *b)
{
    return a->index == b->index && str_equal(a->uuid, b->uuid) && str_equal(a->model, b->model) &&
           str_equal(a->unusable, b->unusable) && a->minor == b->minor &&
           a->numa_node == b->numa_node && a->mem_total_bytes == b->mem_total_bytes &&
           a->mem_reserved_bytes == b->mem_reserved_bytes && a->mig_enabled == b->mig_enabled &&
           a->mig_capable == b->mig_capable && a->is_vgpu == b->is_vgpu &&
           str_equal(a->pci_address, b->pci_address) &&
           a->fabric_completed == b->fabric_completed && a->fabric_clique == b->fabric_clique &&
           str_equal(a->fabric_cluster, b->fabric_cluster) && a->is_dxg == b->is_dxg &&
           mig_layout_equal(&a->layout, &b->layout) && a->cc_major == b->cc_major &&
           a->cc_minor == b->cc_minor && a->pci_class == b->pci_class &&
           memcmp(a->gaps, b->gaps, sizeof(a->gaps)) == 0;
}

static bool mig_equal(const struct device *a, const struct device *b)
{
    return a->gpu == b->gpu && str_equal(a->uuid, b->uuid) && device_equal(a, b);
}

static bool equal(const struct inventory *a, const struct inventory *b)
{
    if (a->n_gpus != b->n_gpus || !str_equal(a->driver_version, b->driver_version) ||
        a->cuda_version != b->cuda_version || !a->links != !b->links ||
        memcmp(a->gaps, b->gaps, sizeof(a->gaps)) != 0 || a->n_mig_devices != b->n_mig_devices)
        return false;
    for (size_t i = 0; i < a->n_gpus; i++)
        if (!gpu_equal(&a->gpus[i], &b->gpus[i]) ||
            !inventory_board(a, &a->gpus[i]) != !inventory_board(b, &b->gpus[i]))
            return false;
    for (size_t i = 0; i < a->n_mig_devices; i++)
        if (!mig_equal(&a->mig_devices[i], &b->mig_devices[i]))
            return false;
    return true;
}

int machine_update(struct inventory *known, const struct inventory *seen,
                   const char *const *destroyed, size_t n_destroyed, bool *ret_changed)
{
    const struct update update = {known, seen, destroyed, n_destroyed};
    struct inventory next;
    int r = any_missing(&update) ? remember(&update, &next) : inventory_copy(&next, seen);

    if (r < 0)
        return r;
    r = keep_all_constants(known, &next);
    if (r < 0) {
        inventory_deinit(&next);
        return r;
    }
    *ret_changed = !equal(known, &next);
    inventory_deinit(known);
    *known = next;
    return 0;
}

bool machine_forget(struct inventory *known, const char *uuid)
{
    size_t n = 0;

    for (size_t i = 0; i < known->n_mig_devices; i++)
        if (strcasecmp(known->mig_devices[i].uuid, uuid) != 0)
            known->mig_devices[n++] = known->mig_devices[i];
    if (n == known->n_mig_devices)
        return false;
    known->n_mig_devices = n;
    return true;
}
