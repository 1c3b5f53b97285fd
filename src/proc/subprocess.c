// SPDX-License-Identifier: Apache-2.0
#include "proc/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 30000,
    STEADY_MS = 10000,
    N_STDIO = SUBPROCESS_FD + 1 + SUBPROCESS_MAX_FDS,
};

/* How a process is ended: each step has its time before the next one. */
enum step { STEP_NONE, STEP_WAIT, STEP_TERM, STEP_KILL, STEP_STUCK };

static const struct {
    int signal; /* 0 = none */
    uint64_t wait_ms;
} steps[] = {
    [STEP_WAIT] = {0, 1000}, /* most processes close their end by ending */
    [STEP_TERM] = {SIGTERM, 1000},
    [STEP_KILL] = {SIGKILL, 2000},
};

/* One process; lives until its handles have been closed. */
struct run {
    struct subprocess *owner; /* NULL: nobody is interested any more */
    struct run *next_stuck;
    uv_process_t process;
    uv_timer_t timer;
    struct channel *channel;
    uint64_t started_ms;
    enum step step;
    bool was_step_over; /* its time is over, and once more events were taken */
    bool said_hello;
    bool is_up; /* on_up was called, on_down not yet */
    bool was_killed;
    bool has_process; /* libuv knows the handle */
    bool has_ended;   /* reaped: the process id may be somebody else's */
    unsigned n_open_handles;
    char trouble[256]; /* why its channel ended; "" = it did not, or in good order */
};

struct subprocess {
    uv_loop_t *loop;
    uv_timer_t restart;
    struct subprocess_options options;
    struct subprocess_callbacks callbacks;
    void *userdata;
    char *texts[4]; /* what the options point to; owned */
    char program[PATH_MAX];
    struct run *run;   /* NULL while none runs */
    struct run *stuck; /* a list of those left behind */
    unsigned n_stuck;
    uint64_t backoff_ms;
    struct lograte logged; /* why the last process is gone, until the next one says hello */
    bool is_last;          /* none is started any more */
    bool is_freed;
};

/* -- the log --------------------------------------------------------------------------------- */

/* Each end that follows a hello is logged: the back-off limits how many there are. */
static void log_trouble(struct subprocess *subprocess, const char *sentence)
{
    const struct subprocess_options *options = &subprocess->options;
    char line[512];

    if (!options->title || !lograte_change(&subprocess->logged, sentence))
        return;
    snprintf(line, sizeof(line), "%s %s; starting it again", options->title, sentence);
    log_event(LOG_ERROR, line, options->key, options->value, NULL);
}

/* -- one process ----------------------------------------------------------------------------- */

static void on_run_handle_closed(uv_handle_t *handle)
{
    struct run *run = handle->data;

    if (--run->n_open_handles == 0)
        free(run);
}

static void close_channel(struct run *run)
{
    struct subprocess *owner = run->owner;
    const bool was_up = run->is_up;

    run->is_up = false;
    if (was_up && owner && owner->callbacks.on_down)
        owner->callbacks.on_down(run->channel, owner->userdata);
    channel_free(TAKE_PTR(run->channel));
}

static void free_run(struct run *run)
{
    run->owner = NULL;
    close_channel(run);
    uv_close((uv_handle_t *)&run->timer, on_run_handle_closed);
    if (run->has_process)
        uv_close((uv_handle_t *)&run->process, on_run_handle_closed);
}

static void on_restart(uv_timer_t *timer);

static void schedule_restart(struct subprocess *subprocess, uint64_t at_least_ms)
{
    const uint64_t wait_ms =
        subprocess->backoff_ms > at_least_ms ? subprocess->backoff_ms : at_least_ms;

    if (subprocess->is_last || subprocess->is_freed)
        return;
    subprocess->backoff_ms =
        clock_twice_ms(subprocess->backoff_ms, subprocess->options.backoff_last_ms);
    uv_timer_start(&subprocess->restart, on_restart, wait_ms, 0);
}

static void report_end(struct subprocess *subprocess, const struct subprocess_end *end)
{
    if (subprocess->callbacks.on_ended)
        subprocess->callbacks.on_ended(end, subprocess->userdata);
}

static bool was_steady(const struct run *run)
{
    return run->said_hello && clock_now_ms() - run->started_ms >= run->owner->options.steady_ms;
}

static void leave_behind(struct run *run)
{
    struct subprocess *owner = run->owner;
    const struct subprocess_end end = {
        .sentence = "cannot be killed: it hangs in the kernel and is left behind",
        .was_killed = run->was_killed,
        .is_stuck = true,
    };

    /* It may exit late, or never: do not keep the loop alive for it. */
    uv_unref((uv_handle_t *)&run->process);
    if (!owner) {
        free_run(run);
        return;
    }
    run->next_stuck = owner->stuck;
    owner->stuck = run;
    owner->n_stuck++;
    owner->run = NULL;
    schedule_restart(owner, owner->options.backoff_last_ms);
    log_trouble(owner, end.sentence);
    report_end(owner, &end);
}

static void on_step_over(uv_timer_t *timer);

/* Goes on from this step, unless a later one is being made. */
static void end_process(struct run *run, enum step step)
{
    if (run->has_ended || run->step >= step)
        return;
    run->step = step;
    run->was_step_over = false;
    if (step == STEP_STUCK) {
        leave_behind(run);
        return;
    }
    if (steps[step].signal)
        uv_process_kill(&run->process, steps[step].signal);
    uv_timer_start(&run->timer, on_step_over, steps[step].wait_ms, 0);
}

static void on_step_over(uv_timer_t *timer)
{
    struct run *run = timer->data;

    /* A loop that is late runs its timers before it learns that the process ended in time. */
    if (!run->was_step_over) {
        run->was_step_over = true;
        uv_timer_start(timer, on_step_over, 1, 0);
        return;
    }
    if (run->step == STEP_WAIT && run->owner)
        log_trouble(run->owner, run->trouble);
    end_process(run, run->step + 1);
}

static void unlink_stuck(struct run *run)
{
    struct run **link = &run->owner->stuck;

    while (*link != run)
        link = &(*link)->next_stuck;
    *link = run->next_stuck;
    run->owner->n_stuck--;
}

/* It ended, or could not be started. The owner may free the subprocess here. */
static void take_end(struct subprocess *subprocess, struct run *run, const char *sentence)
{
    const struct subprocess_end end = {
        .sentence = sentence, .was_steady = was_steady(run), .was_killed = run->was_killed};

    if (end.was_steady)
        subprocess->backoff_ms = subprocess->options.backoff_first_ms;
    subprocess->run = NULL;
    if (!subprocess->is_last)
        log_trouble(subprocess, sentence);
    schedule_restart(subprocess, 0);
    close_channel(run);
    if (!subprocess->is_freed)
        report_end(subprocess, &end);
}

static void on_exit_seen(uv_process_t *process, int64_t status, int signal_number)
{
    struct run *run = process->data;
    char sentence[320];

    run->has_ended = true;
    if (run->owner && run->step == STEP_STUCK) {
        unlink_stuck(run);
        run->owner = NULL;
    }
    if (run->owner && run->channel)
        channel_receive_last(run->channel); /* after which the owner may be gone */
    if (run->owner) {
        if (run->step > STEP_WAIT && *run->trouble)
            snprintf(sentence, sizeof(sentence), "%s", run->trouble);
        else
            snprintf(sentence, sizeof(sentence), "ended with %s %d",
                     signal_number ? "signal" : "status",
                     signal_number ? signal_number : (int)status);
        take_end(run->owner, run, sentence);
    }
    free_run(run);
}

/* -- its channel ----------------------------------------------------------------------------- */

static void on_hello(struct channel *channel, const char *name, void *userdata)
{
    struct run *run = userdata;
    const struct subprocess_callbacks *callbacks = &run->owner->callbacks;

    if (run->is_up && callbacks->on_down) /* it executed itself again */
        callbacks->on_down(channel, run->owner->userdata);
    run->said_hello = true;
    if (run->owner)
        lograte_end(&run->owner->logged); /* whatever comes next is news */
    run->is_up = run->owner != NULL;
    if (run->is_up && callbacks->on_up)
        callbacks->on_up(channel, name, run->owner->userdata);
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    const struct run *run = userdata;

    run->owner->callbacks.on_notice(channel, kind, body, size, run->owner->userdata);
}

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    const struct run *run = userdata;

    run->owner->callbacks.on_request(channel, id, kind, body, size, run->owner->userdata);
}

static void on_drain(struct channel *channel, void *userdata)
{
    const struct run *run = userdata;

    run->owner->callbacks.on_drain(channel, run->owner->userdata);
}

static void on_channel_end(struct channel *channel, enum channel_end end, const char *sentence,
                           void *userdata)
{
    struct run *run = userdata;
    const bool is_eof = end == CHANNEL_EOF;

    (void)channel;
    snprintf(run->trouble, sizeof(run->trouble), "is ended: %s",
             is_eof ? "it closed its end of the channel and goes on" : sentence);
    if (!is_eof)
        log_trouble(run->owner, run->trouble);
    end_process(run, is_eof ? STEP_WAIT : STEP_KILL);
    close_channel(run);
}

static bool is_busy(void *userdata)
{
    const struct run *run = userdata;

    return run->owner->options.channel.is_busy(run->owner->userdata);
}

/* Only what the owner listens to. */
static int open_channel(struct run *run, int fd, struct error *err)
{
    const struct subprocess *owner = run->owner;
    struct channel_options options = owner->options.channel;
    const struct channel_callbacks callbacks = {
        .on_hello = on_hello,
        .on_notice = owner->callbacks.on_notice ? on_notice : NULL,
        .on_request = owner->callbacks.on_request ? on_request : NULL,
        .on_drain = owner->callbacks.on_drain ? on_drain : NULL,
        .on_end = on_channel_end,
    };

    options.is_busy = options.is_busy ? is_busy : NULL;
    return channel_new(owner->loop, fd, &options, &callbacks, run, &run->channel, err);
}

/* -- its start ------------------------------------------------------------------------------- */

/* libuv gives the program /dev/null to read, and reports a missing one as if it were the program.
 */
static int explain_failure(const char *program, int code, struct error *err)
{
    cleanup_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null < 0 && -errno == code)
        return error_set_errno(err, code, "cannot start %s: cannot open /dev/null", program);
    return error_set_errno(err, code, "cannot start %s", program);
}

static int spawn(struct run *run, const struct subprocess_start *start, int fd, struct error *err)
{
    struct subprocess *owner = run->owner;
    char *argv[SUBPROCESS_MAX_ARGUMENTS + 2] = {owner->program};
    uv_stdio_container_t stdio[N_STDIO] = {
        {.flags = UV_IGNORE},
        /* What its libraries print goes where our log goes. */
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
    };
    uv_process_options_t options = {
        .file = owner->program,
        .args = argv,
        .exit_cb = on_exit_seen,
        .stdio = stdio,
        .stdio_count = SUBPROCESS_FD + 1 + (int)start->n_fds,
    };
    int r;

    for (size_t i = 0; i < SUBPROCESS_MAX_ARGUMENTS && start->arguments[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)start->arguments[i]; /* only read */
    for (unsigned i = 0; i < start->n_fds; i++)
        stdio[SUBPROCESS_FD + 1 + i] =
            (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = start->fds[i]};
    r = uv_spawn(owner->loop, &run->process, &options);
    run->process.data = run;
    run->has_process = true; /* also after a failure */
    run->n_open_handles++;
    run->has_ended = r < 0;
    return r < 0 ? explain_failure(owner->program, r, err) : 0;
}

static int start_run(struct run *run, struct error *err)
{
    struct subprocess *owner = run->owner;
    struct subprocess_start start = {.is_retry = owner->logged.state != 0};
    cleanup_close int theirs = -1;
    int fds[2];
    int r = 0;

    if (owner->callbacks.prepare)
        r = owner->callbacks.prepare(&start, owner->userdata, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return error_set_errno(err, -errno, "cannot start %s", owner->program);
    theirs = fds[1];
    r = open_channel(run, fds[0], err);
    return r < 0 ? r : spawn(run, &start, theirs, err);
}

static int start_process(struct subprocess *subprocess, struct error *err)
{
    struct run *run = calloc(1, sizeof(*run));
    int r;

    if (!run)
        return error_set_errno(err, -ENOMEM, "cannot start %s", subprocess->program);
    run->owner = subprocess;
    run->started_ms = clock_now_ms();
    uv_timer_init(subprocess->loop, &run->timer);
    run->timer.data = run;
    run->n_open_handles = 1;
    r = start_run(run, err);
    if (r < 0) {
        free_run(run);
        return r;
    }
    subprocess->run = run;
    if (subprocess->callbacks.on_started)
        subprocess->callbacks.on_started(subprocess->userdata);
    return 0;
}

static void on_restart(uv_timer_t *timer)
{
    struct subprocess *subprocess = timer->data;
    struct error err = ERROR_INIT;
    struct subprocess_end end = {.did_not_start = true};
    char sentence[600];

    if (subprocess->n_stuck >= SUBPROCESS_MAX_STUCK) {
        schedule_restart(subprocess, subprocess->options.backoff_last_ms);
        return;
    }
    if (start_process(subprocess, &err) == 0)
        return;
    snprintf(sentence, sizeof(sentence), "does not run: %s", error_text(&err));
    log_trouble(subprocess, sentence);
    schedule_restart(subprocess, 0);
    end.sentence = error_text(&err);
    report_end(subprocess, &end);
}

int subprocess_start(struct subprocess *subprocess, struct error *err)
{
    return start_process(subprocess, err);
}

void subprocess_start_soon(struct subprocess *subprocess)
{
    uv_timer_start(&subprocess->restart, on_restart, 0, 0);
}

/* -- life ------------------------------------------------------------------------------------ */

/* A name without a slash lies beside the program that runs now. */
static int find_program(struct subprocess *subprocess, const char *name, struct error *err)
{
    char *path = subprocess->program, *slash;
    ssize_t n;

    if (strchr(name, '/')) {
        if (str_copy(path, sizeof(subprocess->program), name) < 0)
            return error_set(err, -ENAMETOOLONG, "the path of a program is too long");
        return 0;
    }
    n = readlink("/proc/self/exe", path, sizeof(subprocess->program) - 1);
    if (n < 0)
        return error_set_errno(err, -errno, "cannot find our own program");
    path[n] = '\0';
    slash = strrchr(path, '/');
    if (!slash ||
        str_copy(slash + 1, sizeof(subprocess->program) - (size_t)(slash + 1 - path), name) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of our own program is too long");
    return 0;
}

static int copy_text(char **copy, const char **text)
{
    if (!*text)
        return 0;
    *copy = strdup(*text);
    *text = *copy;
    return *copy ? 0 : -ENOMEM;
}

static int copy_options(struct subprocess *subprocess, const struct subprocess_options *options)
{
    struct subprocess_options *own = &subprocess->options;

    *own = *options;
    if (!own->backoff_first_ms)
        own->backoff_first_ms = BACKOFF_FIRST_MS;
    if (!own->backoff_last_ms)
        own->backoff_last_ms = BACKOFF_LAST_MS;
    if (!own->steady_ms)
        own->steady_ms = STEADY_MS;
    subprocess->backoff_ms = own->backoff_first_ms;
    if (copy_text(&subprocess->texts[0], &own->program) < 0 ||
        copy_text(&subprocess->texts[1], &own->title) < 0 ||
        copy_text(&subprocess->texts[2], &own->key) < 0 ||
        copy_text(&subprocess->texts[3], &own->value) < 0)
        return -ENOMEM;
    return 0;
}

static void free_memory(struct subprocess *subprocess)
{
    for (size_t i = 0; i < ARRAY_SIZE(subprocess->texts); i++)
        free(subprocess->texts[i]);
    free(subprocess);
}

int subprocess_new(uv_loop_t *loop, const struct subprocess_options *options,
                   const struct subprocess_callbacks *callbacks, void *userdata,
                   struct subprocess **ret_subprocess, struct error *err)
{
    struct subprocess *subprocess = calloc(1, sizeof(*subprocess));
    int r = subprocess ? copy_options(subprocess, options) : -ENOMEM;

    if (r < 0)
        error_set_errno(err, r, "cannot run %s", options->program);
    else
        r = find_program(subprocess, options->program, err);
    if (r < 0) {
        if (subprocess)
            free_memory(subprocess);
        return r;
    }
    subprocess->loop = loop;
    subprocess->callbacks = *callbacks;
    subprocess->userdata = userdata;
    uv_timer_init(loop, &subprocess->restart);
    subprocess->restart.data = subprocess;
    *ret_subprocess = subprocess;
    return 0;
}

static void on_subprocess_closed(uv_handle_t *handle)
{
    free_memory(handle->data);
}

/* Nobody is interested any more; it is not to outlive us. */
static void abandon(struct run *run)
{
    run->owner = NULL;
    close_channel(run);
    if (run->step == STEP_STUCK)
        free_run(run);
    else if (!run->has_ended)
        end_process(run, STEP_KILL);
}

void subprocess_free(struct subprocess *subprocess)
{
    if (!subprocess)
        return;
    subprocess->is_freed = true;
    subprocess->callbacks = (struct subprocess_callbacks){.prepare = NULL};
    if (subprocess->run)
        abandon(TAKE_PTR(subprocess->run));
    while (subprocess->stuck) {
        struct run *run = subprocess->stuck;

        subprocess->stuck = run->next_stuck;
        abandon(run);
    }
    uv_close((uv_handle_t *)&subprocess->restart, on_subprocess_closed);
}

struct channel *subprocess_channel(const struct subprocess *subprocess)
{
    return subprocess->run && subprocess->run->is_up ? subprocess->run->channel : NULL;
}

pid_t subprocess_pid(const struct subprocess *subprocess)
{
    return subprocess->run ? subprocess->run->process.pid : 0;
}

void subprocess_kill(struct subprocess *subprocess)
{
    struct run *run = subprocess->run;

    if (!run || run->was_killed)
        return;
    run->was_killed = true;
    end_process(run, STEP_KILL);
    close_channel(run);
}

void subprocess_let_end(struct subprocess *subprocess)
{
    subprocess->is_last = true;
    uv_timer_stop(&subprocess->restart);
}
