// SPDX-License-Identifier: Apache-2.0
#include "arbiter/peeridentity.h"

#include <errno.h>
#include <unistd.h>

#include "arbiter/noderecords.h"
#include "base/cleanup.h"
#include "proc/peerprocess.h"

void peeridentity_deinit(struct peeridentity *identity)
{
    if (identity->pidfd >= 0)
        close(identity->pidfd);
    *identity = (struct peeridentity)PEERIDENTITY_INIT;
}

static int read_pod(const struct arbiteroptions *options, pid_t pid, struct podcgroup *ret_cgroup,
                    struct error *err)
{
    const int r = noderecords_read_pod(options, pid, ret_cgroup, err);

    if (r < 0)
        return r;
    if (r == PODCGROUP_HIDDEN)
        return error_set(err, -ENOENT, "the pod of process %ld is hidden from us", (long)pid);
    return r == PODCGROUP_NO_POD ? -ENOENT : 0;
}

int peeridentity_read(int fd, const struct arbiteroptions *options,
                      struct peeridentity *ret_identity, struct error *err)
{
    cleanup_peerprocess struct peerprocess peer = PEERPROCESS_INIT;
    struct podcgroup cgroup;
    int r = peerprocess_open(fd, &peer, err);

    if (r < 0)
        return r;
    r = read_pod(options, peer.pid, &cgroup, err);
    if (r < 0)
        return r;
    /* Else what was read may be another's. */
    if (peerprocess_has_ended(&peer))
        return error_set(err, -ESRCH, "process %ld has ended", (long)peer.pid);
    *ret_identity = (struct peeridentity){
        .pid = (uint32_t)peer.pid, .pidfd = TAKE_FD(peer.pidfd), .cgroup = cgroup};
    return 0;
}
