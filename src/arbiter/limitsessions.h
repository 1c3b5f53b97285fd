// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The connections of processes to the sockets of their grants: who may have one, and what all of
 * them have in common. What becomes of one is limitsession.h's.
 *
 * Peers are hostile: their connections are limited in number, those of each grant, of all commands
 * and of the node.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/limitsession.h"
#include "limits/page.h"

enum {
    LIMITSESSIONS_OF_GRANT = 256,
    LIMITSESSIONS_OF_COMMANDS = 1024, /* of all grants of localgrant.h: pods have the rest */
    LIMITSESSIONS_MAX = 8192,
};

/* NULL without memory. */
struct limitsessions *limitsessions_new(const struct limitsession_setup *setup);

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
