// SPDX-License-Identifier: Apache-2.0
#include "proc/peerprocess.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* -1 with errno. */
static int open_pidfd(int fd, pid_t pid)
{
    int pidfd = -1;
    socklen_t size = sizeof(pidfd);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (errno != ENOPROTOOPT)
        return -1;
    return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
}

int peerprocess_open(int fd, struct peerprocess *ret_peer, struct error *err)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof(peer);
    int pidfd;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return error_set_errno(err, -errno, "the kernel does not tell who connects");
    if (peer.pid <= 0)
        return error_set(err, -ESRCH, "it is not in the pid namespace of this program");
    pidfd = open_pidfd(fd, peer.pid);
    if (pidfd < 0)
        return error_set_errno(err, -errno, "cannot hold process %ld", (long)peer.pid);
    *ret_peer = (struct peerprocess){.pid = peer.pid, .pidfd = pidfd};
    return 0;
}

bool peerprocess_has_ended(const struct peerprocess *peer)
{
    struct pollfd poller = {.fd = peer->pidfd, .events = POLLIN};

    return peer->pidfd < 0 || poll(&poller, 1, 0) != 0;
}

void peerprocess_deinit(struct peerprocess *peer)
{
    if (peer->pidfd >= 0)
        close(peer->pidfd);
    *peer = (struct peerprocess)PEERPROCESS_INIT;
}
