// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who serves a resource instead of us, and when to look for it again.
 *
 * There are two kinds: a foreign device plugin (foreignplugin.h), and another agent of ours, which
 * has put its live socket in the place of ours. Among agents the newest serves: whoever served
 * before and finds another's socket in the place of his stands back.
 *
 * A rival that was killed leaves its socket, and nobody tells us that it is dead: it is looked for
 * again and again, less and less often. One that is gone is not succeeded at once but after
 * STANDBY_GONE_MS, when the kubelet has seen the end of its stream. And a kubelet that starts wipes
 * the rival's socket along with ours: then it is awaited for STANDBY_GRACE_MS and goes first, as
 * before.
 *
 * No clock, no log and no timer: it is told the time (milliseconds of any clock that does not run
 * backwards), and says when to look. Of the outside it sees the sockets in one folder.
 */

#include <stdbool.h>
#include <stdint.h>

#include "plugin/foreignplugin.h"

enum {
    STANDBY_FIRST_MS = 250,
    STANDBY_LAST_MS = 5000,
    STANDBY_GONE_MS = 100,
    STANDBY_GRACE_MS = 5000,
};

enum {
    STANDBY_SERVES = 1,  /* whom we know of serves */
    STANDBY_CHANGED = 2, /* somebody serves who did not before */
};

struct standby {
    const char *folder, *resource, *endpoint; /* of us; borrowed */
    bool has_kubelet; /* without one there is nothing to share with foreign plugins */
    char name[FOREIGNPLUGIN_NAME_SIZE]; /* the socket of who serves; "" = nobody: we do not stand
                                           back */
    uint64_t birth_ns;                  /* of that socket */
    uint64_t since_ms;                  /* since when it was seen to serve, by that socket */
    uint64_t due_ms;                    /* when to look for it again */
    uint64_t awaited_until_ms;          /* one that is not there is awaited until then; 0 = not */
    uint64_t forgotten_birth_ns;        /* of a socket that the kubelet calls no more; 0 = none */
    uint64_t wait_ms;                   /* from one look to the next */
};

/* Nobody is known to serve. `endpoint` is the name of our own socket in the folder. */
void standby_init(struct standby *standby, const char *folder, const char *resource,
                  const char *endpoint, bool has_kubelet);

/*
 * Looks who serves now. `lost` says that our socket was there and is not ours any more.
 * STANDBY_SERVES or STANDBY_CHANGED: stand back (or go on so) and look again when it is due. 0:
 * there is nobody; whoever was is remembered until standby_end.
 */
int standby_update(struct standby *standby, bool lost, uint64_t now_ms);

/* The time to look came, rather than that the folder changed: the next wait is longer. */
void standby_back_off(struct standby *standby);

/* It was not seen before the time to look came. True = look earlier, and then succeed it. */
bool standby_missed(struct standby *standby, uint64_t now_ms);

/* The kubelet is a new one, so it may come back. */
void standby_expect(struct standby *standby, uint64_t now_ms);

/* The kubelet calls it no more: it counts again when it comes with a new socket. */
void standby_forget(struct standby *standby);

/* We serve. True = somebody else did before. */
bool standby_end(struct standby *standby);

/* True while somebody serves instead of us, by the last look. */
bool standby_is_active(const struct standby *standby);

/* Whether that is a foreign device plugin, rather than another agent of ours. */
bool standby_is_foreign(const struct standby *standby);
