// SPDX-License-Identifier: Apache-2.0
#include "node/renewal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hostid.h"
#include "plugin/test-bed.h"

enum { PATIENCE_MS = 180000, GAP_MS = RENEWAL_GAP_MS };

struct world {
    struct bed bed;
    struct renewal *renewal;
    char path[BED_PATH_SIZE];
    unsigned n_due;
};

static void on_due(void *userdata)
{
    ((struct world *)userdata)->n_due++;
}

static void start_with(struct world *world, uint64_t patience_ms)
{
    const struct renewal_setup setup = {.loop = &world->bed.loop,
                                        .state_dir = world->bed.folder,
                                        .patience_ms = patience_ms,
                                        .on_due = on_due,
                                        .userdata = world};

    assert_int_equal(renewal_new(&setup, &world->renewal, NULL), 0);
}

static void start(struct world *world)
{
    start_with(world, PATIENCE_MS);
}

static void stop(struct world *world)
{
    renewal_free(TAKE_PTR(world->renewal));
    bed_settle(&world->bed);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    bed_path(&world->bed, "renewed", world->path);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    stop(world);
    bed_deinit(&world->bed);
    free(world);
    return 0;
}

static void it_is_due_when_the_fault_lasted(void **state)
{
    struct world *world = *state;

    start(world);
    bed_advance(&world->bed, 2 * GAP_MS);
    assert_int_equal(world->n_due, 0);
    renewal_fault(world->renewal, true);
    bed_advance(&world->bed, PATIENCE_MS - 1);
    renewal_fault(world->renewal, true); /* said again, not begun again */
    assert_int_equal(world->n_due, 0);
    bed_advance(&world->bed, 1);
    assert_int_equal(world->n_due, 1);
    assert_true(renewal_is_recent(world->renewal));
}

static void a_fault_that_ends_counts_from_the_beginning(void **state)
{
    struct world *world = *state;

    start(world);
    for (int i = 0; i < 5; i++) {
        renewal_fault(world->renewal, true);
        bed_advance(&world->bed, PATIENCE_MS - 1);
        renewal_fault(world->renewal, false);
        bed_advance(&world->bed, 1);
    }
    assert_int_equal(world->n_due, 0);
    assert_false(renewal_is_recent(world->renewal));
}

/* Each end is followed by a new agent, in a new container, that finds the same fault. */
static void it_is_due_once_in_ten_minutes(void **state)
{
    struct world *world = *state;

    for (unsigned i = 0; i < 4; i++) {
        start(world);
        assert_int_equal(renewal_is_recent(world->renewal), i > 0);
        renewal_fault(world->renewal, true);
        if (i > 0) {
            bed_advance(&world->bed, GAP_MS - 1);
            assert_int_equal(world->n_due, i);
            bed_advance(&world->bed, 1);
        } else {
            bed_advance(&world->bed, PATIENCE_MS);
        }
        assert_int_equal(world->n_due, i + 1);
        stop(world);
    }
    bed_advance(&world->bed, GAP_MS);
    start(world);
    assert_false(renewal_is_recent(world->renewal));
}

static void without_patience_it_is_never_due(void **state)
{
    struct world *world = *state;

    start_with(world, 0);
    renewal_fault(world->renewal, true);
    bed_advance(&world->bed, 10 * GAP_MS);
    assert_int_equal(world->n_due, 0);
    assert_int_not_equal(access(world->path, F_OK), 0);
}

/* What earlier agents, other boots and other programs may have left in the file. */
static void the_file_is_believed_only_where_it_can_be_true(void **state)
{
    struct hostid host;
    char ours[200], future[200], other[200];
    struct world *world = *state;
    const struct {
        const char *content;
        uint64_t wait_ms; /* until it is due */
    } rows[] = {
        {ours, GAP_MS - 5000},
        {future, GAP_MS},
        {other, PATIENCE_MS},
        {"", GAP_MS},
        {"gpuslice-renewed 1 ", PATIENCE_MS},
        {"gpuslice-renewed 2 x 5\n", GAP_MS},
        {"some other program's\n", GAP_MS},
        {"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
         "0123456789012345678901234567890123456789\n",
         GAP_MS},
    };

    bed_advance(&world->bed, GAP_MS);
    hostid_read(&host);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const unsigned long long now_ms = clock_now_ms();

        snprintf(ours, sizeof(ours), "gpuslice-renewed 1 %s %llu\n", host.boot, now_ms - 5000);
        snprintf(future, sizeof(future), "gpuslice-renewed 1 %s %llu\n", host.boot, now_ms + 9000);
        snprintf(other, sizeof(other), "gpuslice-renewed 1 another-boot %llu\n", now_ms - 5000);
        assert_int_equal(
            file_write_atomic(world->path, rows[i].content, strlen(rows[i].content), 0600, NULL),
            0);
        world->n_due = 0;
        start(world);
        renewal_fault(world->renewal, true);
        bed_advance(&world->bed, rows[i].wait_ms - 1);
        if (world->n_due)
            fail_msg("row %zu is due too early", i);
        bed_advance(&world->bed, 1);
        if (world->n_due != 1)
            fail_msg("row %zu is not due", i);
        stop(world);
    }
    bed_remove(&world->bed, "renewed");
}

/* It could not be told how many ends there were. */
static void what_cannot_be_remembered_is_not_done(void **state)
{
    struct world *world = *state;

    assert_int_equal(mkdir(world->path, 0700), 0); /* in the file's way; it counts as written now */
    start(world);
    renewal_fault(world->renewal, true);
    bed_advance(&world->bed, 5 * GAP_MS);
    assert_int_equal(world->n_due, 0);
    assert_int_equal(rmdir(world->path), 0);
    bed_advance(&world->bed, PATIENCE_MS);
    assert_int_equal(world->n_due, 1);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(it_is_due_when_the_fault_lasted),
        IN_A_WORLD(a_fault_that_ends_counts_from_the_beginning),
        IN_A_WORLD(it_is_due_once_in_ten_minutes),
        IN_A_WORLD(without_patience_it_is_never_due),
        IN_A_WORLD(the_file_is_believed_only_where_it_can_be_true),
        IN_A_WORLD(what_cannot_be_remembered_is_not_done),
    };

    return cmocka_run_group_tests_name("node/renewal", tests, NULL, NULL);
}
