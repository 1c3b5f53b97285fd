// SPDX-License-Identifier: Apache-2.0
#include "plugin/standby.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "plugin/test-bed.h"

#define OWN    "gpuslice-gpu.sock"
#define NVIDIA "nvidia-gpu.sock"
#define LOST   true

struct world {
    struct bed bed;
    struct standby standby;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    standby_init(&world->standby, world->bed.folder, "nvidia.com/gpu", OWN, true);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    bed_deinit(&world->bed);
    free(world);
    return 0;
}

static void no_plugin_is_no_foreign_plugin(void **state)
{
    struct world *world = *state;

    assert_int_equal(standby_update(&world->standby, false, 0), 0);
    assert_int_equal(standby_update(&world->standby, LOST, 1000), 0);
    assert_false(standby_is_active(&world->standby));
    assert_false(standby_end(&world->standby));
}

static void a_foreign_plugin_goes_first(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    assert_int_equal(standby_update(&world->standby, false, 0), STANDBY_CHANGED);
    assert_string_equal(world->standby.name, NVIDIA);
    assert_true(standby_is_active(&world->standby) && standby_is_foreign(&world->standby));
    assert_int_equal(standby_update(&world->standby, false, 10), STANDBY_SERVES);
    close(fd);
    assert_int_equal(standby_update(&world->standby, false, 20), 0);
    assert_true(standby_is_active(&world->standby)); /* until its time is over */
    assert_true(standby_end(&world->standby));
    assert_false(standby_is_active(&world->standby));
}

/* Who finds his socket replaced has served longest, and leaves. */
static void the_newest_agent_serves(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, OWN);

    assert_int_equal(standby_update(&world->standby, false, 0), 0); /* it is ours */
    assert_int_equal(standby_update(&world->standby, LOST, 0), STANDBY_CHANGED);
    assert_string_equal(world->standby.name, OWN);
    assert_false(standby_is_foreign(&world->standby));
    close(fd);
    assert_int_equal(standby_update(&world->standby, LOST, 10), 0);
}

static void one_foreign_plugin_after_the_other(void **state)
{
    struct world *world = *state;
    int own = bed_listen(&world->bed, OWN), nvidia;

    assert_int_equal(standby_update(&world->standby, LOST, 0), STANDBY_CHANGED);
    nvidia = bed_listen(&world->bed, NVIDIA);
    assert_int_equal(standby_update(&world->standby, LOST, 10), STANDBY_SERVES);
    close(own);
    assert_int_equal(standby_update(&world->standby, LOST, 20), STANDBY_CHANGED);
    assert_string_equal(world->standby.name, NVIDIA);
    assert_int_equal(world->standby.since_ms, 20); /* no doubt of the first is one of the second */
    close(nvidia);
}

static void without_a_kubelet_nothing_is_shared(void **state)
{
    struct world *world = *state;
    int nvidia = bed_listen(&world->bed, NVIDIA), own = bed_listen(&world->bed, OWN);

    standby_init(&world->standby, world->bed.folder, "nvidia.com/gpu", OWN, false);
    assert_int_equal(standby_update(&world->standby, false, 0), 0);
    assert_int_equal(standby_update(&world->standby, LOST, 0), STANDBY_CHANGED);
    close(nvidia);
    close(own);
}

static void checks_back_off(void **state)
{
    static const unsigned waits_ms[] = {250, 500, 1000, 2000, 4000, 5000, 5000};
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);
    uint64_t now_ms = 777;

    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(*waits_ms); i++) {
        standby_update(&world->standby, false, now_ms);
        assert_int_equal(world->standby.due_ms - now_ms, waits_ms[i]);
        standby_update(&world->standby, false,
                       now_ms + 1); /* the folder changed: that is no wait */
        assert_int_equal(world->standby.due_ms - now_ms, waits_ms[i] + 1);
        now_ms = world->standby.due_ms;
        standby_back_off(&world->standby);
    }
    /* The next standby starts from scratch. */
    standby_end(&world->standby);
    standby_update(&world->standby, false, 60000);
    assert_int_equal(world->standby.due_ms, 60250);
    assert_int_equal(world->standby.since_ms, 60000);
    close(fd);
}

static void who_is_gone_is_succeeded_in_a_moment(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    standby_update(&world->standby, false, 1000);
    close(fd);
    assert_int_equal(standby_update(&world->standby, false, 1010), 0);
    assert_true(standby_missed(&world->standby, 1010));
    assert_int_equal(world->standby.due_ms, 1010 + STANDBY_GONE_MS);
    assert_false(standby_missed(&world->standby, 1050)); /* more happens there: no later for it */
    assert_int_equal(world->standby.due_ms, 1010 + STANDBY_GONE_MS);
}

static void who_was_wiped_with_the_kubelet_is_awaited(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    standby_update(&world->standby, false, 1000);
    close(fd);
    standby_expect(&world->standby, 2000);
    assert_false(standby_missed(&world->standby, 2100));
    assert_int_equal(world->standby.due_ms, 2000 + STANDBY_GRACE_MS);
    fd = bed_listen(&world->bed, NVIDIA); /* he is back ... */
    assert_int_equal(standby_update(&world->standby, false, 3000), STANDBY_SERVES);
    close(fd); /* ... and goes: now there is nothing to wait for */
    assert_true(standby_missed(&world->standby, 3010));
    assert_int_equal(world->standby.due_ms, 3010 + STANDBY_GONE_MS);
}

static void who_was_forgotten_counts_again_with_a_new_socket(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    standby_update(&world->standby, false, 0);
    standby_forget(&world->standby);
    assert_int_equal(standby_update(&world->standby, false, 10), 0);
    standby_end(&world->standby);
    assert_int_equal(standby_update(&world->standby, false, 20), 0);
    close(fd);
    fd = bed_listen(&world->bed, NVIDIA);
    assert_int_equal(standby_update(&world->standby, false, 30), STANDBY_CHANGED);
    close(fd);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(no_plugin_is_no_foreign_plugin),
        IN_A_WORLD(a_foreign_plugin_goes_first),
        IN_A_WORLD(the_newest_agent_serves),
        IN_A_WORLD(one_foreign_plugin_after_the_other),
        IN_A_WORLD(without_a_kubelet_nothing_is_shared),
        IN_A_WORLD(checks_back_off),
        IN_A_WORLD(who_is_gone_is_succeeded_in_a_moment),
        IN_A_WORLD(who_was_wiped_with_the_kubelet_is_awaited),
        IN_A_WORLD(who_was_forgotten_counts_again_with_a_new_socket),
    };

    return cmocka_run_group_tests_name("plugin/standby", tests, NULL, NULL);
}
