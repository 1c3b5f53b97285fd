// SPDX-License-Identifier: Apache-2.0
#include "node/migbegun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "node/test-a100.h"

struct world {
    char folder[64], path[PATH_MAX];
    struct hardware hw;
    struct migbegun begun;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    if (!world)
        return -1;
    snprintf(world->folder, sizeof(world->folder), "/tmp/migbegun-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->path, sizeof(world->path), "%s/mig-begun", world->folder);
    hardware_init(&world->hw);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    migbegun_deinit(&world->begun);
    unlink(world->path);
    rmdir(world->folder);
    free(world);
    return 0;
}

static void next_agent(struct world *world)
{
    migbegun_deinit(&world->begun);
    migbegun_init(&world->begun, world->folder);
}

static void note(struct world *world, const char *layout)
{
    struct mig_want goal;

    assert_int_equal(migwant_builtin(&world->hw.board, layout, &goal, NULL), 0);
    migbegun_note(&world->begun, &world->hw.gpus[0], &world->hw.board, &goal, layout);
}

static bool is_amid(const struct world *world, const char *goal)
{
    struct mig_want want, expected;

    if (!migbegun_is_amid(&world->begun, &world->hw.gpus[0], &world->hw.board, &want))
        return false;
    assert_int_equal(migwant_builtin(&world->hw.board, goal, &expected, NULL), 0);
    assert_memory_equal(&want, &expected, sizeof(want));
    return true;
}

/* MIG on, `n` devices of the profile, one after the other. */
static void have(struct world *world, uint32_t profile, uint32_t n)
{
    struct mig_layout *layout = &world->hw.gpus[0].layout;

    *layout = (struct mig_layout){.enabled = true, .pending = true, .n_instances = n};
    for (uint32_t i = 0; i < n; i++)
        layout->instances[i] = (struct mig_instance){
            .id = i + 1,
            .profile = profile,
            .n_computes = 1,
            .computes = {{.slices = world->hw.board.profiles[profile].computes[0].slices}}};
}

static void what_is_begun_outlives_the_agent(void **state)
{
    struct world *world = *state;

    next_agent(world);
    assert_int_not_equal(access(world->path, F_OK), 0);
    note(world, "all-1g.5gb");
    assert_false(is_amid(world, "all-1g.5gb")); /* MIG is off: it is whole */
    next_agent(world);
    assert_string_equal(migbegun_find(&world->begun, "GPU-0")->wish, "all-1g.5gb");
    assert_null(migbegun_find(&world->begun, "GPU-1"));
    have(world, 0, 0);
    assert_true(is_amid(world, "all-1g.5gb"));
    have(world, 0, 3);
    assert_true(is_amid(world, "all-1g.5gb"));
    have(world, 0, 7);
    assert_false(is_amid(world, "all-1g.5gb"));
    migbegun_drop(&world->begun, "GPU-0");
    assert_int_not_equal(access(world->path, F_OK), 0);
}

static void what_others_made_since_is_theirs(void **state)
{
    struct world *world = *state;

    next_agent(world);
    have(world, 0, 7);
    note(world, "all-3g.20gb");
    assert_false(is_amid(world, "all-3g.20gb")); /* no step was taken */
    have(world, 0, 5);
    assert_true(is_amid(world, "all-3g.20gb"));
    have(world, 1, 1); /* 2g.10gb is in neither */
    assert_false(is_amid(world, "all-3g.20gb"));
}

static void a_goal_that_changes_on_the_way_keeps_what_there_was(void **state)
{
    struct world *world = *state;

    next_agent(world);
    have(world, 0, 7);
    note(world, "all-3g.20gb");
    have(world, 0, 5);
    note(world, "all-7g.40gb");
    next_agent(world);
    assert_true(is_amid(world, "all-7g.40gb"));
    have(world, 0, 7); /* as if somebody had put it back, which nobody can tell */
    assert_true(is_amid(world, "all-7g.40gb"));
}

static void a_goal_that_is_out_of_reach_is_given_up_for_what_there_was(void **state)
{
    struct world *world = *state;

    next_agent(world);
    assert_false(migbegun_turn_back(&world->begun, "GPU-0"));
    have(world, 0, 7);
    note(world, "all-3g.20gb");
    have(world, 0, 2);
    assert_true(migbegun_turn_back(&world->begun, "GPU-0"));
    next_agent(world);
    assert_true(is_amid(world, "all-1g.5gb"));
    assert_string_equal(migbegun_find(&world->begun, "GPU-0")->wish, "before all-3g.20gb");
    assert_false(migbegun_turn_back(&world->begun, "GPU-0")); /* once is enough */
    have(world, 0, 7);
    assert_false(is_amid(world, "all-1g.5gb"));
}

static void a_file_that_cannot_be_read_counts_as_empty(void **state)
{
    static const char *const texts[] = {
        "",
        "garbage\n",
        "gpuslice-mig-begun 1\nGPU-0\n",
        "gpuslice-mig-begun 1\nGPU-0\tbegun\ta\tb\n",
        "gpuslice-mig-begun 1\nGPU-0\tmaybe\ta\tb\tc\n",
        "gpuslice-mig-begun 1\nGPU-0\tbegun\ta\tb\tc\td\n",
        "gpuslice-mig-begun 1\nGPU-0\tbegun\ta\tb\tc\nGPU-0\tbegun\ta\tb\tc\n",
    };
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(file_write_atomic(world->path, texts[i], strlen(texts[i]), 0600, NULL), 0);
        next_agent(world);
        assert_null(migbegun_find(&world->begun, "GPU-0"));
        assert_int_equal(world->begun.n, 0);
    }
    /* What it names may be none of this board. */
    assert_int_equal(file_write_atomic(world->path, "gpuslice-mig-begun 1\nGPU-0\tbegun\ta\tb\tc\n",
                                       39, 0600, NULL),
                     0);
    next_agent(world);
    have(world, 0, 3);
    assert_false(is_amid(world, "all-1g.5gb"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_begun_outlives_the_agent),
        TEST(what_others_made_since_is_theirs),
        TEST(a_goal_that_changes_on_the_way_keeps_what_there_was),
        TEST(a_goal_that_is_out_of_reach_is_given_up_for_what_there_was),
        TEST(a_file_that_cannot_be_read_counts_as_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
