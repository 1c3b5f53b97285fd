// SPDX-License-Identifier: Apache-2.0
#include "kube/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "kube/field.h"
#include "kube/object.h"
#include "kube/splitter.h"

enum { PAGE_OBJECTS = 250, TRIES = 4, WAIT_S = 1, WAIT_MAX_S = 30 };

struct kube_reader {
    uv_loop_t loop;
    struct kube_client *client;
    uv_timer_t timer;

    /* of the request that is open */
    bool done;
    int error;
    unsigned status, retry_after_s;
    char *body;          /* of an answer that is no stream, and of every refusal */
    struct error reason; /* of a failure */
    struct splitter splitter;
    kube_item_fn *on_item;
    void *userdata;
    int item_result; /* what on_item returned; 0 = to go on */
};

/* ---- life ---- */

int kube_reader_new(const struct kube_access *access, const char *manager,
                    struct kube_reader **ret_reader, struct error *err)
{
    struct kube_reader *reader = calloc(1, sizeof(*reader));
    int r = reader ? uv_loop_init(&reader->loop) : -ENOMEM;

    if (r < 0) {
        free(reader);
        return error_set_errno(err, r, "cannot ask the API server");
    }
    uv_timer_init(&reader->loop, &reader->timer);
    r = kube_client_new(&reader->loop, access, manager, &reader->client, err);
    if (r < 0) {
        kube_reader_free(reader);
        return r;
    }
    *ret_reader = reader;
    return 0;
}

void kube_reader_free(struct kube_reader *reader)
{
    if (!reader)
        return;
    kube_client_free(reader->client);
    uv_close((uv_handle_t *)&reader->timer, NULL);
    uv_run(&reader->loop, UV_RUN_DEFAULT);
    uv_loop_close(&reader->loop);
    free(reader->body);
    free(reader);
}

/* ---- one request ---- */

static int on_object(const char *json, size_t size, void *userdata)
{
    struct kube_reader *reader = userdata;
    json_t *item = json_loadb(json, size, 0, NULL);
    int r = item ? 0 : -EBADMSG;

    if (item)
        r = reader->item_result = reader->on_item(item, reader->userdata);
    json_decref(item);
    return r;
}

static int on_data(const char *data, size_t size, void *userdata)
{
    struct kube_reader *reader = userdata;

    return splitter_feed(&reader->splitter, data, size);
}

static void on_done(const struct kube_response *response, void *userdata)
{
    struct kube_reader *reader = userdata;

    reader->done = true;
    reader->error = response->error;
    reader->status = response->http_status;
    reader->retry_after_s = response->retry_after_s;
    if (*response->reason)
        error_set(&reader->reason, -EIO, "%s", response->reason);
    free(reader->body);
    reader->body = strndup(response->body, response->size);
}

/* 0 when it was answered, whatever the answer says. */
static int ask(struct kube_reader *reader, const char *path, bool is_list, struct error *err)
{
    const struct kube_request request = {
        .method = "GET", .path = path, .on_data = is_list ? on_data : NULL, .on_done = on_done};
    int r;

    reader->done = false;
    reader->reason = (struct error)ERROR_INIT;
    r = kube_send(reader->client, &request, reader, NULL, err);
    if (r < 0)
        return r;
    while (!reader->done)
        uv_run(&reader->loop, UV_RUN_ONCE);
    if (reader->item_result != 0)
        return 0;
    if (reader->error == -EBADMSG && is_list)
        return error_set(err, -EBADMSG, "GET %s was not answered with a list", path);
    if (reader->error)
        return error_set(err, reader->error, "%s", error_text(&reader->reason));
    return reader->body ? 0 : error_set_errno(err, -ENOMEM, "cannot read %s", path);
}

static void on_timer(uv_timer_t *timer)
{
}

static void wait_before_next(struct kube_reader *reader)
{
    unsigned wait_s = reader->retry_after_s ? reader->retry_after_s : WAIT_S;

    uv_timer_start(&reader->timer, on_timer,
                   (uint64_t)(wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S) * 1000, 0);
    while (uv_is_active((uv_handle_t *)&reader->timer))
        uv_run(&reader->loop, UV_RUN_ONCE);
}

/* The server has too much to do, or is just starting. */
static bool is_passing(unsigned status)
{
    return status == 429 || status == 503 || status == 504;
}

/* Asks again where that helps: a refusal comes before the first item. */
static int ask_patiently(struct kube_reader *reader, const char *path, bool is_list,
                         struct error *err)
{
    int r = 0;

    for (unsigned n = 1; n <= TRIES; n++) {
        r = ask(reader, path, is_list, err);
        if (r < 0 || !is_passing(reader->status) || n == TRIES)
            return r;
        wait_before_next(reader);
    }
    return r;
}

/* What a refusal means. */
static int judge(const struct kube_reader *reader, struct error *err)
{
    if (kube_is_success(reader->status))
        return 0;
    error_set(err, -EIO, "%s", error_text(&reader->reason));
    return reader->status == 403   ? KUBE_READ_FORBIDDEN
           : reader->status == 404 ? KUBE_READ_ABSENT
           : reader->status == 401 ? -EACCES
                                   : -EIO;
}

int kube_read(struct kube_reader *reader, const char *path, json_t **ret_object, struct error *err)
{
    int r = ask_patiently(reader, path, false, err);
    json_t *object;

    if (r == 0)
        r = judge(reader, err);
    if (r != 0)
        return r;
    object = json_loads(reader->body, 0, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return error_set(err, -EBADMSG, "GET %s was not answered with an object", path);
    }
    *ret_object = object;
    return 0;
}

/* ---- lists ---- */

static char *page_path(const char *path, const char *query, const char *next)
{
    struct text url = TEXT_INIT;

    text_addf(&url, "%s?limit=%d", path, PAGE_OBJECTS);
    if (query)
        text_addf(&url, "&%s", query);
    if (next) {
        text_add(&url, "&continue=");
        kube_add_escaped(&url, next);
    }
    return text_take(&url);
}

/* With 410 comes where to go on, in the newest version. NULL: it does not. */
static char *next_of_gone(const struct kube_reader *reader)
{
    json_t *status = json_loads(reader->body, 0, NULL);
    const char *next = kube_text(kube_metadata(status), "continue");
    char *copy = *next ? strdup(next) : NULL;

    json_decref(status);
    return copy;
}

/* One page. *next: of this one, then of the following one; NULL = there is none. */
static int read_page(struct kube_reader *reader, const char *path, const char *query, char **next,
                     struct error *err)
{
    cleanup_free char *url = page_path(path, query, *next), *before = *next;
    const char *following;
    int r;

    *next = NULL;
    splitter_init(&reader->splitter, SPLIT_LIST, KUBE_BODY_MAX, on_object, reader);
    r = url ? ask_patiently(reader, url, true, err) : -ENOMEM;
    if (r == 0 && reader->item_result != 0)
        r = reader->item_result;
    else if (r == 0 && reader->status == 410 && before)
        *next = next_of_gone(reader);
    else if (r == 0)
        r = judge(reader, err);
    if (r == 0 && kube_is_success(reader->status) && splitter_end(&reader->splitter) < 0)
        r = error_set(err, -EBADMSG, "GET %s was not answered with a list", path);
    if (r == 0 && reader->status == 410 && !*next)
        r = judge(reader, err);
    following = r == 0 ? splitter_metadata(&reader->splitter, "continue") : NULL;
    if (following && !*next) {
        *next = strdup(following);
        r = *next ? 0 : error_set_errno(err, -ENOMEM, "cannot read %s", path);
    }
    splitter_deinit(&reader->splitter);
    return r;
}

int kube_read_list(struct kube_reader *reader, const char *path, const char *query,
                   kube_item_fn *on_item, void *userdata, struct error *err)
{
    cleanup_free char *next = NULL;
    int r;

    reader->on_item = on_item;
    reader->userdata = userdata;
    reader->item_result = 0;
    do {
        r = read_page(reader, path, query, &next, err);
    } while (r == 0 && next);
    reader->item_result = 0;
    return r;
}
