// SPDX-License-Identifier: Apache-2.0
#include "proc/httplink.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/listener.h"
#include "proc/peer.h"
#include "proc/role.h"
#include "proc/subprocess.h"

enum { MAX_PROBES = 8 };

struct httplink {
    struct subprocess *subprocess; /* NULL if the program connects to the listener */
    struct listener *listener, *probe_listener;
    struct listener *own_listener; /* NULL if the listener is borrowed */
    char *address;
    httplink_answer_fn *answer;
    void *userdata;
};

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    struct httplink *httplink = userdata;
    cleanup_text struct text page = TEXT_INIT;
    unsigned status;

    (void)body, (void)size;
    status = httplink->answer((enum httplink_page)kind, &page, httplink->userdata);
    if (text_failed(&page) || channel_answer(channel, id, (uint16_t)status, page.data, page.length))
        (void)channel_answer(channel, id, 500, NULL, 0); /* not connected, or no memory */
}

static int prepare(struct subprocess_start *start, void *userdata, struct error *err)
{
    const struct httplink *httplink = userdata;

    (void)err;
    start->arguments[0] = httplink->address;
    start->arguments[1] = log_level_name();
    start->arguments[2] = log_format_name();
    start->arguments[3] = start->is_retry ? HTTPLINK_AGAIN : NULL;
    return 0;
}

static int start_child(struct httplink *httplink, uv_loop_t *loop,
                       const struct httplink_options *options, struct error *err)
{
    static const struct subprocess_callbacks callbacks = {.prepare = prepare,
                                                          .on_request = on_request};
    const struct subprocess_options subprocess = {
        .program = "gpuslice-http",
        .title = "the HTTP program",
        .key = "address",
        .value = options->address,
        .channel = peer_channel_options(HTTPLINK_MAX_BODY, options->deadline_ms),
    };
    int r;

    httplink->address = strdup(options->address);
    if (!httplink->address)
        return error_set_errno(err, -ENOMEM, "cannot listen on %s", options->address);
    r = subprocess_new(loop, &subprocess, &callbacks, httplink, &httplink->subprocess, err);
    if (r == 0)
        subprocess_start_soon(httplink->subprocess); /* serving the kubelet comes first */
    return r;
}

/* Of a program in another pod or container, whose user is nobody. */
static int listen_for(struct httplink *httplink, uv_loop_t *loop,
                      const struct httplink_options *options, struct error *err)
{
    const struct listener_options listener = {
        .path = options->socket_path,
        .mode = 0666,
        .users = {geteuid(), 0, ROLE_NOBODY},
        .n_users = 3,
        .channel = peer_channel_options(HTTPLINK_MAX_BODY, options->deadline_ms),
    };

    return listener_new(loop, &listener, &httplink->own_listener, err);
}

static int serve(struct httplink *httplink, struct listener *listener,
                 struct listener *probe_listener, struct error *err)
{
    const struct listener_service http = {
        .name = HTTPLINK_NAME, .max_peers = 1, .on_request = on_request, .userdata = httplink};
    struct listener_service probe = http;
    int r = listener_serve(listener, &http);

    probe.name = HTTPLINK_PROBE;
    probe.max_peers = MAX_PROBES;
    if (r == 0 && probe_listener)
        r = listener_serve(probe_listener, &probe);
    if (r < 0)
        return error_set_errno(err, r, "cannot serve HTTP");
    httplink->listener = listener;
    httplink->probe_listener = probe_listener;
    return 0;
}

static int start(struct httplink *httplink, uv_loop_t *loop, const struct httplink_options *options,
                 struct error *err)
{
    int r;

    if (options->listener)
        return serve(httplink, options->listener, options->probe_listener, err);
    if (!options->socket_path)
        return start_child(httplink, loop, options, err);
    r = listen_for(httplink, loop, options, err);
    return r < 0 ? r : serve(httplink, httplink->own_listener, NULL, err);
}

int httplink_new(uv_loop_t *loop, const struct httplink_options *options,
                 httplink_answer_fn *answer, void *userdata, struct httplink **ret_httplink,
                 struct error *err)
{
    struct httplink *httplink = calloc(1, sizeof(*httplink));
    int r;

    if (!httplink)
        return error_set_errno(err, -ENOMEM, "cannot serve HTTP");
    httplink->answer = answer;
    httplink->userdata = userdata;
    r = start(httplink, loop, options, err);
    if (r < 0) {
        httplink_free(httplink);
        return r;
    }
    *ret_httplink = httplink;
    return 0;
}

void httplink_free(struct httplink *httplink)
{
    if (!httplink)
        return;
    if (httplink->listener) {
        listener_withdraw(httplink->listener, HTTPLINK_NAME);
        if (httplink->probe_listener)
            listener_withdraw(httplink->probe_listener, HTTPLINK_PROBE);
    }
    listener_free(httplink->own_listener);
    subprocess_free(httplink->subprocess);
    free(httplink->address);
    free(httplink);
}
