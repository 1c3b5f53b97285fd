// SPDX-License-Identifier: Apache-2.0
#include "node/liveness.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "proc/blocking.h"
#include "proc/connector.h"
#include "proc/listener.h"

#define PROBE_NAME "probe"

enum { MAX_PROBES = 8, MAX_BODY = 256, QUESTION = 1 };

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    (void)body, (void)size, (void)userdata;
    (void)channel_answer(channel, id, kind, NULL,
                         0); /* a probe that disconnected needs no response */
}

int liveness_serve(struct listener *listener)
{
    const struct listener_service service = {
        .name = PROBE_NAME, .max_peers = MAX_PROBES, .on_request = on_request};

    return listener_serve(listener, &service);
}

static int ask(struct blocking_channel *channel, struct error *err)
{
    const uint64_t until_ms = clock_now_ms() + LIVENESS_DEADLINE_MS;
    const struct proc_frame question = {.type = PROC_FRAME_REQUEST, .kind = QUESTION, .id = 1};
    struct proc_frame answer;
    int r = blocking_hello(channel, PROBE_NAME);

    if (r == 0)
        r = blocking_send(channel, &question);
    if (r < 0)
        return error_set_errno(err, r, "cannot query the agent");
    r = blocking_receive(channel, until_ms, &answer, err);
    return r == BLOCKING_TIMEOUT
               ? error_set(err, -ETIMEDOUT, "the agent did not respond within %d ms",
                           LIVENESS_DEADLINE_MS)
               : r;
}

int liveness_probe(const char *socket)
{
    struct error err = ERROR_INIT;
    cleanup_close int fd = connector_open(socket, &err);
    struct blocking_channel channel;
    int r = fd;

    if (fd >= 0) {
        blocking_init(&channel, fd, MAX_BODY);
        r = ask(&channel, &err);
        blocking_deinit(&channel);
    }
    puts(r < 0 ? error_text(&err) : "the agent is alive");
    return r < 0;
}
