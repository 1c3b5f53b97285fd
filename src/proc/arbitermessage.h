// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the arbiter and its peers say to each other over its socket, ARBITER_SOCKET in
 * --arbiter-dir: a listener of the arbiter (listener.h), connectors of the others.
 *
 * Service ARBITER_AGENT, of one peer, the agent. All messages are notices, their kind is an enum
 * arbiter_message_kind:
 *
 *     agent                arbiter
 *     WISH              ->           the configuration; always complete, again after each connect
 *                       <- STATE     always complete: what is no longer in it is over; after each
 *                                    connect, and whenever it changes
 *                       <- EVENT     something happened to a pod that its owner should know
 *
 * An arbiter keeps the last wish, so that limits stay enforced while there is no agent.
 *
 * Service ARBITER_STATUS, of the command line: a request with the kind ARBITER_STATUS_READ and no
 * body is answered by one JSON document (gpuslice(1), top --json).
 *
 * Service ARBITER_RUN, on a socket of its own, ARBITER_RUN_SOCKET beside the other: `gpuslice run`
 * asks for a limit, in requests:
 *
 *     RUN_BEGIN, a struct arbiter_run          -> a struct arbiter_run_grant
 *     RUN_END, a struct arbiter_run_grant      -> a line "<device uuid> <limit> <peak> <denied>"
 * for (its id alone)                   each device, in bytes; nothing if there is none
 *
 * one for each connection, which the arbiter ends then.
 *
 * A message is lines of "key value". Unknown keys are ignored and missing ones are empty: the two
 * programs are upgraded apart from each other. Whatever else is wrong with a message refuses it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "limits/page.h"

#define ARBITER_DIR    "/run/gpuslice/arbiter"
#define ARBITER_SOCKET "arbiter.sock"
#define ARBITER_NAME   "arbiter" /* of the arbiter, for its hello */
#define ARBITER_AGENT  "agent"   /* of its peers, for theirs: the service they want */
#define ARBITER_STATUS "status"

#define ARBITER_RUN        "run"
#define ARBITER_RUN_SOCKET "run.sock"

enum {
    ARBITER_MESSAGE_MAX = 256 << 10, /* bytes, of a notice */
    ARBITER_STATUS_MAX = 4 << 20,    /* bytes, of the status document */
    ARBITER_CONTAINERS_MAX = 512,    /* in a state: the worst first, the rest is left out */
};

enum arbiter_message_kind {
    ARBITER_WISH = 1,
    ARBITER_STATE,
    ARBITER_EVENT,
    ARBITER_STATUS_READ,
    ARBITER_RUN_BEGIN,
    ARBITER_RUN_END,
};

/* What the configuration says. */
struct arbiter_wish {
    enum limits_mode mode; /* gpuslice.memory */
    bool overcommits;      /* gpuslice.overcommit: limits may add up to more than a device has */
    enum limits_compute compute; /* gpuslice.compute; before it had that key: none */
};

/* A container on a device with which something is not as it should be. Names are "" if unknown. */
struct arbiter_container {
    bool is_unenforced; /* it has a limit, and runs without the library */
    bool is_over;       /* it uses more than its limit */
    char namespace_[64], pod[254], container[64];
    char device[96]; /* uuid of the GPU or MIG device */
    uint64_t limit_bytes, used_bytes;
};

struct arbiter_state {
    char version[40];  /* of the arbiter */
    char library[256]; /* directory on the host that new containers get; "" = there is none ... */
    char trouble[512]; /* ... for this reason; also of what else is wrong with the arbiter */
    enum limits_mode mode;       /* in effect: the wish, unless it is switched off on this node */
    enum limits_compute compute; /* the same of turns */
    bool is_off;                 /* by `gpuslice enforcement off` */
    struct arbiter_container *containers;
    size_t n_containers, containers_capacity;
};

#define ARBITER_STATE_INIT \
    {                      \
        .version = ""      \
    }

void arbiter_state_deinit(struct arbiter_state *state);
#define cleanup_arbiter_state cleanup(arbiter_state_deinit)

/* A warning for the pod: at most one a minute for each container, device and reason. */
struct arbiter_event {
    char reason[64]; /* "MemoryLimitReached" */
    char namespace_[64], pod[254], container[64];
    char device[96];
    uint64_t limit_bytes;
    char message[512]; /* one sentence, which names all of them */
};

struct arbiter_run_limit {
    char device[96]; /* uuid of the GPU or MIG device */
    uint64_t bytes;
    uint64_t share_permille; /* of its time; 0 = not told */
};

/* What a command is to have, and who belongs to it: the processes of a cgroup right below that of
 * the process that asks; or, without one, this process and what it starts. */
struct arbiter_run {
    char cgroup[64]; /* its name; "" = none */
    struct arbiter_run_limit limits[LIMITS_DEVICES_MAX];
    size_t n_limits;
};

/* It ends with ARBITER_RUN_END or the process that asked, and the last one that it limits. */
struct arbiter_run_grant {
    char refusal[512]; /* why there is none; then the rest is empty */
    char id[32];
    char folder[512];      /* the directory of the grant */
    enum limits_mode mode; /* in effect */
};

/* Appends a message. Texts are made single lines. -EMSGSIZE: it is too long; -ENOMEM. */
int arbiter_wish_write(const struct arbiter_wish *wish, struct text *out);
int arbiter_state_write(const struct arbiter_state *state, struct text *out);
int arbiter_event_write(const struct arbiter_event *event, struct text *out);
int arbiter_run_write(const struct arbiter_run *run, struct text *out);
int arbiter_run_grant_write(const struct arbiter_run_grant *grant, struct text *out);

/* Into an empty one. -EBADMSG with a sentence, or -ENOMEM: it is as before. */
int arbiter_wish_read(const char *body, size_t size, struct arbiter_wish *ret_wish,
                      struct error *err);
int arbiter_state_read(const char *body, size_t size, struct arbiter_state *ret_state,
                       struct error *err);
int arbiter_event_read(const char *body, size_t size, struct arbiter_event *ret_event,
                       struct error *err);
int arbiter_run_read(const char *body, size_t size, struct arbiter_run *ret_run, struct error *err);
int arbiter_run_grant_read(const char *body, size_t size, struct arbiter_run_grant *ret_grant,
                           struct error *err);
