// SPDX-License-Identifier: Apache-2.0
#include "node/liveness.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "proc/blocking.h"
#include "proc/connector.h"

enum { MAX_BODY = 64 << 10, STATUS_OK = 200 };

/* 0 or a negative errno; the response is printed. */
static int ask(struct blocking_channel *channel, enum httplink_page page, bool *ret_is_so,
               struct error *err)
{
    const uint64_t until_ms = clock_now_ms() + LIVENESS_DEADLINE_MS;
    const struct proc_frame question = {
        .type = PROC_FRAME_REQUEST, .kind = (uint16_t)page, .id = 1};
    struct proc_frame answer;
    int r = blocking_hello(channel, HTTPLINK_PROBE);

    if (r == 0)
        r = blocking_send(channel, &question);
    if (r < 0)
        return error_set_errno(err, r, "cannot query the agent");
    r = blocking_receive(channel, until_ms, &answer, err);
    if (r == BLOCKING_TIMEOUT)
        return error_set(err, -ETIMEDOUT, "the agent did not respond within %d ms",
                         LIVENESS_DEADLINE_MS);
    if (r < 0)
        return r;
    if (answer.size)
        fwrite(answer.body, 1, answer.size, stdout);
    *ret_is_so = answer.kind == STATUS_OK;
    return 0;
}

int liveness_probe(const char *socket, enum httplink_page page)
{
    struct error err = ERROR_INIT;
    cleanup_close int fd = connector_open(socket, &err);
    struct blocking_channel channel;
    bool is_so = false;
    int r = fd;

    if (fd >= 0) {
        blocking_init(&channel, fd, MAX_BODY);
        r = ask(&channel, page, &is_so, &err);
        blocking_deinit(&channel);
    }
    if (r < 0)
        puts(error_text(&err));
    return !is_so;
}
