// SPDX-License-Identifier: Apache-2.0
#include "slice/prefer.h"

#include <errno.h>

#include "slice/align.h"

struct request {
    const struct preference *wish;
    const char *
        *free_ids;  /* per slice of the resource: its id as the kubelet sent it, NULL = not free */
    bool *required; /* per slice of the resource */
    size_t n_free;
    const char **ids; /* the result */
    size_t n_ids;
};

/* The slice's position in the resource, or n_slices if the plan does not have the id. */
static size_t slice_position(const struct request *q, const char *id)
{
    const struct slice *slice = plan_find(q->wish->resource, id);

    return slice ? (size_t)(slice - q->wish->resource->slices) : q->wish->resource->n_slices;
}

static void take(struct request *q, size_t i)
{
    q->ids[q->n_ids++] = q->free_ids[i];
    q->free_ids[i] = NULL;
}

/* A required id unknown to the plan stays in the result: the kubelet has already allocated it. */
static void add_required(struct request *q)
{
    for (size_t k = 0; k < q->wish->n_required && q->n_ids < q->wish->size; k++) {
        size_t i = slice_position(q, q->wish->required[k]);

        if (i < q->wish->resource->n_slices) {
            if (q->required[i])
                continue;
            q->required[i] = true;
        }
        q->ids[q->n_ids++] = q->wish->required[k];
    }
}

static void add_available(struct request *q)
{
    for (size_t k = 0; k < q->wish->n_available; k++) {
        size_t i = slice_position(q, q->wish->available[k]);

        if (i == q->wish->resource->n_slices || q->required[i] || q->free_ids[i])
            continue;
        q->free_ids[i] = q->wish->available[k];
        q->n_free++;
    }
}

/* ---- By load: one slice after the other ---- */

struct load {
    unsigned in_use, n_free, n_picked; /* slices of one device; picked in this call */
    unsigned *gpu_in_use;              /* slices in use on its GPU, of this resource */
    size_t next;                       /* its lowest slice that may be free */
};

/* Negative if a comes first, 0 if the policy does not distinguish them. */
static int compare_use(unsigned a, unsigned b, enum allocation_policy policy)
{
    if (a == b)
        return 0;
    return (a < b) == (policy == ALLOCATION_DISTRIBUTED) ? -1 : 1;
}

static bool comes_before(const struct load *a, const struct load *b, const struct preference *wish)
{
    enum allocation_policy policy = wish->policy;
    int order = compare_use(a->in_use, b->in_use, policy);

    if (wish->unique && (a->n_picked > 0) != (b->n_picked > 0))
        return a->n_picked == 0;

    if (order == 0)
        order = compare_use(*a->gpu_in_use, *b->gpu_in_use, policy);
    return order != 0 ? order < 0 : a->n_picked < b->n_picked;
}

static void count_loads(const struct request *q, struct load *loads, unsigned *gpus_in_use)
{
    for (size_t d = 0; d < q->wish->plan->n_devices; d++)
        loads[d].gpu_in_use = &gpus_in_use[q->wish->plan->devices[d].device.gpu];
    for (size_t i = q->wish->resource->n_slices; i-- > 0;) {
        struct load *load = &loads[q->wish->resource->slices[i].device];

        load->next = i;
        load->n_picked += q->wish->unique && q->required[i];
        if (q->free_ids[i]) {
            load->n_free++;
        } else {
            load->in_use++;
            ++*load->gpu_in_use;
        }
    }
}

static struct load *find_best(const struct request *q, struct load *loads)
{
    struct load *best = NULL;

    for (size_t d = 0; d < q->wish->plan->n_devices; d++)
        if (loads[d].n_free > 0 && (!best || comes_before(&loads[d], best, q->wish)))
            best = &loads[d];
    return best;
}

static int pick_by_load(struct request *q)
{
    cleanup_free struct load *loads = calloc(q->wish->plan->n_devices + 1, sizeof(*loads));
    cleanup_free unsigned *gpus_in_use = calloc(q->wish->plan->n_gpus + 1, sizeof(*gpus_in_use));

    if (!loads || !gpus_in_use)
        return -ENOMEM;
    count_loads(q, loads, gpus_in_use);
    while (q->n_ids < q->wish->size) {
        struct load *best = find_best(q, loads);

        if (!best)
            return PREFER_TOO_FEW; /* cannot happen: the caller has counted */
        while (!q->free_ids[best->next])
            best->next++;
        take(q, best->next);
        best->n_free--;
        best->in_use++;
        best->n_picked++;
        ++*best->gpu_in_use;
    }
    return 0;
}

/* ---- Whole GPUs: the set with the best links ---- */

/* One GPU that takes part. */
struct node {
    size_t slice;    /* its only one, a position in the resource */
    size_t position; /* in the inventory */
};

/* The inventory's GPU of a slice; false if it is lost, or nothing is known about any. */
static bool find_node(const struct request *q, size_t slice, struct node *ret_node)
{
    const char *uuid = q->wish->plan->devices[q->wish->resource->slices[slice].device].device.uuid;
    const struct gpu *gpu = q->wish->inventory ? inventory_find(q->wish->inventory, uuid) : NULL;

    if (!gpu || *gpu->unusable)
        return false;
    *ret_node = (struct node){slice, (size_t)(gpu - q->wish->inventory->gpus)};
    return true;
}

/* Lists the free GPUs, then the required ones, without those that are lost. */
static size_t list_nodes(const struct request *q, struct node *nodes, size_t *ret_n_free)
{
    size_t n = 0;

    for (size_t i = 0; i < q->wish->resource->n_slices; i++)
        if (q->free_ids[i])
            n += find_node(q, i, &nodes[n]);
    *ret_n_free = n;
    for (size_t i = 0; i < q->wish->resource->n_slices; i++)
        if (q->required[i])
            n += find_node(q, i, &nodes[n]);
    return n;
}

static void fill_scores(const struct inventory *inventory, const struct node *nodes, size_t n,
                        unsigned *scores)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            size_t a = nodes[i].position, b = nodes[j].position;

            scores[i * n + j] = align_score(&inventory->gpus[a], &inventory->gpus[b],
                                            inventory_link(inventory, a, b));
        }
    }
}

/* Takes the best of the GPUs with known links; all of them if they do not suffice. */
static int take_linked(struct request *q)
{
    cleanup_free struct node *nodes = calloc(q->wish->resource->n_slices + 1, sizeof(*nodes));
    cleanup_free bool *chosen = calloc(q->wish->resource->n_slices + 1, sizeof(*chosen));
    cleanup_free unsigned *scores = NULL;
    size_t n, n_free, n_wanted = q->wish->size - q->n_ids;
    int r;

    if (!nodes || !chosen)
        return -ENOMEM;
    n = list_nodes(q, nodes, &n_free);
    scores = calloc(n * n + 1, sizeof(*scores));
    if (!scores)
        return -ENOMEM;
    fill_scores(q->wish->inventory, nodes, n, scores);
    r = align_choose(scores, n_free, n - n_free, n_wanted < n_free ? n_wanted : n_free, chosen);
    for (size_t i = 0; i < n_free && r == 0; i++)
        if (chosen[i])
            take(q, nodes[i].slice);
    return r;
}

static int pick_by_links(struct request *q)
{
    int r = take_linked(q);

    for (size_t i = 0; i < q->wish->resource->n_slices && r == 0 && q->n_ids < q->wish->size; i++)
        if (q->free_ids[i])
            take(q, i);
    return r;
}

static bool is_by_links(const struct request *q)
{
    for (size_t i = 0; i < q->wish->resource->n_slices; i++)
        if (q->wish->plan->devices[q->wish->resource->slices[i].device].device.kind != DEVICE_WHOLE)
            return false;
    return q->wish->resource->sharing == SHARING_NONE;
}

int prefer(const struct preference *wish, const char **ret_ids)
{
    const size_t n_slices = wish->resource->n_slices;
    cleanup_free const char **free_ids = calloc(n_slices + 1, sizeof(*free_ids));
    cleanup_free bool *is_required = calloc(n_slices + 1, sizeof(*is_required));
    struct request q = {
        .wish = wish, .free_ids = free_ids, .required = is_required, .ids = ret_ids};

    if (!free_ids || !is_required)
        return -ENOMEM;
    add_required(&q);
    add_available(&q);
    if (q.n_free < wish->size - q.n_ids)
        return PREFER_TOO_FEW;
    return is_by_links(&q) ? pick_by_links(&q) : pick_by_load(&q);
}
