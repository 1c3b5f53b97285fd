// SPDX-License-Identifier: Apache-2.0
#include "proc/connector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

struct connector {
    uv_loop_t *loop;
    uv_timer_t retry;
    const char *path;
    struct channel_options options;
    struct connector_callbacks callbacks;
    void *userdata;
    struct channel *channel; /* NULL while there is none */
    uint64_t backoff_ms;
    uint64_t up_ms;    /* when the last hello came; 0 = never */
    char trouble[256]; /* as last reported; "" = none */
    bool is_freed;
};

static int connect_socket(const char *path, int flags, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = -1;

    if (str_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of a socket is too long: %s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(err, -errno, "cannot connect to %s", path);
    return TAKE_FD(fd);
}

int connector_open(const char *path, struct error *err)
{
    return connect_socket(path, 0, err);
}

static void on_retry(uv_timer_t *timer);

static void retry_later(struct connector *connector)
{
    uv_timer_start(&connector->retry, on_retry, connector->backoff_ms, 0);
    connector->backoff_ms = clock_twice_ms(connector->backoff_ms, CONNECTOR_LAST_MS);
}

static void on_hello(struct channel *channel, const char *name, void *userdata)
{
    struct connector *connector = userdata;

    connector->up_ms = clock_now_ms();
    connector->trouble[0] = '\0';
    if (connector->callbacks.on_up)
        connector->callbacks.on_up(channel, name, connector->userdata);
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    const struct connector *connector = userdata;

    if (connector->callbacks.on_notice)
        connector->callbacks.on_notice(channel, kind, body, size, connector->userdata);
}

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    const struct connector *connector = userdata;

    connector->callbacks.on_request(channel, id, kind, body, size, connector->userdata);
}

static void on_drain(struct channel *channel, void *userdata)
{
    const struct connector *connector = userdata;

    if (connector->callbacks.on_drain)
        connector->callbacks.on_drain(channel, connector->userdata);
}

static void report_trouble(struct connector *connector, const char *sentence)
{
    if (str_equal(connector->trouble, sentence))
        return;
    snprintf(connector->trouble, sizeof(connector->trouble), "%s", sentence);
    if (connector->callbacks.on_trouble)
        connector->callbacks.on_trouble(connector->trouble, connector->userdata);
}

static void on_end(struct channel *channel, enum channel_end end, const char *sentence,
                   void *userdata)
{
    struct connector *connector = userdata;
    const bool was_up = channel_peer(channel) != NULL;

    (void)end;
    if (was_up && connector_lasted(connector))
        connector->backoff_ms = CONNECTOR_FIRST_MS;
    if (was_up && connector->callbacks.on_down)
        connector->callbacks.on_down(sentence, connector->userdata);
    else if (!was_up)
        report_trouble(connector, sentence);
    if (connector->is_freed)
        return;
    channel_free(TAKE_PTR(connector->channel));
    retry_later(connector);
}

bool connector_lasted(const struct connector *connector)
{
    return connector->up_ms && clock_now_ms() - connector->up_ms >= CONNECTOR_STABLE_MS;
}

static void on_retry(uv_timer_t *timer)
{
    struct connector *connector = timer->data;
    const struct channel_callbacks callbacks = {
        .on_hello = on_hello,
        .on_notice = on_notice,
        .on_request = connector->callbacks.on_request ? on_request : NULL,
        .on_drain = on_drain,
        .on_end = on_end,
    };
    struct error err = ERROR_INIT;
    int fd = connect_socket(connector->path, SOCK_NONBLOCK, &err);

    if (fd >= 0 && channel_new(connector->loop, fd, &connector->options, &callbacks, connector,
                               &connector->channel, &err) == 0)
        return;
    retry_later(connector);
    report_trouble(connector, error_text(&err));
}

int connector_new(uv_loop_t *loop, const char *path, const struct channel_options *options,
                  const struct connector_callbacks *callbacks, void *userdata,
                  struct connector **ret_connector, struct error *err)
{
    struct connector *connector = calloc(1, sizeof(*connector));

    if (!connector)
        return error_set_errno(err, -ENOMEM, "cannot connect to %s", path);
    connector->loop = loop;
    connector->path = path;
    connector->options = *options;
    connector->callbacks = *callbacks;
    connector->userdata = userdata;
    connector->backoff_ms = CONNECTOR_FIRST_MS;
    uv_timer_init(loop, &connector->retry);
    connector->retry.data = connector;
    uv_timer_start(&connector->retry, on_retry, 0, 0);
    *ret_connector = connector;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void connector_free(struct connector *connector)
{
    if (!connector)
        return;
    connector->is_freed = true;
    channel_free(TAKE_PTR(connector->channel));
    uv_close((uv_handle_t *)&connector->retry, on_closed);
}
