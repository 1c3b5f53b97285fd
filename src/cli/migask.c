// SPDX-License-Identifier: Apache-2.0
#include "cli/migask.h"

#include <errno.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/verb.h"
#include "gpu/migrequest.h"
#include "proc/blocking.h"
#include "proc/connector.h"

/* A sentence of the agent. Bodies are ended by NUL. */
static const char *sentence_of(const struct proc_frame *frame)
{
    return frame->size ? frame->body : "";
}

static int ended(bool was_taken, struct error *err)
{
    return was_taken
               ? error_set(err, -EPIPE,
                           "the agent ended before the layout was in force; the one that follows "
                           "goes on with it ('gpuslice mig assert' says when it is there)")
               : error_set(err, -EPIPE,
                           "the agent closed the connection without an answer: it has ended, or "
                           "does not serve this user");
}

static int listen_to(struct blocking_channel *channel, struct error *err)
{
    bool was_taken = false;

    for (;;) {
        struct error news = ERROR_INIT;
        struct proc_frame frame;
        int r = blocking_receive(channel, UINT64_MAX, &frame, err);

        if (r == -ENODATA || r == -EPIPE)
            return ended(was_taken, err);
        if (r < 0)
            return error_wrap(err, r, "cannot receive from the agent");
        if (frame.type == PROC_FRAME_NOTICE && frame.kind == MIGREQUEST_PROGRESS) {
            error_set(&news, -EINPROGRESS, "%s", sentence_of(&frame));
            complain("%s", error_text(&news));
            was_taken = true;
        }
        if (frame.type != PROC_FRAME_ANSWER)
            continue;
        return frame.kind == MIGREQUEST_DONE
                   ? 0
                   : error_set(err, -ECANCELED, "%s", sentence_of(&frame));
    }
}

static int send_request(struct blocking_channel *channel, const struct migchoice *choice,
                        bool mode_only, struct error *err)
{
    const struct migrequest request = {.mode_only = mode_only,
                                       .label = choice->name,
                                       .key = choice->source.key ? choice->source.key : "",
                                       .file = choice->source.data,
                                       .size = choice->source.size};
    cleanup_text struct text body = TEXT_INIT;
    int r = migrequest_write(&request, &body, err);

    if (r < 0)
        return r;
    r = blocking_hello(channel, MIGREQUEST_SERVICE);
    if (r == 0)
        r = blocking_send(channel, &(struct proc_frame){.type = PROC_FRAME_REQUEST,
                                                        .kind = MIGREQUEST_APPLY,
                                                        .id = 1,
                                                        .body = body.data,
                                                        .size = body.length});
    /* It may have answered before it closed. */
    return r == -EPIPE || r == 0 ? 0 : error_set_errno(err, r, "cannot ask the agent");
}

int migask(const char *state_dir, const struct migchoice *choice, bool mode_only, struct error *err)
{
    cleanup_close int fd = -1;
    struct blocking_channel channel;
    char path[PATH_MAX];
    int r;

    migrequest_socket(state_dir, path);
    fd = connector_open(path, err);
    if (fd < 0)
        return MIGASK_NOBODY;
    blocking_init(&channel, fd, MIGREQUEST_ANSWER_MAX);
    r = send_request(&channel, choice, mode_only, err);
    if (r == 0)
        r = listen_to(&channel, err);
    blocking_deinit(&channel);
    return r;
}
