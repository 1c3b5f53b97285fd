// SPDX-License-Identifier: Apache-2.0
#include "plugin/foreignplugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    char folder[64];
    int listeners[4];
    char paths[4][108];
    size_t n_listeners;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->folder, sizeof(world->folder), "/tmp/gpuslice-rival-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < world->n_listeners; i++) {
        if (world->listeners[i] >= 0)
            close(world->listeners[i]);
        unlink(world->paths[i]);
    }
    assert_int_equal(rmdir(world->folder), 0);
    free(world);
    return 0;
}

/* Returns the number of the listener. */
static size_t listen_at(struct world *world, const char *name, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t i = world->n_listeners++;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", world->folder, name);
    memcpy(world->paths[i], address.sun_path, sizeof(address.sun_path));
    world->listeners[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world->listeners[i], (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(world->listeners[i], backlog), 0);
    return i;
}

/* As a process that was killed: the file stays. */
static void kill_listener(struct world *world, size_t i)
{
    close(world->listeners[i]);
    world->listeners[i] = -1;
}

static void knows_the_names_of_sockets(void **state)
{
    static const struct {
        const char *socket, *resource, *other;
    } rows[] = {
        {"nvidia-gpu.sock", "nvidia.com/gpu", "nvidia.com/gpu.shared"},
        {"nvidia-gpu.shared.sock", "nvidia.com/gpu.shared", "nvidia.com/gpu"},
        {"nvidia-mig-1g.5gb.sock", "nvidia.com/mig-1g.5gb", "nvidia.com/mig-1g.10gb"},
        {"nvidia.sock", "nvidia.com/gpu", "nvidia.com/gpu-half"},
    };
    struct world *world = *state;
    char name[FOREIGNPLUGIN_NAME_SIZE];

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        size_t listener = listen_at(world, rows[i].socket, 1);

        assert_true(foreignplugin_find(world->folder, rows[i].resource, name));
        assert_string_equal(name, rows[i].socket);
        assert_false(foreignplugin_find(world->folder, rows[i].other, name));
        kill_listener(world, listener);
    }
}

static void a_stale_socket_is_no_foreign_plugin(void **state)
{
    struct world *world = *state;
    char name[FOREIGNPLUGIN_NAME_SIZE] = "untouched";

    assert_false(foreignplugin_find(world->folder, "nvidia.com/gpu", name));
    kill_listener(world, listen_at(world, "nvidia-gpu.sock", 1));
    assert_false(foreignplugin_find(world->folder, "nvidia.com/gpu", name));
    assert_string_equal(name, "untouched");
}

/* Who was stopped, or is busy, accepts nothing and still has its socket. */
static void a_listener_that_never_accepts_is_one(void **state)
{
    struct world *world = *state;
    char name[FOREIGNPLUGIN_NAME_SIZE];

    listen_at(world, "nvidia-gpu.sock", 0);
    for (int i = 0; i < 20; i++)
        assert_true(foreignplugin_find(world->folder, "nvidia.com/gpu", name));
}

static void sockets_of_others_are_not_judged(void **state)
{
    struct world *world = *state;
    char name[FOREIGNPLUGIN_NAME_SIZE];

    listen_at(world, "gpuslice-gpu.sock", 1);
    listen_at(world, "amd-gpu.sock", 1);
    listen_at(world, "nvidia-gpu.sock", 1);
    assert_true(foreignplugin_is_live(world->folder, "amd-gpu.sock"));
    assert_false(foreignplugin_find(world->folder, "amd.com/gpu", name));
    assert_false(foreignplugin_find(world->folder, "nvidia.com/gpu-half", name));
}

static void long_paths_have_no_socket(void **state)
{
    char folder[200], name[FOREIGNPLUGIN_NAME_SIZE];

    (void)state;
    memset(folder, 'a', sizeof(folder) - 1);
    folder[0] = '/';
    folder[sizeof(folder) - 1] = '\0';
    assert_false(foreignplugin_find(folder, "nvidia.com/gpu", name));
    assert_false(foreignplugin_is_live("/nonexistent", "nvidia-gpu.sock"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(knows_the_names_of_sockets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stale_socket_is_no_foreign_plugin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listener_that_never_accepts_is_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sockets_of_others_are_not_judged, set_up, tear_down),
        cmocka_unit_test(long_paths_have_no_socket),
    };

    return cmocka_run_group_tests_name("plugin/foreignplugin", tests, NULL, NULL);
}
