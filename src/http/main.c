// SPDX-License-Identifier: Apache-2.0

/*
 * gpuslice-http: serves HTTP for the agent (see httplink.h). Each request becomes a request to the
 * agent with a deadline, so a stuck agent shows as 503 and not as silence.
 *
 * It is the agent's child, with the channel at a descriptor, and exits with it; or a container
 * beside it that connects to the agent's socket, repeatedly.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "http/clients.h"
#include "http/server.h"
#include "proc/connector.h"
#include "proc/httplink.h"
#include "proc/pause.h"
#include "proc/role.h"
#include "proc/subprocess.h"
#include "proc/watchdog.h"

enum { ANSWER_MS = 2000, BIND_FIRST_MS = 500, BIND_LAST_MS = 10000, EXIT_USAGE = 64 };

static const struct server_page pages[] = {
    {"/healthz", "text/plain; charset=utf-8", HTTPLINK_HEALTH},
    {"/readyz", "text/plain; charset=utf-8", HTTPLINK_READY},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", HTTPLINK_METRICS},
};

static const struct channel_options channel_options = {
    .name = HTTPLINK_NAME,
    .max_body_bytes = 64,
    .max_receive_bytes = HTTPLINK_MAX_BODY,
};

static struct {
    uv_loop_t loop;
    uv_signal_t signals[2];
    struct watchdog watchdog; /* of a container */
    struct server *server;
    struct connector *connector; /* NULL if a child */
    struct channel *child_channel;
    struct channel *channel; /* to the agent, after its hello; else NULL */
    struct lograte lost;     /* the connection to the agent */
} program;

/* -- requests -------------------------------------------------------------------------------- */

/* Requests waiting for the same response. */
struct waiters {
    struct server_request *items[CLIENTS_MAX];
    size_t n;
};

/*
 * One request per page is open at a time: however many clients ask, the agent responds at its own
 * pace. Later requests wait for the next one, so that no response is older than its request.
 */
static struct page_state {
    struct waiters asked, queued;
} states[ARRAY_SIZE(pages)];

static void answer_all(struct waiters *waiters, unsigned status, const char *body, size_t size)
{
    while (waiters->n)
        server_answer(waiters->items[--waiters->n], status, body, size);
}

static void refuse_all(struct page_state *state)
{
    static const char sentence[] = "the agent does not respond\n";

    answer_all(&state->asked, 503, sentence, sizeof(sentence) - 1);
    answer_all(&state->queued, 503, sentence, sizeof(sentence) - 1);
}

static void ask_queued(struct page_state *state);

static void on_answer(const struct channel_answer *answer, void *userdata)
{
    struct page_state *state = userdata;

    if (answer->result != CHANNEL_ANSWERED) {
        refuse_all(state);
        return;
    }
    answer_all(&state->asked, answer->kind, answer->body, answer->size);
    ask_queued(state);
}

static void ask_queued(struct page_state *state)
{
    const uint16_t kind = pages[state - states].kind;

    if (state->asked.n || !state->queued.n)
        return;
    state->asked = state->queued;
    state->queued.n = 0;
    if (!program.channel ||
        channel_request(program.channel, kind, NULL, 0, ANSWER_MS, on_answer, state) < 0)
        refuse_all(state);
}

/* There is a slot for each connection. */
static void on_ask(const struct server_page *page, struct server_request *request, void *userdata)
{
    struct page_state *state = &states[page - pages];

    (void)userdata;
    state->queued.items[state->queued.n++] = request;
    ask_queued(state);
}

/* -- the agent ------------------------------------------------------------------------------- */

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    (void)name, (void)userdata;
    lograte_end(&program.lost);
    program.channel = channel;
}

/* As a container: the agent may come back. */
static void on_down(const char *sentence, void *userdata)
{
    (void)userdata;
    if (lograte_begin(&program.lost, sentence, clock_now_ms()))
        log_warning("lost the connection to the agent; reconnecting", "reason", sentence);
    program.channel = NULL;
}

static void on_trouble(const char *sentence, void *userdata)
{
    (void)userdata;
    log_warning("there is no agent yet; retrying", "reason", sentence);
}

/* As a child: without the agent there is no reason to continue. */
static void on_end(struct channel *channel, enum channel_end end, const char *sentence,
                   void *userdata)
{
    (void)channel, (void)userdata;
    if (end != CHANNEL_EOF)
        log_error("giving up on the agent", "reason", sentence);
    program.channel = NULL;
    uv_stop(&program.loop);
}

static int reach_agent(const char *socket, struct error *err)
{
    static const struct connector_callbacks connected = {
        .on_up = on_up, .on_down = on_down, .on_trouble = on_trouble};
    static const struct channel_callbacks inherited = {.on_hello = on_up, .on_end = on_end};

    if (socket)
        return connector_new(&program.loop, socket, &channel_options, &connected, NULL,
                             &program.connector, err);
    return channel_new(&program.loop, SUBPROCESS_FD, &channel_options, &inherited, NULL,
                       &program.child_channel, err);
}

/* -- life ------------------------------------------------------------------------------------ */

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    uv_stop(handle->loop);
}

static void start_signals(void)
{
    static const int numbers[ARRAY_SIZE(program.signals)] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&program.loop, &program.signals[i]);
        uv_signal_start(&program.signals[i], on_signal, numbers[i]);
    }
}

static void free_parts(bool is_container)
{
    if (is_container)
        watchdog_stop(&program.watchdog);
    channel_free(program.child_channel); /* completes all open requests */
    connector_free(program.connector);
    server_free(program.server);
    for (size_t i = 0; i < ARRAY_SIZE(program.signals); i++)
        uv_close((uv_handle_t *)&program.signals[i], NULL);
}

static int run(int fd, const char *socket, struct error *err)
{
    int r;

    uv_loop_init(&program.loop);
    start_signals();
    if (socket)
        watchdog_start(&program.watchdog, &program.loop, WATCHDOG_MS);
    r = reach_agent(socket, err);
    if (r == 0)
        r = server_new(&(struct server_setup){.loop = &program.loop,
                                              .fd = fd,
                                              .pages = pages,
                                              .n_pages = ARRAY_SIZE(pages),
                                              .ask = on_ask},
                       &program.server, err);
    if (r == 0)
        uv_run(&program.loop, UV_RUN_DEFAULT);
    free_parts(socket != NULL);
    uv_run(&program.loop, UV_RUN_DEFAULT);
    uv_loop_close(&program.loop);
    return r;
}

static bool is_child(void)
{
    struct stat channel;

    return fstat(SUBPROCESS_FD, &channel) == 0 && S_ISSOCK(channel.st_mode);
}

/* A container whose port is taken, on the host's network, waits for it: if it ended, its pod would
 * not be ready. 0 if a signal ends this. */
static int listen_patiently(const char *address, struct error *err)
{
    uint64_t wait_ms = BIND_FIRST_MS;
    bool is_logged = false;
    int fd;

    while ((fd = server_listen(address, err)) == -EADDRINUSE || fd == -EADDRNOTAVAIL) {
        if (!is_logged)
            log_warning("cannot serve HTTP yet; retrying", "reason", error_text(err));
        is_logged = true;
        if (!pause_ms(wait_ms))
            return 0;
        wait_ms = clock_twice_ms(wait_ms, BIND_LAST_MS);
    }
    return fd;
}

static int listen_first(const char *address, bool is_container, struct error *err)
{
    int fd;

    if (!is_container)
        return server_listen(address, err);
    pause_mask(SIG_BLOCK);
    fd = listen_patiently(address, err);
    pause_mask(SIG_UNBLOCK);
    return fd;
}

/* Anything that needs root comes first: a port below 1024. */
static int serve(const char *address, const char *socket, struct error *err)
{
    cleanup_close int fd = listen_first(address, socket != NULL, err);
    int r = fd <= 0 ? fd : role_enter(ROLE_HTTP, err);

    if (fd == 0 || r < 0)
        return r;
    if (!socket)
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* after the role: changing the user clears it */
    log_info("listening for HTTP", "address", address);
    return run(TAKE_FD(fd), socket, err);
}

int main(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    const char *socket = NULL;

    file_open_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* an unread log must not end the service */
    if (argc == 2 && str_equal(argv[1], "--version"))
        return puts("gpuslice-http " GPUSLICE_VERSION) < 0 ? 1 : 0;
    if (argc > 1 && str_starts_with(argv[1], HTTPLINK_CONNECT)) {
        socket = argv[1] + strlen(HTTPLINK_CONNECT);
        argc--;
        argv++;
    }
    if (argc < 2 || (!socket && !is_child())) {
        fputs("gpuslice-http is started by gpuslice-node, with --http-address; or beside it:\n"
              "usage: gpuslice-http --connect=SOCKET ADDRESS [LOG-LEVEL [LOG-FORMAT]]\n",
              stderr);
        return EXIT_USAGE;
    }
    log_setup_by_name(argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
    if (serve(argv[1], socket, &err) == 0)
        return 0;
    if (!str_equal(argv[argc - 1], HTTPLINK_AGAIN))
        log_error(error_text(&err), "address", argv[1]);
    return 1;
}
