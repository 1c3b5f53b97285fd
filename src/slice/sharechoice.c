// SPDX-License-Identifier: Apache-2.0
#include "slice/sharechoice.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* The shares that there are, of all kinds of GPU together, ascending. */
struct shares {
    unsigned values[SHARE_WHOLE];
    size_t n_upto[SHARE_WHOLE + 1]; /* pods of the first so many */
    size_t n;
};

static void collect(const struct sharedemand *kinds, size_t n_kinds, struct shares *shares)
{
    shares->n = 0;
    shares->n_upto[0] = 0;
    for (unsigned share = 1; share <= SHARE_WHOLE; share++) {
        size_t n_pods = 0;

        for (size_t i = 0; i < n_kinds; i++)
            n_pods += kinds[i].n_pods[share];
        if (!n_pods)
            continue;
        shares->values[shares->n++] = share;
        shares->n_upto[shares->n] = shares->n_upto[shares->n - 1] + n_pods;
    }
}

static unsigned round_up(unsigned share, unsigned whole)
{
    return (share * whole + SHARE_WHOLE - 1) / SHARE_WHOLE;
}

/* The slices of one kind of GPU, in descending order of size. */
static size_t round_all(const struct sharedemand *demand, unsigned whole,
                        struct sharepack_size *ret_sizes)
{
    size_t n = 0;

    for (unsigned share = SHARE_WHOLE; share > 0; share--) {
        const struct sharepack_size size = {round_up(share, whole), demand->n_pods[share]};

        if (n && ret_sizes[n - 1].size == size.size)
            ret_sizes[n - 1].n_slices += size.n_slices;
        else
            ret_sizes[n++] = size;
    }
    return n;
}

static void add_fit(struct sharefit *fit, const struct sharepack_size *sizes, size_t n_sizes)
{
    for (size_t i = 0; i < n_sizes; i++)
        fit->n_parts += (uint64_t)sizes[i].n_slices * sizes[i].size;
    fit->n_gpus += sharepack_count(sizes, n_sizes, fit->whole);
}

struct sharefit sharechoice_equal(const struct sharedemand *kinds, size_t n_kinds,
                                  unsigned n_slices)
{
    struct sharefit fit = {.whole = n_slices};
    struct sharepack_size sizes[SHAREPACK_SIZES_MAX];

    for (size_t i = 0; i < n_kinds; i++)
        add_fit(&fit, sizes, round_all(&kinds[i], n_slices, sizes));
    return fit;
}

struct sharefit sharechoice_exact(const struct sharedemand *kinds, size_t n_kinds)
{
    return sharechoice_equal(kinds, n_kinds, SHARE_WHOLE);
}

/* ---- The least sum ---- */

/* best[k][j]: the least sum of the first j shares rounded to k sizes, of which the last is share
 * j's; and how many of them are left to the k - 1 others. */
struct best {
    uint64_t sum;
    size_t before;
};

static struct best choose(const struct shares *shares, const struct best *fewer, size_t j)
{
    struct best best = {.sum = UINT64_MAX};

    for (size_t i = 0; i < j; i++) {
        const uint64_t n_pods = shares->n_upto[j] - shares->n_upto[i];
        const uint64_t sum = fewer[i].sum + n_pods * shares->values[j - 1];

        if (fewer[i].sum != UINT64_MAX && sum < best.sum)
            best = (struct best){sum, i};
    }
    return best;
}

static int choose_by_sum(const struct shares *shares, size_t n_names, struct sharechoice *choice)
{
    const size_t n = shares->n, k_max = n_names < n ? n_names : n;
    cleanup_free struct best *table = calloc((k_max + 1) * (n + 1), sizeof(*table));

    if (!table)
        return -ENOMEM;
    for (size_t j = 1; j <= n; j++)
        table[j].sum = UINT64_MAX;
    for (size_t k = 1; k <= k_max; k++) {
        table[k * (n + 1)].sum = UINT64_MAX;
        for (size_t j = 1; j <= n; j++)
            table[k * (n + 1) + j] = choose(shares, &table[(k - 1) * (n + 1)], j);
    }
    choice->n_sizes = 0;
    for (size_t k = k_max, j = n; k > 0; j = table[k * (n + 1) + j].before, k--)
        choice->sizes[choice->n_sizes++] = shares->values[j - 1];
    return 0;
}

/* ---- Rounding ---- */

void sharechoice_round(const struct sharechoice *choice, const struct sharedemand *demand,
                       struct sharepack_size *ret_sizes)
{
    size_t i = choice->n_sizes;

    for (size_t k = 0; k < choice->n_sizes; k++)
        ret_sizes[k] = (struct sharepack_size){choice->sizes[k], 0};
    for (unsigned share = 1; share <= SHARE_WHOLE; share++) {
        while (i && choice->sizes[i - 1] < share)
            i--;
        assert(i || !demand->n_pods[share]);
        if (i)
            ret_sizes[i - 1].n_slices += demand->n_pods[share];
    }
}

struct sharefit sharechoice_fit(const struct sharechoice *choice, const struct sharedemand *kinds,
                                size_t n_kinds)
{
    struct sharefit fit = {.whole = SHARE_WHOLE};

    struct sharepack_size sizes[SHAREPACK_NAMES_MAX];

    for (size_t i = 0; i < n_kinds; i++) {
        sharechoice_round(choice, &kinds[i], sizes);
        add_fit(&fit, sizes, choice->n_sizes);
    }
    return fit;
}

/* ---- The fewest GPUs: every choice ---- */

struct search {
    const struct sharedemand *kinds;
    size_t n_kinds;
    const struct shares *shares;
    struct sharechoice choice, best; /* that is tried; of those tried */
    size_t least;                    /* GPUs of the best */
};

/* n sizes of k, up to SHARECHOICE_TRIES_MAX + 1. */
static size_t count_choices(size_t n, size_t k)
{
    size_t n_choices = 1;

    for (size_t i = 1; i <= k && n_choices <= SHARECHOICE_TRIES_MAX; i++)
        n_choices = n_choices * (n - k + i) / i;
    return n_choices;
}

/* Adds n_more of the first n_values to what is chosen. */
static void try_all(struct search *s, size_t n_values, size_t n_more)
{
    size_t n_gpus;

    for (size_t i = n_values; i >= n_more && n_more; i--) {
        s->choice.sizes[s->choice.n_sizes++] = s->shares->values[i - 1];
        try_all(s, i - 1, n_more - 1);
        s->choice.n_sizes--;
    }
    if (n_more)
        return;
    n_gpus = sharechoice_fit(&s->choice, s->kinds, s->n_kinds).n_gpus;
    if (n_gpus < s->least) {
        s->least = n_gpus;
        s->best = s->choice;
    }
}

/* The largest size is in every choice: a pod needs it. Only fewer GPUs count against the least sum.
 */
static struct sharechoice search_all(const struct sharedemand *kinds, size_t n_kinds,
                                     const struct shares *shares, const struct sharechoice *by_sum)
{
    struct search search = {.kinds = kinds, .n_kinds = n_kinds, .shares = shares, .best = *by_sum};

    search.choice = (struct sharechoice){{by_sum->sizes[0]}, 1};
    search.least = sharechoice_fit(by_sum, kinds, n_kinds).n_gpus;
    try_all(&search, shares->n - 1, by_sum->n_sizes - 1);
    return search.best;
}

/* ---- The fewest GPUs: by exchanges ---- */

static bool has_size(const struct sharechoice *choice, unsigned size)
{
    for (size_t i = 0; i < choice->n_sizes; i++)
        if (choice->sizes[i] == size)
            return true;
    return false;
}

static void exchange(struct sharechoice *choice, size_t i, unsigned size)
{
    for (; i > 0 && choice->sizes[i - 1] < size; i--)
        choice->sizes[i] = choice->sizes[i - 1];
    for (; i + 1 < choice->n_sizes && choice->sizes[i + 1] > size; i++)
        choice->sizes[i] = choice->sizes[i + 1];
    choice->sizes[i] = size;
}

/* The exchange that saves most; false if none saves a GPU. The largest size stays: a pod needs it.
 */
static bool improve(const struct sharedemand *kinds, size_t n_kinds, const struct shares *shares,
                    struct sharechoice *choice)
{
    size_t least = sharechoice_fit(choice, kinds, n_kinds).n_gpus;
    const size_t before = least;
    struct sharechoice best = *choice;

    for (size_t i = 1; i < choice->n_sizes; i++)
        for (size_t j = 0; j < shares->n; j++) {
            struct sharechoice other = *choice;
            size_t n_gpus;

            if (has_size(choice, shares->values[j]))
                continue;
            exchange(&other, i, shares->values[j]);
            n_gpus = sharechoice_fit(&other, kinds, n_kinds).n_gpus;
            if (n_gpus < least) {
                least = n_gpus;
                best = other;
            }
        }
    *choice = best;
    return least < before;
}

int sharechoice_make(const struct sharedemand *kinds, size_t n_kinds, size_t n_names,
                     struct sharechoice *ret_choice)
{
    struct sharechoice choice;
    struct shares shares;
    int r;

    assert(n_names && n_names <= SHAREPACK_NAMES_MAX);
    collect(kinds, n_kinds, &shares);
    r = choose_by_sum(&shares, n_names, &choice);
    if (r < 0)
        return r;
    if (shares.n && count_choices(shares.n - 1, choice.n_sizes - 1) <= SHARECHOICE_TRIES_MAX)
        choice = search_all(kinds, n_kinds, &shares, &choice);
    else
        while (improve(kinds, n_kinds, &shares, &choice))
            ;
    *ret_choice = choice;
    return 0;
}
