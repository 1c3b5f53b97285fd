// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc/channel.h"
#include "proc/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BODY = 1 << 16, PIECE = 61 };

/* Whole frames that came out of the stream, written again, are the stream. */
static void check_reader(const uint8_t *data, size_t size)
{
    struct proc_frame_reader reader = PROC_FRAME_READER_INIT(MAX_BODY);
    const uint8_t *frame = data;
    int r = 0;

    while (size && r == 0) {
        size_t n;
        void *space = proc_frame_reader_space(&reader, &n);

        if (!space)
            abort();
        n = n < PIECE ? n : PIECE;
        n = n < size ? n : size;
        memcpy(space, data, n);
        data += n;
        size -= n;
        r = proc_frame_reader_commit(&reader, n, NULL);
        if (r == PROC_FRAME_COMPLETE) {
            uint8_t header[PROC_FRAME_HEADER_BYTES];

            proc_frame_write_header(&reader.frame, header);
            if (memcmp(header, frame, sizeof(header)) != 0 || reader.frame.size > MAX_BODY ||
                memcmp(reader.frame.body, frame + sizeof(header), reader.frame.size) != 0)
                abort();
            frame = data;
            proc_frame_reader_next(&reader);
            r = 0;
        }
    }
    proc_frame_reader_deinit(&reader);
}

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    (void)userdata;
    if (kind % 3)
        channel_answer(channel, id, kind % 100, body, size);
}

static void on_end(struct channel *channel, enum channel_end end, const char *sentence,
                   void *userdata)
{
    (void)channel, (void)end, (void)sentence;
    *(int *)userdata = 1;
}

/* A channel whose peer sends this ends, or goes on; either way it can be freed. */
static void check_channel(const uint8_t *data, size_t size)
{
    static const struct channel_options options = {.name = "fuzz", .max_body_bytes = MAX_BODY};
    static const struct channel_callbacks callbacks = {.on_request = on_request, .on_end = on_end};
    struct channel *channel;
    uv_loop_t loop;
    int fds[2], has_ended = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || uv_loop_init(&loop) < 0 ||
        channel_new(&loop, fds[0], &options, &callbacks, &has_ended, &channel, NULL) < 0)
        abort();
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    if (size && send(fds[1], data, size, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        abort();
    for (int i = 0; i < 4 && !has_ended; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    channel_free(channel);
    close(fds[1]);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_reader(data, size);
    check_channel(data, size);
    return 0;
}
