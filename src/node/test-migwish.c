// SPDX-License-Identifier: Apache-2.0
#include "node/migwish.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/partitioner.h"

static const char layouts[] =
    "version: v1\n"
    "mig-configs:\n"
    "  small:\n"
    "  - {devices: all, mig-enabled: true, mig-devices: {1g.5gb: 7}}\n"
    "  tight:\n"
    "  - {devices: all, mig-enabled: true, mig-devices: {3g.20gb: 2, 1g.5gb: 1}}\n"
    "  per-gpu:\n"
    "  - {devices: [0], mig-enabled: false}\n"
    "  - {device-filter: '0x20B010DE', devices: [1, 2], mig-enabled: true, mig-devices: {}}\n"
    "  - {devices: [1], mig-enabled: true, mig-devices: {7g.40gb: 1}}\n"
    "  wrong:\n"
    "  - {devices: [0], mig-enabled: true, mig-devices: {2g.99gb: 1}}\n"
    "  all-7g.40gb:\n"
    "  - {devices: [0], mig-enabled: true, mig-devices: {1g.5gb: 1}}\n";

struct world {
    char folder[32], path[64], memory[64];
    struct agent_flags flags;
    struct config config;
    struct gpu gpus[3]; /* the last one cannot be partitioned */
    struct mig_board board;
    struct facts facts;
};

static void add_profile(struct mig_board *board, const char *name, uint32_t slices, uint32_t slots,
                        uint32_t starts)
{
    struct mig_profile *profile = &board->profiles[board->n_profiles++];

    *profile = (struct mig_profile){.max_count = slots == 8 ? 1 : 7,
                                    .shape = {.gi_slices = slices, .ci_slices = slices},
                                    .slots = slots,
                                    .starts = starts,
                                    .n_computes = 1,
                                    .computes = {{.slices = slices, .max_count = 1}}};
    snprintf(profile->name, sizeof(profile->name), "%s", name);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    FILE *file;

    strcpy(world->folder, "/tmp/gpuslice-wish-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->path, sizeof(world->path), "%s/layouts", world->folder);
    snprintf(world->memory, sizeof(world->memory), "%s/mig-config", world->folder);
    file = fopen(world->path, "w");
    assert_non_null(file);
    fputs(layouts, file);
    fclose(file);
    world->flags = (struct agent_flags){
        .state_dir = world->folder, .node_name = "n", .mig_config_file = world->path};
    world->board.n_slots = 8;
    add_profile(&world->board, "1g.5gb", 1, 1, 0x7f);
    add_profile(&world->board, "7g.40gb", 7, 8, 1);
    for (unsigned i = 0; i < 3; i++)
        world->gpus[i] = (struct gpu){.index = i,
                                      .board = i < 2,
                                      .mig_capable = i < 2,
                                      .model = "NVIDIA A10G",
                                      .pci_device_id = 0x20B010DE};
    world->facts = (struct facts){
        .flags = &world->flags,
        .next_config = &world->config,
        .machine = {.gpus = world->gpus, .n_gpus = 3, .boards = &world->board, .n_boards = 1}};
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    unlink(world->path);
    unlink(world->memory);
    assert_int_equal(rmdir(world->folder), 0);
    free(world);
    return 0;
}

/* "2 x 1g.5gb" of GPU i; "-" = it is adopted, "passed" = the layout is not for it, "?" = not known;
 * else the error. */
static const char *wanted(struct migwish *wish, unsigned i)
{
    static const struct mig_board none;
    static char buffer[512];
    const struct world *world = (const struct world *)(uintptr_t)((const char *)wish->facts -
                                                                  offsetof(struct world, facts));
    const struct mig_board *board = inventory_board(&wish->facts->machine, &world->gpus[i]);
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    struct mig_want want;
    int r = migwish_want(wish, &world->gpus[i], board ? board : &none, &want, &err);

    if (r == 0)
        migwant_add_text(&world->board, &want, &text);
    snprintf(buffer, sizeof(buffer), "%s",
             r == 0                     ? text_string(&text)
             : r == PARTITIONER_ADOPT   ? "-"
             : r == PARTITIONER_PASSED  ? "passed"
             : r == PARTITIONER_UNKNOWN ? "?"
                                        : error_text(&err));
    return buffer;
}

static void label_then_annotation_then_configuration(void **state)
{
    struct world *world = *state;
    struct migwish wish;

    migwish_init(&wish, &world->facts);
    assert_string_equal(wanted(&wish, 0), "?");
    assert_true(migwish_node(&wish, NULL, NULL));
    assert_false(migwish_node(&wish, NULL, NULL));
    assert_string_equal(wanted(&wish, 0), "-");
    world->config.policy.mig_layout = (char *)(uintptr_t) "all-disabled";
    assert_string_equal(wanted(&wish, 0), "MIG disabled");
    assert_string_equal(migwish_text(&wish), "all-disabled (gpuslice.mig.layout)");
    assert_true(migwish_node(&wish, NULL, "all-enabled"));
    assert_string_equal(wanted(&wish, 0), "no MIG device");
    assert_string_equal(migwish_text(&wish), "all-enabled (annotation gpuslice.dev/mig-layout)");
    assert_true(migwish_node(&wish, "all-1g.5gb", "all-enabled"));
    assert_string_equal(wanted(&wish, 1), "7 x 1g.5gb");
    assert_string_equal(migwish_text(&wish), "all-1g.5gb (label nvidia.com/mig.config)");
    assert_true(migwish_node(&wish, "", NULL)); /* as good as none */
    assert_string_equal(wanted(&wish, 0), "MIG disabled");
    migwish_deinit(&wish);
}

static void a_label_of_the_file_is_what_mig_parted_makes_of_it(void **state)
{
    static const struct {
        const char *label, *expected[3];
    } rows[] = {
        {"small", {"7 x 1g.5gb", "7 x 1g.5gb", "passed"}}, /* all that can be partitioned */
        {"per-gpu",
         {"MIG disabled", "7g.40gb",
          "MIG cannot partition NVIDIA A10G; guides that list the A10, and with it g5, for MIG are "
          "wrong; sharing.timeSlicing shares it"}},
        {"all-7g.40gb", {"1g.5gb", "passed", "passed"}}, /* before the built-in one of that name */
        {"all-1g.5gb", {"7 x 1g.5gb", "7 x 1g.5gb", "passed"}},
        {"all-disabled", {"MIG disabled", "MIG disabled", "passed"}},
    };
    struct world *world = *state;
    struct migwish wish;

    migwish_init(&wish, &world->facts);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        migwish_node(&wish, rows[i].label, NULL);
        for (unsigned gpu = 0; gpu < 3; gpu++)
            if (strcmp(wanted(&wish, gpu), rows[i].expected[gpu]) != 0)
                fail_msg("%s, GPU %u: %s", rows[i].label, gpu, wanted(&wish, gpu));
    }
    migwish_node(&wish, "wrong", NULL);
    assert_non_null(strstr(wanted(&wish, 0), "2g.99gb"));
    assert_non_null(strstr(wanted(&wish, 0), "1g.5gb")); /* what it has */
    migwish_node(&wish, "missing", NULL);
    assert_non_null(strstr(wanted(&wish, 0), "missing"));
    assert_non_null(strstr(wanted(&wish, 0), "per-gpu")); /* what there is */
    migwish_deinit(&wish);
}

/* A driver before 535 reports no profiles while MIG is off. */
static void without_profiles_the_mode_comes_first(void **state)
{
    static const struct {
        const char *label;
        int r;
        bool enabled;
    } rows[] = {
        {"small", 0, true},       {"per-gpu", 0, true},       {"all-balanced", 0, true},
        {"all-enabled", 0, true}, {"all-disabled", 0, false}, {"missing", -ENOENT, false},
    };
    static const struct mig_board none;
    struct world *world = *state;
    struct migwish wish;

    world->facts.machine.n_boards = 0;
    for (unsigned i = 0; i < 3; i++)
        world->gpus[i] =
            (struct gpu){.index = i, .mig_capable = i == 2, .pci_device_id = 0x20B010DE};
    migwish_init(&wish, &world->facts);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err = ERROR_INIT;
        struct mig_want want = {.enabled = false};

        migwish_node(&wish, rows[i].label, NULL);
        assert_int_equal(migwish_want(&wish, &world->gpus[2], &none, &want, &err), rows[i].r);
        if (rows[i].r == 0)
            assert_int_equal(want.enabled, rows[i].enabled);
        if (want.enabled)
            assert_true(want.mode_only);
    }
    migwish_node(&wish, "all-balanced", NULL); /* the others are left as they are */
    assert_string_equal(wanted(&wish, 0), "passed");
    world->gpus[2].layout.enabled = true; /* and it has none all the same */
    assert_non_null(strstr(wanted(&wish, 2), "it " MIGWANT_NO_MIG));
    migwish_deinit(&wish);
}

/* Of GPU 2, which the driver says nothing of: "mode", or the error. */
static const char *wanted_unread(struct migwish *wish, struct world *world, const char *label)
{
    static const struct mig_board none;
    static char buffer[512];
    struct error err = ERROR_INIT;
    struct mig_want want;
    int r;

    migwish_node(wish, label, NULL);
    r = migwish_want(wish, &world->gpus[2], &none, &want, &err);
    snprintf(buffer, sizeof(buffer), "%s",
             r < 0                             ? error_text(&err)
             : r == 0 && want.enabled          ? "mode"
             : r == 0 && !migwant_count(&want) ? "off"
                                               : "-");
    return buffer;
}

static void the_catalog_says_what_is_impossible_before_the_mode_changes(void **state)
{
    struct world *world = *state;
    struct migwish wish;

    migwish_init(&wish, &world->facts);
    world->gpus[2].mig_capable = true;
    strcpy(world->gpus[2].model, "NVIDIA A100-SXM4-40GB");
    assert_string_equal(wanted_unread(&wish, world, "all-1g.5gb"), "mode");
    assert_string_equal(wanted_unread(&wish, world, "small"), "mode"); /* of the file */
    assert_string_equal(wanted_unread(&wish, world, "tight"),
                        "it has no room for all that is wanted; the most of it that fits is 2 x "
                        "3g.20gb; wanted: 2 x 3g.20gb, 1g.5gb");
    assert_non_null(strstr(wanted_unread(&wish, world, "all-1g.6gb"), "it has no MIG layout"));
    assert_string_equal(wanted_unread(&wish, world, "all-disabled"), "off");
    strcpy(world->gpus[2].model, "NVIDIA X100"); /* it shows when the mode is on */
    assert_string_equal(wanted_unread(&wish, world, "all-1g.6gb"), "mode");
    assert_string_equal(wanted_unread(&wish, world, "tight"), "mode");
    migwish_deinit(&wish);
}

static void an_unusable_file_leaves_the_built_in_layouts(void **state)
{
    struct world *world = *state;
    struct migwish wish;
    FILE *file = fopen(world->path, "w");

    fputs("version: v1\nmig-configs: {a: 3}\n", file);
    fclose(file);
    migwish_init(&wish, &world->facts);
    migwish_node(&wish, "a", NULL);
    assert_non_null(strstr(wanted(&wish, 0), "unusable"));
    assert_non_null(strstr(wanted(&wish, 0), "layouts:2")); /* where */
    migwish_node(&wish, "all-1g.5gb", NULL);
    assert_string_equal(wanted(&wish, 0), "7 x 1g.5gb");

    file = fopen(world->path, "w");
    fputs(layouts, file);
    fclose(file);
    migwish_read_file(&wish);
    migwish_node(&wish, "small", NULL);
    assert_string_equal(wanted(&wish, 0), "7 x 1g.5gb");
    migwish_deinit(&wish);
}

static void what_the_node_asked_for_outlives_the_agent(void **state)
{
    struct world *world = *state;
    struct migwish wish;

    migwish_init(&wish, &world->facts);
    assert_true(migwish_node(&wish, "all-1g.5gb", "x"));
    migwish_deinit(&wish);

    migwish_init(&wish, &world->facts);
    assert_string_equal(wanted(&wish, 0), "7 x 1g.5gb");
    assert_false(migwish_may_change(&wish)); /* it may have been removed meanwhile */
    assert_true(migwish_give_up(&wish));     /* the cluster is away */
    assert_true(migwish_may_change(&wish));
    assert_string_equal(wanted(&wish, 0), "7 x 1g.5gb");
    assert_true(migwish_node(&wish, "all-1g.5gb", NULL));
    assert_false(migwish_give_up(&wish));
    assert_true(migwish_node(&wish, NULL, NULL));
    assert_string_equal(wanted(&wish, 0), "-");
    migwish_deinit(&wish);
    unlink(world->memory);

    migwish_init(&wish, &world->facts); /* a first start, and no cluster */
    assert_string_equal(wanted(&wish, 0), "?");
    assert_true(migwish_give_up(&wish));
    assert_string_equal(wanted(&wish, 0), "-");
    assert_int_not_equal(access(world->memory, F_OK), 0); /* an assumption is not remembered */
    migwish_deinit(&wish);

    world->flags.node_name = NULL;
    migwish_init(&wish, &world->facts);
    assert_string_equal(wanted(&wish, 0), "-"); /* nobody could ask */
    migwish_deinit(&wish);
}

static void an_excluded_gpu_is_left_alone(void **state)
{
    struct device_ref excluded = {.kind = DEVICE_REF_INDEX, .index = 1};
    struct world *world = *state;
    struct migwish wish;

    world->config.policy.excluded = &excluded;
    world->config.policy.n_excluded = 1;
    migwish_init(&wish, &world->facts);
    migwish_node(&wish, "all-1g.5gb", NULL);
    assert_string_equal(wanted(&wish, 0), "7 x 1g.5gb");
    assert_string_equal(wanted(&wish, 1), "-");
    assert_true(migwish_excludes(&wish, &world->gpus[1]));
    excluded.kind = DEVICE_REF_MIG_INDEX; /* a part of it */
    assert_false(migwish_excludes(&wish, &world->gpus[1]));
    excluded = (struct device_ref){.kind = DEVICE_REF_PCI};
    snprintf(excluded.uuid, sizeof(excluded.uuid), "0000:00:1B.0");
    snprintf(world->gpus[0].pci_address, sizeof(world->gpus[0].pci_address), "0000:00:1b.0");
    assert_true(migwish_excludes(&wish, &world->gpus[0]));
    world->facts.next_config = NULL; /* the label was there first */
    assert_string_equal(wanted(&wish, 0), "?");
    migwish_deinit(&wish);
}

static void an_order_comes_last(void **state)
{
    struct world *world = *state;
    struct migorder order = {.name = "all-1g.5gb"};
    struct migwish wish;

    migwish_init(&wish, &world->facts);
    wish.order = &order;
    assert_string_equal(wanted(&wish, 0), "?"); /* the Node may have a label */
    migwish_node(&wish, NULL, NULL);
    assert_false(migwish_is_chosen(&wish));
    assert_string_equal(wanted(&wish, 0), "7 x 1g.5gb");
    assert_string_equal(wanted(&wish, 2), "passed"); /* it cannot be partitioned */
    assert_string_equal(migwish_text(&wish), "all-1g.5gb (gpuslice mig apply)");
    migwish_node(&wish, "all-7g.40gb", NULL); /* of the file: for GPU 0, the others stay */
    assert_true(migwish_is_chosen(&wish));
    assert_string_equal(wanted(&wish, 0), "1g.5gb");
    assert_string_equal(wanted(&wish, 1), "passed");
    assert_string_equal(migwish_text(&wish), "all-7g.40gb (label nvidia.com/mig.config)");
    migwish_deinit(&wish);
}

static void an_order_agrees_with_what_is_chosen_by_what_it_means(void **state)
{
    struct world *world = *state;
    struct migorder order = {.name = "all-1g.5gb"};
    struct migwish wish;

    migwish_init(&wish, &world->facts);
    migwish_node(&wish, "small", NULL); /* of the file: the same by another name */
    assert_true(migwish_agrees(&wish, &order));
    migwish_node(&wish, "all-enabled", NULL);
    assert_false(migwish_agrees(&wish, &order));
    order.mode_only = true;
    assert_true(migwish_agrees(&wish, &order));
    migwish_node(&wish, "all-disabled", NULL);
    assert_false(migwish_agrees(&wish, &order));
    migwish_node(&wish, "per-gpu", NULL);
    assert_false(migwish_agrees(&wish, &order));
    migwish_node(&wish, "no such layout", NULL);
    assert_false(migwish_agrees(&wish, &order));
    migwish_deinit(&wish);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(label_then_annotation_then_configuration, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_label_of_the_file_is_what_mig_parted_makes_of_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_profiles_the_mode_comes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_catalog_says_what_is_impossible_before_the_mode_changes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unusable_file_leaves_the_built_in_layouts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_the_node_asked_for_outlives_the_agent, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_order_comes_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_excluded_gpu_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_order_agrees_with_what_is_chosen_by_what_it_means,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests_name("node/migwish", tests, NULL, NULL);
}
