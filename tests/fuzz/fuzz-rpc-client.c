// SPDX-License-Identifier: Apache-2.0

/*
 * Possible responses to our gRPC client, which has a unary call (stream 1) and a watch (stream 3)
 * open. First byte, odd: the rest follows the server's SETTINGS; even: it is the whole connection.
 */

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TURNS = 6 };

static struct sockaddr_un address;

static void on_message(struct rpc_request *request, const void *message, size_t size,
                       void *userdata)
{
    assert(message);
    if (size == 3)
        rpc_request_cancel(request);
}

static void on_done(struct rpc_request *request, enum rpc_status status, const char *text,
                    const void *message, size_t size, void *userdata)
{
    unsigned *done = userdata;

    assert(text);
    (*done)++;
}

static void remove_socket(void)
{
    unlink(address.sun_path);
}

static int listen_somewhere(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/gpuslice-fuzz-client-%d.sock",
             (int)getpid());
    unlink(address.sun_path);
    assert(bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    assert(listen(fd, 8) == 0);
    atexit(remove_socket);
    return fd;
}

static void turn(uv_loop_t *loop)
{
    for (int i = 0; i < TURNS; i++)
        uv_run(loop, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    static int listener = -1;
    static uv_loop_t loop;
    struct rpc_client *client;
    unsigned unary_done = 0, watch_done = 0;
    int fd;

    if (size == 0)
        return 0;
    if (listener < 0) {
        uv_loop_init(&loop);
        listener = listen_somewhere();
    }
    assert(rpc_client_new(&loop, address.sun_path, &client, NULL) == 0);
    fd = accept(listener, NULL, NULL);
    assert(fd >= 0);
    assert(rpc_client_call(client,
                           &(struct rpc_invocation){.method = "/a/U",
                                                    .message = "x",
                                                    .size = 1,
                                                    .on_done = on_done,
                                                    .userdata = &unary_done},
                           NULL, NULL) == 0);
    assert(rpc_client_call(client,
                           &(struct rpc_invocation){.method = "/a/W",
                                                    .message = "x",
                                                    .size = 1,
                                                    .deadline_ms = 60000,
                                                    .on_message = on_message,
                                                    .on_done = on_done,
                                                    .userdata = &watch_done},
                           NULL, NULL) == 0);
    turn(&loop);
    if (data[0] & 1)
        (void)!send(fd, settings, sizeof(settings) - 1, MSG_NOSIGNAL);
    (void)!send(fd, data + 1, size - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    turn(&loop);
    close(fd);
    turn(&loop);
    assert(unary_done == 1 && watch_done <= 1);
    assert(!rpc_client_is_usable(client));
    rpc_client_free(client);
    turn(&loop);
    return 0;
}
