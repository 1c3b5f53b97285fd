// SPDX-License-Identifier: Apache-2.0
#include "node/liveness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/listener.h"

static char folder[64], path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/gpuslice-liveness-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/agent.sock", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void on_probe_ended(uv_process_t *process, int64_t status, int number)
{
    *(int *)process->data = number ? -number : (int)status;
    uv_close((uv_handle_t *)process, NULL);
}

/* Alive, and not ready. */
static unsigned answer(enum httplink_page page, struct text *body, void *userdata)
{
    (void)userdata;
    text_add(body, "as asked\n");
    return page == HTTPLINK_HEALTH ? 200 : 503;
}

/* The exit status of a probe, which is a process of its own, as in real life: this program again.
 */
static int probe_status(uv_loop_t *loop, const char *page)
{
    char *argv[] = {(char *)"probe", (char *)page, path, NULL};
    uv_process_options_t probe = {
        .file = "/proc/self/exe", .args = argv, .exit_cb = on_probe_ended};
    int status = 99;
    uv_process_t process = {.data = &status};

    assert_int_equal(uv_spawn(loop, &process, &probe), 0);
    while (status == 99)
        uv_run(loop, UV_RUN_ONCE);
    return status;
}

static void an_agent_whose_loop_turns_is_alive(void **state)
{
    const struct listener_options options = {
        .path = path,
        .users = {getuid()},
        .n_users = 1,
        .channel = {.name = "agent", .max_body_bytes = HTTPLINK_MAX_BODY}};
    struct listener *listener;
    struct httplink *httplink;
    uv_loop_t loop;

    (void)state;
    alarm(60);
    uv_loop_init(&loop);
    assert_int_equal(listener_new(&loop, &options, &listener, NULL), 0);
    assert_int_equal(
        httplink_new(&loop,
                     &(struct httplink_options){.listener = listener, .probe_listener = listener},
                     answer, NULL, &httplink, NULL),
        0);
    assert_int_equal(probe_status(&loop, "alive"), 0);
    assert_int_equal(probe_status(&loop, "ready"), 1);
    httplink_free(httplink);
    listener_free(listener);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void an_agent_that_is_not_there_is_not(void **state)
{
    (void)state;
    assert_int_equal(liveness_probe(path, HTTPLINK_HEALTH), 1);
}

/* The kernel accepts for it; nobody answers. */
static void an_agent_that_is_stuck_is_not(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(liveness_probe(path, HTTPLINK_HEALTH), 1);
    close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        CASE(an_agent_whose_loop_turns_is_alive),
        CASE(an_agent_that_is_not_there_is_not),
        CASE(an_agent_that_is_stuck_is_not),
    };

    if (argc > 2)
        return liveness_probe(argv[2],
                              strcmp(argv[1], "ready") == 0 ? HTTPLINK_READY : HTTPLINK_HEALTH);
    return cmocka_run_group_tests_name("node/liveness", tests, NULL, NULL);
}
