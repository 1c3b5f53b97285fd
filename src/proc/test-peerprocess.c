// SPDX-License-Identifier: Apache-2.0
#include "proc/peerprocess.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* Connects and waits until it is killed. */
static pid_t start_peer(int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    const size_t size = sizeof(address.sun_path) - 1;
    pid_t pid;

    snprintf(address.sun_path + 1, size, "gpuslice-test-peerprocess-%d", (int)getpid());
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listening, 1), 0);
    pid = fork();
    if (pid == 0) {
        const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            pause();
        _exit(1);
    }
    *ret_fd = accept(listening, NULL, NULL);
    assert_true(*ret_fd >= 0);
    close(listening);
    return pid;
}

static void end_peer(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void the_number_is_its_own_until_it_ends(void **state)
{
    struct peerprocess peer = PEERPROCESS_INIT;
    cleanup_close int fd = -1;
    const pid_t pid = start_peer(&fd);

    (void)state;
    assert_true(peerprocess_has_ended(&peer));
    assert_int_equal(peerprocess_open(fd, &peer, NULL), 0);
    assert_int_equal(peer.pid, pid);
    assert_false(peerprocess_has_ended(&peer));
    end_peer(pid);
    assert_true(peerprocess_has_ended(&peer));
    peerprocess_deinit(&peer);
    assert_int_equal(peer.pidfd, -1);
}

static void one_that_has_ended_is_none(void **state)
{
    struct peerprocess peer = PEERPROCESS_INIT;
    struct error err = ERROR_INIT;
    cleanup_close int fd = -1;

    (void)state;
    end_peer(start_peer(&fd));
    assert_true(peerprocess_open(fd, &peer, &err) < 0 || peerprocess_has_ended(&peer));
    peerprocess_deinit(&peer);
    assert_true(peerprocess_open(-1, &peer, &err) < 0);
    assert_true(*err.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_number_is_its_own_until_it_ends),
        cmocka_unit_test(one_that_has_ended_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
