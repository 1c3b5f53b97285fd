// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitsession.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter/accountrequest.h"
#include "arbiter/limitsanswer.h"
#include "base/clock.h"
#include "base/text.h"
#include "proc/peersocket.h"

enum {
    MESSAGES_PER_TURN = 16,
    CLAIMS_GIVEN = 8, /* times that a connection gets its page: a library asks once */
};

/* For the process, which has 39 characters. */
#define ARBITER_CANNOT "the arbiter cannot, see its log"
#define NOT_OF_THE_POD "not of the pod that has the grant"

/* --- life --- */

static void on_closed(uv_handle_t *handle)
{
    struct limitsession *session = handle->data;

    if (--session->n_handles == 0 && !session->all)
        free(session);
}

static void close_socket(struct limitsession *session)
{
    if (session->fd < 0)
        return;
    batchend_remove(session->all->asking, &session->asks);
    uv_close((uv_handle_t *)&session->messages, on_closed);
    peersocket_close(session->fd);
    session->fd = -1;
}

/* It has claimed nothing any more. */
static void drop_claims(struct limitsession *session)
{
    const struct limitsessions *all = session->all;

    if (!session->claims.claims)
        return;
    tenant_drop_claims(session->tenant, &session->claims);
    all->setup.callbacks.on_claims(session->tenant, all->setup.userdata);
}

void limitsession_end(struct limitsession *session)
{
    struct limitsession **link = &session->all->first;

    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
    drop_claims(session);
    if (session->tenant)
        session->tenant->n_sessions--;
    close_socket(session);
    session->all = NULL;
    if (session->has_end)
        uv_close((uv_handle_t *)&session->end, on_closed);
    peeridentity_deinit(&session->peer);
    if (session->n_handles == 0)
        free(session);
}

/* The process has ended, whatever became of the connection. */
static void end_process(struct limitsession *session)
{
    const struct limitsessions *all = session->all;
    struct tenant *tenant = session->tenant;
    const uint32_t pid = session->peer.pid;
    struct account_process *process = tenant ? account_find(tenant->account, pid) : NULL;

    limitsession_end(session);
    if (process)
        account_end(tenant->account, process);
    if (!tenant)
        return;
    tenant_publish(tenant, all->mode);
    all->setup.callbacks.on_ended(tenant, pid, all->setup.userdata);
}

/* The connection has ended. A process that goes on stays charged. Returns false, for callers that
 * tell whether it is connected. */
static bool disconnect(struct limitsession *session)
{
    if (session->state != LIMITSESSION_REGISTERED) {
        limitsession_end(session);
        return false;
    }
    close_socket(session);
    account_disconnect(session->tenant->account, session->process, clock_now_ms());
    session->process = NULL;
    session->state = LIMITSESSION_GONE;
    tenant_publish(session->tenant, session->all->mode);
    return false;
}

/* --- answers --- */

/* False: it is disconnected, since its socket takes no more. page: passed along; -1 = none. */
static bool send_answer(struct limitsession *session, const struct limits_answer *answer, int page)
{
    return limitsanswer_send(session->fd, answer, page) || disconnect(session);
}

/* word: at most 39 characters, for the process; reason: for the log. */
static bool refuse(struct limitsession *session, const char *word, const char *reason)
{
    struct limits_answer answer = {.kind = LIMITS_REFUSED, .mode = session->all->mode};

    answer.sequence = session->sequence;
    limitsanswer_set_text(&answer, word);
    sessionlog_refused(&session->all->log, session->grant, session->peer.pid, reason,
                       clock_now_ms());
    if (send_answer(session, &answer, -1))
        limitsession_end(session);
    return false;
}

static bool end_malformed(struct limitsession *session, const char *reason)
{
    sessionlog_malformed(&session->all->log, session->grant, session->peer.pid,
                         session->peer.cgroup.pod_uid, reason, clock_now_ms());
    return disconnect(session);
}

/* --- registration --- */

/* The newest connection of a process counts: after exec the end of the other may be told later. */
static void replace_earlier(const struct limitsession *session, const struct tenant *tenant)
{
    struct limitsession *next;

    for (struct limitsession *other = session->all->first; other; other = next) {
        next = other->next;
        if (other == session || other->tenant != tenant || other->peer.pid != session->peer.pid)
            continue;
        if (other->state == LIMITSESSION_REGISTERED)
            disconnect(other);
        limitsession_end(other);
    }
}

static void on_messages(uv_poll_t *poll, int status, int events);

static void set_takes_turns(struct account_process *process, bool takes_turns)
{
    process->is_noted = process->is_noted && process->takes_turns == takes_turns;
    process->takes_turns = takes_turns;
}

static int open_account(struct limitsession *session, struct tenant *tenant, struct error *err)
{
    int r = tenant_open_page(tenant, session->all->mode, err);

    if (r < 0)
        return r;
    r = account_register(tenant->account, session->peer.pid, clock_now_ms(), &session->process);
    if (r < 0)
        return error_set_errno(err, r, "cannot charge a process");
    set_takes_turns(session->process, limits_knows(session->revision, LIMITS_CLAIMS));
    return 0;
}

static bool welcome(struct limitsession *session, struct tenant *tenant)
{
    const struct limitsessions *all = session->all;
    struct limits_answer answer = {.kind = LIMITS_WELCOME, .mode = all->mode};
    struct error err = ERROR_INIT;
    int r;

    replace_earlier(session, tenant);
    r = open_account(session, tenant, &err);
    if (r < 0)
        return refuse(session, r == -ENOSPC ? "too many processes" : ARBITER_CANNOT,
                      error_text(&err));
    session->tenant = tenant;
    tenant->n_sessions++;
    session->state = LIMITSESSION_REGISTERED;
    all->setup.callbacks.on_register(tenant, all->setup.userdata);
    tenant_publish(tenant, all->mode);
    answer.sequence = session->sequence;
    answer.bytes = LIMITS_REVISION;
    limitsanswer_set_text(&answer, GPUSLICE_VERSION);
    uv_poll_start(&session->messages, UV_READABLE | UV_DISCONNECT, on_messages);
    return send_answer(session, &answer, tenant->page.fd);
}

static bool wait_for_records(struct limitsession *session)
{
    struct limitsessions *all = session->all;

    if (session->state == LIMITSESSION_WAITING)
        return true;
    session->state = LIMITSESSION_WAITING;
    session->since_ms = clock_now_ms();
    uv_poll_start(&session->messages, UV_DISCONNECT, on_messages);
    all->setup.callbacks.on_wait(all->setup.userdata);
    return true;
}

/* As all that follow: whether it is still connected. */
static bool try_register(struct limitsession *session)
{
    struct limitsessions *all = session->all;
    struct tenant *tenant = NULL;
    const int r = all->setup.callbacks.find(session->grant, &tenant, all->setup.userdata);

    if (r == TENANT_UNKNOWN)
        return wait_for_records(session);
    if (r < 0)
        return refuse(session, ARBITER_CANNOT, strerror(-r));
    if (!str_equal(tenant->pod_uid, session->peer.cgroup.pod_uid))
        return refuse(session, NOT_OF_THE_POD, "it is " NOT_OF_THE_POD);
    return welcome(session, tenant);
}

static void on_process_end(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    end_process(poll->data);
}

static bool begin_register(struct limitsession *session, const struct limits_request *request)
{
    struct error err = ERROR_INIT;

    session->sequence = request->sequence;
    session->revision = request->bytes;
    if (request->kind != LIMITS_REGISTER || !request->bytes)
        return end_malformed(session, "its first message is no REGISTER with a revision");
    if (peeridentity_read(session->fd, session->all->setup.options, &session->peer, &err) < 0)
        return refuse(session, NOT_OF_THE_POD, error_text(&err));
    if (uv_poll_init(session->all->setup.loop, &session->end, session->peer.pidfd) < 0)
        return refuse(session, ARBITER_CANNOT, "its end cannot be watched");
    session->has_end = true;
    session->n_handles++;
    session->end.data = session;
    uv_poll_start(&session->end, UV_READABLE, on_process_end);
    return try_register(session);
}

/* --- messages --- */

static struct limitsession *of_asks(struct batchend_item *item)
{
    return (struct limitsession *)((char *)item - offsetof(struct limitsession, asks));
}

void limitsession_answer(struct batchend_item *asks)
{
    struct limitsession *session = of_asks(asks);

    tenant_publish(session->tenant, session->all->mode);
    session->answer.mode = session->all->mode;
    send_answer(session, &session->answer, -1);
}

/* Nothing is asked for but the page, which then has all that anybody said before. */
static bool asks_for_page(const struct limits_request *request)
{
    return request->kind == LIMITS_RESERVE && !request->bytes && !request->wanted_bytes;
}

/* Answers stay in their order. */
static bool answer_earlier(struct limitsession *session)
{
    const bool has_asked = session->asks.link;

    batchend_remove(session->all->asking, &session->asks);
    return !has_asked || send_answer(session, &session->answer, -1);
}

static bool answer_with(struct limitsession *session, const struct limits_request *request,
                        const struct limits_answer *answer)
{
    if (!answer_earlier(session))
        return false;
    if (!asks_for_page(request))
        return send_answer(session, answer, -1);
    session->answer = *answer;
    batchend_add(session->all->asking, &session->asks);
    return true;
}

/* The same page however often it asks. */
static int open_claims(struct limitsession *session, struct error *err)
{
    const struct limitsessions *all = session->all;
    int r;

    if (session->claims.claims)
        return 0;
    r = tenant_add_claims(session->tenant, &session->claims, err);
    if (r == 0)
        all->setup.callbacks.on_claims(session->tenant, all->setup.userdata);
    return r;
}

/* Descriptors that were sent count against us until they are received, and peers decide when. */
static bool may_have_claims(const struct limitsession *session)
{
    return session->all->has_turns && session->n_claims_given < CLAIMS_GIVEN;
}

static bool give_claims(struct limitsession *session, const struct limits_request *request)
{
    struct limitsessions *all = session->all;
    struct limits_answer answer = {
        .kind = LIMITS_DENIED, .mode = all->mode, .sequence = request->sequence};
    struct error err = ERROR_INIT;

    if (may_have_claims(session) && open_claims(session, &err) == 0)
        answer.kind = LIMITS_GRANTED;
    else if (may_have_claims(session))
        sessionlog_without_turns(&all->log, session->grant, error_text(&err), clock_now_ms());
    session->n_claims_given += answer.kind == LIMITS_GRANTED;
    if (all->has_turns) /* who is denied for want of turns asks again when there are some */
        set_takes_turns(session->process, answer.kind == LIMITS_GRANTED);
    return answer_earlier(session) &&
           send_answer(session, &answer, answer.kind == LIMITS_GRANTED ? session->claims.fd : -1);
}

static bool handle(struct limitsession *session, const struct limits_request *request)
{
    const struct limitsessions *all = session->all;
    struct limits_answer told;
    struct error err = ERROR_INIT;
    int r;

    if (session->state == LIMITSESSION_NEW)
        return begin_register(session, request);
    if (request->kind == LIMITS_CLAIMS)
        return give_claims(session, request);
    r = accountrequest_do(session->tenant->account, session->process, request, all->mode,
                          clock_now_ms(), &told, &err);
    if (r < 0)
        return end_malformed(session, error_text(&err));
    tenant_publish(session->tenant, all->mode);
    if (request->kind == LIMITS_GREW && told.kind == LIMITS_DENIED)
        all->setup.callbacks.on_unread(all->setup.userdata);
    return r != ACCOUNTREQUEST_ANSWER || answer_with(session, request, &told);
}

static bool end_other_size(struct limitsession *session, ssize_t size)
{
    char reason[64];

    snprintf(reason, sizeof(reason), "a message of %zd bytes, where all have %zu", size,
             sizeof(struct limits_request));
    return end_malformed(session, reason);
}

/* False: there is no further message now, or it is not connected any more. */
static bool receive(struct limitsession *session)
{
    struct limits_request request;
    const ssize_t n = peersocket_receive(session->fd, &request, sizeof(request));

    if (n == -EAGAIN || n == -EINTR)
        return false;
    if (n == -EBADMSG)
        return end_malformed(session, "a message with descriptors");
    if (n <= 0)
        return disconnect(session);
    if (n != (ssize_t)sizeof(request))
        return end_other_size(session, n);
    return handle(session, &request);
}

static void on_messages(uv_poll_t *poll, int status, int events)
{
    struct limitsession *session = poll->data;

    if (session->state == LIMITSESSION_WAITING) {
        if (status < 0 || events & UV_DISCONNECT)
            disconnect(session);
        return;
    }
    for (int i = 0; i < MESSAGES_PER_TURN && receive(session); i++)
        if (session->state == LIMITSESSION_WAITING)
            return;
}

/* --- what its set asks of it --- */

int limitsession_begin(struct limitsessions *all, int fd, const char *grant_id, bool is_of_command)
{
    struct limitsession *session = calloc(1, sizeof(*session));
    int r = session ? uv_poll_init(all->setup.loop, &session->messages, fd) : -ENOMEM;

    if (r < 0) {
        free(session);
        return r;
    }
    session->all = all;
    session->fd = fd;
    session->is_of_command = is_of_command;
    session->n_handles = 1;
    session->peer = (struct peeridentity)PEERIDENTITY_INIT;
    session->claims = (struct claimspage)CLAIMSPAGE_INIT;
    session->since_ms = clock_now_ms();
    snprintf(session->grant, sizeof(session->grant), "%s", grant_id);
    session->messages.data = session;
    session->next = all->first;
    all->first = session;
    uv_poll_start(&session->messages, UV_READABLE | UV_DISCONNECT, on_messages);
    return 0;
}

void limitsession_retry(struct limitsession *session)
{
    (void)try_register(session);
}

void limitsession_expire(struct limitsession *session, uint64_t now_ms)
{
    const uint64_t waited_ms = now_ms - session->since_ms;

    if (session->state == LIMITSESSION_WAITING && waited_ms > LIMITSESSION_WAIT_MS)
        refuse(session, "the grant is in no record",
               "the kubelet's checkpoint and the log of grants do not have the grant");
    else if (session->state == LIMITSESSION_NEW && waited_ms > LIMITSESSION_REGISTER_MS)
        limitsession_end(session);
}
