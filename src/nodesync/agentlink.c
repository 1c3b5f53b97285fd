// SPDX-License-Identifier: Apache-2.0
#include "nodesync/agentlink.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "proc/connector.h"
#include "proc/subprocess.h"

struct agentlink {
    struct connector *connector;   /* NULL if a child */
    struct channel *child_channel; /* NULL else */
    struct channel *channel;       /* of the two, after the agent's hello; else NULL */
    const struct agentlink_events *events;
    void *userdata;
    char *last; /* last message sent */
    bool has_ended;
};

static const struct channel_options options = {
    .name = SYNC_NAME,
    .max_body_bytes = SYNC_MESSAGE_MAX,
};

static void end(struct agentlink *link, int r, const char *sentence)
{
    link->channel = NULL;
    if (link->has_ended)
        return;
    link->has_ended = true;
    link->events->on_end(r, sentence, link->userdata);
}

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    struct agentlink *link = userdata;

    (void)name;
    link->channel = channel;
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    struct agentlink *link = userdata;
    struct sync_message message;
    struct error err = ERROR_INIT;
    int r;

    (void)channel, (void)kind;
    if (link->has_ended)
        return;
    r = sync_message_read(body, size, &message, &err);
    if (r < 0) {
        end(link, r, error_text(&err));
        return;
    }
    link->events->on_message(&message, link->userdata);
    sync_message_deinit(&message);
}

static void on_end(struct channel *channel, enum channel_end reason, const char *sentence,
                   void *userdata)
{
    (void)channel;
    end(userdata, reason == CHANNEL_EOF ? 0 : -EPROTO, sentence);
}

static void on_down(const char *sentence, void *userdata)
{
    end(userdata, 0, sentence);
}

static void on_trouble(const char *sentence, void *userdata)
{
    (void)userdata;
    log_warning("there is no agent yet; retrying", "reason", sentence);
}

static int reach_agent(struct agentlink *link, uv_loop_t *loop, const char *socket,
                       struct error *err)
{
    static const struct connector_callbacks connected = {
        .on_up = on_up, .on_notice = on_notice, .on_down = on_down, .on_trouble = on_trouble};
    static const struct channel_callbacks inherited = {
        .on_hello = on_up, .on_notice = on_notice, .on_end = on_end};

    if (socket)
        return connector_new(loop, socket, &options, &connected, link, &link->connector, err);
    return channel_new(loop, SUBPROCESS_FD, &options, &inherited, link, &link->child_channel, err);
}

int agentlink_new(uv_loop_t *loop, const char *socket, const struct agentlink_events *events,
                  void *userdata, struct agentlink **ret_link, struct error *err)
{
    struct agentlink *link = calloc(1, sizeof(*link));
    int r;

    if (!link)
        return error_set_errno(err, -ENOMEM, "cannot reach the agent");
    link->events = events;
    link->userdata = userdata;
    r = reach_agent(link, loop, socket, err);
    if (r < 0) {
        free(link);
        return error_wrap(err, r, "cannot reach the agent");
    }
    *ret_link = link;
    return 0;
}

void agentlink_free(struct agentlink *link)
{
    if (!link)
        return;
    connector_free(link->connector);
    channel_free(link->child_channel);
    free(link->last);
    free(link);
}

bool agentlink_is_up(const struct agentlink *link)
{
    return link->channel != NULL;
}

bool agentlink_lasted(const struct agentlink *link)
{
    return link->connector && connector_lasted(link->connector);
}

int agentlink_send(struct agentlink *link, const struct sync_message *message)
{
    cleanup_text struct text body = TEXT_INIT;
    int r = sync_message_write(message, &body);

    if (r < 0)
        return r;
    if (!link->channel)
        return -EPIPE;
    if (link->last && str_equal(link->last, text_string(&body)))
        return 0;
    r = channel_notify(link->channel, (uint16_t)message->kind, CHANNEL_KEEP_NEWEST, body.data,
                       body.length);
    if (r < 0)
        return r;
    free(link->last);
    link->last = text_take(&body);
    return 0;
}
