// SPDX-License-Identifier: Apache-2.0
#include "node/synclink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "node/child.h"

static_assert((int)SYNC_FD == (int)CHILD_FD, "the program finds its end where it is put");

struct synclink {
    struct child *child;
    uv_timer_t shutdown;
    struct text setup, state; /* lines, as the program gets them */
    bool setup_due, state_due, bye_due, under_way;
    char *events[SYNCLINK_MAX_EVENTS]; /* lines; from first_event on, around the end */
    size_t first_event, n_events;
    uint64_t lost_events;
    struct text heard; /* the beginning of a line */
    bool deaf;         /* the program speaks another language; said already */
    bool hears_server; /* the program, by its last news */
    bool is_uninstall; /* the program's answer to bye */
    synclink_news_fn *on_news;
    void *userdata;
    synclink_gone_fn *on_gone;
    void *gone_userdata;
};

/* --- speaking --- */

static char *take_event(struct synclink *link)
{
    char *line = link->events[link->first_event];

    link->events[link->first_event] = NULL;
    link->first_event = (link->first_event + 1) % SYNCLINK_MAX_EVENTS;
    link->n_events--;
    return line;
}

/* The next line to send, to be freed; NULL = everything is said (or there is no memory). */
static char *next_line(struct synclink *link)
{
    cleanup_text struct text bye = TEXT_INIT;

    if (link->setup_due)
        return link->setup_due = false, strdup(text_string(&link->setup));
    if (link->state_due)
        return link->state_due = false, strdup(text_string(&link->state));
    if (link->n_events)
        return take_event(link);
    if (!link->bye_due)
        return NULL;
    link->bye_due = false;
    sync_message_write(&(struct sync_message){.kind = SYNC_SHUTDOWN}, &bye);
    return text_take(&bye);
}

static void speak(struct synclink *link)
{
    char *line;

    if (link->under_way || !child_is_open(link->child))
        return;
    line = next_line(link);
    link->under_way = line && child_write(link->child, line, strlen(line)) == 0;
}

static void on_written(int status, void *userdata)
{
    struct synclink *link = userdata;

    (void)status; /* a program that went away is told everything anew */
    link->under_way = false;
    speak(link);
}

static void on_started(void *userdata)
{
    struct synclink *link = userdata;

    text_clear(&link->heard);
    link->deaf = link->hears_server = false;
    link->setup_due = true;
    link->state_due = link->state.length > 0;
    speak(link);
}

/* --- listening --- */

static void hear(struct synclink *link, const char *line, size_t length)
{
    cleanup_sync_message struct sync_message message = {.kind = SYNC_SHUTDOWN};
    struct error err = ERROR_INIT;
    int r = sync_message_read(line, length, &message, &err);

    if (r == 0 && message.kind == SYNC_UNINSTALL && link->on_gone) {
        link->is_uninstall = true;
        return;
    }
    if (r == 0 && message.kind == SYNC_NEWS) {
        if (link->on_gone)
            return; /* nobody is there any more to whom it would be news */
        link->hears_server = message.news.heard;
        link->on_news(&message.news, link->userdata);
        return;
    }
    if (!link->deaf)
        log_error("gpuslice-nodesync says what the agent does not understand", "reason",
                  r < 0 ? error_text(&err) : "only the agent says that");
    link->deaf = true;
}

static void on_said(const char *bytes, size_t n, void *userdata)
{
    struct synclink *link = userdata;

    while (n && link->on_news) {
        const char *end = memchr(bytes, '\n', n);
        size_t part = end ? (size_t)(end - bytes) : n;

        if (link->heard.length <= SYNC_LINE_MAX) /* what is longer is refused at its end */
            text_add_bytes(&link->heard, bytes, part);
        bytes += part + (end != NULL);
        n -= part + (end != NULL);
        if (end) {
            hear(link, text_string(&link->heard), link->heard.length);
            text_deinit(&link->heard); /* such a line may be long, and the next one far off */
            link->heard = (struct text)TEXT_INIT;
        }
    }
}

/* --- life --- */

static void be_gone(struct synclink *link)
{
    synclink_gone_fn *on_gone = TAKE_PTR(link->on_gone);

    if (on_gone)
        on_gone(link->is_uninstall, link->gone_userdata);
}

static void on_ended(void *userdata)
{
    be_gone(userdata);
}

static void on_farewell_over(uv_timer_t *timer)
{
    log_warning("gpuslice-nodesync does not end; it is ended");
    be_gone(timer->data);
}

static int start_child(struct synclink *link, uv_loop_t *loop, const char *node, struct error *err)
{
    static const struct child_callbacks callbacks = {on_started, on_said, on_written, on_ended};
    const struct child_options options = {
        .program = "gpuslice-nodesync",
        .title = "the program for the API server",
        .arguments = {log_level_name(), log_format_name()},
        .key = "node",
        .value = node,
    };

    return child_new(loop, &options, &callbacks, link, &link->child, err);
}

static void release(struct synclink *link)
{
    while (link->n_events)
        free(take_event(link));
    text_deinit(&link->setup);
    text_deinit(&link->state);
    text_deinit(&link->heard);
    free(link);
}

int synclink_new(uv_loop_t *loop, const struct sync_setup *setup, synclink_news_fn *on_news,
                 void *userdata, struct synclink **ret_link, struct error *err)
{
    const struct sync_message message = {.kind = SYNC_SETUP, .setup = *setup};
    struct synclink *link = calloc(1, sizeof(*link));
    int r = link ? sync_message_write(&message, &link->setup) : -ENOMEM;

    if (r < 0) {
        free(link);
        return error_set_errno(err, r, "cannot talk to the API server");
    }
    link->on_news = on_news;
    link->userdata = userdata;
    r = start_child(link, loop, setup->node, err);
    if (r < 0) {
        release(link);
        return r;
    }
    uv_timer_init(loop, &link->shutdown);
    link->shutdown.data = link;
    *ret_link = link;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void synclink_free(struct synclink *link)
{
    if (!link)
        return;
    link->on_gone = NULL;
    link->on_news = NULL; /* which may be running, with more lines behind */
    child_free(link->child);
    uv_close((uv_handle_t *)&link->shutdown, on_timer_closed);
}

/* --- what the agent says --- */

void synclink_state(struct synclink *link, const struct sync_state *state)
{
    const struct sync_message message = {.kind = SYNC_STATE, .state = *state};
    cleanup_text struct text line = TEXT_INIT;

    if (!link)
        return;
    if (sync_message_write(&message, &line) < 0) {
        log_error("the state of the node cannot be told to the API server", "hint",
                  "is gpuslice.labels very long?");
        return;
    }
    if (str_equal(text_string(&line), text_string(&link->state)))
        return;
    text_deinit(&link->state);
    link->state = line;
    line = (struct text)TEXT_INIT;
    link->state_due = true;
    speak(link);
}

void synclink_event(struct synclink *link, const struct sync_event *event)
{
    const struct sync_message message = {.kind = SYNC_EVENT, .event = *event};
    cleanup_text struct text line = TEXT_INIT;

    if (!link || sync_message_write(&message, &line) < 0)
        return;
    if (link->n_events == SYNCLINK_MAX_EVENTS) { /* the oldest matters least */
        free(take_event(link));
        link->lost_events++;
    }
    link->events[(link->first_event + link->n_events++) % SYNCLINK_MAX_EVENTS] = text_take(&line);
    speak(link);
}

/* The program runs, and has spoken with the server at least once. */
static bool has_company(const struct synclink *link)
{
    return link && child_is_open(link->child) && child_has_spoken(link->child);
}

bool synclink_is_connected(const struct synclink *link)
{
    return has_company(link) && link->hears_server;
}

uint64_t synclink_lost_events(const struct synclink *link)
{
    return link ? link->lost_events : 0;
}

bool synclink_leave(struct synclink *link, synclink_gone_fn *on_gone, void *userdata)
{
    if (!has_company(link))
        return false;
    child_let_end(link->child);
    link->on_gone = on_gone;
    link->gone_userdata = userdata;
    link->bye_due = true;
    uv_timer_start(&link->shutdown, on_farewell_over, SYNC_SHUTDOWN_MS, 0);
    speak(link);
    return true;
}
