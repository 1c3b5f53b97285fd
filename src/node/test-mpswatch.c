// SPDX-License-Identifier: Apache-2.0
#include "node/mpswatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/load.h"

struct world {
    uv_loop_t loop;
    struct mpswatch watch;
    unsigned n_changes;
};

static void on_change(void *userdata)
{
    struct world *world = userdata;

    world->n_changes++;
    uv_stop(&world->loop);
}

static struct config *load(const char *sharing, const char *root)
{
    struct config *config;
    char text[512];

    snprintf(text, sizeof(text), "flags: {mpsRoot: %s}\nsharing: {%s}\n", root, sharing);
    assert_int_equal(config_parse(text, strlen(text),
                                  &(struct config_request){.strictness = CONFIG_AGENT}, NULL,
                                  &config, NULL),
                     0);
    return config;
}

#define MPS_X       "mps: {resources: [{name: gpu, rename: x, replicas: 2}]}"
#define TIME_SLICED "timeSlicing: {resources: [{name: gpu, replicas: 2}]}"

static void a_daemon_comes_and_goes(void **state)
{
    char root[] = "/tmp/gpuslice-mps-XXXXXX", path[96];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct world world = {.n_changes = 0};
    struct config *shared, *sliced;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

    (void)state;
    assert_non_null(mkdtemp(root));
    shared = load(MPS_X, root);
    sliced = load(TIME_SLICED, root);
    uv_loop_init(&world.loop);
    mpswatch_init(&world.watch, &world.loop, 1, on_change, &world);

    mpswatch_follow(&world.watch, sliced);
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0); /* nothing to wait for */

    snprintf(path, sizeof(path), "mkdir -p %s/nvidia.com/x/pipe", root);
    assert_int_equal(system(path), 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/nvidia.com/x/pipe/control", root);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 8), 0);
    mpswatch_follow(&world.watch, shared);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.n_changes, 1);
    assert_true(shared->policy.sharing[0].served);

    close(fd);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.n_changes, 2);
    assert_false(shared->policy.sharing[0].served);

    mpswatch_follow(&world.watch, sliced);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    mpswatch_close(&world.watch);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    snprintf(path, sizeof(path), "rm -rf %s", root);
    assert_int_equal(system(path), 0);
    config_free(shared);
    config_free(sliced);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_daemon_comes_and_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
