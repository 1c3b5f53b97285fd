// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connection of a process to the socket of its grant (limits/message.h): from accept until the
 * process has ended.
 *
 * A process is refused if it is not of the pod that has the grant. Where the records do not have
 * the grant yet, its registration waits until they do, for LIMITSESSION_WAIT_MS at most. When a
 * process ends, what it has is released at once; when it only disconnects, it stays charged, and is
 * watched until it ends.
 *
 * Who asks for nothing but its page (RESERVE of 0 bytes) is answered once all is handled that
 * anybody sent before: what a neighbour gave back, and said so, is in the page then.
 *
 * Peers are hostile: they have LIMITSESSION_REGISTER_MS to register, are never waited for (a
 * process that does not read its answers is disconnected), and a message that a library of ours
 * does not send ends the connection.
 *
 * A session frees itself when its connection or its process ends, so also within any call that
 * reads from it or sends to it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/batchend.h"
#include "arbiter/claimspage.h"
#include "arbiter/peeridentity.h"
#include "arbiter/sessionlog.h"
#include "arbiter/tenant.h"
#include "limits/message.h"

enum {
    LIMITSESSION_REGISTER_MS = 10000,
    LIMITSESSION_WAIT_MS = 3000,
};

struct limitsession_callbacks {
    /* The tenant of a grant, as tenants_find. */
    int (*find)(const char *grant_id, struct tenant **ret_tenant, void *userdata);
    /* A process is about to have a part in its tenant's limits. */
    void (*on_register)(struct tenant *tenant, void *userdata);
    /* The records do not have the grant of a session that waits: read them again, then call
     * limitsessions_retry. */
    void (*on_wait)(void *userdata);
    /* It is not known how much a process has, and it waits for the answer: read the driver soon. */
    void (*on_unread)(void *userdata);
    /* A tenant has one page of claims more or less. */
    void (*on_claims)(struct tenant *tenant, void *userdata);
    /* A process of a tenant has ended; what it had is released. */
    void (*on_ended)(struct tenant *tenant, uint32_t pid, void *userdata);
};

struct limitsession_setup {
    uv_loop_t *loop;
    const struct arbiteroptions *options; /* borrowed */
    struct limitsession_callbacks callbacks;
    void *userdata;
};

enum limitsession_state {
    LIMITSESSION_NEW,        /* before REGISTER */
    LIMITSESSION_WAITING,    /* the records do not have its grant yet */
    LIMITSESSION_REGISTERED, /* its process is in the account */
    LIMITSESSION_GONE,       /* disconnected; the process is watched until it ends */
};

struct limitsession {
    struct limitsession *next;
    struct limitsessions *all; /* NULL: freed, its handles are closing */
    enum limitsession_state state;
    char grant[GRANT_ID_SIZE];
    bool is_of_command;
    uint64_t since_ms; /* in this state */
    uint64_t sequence; /* of its REGISTER */
    uint64_t revision; /* that its library said there */
    int fd;            /* -1: disconnected */
    unsigned round;    /* of retries, the last one that it was in */
    struct peeridentity peer;
    struct tenant *tenant;           /* NULL until it is registered */
    struct account_process *process; /* while it is */
    struct batchend_item asks;       /* what is in the page */
    struct limits_answer answer;     /* to that */
    struct claimspage claims;        /* of its process, once that asked for it; its tenant's */
    unsigned n_claims_given;         /* times */
    uv_poll_t messages, end;         /* of the socket; of the process */
    bool has_end;
    unsigned n_handles; /* that are open */
};

/* What all of them have in common; limitsessions.h has the rest. */
struct limitsessions {
    struct limitsession_setup setup;
    enum limits_mode mode;
    bool has_turns;
    struct limitsession *first;
    unsigned round;
    struct batchend *asking;
    struct sessionlog log;
};

/* Of a connection that was accepted; takes fd over. 0, or a negative errno: fd stays open. */
int limitsession_begin(struct limitsessions *all, int fd, const char *grant_id, bool is_of_command);

/* The records have been read, and it waits for them. */
void limitsession_retry(struct limitsession *session);

/* Ends it, if it takes too long until it is registered. */
void limitsession_expire(struct limitsession *session, uint64_t now_ms);

/* What it asked for is answered: the batch ends in which it did. */
void limitsession_answer(struct batchend_item *asks);

/* Disconnects it; its handles close in later turns of the loop. */
void limitsession_end(struct limitsession *session);
