// SPDX-License-Identifier: Apache-2.0

/*
 * gpuslice-http: speaks HTTP for the agent (see httplink.h), by libmicrohttpd in our own loop. Each
 * question goes to the agent and has a deadline, so a stuck agent shows as 503 and not as silence.
 *
 * No client holds up another: it gets half of the connections at most, and for each request a
 * limited time (clients.h).
 *
 * One question is open at a time. An answer that misses its deadline is read later and thrown away;
 * until it came, requests are answered 503 at once, as waiting for the agent would hold up them
 * all.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/address.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/clients.h"
#include "node/httplink.h"

enum {
    ANSWER_MS = 2000,
    IDLE_SECONDS = 10, /* so long may a client that says nothing keep its connection */
    REQUEST_MS = 15000,
    MAX_REQUEST = 16 << 10,
    MAX_BODY = 64 << 20,
};

static const struct {
    const char *path;
    char question;
    const char *type;
} pages[] = {
    {"/healthz", HTTPLINK_HEALTH, "text/plain; charset=utf-8"},
    {"/readyz", HTTPLINK_READY, "text/plain; charset=utf-8"},
    {"/metrics", HTTPLINK_METRICS, "text/plain; version=0.0.4; charset=utf-8"},
};

/* What the agent owes us: the rest of a header, and then of a body. */
static struct {
    bool open;
    struct httplink_header header;
    char *body;
    size_t received;
} answer;

static struct clients clients;

/* -ETIMEDOUT leaves what was received for the next call; after another error the pair is no use. */
static int receive(void *data, size_t size, uint64_t deadline_ms)
{
    while (answer.received < size) {
        struct pollfd pair = {.fd = HTTPLINK_FD, .events = POLLIN};
        const uint64_t now_ms = clock_now_ms();
        ssize_t n;

        n = poll(&pair, 1, deadline_ms > now_ms ? (int)(deadline_ms - now_ms) : 0);
        if (n == 0)
            return -ETIMEDOUT;
        if (n > 0)
            n = recv(HTTPLINK_FD, (char *)data + answer.received, size - answer.received, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EPIPE;
        if (n > 0)
            answer.received += (size_t)n;
    }
    answer.received = 0;
    return 0;
}

/* Reads on in the open answer. 0 and a body to free, or as receive. */
static int read_answer(uint64_t deadline_ms, char **ret_body)
{
    int r = answer.body ? 0 : receive(&answer.header, sizeof(answer.header), deadline_ms);

    if (r < 0)
        return r;
    if (answer.header.size > MAX_BODY)
        return -EMSGSIZE;
    if (!answer.body)
        answer.body = malloc((size_t)answer.header.size + 1);
    if (!answer.body)
        return -ENOMEM;
    r = receive(answer.body, answer.header.size, deadline_ms);
    if (r < 0)
        return r;
    answer.open = false;
    *ret_body = TAKE_PTR(answer.body);
    return 0;
}

/* 0 and a body to free, or as receive. */
static int ask(char question, char **ret_body)
{
    cleanup_free char *late = NULL;
    int r = answer.open ? read_answer(0, &late) : 0;

    if (r < 0)
        return r;
    if (send(HTTPLINK_FD, &question, 1, MSG_NOSIGNAL) != 1)
        return -errno;
    answer.open = true;
    return read_answer(clock_now_ms() + ANSWER_MS, ret_body);
}

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
                               char *body, size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    if (status == 405)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status,
                                    const char *text)
{
    return respond(connection, status, "text/plain; charset=utf-8", (char *)(uintptr_t)text,
                   strlen(text));
}

static enum MHD_Result answer_page(struct MHD_Connection *connection, size_t page)
{
    cleanup_free char *body = NULL;
    int r = ask(pages[page].question, &body);

    if (r == 0)
        return respond(connection, answer.header.http_status, pages[page].type, body,
                       answer.header.size);
    if (r != -ETIMEDOUT)
        shutdown(HTTPLINK_FD, SHUT_RDWR); /* the agent starts this program anew */
    return respond_text(connection, 503, "the agent does not answer\n");
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **context)
{
    static char headers_seen;

    (void)userdata, (void)version, (void)upload;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return respond_text(connection, 405, "only GET and HEAD\n");
    /* Called once for the headers, where an answer would also close the connection; once for each
     * piece of a body, of which there should be none; and then for the answer. */
    if (!*context || *upload_size) {
        *context = &headers_seen;
        *upload_size = 0;
        return MHD_YES;
    }
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
        if (strcmp(url, pages[i].path) == 0)
            return answer_page(connection, i);
    return respond_text(connection, 404, "there are /healthz, /readyz and /metrics\n");
}

static void on_connection(void *userdata, struct MHD_Connection *connection, void **client,
                          enum MHD_ConnectionNotificationCode change)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (change == MHD_CONNECTION_NOTIFY_STARTED)
        *client = clients_add(userdata, info->connect_fd, clock_now_ms() + REQUEST_MS);
    else
        client_remove(*client);
}

/* The next one may begin. */
static void on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    struct client *client =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

    (void)userdata, (void)context;
    if (client && how == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        client->due_ms = clock_now_ms() + REQUEST_MS;
}

static struct MHD_Daemon *serve(const struct addrinfo *address)
{
    const unsigned flags =
        MHD_USE_EPOLL | (address->ai_family == AF_INET6 ? MHD_USE_DUAL_STACK : 0);

    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, address->ai_addr,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)CLIENTS_MAX / 2, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MAX_REQUEST, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, &clients, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
}

static struct MHD_Daemon *serve_host(const char *host, uint16_t port, struct error *err)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    struct MHD_Daemon *daemon;
    char service[8];
    int r;

    snprintf(service, sizeof(service), "%u", port);
    r = getaddrinfo(host, service, &hints, &found);
    if (r != 0) {
        error_set(err, -EINVAL, "cannot resolve %s: %s", host, gai_strerror(r));
        return NULL;
    }
    daemon = serve(found);
    if (!daemon)
        error_set_errno(err, -errno, "cannot listen on port %u of %s", port, host);
    freeaddrinfo(found);
    return daemon;
}

static struct MHD_Daemon *serve_address(const char *text, struct error *err)
{
    struct MHD_Daemon *daemon;
    struct address address;

    if (address_parse(text, &address, err) < 0)
        return NULL;
    if (*address.host)
        return serve_host(address.host, address.port, err);
    /* takes IPv4 too, where the machine has IPv6 at all */
    daemon = serve_host("::", address.port, err);
    return daemon ? daemon : serve_host("0.0.0.0", address.port, err);
}

static int wait_ms(struct MHD_Daemon *daemon)
{
    int due_ms = clients_end_late(&clients, clock_now_ms());
    MHD_UNSIGNED_LONG_LONG idle_ms;

    if (MHD_get_timeout(daemon, &idle_ms) != MHD_YES)
        return due_ms;
    return due_ms < 0 || idle_ms < (unsigned)due_ms ? (int)idle_ms : due_ms;
}

/* Returns when the agent ended, or when the pair was given up. */
static void serve_until_the_end(struct MHD_Daemon *daemon)
{
    const int epoll_fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    struct pollfd fds[] = {{.fd = HTTPLINK_FD, .events = POLLRDHUP},
                           {.fd = epoll_fd, .events = POLLIN}};

    while (!fds[0].revents) {
        (void)MHD_run(daemon);
        if (poll(fds, ARRAY_SIZE(fds), wait_ms(daemon)) < 0 && errno != EINTR)
            return;
    }
}

int main(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    struct MHD_Daemon *daemon;
    struct stat pair;

    signal(SIGPIPE, SIG_IGN); /* a log nobody reads must not end what serves */
    if (argc < 2 || fstat(HTTPLINK_FD, &pair) < 0 || !S_ISSOCK(pair.st_mode)) {
        fputs("gpuslice-http is started by gpuslice-node, with --http-address\n", stderr);
        return 64;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    daemon = serve_address(argv[1], &err);
    if (!daemon) {
        if (argc < 3) /* or HTTPLINK_AGAIN */
            log_error(error_text(&err), "address", argv[1]);
        return 1;
    }
    log_info("listening for HTTP", "address", argv[1]);
    serve_until_the_end(daemon);
    MHD_stop_daemon(daemon);
    free(answer.body);
    return 0;
}
