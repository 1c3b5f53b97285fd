// SPDX-License-Identifier: Apache-2.0
#include "catalog/migboard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/yamlmap.h"
#include "catalog/catalog.h"

static struct catalog catalog = CATALOG_INIT;

static int load_ours(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    return catalog_load(getenv("GPUSLICE_TEST_CATALOG"), &problems, &catalog);
}

static int forget_ours(void **state)
{
    catalog_deinit(&catalog);
    return 0;
}

static const struct mig_profile *find(const struct mig_board *board, const char *name)
{
    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (strcmp(board->profiles[i].name, name) == 0)
            return &board->profiles[i];
    fail_msg("no profile %s", name);
    return NULL;
}

/* Labels of NVIDIA/mig-parted's configuration for each product, and its count of each profile. */
static void has_the_profiles_that_NVIDIA_configures(void **state)
{
    static const struct {
        const char *model;
        uint32_t n_slots, n_profiles;
        struct {
            const char *name;
            uint32_t count;
        } profiles[6];
    } table[] = {
        {"A100-SXM4-40GB",
         8,
         7,
         {{"1g.5gb", 7},
          {"1g.10gb", 4},
          {"2g.10gb", 3},
          {"3g.20gb", 2},
          {"4g.20gb", 1},
          {"7g.40gb", 1}}},
        {"A100-SXM4-80GB",
         8,
         7,
         {{"1g.10gb", 7},
          {"1g.20gb", 4},
          {"2g.20gb", 3},
          {"3g.40gb", 2},
          {"4g.40gb", 1},
          {"7g.80gb", 1}}},
        {"A30",
         4,
         5,
         {{"1g.6gb", 4}, {"1g.6gb+me", 1}, {"2g.12gb", 2}, {"2g.12gb+me", 1}, {"4g.24gb", 1}}},
        {"H100-80GB-HBM3",
         8,
         7,
         {{"1g.10gb", 7}, {"1g.10gb+me", 1}, {"2g.20gb", 3}, {"3g.40gb", 2}, {"7g.80gb", 1}}},
        {"H100-NVL",
         8,
         7,
         {{"1g.12gb", 7},
          {"1g.24gb", 4},
          {"2g.24gb", 3},
          {"3g.47gb", 2},
          {"4g.47gb", 1},
          {"7g.94gb", 1}}},
        {"H100-96GB-HBM3",
         8,
         7,
         {{"1g.12gb", 7},
          {"1g.24gb", 4},
          {"2g.24gb", 3},
          {"3g.48gb", 2},
          {"4g.48gb", 1},
          {"7g.96gb", 1}}},
        {"GH200-480GB", 8, 7, {{"1g.12gb", 7}, {"2g.24gb", 3}, {"3g.48gb", 2}, {"7g.96gb", 1}}},
        {"GH200-144G-HBM3e",
         8,
         7,
         {{"1g.18gb", 7}, {"1g.36gb", 4}, {"2g.36gb", 3}, {"3g.72gb", 2}, {"7g.144gb", 1}}},
        {"H200",
         8,
         7,
         {{"1g.18gb", 7},
          {"1g.35gb", 4},
          {"2g.35gb", 3},
          {"3g.71gb", 2},
          {"4g.71gb", 1},
          {"7g.141gb", 1}}},
        {"B200",
         8,
         7,
         {{"1g.23gb", 7},
          {"1g.45gb", 4},
          {"2g.45gb", 3},
          {"3g.90gb", 2},
          {"4g.90gb", 1},
          {"7g.180gb", 1}}},
        {"GB200",
         8,
         7,
         {{"1g.23gb", 7},
          {"1g.47gb", 4},
          {"2g.47gb", 3},
          {"3g.93gb", 2},
          {"4g.93gb", 1},
          {"7g.186gb", 1}}},
        {"B300-SXM6-AC",
         8,
         7,
         {{"1g.34gb", 7}, {"1g.67gb", 4}, {"2g.67gb", 3}, {"3g.135gb", 2}, {"7g.269gb", 1}}},
        {"RTX-PRO-6000-Blackwell-Server-Edition",
         12,
         11,
         {{"1g.24gb", 4},
          {"1g.24gb+gfx", 4},
          {"1g.24gb-me", 4},
          {"2g.48gb+me.all", 1},
          {"4g.96gb", 1}}},
        {"RTX-PRO-4500-Blackwell-Server-Edition",
         4,
         6,
         {{"1g.16gb", 2},
          {"1g.16gb+gfx", 2},
          {"1g.16gb-me", 2},
          {"1g.16gb+me.all", 1},
          {"2g.32gb", 1}}},
    };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct gpu_model *model = catalog_find_model(&catalog, table[i].model);

        if (!model) {
            fail_msg("no model %s", table[i].model);
            return;
        }
        assert_int_equal(model->mig.n_slots, table[i].n_slots);
        assert_int_equal(model->mig.n_profiles, table[i].n_profiles);
        for (size_t j = 0; j < ARRAY_SIZE(table[i].profiles) && table[i].profiles[j].name; j++)
            assert_int_equal(find(&model->mig, table[i].profiles[j].name)->max_count,
                             table[i].profiles[j].count);
    }
    for (size_t i = 0; i < catalog.n_models; i++)
        n += catalog.models[i].mig.n_slots > 0;
    assert_int_equal(n, ARRAY_SIZE(table));
}

/* NVIDIA's rule for the gigabytes in a profile's name: eighths of the GPU's memory. */
static unsigned long name_gigabytes(uint64_t mem_bytes, uint64_t total_bytes)
{
    const uint64_t gib = 1ull << 30;
    const uint64_t eighths = (mem_bytes * 8 + total_bytes - 1) / total_bytes;
    const uint64_t total_gib = (total_bytes + gib - 1) / gib;

    return (unsigned long)((eighths * total_gib * 2 + 8) / 16);
}

static void names_each_profile_by_its_memory(void **state)
{
    for (size_t i = 0; i < catalog.n_models; i++) {
        const struct gpu_model *model = &catalog.models[i];

        for (uint32_t j = 0; j < model->mig.n_profiles; j++) {
            const struct mig_profile *p = &model->mig.profiles[j];
            const unsigned long named = strtoul(strchr(p->name, '.') + 1, NULL, 10);

            if (name_gigabytes(p->mem_bytes, model->memory_bytes) != named)
                fail_msg("%s: %s would be %lu", model->name, p->name,
                         name_gigabytes(p->mem_bytes, model->memory_bytes));
        }
    }
}

/* As many instances as the profile's count fit beside each other, and no more. */
static void counts_what_its_placements_hold(void **state)
{
    for (size_t i = 0; i < catalog.n_models; i++) {
        const struct mig_board *board = &catalog.models[i].mig;

        for (uint32_t j = 0; j < board->n_profiles; j++) {
            const struct mig_profile *p = &board->profiles[j];
            uint32_t fit = 0, next = 0;

            for (uint32_t start = 0; start < board->n_slots; start++)
                if (start >= next && p->starts & 1u << start) {
                    fit++;
                    next = start + p->slots;
                }
            /* Of those with media engines the GPU has one set. */
            assert_int_equal(strstr(p->name, "+me") ? 1 : fit, p->max_count);
        }
    }
}

/* `nvidia-smi mig -lcip` of an A100, and what an H100's driver creates in 1g.20gb. */
static void derives_compute_instances(void **state)
{
    static const struct {
        const char *model, *profile;
        uint32_t n;
        struct mig_ci_profile computes[4];
    } table[] = {
        {"A100-SXM4-40GB", "1g.5gb", 1, {{0, 0, 1, 1, 14, 0x1}}},
        {"A100-SXM4-40GB", "1g.10gb", 1, {{0, 0, 1, 1, 14, 0x1}}},
        {"A100-SXM4-40GB", "2g.10gb", 2, {{0, 0, 1, 2, 14, 0x3}, {1, 1, 2, 1, 28, 0x1}}},
        {"A100-SXM4-40GB",
         "3g.20gb",
         3,
         {{0, 0, 1, 3, 14, 0x7}, {1, 1, 2, 1, 28, 0x1}, {2, 2, 3, 1, 42, 0x1}}},
        {"A100-SXM4-40GB",
         "4g.20gb",
         3,
         {{0, 0, 1, 4, 14, 0xf}, {1, 1, 2, 2, 28, 0x5}, {3, 3, 4, 1, 56, 0x1}}},
        {"A100-SXM4-40GB",
         "7g.40gb",
         5,
         {{0, 0, 1, 7, 14, 0x7f},
          {1, 1, 2, 3, 28, 0x15},
          {2, 2, 3, 2, 42, 0x11},
          {3, 3, 4, 1, 56, 0x1}}},
        {"H100-80GB-HBM3", "1g.20gb", 1, {{7, 7, 1, 1, 26, 0x1}}},
        {"H100-80GB-HBM3",
         "3g.40gb",
         3,
         {{0, 0, 1, 3, 16, 0x7}, {1, 1, 2, 1, 32, 0x1}, {2, 2, 3, 1, 60, 0x1}}},
        {"RTX-PRO-6000-Blackwell-Server-Edition",
         "2g.48gb",
         2,
         {{0, 0, 1, 2, 46, 0x3}, {1, 1, 2, 1, 94, 0x1}}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct gpu_model *model = catalog_find_model(&catalog, table[i].model);
        const struct mig_profile *p = find(&model->mig, table[i].profile);

        assert_int_equal(p->n_computes, table[i].n);
        for (uint32_t j = 0; j < p->n_computes && j < 4; j++)
            assert_memory_equal(&p->computes[j], &table[i].computes[j], sizeof(p->computes[j]));
    }
}

#define BOARD "memorySlices: 4\nprofiles:\n"
#define PROFILE(name, index, id, placements)                                                     \
    "- {name: " name ", index: " index ", id: " id ", count: 1, placements: \"" placements "\"," \
    " memory: 1Gi, multiprocessors: 14}\n"

static void refuses_with_place_and_sentence(void **state)
{
    static const struct {
        const char *text, *line;
    } table[] = {
        {"memorySlices: 4\n", "1:1: mig: 'memorySlices' and 'profiles' belong together"},
        {"profiles: []\n", "1:1: mig: 'memorySlices' is missing"},
        {"memorySlices: 17\n", "1:15: mig.memorySlices: expected a number from 0 to 16"},
        {BOARD "- {name: 1g.5gb}\n", "3:3: mig.profiles[0]: 'index' is missing"},
        {BOARD PROFILE("5gb", "0", "19", "{0}:1"),
         "a profile is called such as 1g.5gb or 1g.5gb+me"},
        {BOARD PROFILE("1g.5gb", "18", "19", "{0}:1"), "index: expected a number from 0 to 17"},
        {BOARD PROFILE("1g.5gb", "0", "19", "0:1"), "expected placements such as \"{0,2,4}:2\""},
        {BOARD PROFILE("1g.5gb", "0", "19", "{}:1"), "expected placements such as \"{0,2,4}:2\""},
        {BOARD PROFILE("1g.5gb", "0", "19", "{0,}:1"), "expected placements such as \"{0,2,4}:2\""},
        {BOARD PROFILE("1g.5gb", "0", "19", "{0,16}:1"),
         "expected placements such as \"{0,2,4}:2\""},
        {BOARD PROFILE("1g.5gb", "0", "19", "{0,3}:2"), "a placement lies beyond 'memorySlices'"},
        {BOARD PROFILE("1g.5gb", "0", "19", "{0}:3"), "a placement is a half, a quarter, ..."},
        {BOARD PROFILE("2g.5gb", "1", "14", "{1}:2"), "and starts at a multiple of its size"},
        {"memorySlices: 16\nprofiles:\n" PROFILE("1g.5gb", "0", "19", "{0}:1"),
         "or an eighth of 'memorySlices'"},
        {BOARD PROFILE("2g.5gb", "1", "14", "{0}:2") PROFILE("1g.5gb", "0", "19", "{0}:1"),
         "4:3: mig.profiles[1]: profiles are listed by 'index', each once"},
        {BOARD PROFILE("1g.5gb", "0", "19", "{0}:1") PROFILE("2g.5gb", "1", "19", "{0}:2"),
         "4:3: mig.profiles[1]: another profile has this name or 'id'"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        struct mig_board board = {.n_slots = 3};
        struct yaml *document;
        char line[300];

        assert_int_equal(
            yamlmap_parse_document(table[i].text, strlen(table[i].text), &problems, &document), 0);
        assert_false(migboard_read(&problems, document, "mig", &board));
        yaml_free(document, 1);
        problem_format(&problems, &problems.items[0], line, sizeof(line));
        if (!strstr(line, table[i].line))
            fail_msg("%s: %s", table[i].text, line);
        assert_int_equal(board.n_slots, 3); /* left alone */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_profiles_that_NVIDIA_configures),
        cmocka_unit_test(names_each_profile_by_its_memory),
        cmocka_unit_test(counts_what_its_placements_hold),
        cmocka_unit_test(derives_compute_instances),
        cmocka_unit_test(refuses_with_place_and_sentence),
    };

    return cmocka_run_group_tests_name("catalog/migboard", tests, load_ours, forget_ours);
}
