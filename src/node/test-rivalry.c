// SPDX-License-Identifier: Apache-2.0
#include "node/rivalry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/test-bed.h"

#define OWN    "gpuslice-gpu.sock"
#define NVIDIA "nvidia-gpu.sock"
#define LOST   true

struct world {
    struct bed bed;
    struct rivalry rivalry;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    rivalry_init(&world->rivalry, world->bed.folder, "nvidia.com/gpu", OWN, true);
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

static void nobody_is_no_rival(void **state)
{
    struct world *world = *state;

    assert_int_equal(rivalry_look(&world->rivalry, false, 0), 0);
    assert_int_equal(rivalry_look(&world->rivalry, LOST, 1000), 0);
    assert_false(rivalry_stands_back(&world->rivalry));
    assert_false(rivalry_end(&world->rivalry));
}

static void a_foreign_plugin_goes_first(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    assert_int_equal(rivalry_look(&world->rivalry, false, 0), RIVALRY_CHANGED);
    assert_string_equal(world->rivalry.name, NVIDIA);
    assert_true(rivalry_stands_back(&world->rivalry) && rivalry_is_foreign(&world->rivalry));
    assert_int_equal(rivalry_look(&world->rivalry, false, 10), RIVALRY_SERVES);
    close(fd);
    assert_int_equal(rivalry_look(&world->rivalry, false, 20), 0);
    assert_true(rivalry_stands_back(&world->rivalry)); /* until its time is over */
    assert_true(rivalry_end(&world->rivalry));
    assert_false(rivalry_stands_back(&world->rivalry));
}

/* Who finds his socket replaced has served longest, and leaves. */
static void the_newest_agent_serves(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, OWN);

    assert_int_equal(rivalry_look(&world->rivalry, false, 0), 0); /* it is ours */
    assert_int_equal(rivalry_look(&world->rivalry, LOST, 0), RIVALRY_CHANGED);
    assert_string_equal(world->rivalry.name, OWN);
    assert_false(rivalry_is_foreign(&world->rivalry));
    close(fd);
    assert_int_equal(rivalry_look(&world->rivalry, LOST, 10), 0);
}

static void one_rival_after_the_other(void **state)
{
    struct world *world = *state;
    int own = bed_listen(&world->bed, OWN), nvidia;

    assert_int_equal(rivalry_look(&world->rivalry, LOST, 0), RIVALRY_CHANGED);
    nvidia = bed_listen(&world->bed, NVIDIA);
    assert_int_equal(rivalry_look(&world->rivalry, LOST, 10), RIVALRY_SERVES);
    close(own);
    assert_int_equal(rivalry_look(&world->rivalry, LOST, 20), RIVALRY_CHANGED);
    assert_string_equal(world->rivalry.name, NVIDIA);
    assert_int_equal(world->rivalry.since_ms, 20); /* no doubt of the first is one of the second */
    close(nvidia);
}

static void without_a_kubelet_nothing_is_shared(void **state)
{
    struct world *world = *state;
    int nvidia = bed_listen(&world->bed, NVIDIA), own = bed_listen(&world->bed, OWN);

    rivalry_init(&world->rivalry, world->bed.folder, "nvidia.com/gpu", OWN, false);
    assert_int_equal(rivalry_look(&world->rivalry, false, 0), 0);
    assert_int_equal(rivalry_look(&world->rivalry, LOST, 0), RIVALRY_CHANGED);
    close(nvidia);
    close(own);
}

static void looks_less_and_less_often(void **state)
{
    static const unsigned waits_ms[] = {250, 500, 1000, 2000, 4000, 5000, 5000};
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);
    uint64_t now_ms = 777;

    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(*waits_ms); i++) {
        rivalry_look(&world->rivalry, false, now_ms);
        assert_int_equal(world->rivalry.due_ms - now_ms, waits_ms[i]);
        rivalry_look(&world->rivalry, false, now_ms + 1); /* the folder changed: that is no wait */
        assert_int_equal(world->rivalry.due_ms - now_ms, waits_ms[i] + 1);
        now_ms = world->rivalry.due_ms;
        rivalry_wait_longer(&world->rivalry);
    }
    /* The next rivalry begins anew. */
    rivalry_end(&world->rivalry);
    rivalry_look(&world->rivalry, false, 60000);
    assert_int_equal(world->rivalry.due_ms, 60250);
    assert_int_equal(world->rivalry.since_ms, 60000);
    close(fd);
}

static void who_is_gone_is_succeeded_in_a_moment(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    rivalry_look(&world->rivalry, false, 1000);
    close(fd);
    assert_int_equal(rivalry_look(&world->rivalry, false, 1010), 0);
    assert_true(rivalry_miss(&world->rivalry, 1010));
    assert_int_equal(world->rivalry.due_ms, 1010 + RIVALRY_GONE_MS);
    assert_false(rivalry_miss(&world->rivalry, 1050)); /* more happens there: no later for it */
    assert_int_equal(world->rivalry.due_ms, 1010 + RIVALRY_GONE_MS);
}

static void who_was_wiped_with_the_kubelet_is_awaited(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    rivalry_look(&world->rivalry, false, 1000);
    close(fd);
    rivalry_await(&world->rivalry, 2000);
    assert_false(rivalry_miss(&world->rivalry, 2100));
    assert_int_equal(world->rivalry.due_ms, 2000 + RIVALRY_GRACE_MS);
    fd = bed_listen(&world->bed, NVIDIA); /* he is back ... */
    assert_int_equal(rivalry_look(&world->rivalry, false, 3000), RIVALRY_SERVES);
    close(fd); /* ... and goes: now there is nothing to wait for */
    assert_true(rivalry_miss(&world->rivalry, 3010));
    assert_int_equal(world->rivalry.due_ms, 3010 + RIVALRY_GONE_MS);
}

static void who_was_forgotten_counts_again_with_a_new_socket(void **state)
{
    struct world *world = *state;
    int fd = bed_listen(&world->bed, NVIDIA);

    rivalry_look(&world->rivalry, false, 0);
    rivalry_forget(&world->rivalry);
    assert_int_equal(rivalry_look(&world->rivalry, false, 10), 0);
    rivalry_end(&world->rivalry);
    assert_int_equal(rivalry_look(&world->rivalry, false, 20), 0);
    close(fd);
    fd = bed_listen(&world->bed, NVIDIA);
    assert_int_equal(rivalry_look(&world->rivalry, false, 30), RIVALRY_CHANGED);
    close(fd);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(nobody_is_no_rival),
        IN_A_WORLD(a_foreign_plugin_goes_first),
        IN_A_WORLD(the_newest_agent_serves),
        IN_A_WORLD(one_rival_after_the_other),
        IN_A_WORLD(without_a_kubelet_nothing_is_shared),
        IN_A_WORLD(looks_less_and_less_often),
        IN_A_WORLD(who_is_gone_is_succeeded_in_a_moment),
        IN_A_WORLD(who_was_wiped_with_the_kubelet_is_awaited),
        IN_A_WORLD(who_was_forgotten_counts_again_with_a_new_socket),
    };

    return cmocka_run_group_tests_name("rivalry", tests, NULL, NULL);
}
