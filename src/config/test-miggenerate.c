// SPDX-License-Identifier: Apache-2.0
#include "config/miggenerate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

/* An A100's and an A30's smallest and largest profiles. */
static struct mig_board boards[] = {
    {.n_slots = 8,
     .n_profiles = 2,
     .profiles = {{.name = "1g.5gb",
                   .slots = 1,
                   .starts = 0x7f,
                   .max_count = 7,
                   .shape = {.gi_slices = 1, .ci_slices = 1},
                   .n_computes = 1,
                   .computes = {{.slices = 1, .max_count = 1}}},
                  {.name = "7g.40gb",
                   .slots = 8,
                   .starts = 1,
                   .max_count = 1,
                   .shape = {.gi_slices = 7, .ci_slices = 7},
                   .n_computes = 1,
                   .computes = {{.slices = 7, .max_count = 1}}}}},
    {.n_slots = 4,
     .n_profiles = 1,
     .profiles = {{.name = "1g.6gb",
                   .slots = 1,
                   .starts = 0xf,
                   .max_count = 4,
                   .shape = {.gi_slices = 1, .ci_slices = 1},
                   .n_computes = 1,
                   .computes = {{.slices = 1, .max_count = 1}}}}},
};

static struct migconfig *generate(struct gpu *gpus, size_t n, int wanted)
{
    struct inventory machine = {.gpus = gpus, .n_gpus = n, .boards = boards, .n_boards = 2};
    struct migconfig *config = NULL;

    assert_int_equal(miggenerate_make(&machine, &config), wanted);
    return config;
}

static const struct migconfig_label *find(const struct migconfig *config, const char *name)
{
    for (size_t i = 0; i < config->n_labels; i++)
        if (str_equal(config->labels[i].name, name))
            return &config->labels[i];
    fail_msg("no label %s", name);
    return NULL;
}

static void test_one_model_needs_no_filter(void **state)
{
    struct gpu gpus[] = {{.index = 0, .board = 1, .pci_device_id = 0x20b010de},
                         {.index = 1, .board = 1, .pci_device_id = 0x20b010de}};
    struct migconfig *config = generate(gpus, ARRAY_SIZE(gpus), 0);
    const struct migconfig_label *label = find(config, "all-1g.5gb");

    assert_int_equal(label->n_entries, 1);
    assert_false(label->entries[0].is_filtered);
    assert_true(label->entries[0].is_for_all);
    assert_int_equal(label->entries[0].counts[0].count, 7);
    assert_false(find(config, "all-disabled")->entries[0].enabled);
    assert_int_equal(find(config, "all-enabled")->entries[0].n_counts, 0);
    assert_int_equal(find(config, "all-7g.40gb")->entries[0].counts[0].count, 1);
    migconfig_free(config);
}

static void test_entries_name_their_models_on_a_mixed_machine(void **state)
{
    struct gpu gpus[] = {{.index = 0, .board = 1, .pci_device_id = 0x20b010de},
                         {.index = 1, .board = 2, .pci_device_id = 0x20b710de},
                         {.index = 2, .pci_device_id = 0x223710de}};
    struct migconfig *config = generate(gpus, ARRAY_SIZE(gpus), 0);
    const struct migconfig_entry *entry = &find(config, "all-1g.6gb")->entries[0];

    assert_true(entry->is_filtered);
    assert_int_equal(entry->n_filters, 1);
    assert_int_equal(entry->filters[0].device_id, 0x20b710de);
    assert_int_equal(entry->counts[0].count, 4);
    assert_int_equal(find(config, "all-disabled")->n_entries, 1);
    assert_false(find(config, "all-disabled")->entries[0].is_filtered);
    migconfig_free(config);
}

static void test_no_gpu_that_can_be_partitioned(void **state)
{
    struct gpu gpus[] = {{.index = 0, .pci_device_id = 0x223710de}};

    assert_null(generate(gpus, 1, MIGGENERATE_NO_MIG));
    assert_null(generate(NULL, 0, MIGGENERATE_NO_MIG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_model_needs_no_filter),
        cmocka_unit_test(test_entries_name_their_models_on_a_mixed_machine),
        cmocka_unit_test(test_no_gpu_that_can_be_partitioned),
    };

    return cmocka_run_group_tests_name("config/miggenerate", tests, NULL, NULL);
}
