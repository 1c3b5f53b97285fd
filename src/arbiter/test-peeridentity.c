// SPDX-License-Identifier: Apache-2.0

/* Who is at the other end, with the files of a node in a folder. */

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
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

#include "arbiter/peeridentity.h"
#include "base/array.h"
#include "base/file.h"

#define UID "12345678-0000-4000-8000-000000000000"
#define ID  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char root[64];

static int make_root(void **state)
{
    snprintf(root, sizeof(root), "/tmp/gpuslice-peer-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static void write_cgroup(pid_t pid, const char *text)
{
    char folder[128], path[160];

    snprintf(folder, sizeof(folder), "%s/proc/%d", root, pid);
    snprintf(path, sizeof(path), "%s/cgroup", folder);
    assert_int_equal(file_make_directory(folder, NULL), 0);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static int remove_root(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command);
}

/* A process that connects, and waits until it is killed; our end of its connection. */
static pid_t start_peer(int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int listening = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    pid_t pid;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", root);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listening, 1), 0);
    pid = fork();
    if (pid == 0) {
        const int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            pause();
        _exit(1);
    }
    *ret_fd = accept(listening, NULL, NULL);
    assert_true(*ret_fd >= 0);
    close(listening);
    unlink(address.sun_path);
    return pid;
}

static void end_peer(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_pod_and_process_are_the_kernels(void **state)
{
    struct peeridentity peer = PEERIDENTITY_INIT;
    struct pollfd ended;
    int fd;
    const pid_t pid = start_peer(&fd);

    write_cgroup(pid, "0::/kubepods/burstable/pod" UID "/" ID "\n");
    assert_int_equal(peeridentity_read(fd, &(struct arbiteroptions){.root = root}, &peer, NULL), 0);
    assert_int_equal(peer.pid, pid);
    assert_string_equal(peer.cgroup.pod_uid, UID);
    assert_string_equal(peer.cgroup.container_id, ID);
    ended = (struct pollfd){.fd = peer.pidfd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 0), 0);
    end_peer(pid);
    assert_int_equal(poll(&ended, 1, 10000), 1);
    peeridentity_deinit(&peer);
    close(fd);
}

static void test_who_is_in_no_pod_is_none(void **state)
{
    static const char *const texts[] = {
        "0::/user.slice\n", "0::/\n", "0::/../cri-containerd-" ID ".scope\n",
        "0::/user.slice/mine/kubepods/burstable/pod" UID "/" ID "\n", "nonsense"};
    struct peeridentity peer = PEERIDENTITY_INIT;
    int fd;
    const pid_t pid = start_peer(&fd);

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct error err = ERROR_INIT;

        write_cgroup(pid, texts[i]);
        assert_true(peeridentity_read(fd, &(struct arbiteroptions){.root = root}, &peer, &err) < 0);
        assert_true(*err.message);
        assert_int_equal(peer.pidfd, -1);
    }
    end_peer(pid);
    close(fd);
}

/* Its number may be another's by now, whose files are then read. */
static void test_who_has_ended_is_none(void **state)
{
    struct peeridentity peer = PEERIDENTITY_INIT;
    int fd;
    const pid_t pid = start_peer(&fd);

    write_cgroup(pid, "0::/kubepods/burstable/pod" UID "/" ID "\n");
    end_peer(pid);
    assert_true(peeridentity_read(fd, &(struct arbiteroptions){.root = root}, &peer, NULL) < 0);
    assert_int_equal(peer.pidfd, -1);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pod_and_process_are_the_kernels, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(test_who_is_in_no_pod_is_none, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_who_has_ended_is_none, make_root, remove_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
