// SPDX-License-Identifier: Apache-2.0
#include "nvml/migword.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"
#include "nvml/migplace.h"

static int refuse(const struct mig_board *board, const char *text, struct error *err)
{
    cleanup_text struct text names = TEXT_INIT;

    for (uint32_t i = 0; i < board->n_profiles; i++)
        text_addf(&names, "%s%s", i ? ", " : "", board->profiles[i].name);
    return error_set(err, -EINVAL, "'%s' is none of %s", text, text_string(&names));
}

static uint32_t find_profile(const struct mig_board *board, const char *name)
{
    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (str_equal(board->profiles[i].name, name))
            return i;
    return MIGWORD_NONE;
}

static uint32_t find_compute(const struct mig_profile *profile, uint32_t slices)
{
    for (uint32_t i = 0; i < profile->n_computes; i++)
        if (profile->computes[i].slices == slices)
            return i;
    return MIGWORD_NONE;
}

/* "1c.3g.20gb": moves *name behind the first part. 0 = there is none. */
static uint32_t take_slices(const char **name)
{
    char *end;
    unsigned long slices = strtoul(*name, &end, 10);

    if (**name < '1' || **name > '9' || strncmp(end, "c.", 2) != 0 || slices > MIG_INSTANCES_MAX)
        return 0;
    *name = end + 2;
    return (uint32_t)slices;
}

int migword_parse(const struct mig_board *board, const char *text, struct migword *ret_word,
                  struct error *err)
{
    struct migword word = {.compute = MIGWORD_NONE, .start = MIGPLACE_ANY};
    const bool is_bare = str_starts_with(text, "gi:");
    cleanup_free char *copy = strdup(is_bare ? text + 3 : text);
    const char *name = copy;
    char *at = copy ? strchr(copy, '@') : NULL;
    uint32_t slices;

    if (!copy)
        return -ENOMEM;
    if (!board->n_slots)
        return error_set(err, -EINVAL, "the GPU cannot be partitioned");
    if (at)
        *at = '\0';
    slices = take_slices(&name);
    word.profile = find_profile(board, name);
    if (word.profile == MIGWORD_NONE || (slices && is_bare))
        return refuse(board, text, err);
    if (at && (!number_parse(at + 1, &word.start) || word.start >= MIG_SLOTS_MAX))
        return error_set(err, -EINVAL, "'%s': write a memory slice behind the @", text);
    if (!is_bare) {
        const struct mig_profile *profile = &board->profiles[word.profile];

        word.compute = find_compute(profile, slices ? slices : profile->shape.gi_slices);
        if (word.compute == MIGWORD_NONE)
            return error_set(err, -EINVAL, "%s has no compute instance of %u slices", name, slices);
    }
    *ret_word = word;
    return 0;
}

/* The instance with room for it, or a new one. */
static struct mig_instance *find_instance(const struct mig_board *board, struct mig_layout *layout,
                                          const struct migword *word)
{
    uint32_t start, id;

    for (uint32_t i = 0; i < layout->n_instances && word->compute != MIGWORD_NONE; i++)
        if (layout->instances[i].profile == word->profile && word->start == MIGPLACE_ANY &&
            layout->instances[i].n_computes > 0 &&
            migplace_find_compute(board, &layout->instances[i], word->compute, MIGPLACE_ANY,
                                  &start) == 0)
            return &layout->instances[i];
    if (migplace_find(board, layout, word->profile, word->start, &start) != 0 ||
        migplace_add(board, layout, word->profile, start) < 0)
        return NULL;
    id = migplace_id(board, word->profile, start);
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].id == id)
            return &layout->instances[i];
    return NULL;
}

int migword_add(const struct mig_board *board, const char *text, struct mig_layout *layout,
                struct error *err)
{
    struct migword word = {.profile = 0};
    struct mig_instance *instance;
    uint32_t start;
    int r = migword_parse(board, text, &word, err);

    if (r < 0)
        return r;
    instance = find_instance(board, layout, &word);
    if (!instance)
        return error_set(err, -ENOSPC, "there is no room for %s", text);
    if (word.compute == MIGWORD_NONE)
        return 0;
    if (migplace_find_compute(board, instance, word.compute, MIGPLACE_ANY, &start) != 0)
        return error_set(err, -ENOSPC, "there is no room for %s", text);
    return migplace_add_compute(instance, word.compute,
                                board->profiles[word.profile].computes[word.compute].slices, start);
}
