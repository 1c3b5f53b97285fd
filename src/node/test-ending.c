// SPDX-License-Identifier: Apache-2.0
#include "node/ending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/test-played.h"
#include "plugin/test-bed.h"

struct world {
    struct bed bed;
    struct ending ending;
    unsigned n_ends;
    int status; /* of the last end */
};

static void on_end(int status, void *userdata)
{
    struct world *world = userdata;

    world->n_ends++;
    world->status = status;
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    played_reset();
    bed_init(&world->bed);
    ending_init(&world->ending, &world->bed.loop, on_end, world);
    world->ending.grants = (struct grants *)(void *)world; /* only passed on */
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    ending_close(&world->ending);
    bed_deinit(&world->bed);
    free(world);
    return 0;
}

static void assert_ends(const struct world *world, unsigned n, int status)
{
    assert_int_equal(world->n_ends, n);
    assert_int_equal(world->status, status);
}

static void with_nothing_under_way_the_end_is_now(void **state)
{
    struct world *world = *state;

    ending_asked(&world->ending);
    assert_ends(world, 1, 0);
    world->ending.grants = NULL;
    ending_asked(&world->ending);
    assert_ends(world, 2, 0);
}

static void calls_that_wait_for_the_disk_come_first(void **state)
{
    struct world *world = *state;

    played.n_grants_waiting = 2;
    ending_asked(&world->ending);
    bed_advance(&world->bed, ENDING_MS - 1);
    assert_ends(world, 0, 0);
    played.on_drained(played.drained_userdata);
    assert_ends(world, 1, 0);
}

static void a_disk_that_hangs_is_not_waited_for(void **state)
{
    struct world *world = *state;

    played.n_grants_waiting = 1;
    ending_asked(&world->ending);
    bed_advance(&world->bed, ENDING_MS);
    assert_ends(world, 1, 0);
}

static void who_asks_twice_does_not_wait(void **state)
{
    struct world *world = *state;

    played.n_grants_waiting = 1;
    ending_asked(&world->ending);
    ending_asked(&world->ending);
    assert_ends(world, 1, 0);
}

static void giving_up_leaves_time_for_an_event(void **state)
{
    struct world *world = *state;

    ending_give_up(&world->ending, 1);
    assert_ends(world, 0, 0);
    bed_advance(&world->bed, ENDING_MS);
    assert_ends(world, 1, 1);
}

/* That it was due anyway makes no failure of an end that somebody asked for. */
static void the_end_that_was_asked_for_counts(void **state)
{
    struct world *world = *state;

    played.n_grants_waiting = 1;
    ending_give_up(&world->ending, 1);
    ending_asked(&world->ending);
    ending_give_up(&world->ending, 1);
    bed_advance(&world->bed, ENDING_MS);
    assert_ends(world, 1, 0);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(with_nothing_under_way_the_end_is_now),
        IN_A_WORLD(calls_that_wait_for_the_disk_come_first),
        IN_A_WORLD(a_disk_that_hangs_is_not_waited_for),
        IN_A_WORLD(who_asks_twice_does_not_wait),
        IN_A_WORLD(giving_up_leaves_time_for_an_event),
        IN_A_WORLD(the_end_that_was_asked_for_counts),
    };

    return cmocka_run_group_tests_name("node/ending", tests, NULL, NULL);
}
