// SPDX-License-Identifier: Apache-2.0
#include "base/dirwatch.h"

#include <fcntl.h>
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

struct world {
    char root[64], parent[80], path[96], file[112];
    uv_loop_t loop;
    struct dirwatch folder;
    unsigned n_changes;
    char name[64]; /* of the entry that the last change was about; "" = the folder itself */
};

static void on_changed(const char *name, void *userdata)
{
    struct world *world = userdata;

    world->n_changes++;
    snprintf(world->name, sizeof(world->name), "%s", name ? name : "");
}

static void make_folders(const struct world *world)
{
    assert_int_equal(mkdir(world->parent, 0755), 0);
    assert_int_equal(mkdir(world->path, 0755), 0);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->root, sizeof(world->root), "/tmp/gpuslice-folder-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->parent, sizeof(world->parent), "%s/parent", world->root);
    snprintf(world->path, sizeof(world->path), "%s/watched", world->parent);
    snprintf(world->file, sizeof(world->file), "%s/file", world->path);
    make_folders(world);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    assert_int_equal(dirwatch_init(&world->folder, &world->loop, on_changed, world), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    uv_close((uv_handle_t *)&world->folder.watch, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    unlink(world->file);
    rmdir(world->path);
    rmdir(world->parent);
    assert_int_equal(rmdir(world->root), 0);
    free(world);
    return 0;
}

static void make_file(const struct world *world)
{
    int fd = open(world->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
}

/* Waits for a change; without one the test's own time limit ends it. */
static void wait_change(struct world *world)
{
    unsigned before = world->n_changes;

    while (world->n_changes == before)
        uv_run(&world->loop, UV_RUN_ONCE);
    uv_run(&world->loop, UV_RUN_NOWAIT);
}

static void tells_of_a_file(void **state)
{
    struct world *world = *state;

    assert_true(dirwatch_watch(&world->folder, world->path));
    assert_true(dirwatch_watch(&world->folder, world->path));
    make_file(world);
    wait_change(world);
    assert_string_equal(world->name, "file");
}

static void watches_nothing(void **state)
{
    struct world *world = *state;

    assert_false(dirwatch_watch(&world->folder, ""));
    assert_false(dirwatch_watch(&world->folder, "/nonexistent/folder"));
    assert_false(dirwatch_watch(&world->folder, "/dev/null"));
    assert_true(dirwatch_watch(&world->folder, world->path));
    assert_false(dirwatch_watch(&world->folder, ""));
    assert_false(uv_is_active((uv_handle_t *)&world->folder.watch));
}

/* File systems like to give the new folder the old one's inode number. */
static void follows_a_recreated_folder(void **state)
{
    struct world *world = *state;

    assert_true(dirwatch_watch(&world->folder, world->path));
    assert_int_equal(rmdir(world->path), 0);
    assert_int_equal(mkdir(world->path, 0755), 0);
    wait_change(world);
    assert_true(dirwatch_watch(&world->folder, world->path));
    make_file(world);
    wait_change(world);
}

/* inotify does not report the renaming of a directory further up: only a check shows it. */
static void follows_the_name(void **state)
{
    struct world *world = *state;
    char old_parent[80], old_path[96];

    assert_true(dirwatch_watch(&world->folder, world->path));
    snprintf(old_parent, sizeof(old_parent), "%s/old", world->root);
    snprintf(old_path, sizeof(old_path), "%s/watched", old_parent);
    assert_int_equal(rename(world->parent, old_parent), 0);
    make_folders(world);
    assert_true(dirwatch_watch(&world->folder, world->path));
    make_file(world);
    wait_change(world);
    assert_int_equal(rmdir(old_path), 0);
    assert_int_equal(rmdir(old_parent), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_of_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watches_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(follows_a_recreated_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(follows_the_name, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("base/dirwatch", tests, NULL, NULL);
}
