// SPDX-License-Identifier: Apache-2.0
#include "kube/curlmulti.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct curlmulti {
    uv_loop_t *loop;
    uv_timer_t timer;
    CURLM *multi;
    curlmulti_ready_fn *on_ready;
    void *userdata;
};

struct watched_socket {
    uv_poll_t poll;
    struct curlmulti *hub;
    curl_socket_t fd;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle->data);
}

/* ---- from the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    const struct watched_socket *socket = poll->data;
    int curl_events = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                      (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

    /* Reading lets libcurl find the error; CURL_CSELECT_ERR would hide it. */
    if (status < 0)
        curl_events = CURL_CSELECT_IN | CURL_CSELECT_OUT;
    socket->hub->on_ready(socket->hub, socket->fd, curl_events, socket->hub->userdata);
}

static void on_timer(uv_timer_t *timer)
{
    struct curlmulti *hub = timer->data;

    hub->on_ready(hub, CURL_SOCKET_TIMEOUT, 0, hub->userdata);
}

/* ---- from libcurl ---- */

static int set_timer(CURLM *multi, long timeout_ms, void *userdata)
{
    struct curlmulti *hub = userdata;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&hub->timer);
    else
        uv_timer_start(&hub->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static struct watched_socket *watch_socket(struct curlmulti *hub, curl_socket_t fd)
{
    struct watched_socket *socket = calloc(1, sizeof(*socket));

    if (!socket)
        return NULL;
    if (uv_poll_init(hub->loop, &socket->poll, fd) < 0) {
        free(socket);
        return NULL;
    }
    socket->poll.data = socket;
    socket->hub = hub;
    socket->fd = fd;
    curl_multi_assign(hub->multi, fd, socket);
    return socket;
}

/* libcurl reports CURL_POLL_REMOVE before it closes the socket, as libuv requires. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *assigned)
{
    struct curlmulti *hub = userdata;
    struct watched_socket *socket = assigned;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (socket)
            uv_close((uv_handle_t *)&socket->poll, free_handle);
        curl_multi_assign(hub->multi, fd, NULL);
        return 0;
    }
    if (!socket)
        socket = watch_socket(hub, fd);
    return socket && uv_poll_start(&socket->poll, events, on_poll) == 0 ? 0 : -1;
}

/* ---- life ---- */

int curlmulti_new(uv_loop_t *loop, curlmulti_ready_fn *on_ready, void *userdata,
                  struct curlmulti **ret_hub)
{
    cleanup_free struct curlmulti *hub = calloc(1, sizeof(*hub));

    if (!hub)
        return -ENOMEM;
    *hub = (struct curlmulti){.loop = loop, .on_ready = on_ready, .userdata = userdata};
    hub->multi = curl_multi_init();
    if (!hub->multi)
        return -ENOMEM;
    uv_timer_init(loop, &hub->timer);
    hub->timer.data = hub;
    curl_multi_setopt(hub->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(hub->multi, CURLMOPT_SOCKETDATA, hub);
    curl_multi_setopt(hub->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(hub->multi, CURLMOPT_TIMERDATA, hub);
    *ret_hub = TAKE_PTR(hub);
    return 0;
}

void curlmulti_free(struct curlmulti *hub)
{
    if (!hub)
        return;
    curl_multi_cleanup(hub->multi);
    uv_timer_stop(&hub->timer);
    uv_close((uv_handle_t *)&hub->timer, free_handle);
}

int curlmulti_add(struct curlmulti *hub, CURL *easy)
{
    return curl_multi_add_handle(hub->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

void curlmulti_remove(struct curlmulti *hub, CURL *easy)
{
    curl_multi_remove_handle(hub->multi, easy);
}

void curlmulti_act(struct curlmulti *hub, curl_socket_t fd, int events)
{
    int n_running;

    curl_multi_socket_action(hub->multi, fd, events, &n_running);
}

bool curlmulti_next_ended(struct curlmulti *hub, CURL **ret_easy, CURLcode *ret_code)
{
    CURLMsg *message;
    int n_left;

    while ((message = curl_multi_info_read(hub->multi, &n_left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        *ret_easy = message->easy_handle;
        *ret_code = message->data.result;
        return true;
    }
    return false;
}
