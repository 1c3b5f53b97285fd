// SPDX-License-Identifier: Apache-2.0
#include "node/vanished.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

enum { START_MS = 5000 };

static struct gpu gpu = {.uuid = "GPU-0"};
static struct device devices[2];
static const char *held;

static bool is_held(const char *uuid, void *userdata)
{
    (void)userdata;
    return held && str_equal(held, uuid);
}

/* A GPU with the first n of two MIG devices. */
static struct inventory machine_with(size_t n)
{
    for (unsigned i = 0; i < 2; i++) {
        devices[i] = (struct device){.kind = DEVICE_MIG, .mig_index = i};
        snprintf(devices[i].uuid, sizeof(devices[i].uuid), "MIG-%u", i);
    }
    return (struct inventory){
        .gpus = &gpu, .n_gpus = 1, .mig_devices = devices, .n_mig_devices = n};
}

static void one_that_nobody_holds_is_dropped_after_a_while(void **state)
{
    struct vanished vanished = VANISHED_INIT;
    const struct inventory machine = machine_with(2), seen = machine_with(1);
    char uuid[GPU_UUID_SIZE];

    (void)state;
    held = NULL;
    assert_int_equal(vanished_update(&vanished, &machine, &seen, START_MS), 0);
    assert_int_equal(vanished_due_ms(&vanished), START_MS + VANISHED_GRACE_MS);
    assert_false(vanished_take(&vanished, is_held, NULL, START_MS, uuid));
    /* Seen again without it: the clock goes on. */
    assert_int_equal(vanished_update(&vanished, &machine, &seen, START_MS + 1000), 0);
    assert_int_equal(vanished_due_ms(&vanished), START_MS + VANISHED_GRACE_MS);
    assert_true(vanished_take(&vanished, is_held, NULL, START_MS + VANISHED_GRACE_MS, uuid));
    assert_string_equal(uuid, "MIG-1");
    assert_int_equal(vanished_due_ms(&vanished), UINT64_MAX);
    vanished_deinit(&vanished);
}

static void one_that_a_pod_holds_stays(void **state)
{
    struct vanished vanished = VANISHED_INIT;
    const struct inventory machine = machine_with(2), seen = machine_with(1);
    const uint64_t due_ms = START_MS + VANISHED_GRACE_MS;
    char uuid[GPU_UUID_SIZE];

    (void)state;
    held = "MIG-1";
    assert_int_equal(vanished_update(&vanished, &machine, &seen, START_MS), 0);
    assert_false(vanished_take(&vanished, is_held, NULL, due_ms, uuid));
    assert_int_equal(vanished_due_ms(&vanished), due_ms + VANISHED_GRACE_MS);
    held = NULL;
    assert_true(vanished_take(&vanished, is_held, NULL, due_ms + VANISHED_GRACE_MS, uuid));
    vanished_deinit(&vanished);
}

static void one_that_comes_back_or_whose_gpu_is_lost_is_kept(void **state)
{
    struct vanished vanished = VANISHED_INIT;
    const struct inventory machine = machine_with(2);
    struct gpu lost = {.uuid = "GPU-0", .unusable = "it has fallen off the bus"};
    struct inventory seen = machine_with(1);

    (void)state;
    assert_int_equal(vanished_update(&vanished, &machine, &seen, START_MS), 0);
    assert_int_equal(vanished_update(&vanished, &machine, &machine, START_MS), 0);
    assert_int_equal(vanished_due_ms(&vanished), UINT64_MAX);
    seen.gpus = &lost;
    assert_int_equal(vanished_update(&vanished, &machine, &seen, START_MS), 0);
    assert_int_equal(vanished_due_ms(&vanished), UINT64_MAX);
    vanished_deinit(&vanished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_nobody_holds_is_dropped_after_a_while),
        cmocka_unit_test(one_that_a_pod_holds_stays),
        cmocka_unit_test(one_that_comes_back_or_whose_gpu_is_lost_is_kept),
    };

    return cmocka_run_group_tests_name("node/vanished", tests, NULL, NULL);
}
