// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The connections of processes to the sockets of their grants (limits/message.h): from accept until
 * the process has ended.
 *
 * A process is refused if it is not of the pod that has the grant. Where the records do not have
 * the grant yet, its registration waits until they do, for LIMITSESSION_WAIT_MS at most. When a
 * process ends, what it has is released at once; when it only disconnects, it stays charged, and is
 * watched until it ends.
 *
 * Who asks for nothing but its page (RESERVE of 0 bytes) is answered once all is handled that
 * anybody sent before: what a neighbour gave back, and said so, is in the page then.
 *
 * Peers are hostile: they are limited in number, have LIMITSESSION_REGISTER_MS to register, are
 * never waited for (a process that does not read its answers is disconnected), and a message that a
 * library of ours does not send ends the connection.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/peeridentity.h"
#include "arbiter/tenant.h"
#include "base/lograte.h"
#include "limits/message.h"

enum {
    LIMITSESSIONS_OF_GRANT = 256,
    LIMITSESSIONS_OF_COMMANDS = 1024, /* of all grants of localgrant.h: pods have the rest */
    LIMITSESSIONS_MAX = 8192,
    LIMITSESSION_REGISTER_MS = 10000,
    LIMITSESSION_WAIT_MS = 3000,
};

struct limitsessions;

struct limitsessions_callbacks {
    /* The tenant of a grant, as tenants_find. */
    int (*find)(const char *grant_id, struct tenant **ret_tenant, void *userdata);
    /* A process is about to have a part in its tenant's limits. */
    void (*on_register)(struct tenant *tenant, void *userdata);
    /* The records do not have the grant of a session that waits: read them again, then call
     * limitsessions_retry. */
    void (*on_wait)(void *userdata);
    /* It is not known how much a process has, and it waits for the answer: read the driver soon. */
    void (*on_doubt)(void *userdata);
    /* A tenant has one page of claims more or less. */
    void (*on_claims)(struct tenant *tenant, void *userdata);
    /* A process of a tenant has ended; what it had is released. */
    void (*on_ended)(struct tenant *tenant, uint32_t pid, void *userdata);
};

struct limitsessions_setup {
    uv_loop_t *loop;
    const struct arbiteroptions *options; /* borrowed */
    struct limitsessions_callbacks callbacks;
    void *userdata;
};

/* NULL without memory. */
struct limitsessions *limitsessions_new(const struct limitsessions_setup *setup);

/* Disconnects all; handles close in later turns of the loop. Before the tenants. NULL is allowed.
 */
void limitsessions_free(struct limitsessions *sessions);

/* Of answers from now on. */
void limitsessions_set_mode(struct limitsessions *sessions, enum limits_mode mode);

/* Whether processes that ask for a page of claims get one. Those that have one keep it. */
void limitsessions_set_turns(struct limitsessions *sessions, bool has_turns);

/* A connection to the socket of a grant, of a pod or of a command; takes fd over. */
void limitsessions_accept(struct limitsessions *sessions, int fd, const char *grant_id,
                          bool is_of_command);

/* The records have been read. */
void limitsessions_retry(struct limitsessions *sessions);

/* About once a second: ends what takes too long. */
void limitsessions_sweep(struct limitsessions *sessions);

struct limitsessions_counts {
    size_t n_connections, n_waiting;
    uint64_t n_refused, n_malformed; /* ever */
};

struct limitsessions_counts limitsessions_count(const struct limitsessions *sessions);
