// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitsessions.h"

#include <stdlib.h>

#include "arbiter/limitsanswer.h"
#include "arbiter/limitsession.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "proc/peersocket.h"

struct limitsessions *limitsessions_new(const struct limitsession_setup *setup)
{
    cleanup_free struct limitsessions *sessions = calloc(1, sizeof(*sessions));

    if (!sessions || !(sessions->asking = batchend_new(setup->loop, limitsession_answer)))
        return NULL;
    sessions->setup = *setup;
    return TAKE_PTR(sessions);
}

void limitsessions_free(struct limitsessions *sessions)
{
    if (!sessions)
        return;
    while (sessions->first)
        limitsession_end(sessions->first);
    batchend_free(sessions->asking);
    free(sessions);
}

void limitsessions_set_mode(struct limitsessions *sessions, enum limits_mode mode)
{
    sessions->mode = mode;
}

void limitsessions_set_turns(struct limitsessions *sessions, bool has_turns)
{
    sessions->has_turns = has_turns;
}

static const char *find_excess(const struct limitsessions *sessions, const char *grant_id,
                               bool is_of_command)
{
    size_t n = 0, n_of_grant = 0, n_of_commands = 0;

    for (const struct limitsession *other = sessions->first; other; other = other->next) {
        n++;
        n_of_grant += str_equal(other->grant, grant_id);
        n_of_commands += other->is_of_command;
    }
    if (is_of_command && n_of_commands >= LIMITSESSIONS_OF_COMMANDS)
        return "too many connections of commands";
    return n_of_grant >= LIMITSESSIONS_OF_GRANT ? "too many connections of this grant"
           : n >= LIMITSESSIONS_MAX             ? "too many connections of this node"
                                                : NULL;
}

static void refuse_early(struct limitsessions *sessions, int fd, const char *grant_id,
                         const char *reason)
{
    struct limits_answer answer = {.kind = LIMITS_REFUSED, .mode = sessions->mode};

    limitsanswer_set_text(&answer, reason);
    sessionlog_refused(&sessions->log, grant_id, 0, reason, clock_now_ms());
    (void)limitsanswer_send(fd, &answer, -1);
}

void limitsessions_accept(struct limitsessions *sessions, int fd, const char *grant_id,
                          bool is_of_command)
{
    const char *excess = find_excess(sessions, grant_id, is_of_command);

    if (excess)
        refuse_early(sessions, fd, grant_id, excess);
    if (excess || limitsession_begin(sessions, fd, grant_id, is_of_command) < 0)
        peersocket_close(fd);
}

/* One that waits and is not in this round yet. */
static struct limitsession *find_waiting(const struct limitsessions *sessions)
{
    struct limitsession *session = sessions->first;

    while (session && (session->state != LIMITSESSION_WAITING || session->round == sessions->round))
        session = session->next;
    return session;
}

void limitsessions_retry(struct limitsessions *sessions)
{
    struct limitsession *session;

    sessions->round++;
    while ((session = find_waiting(sessions))) { /* a registration may drop others */
        session->round = sessions->round;
        limitsession_retry(session);
    }
}

void limitsessions_sweep(struct limitsessions *sessions)
{
    const uint64_t now_ms = clock_now_ms();
    struct limitsession *next;

    for (struct limitsession *session = sessions->first; session; session = next) {
        next = session->next;
        limitsession_expire(session, now_ms);
    }
}

struct limitsessions_counts limitsessions_count(const struct limitsessions *sessions)
{
    struct limitsessions_counts counts = {.n_refused = sessions->log.n_refused,
                                          .n_malformed = sessions->log.n_malformed};

    for (const struct limitsession *session = sessions->first; session; session = session->next) {
        counts.n_connections += session->fd >= 0;
        counts.n_waiting += session->state == LIMITSESSION_WAITING;
    }
    return counts;
}
