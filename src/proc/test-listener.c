// SPDX-License-Identifier: Apache-2.0
#include "proc/listener.h"

#include <errno.h>
#include <fcntl.h>
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "proc/blocking.h"
#include "proc/connector.h"
#include "proc/test-slow.h"

static uv_loop_t loop;
static struct listener *listener;
static char folder[64], path[96];
static unsigned n_up, n_down, n_notices, n_requests;
static pid_t last_peer;

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(30);                      \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

/* A peer played by hand. */
static struct blocking_channel open_peer(const char *name)
{
    struct blocking_channel peer;
    int fd = connector_open(path, NULL);

    assert_true(fd >= 0);
    blocking_init(&peer, fd, 1 << 20);
    if (name)
        assert_int_equal(blocking_hello(&peer, name), 0);
    return peer;
}

static void close_peer(struct blocking_channel *peer)
{
    close(peer->fd);
    blocking_deinit(peer);
}

/* True when the listener closed the connection. */
static bool is_closed(struct blocking_channel *peer)
{
    struct proc_frame frame;

    return blocking_receive(peer, 0, &frame, NULL) == -ENODATA;
}

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    (void)name, (void)userdata;
    last_peer = channel_peer_pid(channel);
    n_up++;
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    (void)channel, (void)kind, (void)body, (void)size, (void)userdata;
    n_notices++;
}

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    (void)userdata;
    n_requests++;
    channel_answer(channel, id, kind, body, size);
}

static void on_down(struct channel *channel, void *userdata)
{
    (void)channel, (void)userdata;
    n_down++;
}

static void open_listener(uid_t user)
{
    const struct listener_options options = {
        .path = path,
        .mode = 0660,
        .users = {user},
        .n_users = 1,
        .channel = {.name = "agent", .hello_ms = 60000},
    };

    assert_int_equal(listener_new(&loop, &options, &listener, NULL), 0);
}

static void serve(const char *name, unsigned max_peers)
{
    const struct listener_service service = {.name = name,
                                             .max_peers = max_peers,
                                             .on_up = on_up,
                                             .on_notice = on_notice,
                                             .on_request = on_request,
                                             .on_down = on_down};

    assert_int_equal(listener_serve(listener, &service), 0);
}

static int set_up(void **state)
{
    (void)state;
    listener = NULL;
    n_up = n_down = n_notices = n_requests = 0;
    snprintf(folder, sizeof(folder), "/tmp/gpuslice-listener-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/agent.sock", folder);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    listener_free(listener);
    alarm(30);
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm(0);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
    return uv_loop_close(&loop);
}

static void a_peer_is_served(void **state)
{
    struct blocking_channel peer;
    struct proc_frame frame;
    struct stat st;

    (void)state;
    open_listener(getuid());
    serve("http", 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    peer = open_peer("http");
    blocking_send(&peer, &(struct proc_frame){PROC_FRAME_NOTICE, 1, 0, "x", 1});
    blocking_send(&peer, &(struct proc_frame){PROC_FRAME_REQUEST, 1, 1, "what", 4});
    WAIT_FOR(n_requests);
    assert_int_equal(n_up, 1);
    assert_int_equal(n_notices, 1);
    assert_int_equal(blocking_receive(&peer, UINT64_MAX, &frame, NULL), 0);
    assert_string_equal(frame.body, "what");
    close_peer(&peer);
    WAIT_FOR(n_down);
    assert_int_equal(listener_n_refused(listener), 0);
}

static void another_user_is_refused(void **state)
{
    struct blocking_channel peer;

    (void)state;
    open_listener(getuid() + 1);
    serve("http", 1);
    peer = open_peer("http");
    WAIT_FOR(listener_n_refused(listener));
    assert_true(is_closed(&peer));
    assert_int_equal(n_up, 0);
    close_peer(&peer);
}

static void open_to_group(void)
{
    const struct listener_options options = {.path = path,
                                             .mode = 0660,
                                             .users = {getuid() + 1},
                                             .n_users = 1,
                                             .has_group = true,
                                             .group = getgid(),
                                             .channel = {.name = "agent", .hello_ms = 60000}};

    assert_int_equal(listener_new(&loop, &options, &listener, NULL), 0);
    serve("http", 1);
}

/* With a group the file's permissions decide, and the peer's process is known. */
static void a_group_may_connect(void **state)
{
    struct blocking_channel peer;
    struct stat st;

    (void)state;
    open_to_group();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_gid, getgid());
    peer = open_peer("http");
    WAIT_FOR(n_up);
    assert_int_equal(last_peer, getpid());
    close_peer(&peer);
}

/* A process that connects, hands the connection on and ends: its number is anybody's then. */
static void a_number_is_the_peers_only_while_it_lives(void **state)
{
    struct blocking_channel peer;
    int fd, status;
    pid_t child;

    (void)state;
    open_to_group();
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    child = fork();
    if (child == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        _exit(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    blocking_init(&peer, fd, 1 << 20);
    last_peer = -1;
    assert_int_equal(blocking_hello(&peer, "http"), 0);
    WAIT_FOR(n_up);
    assert_int_equal(last_peer, 0);
    close_peer(&peer);
}

/* Who is there, who is not let in, and at last who was not looked at. */
static void nobody_waits_for_what_a_stranger_sends_along(void **state)
{
    enum { N_PEERS = LISTENER_MAX_UNKNOWN + 2, REFUSED = LISTENER_MAX_UNKNOWN, LAST };
    struct blocking_channel peers[N_PEERS];
    int slow[N_PEERS], others[N_PEERS];
    const uint64_t begin_ms = clock_now_ms();

    (void)state;
    open_to_group();
    for (unsigned i = 0; i < N_PEERS; i++)
        slow[i] = make_slow(&others[i]);
    for (unsigned i = 0; i < REFUSED; i++) {
        peers[i] = open_peer(NULL);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    peers[REFUSED] = open_peer(NULL);
    send_along(peers[REFUSED].fd, "x", 1, slow[REFUSED]);
    WAIT_FOR(listener_n_refused(listener));
    for (unsigned i = 0; i < REFUSED; i++)
        send_along(peers[i].fd, "x", 1, slow[i]);
    for (unsigned i = 0; i < REFUSED; i++)
        WAIT_FOR(is_closed(&peers[i]));
    peers[LAST] = open_peer(NULL);
    send_along(peers[LAST].fd, "x", 1, slow[LAST]);
    listener_free(TAKE_PTR(listener));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(clock_now_ms() - begin_ms < SLOW_SOON_MS);
    for (unsigned i = 0; i < N_PEERS; i++) {
        close_peer(&peers[i]);
        close(others[i]);
    }
}

static void what_nobody_serves_is_refused(void **state)
{
    struct blocking_channel peer;

    (void)state;
    open_listener(getuid());
    serve("http", 1);
    peer = open_peer("arbiter");
    WAIT_FOR(is_closed(&peer));
    assert_int_equal(n_up, 0);
    close_peer(&peer);
}

/* A program that was started again is not kept out by one that hangs. */
static void the_newest_of_one_is_right(void **state)
{
    struct blocking_channel old, young;

    (void)state;
    open_listener(getuid());
    serve("nodesync", 1);
    old = open_peer("nodesync");
    WAIT_FOR(n_up == 1);
    young = open_peer("nodesync");
    WAIT_FOR(n_up == 2);
    assert_int_equal(n_down, 1);
    WAIT_FOR(is_closed(&old));
    assert_false(is_closed(&young));
    close_peer(&old);
    close_peer(&young);
}

static void on_down_that_frees(struct channel *channel, void *userdata)
{
    (void)channel, (void)userdata;
    n_down++;
    listener_free(TAKE_PTR(listener));
}

/* An agent that leaves when its program is gone frees the listener, and with it the newer peer. */
static void an_old_peers_end_may_free_the_listener(void **state)
{
    const struct listener_service service = {
        .name = "nodesync", .max_peers = 1, .on_up = on_up, .on_down = on_down_that_frees};
    struct blocking_channel old, young;

    (void)state;
    open_listener(getuid());
    assert_int_equal(listener_serve(listener, &service), 0);
    old = open_peer("nodesync");
    WAIT_FOR(n_up);
    young = open_peer("nodesync");
    WAIT_FOR(n_down);
    assert_int_equal(n_up, 1); /* nobody is there for the new one */
    WAIT_FOR(is_closed(&young));
    close_peer(&old);
    close_peer(&young);
}

static void peers_have_a_bound(void **state)
{
    struct blocking_channel peers[3];

    (void)state;
    open_listener(getuid());
    serve("probe", 2);
    for (unsigned i = 0; i < 2; i++) {
        peers[i] = open_peer("probe");
        WAIT_FOR(n_up == i + 1);
    }
    peers[2] = open_peer("probe");
    WAIT_FOR(is_closed(&peers[2]));
    assert_int_equal(n_up, 2);
    close_peer(&peers[0]);
    WAIT_FOR(n_down);
    close_peer(&peers[2]);
    peers[2] = open_peer("probe");
    WAIT_FOR(n_up == 3);
    close_peer(&peers[1]);
    close_peer(&peers[2]);
}

static bool is_let_in(void)
{
    struct blocking_channel peer = open_peer("probe");

    for (unsigned i = 0; i < 8; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    close_peer(&peer);
    return n_up > 0;
}

static void those_that_say_nothing_have_a_bound(void **state)
{
    struct blocking_channel peers[LISTENER_MAX_UNKNOWN + 1];

    (void)state;
    open_listener(getuid());
    serve("probe", 2);
    for (unsigned i = 0; i <= LISTENER_MAX_UNKNOWN; i++) {
        peers[i] = open_peer(NULL);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    WAIT_FOR(listener_n_refused(listener) == 1);
    for (unsigned i = 0; i <= LISTENER_MAX_UNKNOWN; i++)
        close_peer(&peers[i]);
    /* Their slots are free again: soon, since what the refused one sent is discarded by a process
     * that has copies of all descriptors of this one until it runs. */
    alarm(30);
    while (!is_let_in())
        ;
    alarm(0);
}

static void what_is_withdrawn_is_disconnected(void **state)
{
    struct blocking_channel peer;

    (void)state;
    open_listener(getuid());
    serve("http", 1);
    peer = open_peer("http");
    WAIT_FOR(n_up);
    listener_withdraw(listener, "http");
    WAIT_FOR(is_closed(&peer));
    assert_int_equal(n_down, 0);
    close_peer(&peer);
}

static void a_stale_socket_is_replaced_and_a_file_is_not(void **state)
{
    struct listener *first;
    struct stat st;
    const struct listener_options options = {.path = path, .channel = {.name = "agent"}};
    struct error err = ERROR_INIT;

    (void)state;
    open_listener(getuid());
    first = listener;
    open_listener(getuid());
    listener_free(first); /* leaves the other's socket alone */
    assert_int_equal(stat(path, &st), 0);
    listener_free(TAKE_PTR(listener));
    assert_int_equal(stat(path, &st), -1);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(listener_new(&loop, &options, &listener, &err), -EEXIST);
    assert_non_null(strstr(error_text(&err), "exists and is not a socket"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_peer_is_served),
        CASE(another_user_is_refused),
        CASE(a_group_may_connect),
        CASE(a_number_is_the_peers_only_while_it_lives),
        CASE(nobody_waits_for_what_a_stranger_sends_along),
        CASE(what_nobody_serves_is_refused),
        CASE(the_newest_of_one_is_right),
        CASE(an_old_peers_end_may_free_the_listener),
        CASE(peers_have_a_bound),
        CASE(those_that_say_nothing_have_a_bound),
        CASE(what_is_withdrawn_is_disconnected),
        CASE(a_stale_socket_is_replaced_and_a_file_is_not),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests_name("proc/listener", tests, NULL, NULL);
}
