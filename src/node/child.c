// SPDX-License-Identifier: Apache-2.0
#include "node/child.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

enum { RESTART_FIRST_MS = 100, RESTART_LAST_MS = 30000, MAX_WORDS = 6 };

struct child {
    uv_loop_t *loop;
    uv_timer_t restart;
    uv_process_t *process; /* NULL while it does not run */
    uv_pipe_t *pipe;       /* our end of the pair; NULL likewise */
    char program[PATH_MAX];
    char *words[MAX_WORDS]; /* owned: title, key, value, and from ARGUMENTS on the arguments */
    char *again;
    struct child_callbacks callbacks;
    void *userdata;
    uint64_t restart_ms;
    unsigned holders; /* the timer, and each write whose end has not been told yet */
    bool troubled; /* the program ended, or cannot be run, and said nothing since: logged already */
    bool spoken;
    bool no_more;
};

enum { TITLE, KEY, VALUE, ARGUMENTS };

struct message {
    uv_write_t request;
    struct child *child;
    char *bytes;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_pipe(struct child *child)
{
    uv_pipe_t *pipe = TAKE_PTR(child->pipe);

    if (pipe)
        uv_close((uv_handle_t *)pipe, free_handle);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char bytes[16 << 10]; /* the loop is single-threaded and reads one buffer at a time */

    (void)handle, (void)suggested;
    *buffer = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct child *child = stream->data;

    if (n < 0)
        close_pipe(child);
    if (n <= 0)
        return;
    child->restart_ms = RESTART_FIRST_MS;
    child->troubled = false;
    child->spoken = true;
    if (child->callbacks.said)
        child->callbacks.said(buffer->base, (size_t)n, child->userdata);
}

static void on_restart(uv_timer_t *timer);

static void arm_restart(struct child *child)
{
    child->troubled = true;
    uv_timer_start(&child->restart, on_restart, child->restart_ms, 0);
    child->restart_ms = clock_twice_ms(child->restart_ms, RESTART_LAST_MS);
}

static void on_ended(uv_process_t *process, int64_t status, int signal)
{
    struct child *child = process->data;
    char line[128];

    uv_close((uv_handle_t *)process, free_handle);
    if (!child)
        return; /* freed meanwhile */
    child->process = NULL;
    child->spoken = false;
    close_pipe(child);
    if (!child->no_more) {
        snprintf(line, sizeof(line), "%s ended, starting it again", child->words[TITLE]);
        if (!child->troubled)
            log_error(line, "status", log_number(status), "signal", log_number(signal),
                      child->words[KEY], child->words[VALUE]);
        arm_restart(child);
    }
    if (child->callbacks.ended)
        child->callbacks.ended(child->userdata);
}

static int spawn(struct child *child, struct error *err)
{
    char *argv[MAX_WORDS + 2] = {child->program};
    uv_stdio_container_t stdio[CHILD_FD + 1] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE)},
    };
    uv_process_options_t options = {
        .file = child->program,
        .args = argv,
        .exit_cb = on_ended,
        .stdio = stdio,
        .stdio_count = CHILD_FD + 1,
    };
    size_t n = 1;
    int r;

    for (size_t i = ARGUMENTS; i < MAX_WORDS && child->words[i]; i++)
        argv[n++] = child->words[i];
    if (child->troubled)
        argv[n] = child->again;
    child->pipe = calloc(1, sizeof(*child->pipe));
    child->process = calloc(1, sizeof(*child->process));
    if (!child->pipe || !child->process) {
        free(TAKE_PTR(child->pipe));
        free(TAKE_PTR(child->process));
        return error_set_errno(err, -ENOMEM, "cannot run %s", child->program);
    }
    uv_pipe_init(child->loop, child->pipe, 0);
    child->pipe->data = child;
    stdio[CHILD_FD].data.stream = (uv_stream_t *)child->pipe;
    r = uv_spawn(child->loop, child->process, &options);
    child->process->data = child;
    if (r < 0) {
        uv_close((uv_handle_t *)TAKE_PTR(child->process), free_handle);
        close_pipe(child);
        return error_set_errno(err, r, "cannot run %s", child->program);
    }
    uv_read_start((uv_stream_t *)child->pipe, on_alloc, on_read);
    return 0;
}

static void on_restart(uv_timer_t *timer)
{
    struct child *child = timer->data;
    struct error err = ERROR_INIT;

    if (spawn(child, &err) == 0) {
        if (child->callbacks.started)
            child->callbacks.started(child->userdata);
        return;
    }
    if (!child->troubled)
        log_error(error_text(&err), child->words[KEY], child->words[VALUE]);
    arm_restart(child);
}

/* The program lies beside the one that runs now. */
static int find_program(struct child *child, const char *name, struct error *err)
{
    ssize_t n = readlink("/proc/self/exe", child->program, sizeof(child->program) - 1);
    size_t size = strlen(name) + 1;
    char *slash;

    if (n < 0)
        return error_set_errno(err, -errno, "cannot find our own program");
    child->program[n] = '\0';
    slash = strrchr(child->program, '/');
    if (!slash || (size_t)(slash + 1 - child->program) + size > sizeof(child->program))
        return error_set(err, -ENAMETOOLONG, "the path of our own program is too long");
    memcpy(slash + 1, name, size);
    return 0;
}

static int copy_words(struct child *child, const struct child_options *options)
{
    const char *const words[MAX_WORDS] = {
        options->title,        options->key,          options->value,
        options->arguments[0], options->arguments[1], options->arguments[2],
    };

    for (size_t i = 0; i < MAX_WORDS; i++) {
        child->words[i] = words[i] ? strdup(words[i]) : NULL;
        if (words[i] && !child->words[i])
            return -ENOMEM;
    }
    child->again = options->again ? strdup(options->again) : NULL;
    return options->again && !child->again ? -ENOMEM : 0;
}

static void release(struct child *child)
{
    if (child->holders && --child->holders)
        return;
    for (size_t i = 0; i < MAX_WORDS; i++)
        free(child->words[i]);
    free(child->again);
    free(child);
}

static int start(struct child *child, const struct child_options *options, struct error *err)
{
    int r = find_program(child, options->program, err);

    if (r < 0)
        return r;
    r = copy_words(child, options);
    if (r == 0)
        r = uv_timer_init(child->loop, &child->restart);
    if (r < 0)
        return error_set_errno(err, r, "cannot run %s", child->program);
    child->restart.data = child;
    child->restart_ms = RESTART_FIRST_MS;
    child->holders = 1;
    uv_timer_start(&child->restart, on_restart, 0, 0); /* serving the kubelet comes first */
    return 0;
}

int child_new(uv_loop_t *loop, const struct child_options *options,
              const struct child_callbacks *callbacks, void *userdata, struct child **ret_child,
              struct error *err)
{
    struct child *child = calloc(1, sizeof(*child));
    int r;

    if (!child)
        return error_set_errno(err, -ENOMEM, "cannot run %s", options->program);
    child->loop = loop;
    child->callbacks = *callbacks;
    child->userdata = userdata;
    r = start(child, options, err);
    if (r < 0) {
        release(child);
        return r;
    }
    *ret_child = child;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void child_free(struct child *child)
{
    if (!child)
        return;
    child->callbacks = (struct child_callbacks){.started = NULL};
    close_pipe(child); /* the program ends when its end of the pair does */
    if (child->process) {
        uv_process_kill(child->process,
                        SIGKILL); /* whatever it is stuck in: the loop waits for it */
        child->process->data = NULL;
    }
    uv_close((uv_handle_t *)&child->restart, on_timer_closed);
}

bool child_is_open(const struct child *child)
{
    return child->pipe != NULL;
}

bool child_has_spoken(const struct child *child)
{
    return child->spoken;
}

static void on_written(uv_write_t *request, int status)
{
    struct message *message = request->data;
    struct child *child = message->child;

    free(message->bytes);
    free(message);
    if (child->callbacks.written)
        child->callbacks.written(status, child->userdata);
    release(child);
}

int child_write(struct child *child, char *bytes, size_t n)
{
    struct message *message = calloc(1, sizeof(*message));
    const uv_buf_t buffer = uv_buf_init(bytes, (unsigned)n);
    int r = message ? -EPIPE : -ENOMEM;

    if (message && child->pipe) {
        *message = (struct message){.child = child, .bytes = bytes};
        message->request.data = message;
        r = uv_write(&message->request, (uv_stream_t *)child->pipe, &buffer, 1, on_written);
    }
    if (r < 0) {
        free(bytes);
        free(message);
        return r;
    }
    child->holders++;
    return 0;
}

void child_let_end(struct child *child)
{
    child->no_more = true;
    uv_timer_stop(&child->restart);
}
