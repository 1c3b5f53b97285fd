// SPDX-License-Identifier: Apache-2.0
#include "nvml/migwords.h"

enum { MODE_CURRENT = 1, MODE_PENDING = 2 };

/* The three parts of an instance's word. */
static uint32_t word_profile(uint32_t word)
{
    return word & 0xff; /* position + 1; 0: there is none */
}

static uint32_t word_start(uint32_t word)
{
    return word >> 8 & 0xff;
}

static uint32_t word_generation(uint32_t word)
{
    return word >> 16;
}

static void read_computes(const struct migwords *words, const struct mig_profile *profile,
                          struct mig_instance *instance)
{
    for (uint32_t id = 0; id < MIGWORDS_COMPUTES; id++) {
        const uint32_t word = atomic_load(&words->computes[instance->id][id]);
        const uint32_t at = word_profile(word) - 1;

        if (word_profile(word) == 0 || at >= profile->n_computes)
            continue;
        instance->computes[instance->n_computes++] =
            (struct mig_compute){.id = id,
                                 .profile = at,
                                 .start = word_start(word),
                                 .slices = profile->computes[at].slices};
    }
}

void migwords_read(const struct migwords *words, const struct mig_board *board,
                   struct mig_layout *ret_layout)
{
    const uint32_t mode = atomic_load(&words->mode);
    struct mig_layout *layout = ret_layout;

    *layout = (struct mig_layout){.enabled = mode & MODE_CURRENT, .pending = mode & MODE_PENDING};
    for (uint32_t id = 0; layout->enabled && id < MIGWORDS_INSTANCES; id++) {
        const uint32_t word = atomic_load(&words->instances[id]);
        struct mig_instance *instance = &layout->instances[layout->n_instances];

        if (word_profile(word) == 0 || word_profile(word) > board->n_profiles)
            continue;
        *instance = (struct mig_instance){
            .id = id, .profile = word_profile(word) - 1, .start = word_start(word)};
        read_computes(words, &board->profiles[instance->profile], instance);
        if (++layout->n_instances == MIG_INSTANCES_MAX)
            return;
    }
}

void migwords_fill(struct migwords *words, const struct mig_layout *layout)
{
    migwords_set_mode(words, layout->enabled, layout->pending);
    for (uint32_t i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *it = &layout->instances[i];

        migwords_put(words, it->id, MIGWORDS_NONE, it->profile, it->start);
        for (uint32_t j = 0; j < it->n_computes; j++)
            migwords_put(words, it->id, it->computes[j].id, it->computes[j].profile,
                         it->computes[j].start);
    }
}

static const atomic_uint *word_of(const struct migwords *words, uint32_t instance, uint32_t compute)
{
    return compute == MIGWORDS_NONE ? &words->instances[instance]
                                    : &words->computes[instance][compute];
}

bool migwords_find(const struct migwords *words, uint32_t instance, uint32_t compute,
                   uint32_t *ret_generation)
{
    uint32_t word;

    if (instance >= MIGWORDS_INSTANCES ||
        (compute != MIGWORDS_NONE && compute >= MIGWORDS_COMPUTES) ||
        !(atomic_load(&words->mode) & MODE_CURRENT))
        return false;
    word = atomic_load(word_of(words, instance, compute));
    *ret_generation = word_generation(word);
    return word_profile(word) != 0;
}

void migwords_set_mode(struct migwords *words, bool current, bool pending)
{
    atomic_store(&words->mode, (current ? MODE_CURRENT : 0u) | (pending ? MODE_PENDING : 0u));
}

void migwords_put(struct migwords *words, uint32_t instance, uint32_t compute, uint32_t profile,
                  uint32_t start)
{
    atomic_uint *word = (atomic_uint *)(uintptr_t)word_of(words, instance, compute);

    atomic_store(word, (word_generation(atomic_load(word)) + 1) << 16 | start << 8 | (profile + 1));
}

void migwords_remove(struct migwords *words, uint32_t instance, uint32_t compute)
{
    atomic_uint *word = (atomic_uint *)(uintptr_t)word_of(words, instance, compute);

    atomic_store(word, word_generation(atomic_load(word)) << 16);
}

void migwords_reset(struct migwords *words)
{
    const bool pending = atomic_load(&words->mode) & MODE_PENDING;

    for (uint32_t i = 0; i < MIGWORDS_INSTANCES; i++) {
        for (uint32_t j = 0; j < MIGWORDS_COMPUTES; j++)
            migwords_remove(words, i, j);
        migwords_remove(words, i, MIGWORDS_NONE);
    }
    migwords_set_mode(words, pending, pending);
}
