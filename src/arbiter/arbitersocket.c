// SPDX-License-Identifier: Apache-2.0
#include "arbiter/arbitersocket.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/lograte.h"
#include "proc/listener.h"
#include "proc/peer.h"

enum { DEADLINE_MS = 10000 };

struct arbitersocket {
    struct listener *listener;
    struct channel *agent; /* NULL = it is not connected */
    struct text sent;      /* the state that it has */
    struct lograte nonsense;
    const struct arbitersocket_callbacks *callbacks;
    void *userdata;
};

/* --- the agent --- */

void arbitersocket_publish(struct arbitersocket *socket)
{
    cleanup_arbiter_state struct arbiter_state state = ARBITER_STATE_INIT;
    cleanup_text struct text text = TEXT_INIT;
    int r;

    if (!socket->agent)
        return;
    r = socket->callbacks->make_state(&state, socket->userdata);
    if (r == 0)
        r = arbiter_state_write(&state, &text);
    if (r < 0 || str_equal(text_string(&text), text_string(&socket->sent)))
        return; /* without memory: with the next change */
    if (channel_notify(socket->agent, ARBITER_STATE, CHANNEL_KEEP_NEWEST, text.data, text.length) <
        0)
        return;
    text_deinit(&socket->sent);
    socket->sent = text;
    text = (struct text)TEXT_INIT;
}

bool arbitersocket_send_event(struct arbitersocket *socket, const struct arbiter_event *event)
{
    cleanup_text struct text text = TEXT_INIT;

    return socket->agent && arbiter_event_write(event, &text) == 0 &&
           channel_notify(socket->agent, ARBITER_EVENT, CHANNEL_KEEP_ALL, text.data, text.length) ==
               0;
}

static void on_agent_up(struct channel *channel, const char *name, void *userdata)
{
    struct arbitersocket *socket = userdata;

    (void)name;
    log_info("the agent is connected");
    socket->agent = channel;
    text_clear(&socket->sent);
    arbitersocket_publish(socket);
    socket->callbacks->on_agent(socket->userdata);
}

static void on_agent_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                            void *userdata)
{
    struct arbitersocket *socket = userdata;
    struct arbiter_wish wish;
    struct error err = ERROR_INIT;

    (void)channel;
    if (kind != ARBITER_WISH) /* of a newer release */
        return;
    if (arbiter_wish_read(body, size, &wish, &err) == 0) {
        lograte_end(&socket->nonsense);
        socket->callbacks->on_wish(&wish, socket->userdata);
    } else if (lograte_begin(&socket->nonsense, error_text(&err), clock_now_ms())) {
        log_warning("the agent's message cannot be read: the mode stays as it is", "reason",
                    error_text(&err));
    }
}

static void on_agent_down(struct channel *channel, void *userdata)
{
    struct arbitersocket *socket = userdata;

    if (socket->agent != channel) /* of an agent that another one replaced */
        return;
    socket->agent = NULL;
    log_info("the agent is no longer connected: the mode stays as it is");
}

/* --- the command line --- */

static void on_status_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                              size_t size, void *userdata)
{
    struct arbitersocket *socket = userdata;
    cleanup_text struct text text = TEXT_INIT;

    (void)body, (void)size;
    if (kind == ARBITER_STATUS_READ)
        socket->callbacks->add_status(&text, socket->userdata);
    if (text_failed(&text) || channel_answer(channel, id, kind, text.data, text.length) < 0)
        (void)channel_answer(channel, id, kind, NULL, 0);
}

/* --- life --- */

static int serve(struct arbitersocket *socket)
{
    const struct listener_service agent = {
        .name = ARBITER_AGENT,
        .max_peers = 1,
        .on_up = on_agent_up,
        .on_notice = on_agent_notice,
        .on_down = on_agent_down,
        .userdata = socket,
    };
    const struct listener_service status = {
        .name = ARBITER_STATUS,
        .max_peers = ARBITERSOCKET_STATUS_PEERS,
        .on_request = on_status_request,
        .userdata = socket,
    };
    int r = listener_serve(socket->listener, &agent);

    return r == 0 ? listener_serve(socket->listener, &status) : r;
}

static int listen_in(struct arbitersocket *socket, uv_loop_t *loop, const char *folder,
                     struct error *err)
{
    char path[PATH_MAX];
    struct listener_options options = {
        .path = path,
        .mode = 0600,
        .users = {geteuid(), 0},
        .n_users = 2,
        .channel = peer_channel_options(ARBITER_STATUS_MAX, DEADLINE_MS),
    };
    int r = file_make_directory(folder, err);

    if (r < 0)
        return r;
    options.channel.name = ARBITER_NAME;
    options.channel.max_receive_bytes = ARBITER_MESSAGE_MAX;
    snprintf(path, sizeof(path), "%s/" ARBITER_SOCKET, folder);
    return listener_new(loop, &options, &socket->listener, err);
}

int arbitersocket_new(uv_loop_t *loop, const char *folder,
                      const struct arbitersocket_callbacks *callbacks, void *userdata,
                      struct arbitersocket **ret_socket, struct error *err)
{
    struct arbitersocket *socket = calloc(1, sizeof(*socket));
    int r;

    if (!socket)
        return error_set_errno(err, -ENOMEM, "cannot listen in %s", folder);
    socket->callbacks = callbacks;
    socket->userdata = userdata;
    r = listen_in(socket, loop, folder, err);
    if (r == 0) {
        r = serve(socket);
        if (r < 0)
            error_set_errno(err, r, "cannot listen in %s", folder);
    }
    if (r < 0) {
        arbitersocket_free(socket);
        return r;
    }
    *ret_socket = socket;
    return 0;
}

void arbitersocket_free(struct arbitersocket *socket)
{
    if (!socket)
        return;
    listener_free(socket->listener);
    text_deinit(&socket->sent);
    free(socket);
}
