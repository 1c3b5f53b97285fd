// SPDX-License-Identifier: Apache-2.0

/*
 * GPU instances and compute instances: profiles, placements, creating and destroying.
 *
 * Statuses are those of an H200 with driver 580 (tests/data/mig-answers-h200.json), where MIG may
 * stay off; else those that nvml.h names.
 */

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "nvml/library.h"

/* A handle is nothing but its position among the others, and what it refers to. */
struct instance_slot {
    struct migstate_ref ref;
    bool used;
};

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct instance_slot instances[MACHINE_MAX_GPUS][STATE_GPU_INSTANCES];
static struct instance_slot computes[MACHINE_MAX_GPUS][STATE_GPU_INSTANCES]
                                    [STATE_COMPUTE_INSTANCES];

static nvmlGpuInstance_t give_instance(const struct migstate_ref *ref)
{
    struct instance_slot *slot = &instances[ref->gpu][ref->instance];

    pthread_mutex_lock(&slots_lock);
    *slot = (struct instance_slot){.ref = *ref, .used = true};
    pthread_mutex_unlock(&slots_lock);
    return (nvmlGpuInstance_t)(void *)slot;
}

static nvmlComputeInstance_t give_compute(const struct migstate_ref *ref)
{
    struct instance_slot *slot = &computes[ref->gpu][ref->instance][ref->compute];

    pthread_mutex_lock(&slots_lock);
    *slot = (struct instance_slot){.ref = *ref, .used = true};
    pthread_mutex_unlock(&slots_lock);
    return (nvmlComputeInstance_t)(void *)slot;
}

/* False if it is no handle of the `n` in that array, or one that was never given. */
static bool take_ref(const void *handle, const struct instance_slot *first, size_t n,
                     struct migstate_ref *ret_ref)
{
    const struct instance_slot *slot = handle;
    bool used;

    if (slot < first || slot >= first + n ||
        ((const char *)slot - (const char *)first) % (ptrdiff_t)sizeof(*slot) != 0)
        return false;
    pthread_mutex_lock(&slots_lock);
    used = slot->used;
    *ret_ref = slot->ref;
    pthread_mutex_unlock(&slots_lock);
    return used;
}

/* An instance as an entry point sees it. */
struct instance_view {
    struct view v; /* of its GPU */
    struct migstate_ref ref;
    struct mig_layout layout;
    struct mig_instance *instance;
    struct mig_compute *compute;
    const struct mig_profile *profile;
};

/* Faults of its GPU apply, also where the handle is of one that is gone. */
static nvmlReturn_t enter_ref(const char *call, bool is_handle, struct instance_view *ret_view)
{
    struct state_file *file;
    nvmlReturn_t r;

    if (!is_handle) {
        r = library_enter(call, &file);
        return r ? r : NVML_ERROR_INVALID_ARGUMENT;
    }
    r = library_enter_device(call, library_handle_at(ret_view->ref.gpu), &ret_view->v);
    if (r)
        return r;
    ret_view->instance =
        migstate_resolve(ret_view->v.state, &ret_view->ref, &ret_view->layout, &ret_view->compute);
    if (!ret_view->instance)
        return NVML_ERROR_INVALID_ARGUMENT;
    ret_view->profile = &ret_view->v.model->mig.profiles[ret_view->instance->profile];
    return NVML_SUCCESS;
}

static nvmlReturn_t enter_instance(const char *call, nvmlGpuInstance_t handle,
                                   struct instance_view *ret_view)
{
    return enter_ref(call,
                     take_ref(handle, &instances[0][0], sizeof(instances) / sizeof(instances[0][0]),
                              &ret_view->ref),
                     ret_view);
}

static nvmlReturn_t enter_compute(const char *call, nvmlComputeInstance_t handle,
                                  struct instance_view *ret_view)
{
    return enter_ref(call,
                     take_ref(handle, &computes[0][0][0],
                              sizeof(computes) / sizeof(computes[0][0][0]), &ret_view->ref),
                     ret_view);
}

/* Older drivers answer about profiles only in MIG mode; NVIDIA/mig-parted has a default for them.
 */
static bool is_open(const struct view *v)
{
    struct mig_layout layout;

    migstate_read(v->state, v->index, &layout);
    return v->model->mig.n_slots && (layout.enabled || library_driver_since(v->state, 535));
}

static nvmlReturn_t enter_board(const char *call, nvmlDevice_t device, const void *value,
                                struct view *ret_view)
{
    nvmlReturn_t r = library_enter_device(call, device, ret_view);

    if (r)
        return r;
    if (!value)
        return NVML_ERROR_INVALID_ARGUMENT;
    return is_open(ret_view) ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

/* The constants that a driver knows: those of graphics came with 575, one more with 595. */
static unsigned count_indices(const struct view *v)
{
    return library_driver_since(v->state, 595)   ? NVML_GPU_INSTANCE_PROFILE_COUNT
           : library_driver_since(v->state, 575) ? 17
                                                 : 10;
}

static nvmlReturn_t find_index(const struct view *v, unsigned index, uint32_t *ret_profile)
{
    const struct mig_board *board = &v->model->mig;

    if (index >= count_indices(v))
        return NVML_ERROR_INVALID_ARGUMENT;
    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (board->profiles[i].index == index) {
            *ret_profile = i;
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_SUPPORTED;
}

/* NOT_SUPPORTED: an id of some GPU's, which this one has not. */
static nvmlReturn_t find_id(const struct view *v, unsigned id, uint32_t *ret_profile)
{
    static const unsigned elsewhere[] = {0,  5,  6,  9,  10, 14, 15, 19, 20,
                                         21, 32, 35, 47, 64, 65, 66, 67};
    const struct mig_board *board = &v->model->mig;

    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (board->profiles[i].id == id) {
            *ret_profile = i;
            return NVML_SUCCESS;
        }
    for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
        if (elsewhere[i] == id)
            return NVML_ERROR_NOT_SUPPORTED;
    return NVML_ERROR_INVALID_ARGUMENT;
}

static nvmlReturn_t status_of(int outcome)
{
    switch (outcome) {
    case 0:
        return NVML_SUCCESS;
    case MIGSTATE_NO_ROOM:
        return NVML_ERROR_INSUFFICIENT_RESOURCES;
    case MIGSTATE_OFF:
        return NVML_ERROR_NOT_SUPPORTED;
    case MIGSTATE_IN_USE:
        return NVML_ERROR_IN_USE;
    default: /* no such place, no such instance */
        return NVML_ERROR_INVALID_ARGUMENT;
    }
}

/* --- profiles of GPU instances --- */

/* What all versions of the struct have; it stands at another place in each. */
#define PROFILE_FACTS(p)                                                                           \
    .id = (p)->id, .sliceCount = (p)->shape.gi_slices, .instanceCount = (p)->max_count,            \
    .multiprocessorCount = (p)->shape.multiprocessors, .copyEngineCount = (p)->shape.copy_engines, \
    .decoderCount = (p)->shape.decoders, .encoderCount = (p)->shape.encoders,                      \
    .jpegCount = (p)->shape.jpeg_engines, .ofaCount = (p)->shape.ofa_engines,                      \
    .memorySizeMB = (p)->mem_bytes >> 20

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t device, unsigned int profile,
                                                 nvmlGpuInstanceProfileInfo_t *info)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, info, &v);
    uint32_t at = 0;
    const struct mig_profile *p;

    if (r == NVML_SUCCESS)
        r = find_index(&v, profile, &at);
    if (r)
        return r;
    p = &v.model->mig.profiles[at];
    *info = (nvmlGpuInstanceProfileInfo_t){PROFILE_FACTS(p)};
    return NVML_SUCCESS;
}

static nvmlReturn_t give_v2(const struct mig_profile *p, nvmlGpuInstanceProfileInfo_v2_t *info)
{
    *info = (nvmlGpuInstanceProfileInfo_v2_t){.version = info->version, PROFILE_FACTS(p)};
    snprintf(info->name, sizeof(info->name), "MIG %s", p->name);
    return NVML_SUCCESS;
}

/* Without a name: so answers driver 580. */
static nvmlReturn_t give_v3(const struct mig_profile *p, nvmlGpuInstanceProfileInfo_v3_t *info)
{
    *info = (nvmlGpuInstanceProfileInfo_v3_t){.version = info->version, PROFILE_FACTS(p)};
    return NVML_SUCCESS;
}

/* The structs begin alike: the version says which it is. */
static nvmlReturn_t give_version(const struct mig_profile *p, void *info)
{
    const unsigned version = *(const unsigned *)info;

    if (version == NVML_STRUCT_VERSION_OF(nvmlGpuInstanceProfileInfo_v2_t, 2))
        return give_v2(p, info);
    if (version == NVML_STRUCT_VERSION_OF(nvmlGpuInstanceProfileInfo_v3_t, 3))
        return give_v3(p, info);
    return NVML_ERROR_INVALID_ARGUMENT; /* not the mismatch that other structs return */
}

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoV(nvmlDevice_t device, unsigned int profile,
                                                  nvmlGpuInstanceProfileInfo_v2_t *info)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, info, &v);
    uint32_t at = 0;

    if (r == NVML_SUCCESS)
        r = find_index(&v, profile, &at);
    return r ? r : give_version(&v.model->mig.profiles[at], info);
}

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoByIdV(nvmlDevice_t device, unsigned int profileId,
                                                      nvmlGpuInstanceProfileInfo_v2_t *info)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, info, &v);
    uint32_t at = 0;

    if (r)
        return r;
    r = find_id(&v, profileId, &at);
    if (r == NVML_ERROR_NOT_SUPPORTED)
        return NVML_ERROR_NOT_FOUND;
    return r ? r : give_version(&v.model->mig.profiles[at], info);
}

/* --- placements of GPU instances --- */

static uint32_t count_bits(uint32_t bits)
{
    return (uint32_t)__builtin_popcount(bits);
}

static void give_starts(uint32_t starts, uint32_t size, uint32_t room,
                        nvmlGpuInstancePlacement_t *placements)
{
    uint32_t n = 0;

    for (uint32_t start = 0; starts >> start; start++)
        if (starts & 1u << start && n < room)
            placements[n++] = (nvmlGpuInstancePlacement_t){start, size};
}

nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements_v2(nvmlDevice_t device,
                                                           unsigned int profileId,
                                                           nvmlGpuInstancePlacement_t *placements,
                                                           unsigned int *count)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, count, &v);
    const struct mig_profile *p;
    uint32_t at = 0;

    if (r == NVML_SUCCESS)
        r = find_id(&v, profileId, &at);
    if (r)
        return r;
    p = &v.model->mig.profiles[at];
    if (placements) /* too small a buffer is no error (an H200 under 580) */
        give_starts(p->starts, p->slots, *count, placements);
    *count = count_bits(p->starts);
    return NVML_SUCCESS;
}

/* The first version takes no count, and does not know of media extensions. */
nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements(nvmlDevice_t device, unsigned int profileId,
                                                        nvmlGpuInstancePlacement_t *placements,
                                                        unsigned int *count)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, count, &v);
    uint32_t at = 0;

    if (r == NVML_SUCCESS && !placements)
        r = NVML_ERROR_INVALID_ARGUMENT;
    if (r == NVML_SUCCESS)
        r = find_id(&v, profileId, &at);
    if (r == NVML_SUCCESS && strchr(v.model->mig.profiles[at].name, '+'))
        r = NVML_ERROR_NOT_SUPPORTED;
    if (r)
        return r;
    *count = count_bits(v.model->mig.profiles[at].starts);
    give_starts(v.model->mig.profiles[at].starts, v.model->mig.profiles[at].slots, MIG_SLOTS_MAX,
                placements);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceRemainingCapacity(nvmlDevice_t device, unsigned int profileId,
                                                       unsigned int *count)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, count, &v);
    struct mig_layout layout;
    uint32_t at = 0;

    if (r == NVML_SUCCESS)
        r = find_id(&v, profileId, &at);
    if (r)
        return r;
    migstate_read(v.state, v.index, &layout);
    *count = migplace_capacity(&v.model->mig, &layout, at);
    return NVML_SUCCESS;
}

/* --- GPU instances --- */

static nvmlReturn_t create(const char *call, nvmlDevice_t device, unsigned id,
                           const nvmlGpuInstancePlacement_t *placement, nvmlGpuInstance_t *instance)
{
    struct view v;
    nvmlReturn_t r = enter_board(call, device, instance, &v);
    struct migstate_ref ref;
    uint32_t at = 0;

    if (r == NVML_SUCCESS)
        r = find_id(&v, id, &at);
    if (r)
        return r;
    if (placement && placement->size != v.model->mig.profiles[at].slots)
        return NVML_ERROR_INVALID_ARGUMENT;
    r = status_of(
        migstate_create(v.file, v.index, at, placement ? placement->start : MIGPLACE_ANY, &ref));
    if (r == NVML_SUCCESS)
        *instance = give_instance(&ref);
    return r;
}

nvmlReturn_t nvmlDeviceCreateGpuInstance(nvmlDevice_t device, unsigned int profileId,
                                         nvmlGpuInstance_t *gpuInstance)
{
    return create(__func__, device, profileId, NULL, gpuInstance);
}

nvmlReturn_t nvmlDeviceCreateGpuInstanceWithPlacement(nvmlDevice_t device, unsigned int profileId,
                                                      const nvmlGpuInstancePlacement_t *placement,
                                                      nvmlGpuInstance_t *gpuInstance)
{
    if (!placement)
        gpuInstance = NULL; /* refused like it, but after faults */
    return create(__func__, device, profileId, placement, gpuInstance);
}

nvmlReturn_t nvmlGpuInstanceDestroy(nvmlGpuInstance_t gpuInstance)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);

    return r ? r : status_of(migstate_destroy(i.v.file, &i.ref));
}

/* The buffer has room for the profile's count; `count` is not read. */
nvmlReturn_t nvmlDeviceGetGpuInstances(nvmlDevice_t device, unsigned int profileId,
                                       nvmlGpuInstance_t *gpuInstances, unsigned int *count)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, count, &v);
    struct mig_layout layout;
    uint32_t at = MIG_GI_PROFILES_MAX;
    unsigned n = 0;

    if (r)
        return r;
    r = gpuInstances ? find_id(&v, profileId, &at) : NVML_ERROR_INVALID_ARGUMENT;
    if (r && r != NVML_ERROR_NOT_SUPPORTED) /* another GPU's profile: there is none */
        return r;
    migstate_read(v.state, v.index, &layout);
    for (uint32_t i = 0; i < layout.n_instances; i++) {
        struct migstate_ref ref;

        if (layout.instances[i].profile == at &&
            migstate_refer(v.state, v.index, layout.instances[i].id, STATE_NO_INSTANCE, &ref) == 0)
            gpuInstances[n++] = give_instance(&ref);
    }
    *count = n;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceById(nvmlDevice_t device, unsigned int id,
                                          nvmlGpuInstance_t *gpuInstance)
{
    struct view v;
    nvmlReturn_t r = enter_board(__func__, device, gpuInstance, &v);
    struct migstate_ref ref;

    if (r)
        return r;
    if (migstate_refer(v.state, v.index, id, STATE_NO_INSTANCE, &ref) != 0)
        return NVML_ERROR_NOT_FOUND;
    *gpuInstance = give_instance(&ref);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlGpuInstance_t gpuInstance, nvmlGpuInstanceInfo_t *info)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);

    if (r)
        return r;
    if (!info)
        return NVML_ERROR_INVALID_ARGUMENT;
    *info = (nvmlGpuInstanceInfo_t){
        .device = library_handle(i.v.state, i.v.index),
        .id = i.instance->id,
        .profileId = i.profile->id,
        .placement = {i.instance->start, i.profile->slots},
    };
    return NVML_SUCCESS;
}

/* --- profiles of compute instances --- */

static nvmlReturn_t find_compute_index(const struct instance_view *i, unsigned index,
                                       unsigned engines, const struct mig_ci_profile **ret_profile)
{
    if (index >=
            (library_driver_since(i->v.state, 580) ? NVML_COMPUTE_INSTANCE_PROFILE_COUNT : 8u) ||
        engines >= NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (uint32_t j = 0; j < i->profile->n_computes; j++)
        if (i->profile->computes[j].index == index) {
            *ret_profile = &i->profile->computes[j];
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t find_compute_id(const struct instance_view *i, unsigned id,
                                    uint32_t *ret_profile)
{
    for (uint32_t j = 0; j < i->profile->n_computes; j++)
        if (i->profile->computes[j].id == id) {
            *ret_profile = j;
            return NVML_SUCCESS;
        }
    return id < NVML_COMPUTE_INSTANCE_PROFILE_COUNT ? NVML_ERROR_NOT_SUPPORTED
                                                    : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfo(nvmlGpuInstance_t gpuInstance,
                                                          unsigned int profile,
                                                          unsigned int engProfile,
                                                          nvmlComputeInstanceProfileInfo_t *info)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);
    const struct mig_ci_profile *p = NULL;

    if (r == NVML_SUCCESS)
        r = info ? find_compute_index(&i, profile, engProfile, &p) : NVML_ERROR_INVALID_ARGUMENT;
    if (r)
        return r;
    *info = (nvmlComputeInstanceProfileInfo_t){
        .id = p->id,
        .sliceCount = p->slices,
        .instanceCount = p->max_count,
        .multiprocessorCount = p->multiprocessors,
        .sharedCopyEngineCount = i.profile->shape.copy_engines,
        .sharedDecoderCount = i.profile->shape.decoders,
        .sharedEncoderCount = i.profile->shape.encoders,
        .sharedJpegCount = i.profile->shape.jpeg_engines,
        .sharedOfaCount = i.profile->shape.ofa_engines,
    };
    return NVML_SUCCESS;
}

/* The second and the third version differ in what stands behind the name. */
nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfoV(
    nvmlGpuInstance_t gpuInstance, unsigned int profile, unsigned int engProfile,
    nvmlComputeInstanceProfileInfo_v2_t *info)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);
    const struct mig_ci_profile *p = NULL;
    char name[STATE_UUID];

    if (r == NVML_SUCCESS)
        r = info ? find_compute_index(&i, profile, engProfile, &p) : NVML_ERROR_INVALID_ARGUMENT;
    if (r)
        return r;
    if (info->version == NVML_STRUCT_VERSION_OF(nvmlComputeInstanceProfileInfo_v3_t, 3))
        ((nvmlComputeInstanceProfileInfo_v3_t *)(void *)info)->capabilities = 0;
    else if (info->version != NVML_STRUCT_VERSION_OF(nvmlComputeInstanceProfileInfo_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    *info = (nvmlComputeInstanceProfileInfo_v2_t){
        .version = info->version,
        .id = p->id,
        .sliceCount = p->slices,
        .instanceCount = p->max_count,
        .multiprocessorCount = p->multiprocessors,
        .sharedCopyEngineCount = i.profile->shape.copy_engines,
        .sharedDecoderCount = i.profile->shape.decoders,
        .sharedEncoderCount = i.profile->shape.encoders,
        .sharedJpegCount = i.profile->shape.jpeg_engines,
        .sharedOfaCount = i.profile->shape.ofa_engines,
    };
    migstate_name(i.profile, p->slices, name);
    snprintf(info->name, sizeof(info->name), "MIG %s", name);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpuInstanceGetComputeInstanceRemainingCapacity(nvmlGpuInstance_t gpuInstance,
                                                                unsigned int profileId,
                                                                unsigned int *count)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);
    uint32_t at = 0;

    if (r == NVML_SUCCESS)
        r = count ? find_compute_id(&i, profileId, &at) : NVML_ERROR_INVALID_ARGUMENT;
    if (r)
        return r;
    *count = migplace_compute_capacity(&i.v.model->mig, i.instance, at);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpuInstanceGetComputeInstancePossiblePlacements(
    nvmlGpuInstance_t gpuInstance, unsigned int profileId,
    nvmlComputeInstancePlacement_t *placements, unsigned int *count)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);
    uint32_t at = 0, starts, n = 0;

    if (r == NVML_SUCCESS)
        r = count ? find_compute_id(&i, profileId, &at) : NVML_ERROR_INVALID_ARGUMENT;
    if (r)
        return r;
    starts = migplace_compute_starts(&i.v.model->mig, i.instance, at);
    if (placements && *count < count_bits(starts)) {
        *count = count_bits(starts);
        return NVML_ERROR_INSUFFICIENT_SIZE;
    }
    *count = count_bits(starts);
    for (uint32_t start = 0; placements && starts >> start; start++)
        if (starts & 1u << start)
            placements[n++] =
                (nvmlComputeInstancePlacement_t){start, i.profile->computes[at].slices};
    return NVML_SUCCESS;
}

/* --- compute instances --- */

static nvmlReturn_t create_compute(const char *call, nvmlGpuInstance_t handle, unsigned id,
                                   const nvmlComputeInstancePlacement_t *placement,
                                   nvmlComputeInstance_t *compute)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(call, handle, &i);
    struct migstate_ref ref;
    uint32_t at = 0;

    if (r == NVML_SUCCESS)
        r = compute ? find_compute_id(&i, id, &at) : NVML_ERROR_INVALID_ARGUMENT;
    if (r)
        return r;
    if (placement && placement->size != i.profile->computes[at].slices)
        return NVML_ERROR_INVALID_ARGUMENT;
    r = status_of(migstate_create_compute(i.v.file, &i.ref, at,
                                          placement ? placement->start : MIGPLACE_ANY, &ref));
    if (r == NVML_SUCCESS)
        *compute = give_compute(&ref);
    return r;
}

nvmlReturn_t nvmlGpuInstanceCreateComputeInstance(nvmlGpuInstance_t gpuInstance,
                                                  unsigned int profileId,
                                                  nvmlComputeInstance_t *computeInstance)
{
    return create_compute(__func__, gpuInstance, profileId, NULL, computeInstance);
}

nvmlReturn_t nvmlGpuInstanceCreateComputeInstanceWithPlacement(
    nvmlGpuInstance_t gpuInstance, unsigned int profileId,
    const nvmlComputeInstancePlacement_t *placement, nvmlComputeInstance_t *computeInstance)
{
    if (!placement)
        computeInstance = NULL; /* refused like it, but after faults */
    return create_compute(__func__, gpuInstance, profileId, placement, computeInstance);
}

nvmlReturn_t nvmlComputeInstanceDestroy(nvmlComputeInstance_t computeInstance)
{
    struct instance_view i;
    nvmlReturn_t r = enter_compute(__func__, computeInstance, &i);

    return r ? r : status_of(migstate_destroy_compute(i.v.file, &i.ref));
}

nvmlReturn_t nvmlGpuInstanceGetComputeInstances(nvmlGpuInstance_t gpuInstance,
                                                unsigned int profileId,
                                                nvmlComputeInstance_t *computeInstances,
                                                unsigned int *count)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);
    uint32_t at = 0;
    unsigned n = 0;

    if (r == NVML_SUCCESS)
        r = count && computeInstances ? find_compute_id(&i, profileId, &at)
                                      : NVML_ERROR_INVALID_ARGUMENT;
    if (r)
        return r;
    for (uint32_t j = 0; j < i.instance->n_computes; j++) {
        struct migstate_ref ref;

        if (i.instance->computes[j].profile == at &&
            migstate_refer(i.v.state, i.v.index, i.instance->id, i.instance->computes[j].id,
                           &ref) == 0)
            computeInstances[n++] = give_compute(&ref);
    }
    *count = n;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpuInstanceGetComputeInstanceById(nvmlGpuInstance_t gpuInstance, unsigned int id,
                                                   nvmlComputeInstance_t *computeInstance)
{
    struct instance_view i;
    nvmlReturn_t r = enter_instance(__func__, gpuInstance, &i);
    struct migstate_ref ref;

    if (r)
        return r;
    if (!computeInstance)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (migstate_refer(i.v.state, i.v.index, i.instance->id, id, &ref) != 0)
        return NVML_ERROR_NOT_FOUND;
    *computeInstance = give_compute(&ref);
    return NVML_SUCCESS;
}

/* Writes the first `size` bytes of what there is to tell. */
static nvmlReturn_t compute_info(const char *function, nvmlComputeInstance_t computeInstance,
                                 nvmlComputeInstanceInfo_t *info, size_t size)
{
    struct instance_view i;
    nvmlReturn_t r = enter_compute(function, computeInstance, &i);
    nvmlComputeInstanceInfo_t whole;
    struct migstate_ref ref;

    if (r)
        return r;
    if (!info || migstate_refer(i.v.state, i.v.index, i.instance->id, STATE_NO_INSTANCE, &ref) != 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    whole = (nvmlComputeInstanceInfo_t){
        .device = library_handle(i.v.state, i.v.index),
        .gpuInstance = give_instance(&ref),
        .id = i.compute->id,
        .profileId = i.profile->computes[i.compute->profile].id,
        .placement = {i.compute->start, i.compute->slices},
    };
    memcpy(info, &whole, size);
    return NVML_SUCCESS;
}

/* The struct of this version, CUDA 11.0's, ends before the placement: its callers have no more. */
nvmlReturn_t nvmlComputeInstanceGetInfo(nvmlComputeInstance_t computeInstance,
                                        nvmlComputeInstanceInfo_t *info)
{
    return compute_info(__func__, computeInstance, info,
                        offsetof(nvmlComputeInstanceInfo_t, placement));
}

nvmlReturn_t nvmlComputeInstanceGetInfo_v2(nvmlComputeInstance_t computeInstance,
                                           nvmlComputeInstanceInfo_t *info)
{
    return compute_info(__func__, computeInstance, info, sizeof(*info));
}
