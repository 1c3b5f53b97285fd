// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which plugin serves a resource instead of us, and when to check again.
 *
 * There are two kinds: a foreign device plugin (foreignplugin.h), and another agent of ours, whose
 * live socket has replaced ours. Among agents the newest serves: an older one that finds its socket
 * replaced stands back.
 *
 * A plugin that was killed leaves its socket behind, without notice: it is checked again with
 * back-off. When it is gone we take over only after STANDBY_GONE_MS, when the kubelet has seen the
 * end of its stream. And a starting kubelet wipes its socket along with ours: then it has
 * STANDBY_GRACE_MS to come back and keep precedence.
 *
 * No clock, no log and no timer: the caller passes the time (milliseconds of any monotonic clock)
 * and gets the time of the next check. Its only input from outside are the sockets in one
 * directory.
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
    STANDBY_SERVES = 1,  /* the known plugin serves */
    STANDBY_CHANGED = 2, /* a plugin serves that did not before */
};

struct standby {
    const char *folder, *resource, *endpoint; /* of us; borrowed */
    bool has_kubelet; /* without one there is no competition with foreign plugins */
    char name[FOREIGNPLUGIN_NAME_SIZE]; /* the socket of the serving plugin; "" = none: we do not
                                           stand back */
    uint64_t birth_ns;                  /* birth time of that socket */
    uint64_t since_ms;                  /* when it was first seen to serve, on that socket */
    uint64_t due_ms;                    /* when to check again */
    uint64_t awaited_until_ms;          /* a missing one is awaited until then; 0 = not */
    uint64_t forgotten_birth_ns;        /* of a socket that the kubelet no longer uses; 0 = none */
    uint64_t wait_ms;                   /* between two checks */
};

/* No other plugin is known. `endpoint` is the name of our own socket in the directory. */
void standby_init(struct standby *standby, const char *folder, const char *resource,
                  const char *endpoint, bool has_kubelet);

/*
 * Checks which plugin serves now. `lost`: our socket existed and is no longer ours. STANDBY_SERVES
 * or STANDBY_CHANGED: stand back (or continue to) and check again when due. 0: nobody does; the
 * previous plugin is remembered until standby_end.
 */
int standby_update(struct standby *standby, bool lost, uint64_t now_ms);

/* The check was due by time, not caused by a change: the next delay is longer. */
void standby_back_off(struct standby *standby);

/* It was missing at the last check. True = check again soon, and then take over. */
bool standby_missed(struct standby *standby, uint64_t now_ms);

/* The kubelet is a new one, so the plugin may come back. */
void standby_expect(struct standby *standby, uint64_t now_ms);

/* The kubelet no longer calls it: it counts again once it has a new socket. */
void standby_forget(struct standby *standby);

/* We serve. True = another plugin did before. */
bool standby_end(struct standby *standby);

/* True while another plugin serves instead of us, as of the last check. */
bool standby_is_active(const struct standby *standby);

/* Whether that is a foreign device plugin, rather than another agent of ours. */
bool standby_is_foreign(const struct standby *standby);
