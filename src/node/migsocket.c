// SPDX-License-Identifier: Apache-2.0
#include "node/migsocket.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "gpu/migrequest.h"
#include "proc/listener.h"
#include "proc/peer.h"

enum { MAX_PEERS = 16, TOLD_SIZE = 1024 };

struct migsocket {
    struct migsocket_setup setup;
    struct listener *listener;
    struct channel *asker; /* waits for the end; NULL: nobody does */
    uint32_t id;           /* of its request */
    char told[TOLD_SIZE];
};

static void answer(struct channel *channel, uint32_t id, enum migrequest_answer kind,
                   const char *sentence)
{
    (void)channel_answer(channel, id, (uint16_t)kind, sentence, strlen(sentence));
}

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    struct migsocket *socket = userdata;
    struct error err = ERROR_INIT;

    if (kind != MIGREQUEST_APPLY) {
        answer(channel, id, MIGREQUEST_FAILED,
               "the agent does not know this request; it may be of another version");
        return;
    }
    if (socket->asker) {
        answer(channel, id, MIGREQUEST_FAILED,
               "nothing was changed: another gpuslice mig apply is at work");
        return;
    }
    socket->asker = channel;
    socket->id = id;
    socket->told[0] = '\0';
    if (socket->setup.take(body, size, &err, socket->setup.userdata) < 0)
        migsocket_end(socket, false, error_text(&err));
}

/* What was asked for is made all the same: the GPUs may be halfway. */
static void on_down(struct channel *channel, void *userdata)
{
    struct migsocket *socket = userdata;

    if (socket->asker == channel)
        socket->asker = NULL;
}

void migsocket_tell(struct migsocket *socket, const char *sentence)
{
    if (!socket || !socket->asker || strncmp(socket->told, sentence, TOLD_SIZE - 1) == 0)
        return;
    snprintf(socket->told, sizeof(socket->told), "%s", sentence);
    (void)channel_notify(socket->asker, MIGREQUEST_PROGRESS, CHANNEL_KEEP_ALL, sentence,
                         strlen(sentence));
}

void migsocket_end(struct migsocket *socket, bool done, const char *sentence)
{
    if (!socket || !socket->asker)
        return;
    answer(TAKE_PTR(socket->asker), socket->id, done ? MIGREQUEST_DONE : MIGREQUEST_FAILED,
           sentence);
}

static int listen_there(struct migsocket *socket, struct error *err)
{
    const struct listener_service service = {
        .name = MIGREQUEST_SERVICE,
        .max_peers = MAX_PEERS,
        .on_request = on_request,
        .on_down = on_down,
        .userdata = socket,
    };
    char path[PATH_MAX];
    const struct listener_options options = {
        .path = path,
        .mode = 0600,
        .users = {geteuid(), 0},
        .n_users = 2,
        .channel = peer_channel_options(MIGREQUEST_ANSWER_MAX, socket->setup.deadline_ms),
    };
    int r;

    migrequest_socket(socket->setup.state_dir, path);
    r = listener_new(socket->setup.loop, &options, &socket->listener, err);
    return r < 0 ? r : listener_serve(socket->listener, &service);
}

int migsocket_new(const struct migsocket_setup *setup, struct migsocket **ret_socket,
                  struct error *err)
{
    struct migsocket *socket = calloc(1, sizeof(*socket));
    int r;

    if (!socket)
        return error_set_errno(err, -ENOMEM, "cannot serve gpuslice mig apply");
    socket->setup = *setup;
    r = listen_there(socket, err);
    if (r < 0) {
        migsocket_free(socket);
        return r;
    }
    *ret_socket = socket;
    return 0;
}

void migsocket_free(struct migsocket *socket)
{
    if (!socket)
        return;
    listener_free(socket->listener);
    free(socket);
}
