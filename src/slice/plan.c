// SPDX-License-Identifier: Apache-2.0
#include "slice/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/lint.h"
#include "slice/assign.h"
#include "slice/label.h"
#include "slice/name.h"
#include "slice/share.h"

DEFINE_CLEANUP(struct plan *, plan_free)

struct maker {
    const struct policy *policy;
    struct problems *problems;
    struct plan *plan;
    const struct sharing_entry **assigned; /* per GPU of the plan; NULL = no entry took it */
};

/* ---- The node's GPUs ---- */

static int compare_gpus(const void *a_p, const void *b_p)
{
    const struct plan_gpu *a = a_p, *b = b_p;

    if (a->gpu.index != b->gpu.index)
        return a->gpu.index < b->gpu.index ? -1 : 1;
    return strcmp(a->gpu.uuid, b->gpu.uuid);
}

/* Why a GPU is in no resource, and which option of the file decides so, if one does. */
struct verdict {
    enum problem_severity severity;
    const char *reason; /* a sentence's end; NULL: it can be offered */
    struct position at;
    const char *path;
};

static struct verdict because(enum problem_severity severity, const char *reason)
{
    return (struct verdict){severity, reason, {0, 0}, ""};
}

static struct verdict judge(const struct maker *m, size_t i)
{
    const struct gpu *gpu = &m->plan->gpus[i].gpu;

    if (*gpu->unusable)
        return because(PROBLEM_WARNING, gpu->unusable);
    if (!*gpu->uuid)
        return because(PROBLEM_WARNING, "the driver gives no UUID for it");
    for (size_t j = 0; j < i; j++)
        if (strcasecmp(m->plan->gpus[j].gpu.uuid, gpu->uuid) == 0)
            return because(PROBLEM_WARNING, "the driver gives it the UUID of another GPU");
    if (gpu_is_display(gpu))
        return because(PROBLEM_NOTE,
                       "it is the display card of a DGX Station, not meant for computing");
    /* MIG devices will be offered from here: then only a GPU without any is left out. */
    if (gpu->mig_enabled && m->policy->mig_strategy != MIG_STRATEGY_NONE)
        return (struct verdict){PROBLEM_WARNING,
                                "MIG is enabled on it, and MIG devices are not offered yet; turn "
                                "MIG off, or set migStrategy: none to offer it whole",
                                m->policy->mig_strategy_at, "flags.migStrategy"};
    return because(PROBLEM_NOTE, NULL);
}

static void leave_out(const struct maker *m, struct plan_gpu *gpu, struct verdict verdict)
{
    const char *model = *gpu->gpu.model ? gpu->gpu.model : "unknown model";

    snprintf(gpu->left_out, sizeof(gpu->left_out), "%s", verdict.reason);
    problem_add(m->problems, verdict.severity, verdict.at, verdict.path,
                "GPU %u (%s) is left out: %s", gpu->gpu.index, model, verdict.reason);
}

static void judge_gpu(const struct maker *m, size_t i)
{
    struct plan_gpu *gpu = &m->plan->gpus[i];
    struct verdict verdict = judge(m, i);

    snprintf(gpu->base, sizeof(gpu->base), "%s", name_of_model(m->policy, gpu->gpu.model));
    if (verdict.reason)
        leave_out(m, gpu, verdict);
}

static int list_gpus(const struct maker *m, const struct inventory *inventory)
{
    struct plan *plan = m->plan;

    plan->gpus = calloc(inventory->n_gpus + 1, sizeof(*plan->gpus));
    if (!plan->gpus)
        return -ENOMEM;
    plan->n_gpus = inventory->n_gpus;
    for (size_t i = 0; i < plan->n_gpus; i++)
        plan->gpus[i].gpu = inventory->gpus[i];
    qsort(plan->gpus, plan->n_gpus, sizeof(*plan->gpus), compare_gpus);
    for (size_t i = 0; i < plan->n_gpus; i++)
        judge_gpu(m, i);
    return 0;
}

/* ---- Slices into resources ---- */

/* The plan's resource of that name; the first to ask makes it after its own likeness. */
static struct plan_resource *resource_like(struct plan *plan, const struct plan_resource *like)
{
    struct plan_resource *resource;

    for (size_t i = 0; i < plan->n_resources; i++) {
        resource = &plan->resources[i];
        if (!str_equal(resource->name, like->name))
            continue;
        if (like->sharing > resource->sharing)
            resource->sharing = like->sharing;
        resource->fail_multi |= like->fail_multi;
        return resource;
    }
    resource = array_push(&plan->resources, &plan->n_resources, &plan->capacity, sizeof(*resource));
    if (resource)
        *resource = *like;
    return resource;
}

/* Adds the next slice of the GPU at position i. */
static int add_slice(const struct maker *m, size_t i, const struct plan_resource *like,
                     uint64_t share_permille, uint64_t mem_mib)
{
    struct plan_gpu *gpu = &m->plan->gpus[i];
    struct plan_resource *resource = resource_like(m->plan, like);
    struct slice *slice = NULL;

    if (resource)
        slice =
            array_push(&resource->slices, &resource->n_slices, &resource->capacity, sizeof(*slice));
    if (!slice)
        return -ENOMEM;
    slice->gpu = i;
    slice->n = (unsigned)gpu->n_slices++;
    slice->share_permille = (unsigned)share_permille;
    slice->mem_bytes = mem_mib * SHARE_MIB;
    if (like->sharing == SHARING_NONE)
        snprintf(slice->id, sizeof(slice->id), "%s", gpu->gpu.uuid);
    else
        snprintf(slice->id, sizeof(slice->id), "%s::%u", gpu->gpu.uuid, slice->n);
    gpu->sharing = like->sharing;
    return 0;
}

/* ---- The three ways to offer a GPU: whole, in equal replicas, in unequal slices ---- */

static int offer_whole(const struct maker *m, size_t i)
{
    const struct plan_gpu *gpu = &m->plan->gpus[i];
    struct plan_resource like = {.sharing = SHARING_NONE};

    memcpy(like.name, gpu->base, sizeof(like.name));
    memcpy(like.base, gpu->base, sizeof(like.base));
    return add_slice(m, i, &like, SHARE_WHOLE, share_memory_mib(&gpu->gpu));
}

/* As many as asked for, but never so many that a slice had no memory at all. */
static unsigned replicas_of(const struct maker *m, size_t i, const struct sharing_entry *entry)
{
    uint64_t memory_mib = share_memory_mib(&m->plan->gpus[i].gpu);
    unsigned most = PLAN_REPLICAS_MAX;

    if (memory_mib > 0 && memory_mib < most)
        most = (unsigned)memory_mib;
    if (entry->replicas <= most)
        return entry->replicas;
    problem_add(m->problems, PROBLEM_ERROR, entry->at, entry->path,
                "replicas: %u is too many for GPU %u; at most %u can be offered", entry->replicas,
                m->plan->gpus[i].gpu.index, most);
    return most;
}

static int offer_replicas(const struct maker *m, size_t i, const struct sharing_entry *entry)
{
    const struct policy *policy = m->policy;
    bool mps = entry->strategy == SHARING_MPS;
    struct plan_resource like = {.sharing = entry->strategy, .at = entry->at};
    uint64_t memory_mib = share_memory_mib(&m->plan->gpus[i].gpu);
    unsigned replicas = replicas_of(m, i, entry);
    int r = 0;

    memcpy(like.base, entry->name, sizeof(like.base));
    memcpy(like.name, *entry->rename ? entry->rename : entry->name, sizeof(like.name));
    memcpy(like.path, entry->path, sizeof(like.path));
    like.renamed = !str_equal(like.name, like.base);
    like.fail_multi = mps ? policy->mps_fail_multi : policy->time_slicing_fail_multi;
    for (unsigned n = 0; n < replicas && r == 0; n++)
        r = add_slice(m, i, &like, share_equal(SHARE_WHOLE, replicas, n),
                      share_equal(memory_mib, replicas, n));
    return r;
}

/* How many more slices of that size the GPU has room for, after the first n of shares. */
static unsigned room_for(struct share *shares, size_t n, const struct slice_size *size,
                         uint64_t memory_mib)
{
    uint64_t mem_mib = size->mem_bytes / SHARE_MIB;
    unsigned room = 0;

    if (mem_mib == 0 && size->mem_bytes > 0)
        mem_mib = 1;
    if (size->share_permille == 0 ||
        (memory_mib > 0 && mem_mib == 0 && memory_mib * size->share_permille < SHARE_WHOLE))
        return 0; /* it would have no memory at all */
    while (room < size->count && n + room < SHARE_WHOLE) {
        shares[n + room] = (struct share){size->share_permille, mem_mib};
        if (!share_fits(shares, n + room + 1, memory_mib))
            break;
        room++;
    }
    return room;
}

/* Cuts one GPU by gpuslice.slices. counts[k] is how many of size k it has. Returns their number. */
static size_t cut_sizes(const struct maker *m, size_t i, struct share shares[SHARE_WHOLE],
                        unsigned *counts)
{
    const struct plan_gpu *gpu = &m->plan->gpus[i];
    uint64_t memory_mib = share_memory_mib(&gpu->gpu);
    size_t n = 0;

    for (size_t k = 0; k < m->policy->n_slices; k++) {
        const struct slice_size *size = &m->policy->slices[k];

        counts[k] = room_for(shares, n, size, memory_mib);
        n += counts[k];
        if (counts[k] < size->count)
            problem_add(m->problems, PROBLEM_ERROR, size->at, "gpuslice.slices",
                        "GPU %u (%s, %ju MiB) has room for %u of the %u slices %s; lower share, "
                        "memory or count",
                        gpu->gpu.index, gpu->gpu.model, (uintmax_t)memory_mib, counts[k],
                        size->count, size->name);
    }
    share_divide(shares, n, memory_mib);
    return n;
}

static struct plan_resource resource_of_size(const struct policy *policy,
                                             const struct slice_size *size)
{
    struct plan_resource like = {.at = size->at, .path = "gpuslice.slices"};

    /* A container may hold several slices: their shares and memories add up. */
    like.sharing = policy->isolation == ISOLATION_COOPERATIVE ? SHARING_MPS : SHARING_TIME_SLICING;
    memcpy(like.name, size->name, sizeof(like.name));
    memcpy(like.base, size->name, sizeof(like.base));
    return like;
}

static int offer_sizes(const struct maker *m, size_t i)
{
    cleanup_free struct share *shares = calloc(SHARE_WHOLE, sizeof(*shares));
    cleanup_free unsigned *counts = calloc(m->policy->n_slices, sizeof(*counts));
    const struct share *next = shares;
    int r = 0;

    if (!shares || !counts)
        return -ENOMEM;
    if (cut_sizes(m, i, shares, counts) == 0)
        leave_out(m, &m->plan->gpus[i],
                  (struct verdict){PROBLEM_ERROR, "none of gpuslice.slices fits on it",
                                   m->policy->slices[0].at, "gpuslice.slices"});
    for (size_t k = 0; k < m->policy->n_slices; k++) {
        struct plan_resource like = resource_of_size(m->policy, &m->policy->slices[k]);

        for (unsigned c = 0; c < counts[k] && r == 0; c++, next++)
            r = add_slice(m, i, &like, next->permille, next->mem_mib);
    }
    return r;
}

static int offer_gpu(const struct maker *m, size_t i)
{
    if (*m->plan->gpus[i].left_out)
        return 0;
    if (m->assigned[i])
        return offer_replicas(m, i, m->assigned[i]);
    if (m->policy->n_slices > 0)
        return offer_sizes(m, i);
    return offer_whole(m, i);
}

/* ---- Finishing ---- */

static int compare_resources(const void *a, const void *b)
{
    return strcmp(((const struct plan_resource *)a)->name, ((const struct plan_resource *)b)->name);
}

static int compare_ids(const void *a, const void *b, void *slices_p)
{
    const struct slice *slices = slices_p;

    return strcmp(slices[*(const size_t *)a].id, slices[*(const size_t *)b].id);
}

static int index_ids(struct plan_resource *resource)
{
    resource->by_id = reallocarray(NULL, resource->n_slices, sizeof(*resource->by_id));
    if (!resource->by_id)
        return -ENOMEM;
    for (size_t i = 0; i < resource->n_slices; i++)
        resource->by_id[i] = i;
    qsort_r(resource->by_id, resource->n_slices, sizeof(*resource->by_id), compare_ids,
            resource->slices);
    return 0;
}

/* Slices per GPU when equal on all, else 0; the slices of a GPU lie side by side. */
static unsigned count_replicas(const struct plan_resource *resource)
{
    unsigned first = 0, run = 0;

    for (size_t i = 0; i < resource->n_slices; i++) {
        bool last =
            i + 1 == resource->n_slices || resource->slices[i + 1].gpu != resource->slices[i].gpu;

        run++;
        if (!last)
            continue;
        if (first == 0)
            first = run;
        if (run != first)
            return 0;
        run = 0;
    }
    return first;
}

static int finish(const struct maker *m)
{
    struct plan *plan = m->plan;
    int r = 0;

    if (plan->n_resources > 0)
        qsort(plan->resources, plan->n_resources, sizeof(*plan->resources), compare_resources);
    for (size_t i = 0; i < plan->n_resources && r == 0; i++) {
        plan->resources[i].replicas = count_replicas(&plan->resources[i]);
        r = index_ids(&plan->resources[i]);
    }
    return r;
}

int plan_make(const struct inventory *inventory, const struct policy *policy,
              struct problems *problems, struct plan **ret_plan)
{
    cleanup(plan_free_p) struct plan *plan = calloc(1, sizeof(*plan));
    cleanup_free const struct sharing_entry **assigned =
        calloc(inventory->n_gpus + 1, sizeof(*assigned));
    struct maker m = {policy, problems, plan, assigned};
    int r;

    if (!plan || !assigned)
        return -ENOMEM;
    r = list_gpus(&m, inventory);
    if (r == 0)
        r = assign_gpus(policy, plan->gpus, plan->n_gpus, problems, assigned);
    for (size_t i = 0; i < plan->n_gpus && r == 0; i++)
        r = offer_gpu(&m, i);
    if (r == 0)
        r = finish(&m);
    if (r == 0)
        r = label_make(plan, inventory, policy, problems);
    if (r < 0)
        return r;
    lint_plan(plan, policy, problems);
    *ret_plan = TAKE_PTR(plan);
    return 0;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->n_resources; i++) {
        free(plan->resources[i].slices);
        free(plan->resources[i].by_id);
    }
    for (size_t i = 0; i < plan->n_labels; i++) {
        free(plan->labels[i].key);
        free(plan->labels[i].value);
    }
    free(plan->resources);
    free(plan->labels);
    free(plan->gpus);
    free(plan);
}

/* ---- Questions ---- */

const struct plan_resource *plan_find_resource(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_resources; i++)
        if (str_equal(plan->resources[i].name, name))
            return &plan->resources[i];
    return NULL;
}

const struct slice *plan_find(const struct plan_resource *resource, const char *id)
{
    size_t low = 0, high = resource->n_slices;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct slice *slice = &resource->slices[resource->by_id[middle]];
        int order = strcmp(id, slice->id);

        if (order == 0)
            return slice;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static bool slices_equal(const struct slice *a, const struct plan_gpu *gpu_a, const struct slice *b,
                         const struct plan_gpu *gpu_b)
{
    return str_equal(a->id, b->id) && a->share_permille == b->share_permille &&
           a->mem_bytes == b->mem_bytes && gpu_a->sharing == gpu_b->sharing &&
           gpu_a->gpu.index == gpu_b->gpu.index && gpu_a->gpu.minor == gpu_b->gpu.minor &&
           gpu_a->gpu.numa_node == gpu_b->gpu.numa_node;
}

bool plan_resource_equal(const struct plan *a, const struct plan_resource *in_a,
                         const struct plan *b, const struct plan_resource *in_b)
{
    if (!str_equal(in_a->name, in_b->name) || in_a->sharing != in_b->sharing ||
        in_a->fail_multi != in_b->fail_multi || in_a->n_slices != in_b->n_slices)
        return false;
    for (size_t i = 0; i < in_a->n_slices; i++) {
        const struct slice *x = &in_a->slices[i], *y = &in_b->slices[i];

        if (!slices_equal(x, &a->gpus[x->gpu], y, &b->gpus[y->gpu]))
            return false;
    }
    return true;
}
