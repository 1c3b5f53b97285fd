// SPDX-License-Identifier: Apache-2.0
#include "node/hostreboot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "node/busmessage.h"
#include "proc/connector.h"
#include "proc/role.h"

/* --- the conversation --- */

static const struct bus_call hello = {.destination = "org.freedesktop.DBus",
                                      .path = "/org/freedesktop/DBus",
                                      .interface = "org.freedesktop.DBus",
                                      .member = "Hello"};

/* The first that there is on this host. logind lets services end in order; so does reboot.target,
 * where systemd's own Reboot would not. */
static const struct bus_call ways[] = {
    {.destination = "org.freedesktop.login1",
     .path = "/org/freedesktop/login1",
     .interface = "org.freedesktop.login1.Manager",
     .member = "Reboot",
     .has_false = true}, /* nobody is there to be asked for a password */
    {.destination = "org.freedesktop.systemd1",
     .path = "/org/freedesktop/systemd1",
     .interface = "org.freedesktop.systemd1.Manager",
     .member = "StartUnit",
     .arguments = {"reboot.target", "replace-irreversibly"}},
};

/* Outcome of answered. */
enum { NO_SUCH_SERVICE = 1 };

static int receive(int fd, uint8_t *data, size_t size, struct error *err)
{
    for (size_t at = 0; at < size;) {
        const ssize_t n = read(fd, data + at, size - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, -errno, "the bus does not answer");
        if (n == 0)
            return error_set(err, -ECONNRESET, "the bus closed the connection");
        at += (size_t)n;
    }
    return 0;
}

/* Its answers are lines; only "OK ..." lets us in. */
static int authenticate(int fd, struct error *err)
{
    cleanup_text struct text text = TEXT_INIT;
    char id[16], line[128];
    size_t n = 0;
    int r;

    snprintf(id, sizeof(id), "%u", geteuid());
    text_add_bytes(&text, "", 1);
    text_add(&text, "AUTH EXTERNAL ");
    for (const char *c = id; *c; c++)
        text_addf(&text, "%02x", (unsigned)*c);
    text_add(&text, "\r\n");
    r = text_failed(&text) ? -ENOMEM : file_write_all(fd, text_string(&text), text.length);
    if (r < 0)
        return error_set_errno(err, r, "cannot write to the bus");
    do {
        r = receive(fd, (uint8_t *)&line[n], 1, err);
        if (r < 0)
            return r;
    } while (line[n++] != '\n' && n < sizeof(line) - 1);
    line[n] = '\0';
    if (!str_starts_with(line, "OK "))
        return error_set(err, -EACCES, "the bus does not let us in: %.*s",
                         (int)strcspn(line, "\r\n"), line);
    r = file_write_all(fd, "BEGIN\r\n", 7);
    return r < 0 ? error_set_errno(err, r, "cannot write to the bus") : 0;
}

/* The answer to the call with that serial; what else arrives is passed over. */
static int await(int fd, uint32_t serial, struct bus_reply *ret_reply, struct error *err)
{
    uint8_t data[BUSMESSAGE_MAX];
    size_t size;
    int r;

    do {
        r = receive(fd, data, BUSMESSAGE_HEAD, err);
        if (r == 0)
            r = busmessage_size(data, &size, err);
        if (r == 0)
            r = receive(fd, data + BUSMESSAGE_HEAD, size - BUSMESSAGE_HEAD, err);
        if (r == 0)
            r = busmessage_read(data, size, ret_reply, err);
    } while (r == 0 && (ret_reply->kind == BUS_OTHER || ret_reply->reply_to != serial));
    return r;
}

static int refusal(const struct bus_call *call, const struct bus_reply *reply, struct error *err)
{
    static const char *const absent[] = {"org.freedesktop.DBus.Error.ServiceUnknown",
                                         "org.freedesktop.DBus.Error.NameHasNoOwner",
                                         "org.freedesktop.systemd1.NoSuchUnit"};

    error_set(err, -EACCES, "%s.%s: %s: %s", call->interface, call->member, reply->error,
              reply->text);
    for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
        if (str_equal(reply->error, absent[i]))
            return NO_SUCH_SERVICE;
    return -EACCES;
}

/* 0, NO_SUCH_SERVICE or a negative errno; err has a sentence for both. */
static int make_call(int fd, const struct bus_call *call, uint32_t serial, struct error *err)
{
    cleanup_text struct text text = TEXT_INIT;
    struct bus_reply reply = {.kind = BUS_OTHER};
    int r;

    busmessage_add_call(call, serial, &text);
    r = text_failed(&text) ? -ENOMEM : file_write_all(fd, text_string(&text), text.length);
    if (r < 0)
        return error_set_errno(err, r, "cannot write to the bus");
    r = await(fd, serial, &reply, err);
    if (r < 0)
        return r;
    return reply.kind == BUS_ERROR ? refusal(call, &reply, err) : 0;
}

static int ask(const char *socket, struct error *err)
{
    const struct timeval patience = {.tv_sec = HOSTREBOOT_DEADLINE_S};
    cleanup_close int fd = connector_open(socket, err);
    int r = fd;

    if (r < 0)
        return r;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    r = authenticate(fd, err);
    if (r == 0)
        r = make_call(fd, &hello, 1, err);
    for (uint32_t i = 0; r == 0 && i < ARRAY_SIZE(ways); i++) {
        const int answer = make_call(fd, &ways[i], 2 + i, err);

        if (answer != NO_SUCH_SERVICE)
            return answer;
    }
    return r < 0 ? r : -ENOENT;
}

int hostreboot_main(const char *socket)
{
    struct error err = ERROR_INIT;
    int r;

    alarm(2 * HOSTREBOOT_DEADLINE_S); /* a bus that sends one byte now and then */
    r = role_enter(ROLE_REBOOT, &err);
    if (r >= 0)
        r = ask(socket, &err);
    if (r < 0)
        puts(error_text(&err));
    return r < 0;
}

/* --- the process, for the agent --- */

struct hostreboot {
    uv_process_t process;
    uv_pipe_t output;
    hostreboot_done_fn *done; /* NULL = it was freed */
    void *userdata;
    char sentence[512];
    size_t length;
    unsigned n_open; /* handles */
    bool has_ended;
    int64_t status;
};

static void on_closed(uv_handle_t *handle)
{
    struct hostreboot *h = handle->data;

    if (--h->n_open == 0)
        free(h);
}

/* Both its end and all that it wrote are there. */
static void finish(struct hostreboot *h)
{
    hostreboot_done_fn *done = h->done;

    if (!done || !h->has_ended || uv_is_active((uv_handle_t *)&h->output))
        return;
    h->sentence[h->length] = '\0';
    str_make_line(h->sentence);
    h->done = NULL;
    if (h->status == 0)
        done(0, "", h->userdata);
    else
        done(-EIO, *h->sentence ? h->sentence : "the process that asks for it ended early",
             h->userdata);
}

static void on_process_end(uv_process_t *process, int64_t status, int signal)
{
    struct hostreboot *h = process->data;

    h->has_ended = true;
    h->status = signal ? 128 + signal : status;
    finish(h);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct hostreboot *h = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(h->sentence + h->length, (unsigned)(sizeof(h->sentence) - 1 - h->length));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct hostreboot *h = stream->data;

    (void)buffer;
    if (n > 0)
        h->length += (size_t)n;
    if (n >= 0)
        return;
    uv_read_stop(stream); /* the end, or no room for more */
    finish(h);
}

int hostreboot_start(uv_loop_t *loop, const char *socket, hostreboot_done_fn *done, void *userdata,
                     struct hostreboot **ret_hostreboot)
{
    char *arguments[] = {(char *)"gpuslice-node", (char *)"--part=reboot",
                         (char *)(uintptr_t)socket, NULL};
    struct hostreboot *h = calloc(1, sizeof(*h));
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
    const uv_process_options_t options = {.file = "/proc/self/exe",
                                          .args = arguments,
                                          .exit_cb = on_process_end,
                                          .stdio = stdio,
                                          .stdio_count = 3};
    int r;

    if (!h)
        return -ENOMEM;
    h->done = done;
    h->userdata = userdata;
    h->process.data = h->output.data = h;
    h->n_open = 2;
    uv_pipe_init(loop, &h->output, 0);
    stdio[1] = (uv_stdio_container_t){.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
                                      .data.stream = (uv_stream_t *)&h->output};
    r = uv_spawn(loop, &h->process, &options);
    if (r == 0)
        r = uv_read_start((uv_stream_t *)&h->output, on_alloc, on_read);
    if (r < 0) {
        hostreboot_free(h);
        return r;
    }
    *ret_hostreboot = h;
    return 0;
}

void hostreboot_free(struct hostreboot *h)
{
    if (!h)
        return;
    h->done = NULL;
    if (uv_is_active((uv_handle_t *)&h->process))
        uv_process_kill(&h->process, SIGKILL);
    uv_close((uv_handle_t *)&h->output, on_closed);
    uv_close((uv_handle_t *)&h->process, on_closed);
}
