// SPDX-License-Identifier: Apache-2.0
#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "http/clients.h"

enum {
    IDLE_SECONDS = 10, /* how long a silent client may keep its connection */
    REQUEST_MS = 15000,
    MAX_REQUEST = 16 << 10,
};

#define TEXT_TYPE "text/plain; charset=utf-8"

struct server {
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned n_open_handles;
    struct MHD_Daemon *daemon;
    struct clients clients;
    const struct server_page *pages;
    size_t n_pages;
    server_ask_fn *ask;
    void *userdata;
};

/* From its headers until its response is sent; kept by libmicrohttpd. */
struct server_request {
    struct server *server;
    struct MHD_Connection *connection;
    const struct server_page *page;
    bool is_asked, is_answered, is_suspended;
    unsigned http_status;
    char *body; /* owned until it is handed over */
    size_t size;
};

static void on_timer(uv_timer_t *timer);

static void wake(struct server *server)
{
    if (!uv_is_closing((uv_handle_t *)&server->timer))
        uv_timer_start(&server->timer, on_timer, 0, 0);
}

/* -- answers --------------------------------------------------------------------------------- */

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
                               struct MHD_Response *response)
{
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status,
                                    const char *text)
{
    return respond(connection, status, TEXT_TYPE,
                   MHD_create_response_from_buffer(strlen(text), (char *)(uintptr_t)text,
                                                   MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result respond_page(struct server_request *request)
{
    if (!request->body)
        return respond_text(request->connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
                            "out of memory for the response\n");
    return respond(request->connection, request->http_status, request->page->type,
                   MHD_create_response_from_buffer(request->size, TAKE_PTR(request->body),
                                                   MHD_RESPMEM_MUST_FREE));
}

void server_answer(struct server_request *request, unsigned http_status, const char *body,
                   size_t size)
{
    request->is_answered = true;
    request->http_status = http_status;
    request->body = malloc(size + 1);
    request->size = size;
    if (request->body && size)
        memcpy(request->body, body, size);
    if (!request->is_suspended)
        return;
    request->is_suspended = false;
    MHD_resume_connection(request->connection);
    wake(request->server); /* libmicrohttpd does not, where it has no thread of its own */
}

/* -- requests -------------------------------------------------------------------------------- */

static enum MHD_Result ask(struct server *server, struct server_request *request)
{
    request->is_asked = true;
    server->ask(request->page, request, server->userdata);
    if (request->is_answered)
        return respond_page(request);
    request->is_suspended = true;
    MHD_suspend_connection(request->connection);
    return MHD_YES;
}

static const struct server_page *find_page(const struct server *server, const char *path)
{
    for (size_t i = 0; i < server->n_pages; i++)
        if (str_equal(server->pages[i].path, path))
            return &server->pages[i];
    return NULL;
}

static enum MHD_Result refuse_path(const struct server *server, struct MHD_Connection *connection)
{
    cleanup_text struct text text = TEXT_INIT;

    for (size_t i = 0; i < server->n_pages; i++)
        text_addf(&text, "%s%s",
                  i == 0                     ? "there are "
                  : i + 1 == server->n_pages ? " and "
                                             : ", ",
                  server->pages[i].path);
    text_add_char(&text, '\n');
    return respond(connection, MHD_HTTP_NOT_FOUND, TEXT_TYPE,
                   MHD_create_response_from_buffer(
                       text.length, (char *)(uintptr_t)text_string(&text), MHD_RESPMEM_MUST_COPY));
}

/* Called once for the headers, where a response would also close the connection; once for each
 * piece of a body, of which there should be none; then for the response, and again once it is
 * available. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **context)
{
    struct server *server = userdata;
    struct server_request *request = *context;

    (void)version, (void)upload;
    if (!str_equal(method, "GET") && !str_equal(method, "HEAD"))
        return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (!request) {
        request = *context = calloc(1, sizeof(*request));
        if (request)
            *request = (struct server_request){.server = server, .connection = connection};
        return request ? MHD_YES : MHD_NO;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (request->is_answered)
        return respond_page(request);
    request->page = find_page(server, url);
    return request->page ? ask(server, request) : refuse_path(server, connection);
}

static void on_connection(void *userdata, struct MHD_Connection *connection, void **client,
                          enum MHD_ConnectionNotificationCode change)
{
    struct server *server = userdata;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (change == MHD_CONNECTION_NOTIFY_STARTED)
        *client = clients_add(&server->clients, info->connect_fd, clock_now_ms() + REQUEST_MS);
    else
        client_remove(*client);
}

/* The next one may begin. */
static void on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    struct client *client =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct server_request *request = TAKE_PTR(*context);

    (void)userdata;
    if (request)
        free(request->body);
    free(request);
    if (client && how == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        client->due_ms = clock_now_ms() + REQUEST_MS;
}

/* -- the loop -------------------------------------------------------------------------------- */

static void run(struct server *server);

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    run(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void run(struct server *server)
{
    MHD_UNSIGNED_LONG_LONG idle_ms;
    int due_ms;

    (void)MHD_run(server->daemon);
    due_ms = clients_end_late(&server->clients, clock_now_ms());
    if (MHD_get_timeout(server->daemon, &idle_ms) == MHD_YES &&
        (due_ms < 0 || idle_ms < (unsigned)due_ms))
        due_ms = (int)idle_ms;
    if (due_ms < 0)
        uv_timer_stop(&server->timer);
    else
        uv_timer_start(&server->timer, on_timer, (uint64_t)due_ms, 0);
}

/* -- life ------------------------------------------------------------------------------------ */

static int listen_at(const struct addrinfo *address)
{
    const int on = 1, off = 0;
    cleanup_close int fd =
        socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -errno;
    if (address->ai_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
        return -errno;
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int listen_host(const char *host, uint16_t port, struct error *err)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    char service[8];
    int r;

    snprintf(service, sizeof(service), "%u", port);
    r = getaddrinfo(host, service, &hints, &found);
    if (r != 0)
        return error_set(err, -EINVAL, "cannot resolve %s: %s", host, gai_strerror(r));
    r = listen_at(found);
    freeaddrinfo(found);
    return r < 0 ? error_set_errno(err, r, "cannot listen on port %u of %s", port, host) : r;
}

int server_listen(const char *text, struct error *err)
{
    struct address address;
    int r = address_parse(text, &address, err);

    if (r < 0)
        return r;
    if (*address.host)
        return listen_host(address.host, address.port, err);
    /* accepts IPv4 too, if the machine has IPv6 at all */
    r = listen_host("::", address.port, err);
    return r < 0 ? listen_host("0.0.0.0", address.port, err) : r;
}

static struct MHD_Daemon *start_daemon(struct server *server, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, server,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX / 2,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)MAX_REQUEST, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_END);
}

static void start_handles(struct server *server, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    uv_poll_init(loop, &server->poll, info->epoll_fd);
    uv_timer_init(loop, &server->timer);
    server->poll.data = server->timer.data = server;
    server->n_open_handles = 2;
    uv_poll_start(&server->poll, UV_READABLE, on_readable);
    run(server);
}

int server_new(const struct server_setup *setup, struct server **ret_server, struct error *err)
{
    cleanup_close int own_fd = setup->fd;
    cleanup_free struct server *server = calloc(1, sizeof(*server));

    if (!server)
        return error_set_errno(err, -ENOMEM, "cannot serve HTTP");
    server->pages = setup->pages;
    server->n_pages = setup->n_pages;
    server->ask = setup->ask;
    server->userdata = setup->userdata;
    server->daemon = start_daemon(server, setup->fd);
    if (!server->daemon)
        return error_set_errno(err, errno ? -errno : -EIO, "cannot serve HTTP");
    (void)TAKE_FD(own_fd); /* libmicrohttpd closes it */
    start_handles(server, setup->loop);
    *ret_server = TAKE_PTR(server);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct server *server = handle->data;

    if (--server->n_open_handles)
        return;
    MHD_stop_daemon(server->daemon);
    free(server);
}

void server_free(struct server *server)
{
    if (!server)
        return;
    uv_close((uv_handle_t *)&server->poll, on_closed);
    uv_close((uv_handle_t *)&server->timer, on_closed);
}
