// SPDX-License-Identifier: Apache-2.0
#include "kube/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "kube/curlaccess.h"
#include "kube/curlmulti.h"
#include "kube/reason.h"

enum {
    TIMEOUT_MS = 30000,
    CONNECT_TIMEOUT_MS = 10000,
    KEEPALIVE_AFTER_S = 30,
    KEEPALIVE_EVERY_S = 10,
    UNACKNOWLEDGED_MS = 30000, /* sent but not acknowledged for so long: the connection is dead */
};

/* Transfers of one multi handle share connections. A timeout retires the handle. */
struct shared_curlmulti {
    struct kube_client *client;
    struct curlmulti *hub;
    struct shared_curlmulti *next;
    size_t n_calls;
};

struct kube_client {
    uv_loop_t *loop;
    char *manager, *user_agent;
    struct curlaccess *endpoint;
    struct shared_curlmulti *hubs;    /* all of them */
    struct shared_curlmulti *current; /* NULL = the next call creates one */
    struct kube_call *calls;
    unsigned busy; /* nested callbacks, or libcurl calls: calls start and end when it drops to 0 */
    bool freed;
};

struct kube_call {
    struct kube_client *client;
    struct kube_call *next;
    struct shared_curlmulti *hub; /* NULL = not started yet */
    CURL *easy;
    struct curl_slist *headers;
    uv_timer_t patience;
    char *method, *path;
    unsigned timeout_ms, idle_ms;
    int (*on_data)(const char *data, size_t size, void *userdata);
    void (*on_open)(void *userdata);
    void (*on_done)(const struct kube_response *response, void *userdata);
    void *userdata;
    struct text body;
    int error;      /* the error a callback ended it with */
    bool opened;    /* the response headers have arrived */
    bool cancelled; /* the caller is not interested any more */
    char why[CURL_ERROR_SIZE];
};

/* ---- calls ---- */

static void call_free(struct kube_call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    text_deinit(&call->body);
    free(call->method);
    free(call->path);
    free(call);
}

DEFINE_CLEANUP(struct kube_call *, call_free)

static void on_patience_closed(uv_handle_t *handle)
{
    call_free(handle->data);
}

/* Removes it from libcurl and from the client; memory is freed when the loop has closed the
 * timer. */
static void call_remove(struct kube_call *call)
{
    struct kube_call **link = &call->client->calls;

    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    if (call->hub) {
        curlmulti_remove(call->hub->hub, call->easy);
        call->hub->n_calls--;
    }
    call->cancelled = true;
    call->client = NULL;
    uv_close((uv_handle_t *)&call->patience, on_patience_closed);
}

static unsigned status_of(const struct kube_call *call)
{
    long status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return status > 0 ? (unsigned)status : 0;
}

static unsigned retry_after_of(const struct kube_call *call)
{
    curl_off_t seconds = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds);
    return seconds <= 0 ? 0 : seconds > INT32_MAX ? INT32_MAX : (unsigned)seconds;
}

/* Reports the result to the caller. error 0: the server responded. */
static void call_finish(struct kube_call *call, int error, const char *why)
{
    char reason[REASON_SIZE] = "";
    struct kube_response response = {.error = error, .body = "", .reason = reason};

    if (error == 0) {
        response.http_status = status_of(call);
        response.retry_after_s = retry_after_of(call);
        response.body = text_string(&call->body);
        response.size = call->body.length;
        if (!kube_is_success(response.http_status))
            reason_of_answer(call->method, call->path, response.http_status, response.body,
                             response.size, reason);
    } else {
        reason_of_failure(call->method, call->path, why, reason);
    }
    call_remove(call);
    call->on_done(&response, call->userdata);
}

/* ---- libcurl's callbacks ---- */

static void on_timeout(uv_timer_t *timer);

static size_t on_header(char *line, size_t size, size_t n, void *userdata)
{
    struct kube_call *call = userdata;
    bool is_end = n == 2 && line[0] == '\r';

    if (call->cancelled)
        return CURL_WRITEFUNC_ERROR;
    if (is_end && call->on_data && !call->opened && status_of(call) >= 200) {
        call->opened = true;
        uv_timer_start(&call->patience, on_timeout, call->idle_ms, 0);
        if (kube_is_success(status_of(call)) && call->on_open)
            call->on_open(call->userdata);
    }
    return size * n;
}

static int keep_body(struct kube_call *call, const char *data, size_t size)
{
    if (call->body.length + size > KUBE_BODY_MAX)
        return -EMSGSIZE;
    text_add_bytes(&call->body, data, size);
    return text_failed(&call->body) ? -ENOMEM : 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
    struct kube_call *call = userdata;

    if (call->cancelled)
        return CURL_WRITEFUNC_ERROR;
    if (call->on_data && kube_is_success(status_of(call))) {
        uv_timer_start(&call->patience, on_timeout, call->idle_ms, 0);
        call->error = call->on_data(data, size * n, call->userdata) ? -EBADMSG : 0;
    } else {
        call->error = keep_body(call, data, size * n);
    }
    return call->error ? CURL_WRITEFUNC_ERROR : size * n;
}

/* TCP_USER_TIMEOUT: keepalive does not help while sent data is unacknowledged. */
static int on_socket(void *userdata, curl_socket_t fd, curlsocktype purpose)
{
    const int unacknowledged_ms = UNACKNOWLEDGED_MS;

    (void)userdata;
    (void)purpose;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
                     sizeof(unacknowledged_ms));
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}

/* ---- hubs ---- */

static void on_ready(struct curlmulti *hub, curl_socket_t fd, int events, void *userdata);

static int current_hub(struct kube_client *client, struct shared_curlmulti **ret_hub)
{
    struct shared_curlmulti *shared = client->current;

    if (!shared) {
        int r;

        shared = calloc(1, sizeof(*shared));
        if (!shared)
            return -ENOMEM;
        r = curlmulti_new(client->loop, on_ready, shared, &shared->hub);
        if (r < 0) {
            free(shared);
            return r;
        }
        shared->client = client;
        shared->next = client->hubs;
        client->hubs = client->current = shared;
    }
    *ret_hub = shared;
    return 0;
}

static void retire(struct shared_curlmulti *hub)
{
    if (hub && hub->client->current == hub)
        hub->client->current = NULL;
}

static void drop_empty_hubs(struct kube_client *client, bool also_current)
{
    struct shared_curlmulti **link = &client->hubs;

    while (*link) {
        struct shared_curlmulti *hub = *link;

        if (hub->n_calls > 0 || (hub == client->current && !also_current)) {
            link = &hub->next;
            continue;
        }
        *link = hub->next;
        curlmulti_free(hub->hub);
        free(hub);
    }
}

/* ---- turns ---- */

static int call_start(struct kube_call *call)
{
    struct shared_curlmulti *hub;
    int r = current_hub(call->client, &hub);

    if (r < 0)
        return r;
    r = curlmulti_add(hub->hub, call->easy);
    if (r < 0)
        return r;
    call->hub = hub;
    hub->n_calls++;
    return 0;
}

static void enter(struct kube_client *client)
{
    client->busy++;
}

/* The first call that is deferred until libcurl returns. */
static struct kube_call *next_waiting(struct kube_client *client)
{
    struct kube_call *call = client->calls;

    while (call && call->hub && !call->cancelled)
        call = call->next;
    return call;
}

static void client_destroy(struct kube_client *client)
{
    drop_empty_hubs(client, true);
    curlaccess_free(client->endpoint);
    free(client->user_agent);
    free(client->manager);
    free(client);
    curl_global_cleanup();
}

/* Outside of all callbacks: does the deferred work. */
static void leave(struct kube_client *client)
{
    struct kube_call *call;

    while (client->busy == 1 && (call = next_waiting(client))) {
        int r = call->cancelled ? 0 : call_start(call);

        if (call->cancelled)
            call_remove(call);
        else if (r < 0)
            call_finish(call, r, strerror(-r));
    }
    if (--client->busy > 0)
        return;
    drop_empty_hubs(client, false);
    if (client->freed)
        client_destroy(client);
}

static int errno_of(CURLcode code)
{
    static const struct {
        CURLcode code;
        int error;
    } map[] = {
        {CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH},
        {CURLE_COULDNT_RESOLVE_PROXY, -EHOSTUNREACH},
        {CURLE_COULDNT_CONNECT, -ECONNREFUSED},
        {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT},
        {CURLE_GOT_NOTHING, -ECONNRESET},
        {CURLE_RECV_ERROR, -ECONNRESET},
        {CURLE_SEND_ERROR, -ECONNRESET},
        {CURLE_PARTIAL_FILE, -ECONNRESET},
        {CURLE_PEER_FAILED_VERIFICATION, -EACCES},
        {CURLE_OUT_OF_MEMORY, -ENOMEM},
    };

    for (size_t i = 0; i < ARRAY_SIZE(map); i++)
        if (map[i].code == code)
            return map[i].error;
    return code == CURLE_OK ? 0 : -EIO;
}

static void on_ended(struct kube_call *call, CURLcode code)
{
    int error = call->error ? call->error : errno_of(code);
    const char *why = call->why[0] ? call->why : curl_easy_strerror(code);

    if (call->cancelled)
        return;
    if (call->error == -EMSGSIZE)
        why = "the response is larger than 4 MiB";
    else if (call->error == -EBADMSG)
        why = "the response is invalid";
    else if (call->error)
        why = strerror(-call->error);
    if (error == -ETIMEDOUT)
        retire(call->hub);
    call_finish(call, error, why);
}

static void on_ready(struct curlmulti *hub, curl_socket_t fd, int events, void *userdata)
{
    struct kube_client *client = ((struct shared_curlmulti *)userdata)->client;
    struct kube_call *call;
    CURL *easy;
    CURLcode code;

    enter(client);
    curlmulti_act(hub, fd, events);
    while (curlmulti_next_ended(hub, &easy, &code)) {
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
        on_ended(call, code);
    }
    leave(client);
}

static void on_timeout(uv_timer_t *timer)
{
    struct kube_call *call = timer->data;
    struct kube_client *client = call->client;
    char why[80];

    if (call->cancelled)
        return;
    enter(client);
    retire(call->hub);
    if (call->opened)
        snprintf(why, sizeof(why), "the response stalled for %u s", call->idle_ms / 1000);
    else
        snprintf(why, sizeof(why), "no response within %u s", call->timeout_ms / 1000);
    call_finish(call, -ETIMEDOUT, why);
    leave(client);
}

/* ---- life ---- */

int kube_client_new(uv_loop_t *loop, const struct kube_access *access, const char *manager,
                    struct kube_client **ret_client, struct error *err)
{
    struct kube_client *client = calloc(1, sizeof(*client));
    int r;

    if (!client || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(client);
        return error_set_errno(err, -ENOMEM, "cannot prepare a client for the API server");
    }
    client->loop = loop;
    client->manager = strdup(manager);
    if (asprintf(&client->user_agent, "%s/" GPUSLICE_VERSION, manager) < 0)
        client->user_agent = NULL;
    r = client->manager && client->user_agent
            ? curlaccess_new(access, &client->endpoint, err)
            : error_set_errno(err, -ENOMEM, "cannot prepare a client for the API server");
    if (r < 0) {
        client_destroy(client);
        return r;
    }
    *ret_client = client;
    return 0;
}

const char *kube_client_manager(const struct kube_client *client)
{
    return client->manager;
}

void kube_client_free(struct kube_client *client)
{
    if (!client)
        return;
    enter(client);
    client->freed = true;
    for (struct kube_call *call = client->calls; call; call = call->next)
        call->cancelled = true;
    leave(client);
}

/* Sets the options common to all requests, then those of this one. */
static int prepare(struct kube_call *call, const struct kube_request *request)
{
    CURL *easy = call->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_AFTER_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_EVERY_S);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Do not wait for a name resolution that is no longer needed. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, call->client->user_agent);
    /* The first requests wait for one connection instead of opening one each. */
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    if (request->body &&
        (curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size) ||
         curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body)))
        return -ENOMEM;
    return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) ? -ENOMEM : 0;
}

static int add_headers(struct kube_call *call, const struct kube_request *request)
{
    int r = curlaccess_add_header(&call->headers, "Accept", "application/json");

    /* Otherwise libcurl sends "Expect: 100-continue" and waits a second if it is not answered. */
    if (r == 0)
        r = curlaccess_add_header(&call->headers, "Expect", "");
    if (r == 0 && request->content_type)
        r = curlaccess_add_header(&call->headers, "Content-Type", request->content_type);
    return r;
}

static int call_new(struct kube_client *client, const struct kube_request *request,
                    struct kube_call **ret_call, struct error *err)
{
    cleanup(call_free_p) struct kube_call *call = calloc(1, sizeof(*call));
    int r;

    if (!call)
        return error_set_errno(err, -ENOMEM, "cannot send to the API server");
    call->client = client;
    call->method = strdup(request->method);
    call->path = strdup(request->path);
    call->easy = curl_easy_init();
    call->timeout_ms = request->timeout_ms ? request->timeout_ms : TIMEOUT_MS;
    call->idle_ms = request->idle_ms ? request->idle_ms : TIMEOUT_MS;
    call->on_data = request->on_data;
    call->on_open = request->on_open;
    call->on_done = request->on_done;
    r = call->method && call->path && call->easy ? prepare(call, request) : -ENOMEM;
    if (r == 0)
        r = add_headers(call, request);
    if (r < 0)
        return error_set_errno(err, r, "cannot send to the API server");
    r = curlaccess_apply(client->endpoint, call->path, call->easy, &call->headers, err);
    if (r < 0)
        return r;
    *ret_call = TAKE_PTR(call);
    return 0;
}

int kube_send(struct kube_client *client, const struct kube_request *request, void *userdata,
              struct kube_call **ret_call, struct error *err)
{
    struct kube_call *call = NULL;
    int r = call_new(client, request, &call, err);

    if (r < 0 || !call)
        return r;
    call->userdata = userdata;
    uv_timer_init(client->loop, &call->patience);
    call->patience.data = call;
    call->next = client->calls;
    client->calls = call;
    if (!client->busy) {
        r = call_start(call);
        if (r < 0) {
            call_remove(call);
            return error_set_errno(err, r, "cannot send to the API server");
        }
    }
    uv_timer_start(&call->patience, on_timeout, call->timeout_ms, 0);
    if (ret_call)
        *ret_call = call;
    return 0;
}

void kube_cancel(struct kube_call *call)
{
    struct kube_client *client;

    if (!call || call->cancelled)
        return;
    client = call->client;
    enter(client);
    call->cancelled = true;
    leave(client);
}
