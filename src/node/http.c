// SPDX-License-Identifier: Apache-2.0

/*
 * gpuslice-http: speaks HTTP for the agent (see reporter.h). One worker thread of libmicrohttpd
 * serves; each question goes to the agent and has a deadline, so a stuck agent shows as 503 and not
 * as silence. The main thread only waits for the agent to go away.
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

#include "base/array.h"
#include "base/log.h"
#include "node/address.h"
#include "node/reporter.h"

enum { ANSWER_SECONDS = 2, MAX_CONNECTIONS = 64, IDLE_SECONDS = 30, MAX_BODY = 64 << 20 };

static const struct {
    const char *path;
    char question;
    const char *type;
} pages[] = {
    {"/healthz", REPORT_HEALTH, "text/plain; charset=utf-8"},
    {"/readyz", REPORT_READY, "text/plain; charset=utf-8"},
    {"/metrics", REPORT_METRICS, "text/plain; version=0.0.4; charset=utf-8"},
};

static int receive(void *data, size_t size)
{
    char *at = data;

    while (size) {
        ssize_t n = recv(REPORT_FD, at, size, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* 0 and a body to free, or a negative errno; after one the pair is out of step and not used again.
 */
static int ask(char question, struct report_header *ret_header, char **ret_body)
{
    static bool broken;
    cleanup_free char *body = NULL;
    int r;

    if (broken)
        return -EPIPE;
    broken = true;
    if (send(REPORT_FD, &question, 1, MSG_NOSIGNAL) != 1)
        return -EPIPE;
    r = receive(ret_header, sizeof(*ret_header));
    if (r < 0)
        return r;
    if (ret_header->size > MAX_BODY)
        return -EMSGSIZE;
    body = malloc((size_t)ret_header->size + 1);
    if (!body)
        return -ENOMEM;
    r = receive(body, ret_header->size);
    if (r < 0)
        return r;
    broken = false;
    *ret_body = TAKE_PTR(body);
    return 0;
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
    struct report_header header = {.http_status = 503};

    if (ask(pages[page].question, &header, &body) == 0)
        return respond(connection, header.http_status, pages[page].type, body, header.size);
    /* Out of step with the agent: it starts this program anew, once this thread let the answer go.
     */
    shutdown(REPORT_FD, SHUT_RDWR);
    return respond_text(connection, 503, "the agent does not answer\n");
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **context)
{
    (void)userdata, (void)version, (void)upload, (void)upload_size, (void)context;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return respond_text(connection, 405, "only GET and HEAD\n");
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
        if (strcmp(url, pages[i].path) == 0)
            return answer_page(connection, i);
    return respond_text(connection, 404, "there are /healthz, /readyz and /metrics\n");
}

static int bind_address(const char *address, struct addrinfo **ret_found, struct error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char host[256], service[8];
    uint16_t port;
    int r = address_parse(address, host, sizeof(host), &port, err);

    if (r < 0)
        return r;
    snprintf(service, sizeof(service), "%u", port);
    r = getaddrinfo(*host ? host : NULL, service, &hints, ret_found);
    if (r != 0)
        return error_set(err, -EINVAL, "cannot resolve %s: %s", address, gai_strerror(r));
    return 0;
}

static struct MHD_Daemon *serve(const struct addrinfo *address)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;

    if (address->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR,
                            address->ai_addr, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)IDLE_SECONDS, MHD_OPTION_END);
}

/* Returns when the agent ended, or when the pair was given up. */
static void wait_for_the_end(void)
{
    struct pollfd pair = {.fd = REPORT_FD, .events = POLLRDHUP};

    while (poll(&pair, 1, -1) < 0 && errno == EINTR)
        ;
}

int main(int argc, char *argv[])
{
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    struct addrinfo *found = NULL;
    struct error err = ERROR_INIT;
    struct MHD_Daemon *daemon;

    if (argc != 2 || setsockopt(REPORT_FD, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience))) {
        fputs("gpuslice-http is started by gpuslice-node, with --http-address\n", stderr);
        return 64;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (bind_address(argv[1], &found, &err) < 0) {
        log_error(error_text(&err));
        return 1;
    }
    daemon = serve(found);
    freeaddrinfo(found);
    if (!daemon) {
        log_error("cannot listen for HTTP", "address", argv[1], "reason", strerror(errno));
        return 1;
    }
    log_info("listening for HTTP", "address", argv[1]);
    wait_for_the_end();
    MHD_stop_daemon(daemon);
    return 0;
}
