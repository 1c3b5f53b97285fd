// SPDX-License-Identifier: Apache-2.0
#include "slice/test-machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "slice/invariant.h"
#include "slice/planner.h"

#define MIB (UINT64_C(1) << 20)

const char *machine_uuid(size_t i)
{
    static char uuids[32][48];
    char *uuid = uuids[i % 32];

    snprintf(uuid, sizeof(uuids[0]), "GPU-00000000-0000-0000-0000-00000000000%x", (unsigned)i & 15);
    return uuid;
}

struct inventory machine_make(size_t n, const char *model, unsigned mem_total_mib,
                              enum gpu_path path)
{
    struct inventory m = {.driver_version = "550.163.01", .cuda_version = 12040, .n_gpus = n};

    m.gpus = calloc(n + 1, sizeof(*m.gpus));
    m.links = calloc(n * n + 1, sizeof(*m.links));
    if (!m.gpus || !m.links)
        abort();
    for (size_t i = 0; i < n; i++) {
        struct gpu *gpu = &m.gpus[i];

        gpu->index = (unsigned)i;
        gpu->minor = (int)i;
        gpu->numa_node = -1;
        snprintf(gpu->uuid, sizeof(gpu->uuid), "%s", machine_uuid(i));
        snprintf(gpu->model, sizeof(gpu->model), "%s", model);
        gpu->mem_total_bytes = mem_total_mib * MIB;
        gpu->pci_class = PCI_CLASS_3D;
        for (size_t j = 0; j < n; j++)
            m.links[i * n + j].path = (uint8_t)path;
    }
    return m;
}

static void set_all(struct inventory *m, unsigned cc_major, unsigned cc_minor,
                    uint64_t mem_reserved)
{
    for (size_t i = 0; i < m->n_gpus; i++) {
        m->gpus[i].cc_major = cc_major;
        m->gpus[i].cc_minor = cc_minor;
        m->gpus[i].mem_reserved_bytes = mem_reserved;
    }
}

/* NVLinks of the hybrid cube mesh (DGX-1V, p3.16xlarge); p3.8xlarge is its first four GPUs. */
static const char cube_mesh[8][9] = {
    "01122000", "10210200", "12020010", "21200001", "20000112", "02001021", "00101202", "00012120",
};

static struct inventory machine_p3(size_t n, const char *machine)
{
    struct inventory m = machine_make(n, "Tesla V100-SXM2-16GB", 16384, GPU_PATH_HOST_BRIDGE);

    snprintf(m.machine, sizeof(m.machine), "%s", machine);
    set_all(&m, 7, 0, 233 * MIB + 4096);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            m.links[i * n + j].n_nvlinks = (uint8_t)(cube_mesh[i][j] - '0');
    return m;
}

struct inventory machine_p3_8xlarge(void)
{
    return machine_p3(4, "p3.8xlarge");
}

struct inventory machine_p3_16xlarge(void)
{
    return machine_p3(8, "p3.16xlarge");
}

struct inventory machine_p4d(void)
{
    struct inventory m = machine_make(8, "NVIDIA A100-SXM4-40GB", 40960, GPU_PATH_ACROSS_CPUS);

    snprintf(m.machine, sizeof(m.machine), "p4d.24xlarge");
    set_all(&m, 8, 0, 600 * MIB);
    for (size_t i = 0; i < 8; i++) {
        m.gpus[i].mig_capable = true;
        m.gpus[i].n_nvswitch_links = 12;
        m.gpus[i].numa_node = i < 4 ? 0 : 1;
        for (size_t j = 0; j < 8; j++)
            if (i / 4 == j / 4)
                m.links[i * 8 + j].path =
                    i / 2 == j / 2 ? GPU_PATH_SINGLE_SWITCH : GPU_PATH_SAME_CPU;
    }
    return m;
}

struct inventory machine_pcie(void)
{
    struct inventory m = machine_make(4, "NVIDIA L4", 23034, GPU_PATH_ACROSS_CPUS);

    set_all(&m, 8, 9, 580 * MIB);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            if (i % 2 == j % 2)
                m.links[i * 4 + j].path = GPU_PATH_SAME_CPU;
    return m;
}

/* A seventh of an A100 for each compute slice: close enough, and no two sizes are equal. */
static void add_mig_device(struct inventory *m, size_t gpu, unsigned mig_index, const char *profile)
{
    struct device *device = &m->mig_devices[m->n_mig_devices++];
    unsigned slices = (unsigned)(*profile - '0');

    *device = inventory_whole(m, gpu);
    device->kind = DEVICE_MIG;
    device->mig_index = mig_index;
    device->instance.gpu = 7 + mig_index;
    device->instance.compute = 0;
    device->gi_minor = 30 + (int)(10 * gpu + mig_index) * 9;
    device->ci_minor = device->gi_minor + 1;
    device->mem_total_bytes = slices * 4864 * MIB;
    device->mem_reserved_bytes = 0;
    device->shape = (struct device_shape){14 * slices, slices, slices, 1, 0, 0, 0, 0};
    snprintf(device->uuid, sizeof(device->uuid), "%s", machine_mig_uuid(gpu, mig_index));
    assert_int_equal(str_copy(device->profile, sizeof(device->profile), profile), 0);
}

const char *machine_mig_uuid(size_t gpu, unsigned mig_index)
{
    static char uuids[16][48];
    static size_t next;
    char *uuid = uuids[next++ % 16];

    snprintf(uuid, sizeof(uuids[0]), "MIG-00000000-0000-0000-000%x-00000000000%x",
             (unsigned)gpu & 15, mig_index & 15);
    return uuid;
}

void machine_partition(struct inventory *m, size_t gpu, const char *profiles)
{
    char copy[256], *save = NULL;
    unsigned mig_index = 0;

    m->gpus[gpu].mig_capable = m->gpus[gpu].mig_enabled = true;
    assert_int_equal(str_copy(copy, sizeof(copy), profiles), 0);
    m->mig_devices = reallocarray(m->mig_devices, m->n_mig_devices + strlen(copy) / 2 + 1,
                                  sizeof(*m->mig_devices));
    if (!m->mig_devices)
        abort();
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        add_mig_device(m, gpu, mig_index++, word);
}

struct sharing_entry entry_all(enum sharing_strategy strategy, const char *name, unsigned replicas)
{
    struct sharing_entry entry = {.strategy = strategy, .replicas = replicas};

    snprintf(entry.name, sizeof(entry.name), "%s", name);
    snprintf(entry.path, sizeof(entry.path), "sharing.%s.resources[0]",
             strategy == SHARING_MPS ? "mps" : "timeSlicing");
    entry.served = true; /* by a control daemon, if it is MPS */
    entry.at = strategy == SHARING_MPS ? (struct position){20, 5} : (struct position){10, 5};
    return entry;
}

size_t problems_with(const struct problems *problems, enum problem_severity severity,
                     const char *words)
{
    size_t n = 0;

    for (size_t i = 0; i < problems->n_items; i++)
        n += problems->items[i].severity == severity &&
             strstr(problems->items[i].text, words) != NULL;
    return n;
}

static void plan_it(struct world *w)
{
    assert_int_equal(plan_make(&w->machine, &w->policy, &w->problems, &w->plan), 0);
    if (plan_fault(w->plan))
        fail_msg("%s", plan_fault(w->plan));
}

struct world world_make(struct inventory machine, struct sharing_entry *entries, size_t n)
{
    struct world w = {.machine = machine, .problems = PROBLEMS_INIT};

    w.policy.sharing = entries;
    w.policy.n_sharing = n;
    plan_it(&w);
    return w;
}

void world_end(struct world *w)
{
    plan_free(w->plan);
    problems_deinit(&w->problems);
    inventory_deinit(&w->machine);
}

void plan_again(struct world *w)
{
    plan_free(w->plan);
    problems_deinit(&w->problems);
    plan_it(w);
}

void assert_resources(const struct world *w, const char *expected)
{
    struct text text = TEXT_INIT;

    for (size_t i = 0; i < w->plan->n_resources; i++)
        text_addf(&text, "%s%s %zu", i ? ", " : "", w->plan->resources[i].name,
                  w->plan->resources[i].n_slices);
    assert_string_equal(text_string(&text), expected);
    text_deinit(&text);
}

void assert_slices_per_device(const struct world *w, const char *expected)
{
    struct text text = TEXT_INIT;

    for (size_t i = 0; i < w->plan->n_devices; i++)
        text_addf(&text, "%s%zu", i ? " " : "", w->plan->devices[i].n_slices);
    assert_string_equal(text_string(&text), expected);
    text_deinit(&text);
}

void assert_problems(const struct world *w, size_t notes, size_t warnings, size_t errors)
{
    if (problems_count(&w->problems, PROBLEM_NOTE) != notes ||
        problems_count(&w->problems, PROBLEM_WARNING) != warnings ||
        problems_count(&w->problems, PROBLEM_ERROR) != errors) {
        for (size_t i = 0; i < w->problems.n_items; i++)
            print_error("%s: %s\n", problem_severity_name(w->problems.items[i].severity),
                        w->problems.items[i].text);
        fail_msg("other problems than %zu notes, %zu warnings, %zu errors", notes, warnings,
                 errors);
    }
}

struct sharing_entry renamed(struct sharing_entry entry, const char *rename)
{
    assert_int_equal(str_copy(entry.rename, sizeof(entry.rename), rename), 0);
    return entry;
}

struct sharing_entry counted(struct sharing_entry entry, unsigned count)
{
    entry.devices.kind = DEVICES_COUNT;
    entry.devices.count = count;
    return entry;
}

struct sharing_entry listed(struct sharing_entry entry, struct device_ref *refs, size_t n)
{
    entry.devices.kind = DEVICES_LIST;
    entry.devices.refs = refs;
    entry.devices.n_refs = n;
    return entry;
}
