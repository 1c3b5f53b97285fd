// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who is at the other end of a connection, as the kernel tells: its process and the pod that this
 * one's cgroups say. Nothing that the process itself says counts.
 *
 * The number is of the process that connected (proc/peerprocess.h). Before Linux 6.5 it is held by
 * number: where the process has ended since, and its number is another's, the other one is looked
 * at, and has to be of the same pod.
 */

#include <stdint.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/podcgroup.h"
#include "base/error.h"

struct peeridentity {
    uint32_t pid; /* in our namespace */
    int pidfd;    /* readable once it has ended; -1 = none */
    struct podcgroup cgroup;
};

#define PEERIDENTITY_INIT \
    {                     \
        .pidfd = -1       \
    }

void peeridentity_deinit(struct peeridentity *identity);

/*
 * 0, or a negative errno with a sentence: -ESRCH: it has ended, or is
 * not in our namespace of processes; -ENOENT: it is in no pod.
 */
int peeridentity_read(int fd, const struct arbiteroptions *options,
                      struct peeridentity *ret_identity, struct error *err);
