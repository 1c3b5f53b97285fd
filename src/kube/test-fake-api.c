// SPDX-License-Identifier: Apache-2.0
#include "kube/test-fake-api.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

struct kube_client {
    uv_loop_t *loop;
    struct kube_call *open; /* oldest first */
    struct fake_answer (*answer)(const struct kube_call *call);
    unsigned n_sent;
    int error;
};

static struct kube_client api;

static void call_free(struct kube_call *call)
{
    free(call->method);
    free(call->path);
    free(call->content_type);
    json_decref(call->body);
    free(call);
}

static void on_closed(uv_handle_t *handle)
{
    call_free(handle->data);
}

static void call_remove(struct kube_call *call)
{
    struct kube_call **link = &api.open;

    while (*link && *link != call)
        link = &(*link)->next;
    assert_non_null(*link); /* one that is gone must not be touched */
    *link = call->next;
    if (call->has_timer)
        uv_close((uv_handle_t *)&call->timer, on_closed);
    else
        call_free(call);
}

struct kube_client *fake_api_client(void)
{
    return &api;
}

void fake_api_reset(void)
{
    while (api.open)
        call_remove(api.open);
    api = (struct kube_client){.loop = NULL};
}

void fake_api_break(int error)
{
    api.error = error;
}

unsigned fake_api_n_sent(void)
{
    return api.n_sent;
}

unsigned fake_api_n_open(void)
{
    unsigned n = 0;

    for (const struct kube_call *call = api.open; call; call = call->next)
        n++;
    return n;
}

struct kube_call *fake_api_expect(const char *method, const char *path)
{
    for (struct kube_call *call = api.open; call; call = call->next)
        if (str_equal(call->method, method) && str_equal(call->path, path))
            return call;
    for (const struct kube_call *call = api.open; call; call = call->next)
        print_error("open: %s %s\n", call->method, call->path);
    fail_msg("nobody asks %s %s", method, path);
    return NULL;
}

struct kube_call *fake_api_expect_prefix(const char *method, const char *prefix)
{
    for (struct kube_call *call = api.open; call; call = call->next)
        if (str_equal(call->method, method) && str_starts_with(call->path, prefix))
            return call;
    fail_msg("nobody asks %s %s", method, prefix);
    return NULL;
}

/* What on_data says of it. */
static int feed(struct kube_call *call, const char *data)
{
    assert_non_null(call->on_data);
    if (!call->is_opened && call->on_open)
        call->on_open(call->userdata);
    call->is_opened = true;
    return call->on_data(data, strlen(data), call->userdata);
}

void fake_api_stream(struct kube_call *call, const char *data)
{
    assert_int_equal(feed(call, data), 0);
}

void fake_api_answer(struct kube_call *call, unsigned status, const char *body)
{
    void (*on_done)(const struct kube_response *response, void *userdata) = call->on_done;
    void *userdata = call->userdata;
    struct kube_response response = {
        .error = status ? 0 : -ECONNREFUSED,
        .http_status = status,
        .body = status ? body : "",
        .size = status ? strlen(body) : 0,
        .reason = kube_is_success(status) ? "" : "why",
    };

    if (call->on_data && kube_is_success(status) && feed(call, body) != 0)
        response = (struct kube_response){.error = -EBADMSG, .body = "", .reason = "why"};
    call_remove(call);
    on_done(&response, userdata);
}

void fake_api_serve(const char *method, const char *path, unsigned status, const char *body)
{
    fake_api_answer(fake_api_expect(method, path), status, body);
}

void fake_api_serve_by(struct fake_answer (*answer)(const struct kube_call *call))
{
    api.answer = answer;
}

/* -- kube/client.h ----------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct kube_call *call = timer->data;
    const struct fake_answer answer = api.answer(call);

    fake_api_answer(call, answer.status, answer.body);
}

int kube_client_new(uv_loop_t *loop, const struct kube_access *access, const char *manager,
                    struct kube_client **ret_client, struct error *err)
{
    api.loop = loop;
    *ret_client = &api;
    return 0;
}

const char *kube_client_manager(const struct kube_client *client)
{
    return "gpuslice-node";
}

void kube_client_free(struct kube_client *client)
{
    while (client && client->open)
        call_remove(client->open);
}

int kube_send(struct kube_client *client, const struct kube_request *request, void *userdata,
              struct kube_call **ret_call, struct error *err)
{
    struct kube_call *call, **end = &api.open;

    assert_ptr_equal(client, &api);
    if (api.error)
        return error_set(err, api.error, "no token");
    call = calloc(1, sizeof(*call));
    assert_non_null(call);
    call->method = strdup(request->method);
    call->path = strdup(request->path);
    call->content_type = request->content_type ? strdup(request->content_type) : NULL;
    call->body = request->body ? json_loadb(request->body, request->body_size, 0, NULL) : NULL;
    assert_true(!request->body == !call->body); /* what we send is JSON */
    call->on_data = request->on_data;
    call->on_open = request->on_open;
    call->on_done = request->on_done;
    call->userdata = userdata;
    while (*end)
        end = &(*end)->next;
    *end = call;
    api.n_sent++;
    if (api.answer) {
        uv_timer_init(api.loop, &call->timer);
        call->timer.data = call;
        call->has_timer = true;
        uv_timer_start(&call->timer, on_timer, 0, 0);
    }
    if (ret_call)
        *ret_call = call;
    return 0;
}

void kube_cancel(struct kube_call *call)
{
    if (call)
        call_remove(call);
}
