// SPDX-License-Identifier: Apache-2.0
#include "plugin/kubeletdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "plugin/test-bed.h"

struct world {
    struct bed bed;
    struct kubeletdir *kubelet;
    unsigned n_changes;
};

static void on_changed(const char *name, void *userdata)
{
    ((struct world *)userdata)->n_changes++;
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    kubeletdir_free(world->kubelet);
    bed_deinit(&world->bed);
    free(world);
    return 0;
}

static void watch(struct world *world, const char *socket_path, const char *folder)
{
    assert_int_equal(kubeletdir_new(&world->bed.loop, socket_path, folder, on_changed, world,
                                    &world->kubelet, NULL),
                     0);
}

static void sees_each_new_socket(void **state)
{
    struct world *world = *state;

    watch(world, world->bed.kubelet_path, world->bed.folder);
    assert_int_equal(kubeletdir_generation(world->kubelet), 0);
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    assert_int_equal(kubeletdir_generation(world->kubelet), 1);
    assert_true(world->n_changes > 0);
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    assert_int_equal(kubeletdir_generation(world->kubelet), 2);
}

static void a_socket_that_stands_there_counts_at_once(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    watch(world, world->bed.kubelet_path, world->bed.folder);
    assert_int_equal(kubeletdir_generation(world->kubelet), 1);
    bed_stop_kubelet(&world->bed); /* it stays there, and is the same one */
    kubeletdir_check(world->kubelet);
    assert_int_equal(kubeletdir_generation(world->kubelet), 1);
}

/* Who was registered with the first must register with the second. */
static void a_socket_that_goes_and_comes_is_another(void **state)
{
    struct world *world = *state;

    bed_start_kubelet(&world->bed);
    watch(world, world->bed.kubelet_path, world->bed.folder);
    bed_remove(&world->bed, "kubelet.sock");
    bed_settle(&world->bed);
    assert_int_equal(kubeletdir_generation(world->kubelet), 0);
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    assert_int_equal(kubeletdir_generation(world->kubelet), 2);
}

static void other_changes_are_reported_too(void **state)
{
    struct world *world = *state;
    int fd;

    bed_start_kubelet(&world->bed);
    watch(world, world->bed.kubelet_path, world->bed.folder);
    world->n_changes = 0;
    bed_advance(&world->bed, 600000); /* without any, there is silence */
    assert_int_equal(world->n_changes, 0);
    fd = bed_listen(&world->bed, "nvidia-gpu.sock");
    bed_settle(&world->bed);
    assert_true(world->n_changes > 0);
    world->n_changes = 0;
    bed_remove(&world->bed, "nvidia-gpu.sock");
    bed_settle(&world->bed);
    assert_true(world->n_changes > 0);
    assert_int_equal(kubeletdir_generation(world->kubelet), 1);
    close(fd);
}

static void what_is_no_socket_is_no_kubelet(void **state)
{
    struct world *world = *state;

    assert_int_equal(file_write_atomic(world->bed.kubelet_path, "x", 1, 0600, NULL), 0);
    watch(world, world->bed.kubelet_path, world->bed.folder);
    assert_int_equal(kubeletdir_generation(world->kubelet), 0);
}

/* The folder is made by the kubelet, perhaps after us; and it may be deleted under us. */
static void a_folder_may_come_and_go(void **state)
{
    struct world *world = *state;
    char folder[BED_PATH_SIZE], path[BED_PATH_SIZE], from[BED_PATH_SIZE];

    bed_path(&world->bed, "plugins", folder);
    bed_path(&world->bed, "plugins/kubelet.sock", path);
    watch(world, path, folder);
    for (uint64_t generation = 1; generation <= 3; generation++) {
        assert_int_equal(mkdir(folder, 0700), 0);
        bed_advance(&world->bed, 200);
        close(bed_listen(&world->bed, "kubelet.sock"));
        bed_path(&world->bed, "kubelet.sock", from);
        assert_int_equal(rename(from, path), 0);
        bed_advance(&world->bed, 200);
        assert_int_equal(kubeletdir_generation(world->kubelet), generation);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(folder), 0);
        bed_advance(&world->bed, 200);
        assert_int_equal(kubeletdir_generation(world->kubelet), 0);
    }
}

static void without_a_kubelet_the_folder_is_watched(void **state)
{
    struct world *world = *state;

    watch(world, "", world->bed.folder);
    bed_start_kubelet(&world->bed);
    bed_settle(&world->bed);
    assert_int_equal(kubeletdir_generation(world->kubelet), 0);
    assert_true(world->n_changes > 0);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(sees_each_new_socket),
        IN_A_WORLD(a_socket_that_stands_there_counts_at_once),
        IN_A_WORLD(a_socket_that_goes_and_comes_is_another),
        IN_A_WORLD(other_changes_are_reported_too),
        IN_A_WORLD(what_is_no_socket_is_no_kubelet),
        IN_A_WORLD(a_folder_may_come_and_go),
        IN_A_WORLD(without_a_kubelet_the_folder_is_watched),
    };

    return cmocka_run_group_tests_name("plugin/kubeletdir", tests, NULL, NULL);
}
