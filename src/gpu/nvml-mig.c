// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"
#include "gpu/migminors.h"
#include "gpu/nvml.h"
#include "slice/migname.h"

enum {
    PLACEMENTS_MAX = 32,
    HANDLES_MAX = 16,
    MIG_DEVICES_MAX = MIG_INSTANCES_MAX * MIG_INSTANCES_MAX,
    MEMORY_MOST_MIB = 1 << 24,
};

/* What is being read of one GPU. */
struct reading {
    struct gpu_driver *driver;
    nvmlDevice_t device;
    struct gpu *gpu;
    struct mig_board board;
    const struct migminors *minors;
    struct inventory *inventory; /* gets the MIG devices */
    size_t position;             /* of the GPU in it */
    bool is_lost;
};

/* Notes why something is unknown. True if the call succeeded. */
static bool take(struct reading *r, enum fact fact, nvmlReturn_t status, const char *call)
{
    struct error err = ERROR_INIT;

    if (status == NVML_SUCCESS)
        return true;
    if (nvml_outcome(status, &err, call) == GPU_LOST && !r->is_lost) {
        r->is_lost = true;
        snprintf(r->gpu->unusable, sizeof(r->gpu->unusable), "%.180s", error_text(&err));
    }
    nvml_note_gap(&r->gpu->gaps[fact], nvml_gap(status));
    return false;
}

#define ASK(r, symbol, ...) NVML_ASK((r)->driver, (r)->gpu->uuid, symbol, ##__VA_ARGS__)

/* One call for a fact. */
#define TAKE(r, fact, symbol, ...) take((r), (fact), ASK((r), symbol, ##__VA_ARGS__), #symbol)

/* --- boards --- */

/*
 * The compute instances that a GPU instance can have. A driver lists them only for an instance that
 * exists, so these are the sizes that all of them list: every one that leaves no part unusable, as
 * nvidia-smi mig -lcip shows on an A100. The driver's id of each equals its constant.
 */
static void list_computes(struct mig_profile *profile)
{
    const uint32_t slices = profile->shape.gi_slices;

    profile->n_computes = 0;
    for (uint32_t index = 0; index <= NVML_COMPUTE_INSTANCE_PROFILE_6_SLICE; index++) {
        const uint32_t part = migname_compute_slices(index);

        if (part == 0 || part > slices || (part < slices && 2 * part > slices + 1))
            continue;
        profile->computes[profile->n_computes++] = (struct mig_ci_profile){
            .index = index,
            .id = index,
            .slices = part,
            .max_count = slices / part,
            .multiprocessors = profile->shape.multiprocessors * part / slices,
            .starts = mig_compute_starts(slices, part),
        };
    }
}

/* An old driver does not list them: then it chooses where an instance lies. */
static void read_placements(struct reading *r, struct mig_profile *profile)
{
    nvmlGpuInstancePlacement_t placements[PLACEMENTS_MAX] = {{0}};
    unsigned n = PLACEMENTS_MAX;
    nvmlReturn_t status = ASK(r, nvmlDeviceGetGpuInstancePossiblePlacements_v2, r->device,
                              profile->id, placements, &n);

    if (!take(r, FACT_MIG_PROFILES, status, "nvmlDeviceGetGpuInstanceProfileInfo"))
        return;
    for (unsigned i = 0; i < n && n <= PLACEMENTS_MAX; i++) {
        const nvmlGpuInstancePlacement_t *place = &placements[i];

        if (place->size == 0 || place->start >= MIG_SLOTS_MAX ||
            place->size > MIG_SLOTS_MAX - place->start) {
            nvml_note_gap(&r->gpu->gaps[FACT_MIG_PROFILES], FACT_ABSURD);
            continue;
        }
        profile->slots = place->size;
        profile->starts |= 1U << place->start;
        if (place->start + place->size > r->board.n_slots)
            r->board.n_slots = place->start + place->size;
    }
}

static bool is_possible(const nvmlGpuInstanceProfileInfo_t *info)
{
    return info->sliceCount > 0 && info->sliceCount <= MIG_SLOTS_MAX && info->instanceCount > 0 &&
           info->instanceCount <= MIG_INSTANCES_MAX && info->memorySizeMB > 0 &&
           info->memorySizeMB <= MEMORY_MOST_MIB;
}

static void set_profile(const nvmlGpuInstanceProfileInfo_t *info, unsigned index,
                        struct mig_profile *profile)
{
    *profile = (struct mig_profile){
        .index = index,
        .id = info->id,
        .max_count = info->instanceCount,
        .mem_bytes = (uint64_t)info->memorySizeMB << 20,
        .shape = {.multiprocessors = info->multiprocessorCount,
                  .gi_slices = info->sliceCount,
                  .ci_slices = info->sliceCount,
                  .copy_engines = info->copyEngineCount,
                  .decoders = info->decoderCount,
                  .encoders = info->encoderCount,
                  .jpeg_engines = info->jpegCount,
                  .ofa_engines = info->ofaCount},
    };
}

/* Where the memory of the GPU is not known, the name that a driver has since R530: "MIG 1g.5gb". */
static bool take_name(struct reading *r, unsigned index, struct mig_profile *profile)
{
    nvmlGpuInstanceProfileInfo_v2_t info = {
        .version = NVML_STRUCT_VERSION_OF(nvmlGpuInstanceProfileInfo_v2_t, 2)};
    struct mig_name name;

    if (ASK(r, nvmlDeviceGetGpuInstanceProfileInfoV, r->device, index, &info) != NVML_SUCCESS)
        return false;
    info.name[sizeof(info.name) - 1] = '\0';
    if (!str_starts_with(info.name, "MIG ") ||
        migname_parse(info.name + strlen("MIG "), &name, NULL) < 0)
        return false;
    migname_format(&name, profile->name);
    return true;
}

/* False: there is no profile of that constant, or none that can be named. */
static bool read_profile(struct reading *r, unsigned index, struct mig_profile *profile)
{
    nvmlGpuInstanceProfileInfo_t info = {.id = 0};
    nvmlReturn_t status = ASK(r, nvmlDeviceGetGpuInstanceProfileInfo, r->device, index, &info);
    struct mig_name name;
    uint32_t compute;

    if (nvml_gap(status) == FACT_UNSUPPORTED || status == NVML_ERROR_INVALID_ARGUMENT ||
        !take(r, FACT_MIG_PROFILES, status, "nvmlDeviceGetGpuInstanceProfileInfo"))
        return false;
    if (!is_possible(&info)) {
        nvml_note_gap(&r->gpu->gaps[FACT_MIG_PROFILES], FACT_ABSURD);
        return false;
    }
    set_profile(&info, index, profile);
    list_computes(profile);
    if (r->gpu->mem_total_bytes == 0)
        return take_name(r, index, profile);
    compute = profile->n_computes ? profile->computes[profile->n_computes - 1].index : 0;
    if (migname_compute(index, compute, info.memorySizeMB, r->gpu->mem_total_bytes, &name) != 0)
        return false;
    migname_format(&name, profile->name);
    return true;
}

/* What an instance occupies where the driver does not tell it: by its share of the memory. */
static void guess_slots(struct reading *r)
{
    struct mig_board *board = &r->board;
    uint32_t slices = 0;

    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (board->profiles[i].shape.gi_slices > slices)
            slices = board->profiles[i].shape.gi_slices;
    if (board->n_slots == 0)
        board->n_slots = slices > 4 ? MIG_SLOTS_MAX : slices;
    for (uint32_t i = 0; i < board->n_profiles; i++) {
        struct mig_profile *profile = &board->profiles[i];

        if (profile->slots == 0 && r->gpu->mem_total_bytes)
            profile->slots =
                (uint32_t)((profile->mem_bytes * board->n_slots + r->gpu->mem_total_bytes - 1) /
                           r->gpu->mem_total_bytes);
    }
}

/* Reported with MIG off as well (H200, driver 580). */
static void read_board(struct reading *r)
{
    struct mig_board *board = &r->board;

    memset(board, 0, sizeof(*board));
    for (unsigned i = 0; i < MIG_GI_PROFILES_MAX && !r->is_lost; i++)
        if (read_profile(r, i, &board->profiles[board->n_profiles])) {
            read_placements(r, &board->profiles[board->n_profiles]);
            board->n_profiles++;
        } else {
            memset(&board->profiles[board->n_profiles], 0, sizeof(board->profiles[0]));
        }
    guess_slots(r);
}

/* --- instances --- */

static bool find_profile(const struct mig_board *board, uint32_t id, uint32_t *ret_place)
{
    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (board->profiles[i].id == id) {
            *ret_place = i;
            return true;
        }
    return false;
}

/* Adds the instance, or finds it; NULL: it is unknown what it is. */
static struct mig_instance *take_instance(struct reading *r, nvmlGpuInstance_t handle)
{
    struct mig_layout *layout = &r->gpu->layout;
    nvmlGpuInstanceInfo_t info = {.id = 0};
    struct mig_instance *instance;
    uint32_t profile;

    if (!TAKE(r, FACT_MIG_INSTANCES, nvmlGpuInstanceGetInfo, handle, &info))
        return NULL;
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].id == info.id)
            return &layout->instances[i];
    if (!find_profile(&r->board, info.profileId, &profile) ||
        layout->n_instances == MIG_INSTANCES_MAX || info.placement.start >= MIG_SLOTS_MAX) {
        nvml_note_gap(&r->gpu->gaps[FACT_MIG_INSTANCES], FACT_ABSURD);
        return NULL;
    }
    instance = &layout->instances[layout->n_instances++];
    instance->id = info.id;
    instance->profile = profile;
    instance->start = info.placement.start;
    return instance;
}

/* The compute instance profile of that size, or none. */
static uint32_t compute_of_size(const struct mig_profile *profile, uint32_t slices)
{
    uint32_t i = 0;

    while (i < profile->n_computes && profile->computes[i].slices != slices)
        i++;
    return i;
}

static void name_profile(const struct mig_profile *profile, uint32_t slices, struct device *device)
{
    if (slices == profile->shape.gi_slices)
        snprintf(device->profile, sizeof(device->profile), "%s", profile->name);
    else
        snprintf(device->profile, sizeof(device->profile), "%uc.%.26s", slices, profile->name);
}

static void take_compute(struct reading *r, struct mig_instance *instance, nvmlGpuInstance_t gi,
                         struct device *device)
{
    const struct mig_profile *profile = &r->board.profiles[instance->profile];
    nvmlComputeInstance_t handle = NULL;
    nvmlComputeInstanceInfo_t info = {.id = 0};
    uint32_t place;

    if (!TAKE(r, FACT_MIG_INSTANCES, nvmlGpuInstanceGetComputeInstanceById, gi,
              device->instance.compute, &handle) ||
        !TAKE(r, FACT_MIG_INSTANCES, nvmlComputeInstanceGetInfo_v2, handle, &info))
        return;
    place = compute_of_size(profile, info.placement.size);
    if (place == profile->n_computes || instance->n_computes == MIG_INSTANCES_MAX) {
        nvml_note_gap(&r->gpu->gaps[FACT_MIG_INSTANCES], FACT_ABSURD);
        return;
    }
    instance->computes[instance->n_computes++] = (struct mig_compute){
        .id = device->instance.compute,
        .profile = place,
        .start = info.placement.start,
        .slices = info.placement.size,
    };
    name_profile(profile, info.placement.size, device);
}

/* Where the MIG device lies, and so its profile. */
static void take_place(struct reading *r, struct device *device)
{
    nvmlGpuInstance_t handle = NULL;
    struct mig_instance *instance = NULL;

    if (device->instance.gpu == DEVICE_NO_INSTANCE)
        return;
    if (TAKE(r, FACT_MIG_INSTANCES, nvmlDeviceGetGpuInstanceById, r->device, device->instance.gpu,
             &handle))
        instance = take_instance(r, handle);
    if (instance && device->instance.compute != DEVICE_NO_INSTANCE)
        take_compute(r, instance, handle, device);
}

/* GPU instances that have no compute instance are no MIG devices. Lists are for privileged users
 * alone, so an agent without that right does not see them. */
static void read_empty_instances(struct reading *r)
{
    for (uint32_t i = 0; i < r->board.n_profiles && !r->is_lost; i++) {
        nvmlGpuInstance_t handles[HANDLES_MAX] = {NULL};
        unsigned n = HANDLES_MAX;

        if (!TAKE(r, FACT_MIG_INSTANCES, nvmlDeviceGetGpuInstances, r->device,
                  r->board.profiles[i].id, handles, &n))
            continue;
        for (unsigned k = 0; k < n && n <= HANDLES_MAX; k++)
            (void)take_instance(r, handles[k]);
    }
}

static int by_id(const void *a, const void *b)
{
    const struct mig_instance *left = a, *right = b;

    return left->id < right->id ? -1 : left->id > right->id;
}

/* --- MIG devices --- */

static void read_shape(struct reading *r, nvmlDevice_t mig, struct device *device)
{
    nvmlDeviceAttributes_t attributes = {.multiprocessorCount = 0};

    if (!TAKE(r, FACT_MIG_SHAPES, nvmlDeviceGetAttributes_v2, mig, &attributes))
        return;
    if (attributes.gpuInstanceSliceCount == 0 || attributes.computeInstanceSliceCount == 0 ||
        attributes.gpuInstanceSliceCount > MIG_SLOTS_MAX ||
        attributes.computeInstanceSliceCount > MIG_SLOTS_MAX ||
        attributes.memorySizeMB > MEMORY_MOST_MIB) {
        nvml_note_gap(&r->gpu->gaps[FACT_MIG_SHAPES], FACT_ABSURD);
        return;
    }
    device->shape = (struct device_shape){
        .multiprocessors = attributes.multiprocessorCount,
        .gi_slices = attributes.gpuInstanceSliceCount,
        .ci_slices = attributes.computeInstanceSliceCount,
        .copy_engines = attributes.sharedCopyEngineCount,
        .decoders = attributes.sharedDecoderCount,
        .encoders = attributes.sharedEncoderCount,
        .jpeg_engines = attributes.sharedJpegCount,
        .ofa_engines = attributes.sharedOfaCount,
    };
    device->mem_total_bytes = (uint64_t)attributes.memorySizeMB << 20;
}

/* Its memory is what the driver reports for it, else what its attributes do. */
static void read_memory(struct reading *r, nvmlDevice_t mig, struct device *device)
{
    nvmlMemory_t memory = {.total = 0};
    nvmlReturn_t status = ASK(r, nvmlDeviceGetMemoryInfo, mig, &memory);

    if (status == NVML_SUCCESS && memory.total > 0 &&
        memory.total <= (uint64_t)MEMORY_MOST_MIB << 20)
        device->mem_total_bytes = memory.total;
}

static void read_ids(struct reading *r, nvmlDevice_t mig, struct device *device)
{
    unsigned gi = 0, ci = 0;

    device->instance = (struct device_instance){DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    if (TAKE(r, FACT_MIG_SHAPES, nvmlDeviceGetGpuInstanceId, mig, &gi))
        device->instance.gpu = gi;
    if (TAKE(r, FACT_MIG_SHAPES, nvmlDeviceGetComputeInstanceId, mig, &ci))
        device->instance.compute = ci;
}

static void find_nodes(struct reading *r, struct device *device)
{
    const struct device_instance at = device->instance;

    if (r->gpu->minor >= 0 && at.gpu != DEVICE_NO_INSTANCE && at.compute != DEVICE_NO_INSTANCE) {
        device->gi_minor =
            migminors_find(r->minors, (uint32_t)r->gpu->minor, at.gpu, DEVICE_NO_INSTANCE);
        device->ci_minor = migminors_find(r->minors, (uint32_t)r->gpu->minor, at.gpu, at.compute);
    }
    if (device->gi_minor < 0 || device->ci_minor < 0)
        nvml_note_gap(&r->gpu->gaps[FACT_MIG_NODES],
                      r->minors->n_items ? FACT_ABSURD : FACT_FAILED);
}

/* Since R470 "MIG-" and a UUID; before, "MIG-<UUID of the GPU>/<GPU instance>/<compute instance>".
 */
static bool is_mig_uuid(const char *uuid)
{
    const char *rest = uuid + strlen("MIG-");

    if (!str_starts_with(uuid, "MIG-"))
        return false;
    if (str_starts_with(rest, "GPU-"))
        rest += strlen("GPU-");
    return *rest && rest[strspn(rest, "-/0123456789abcdefABCDEF")] == '\0';
}

static void read_mig_uuid(struct reading *r, nvmlDevice_t mig, struct device *device)
{
    char uuid[GPU_UUID_SIZE] = "";
    struct error err = ERROR_INIT;
    nvmlReturn_t status = ASK(r, nvmlDeviceGetUUID, mig, uuid, (unsigned)sizeof(uuid));
    int outcome = nvml_outcome(status, &err, "nvmlDeviceGetUUID");

    uuid[sizeof(uuid) - 1] = '\0';
    if (outcome == 0 && is_mig_uuid(uuid))
        memcpy(device->uuid, uuid, sizeof(device->uuid));
    else
        snprintf(device->unusable, sizeof(device->unusable), "it has no UUID to name it by: %.160s",
                 outcome ? error_text(&err) : "the driver returned nonsense (nvmlDeviceGetUUID)");
}

static void read_mig_device(struct reading *r, nvmlDevice_t mig, unsigned index)
{
    struct device *device = &r->inventory->mig_devices[r->inventory->n_mig_devices++];

    memset(device, 0, sizeof(*device));
    device->kind = DEVICE_MIG;
    device->gpu = r->position;
    device->mig_index = index;
    device->minor = r->gpu->minor;
    device->is_dxg = r->gpu->is_dxg;
    device->numa_node = r->gpu->numa_node;
    device->gi_minor = device->ci_minor = -1;
    read_mig_uuid(r, mig, device);
    read_ids(r, mig, device);
    read_shape(r, mig, device);
    read_memory(r, mig, device);
    find_nodes(r, device);
    take_place(r, device);
}

static bool is_near(uint64_t a, uint64_t b)
{
    return (a > b ? a - b : b - a) <= b / 8;
}

/* What belongs to the GPU instance as a whole tells "1g.5gb+me" from "1g.5gb". */
static bool is_of_profile(const struct device *device, const struct mig_profile *profile)
{
    const struct device_shape *a = &device->shape, *b = &profile->shape;

    return *profile->name && a->gi_slices == b->gi_slices && a->copy_engines == b->copy_engines &&
           a->decoders == b->decoders && a->encoders == b->encoders &&
           a->jpeg_engines == b->jpeg_engines && a->ofa_engines == b->ofa_engines &&
           is_near(device->mem_total_bytes, profile->mem_bytes);
}

/* False if none of the GPU's profiles looks like the device, or several do. */
static bool name_by_board(const struct reading *r, struct device *device)
{
    const struct mig_profile *found = NULL;
    size_t n = 0;

    for (uint32_t i = 0; i < r->board.n_profiles; i++)
        if (is_of_profile(device, &r->board.profiles[i])) {
            found = &r->board.profiles[i];
            n++;
        }
    if (n != 1)
        return false;
    name_profile(found, device->shape.ci_slices, device);
    return true;
}

/* The profile of a device of which only the size is known. */
static void name_by_size(struct reading *r, struct device *device)
{
    const struct device_shape *shape = &device->shape;
    struct mig_name name = {.compute_slices = shape->ci_slices, .gpu_slices = shape->gi_slices};
    struct mig_name sized;

    if (*device->profile)
        return;
    if (!r->gpu->gaps[FACT_MIG_SHAPES] && !r->gpu->gaps[FACT_MIG_INSTANCES])
        nvml_note_gap(&r->gpu->gaps[FACT_MIG_SHAPES], FACT_FAILED);
    if (!shape->gi_slices || name_by_board(r, device) || !r->gpu->mem_total_bytes ||
        migname_compute(NVML_GPU_INSTANCE_PROFILE_1_SLICE, NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE,
                        device->mem_total_bytes >> 20, r->gpu->mem_total_bytes, &sized) != 0)
        return;
    name.gb = sized.gb;
    migname_format(&name, device->profile);
}

/* The number of places for MIG devices, some of which may be empty. */
static unsigned count_places(struct reading *r)
{
    unsigned n = 0;

    if (!TAKE(r, FACT_MIG_DEVICES, nvmlDeviceGetMaxMigDeviceCount, r->device, &n))
        return 0;
    if (n > MIG_DEVICES_MAX) {
        nvml_note_gap(&r->gpu->gaps[FACT_MIG_DEVICES], FACT_ABSURD);
        return MIG_DEVICES_MAX;
    }
    return n;
}

static int read_mig_devices(struct reading *r)
{
    const unsigned n = count_places(r);
    struct inventory *inventory = r->inventory;
    struct device *devices =
        reallocarray(inventory->mig_devices, inventory->n_mig_devices + n + 1, sizeof(*devices));

    if (!devices)
        return -ENOMEM;
    inventory->mig_devices = devices;
    for (unsigned i = 0; i < n && !r->is_lost; i++) {
        nvmlDevice_t mig = NULL;
        nvmlReturn_t status = ASK(r, nvmlDeviceGetMigDeviceHandleByIndex, r->device, i, &mig);

        /* No MIG device has this index at present; NVIDIA's programs take both so. */
        if (status == NVML_ERROR_NOT_FOUND || status == NVML_ERROR_INVALID_ARGUMENT ||
            !take(r, FACT_MIG_DEVICES, status, "nvmlDeviceGetMigDeviceHandleByIndex"))
            continue;
        if (!mig) {
            nvml_note_gap(&r->gpu->gaps[FACT_MIG_DEVICES], FACT_ABSURD);
            continue;
        }
        read_mig_device(r, mig, i);
        name_by_size(r, &inventory->mig_devices[inventory->n_mig_devices - 1]);
    }
    return 0;
}

/* --- GPUs --- */

/* What an earlier reading of this session left of the GPU at that position. */
static void forget(struct inventory *inventory, size_t position)
{
    static const enum fact facts[] = {FACT_MIG_PROFILES, FACT_MIG_DEVICES, FACT_MIG_SHAPES,
                                      FACT_MIG_INSTANCES, FACT_MIG_NODES};
    struct gpu *gpu = &inventory->gpus[position];
    size_t n = 0;

    for (size_t i = 0; i < inventory->n_mig_devices; i++)
        if (inventory->mig_devices[i].gpu != position)
            inventory->mig_devices[n++] = inventory->mig_devices[i];
    inventory->n_mig_devices = n;
    memset(gpu->layout.instances, 0, sizeof(gpu->layout.instances));
    gpu->layout.n_instances = 0;
    for (size_t k = 0; k < ARRAY_SIZE(facts); k++)
        gpu->gaps[facts[k]] = FACT_KNOWN;
}

/* A GPU whose mode is not known may have MIG devices all the same. */
static int read_instances(struct reading *r)
{
    struct gpu *gpu = r->gpu;
    int result = 0;

    if (gpu->mig_enabled || gpu->gaps[FACT_MIG])
        result = read_mig_devices(r);
    if (gpu->mig_enabled)
        read_empty_instances(r);
    qsort(gpu->layout.instances, gpu->layout.n_instances, sizeof(gpu->layout.instances[0]), by_id);
    return result;
}

static bool may_be_partitioned(const struct gpu *gpu)
{
    return gpu->mig_capable || gpu->gaps[FACT_MIG];
}

/* board: of an earlier reading; NULL = it is to be read. */
static int read_partitions(struct reading *r, const struct mig_board *board)
{
    int result;

    r->gpu->board = 0;
    if (!may_be_partitioned(r->gpu))
        return 0;
    if (board)
        r->board = *board;
    else
        read_board(r);
    result = read_instances(r);
    if (result == 0 && r->board.n_profiles)
        result = inventory_share_board(r->inventory, &r->board, &r->gpu->board);
    return result;
}

/* The files of the capability nodes are of no use on a machine that cannot be partitioned. */
static void load_minors(const struct inventory *inventory, struct migminors *minors)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (may_be_partitioned(&inventory->gpus[i])) {
            (void)migminors_load(minors, NULL);
            return;
        }
}

static bool is_readable(const struct reading *r)
{
    return r->device && !*r->gpu->unusable;
}

static int read_gpu(struct reading *r)
{
    return is_readable(r) ? read_partitions(r, NULL) : 0;
}

/* What a GPU can be partitioned into is asked for once, unless an answer was missing: it depends on
 * the model, and with drivers before 535 on the mode. */
static int reread_gpu(struct reading *r)
{
    struct gpu *gpu = r->gpu;
    const struct mig_board *known = inventory_board(r->inventory, gpu);
    const bool was_enabled = gpu->mig_enabled, has_gap = gpu->gaps[FACT_MIG_PROFILES];
    struct mig_board board;

    forget(r->inventory, r->position);
    if (!is_readable(r)) {
        gpu->board = 0;
        return 0;
    }
    nvml_read_mig_mode(r->driver, r->device, gpu);
    if (!known || has_gap || gpu->mig_enabled != was_enabled)
        return read_partitions(r, NULL);
    board = *known; /* sharing it may move it */
    return read_partitions(r, &board);
}

static int read_each(struct gpu_driver *driver, struct inventory *inventory, const char *uuid,
                     int (*read)(struct reading *r))
{
    cleanup_migminors struct migminors minors = MIGMINORS_INIT;
    int result = 0;

    load_minors(inventory, &minors);
    for (size_t i = 0; i < inventory->n_gpus && i < driver->n_gpus && result == 0; i++) {
        struct reading reading = {
            .driver = driver,
            .device = driver->gpus[i].device,
            .gpu = &inventory->gpus[i],
            .minors = &minors,
            .inventory = inventory,
            .position = i,
        };

        if (!uuid || strcasecmp(uuid, reading.gpu->uuid) == 0)
            result = read(&reading);
    }
    if (inventory->n_mig_devices)
        qsort(inventory->mig_devices, inventory->n_mig_devices, sizeof(struct device),
              device_compare);
    return result;
}

int nvml_read_partitions(struct gpu_driver *driver, struct inventory *inventory)
{
    return read_each(driver, inventory, NULL, read_gpu);
}

int nvml_reread_partitions(struct gpu_driver *driver, struct inventory *inventory, const char *uuid)
{
    return read_each(driver, inventory, uuid, reread_gpu);
}
