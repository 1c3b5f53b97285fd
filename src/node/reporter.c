// SPDX-License-Identifier: Apache-2.0
#include "node/reporter.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "node/address.h"

enum { RESTART_FIRST_MS = 100, RESTART_LAST_MS = 30000 };

struct reporter {
    uv_loop_t *loop;
    uv_timer_t restart;
    uv_process_t *process; /* NULL while it does not run */
    uv_pipe_t *pipe;       /* our end of the pair; NULL likewise */
    char *address;
    char program[PATH_MAX];
    reporter_answer_fn *answer;
    void *userdata;
    unsigned restart_ms;
    bool troubled; /* the program ended, or cannot be run, and did not serve since: said already */
};

struct answer {
    uv_write_t request;
    struct report_header header;
    char *body;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_pipe(struct reporter *reporter)
{
    uv_pipe_t *pipe = TAKE_PTR(reporter->pipe);

    if (pipe)
        uv_close((uv_handle_t *)pipe, free_handle);
}

static void on_written(uv_write_t *request, int status)
{
    struct answer *answer = request->data;

    (void)status; /* a program that went away is started again by on_ended */
    free(answer->body);
    free(answer);
}

static void answer_question(struct reporter *reporter, char question)
{
    cleanup_text struct text body = TEXT_INIT;
    struct answer *answer = calloc(1, sizeof(*answer));
    uv_buf_t buffers[2];

    if (!answer)
        return;
    answer->header.http_status = reporter->answer(question, &body, reporter->userdata);
    answer->header.size = (uint32_t)body.length;
    answer->body = text_take(&body);
    if (!answer->body)
        answer->header = (struct report_header){.http_status = 500};
    answer->request.data = answer;
    buffers[0] = uv_buf_init((char *)&answer->header, sizeof(answer->header));
    buffers[1] = uv_buf_init(answer->body, answer->header.size);
    if (uv_write(&answer->request, (uv_stream_t *)reporter->pipe, buffers, 2, on_written) < 0)
        on_written(&answer->request, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char questions[16]; /* the loop is single-threaded and reads one buffer at a time */

    (void)handle, (void)suggested;
    *buffer = uv_buf_init(questions, sizeof(questions));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct reporter *reporter = stream->data;

    if (n < 0)
        close_pipe(reporter);
    if (n > 0) { /* it serves */
        reporter->restart_ms = RESTART_FIRST_MS;
        reporter->troubled = false;
    }
    for (ssize_t i = 0; i < n && reporter->pipe; i++)
        answer_question(reporter, buffer->base[i]);
}

static void on_restart(uv_timer_t *timer);

static void arm_restart(struct reporter *reporter)
{
    reporter->troubled = true;
    uv_timer_start(&reporter->restart, on_restart, reporter->restart_ms, 0);
    if (reporter->restart_ms < RESTART_LAST_MS)
        reporter->restart_ms *= 2;
}

static void on_ended(uv_process_t *process, int64_t status, int signal)
{
    struct reporter *reporter = process->data;

    uv_close((uv_handle_t *)process, free_handle);
    if (!reporter)
        return; /* freed meanwhile */
    reporter->process = NULL;
    close_pipe(reporter);
    if (!reporter->troubled)
        log_error("the HTTP program ended, starting it again", "address", reporter->address,
                  "status", log_number(status), "signal", log_number(signal));
    arm_restart(reporter);
}

static int spawn(struct reporter *reporter, struct error *err)
{
    char *argv[] = {reporter->program, reporter->address,
                    reporter->troubled ? (char *)(uintptr_t)REPORT_AGAIN : NULL, NULL};
    uv_stdio_container_t stdio[REPORT_FD + 1] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE)},
    };
    uv_process_options_t options = {
        .file = reporter->program,
        .args = argv,
        .exit_cb = on_ended,
        .stdio = stdio,
        .stdio_count = REPORT_FD + 1,
    };
    int r;

    reporter->pipe = calloc(1, sizeof(*reporter->pipe));
    reporter->process = calloc(1, sizeof(*reporter->process));
    if (!reporter->pipe || !reporter->process) {
        free(TAKE_PTR(reporter->pipe));
        free(TAKE_PTR(reporter->process));
        return error_set_errno(err, -ENOMEM, "cannot run %s", reporter->program);
    }
    uv_pipe_init(reporter->loop, reporter->pipe, 0);
    reporter->pipe->data = reporter;
    stdio[REPORT_FD].data.stream = (uv_stream_t *)reporter->pipe;
    r = uv_spawn(reporter->loop, reporter->process, &options);
    reporter->process->data = reporter;
    if (r < 0) {
        uv_close((uv_handle_t *)TAKE_PTR(reporter->process), free_handle);
        close_pipe(reporter);
        return error_set_errno(err, r, "cannot run %s", reporter->program);
    }
    uv_read_start((uv_stream_t *)reporter->pipe, on_alloc, on_read);
    return 0;
}

static void on_restart(uv_timer_t *timer)
{
    struct reporter *reporter = timer->data;
    struct error err = ERROR_INIT;

    if (spawn(reporter, &err) < 0) {
        if (!reporter->troubled)
            log_error(error_text(&err), "address", reporter->address);
        arm_restart(reporter);
    }
}

/* gpuslice-http lies beside the program that runs now. */
static int find_program(struct reporter *reporter, struct error *err)
{
    static const char name[] = "gpuslice-http";
    ssize_t n = readlink("/proc/self/exe", reporter->program, sizeof(reporter->program) - 1);
    char *slash;

    if (n < 0)
        return error_set_errno(err, -errno, "cannot find our own program");
    reporter->program[n] = '\0';
    slash = strrchr(reporter->program, '/');
    if (!slash ||
        (size_t)(slash + 1 - reporter->program) + sizeof(name) > sizeof(reporter->program))
        return error_set(err, -ENAMETOOLONG, "the path of our own program is too long");
    memcpy(slash + 1, name, sizeof(name));
    return 0;
}

int reporter_new(uv_loop_t *loop, const char *address, reporter_answer_fn *answer, void *userdata,
                 struct reporter **ret_reporter, struct error *err)
{
    cleanup_free struct reporter *reporter = calloc(1, sizeof(*reporter));
    cleanup_free char *copy = strdup(address);
    char host[256];
    uint16_t port;
    int r = address_parse(address, host, sizeof(host), &port, err);

    if (r < 0)
        return r;
    if (!reporter || !copy)
        return error_set_errno(err, -ENOMEM, "cannot serve %s", address);
    r = find_program(reporter, err);
    if (r < 0)
        return r;
    reporter->loop = loop;
    reporter->answer = answer;
    reporter->userdata = userdata;
    reporter->restart_ms = RESTART_FIRST_MS;
    r = uv_timer_init(loop, &reporter->restart);
    if (r < 0)
        return error_set_errno(err, r, "cannot serve %s", address);
    reporter->restart.data = reporter;
    reporter->address = TAKE_PTR(copy);
    uv_timer_start(&reporter->restart, on_restart, 0, 0); /* serving the kubelet comes first */
    *ret_reporter = TAKE_PTR(reporter);
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct reporter *reporter = handle->data;

    free(reporter->address);
    free(reporter);
}

void reporter_free(struct reporter *reporter)
{
    if (!reporter)
        return;
    close_pipe(reporter); /* the program ends when its end of the pair does */
    if (reporter->process) {
        uv_process_kill(reporter->process, SIGTERM);
        reporter->process->data = NULL;
    }
    uv_close((uv_handle_t *)&reporter->restart, on_timer_closed);
}
