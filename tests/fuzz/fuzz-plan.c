// SPDX-License-Identifier: Apache-2.0

/*
 * Any machine and any valid policy: the plan's invariants hold (slice/invariant.h), every way to
 * divide a GPU uses it up or reports what is left, the order of the inventory does not matter, and
 * preferred allocations match the request. The bytes are read as numbers, so each input is a
 * sensible pair.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice/invariant.h"
#include "slice/name.h"
#include "slice/planner.h"
#include "slice/prefer.h"
#include "slice/share.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    N_GPUS = 20,
    N_MIG = 4 * N_GPUS,
    N_ENTRIES = 6,
    N_REFS = 4,
    N_SIZES = 4,
    N_RULES = 2,
    N_IDS = 512
};

struct bytes {
    const uint8_t *data;
    size_t size;
};

/* The next number below `limit`; 0 once the bytes are used up. */
static unsigned next(struct bytes *bytes, unsigned limit)
{
    if (bytes->size == 0)
        return 0;
    bytes->size--;
    return *bytes->data++ % limit;
}

#define REQUIRE(condition, ...)           \
    do {                                  \
        if (!(condition)) {               \
            fprintf(stderr, __VA_ARGS__); \
            abort();                      \
        }                                 \
    } while (0)

/* ---- A machine ---- */

struct machine {
    struct inventory inventory;
    struct gpu gpus[N_GPUS];
    struct gpu_link links[N_GPUS * N_GPUS];
    struct device mig_devices[N_MIG];
};

static void read_gpu(struct bytes *bytes, struct gpu *gpu, unsigned i)
{
    static const char *const models[] = {
        "Tesla T4", "NVIDIA A100-SXM4-40GB", "DGX Display", "",
        "(a model of more than sixty-three characters and a bracket at its end) -"};
    static const unsigned memories_mib[] = {16384, 0, 81920, 1, 700};
    unsigned oddity = next(bytes, 16);

    gpu->index = oddity == 1 ? 0 : i;
    if (oddity != 2)
        snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%08x", oddity == 3 ? 0 : i);
    if (oddity == 4)
        snprintf(gpu->unusable, sizeof(gpu->unusable), "it is lost");
    gpu->mig_enabled = oddity == 5 || oddity == 6;
    gpu->mig_capable = oddity % 2;
    gpu->minor = (int)i;
    gpu->numa_node = (int)(i / 4);
    snprintf(gpu->model, sizeof(gpu->model), "%s", models[next(bytes, 5)]);
    gpu->mem_total_bytes = memories_mib[next(bytes, 5)] * SHARE_MIB + next(bytes, 3);
    gpu->mem_reserved_bytes = next(bytes, 3) * SHARE_MIB;
    gpu->cc_major = next(bytes, 14);
    gpu->n_nvswitch_links = next(bytes, 3);
}

static void read_mig_device(struct bytes *bytes, const struct inventory *inventory, size_t gpu,
                            unsigned mig_index, struct device *device)
{
    static const char *const profiles[] = {"1g.5gb", "2g.10gb", "1c.3g.20gb", "1g.5gb+me", "", "?"};
    unsigned oddity = next(bytes, 12);

    *device = inventory_whole(inventory, gpu);
    device->kind = DEVICE_MIG;
    device->mig_index = oddity == 1 ? 0 : mig_index;
    device->instance.gpu = 7 + mig_index;
    device->instance.compute = next(bytes, 2);
    snprintf(device->uuid, sizeof(device->uuid), "MIG-%08zx",
             oddity == 2 ? 0 : gpu * 8 + mig_index);
    if (oddity == 3)
        device->uuid[0] = '\0';
    if (oddity == 4)
        snprintf(device->unusable, sizeof(device->unusable), "it is lost");
    snprintf(device->profile, sizeof(device->profile), "%s", profiles[next(bytes, 6)]);
    device->mem_total_bytes = next(bytes, 5000) * SHARE_MIB + next(bytes, 2);
    device->mem_reserved_bytes = next(bytes, 2) * SHARE_MIB;
    device->shape.multiprocessors = next(bytes, 2) * 14;
}

/* Up to four devices on each of the GPUs that have MIG on, and now and then on one that has not. */
static void read_mig_devices(struct bytes *bytes, struct inventory *inventory,
                             struct device *mig_devices)
{
    inventory->mig_devices = mig_devices;
    for (size_t i = 0; i < inventory->n_gpus; i++) {
        unsigned n = inventory->gpus[i].mig_enabled || next(bytes, 8) == 1 ? next(bytes, 5) : 0;

        for (unsigned k = 0; k < n; k++)
            read_mig_device(bytes, inventory, i, k, &mig_devices[inventory->n_mig_devices++]);
    }
    if (inventory->n_mig_devices > 0)
        qsort(mig_devices, inventory->n_mig_devices, sizeof(*mig_devices), device_compare);
}

static void read_machine(struct bytes *bytes, struct machine *machine)
{
    struct inventory *inventory = &machine->inventory;

    memset(machine, 0, sizeof(*machine));
    inventory->gpus = machine->gpus;
    inventory->n_gpus = next(bytes, N_GPUS + 1);
    snprintf(inventory->driver_version, sizeof(inventory->driver_version), "550.%u",
             next(bytes, 200));
    inventory->cuda_version = (int)next(bytes, 2) * 12040;
    for (unsigned i = 0; i < inventory->n_gpus; i++)
        read_gpu(bytes, &machine->gpus[i], i);
    read_mig_devices(bytes, inventory, machine->mig_devices);
    if (next(bytes, 4) == 0)
        return;
    inventory->links = machine->links;
    for (size_t i = 0; i < inventory->n_gpus; i++) {
        for (size_t j = 0; j < i; j++) {
            struct gpu_link link = {(uint8_t)next(bytes, GPU_PATH_UNKNOWN + 1),
                                    (uint8_t)next(bytes, 3)};

            machine->links[i * inventory->n_gpus + j] = link;
            machine->links[j * inventory->n_gpus + i] = link;
        }
    }
}

/* ---- A policy, as config/ may give it ---- */

struct wishes {
    struct policy policy;
    struct sharing_entry entries[N_ENTRIES];
    struct device_ref refs[N_ENTRIES][N_REFS], excluded[N_REFS];
    struct slice_size sizes[N_SIZES];
    struct resource_rule rules[N_RULES], mig_rules[N_RULES];
};

static void read_name(struct bytes *bytes, char *name)
{
    static const char *const names[] = {NAME_GPU,
                                        "nvidia.com/a100",
                                        "nvidia.com/x",
                                        "nvidia.com/mig-1g.5gb",
                                        "nvidia.com/gpu.shared",
                                        "nvidia.com/mig-2g.10gb"};

    snprintf(name, RESOURCE_NAME_SIZE, "%s", names[next(bytes, 6)]);
}

static void read_ref(struct bytes *bytes, struct device_ref *ref)
{
    ref->kind = next(bytes, 3);
    ref->index = next(bytes, N_GPUS);
    ref->mig_index = next(bytes, 5);
    if (next(bytes, 4))
        snprintf(ref->uuid, sizeof(ref->uuid), "gpu-%08x", ref->index);
    else
        snprintf(ref->uuid, sizeof(ref->uuid), "MIG-%08x", ref->index * 8 + ref->mig_index);
}

static void read_entry(struct bytes *bytes, struct sharing_entry *entry, struct device_ref *refs)
{
    static const unsigned replicas[] = {1, 2, 3, 4, 7, 48, 1001, UINT32_MAX};

    entry->strategy = next(bytes, 2) ? SHARING_MPS : SHARING_TIME_SLICING;
    read_name(bytes, entry->name);
    if (next(bytes, 2))
        read_name(bytes, entry->rename);
    entry->replicas = replicas[next(bytes, 8)];
    entry->served = !entry->rename[0];
    entry->at.line = next(bytes, 50);
    entry->devices.kind = next(bytes, 3);
    entry->devices.count = 1 + next(bytes, N_GPUS);
    entry->devices.refs = refs;
    entry->devices.n_refs = next(bytes, N_REFS + 1);
    for (size_t i = 0; i < entry->devices.n_refs; i++)
        read_ref(bytes, &refs[i]);
}

static void read_wishes(struct bytes *bytes, struct wishes *wishes)
{
    struct policy *policy = &wishes->policy;

    memset(wishes, 0, sizeof(*wishes));
    policy->mig_strategy = next(bytes, 6);
    policy->mig_names = policy->mig_strategy < 3 ? MIG_NAMES_STRATEGY : MIG_NAMES_BOTH;
    policy->mig_strategy %= 3;
    policy->isolation = next(bytes, 3);
    policy->mps_fail_multi = next(bytes, 2);
    policy->sharing = wishes->entries;
    policy->n_sharing = next(bytes, N_ENTRIES + 1);
    for (size_t i = 0; i < policy->n_sharing; i++)
        read_entry(bytes, &wishes->entries[i], wishes->refs[i]);
    policy->slices = wishes->sizes;
    policy->n_slices = next(bytes, N_SIZES + 1);
    for (size_t i = 0; i < policy->n_slices; i++) {
        read_name(bytes, wishes->sizes[i].name);
        wishes->sizes[i].share_permille = 1 + next(bytes, 250) * 4;
        wishes->sizes[i].count = 1 + next(bytes, 200);
        if (next(bytes, 2))
            wishes->sizes[i].mem_bytes = (uint64_t)next(bytes, 256) << next(bytes, 57);
    }
    policy->gpu_rules = wishes->rules;
    policy->n_gpu_rules = next(bytes, N_RULES + 1);
    for (size_t i = 0; i < policy->n_gpu_rules; i++) {
        snprintf(wishes->rules[i].pattern, sizeof(wishes->rules[i].pattern), "%s",
                 next(bytes, 2) ? "*A100*" : "*");
        read_name(bytes, wishes->rules[i].name);
    }
    policy->mig_rules = wishes->mig_rules;
    policy->n_mig_rules = next(bytes, N_RULES + 1);
    for (size_t i = 0; i < policy->n_mig_rules; i++) {
        snprintf(wishes->mig_rules[i].pattern, sizeof(wishes->mig_rules[i].pattern), "%s",
                 next(bytes, 2) ? "1*" : "*");
        read_name(bytes, wishes->mig_rules[i].name);
    }
    policy->excluded = wishes->excluded;
    policy->n_excluded = next(bytes, N_REFS + 1);
    for (size_t i = 0; i < policy->n_excluded; i++)
        read_ref(bytes, &wishes->excluded[i]);
}

/* ---- Invariants ---- */

/* Without unequal slices a device that is offered is offered whole: nothing of it is left over. */
static void check_sums(const struct plan *plan)
{
    uint64_t permille[N_GPUS + N_MIG] = {0}, mem_bytes[N_GPUS + N_MIG] = {0};

    for (size_t r = 0; r < plan->n_resources; r++) {
        for (size_t i = 0; i < plan->resources[r].n_slices; i++) {
            const struct slice *slice = &plan->resources[r].slices[i];

            if (slice->is_second)
                continue;
            permille[slice->device] += slice->share_permille;
            mem_bytes[slice->device] += slice->mem_bytes;
        }
    }
    for (size_t i = 0; i < plan->n_devices; i++) {
        if (*plan->devices[i].left_out)
            continue;
        REQUIRE(permille[i] == SHARE_WHOLE, "device %zu: %ju permille\n", i,
                (uintmax_t)permille[i]);
        REQUIRE(mem_bytes[i] == share_memory_mib(&plan->devices[i].device) * SHARE_MIB,
                "device %zu: %ju bytes\n", i, (uintmax_t)mem_bytes[i]);
    }
}

/* MIG devices are there as the strategy wants them, and never beside their GPU as a whole. */
static void check_strategy(const struct plan *plan, const struct policy *policy)
{
    const struct plan_device *first = NULL;

    for (size_t i = 0; i < plan->n_devices; i++) {
        const struct plan_device *on = &plan->devices[i];

        if (on->device.kind == DEVICE_MIG)
            REQUIRE(policy->mig_strategy != MIG_STRATEGY_NONE, "a MIG device under none\n");
        if (*on->left_out || policy->mig_strategy != MIG_STRATEGY_SINGLE)
            continue;
        if (first)
            REQUIRE(on->device.kind == first->device.kind &&
                        strcmp(on->device.profile, first->device.profile) == 0,
                    "single offers devices that differ\n");
        first = on;
    }
}

static void check_same(const struct plan *a, const struct plan *b)
{
    REQUIRE(a->n_resources == b->n_resources, "the order of the inventory matters\n");
    for (size_t i = 0; i < a->n_resources; i++) {
        const struct plan_resource *of_b = plan_find_resource(b, a->resources[i].name);

        REQUIRE(of_b && plan_resource_equal(a, &a->resources[i], b, of_b),
                "the order of the inventory matters\n");
    }
    REQUIRE(a->n_labels == b->n_labels, "labels differ\n");
    for (size_t i = 0; i < a->n_labels; i++)
        REQUIRE(strcmp(a->labels[i].value, b->labels[i].value) == 0, "labels differ\n");
}

static void check_reversed(const struct machine *machine, const struct policy *policy,
                           const struct plan *plan)
{
    struct machine reversed = *machine;
    struct plan *again = NULL;
    size_t n = machine->inventory.n_gpus;

    reversed.inventory.gpus = reversed.gpus;
    reversed.inventory.mig_devices = reversed.mig_devices;
    for (size_t i = 0; i < n; i++)
        reversed.gpus[i] = machine->gpus[n - 1 - i];
    for (size_t i = 0; i < machine->inventory.n_mig_devices; i++)
        reversed.mig_devices[i].gpu = n - 1 - machine->mig_devices[i].gpu;
    qsort(reversed.mig_devices, machine->inventory.n_mig_devices, sizeof(struct device),
          device_compare);
    REQUIRE(plan_make(&reversed.inventory, policy, NULL, &again) == 0, "no memory\n");
    check_same(plan, again);
    plan_free(again);
}

static void check_answer(const struct plan_resource *resource, const char *const *required,
                         size_t n_required, size_t size, const char **answer)
{
    for (size_t i = 0; i < size; i++) {
        if (i < n_required)
            REQUIRE(answer[i] == required[i], "a required id is missing\n");
        REQUIRE(plan_find(resource, answer[i]), "an unknown id was preferred\n");
        for (size_t j = 0; j < i; j++)
            REQUIRE(answer[i] != answer[j], "an id was preferred twice\n");
    }
}

static void check_prefer(struct bytes *bytes, const struct plan *plan,
                         const struct machine *machine)
{
    const struct plan_resource *resource =
        &plan->resources[next(bytes, (unsigned)plan->n_resources)];
    const char *available[N_IDS], *required[N_IDS], *answer[N_IDS];
    size_t n_available = 0, n_required = 0, n_free, size = next(bytes, 24);
    int r;

    for (size_t i = 0; i < resource->n_slices && i < N_IDS / 2; i++) {
        unsigned state = next(bytes, 4);

        if (state == 3 && n_required < size)
            required[n_required++] = resource->slices[i].id;
        else if (state < 2)
            available[n_available++] = resource->slices[i].id;
    }
    n_free = n_available;
    for (size_t i = 0; i < n_required; i++)
        available[n_available++] = required[i];
    r = prefer(&(struct preference){.plan = plan,
                                    .resource = resource,
                                    .inventory = &machine->inventory,
                                    .policy = next(bytes, 2),
                                    .available = available,
                                    .n_available = n_available,
                                    .required = required,
                                    .n_required = n_required,
                                    .size = size},
               answer);
    REQUIRE(r == (n_free + n_required < size ? PREFER_TOO_FEW : 0), "prefer gave %d\n", r);
    if (r == 0)
        check_answer(resource, required, n_required, size, answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;
    static struct wishes wishes;
    struct bytes bytes = {data, size};
    struct problems problems = PROBLEMS_INIT;
    struct plan *plan = NULL;

    read_machine(&bytes, &machine);
    read_wishes(&bytes, &wishes);
    REQUIRE(plan_make(&machine.inventory, &wishes.policy, &problems, &plan) == 0, "no memory\n");
    REQUIRE(!plan_fault(plan), "%s\n", plan_fault(plan));
    REQUIRE(!problems.failed, "a problem was lost\n");
    if (wishes.policy.n_slices == 0)
        check_sums(plan);
    check_strategy(plan, &wishes.policy);
    check_reversed(&machine, &wishes.policy, plan);
    if (plan->n_resources > 0)
        check_prefer(&bytes, plan, &machine);
    plan_free(plan);
    problems_deinit(&problems);
    return 0;
}
