// SPDX-License-Identifier: Apache-2.0
#include "gpu/mpsdaemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define GPU "nvidia.com/gpu"

/* A root whose name alone is longer than a socket's path may be. */
struct world {
    char folder[32], root[256];
};

static void make_folder(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    char path[512];

    strcpy(world->folder, "/tmp/gpuslice-mps-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->root, sizeof(world->root), "%s/%0120d", world->folder, 0);
    make_folder(world->root);
    for (size_t i = 0; i < 3; i++) {
        static const char *const steps[] = {"nvidia.com", GPU, GPU "/pipe"};

        snprintf(path, sizeof(path), "%s/%s", world->root, steps[i]);
        make_folder(path);
    }
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    char command[64];

    snprintf(command, sizeof(command), "rm -rf %s", world->folder);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

/* A socket of that type called `control`; it listens unless backlog is negative. */
static int control(const struct world *world, int type, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char before[512], path[512];
    int fd = socket(AF_UNIX, type, 0);

    snprintf(path, sizeof(path), "%s/" GPU "/pipe", world->root);
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(path), 0);
    unlink("control");
    strcpy(address.sun_path, "control");
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(chdir(before), 0);
    return fd;
}

static void only_one_that_listens_answers(void **state)
{
    const struct world *world = *state;
    int fd;

    assert_false(
        mpsdaemon_answers(world->root, GPU)); /* an empty folder, as a pod would mount it */
    assert_false(mpsdaemon_answers(world->root, "nvidia.com/gpu.shared"));
    assert_false(mpsdaemon_answers("/nowhere", GPU));
    fd = control(world, SOCK_SEQPACKET, 8);
    assert_true(mpsdaemon_answers(world->root, GPU));
    assert_true(mpsdaemon_answers(world->root, GPU));
    assert_false(mpsdaemon_answers(world->root, "nvidia.com/gpu.shared"));
    close(fd);
    assert_false(mpsdaemon_answers(world->root, GPU)); /* killed: the file stays */
    close(control(world, SOCK_SEQPACKET, -1));
    assert_false(mpsdaemon_answers(world->root, GPU));
    fd = control(world, SOCK_STREAM, 8); /* somebody else's socket */
    assert_false(mpsdaemon_answers(world->root, GPU));
    close(fd);
}

static void a_busy_one_answers(void **state)
{
    const struct world *world = *state;
    int fd = control(world, SOCK_SEQPACKET, 0);

    for (int i = 0; i < 4; i++) /* nobody accepts: from some call on the queue is full */
        assert_true(mpsdaemon_answers(world->root, GPU));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_one_that_listens_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_one_answers, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
