// SPDX-License-Identifier: Apache-2.0
#include "node/partgpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* GPU 0 has two MIG devices, GPU 1 is whole. */
static struct gpu gpus[2];
static struct device devices[2];
static struct inventory machine;

static int set_up(void **state)
{
    (void)state;
    gpus[0] = (struct gpu){.index = 0, .uuid = "GPU-0"};
    gpus[1] = (struct gpu){.index = 1, .uuid = "GPU-1"};
    devices[0] = (struct device){.kind = DEVICE_MIG, .uuid = "MIG-a", .instance = {1, 0}};
    devices[1] = (struct device){.kind = DEVICE_MIG, .uuid = "MIG-b", .instance = {2, 0}};
    machine =
        (struct inventory){.gpus = gpus, .n_gpus = 2, .mig_devices = devices, .n_mig_devices = 2};
    return 0;
}

static bool is_granted(const char *uuid, void *owner)
{
    return owner && strcmp(uuid, owner) == 0;
}

static void mask(const struct partgpus *all, const char *granted)
{
    set_up(NULL);
    partgpus_mask(all, &machine, is_granted, (void *)granted);
}

static void a_gpu_is_known_once(void **state)
{
    struct partgpus all = {.items = NULL};

    (void)state;
    assert_null(partgpus_find(&all, "GPU-0"));
    assert_non_null(partgpus_add(&all, "GPU-0"));
    assert_ptr_equal(partgpus_add(&all, "GPU-0"), partgpus_find(&all, "GPU-0"));
    assert_non_null(partgpus_add(&all, "GPU-1"));
    assert_int_equal(all.n, 2);
    partgpus_deinit(&all);
}

static void what_is_withheld_is_only_for_who_has_it(void **state)
{
    const struct mig_next next = {.n_going = 1, .going = {{2, 0}}};
    struct partgpus all = {.items = NULL};
    struct partgpu *gpu = partgpus_add(&all, "GPU-0");

    (void)state;
    mask(&all, NULL);
    assert_string_equal(gpus[0].withheld, "");
    assert_int_equal(machine.n_mig_devices, 2);
    assert_false(partgpus_take_withheld(&all));

    partgpus_withhold(&all, gpu, false, &next); /* a part of it */
    assert_true(partgpus_take_withheld(&all));
    assert_false(partgpus_take_withheld(&all));
    mask(&all, NULL);
    assert_int_equal(machine.n_mig_devices, 1);
    assert_string_equal(devices[0].uuid, "MIG-a");
    assert_false(devices[0].is_withheld || gpus[0].is_held);

    partgpus_withhold(&all, gpu, true, NULL);
    mask(&all, "MIG-b");
    assert_int_equal(machine.n_mig_devices, 1);
    assert_string_equal(devices[0].uuid, "MIG-b");
    assert_true(devices[0].is_withheld);
    assert_string_equal(gpus[0].withheld, "it is being partitioned");
    assert_string_equal(gpus[1].withheld, "");
    partgpus_deinit(&all);
}

static void before_a_reboot_all_is_withheld(void **state)
{
    struct partgpus all = {.items = NULL};

    (void)state;
    partgpus_withhold_all(&all, true); /* also what is not known */
    assert_true(partgpus_take_withheld(&all));
    mask(&all, "GPU-1");
    assert_int_equal(machine.n_mig_devices, 0);
    assert_string_equal(gpus[0].withheld, "the node is about to be rebooted");
    assert_true(gpus[1].is_held && !gpus[0].is_held);
    partgpus_withhold_all(&all, true);
    assert_false(partgpus_take_withheld(&all));
    partgpus_deinit(&all);
}

static void what_waits_is_published_of_gpus_that_are_there(void **state)
{
    struct partgpus all = {.items = NULL};
    cleanup_text struct text text = TEXT_INIT;

    (void)state;
    partgpus_set_waits(&all, partgpus_add(&all, "GPU-0"), strdup("{\"index\":0}"));
    partgpus_set_waits(&all, partgpus_add(&all, "GPU-gone"), strdup("{\"index\":9}"));
    assert_true(partgpus_take_waits(&all));
    assert_false(partgpus_take_waits(&all));
    partgpus_add_waits(&all, &machine, "X", &text);
    assert_non_null(strstr(text_string(&text), "{\"index\":0}"));
    assert_null(strstr(text_string(&text), "{\"index\":9}"));
    text_clear(&text);
    snprintf(gpus[0].unusable, sizeof(gpus[0].unusable), "it is lost");
    partgpus_add_waits(&all, &machine, "X", &text);
    assert_string_equal(text_string(&text), "");
    partgpus_deinit(&all);
}

static void what_is_reported_changes_with_the_wish(void **state)
{
    struct partgpus all = {.items = NULL};
    struct partgpu *gpu = partgpus_add(&all, "GPU-0");

    (void)state;
    partgpus_note_wanted(&all, gpu, true);
    assert_false(partgpus_take_withheld(&all)); /* nothing was reported yet */
    partgpus_note_wanted(&all, gpu, true);
    assert_false(partgpus_take_withheld(&all));
    partgpus_note_wanted(&all, gpu, false);
    assert_true(partgpus_take_withheld(&all));
    partgpus_deinit(&all);
}

static void those_that_are_stuck_are_counted(void **state)
{
    struct partgpus all = {.items = NULL};
    struct partgpu *gpu = partgpus_add(&all, "GPU-0");

    (void)state;
    partgpu_fail(gpu, "no", 0);
    assert_int_equal(partgpus_count_stuck(&all, &machine), 0); /* no step has changed it */
    gpu->is_amid = gpu->has_failed = true;
    assert_int_equal(partgpus_count_stuck(&all, &machine), 1);
    assert_true(partgpus_have_failed(&all));
    partgpus_forget(&all);
    assert_int_equal(partgpus_count_stuck(&all, &machine), 0);
    assert_false(partgpus_have_failed(&all));
    partgpus_deinit(&all);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_gpu_is_known_once),
        TEST(what_is_withheld_is_only_for_who_has_it),
        TEST(before_a_reboot_all_is_withheld),
        TEST(what_waits_is_published_of_gpus_that_are_there),
        TEST(what_is_reported_changes_with_the_wish),
        TEST(those_that_are_stuck_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
