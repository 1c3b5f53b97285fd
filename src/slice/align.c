// SPDX-License-Identifier: Apache-2.0
#include "slice/align.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

enum { ALIGN_PER_NVLINK = 100 };

unsigned align_score(const struct gpu *a, const struct gpu *b, struct gpu_link link)
{
    static const unsigned by_path[] = {
        [GPU_PATH_SAME_BOARD] = 60,       [GPU_PATH_SINGLE_SWITCH] = 50,
        [GPU_PATH_SEVERAL_SWITCHES] = 40, [GPU_PATH_HOST_BRIDGE] = 30,
        [GPU_PATH_SAME_CPU] = 20,         [GPU_PATH_ACROSS_CPUS] = 10,
        [GPU_PATH_UNKNOWN] = 0,
    };
    unsigned links = link.n_nvlinks;

    if (links == 0)
        links =
            a->n_nvswitch_links < b->n_nvswitch_links ? a->n_nvswitch_links : b->n_nvswitch_links;
    return (link.path <= GPU_PATH_UNKNOWN ? by_path[link.path] : 0) + ALIGN_PER_NVLINK * links;
}

/* A set of free GPUs, and the sums that rank it, kept up to date by toggle(). */
struct search {
    const unsigned *scores;
    size_t n_nodes, n_free, n_wanted;
    bool *chosen;      /* n_free */
    bool *best;        /* n_free */
    uint64_t *to_set;  /* of each free GPU: scores to the chosen and the required ones */
    uint64_t *to_free; /* of each free GPU: scores to all free ones */
    uint64_t own;      /* over pairs within chosen and required */
    int64_t taken;     /* what the chosen ones take from the free ones' sum */
    bool any;          /* best, best_own and best_taken are set */
    uint64_t best_own;
    int64_t best_taken;
};

static unsigned score(const struct search *s, size_t a, size_t b)
{
    return a == b ? 0 : s->scores[a * s->n_nodes + b];
}

/*
 * Adds or removes one GPU. `taken` counts every pair with one end in the set once: a GPU
 * contributes its pairs with free ones, minus those already counted.
 */
static void toggle(struct search *s, size_t i)
{
    bool add = !s->chosen[i];
    uint64_t required = 0, chosen;

    for (size_t j = s->n_free; j < s->n_nodes; j++)
        required += score(s, i, j);
    chosen = s->to_set[i] - required;
    if (add) {
        s->own += s->to_set[i];
        s->taken += (int64_t)(s->to_free[i] - chosen);
    } else {
        s->own -= s->to_set[i];
        s->taken -= (int64_t)(s->to_free[i] - chosen);
    }
    s->chosen[i] = add;
    for (size_t j = 0; j < s->n_free; j++)
        s->to_set[j] += add ? score(s, i, j) : -(uint64_t)score(s, i, j);
}

static bool is_better(const struct search *s, uint64_t own, int64_t taken)
{
    return s->own != own ? s->own > own : s->taken < taken;
}

/* Keeps the set if it is better than the best; among equals the first stays. */
static void keep_if_better(struct search *s)
{
    if (s->any && !is_better(s, s->best_own, s->best_taken))
        return;
    s->any = true;
    s->best_own = s->own;
    s->best_taken = s->taken;
    memcpy(s->best, s->chosen, s->n_free * sizeof(*s->best));
}

/* Every set of `missing` more GPUs from position `from` on, lowest positions first. */
static void search_all(struct search *s, size_t from, size_t missing)
{
    if (missing == 0) {
        keep_if_better(s);
        return;
    }
    for (size_t i = from; i + missing <= s->n_free; i++) {
        toggle(s, i);
        search_all(s, i + 1, missing - 1);
        toggle(s, i);
    }
}

/* The GPU outside the set with the highest gain, then the least taken from the others. */
static size_t best_to_add(const struct search *s)
{
    size_t best = s->n_free;

    for (size_t i = 0; i < s->n_free; i++) {
        if (s->chosen[i])
            continue;
        if (best == s->n_free || s->to_set[i] > s->to_set[best] ||
            (s->to_set[i] == s->to_set[best] && s->to_free[i] < s->to_free[best]))
            best = i;
    }
    return best;
}

static void clear(struct search *s)
{
    for (size_t i = 0; i < s->n_free; i++)
        if (s->chosen[i])
            toggle(s, i);
}

static void grow_from(struct search *s, size_t seed)
{
    clear(s);
    toggle(s, seed);
    for (size_t n = 1; n < s->n_wanted; n++)
        toggle(s, best_to_add(s));
}

/* Swaps one GPU of the set for another, if any such pair improves it. */
static bool exchange_one(struct search *s)
{
    uint64_t own = s->own;
    int64_t taken = s->taken;

    for (size_t out = 0; out < s->n_free; out++) {
        if (!s->chosen[out])
            continue;
        toggle(s, out);
        for (size_t in = 0; in < s->n_free; in++) {
            if (in == out || s->chosen[in])
                continue;
            toggle(s, in);
            if (is_better(s, own, taken))
                return true;
            toggle(s, in);
        }
        toggle(s, out);
    }
    return false;
}

static void search_some(struct search *s)
{
    for (size_t seed = 0; seed < s->n_free; seed++) {
        grow_from(s, seed);
        for (size_t round = 0; round < s->n_free && exchange_one(s); round++)
            ;
        keep_if_better(s);
    }
}

static void prepare(struct search *s)
{
    for (size_t i = 0; i < s->n_free; i++) {
        for (size_t j = 0; j < s->n_free; j++)
            s->to_free[i] += score(s, i, j);
        for (size_t j = s->n_free; j < s->n_nodes; j++)
            s->to_set[i] += score(s, i, j);
    }
}

int align_choose(const unsigned *scores, size_t n_free, size_t n_required, size_t n_wanted,
                 bool *ret_chosen)
{
    cleanup_free bool *sets = calloc(n_free + 1, 2 * sizeof(*sets));
    cleanup_free uint64_t *sums = calloc(n_free + 1, 2 * sizeof(*sums));
    struct search s = {.scores = scores,
                       .n_nodes = n_free + n_required,
                       .n_free = n_free,
                       .n_wanted = n_wanted,
                       .chosen = sets,
                       .to_set = sums};

    assert(n_wanted <= n_free);
    if (!sets || !sums)
        return -ENOMEM;
    s.best = sets + n_free;
    s.to_free = sums + n_free;
    prepare(&s);
    if (n_free <= ALIGN_EXACT_MAX)
        search_all(&s, 0, n_wanted);
    else if (n_wanted > 0)
        search_some(&s);
    memcpy(ret_chosen, s.best, n_free * sizeof(*ret_chosen));
    return 0;
}
