// SPDX-License-Identifier: Apache-2.0
#include "node/synclink.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "proc/listener.h"
#include "proc/peer.h"
#include "proc/subprocess.h"

struct synclink {
    struct subprocess *subprocess; /* NULL if the program connects to the listener */
    struct listener *listener;
    struct channel *channel; /* NULL while no program is connected */
    uv_timer_t shutdown;
    struct text setup, state; /* messages, as sent to the program */
    bool setup_due, state_due, shutdown_due;
    char *events[SYNCLINK_MAX_EVENTS]; /* messages; starting at first_event, wrapping around */
    size_t first_event, n_events;
    uint64_t lost_events;
    bool is_incompatible;  /* the program sent an invalid message; logged already */
    bool has_sent_news;    /* the connected program */
    bool server_reachable; /* by its last news */
    bool is_uninstall;     /* its response to the shutdown */
    synclink_news_fn *on_news;
    void *userdata;
    synclink_gone_fn *on_gone;
    void *gone_userdata;
};

/* --- sending --- */

static char *take_event(struct synclink *link)
{
    char *message = link->events[link->first_event];

    link->events[link->first_event] = NULL;
    link->first_event = (link->first_event + 1) % SYNCLINK_MAX_EVENTS;
    link->n_events--;
    return message;
}

static int send_text(struct synclink *link, enum sync_message_kind kind, const char *message)
{
    return channel_notify(link->channel, (uint16_t)kind, CHANNEL_KEEP_ALL, message,
                          strlen(message));
}

static int send_shutdown(struct synclink *link)
{
    cleanup_text struct text bye = TEXT_INIT;
    int r = sync_message_write(&(struct sync_message){.kind = SYNC_SHUTDOWN}, &bye);

    return r < 0 ? r : send_text(link, SYNC_SHUTDOWN, text_string(&bye));
}

/* Sends what is due next; false if nothing is, or it cannot be sent now and stays due. */
static bool send_one(struct synclink *link)
{
    if (link->setup_due) {
        link->setup_due = send_text(link, SYNC_SETUP, text_string(&link->setup)) < 0;
        return !link->setup_due;
    }
    if (link->state_due) {
        link->state_due = send_text(link, SYNC_STATE, text_string(&link->state)) < 0;
        return !link->state_due;
    }
    if (link->n_events) {
        if (send_text(link, SYNC_EVENT, link->events[link->first_event]) < 0)
            return false;
        free(take_event(link));
        return true;
    }
    if (!link->shutdown_due)
        return false;
    link->shutdown_due = send_shutdown(link) < 0;
    return !link->shutdown_due;
}

/* What the channel does not accept immediately stays here, bounded, and survives the program it was
 * meant for. */
static void send_due(struct synclink *link)
{
    while (link->channel && channel_is_drained(link->channel) && send_one(link))
        ;
}

static void on_drain(struct channel *channel, void *userdata)
{
    (void)channel;
    send_due(userdata);
}

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    struct synclink *link = userdata;

    (void)name;
    link->channel = channel;
    link->is_incompatible = link->has_sent_news = link->server_reachable = false;
    link->setup_due = true;
    link->state_due = link->state.length > 0;
    send_due(link);
}

/* --- receiving --- */

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    struct synclink *link = userdata;
    cleanup_sync_message struct sync_message message = {.kind = SYNC_SHUTDOWN};
    struct error err = ERROR_INIT;
    int r = sync_message_read(body, size, &message, &err);

    (void)channel, (void)kind;
    link->has_sent_news = true;
    if (r == 0 && message.kind == SYNC_UNINSTALL && link->on_gone) {
        link->is_uninstall = true;
        return;
    }
    if (r == 0 && message.kind == SYNC_NEWS) {
        if (link->on_gone)
            return; /* there is no receiver for it any more */
        link->server_reachable = message.news.reachable;
        link->on_news(&message.news, link->userdata);
        return;
    }
    if (!link->is_incompatible)
        log_error("gpuslice-nodesync sent an invalid message", "reason",
                  r < 0 ? error_text(&err) : "only the agent sends this message");
    link->is_incompatible = true;
}

/* --- life --- */

static void finish_leaving(struct synclink *link)
{
    synclink_gone_fn *on_gone = TAKE_PTR(link->on_gone);

    if (on_gone)
        on_gone(link->is_uninstall, link->gone_userdata);
}

static void on_down(struct channel *channel, void *userdata)
{
    struct synclink *link = userdata;

    (void)channel;
    link->channel = NULL;
    if (link->listener)
        finish_leaving(link);
}

static void on_ended(const struct subprocess_end *end, void *userdata)
{
    (void)end;
    finish_leaving(userdata);
}

static void on_shutdown_over(uv_timer_t *timer)
{
    log_warning("gpuslice-nodesync does not exit; killing it");
    finish_leaving(timer->data);
}

static int prepare(struct subprocess_start *start, void *userdata, struct error *err)
{
    (void)userdata, (void)err;
    start->arguments[0] = log_level_name();
    start->arguments[1] = log_format_name();
    return 0;
}

static int start_child(struct synclink *link, uv_loop_t *loop,
                       const struct synclink_options *options, struct error *err)
{
    static const struct subprocess_callbacks callbacks = {
        .prepare = prepare,
        .on_up = on_up,
        .on_notice = on_notice,
        .on_drain = on_drain,
        .on_down = on_down,
        .on_ended = on_ended,
    };
    const struct subprocess_options subprocess = {
        .program = "gpuslice-nodesync",
        .title = "gpuslice-nodesync",
        .key = "node",
        .value = options->setup->node,
        .channel = peer_channel_options(SYNC_MESSAGE_MAX, options->deadline_ms),
    };
    int r = subprocess_new(loop, &subprocess, &callbacks, link, &link->subprocess, err);

    if (r == 0)
        subprocess_start_soon(link->subprocess); /* serving the kubelet comes first */
    return r;
}

static int serve(struct synclink *link, struct listener *listener, struct error *err)
{
    const struct listener_service service = {
        .name = SYNC_NAME,
        .max_peers = 1,
        .on_up = on_up,
        .on_notice = on_notice,
        .on_drain = on_drain,
        .on_down = on_down,
        .userdata = link,
    };
    int r = listener_serve(listener, &service);

    if (r < 0)
        return error_set_errno(err, r, "cannot wait for gpuslice-nodesync");
    link->listener = listener;
    return 0;
}

static void free_memory(struct synclink *link)
{
    while (link->n_events)
        free(take_event(link));
    text_deinit(&link->setup);
    text_deinit(&link->state);
    free(link);
}

int synclink_new(uv_loop_t *loop, const struct synclink_options *options, synclink_news_fn *on_news,
                 void *userdata, struct synclink **ret_link, struct error *err)
{
    const struct sync_message message = {.kind = SYNC_SETUP, .setup = *options->setup};
    struct synclink *link = calloc(1, sizeof(*link));
    int r = link ? sync_message_write(&message, &link->setup) : -ENOMEM;

    if (r < 0) {
        if (link)
            free_memory(link);
        return error_set_errno(err, r, "cannot communicate with the API server");
    }
    link->on_news = on_news;
    link->userdata = userdata;
    r = options->listener ? serve(link, options->listener, err)
                          : start_child(link, loop, options, err);
    if (r < 0) {
        free_memory(link);
        return r;
    }
    uv_timer_init(loop, &link->shutdown);
    link->shutdown.data = link;
    *ret_link = link;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free_memory(handle->data);
}

void synclink_free(struct synclink *link)
{
    if (!link)
        return;
    link->on_gone = NULL;
    link->channel = NULL;
    if (link->listener)
        listener_withdraw(link->listener, SYNC_NAME);
    subprocess_free(link->subprocess);
    uv_close((uv_handle_t *)&link->shutdown, on_timer_closed);
}

/* --- messages from the agent --- */

void synclink_state(struct synclink *link, const struct sync_state *state)
{
    const struct sync_message message = {.kind = SYNC_STATE, .state = *state};
    cleanup_text struct text text = TEXT_INIT;

    if (!link)
        return;
    if (sync_message_write(&message, &text) < 0) {
        log_error("cannot send the state of the node to the API server", "hint",
                  "is gpuslice.labels very long?");
        return;
    }
    if (!str_equal(text_string(&text), text_string(&link->state))) {
        text_deinit(&link->state);
        link->state = text;
        text = (struct text)TEXT_INIT;
        link->state_due = true;
    }
    send_due(link); /* including what could not be sent before */
}

void synclink_event(struct synclink *link, const struct sync_event *event)
{
    const struct sync_message message = {.kind = SYNC_EVENT, .event = *event};
    cleanup_text struct text text = TEXT_INIT;
    char *copy;

    if (!link)
        return;
    copy = sync_message_write(&message, &text) == 0 ? text_take(&text) : NULL;
    if (!copy || link->n_events == SYNCLINK_MAX_EVENTS)
        link->lost_events++;
    if (!copy)
        return;
    if (link->n_events == SYNCLINK_MAX_EVENTS) /* the oldest matters least */
        free(take_event(link));
    link->events[(link->first_event + link->n_events++) % SYNCLINK_MAX_EVENTS] = copy;
    send_due(link);
}

/* The program runs, and has sent news at least once. */
static bool has_peer(const struct synclink *link)
{
    return link && link->channel && link->has_sent_news;
}

bool synclink_is_connected(const struct synclink *link)
{
    return has_peer(link) && link->server_reachable;
}

uint64_t synclink_lost_events(const struct synclink *link)
{
    return link ? link->lost_events : 0;
}

bool synclink_leave(struct synclink *link, synclink_gone_fn *on_gone, void *userdata)
{
    if (!has_peer(link))
        return false;
    if (link->subprocess)
        subprocess_let_end(link->subprocess);
    link->on_gone = on_gone;
    link->gone_userdata = userdata;
    link->shutdown_due = true;
    uv_timer_start(&link->shutdown, on_shutdown_over, SYNC_SHUTDOWN_MS, 0);
    send_due(link);
    return true;
}
