// SPDX-License-Identifier: Apache-2.0
#include "cli/arbiterclient.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/paths.h"
#include "proc/arbitermessage.h"
#include "proc/blocking.h"
#include "proc/connector.h"

int arbiterclient_find(const char *root, const char *folder, const char *name, char path[PATH_MAX],
                       struct error *err)
{
    int n = folder ? snprintf(path, PATH_MAX, "%s%s/%s", root, folder, name)
                   : snprintf(path, PATH_MAX, "%s%s/arbiter/%s", root, paths_state_dir(), name);

    return n < PATH_MAX ? 0 : error_set_errno(err, -ENAMETOOLONG, "cannot reach the arbiter");
}

static int connect_to(const char *path, int *ret_fd, struct error *err)
{
    int fd = connector_open(path, err);

    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return error_set(
            err, fd, "no arbiter listens at %s: is gpuslice-arbiter running on this node?", path);
    if (fd == -EACCES || fd == -EPERM)
        return error_set(err, fd, "%s is for root alone", path);
    if (fd < 0)
        return error_wrap(err, fd, "cannot reach the arbiter");
    *ret_fd = fd;
    return 0;
}

/* The channel has a connection, and nothing was sent yet. */
static int ask(struct blocking_channel *channel, const struct arbiterclient_request *request,
               struct text *answer, struct error *err)
{
    const struct proc_frame asked = {.type = PROC_FRAME_REQUEST,
                                     .kind = request->kind,
                                     .id = 1,
                                     .body = request->body,
                                     .size = request->size};
    const uint64_t until_ms = clock_now_ms() + ARBITERCLIENT_DEADLINE_MS;
    struct proc_frame frame = {.type = PROC_FRAME_NOTICE};
    int r = blocking_hello(channel, request->service);

    if (r == 0)
        r = blocking_send(channel, &asked);
    if (r < 0)
        return error_set_errno(err, r, "cannot ask the arbiter");
    while (r == 0 && frame.type != PROC_FRAME_ANSWER)
        r = blocking_receive(channel, until_ms, &frame, err);
    if (r == BLOCKING_TIMEOUT)
        return error_set(err, -ETIMEDOUT, "the arbiter does not answer");
    if (r == -ENODATA)
        return error_set(err, r, "the arbiter closed the connection");
    if (r < 0)
        return error_wrap(err, r, "cannot read the arbiter's answer");
    text_add_bytes(answer, frame.body ? frame.body : "", frame.size);
    return text_failed(answer) ? error_set_errno(err, -ENOMEM, "cannot read the arbiter's answer")
                               : 0;
}

int arbiterclient_ask(const char *path, const struct arbiterclient_request *request,
                      struct text *answer, struct error *err)
{
    struct blocking_channel channel;
    cleanup_close int fd = -1;
    int r = connect_to(path, &fd, err);

    if (r < 0)
        return r;
    blocking_init(&channel, fd, ARBITER_STATUS_MAX);
    r = ask(&channel, request, answer, err);
    blocking_deinit(&channel);
    return r;
}

int arbiterclient_read(const char *root, const char *folder, json_t **ret_status, struct error *err)
{
    const struct arbiterclient_request request = {.service = ARBITER_STATUS,
                                                  .kind = ARBITER_STATUS_READ};
    cleanup_text struct text answer = TEXT_INIT;
    char path[PATH_MAX];
    json_error_t where;
    int r = arbiterclient_find(root, folder, ARBITER_SOCKET, path, err);

    if (r == 0)
        r = arbiterclient_ask(path, &request, &answer, err);
    if (r < 0)
        return r;
    *ret_status = json_loadb(text_string(&answer), answer.length, 0, &where);
    return *ret_status ? 0 : error_set(err, -EBADMSG, "the arbiter's answer: %s", where.text);
}
