// SPDX-License-Identifier: Apache-2.0
#include "config/migexport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

enum { MODEL_A = 0x20b010de, MODEL_B = 0x20b210de, MAX_GPUS = 8 };

/* 1g.5gb and 3g.20gb of an A100. */
static struct mig_board board = {
    .n_slots = 8,
    .n_profiles = 2,
    .profiles =
        {
            {.name = "1g.5gb",
             .slots = 1,
             .shape = {.gi_slices = 1, .ci_slices = 1},
             .n_computes = 1,
             .computes = {{.slices = 1}}},
            {.name = "3g.20gb",
             .slots = 4,
             .shape = {.gi_slices = 3, .ci_slices = 3},
             .n_computes = 2,
             .computes = {{.slices = 1}, {.slices = 3}}},
        },
};

/* "devices=0,1 models=2 off; devices=all on 1g.5gb=2" */
static char *describe(const struct migconfig *config)
{
    const struct migconfig_label *label = &config->labels[0];
    struct text text = TEXT_INIT;

    for (size_t i = 0; i < label->n_entries; i++) {
        const struct migconfig_entry *entry = &label->entries[i];

        text_add(&text, i ? "; " : "");
        for (size_t j = 0; j < entry->n_filters && entry->is_filtered; j++)
            text_addf(&text, "%08X ", entry->filters[j].device_id);
        if (entry->is_for_all)
            text_add(&text, "all ");
        for (size_t j = 0; j < entry->n_gpus && !entry->is_for_all; j++)
            text_addf(&text, "%u ", entry->gpus[j]);
        text_add(&text, entry->enabled ? "on" : "off");
        for (size_t j = 0; j < entry->n_counts; j++)
            text_addf(&text, " %s=%u", entry->counts[j].profile, entry->counts[j].count);
    }
    return text_take(&text);
}

struct given {
    uint32_t model;
    bool enabled;
    unsigned n_small; /* instances of 1g.5gb */
    bool has_large;   /* one of 3g.20gb with two compute instances of 1c */
    bool is_unusable;
};

static void partition(struct gpu *gpu, const struct given *given)
{
    gpu->mig_enabled = gpu->layout.enabled = gpu->layout.pending = given->enabled;
    for (unsigned i = 0; i < given->n_small; i++)
        gpu->layout.instances[gpu->layout.n_instances++] = (struct mig_instance){
            .id = i, .start = i, .n_computes = 1, .computes = {{.slices = 1}}};
    if (given->has_large)
        gpu->layout.instances[gpu->layout.n_instances++] = (struct mig_instance){
            .id = 9,
            .profile = 1,
            .start = 4,
            .n_computes = 2,
            .computes = {{.id = 0, .slices = 1}, {.id = 1, .start = 1, .slices = 1}}};
}

static void expect(const struct given *given, size_t n, size_t n_skipped, const char *wanted)
{
    static struct gpu gpus[MAX_GPUS];
    struct inventory machine = {.gpus = gpus, .n_gpus = n, .boards = &board, .n_boards = 1};
    cleanup_free char *described = NULL;
    struct migconfig *config = NULL;
    size_t skipped = 0;

    memset(gpus, 0, sizeof(gpus));
    for (size_t i = 0; i < n; i++) {
        gpus[i].index = (unsigned)i;
        gpus[i].board = 1;
        gpus[i].pci_device_id = given[i].model;
        strcpy(gpus[i].unusable, given[i].is_unusable ? "fell off the bus" : "");
        partition(&gpus[i], &given[i]);
    }
    assert_int_equal(migexport_make(&machine, "current", &config, &skipped), 0);
    assert_string_equal(config->labels[0].name, "current");
    described = describe(config);
    assert_string_equal(described, wanted);
    assert_int_equal(skipped, n_skipped);
    migconfig_free(config);
}

#define EXPECT(wanted, ...)                                \
    do {                                                   \
        static const struct given given[] = {__VA_ARGS__}; \
                                                           \
        expect(given, ARRAY_SIZE(given), 0, wanted);       \
    } while (0)

/* The cases of mig-parted's own test (cmd/nvidia-mig-parted/export/export_test.go). */
static void test_entries_are_merged_as_mig_parted_does(void **state)
{
    EXPECT("all off", {MODEL_A});
    EXPECT("all off", {MODEL_A}, {MODEL_A});
    EXPECT("0 off; 1 on", {MODEL_A}, {MODEL_A, true});
    EXPECT("all off", {MODEL_A}, {MODEL_B});
    EXPECT("20B010DE all off; 20B210DE all on", {MODEL_A}, {MODEL_A}, {MODEL_B, true},
           {MODEL_B, true});
    EXPECT("20B010DE 20B210DE 0 2 off; 20B010DE 20B210DE 1 3 on", {MODEL_A}, {MODEL_A, true},
           {MODEL_B}, {MODEL_B, true});
}

static void test_instances_are_counted_by_profile(void **state)
{
    EXPECT("all on 1g.5gb=7", {MODEL_A, true, 7}, {MODEL_A, true, 7});
    EXPECT("0 on 1c.3g.20gb=2 1g.5gb=2; 1 2 on 1g.5gb=2; 3 off", {MODEL_A, true, 2, true},
           {MODEL_A, true, 2}, {MODEL_A, true, 2}, {MODEL_A});
}

static void test_what_is_unusable_is_left_out(void **state)
{
    static const struct given given[] = {
        {MODEL_A, true, 1}, {MODEL_B, .is_unusable = true}, {MODEL_A, true, 1}};

    expect(given, ARRAY_SIZE(given), 1, "all on 1g.5gb=1");
}

static void test_no_gpu(void **state)
{
    expect(NULL, 0, 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_are_merged_as_mig_parted_does),
        cmocka_unit_test(test_instances_are_counted_by_profile),
        cmocka_unit_test(test_what_is_unusable_is_left_out),
        cmocka_unit_test(test_no_gpu),
    };

    return cmocka_run_group_tests_name("config/migexport", tests, NULL, NULL);
}
