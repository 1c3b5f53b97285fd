// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/configfile.h"

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

#include "base/file.h"
#include "plugin/test-bed.h"

struct world {
    struct bed bed;
    struct configfile *file;
    char path[BED_PATH_SIZE];
    unsigned n_changes;
};

static void on_changed(void *userdata)
{
    ((struct world *)userdata)->n_changes++;
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    bed_path(&world->bed, "config.yaml", world->path);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    configfile_free(world->file);
    bed_deinit(&world->bed);
    free(world);
    return 0;
}

static void put(const struct world *world, const char *name, const char *content)
{
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, name, path);
    assert_int_equal(file_write_atomic(path, content, strlen(content), 0644, NULL), 0);
}

static void make_folder(const struct world *world, const char *name)
{
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, name, path);
    assert_int_equal(mkdir(path, 0755), 0);
}

/* Puts a symlink in the place of whatever is there, by a rename, as the kubelet does. */
static void point(const struct world *world, const char *name, const char *target)
{
    char path[BED_PATH_SIZE], next[BED_PATH_SIZE];

    bed_path(&world->bed, name, path);
    bed_path(&world->bed, ".next", next);
    assert_int_equal(symlink(target, next), 0);
    assert_int_equal(rename(next, path), 0);
}

static void watch(struct world *world)
{
    assert_int_equal(
        configfile_new(&world->bed.loop, world->path, on_changed, world, &world->file, NULL), 0);
    bed_settle(&world->bed);
    assert_int_equal(world->n_changes, 0); /* what stands there at first is no change */
}

/* At most this many changes are reported within a second. */
static void assert_changes(struct world *world, unsigned n)
{
    bed_advance(&world->bed, 1000);
    assert_int_equal(world->n_changes, n);
    bed_advance(&world->bed, 60000);
    assert_int_equal(world->n_changes, n);
    world->n_changes = 0;
}

static void an_editor_saves(void **state)
{
    struct world *world = *state;

    put(world, "config.yaml", "a");
    watch(world);
    put(world, "config.yaml", "b");
    assert_changes(world, 1);
    for (int i = 0; i < 10; i++) { /* a burst is one change */
        put(world, "config.yaml", i % 2 ? "odd" : "even");
        bed_settle(&world->bed);
    }
    assert_changes(world, 1);
}

static void a_config_map_is_updated(void **state)
{
    struct world *world = *state;

    make_folder(world, "..1");
    make_folder(world, "..2");
    put(world, "..1/config.yaml", "a");
    put(world, "..2/config.yaml", "b");
    point(world, "..data", "..1");
    point(world, "config.yaml", "..data/config.yaml");
    watch(world);
    point(world, "..data", "..2");
    assert_changes(world, 1);
}

/* The file is a symlink into another folder, where it is written. */
static void what_it_resolves_to_is_watched(void **state)
{
    struct world *world = *state;

    make_folder(world, "elsewhere");
    put(world, "elsewhere/a.yaml", "a");
    put(world, "elsewhere/b.yaml", "b");
    point(world, "config.yaml", "elsewhere/a.yaml");
    watch(world);
    put(world, "elsewhere/a.yaml", "other");
    assert_changes(world, 1);
    point(world, "config.yaml", "elsewhere/b.yaml"); /* as a config-manager does */
    assert_changes(world, 1);
    put(world, "elsewhere/b.yaml", "other");
    assert_changes(world, 1);
    put(world, "elsewhere/a.yaml", "nobody's");
    assert_changes(world, 0);
}

static void other_files_are_no_change(void **state)
{
    struct world *world = *state;

    put(world, "config.yaml", "a");
    watch(world);
    put(world, "other.yaml", "b");
    assert_changes(world, 0);
}

/* Something else goes on in the folder all the time. */
static void a_busy_folder_does_not_hide_a_change(void **state)
{
    struct world *world = *state;

    put(world, "config.yaml", "a");
    watch(world);
    put(world, "config.yaml", "b");
    for (int i = 0; i < 10; i++) {
        bed_advance(&world->bed, 10);
        put(world, "noise", i % 2 ? "odd" : "even");
    }
    assert_int_equal(world->n_changes, 1);
}

static void a_file_may_come_and_go(void **state)
{
    struct world *world = *state;

    bed_path(&world->bed, "later/config.yaml", world->path);
    watch(world);
    make_folder(world, "later");
    put(world, "later/config.yaml", "a");
    bed_advance(&world->bed, 1000);
    assert_changes(world, 1);
    bed_remove(&world->bed, "later/config.yaml");
    assert_changes(world, 1);
    put(world, "later/config.yaml", "a");
    assert_changes(world, 1);
}

static void a_touch_is_reported_without_a_change(void **state)
{
    struct world *world = *state;

    put(world, "config.yaml", "a");
    watch(world);
    configfile_touch(world->file);
    configfile_touch(world->file);
    assert_int_equal(world->n_changes, 0); /* never inside the touch */
    assert_changes(world, 1);
    configfile_check(world->file);
    assert_changes(world, 0);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(an_editor_saves),
        IN_A_WORLD(a_config_map_is_updated),
        IN_A_WORLD(what_it_resolves_to_is_watched),
        IN_A_WORLD(other_files_are_no_change),
        IN_A_WORLD(a_busy_folder_does_not_hide_a_change),
        IN_A_WORLD(a_file_may_come_and_go),
        IN_A_WORLD(a_touch_is_reported_without_a_change),
    };

    return cmocka_run_group_tests_name("nodeconfig/configfile", tests, NULL, NULL);
}
