// SPDX-License-Identifier: Apache-2.0

/* Any bytes as a file of the catalog: one more model or family within its bounds, or problems. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "catalog/prices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_board(const struct mig_board *board)
{
    if (board->n_slots > MIG_SLOTS_MAX || board->n_profiles > MIG_GI_PROFILES_MAX)
        abort();
    for (uint32_t i = 0; i < board->n_profiles; i++) {
        const struct mig_profile *p = &board->profiles[i];

        if (p->index >= MIG_GI_PROFILES_MAX || p->max_count > MIG_INSTANCES_MAX || !p->starts ||
            (uint64_t)p->starts << p->slots >= 2ull << board->n_slots || !p->shape.gi_slices ||
            p->n_computes > MIG_CI_PROFILES_MAX)
            abort();
        for (uint32_t j = 0; j < p->n_computes; j++)
            if (p->computes[j].slices * p->computes[j].max_count > p->shape.gi_slices)
                abort();
    }
}

static void check_model(const struct gpu_model *m)
{
    char name[GPU_MODEL_NAME];

    check_board(&m->mig);
    gpu_model_short_name(m, name);
    if (!gpu_model_is_named(m, m->name) || !gpu_model_is_named(m, name) ||
        m->reserved_bytes >= m->memory_bytes || m->nvlink_count > GPU_MODEL_MAX_NVLINKS)
        abort();
}

static void check_type(const struct catalog *catalog, const struct instance_type *type)
{
    struct catalog_machine machine;

    if (catalog_find_machine(catalog, type->name, &machine, NULL) != 0 || machine.type != type)
        abort();
    if (type->model >= catalog->n_models || type->n_gpus == 0 || type->n_gpus > CATALOG_MAX_GPUS ||
        type->n_switches > CATALOG_MAX_SWITCHES ||
        (type->wiring == GPU_WIRING_SWITCHES) != (type->n_switches > 0))
        abort();
}

static int add_known_model(struct catalog *catalog)
{
    catalog->models = calloc(1, sizeof(*catalog->models));
    if (!catalog->models)
        return -1;
    catalog->models[0] = (struct gpu_model){
        .name = "Tesla T4", .memory_bytes = 2, .reserved_bytes = 1, .nvlink_count = 6};
    catalog->n_models = 1;
    return 0;
}

/* Some names, also as a person may mistype them. */
static void look_up(const struct catalog *catalog, const char *word)
{
    cleanup_text struct text near = TEXT_INIT;
    struct error err = ERROR_INIT;
    struct catalog_machine machine;

    if (catalog_find_machine(catalog, word, &machine, &err) == 0 &&
        (machine.n_gpus == 0 || machine.n_gpus > CATALOG_MAX_GPUS || !machine.model))
        abort();
    catalog_add_near_machines(catalog, word, &near);
    catalog_add_near_models(catalog, word, &near);
}

static void check_prices(const char *text, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_prices struct prices prices = PRICES_INIT;
    int r = prices_parse(text, size, &problems, &prices);

    if ((r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    for (size_t i = 0; i < prices.n_items; i++)
        if (!prices.items[i].micro)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    const char *text = (const char *)data;
    char word[64];

    if (add_known_model(&catalog) < 0)
        return 0;
    for (int family = 0; family < 2; family++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        int r = family ? catalog_add_family(&catalog, text, size, &problems)
                       : catalog_add_model(&catalog, text, size, &problems);

        if ((r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
            abort();
    }
    for (size_t i = 0; i < catalog.n_models; i++)
        check_model(&catalog.models[i]);
    for (size_t i = 0; i < catalog.n_types; i++)
        check_type(&catalog, &catalog.types[i]);
    check_prices(text, size);
    snprintf(word, sizeof(word), "%.*s", (int)size, text);
    look_up(&catalog, word);
    return 0;
}
