// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "gpu/holders.h"
#include "gpu/migminors.h"
#include "gpu/nvml.h"

enum {
    STEP_MS = 120000, /* of one call that changes something, beside its deadline */
    PLACEMENTS_MAX = 32,
    NODE_SIZE = 64,
    HOLDINGS_MAX = 1024,
};

/* One step being made. */
struct step {
    struct gpu_driver *driver;
    const struct gpu_change *change;
    struct gpu_changed *changed;
    nvmlDevice_t device;
};

#define ASK(step, symbol, ...) \
    NVML_ASK_FOR((step)->driver, STEP_MS, (step)->change->uuid, symbol, ##__VA_ARGS__)

/* The outcome of a call; its sentence goes into the answer. */
static int outcome(struct step *step, nvmlReturn_t status, const char *call)
{
    static const struct {
        nvmlReturn_t status;
        int outcome;
        const char *text;
    } own[] = {
        {NVML_ERROR_IN_USE, GPU_IN_USE, "a process holds it"},
        {NVML_ERROR_INSUFFICIENT_RESOURCES, GPU_NO_ROOM, "there is no room for it"},
        {NVML_ERROR_NOT_FOUND, GPU_NO_INSTANCE, "there is no such instance"},
        {NVML_ERROR_NO_PERMISSION, -EPERM,
         "the driver does not permit it: the agent needs SYS_ADMIN and the node of "
         "/proc/driver/nvidia/capabilities/mig/config"},
    };
    struct error err = ERROR_INIT;
    int r;

    if (status == NVML_SUCCESS)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (own[i].status == status) {
            snprintf(step->changed->reason, sizeof(step->changed->reason), "%s (%s)", own[i].text,
                     call);
            return own[i].outcome;
        }
    r = nvml_outcome(status, &err, call);
    snprintf(step->changed->reason, sizeof(step->changed->reason), "%.250s", error_text(&err));
    return r == GPU_TIMEOUT ? -ETIMEDOUT : r;
}

#define TRY(step, symbol, ...) outcome((step), ASK((step), symbol, ##__VA_ARGS__), #symbol)

/* --- holders --- */

/* What a process uses, narrowest first: who uses an instance also opens the node of its GPU, and
 * who uses a compute instance that of its GPU instance. */
struct holding {
    uint32_t pid;
    struct device_instance instance;
};

/* A device node, and what a process uses that has it open. */
struct node {
    char path[NODE_SIZE];
    struct device_instance instance;
};

struct finding {
    struct step *step;
    const struct node *nodes;
    struct holding seen[HOLDINGS_MAX];
    size_t n_seen;
};

static void add_holder(struct step *step, uint32_t pid, struct device_instance instance)
{
    struct gpu_changed *changed = step->changed;
    struct gpu_holder *holder;
    char path[256] = "";
    const char *base;

    if (changed->n_holders == GPU_HOLDERS_MAX)
        return;
    holder = &changed->holders[changed->n_holders++];
    *holder = (struct gpu_holder){.pid = pid, .instance = instance};
    if (ASK(step, nvmlSystemGetProcessName, pid, path, (unsigned)sizeof(path)) != NVML_SUCCESS)
        path[0] = '\0';
    path[sizeof(path) - 1] = '\0';
    str_make_line(path);
    path[strcspn(path, " ")] = '\0';
    base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    snprintf(holder->name, sizeof(holder->name), "%.63s", base);
    if (!*holder->name)
        holders_name(pid, holder->name, sizeof(holder->name));
}

/* Notes what a process uses, unless something in it is noted already; it is a holder if that
 * concerns what was asked for. */
static void note_holding(struct finding *finding, uint32_t pid, struct device_instance instance)
{
    if (pid == (uint32_t)getpid() || pid == (uint32_t)getppid())
        return;
    for (size_t i = 0; i < finding->n_seen; i++)
        if (finding->seen[i].pid == pid &&
            device_instances_overlap(finding->seen[i].instance, instance))
            return;
    if (finding->n_seen < HOLDINGS_MAX)
        finding->seen[finding->n_seen++] = (struct holding){pid, instance};
    if (device_instances_overlap(instance, finding->step->change->instance))
        add_holder(finding->step, pid, instance);
}

static void find_computing(struct finding *finding)
{
    const struct step *step = finding->step;
    cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;

    if (nvml_list_processes(step->driver, step->device, step->change->uuid, STEP_MS, &processes,
                            NULL) != 0)
        return;
    for (size_t i = 0; i < processes.n_items; i++)
        note_holding(finding, processes.items[i].pid, processes.items[i].instance);
}

static void on_found(uint32_t pid, size_t node, void *userdata)
{
    struct finding *finding = userdata;

    note_holding(finding, pid, finding->nodes[node].instance);
}

/* The nodes of compute instances, else of GPU instances, of the GPU with that minor number. */
static size_t add_nodes(const struct migminors *minors, unsigned gpu, bool of_compute,
                        struct node *nodes)
{
    size_t n = 0;

    for (size_t i = 0; i < minors->n_items; i++) {
        const struct migminor *item = &minors->items[i];

        if (item->gpu != gpu || (item->compute_instance != DEVICE_NO_INSTANCE) != of_compute)
            continue;
        nodes[n].instance = (struct device_instance){item->gpu_instance, item->compute_instance};
        snprintf(nodes[n++].path, NODE_SIZE, "/dev/nvidia-caps/nvidia-cap%d", item->minor);
    }
    return n;
}

static int find_open(struct finding *finding)
{
    cleanup_migminors struct migminors minors = MIGMINORS_INIT;
    cleanup_free struct node *nodes = NULL;
    cleanup_free const char **paths = NULL;
    size_t n;
    unsigned minor;

    if (ASK(finding->step, nvmlDeviceGetMinorNumber, finding->step->device, &minor) != NVML_SUCCESS)
        return 0;
    if (migminors_load(&minors, NULL) == -ENOMEM)
        return -ENOMEM;
    nodes = calloc(minors.n_items + 1, sizeof(*nodes));
    paths = calloc(minors.n_items + 1, sizeof(*paths));
    if (!nodes || !paths)
        return -ENOMEM;
    n = add_nodes(&minors, minor, true, nodes);
    n += add_nodes(&minors, minor, false, nodes + n);
    nodes[n].instance = (struct device_instance){DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    snprintf(nodes[n++].path, NODE_SIZE, "/dev/nvidia%u", minor);
    for (size_t i = 0; i < n; i++)
        paths[i] = nodes[i].path;
    finding->nodes = nodes;
    return holders_find(paths, n, (uint32_t)getpid(), (uint32_t)getppid(), on_found, finding);
}

static int find_holders(struct step *step)
{
    struct finding finding = {.step = step};

    find_computing(&finding);
    return find_open(&finding);
}

/* --- steps --- */

/* The driver takes the mode, and tells apart whether it is in force already. */
static int set_mode(struct step *step)
{
    const unsigned wanted = step->change->enabled;
    nvmlReturn_t activation = NVML_SUCCESS;
    unsigned current = 0, pending = 0;
    nvmlReturn_t status = ASK(step, nvmlDeviceSetMigMode, step->device, wanted, &activation);

    if (status != NVML_SUCCESS && status != NVML_ERROR_RESET_REQUIRED)
        return outcome(step, status, "nvmlDeviceSetMigMode");
    if (TRY(step, nvmlDeviceGetMigMode, step->device, &current, &pending) == 0 &&
        current == wanted && pending == wanted)
        return 0;
    if (activation == NVML_ERROR_IN_USE)
        return outcome(step, activation, "nvmlDeviceSetMigMode");
    snprintf(step->changed->reason, sizeof(step->changed->reason),
             "the mode is in force after a reset of the GPU (nvmlDeviceSetMigMode)");
    return GPU_RESET_PENDING;
}

static int find_place(struct step *step, unsigned id, nvmlGpuInstancePlacement_t *ret_place)
{
    nvmlGpuInstancePlacement_t places[PLACEMENTS_MAX] = {{0}};
    unsigned n = PLACEMENTS_MAX;
    int r = TRY(step, nvmlDeviceGetGpuInstancePossiblePlacements_v2, step->device, id, places, &n);

    for (unsigned i = 0; r == 0 && i < n && i < PLACEMENTS_MAX; i++)
        if (places[i].start == step->change->start) {
            *ret_place = places[i];
            return 0;
        }
    if (r == 0)
        snprintf(step->changed->reason, sizeof(step->changed->reason),
                 "no instance of that profile starts at memory slice %u", step->change->start);
    return r ? r : -EINVAL;
}

static int create_instance(struct step *step)
{
    const struct gpu_change *change = step->change;
    nvmlGpuInstanceProfileInfo_t profile = {.id = 0};
    nvmlGpuInstancePlacement_t place;
    nvmlGpuInstanceInfo_t info = {.id = 0};
    nvmlGpuInstance_t instance = NULL;
    int r = TRY(step, nvmlDeviceGetGpuInstanceProfileInfo, step->device, change->profile, &profile);

    if (r == 0 && change->start == DEVICE_NO_INSTANCE)
        r = TRY(step, nvmlDeviceCreateGpuInstance, step->device, profile.id, &instance);
    else if (r == 0 && (r = find_place(step, profile.id, &place)) == 0)
        r = TRY(step, nvmlDeviceCreateGpuInstanceWithPlacement, step->device, profile.id, &place,
                &instance);
    if (r == 0)
        r = TRY(step, nvmlGpuInstanceGetInfo, instance, &info);
    if (r == 0)
        step->changed->instance = (struct device_instance){info.id, DEVICE_NO_INSTANCE};
    return r;
}

static int get_instance(struct step *step, nvmlGpuInstance_t *ret_instance)
{
    return TRY(step, nvmlDeviceGetGpuInstanceById, step->device, step->change->instance.gpu,
               ret_instance);
}

/* Some GPU instances have another profile of the same size (NVML's REV1). */
static int find_compute(struct step *step, nvmlGpuInstance_t instance, unsigned index,
                        nvmlComputeInstanceProfileInfo_t *ret_profile)
{
    return TRY(step, nvmlGpuInstanceGetComputeInstanceProfileInfo, instance, index,
               NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED, ret_profile);
}

static int create_compute(struct step *step)
{
    const struct gpu_change *change = step->change;
    nvmlComputeInstanceProfileInfo_t profile = {.id = 0};
    nvmlComputeInstanceInfo_t info = {.id = 0};
    nvmlComputeInstance_t compute = NULL;
    nvmlGpuInstance_t instance = NULL;
    int r = get_instance(step, &instance);

    if (r)
        return r;
    r = find_compute(step, instance, change->profile, &profile);
    if (r == GPU_UNSUPPORTED && change->profile == NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE)
        r = find_compute(step, instance, NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE_REV1, &profile);
    if (r == 0 && change->start == DEVICE_NO_INSTANCE)
        r = TRY(step, nvmlGpuInstanceCreateComputeInstance, instance, profile.id, &compute);
    else if (r == 0)
        r = TRY(step, nvmlGpuInstanceCreateComputeInstanceWithPlacement, instance, profile.id,
                &((nvmlComputeInstancePlacement_t){change->start, profile.sliceCount}), &compute);
    if (r == 0)
        r = TRY(step, nvmlComputeInstanceGetInfo_v2, compute, &info);
    if (r == 0)
        step->changed->instance = (struct device_instance){change->instance.gpu, info.id};
    return r;
}

static int destroy_compute(struct step *step)
{
    nvmlComputeInstance_t compute = NULL;
    nvmlGpuInstance_t instance = NULL;
    int r = get_instance(step, &instance);

    if (r == 0)
        r = TRY(step, nvmlGpuInstanceGetComputeInstanceById, instance,
                step->change->instance.compute, &compute);
    return r ? r : TRY(step, nvmlComputeInstanceDestroy, compute);
}

static int destroy_instance(struct step *step)
{
    nvmlGpuInstance_t instance = NULL;
    int r = get_instance(step, &instance);

    return r ? r : TRY(step, nvmlGpuInstanceDestroy, instance);
}

static int refuse_reset(struct step *step)
{
    snprintf(step->changed->reason, sizeof(step->changed->reason),
             "a session with the driver cannot reset a GPU");
    return -EINVAL;
}

void nvml_change(struct gpu_driver *driver, const struct gpu_change *change,
                 struct gpu_changed *ret_changed)
{
    static int (*const verbs[GPU_VERBS])(struct step * step) = {
        [GPU_SET_MIG_MODE] = set_mode,
        [GPU_CREATE_INSTANCE] = create_instance,
        [GPU_CREATE_COMPUTE] = create_compute,
        [GPU_DESTROY_COMPUTE] = destroy_compute,
        [GPU_DESTROY_INSTANCE] = destroy_instance,
        [GPU_RESET] = refuse_reset,
        [GPU_FIND_HOLDERS] = find_holders,
    };
    struct step step = {.driver = driver, .change = change, .changed = ret_changed};
    struct error err = ERROR_INIT;

    memset(ret_changed, 0, sizeof(*ret_changed));
    ret_changed->instance = (struct device_instance){DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    ret_changed->outcome = nvml_find_device(driver, change->uuid, &step.device, &err);
    if (ret_changed->outcome) {
        snprintf(ret_changed->reason, sizeof(ret_changed->reason), "%.250s", error_text(&err));
        return;
    }
    ret_changed->outcome = verbs[change->verb](&step);
    if (ret_changed->outcome == GPU_IN_USE)
        (void)find_holders(&step);
    if (ret_changed->outcome == 0)
        ret_changed->reason[0] = '\0';
}
