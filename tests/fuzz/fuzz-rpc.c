// SPDX-License-Identifier: Apache-2.0

/*
 * Possible input to our gRPC server. First byte, odd: the rest follows a valid HTTP/2 preface and
 * one open watch; even: the rest is the whole connection.
 */

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/array.h"
#include "rpc/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TURNS = 6 };

static unsigned held;

static void on_gone(struct rpc_call *call, void *data)
{
    (void)call;
    (void)data;
    held--;
}

static void echo(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    (void)userdata;
    rpc_call_reply(call, request, size);
}

static void watch(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    (void)userdata;
    held++;
    rpc_call_keep(call, NULL, on_gone);
    rpc_call_send(call, request, size);
    rpc_call_send(call, "newest", 6);
}

static void refuse(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    (void)request;
    (void)size;
    (void)userdata;
    rpc_call_finish(call, RPC_INVALID_ARGUMENT, "no\n\xff%");
}

static const struct rpc_method methods[] = {{"/a/E", echo}, {"/a/W", watch}, {"/a/R", refuse}};

/* Preface, SETTINGS, and stream 1: POST, http, /a/W, application/grpc, with an empty message. */
static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                               "\0\0\0\4\0\0\0\0\0"
                               "\0\0\x1b\1\4\0\0\0\1"
                               "\x83\x86\4\4/a/W\x0f\x10\x10"
                               "application/grpc"
                               "\0\0\5\0\1\0\0\0\1"
                               "\0\0\0\0\0";

static void turn(uv_loop_t *loop)
{
    for (int i = 0; i < TURNS; i++)
        uv_run(loop, UV_RUN_NOWAIT);
}

static struct sockaddr_un address;

static void remove_socket(void)
{
    unlink(address.sun_path);
}

static void serve(uv_loop_t *loop)
{
    static struct rpc_server *server;
    struct rpc_limits limits = RPC_LIMITS_DEFAULT;

    limits.message_bytes = 1 << 16;
    limits.streams = 16;
    uv_loop_init(loop);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/gpuslice-fuzz-rpc-%d.sock",
             (int)getpid());
    assert(rpc_server_new(loop, address.sun_path,
                          &(struct rpc_service){.methods = methods,
                                                .n_methods = ARRAY_SIZE(methods),
                                                .limits = &limits},
                          &server, NULL) == 0);
    atexit(remove_socket);
}

static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert(fd >= 0);
    assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

static void drain(int fd)
{
    uint8_t buffer[4096];

    while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uv_loop_t loop;
    int fd;

    if (size == 0)
        return 0;
    if (address.sun_family == 0)
        serve(&loop);
    fd = dial();
    if (data[0] & 1)
        (void)!send(fd, greeting, sizeof(greeting) - 1, MSG_NOSIGNAL);
    (void)!send(fd, data + 1, size - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    turn(&loop);
    drain(fd);
    turn(&loop);
    close(fd);
    turn(&loop);
    assert(held == 0);
    return 0;
}
