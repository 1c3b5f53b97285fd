// SPDX-License-Identifier: Apache-2.0
#include "kube/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/lograte.h"
#include "base/text.h"
#include "kube/backoff.h"
#include "kube/object.h"
#include "kube/splitter.h"

enum {
    PAGE_OBJECTS = 500,
    LIST_IDLE_MS = 30000,
    /* Bookmarks arrive about once a minute: two and a half of them. */
    WATCH_IDLE_MS = 150000,
    WATCH_LEAST_S = 240, /* plus up to half as much again, so that not all end together */
    LIVED_MS = 1000,     /* a watch open for this long counts as working */
    REFUSALS = 3,        /* in a row for one version: the server may never have had it */
    BREAKS = 3,          /* in a row, of watches that had just started */
};

enum phase { LISTING, WATCHING };

struct kube_watch {
    struct kube_client *client;
    struct kube_watch_events events;
    void *userdata;
    char *path, *query;
    uv_timer_t timer; /* before a call: the next try; during it: on_lived */
    struct backoff backoff;

    enum phase phase;
    struct kube_call *call;
    struct splitter splitter;
    char *version;       /* of the last object seen */
    char *page;          /* the next page's token; NULL = start of a list */
    bool unpaged;        /* a page expired before it was read: list without paging */
    bool opened;         /* the response has started */
    int fault;           /* the error that ended the stream; 0 = none */
    bool gone;           /* ... the version has expired */
    char *said;          /* ... the server's message */
    unsigned n_refusals; /* for this version, in a row */
    unsigned n_breaks;   /* of watches that had just started, in a row */
    bool lived;          /* the watch has been open for LIVED_MS */
    unsigned refusal;    /* the status by which the server refused last; 0 = another failure */

    struct lograte trouble; /* as reported */

    unsigned busy;
    bool freed;
};

static void begin(struct kube_watch *watch);

/* ---- lifetime, during callbacks ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct kube_watch *watch = handle->data;

    splitter_deinit(&watch->splitter);
    free(watch->path);
    free(watch->query);
    free(watch->version);
    free(watch->page);
    free(watch->said);
    free(watch);
}

static void enter(struct kube_watch *watch)
{
    watch->busy++;
}

static void leave(struct kube_watch *watch)
{
    if (--watch->busy == 0 && watch->freed)
        uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}

/* ---- trouble, reported once ---- */

static void report_trouble(struct kube_watch *watch, const char *reason)
{
    if (!lograte_change(&watch->trouble, reason))
        return;
    if (watch->events.on_trouble && !watch->freed)
        watch->events.on_trouble(reason, watch->userdata);
}

static void report_reachable(struct kube_watch *watch)
{
    if (!lograte_end(&watch->trouble))
        return;
    if (watch->events.on_trouble && !watch->freed)
        watch->events.on_trouble(NULL, watch->userdata);
}

/* ---- incoming data ---- */

static int set_string(char **where, const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        return -ENOMEM;
    free(*where);
    *where = copy;
    return 0;
}

static const char *version_of(const json_t *object)
{
    const char *version =
        json_string_value(json_object_get(json_object_get(object, "metadata"), "resourceVersion"));

    return version && version[0] ? version : NULL;
}

/* Nonzero if the caller has freed the watch. */
static int hand_object(struct kube_watch *watch, enum kube_change change, json_t *object)
{
    if (!watch->freed)
        watch->events.on_object(change, object, watch->userdata);
    return watch->freed ? -ECANCELED : 0;
}

static int on_item(const char *json, size_t size, void *userdata)
{
    struct kube_watch *watch = userdata;
    json_t *object = json_loadb(json, size, 0, NULL);
    int r = object ? hand_object(watch, KUBE_ADDED, object) : -EBADMSG;

    json_decref(object);
    return r;
}

/* An ERROR event contains a Status. 410: the version has expired. */
static int take_error(struct kube_watch *watch, const json_t *status)
{
    const char *message = json_string_value(json_object_get(status, "message"));

    watch->gone = json_integer_value(json_object_get(status, "code")) == 410;
    (void)set_string(&watch->said,
                     message ? message : "the API server reports ERROR without a reason");
    return -EREMOTEIO;
}

static int take_event(struct kube_watch *watch, const char *type, json_t *object)
{
    static const struct {
        const char *type;
        enum kube_change change;
    } changes[] = {{"ADDED", KUBE_ADDED}, {"MODIFIED", KUBE_MODIFIED}, {"DELETED", KUBE_DELETED}};
    const char *version = version_of(object);
    int r;

    if (str_equal(type, "ERROR"))
        return take_error(watch, object);
    if (!version)
        return -EBADMSG;
    r = set_string(&watch->version, version);
    if (r < 0)
        return r;
    watch->n_refusals = watch->n_breaks = 0;
    report_reachable(watch);
    if (str_equal(type, "BOOKMARK"))
        return watch->freed ? -ECANCELED : 0;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        if (str_equal(changes[i].type, type))
            return hand_object(watch, changes[i].change, object);
    return -EBADMSG;
}

static int on_event(const char *json, size_t size, void *userdata)
{
    struct kube_watch *watch = userdata;
    json_t *event = json_loadb(json, size, 0, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *object = json_object_get(event, "object");
    int r = type && json_is_object(object) ? take_event(watch, type, object) : -EBADMSG;

    json_decref(event);
    return r;
}

static int on_data(const char *data, size_t size, void *userdata)
{
    struct kube_watch *watch = userdata;

    enter(watch);
    watch->fault = splitter_feed(&watch->splitter, data, size);
    leave(watch);
    return watch->fault;
}

static void on_lived(uv_timer_t *timer)
{
    struct kube_watch *watch = timer->data;

    watch->lived = true;
    watch->n_breaks = watch->n_refusals = 0;
    backoff_reset(&watch->backoff);
    enter(watch);
    report_reachable(watch);
    leave(watch);
}

static void on_open(void *userdata)
{
    struct kube_watch *watch = userdata;

    watch->opened = true;
    if (watch->phase == WATCHING) {
        uv_timer_start(&watch->timer, on_lived, LIVED_MS, 0);
    } else if (!watch->page && watch->events.on_relist) {
        enter(watch);
        watch->events.on_relist(watch->userdata);
        leave(watch);
    }
}

/* ---- what follows ---- */

static void on_retry(uv_timer_t *timer)
{
    struct kube_watch *watch = timer->data;

    enter(watch);
    begin(watch);
    leave(watch);
}

static void begin_in(struct kube_watch *watch, unsigned wait_ms)
{
    if (!watch->freed)
        uv_timer_start(&watch->timer, on_retry, wait_ms, 0);
}

static void begin_later(struct kube_watch *watch, unsigned retry_after_s)
{
    begin_in(watch, backoff_next_ms(&watch->backoff, retry_after_s));
}

static void list_again(struct kube_watch *watch)
{
    watch->phase = LISTING;
    watch->n_refusals = 0;
    free(watch->page);
    watch->page = NULL;
}

/* A page is complete: read the next one, or start the watch. */
static void end_page(struct kube_watch *watch)
{
    const char *next = splitter_metadata(&watch->splitter, "continue");
    int r = set_string(&watch->version, splitter_metadata(&watch->splitter, "resourceVersion"));

    if (r == 0)
        r = set_string(&watch->page, next);
    if (r < 0 || !watch->version) {
        report_trouble(watch,
                       r < 0 ? strerror(-r) : "the API server's list has no resourceVersion");
        list_again(watch);
        begin_later(watch, 0);
        return;
    }
    if (!watch->page) {
        watch->phase = WATCHING;
        watch->unpaged = false;
        watch->events.on_synced(watch->userdata);
    }
    begin_in(watch, 0);
}

/* The version, or the page, has expired. */
static void end_gone(struct kube_watch *watch)
{
    watch->unpaged = watch->phase == LISTING && watch->page;
    list_again(watch);
    begin_later(watch, 0);
}

/* The server responded with a refusal. */
static void end_refused(struct kube_watch *watch, const char *reason, unsigned retry_after_s)
{
    report_trouble(watch, reason);
    if (watch->phase == LISTING || ++watch->n_refusals >= REFUSALS)
        list_again(watch);
    begin_later(watch, retry_after_s);
}

static void end_senseless(struct kube_watch *watch, const char *reason)
{
    report_trouble(watch, reason);
    list_again(watch);
    begin_later(watch, 0);
}

/* No response, or an incomplete one. A watch may break: only the next tries show whether that is
 * trouble. */
static void end_broken(struct kube_watch *watch, const char *reason)
{
    if (watch->phase == LISTING || !watch->opened || ++watch->n_breaks >= BREAKS)
        report_trouble(watch, reason);
    begin_later(watch, 0);
}

/* Servers end watches after a while; one that does so immediately must not cause a hot loop. */
static void end_watch(struct kube_watch *watch)
{
    if (watch->lived)
        begin_in(watch, 0);
    else
        begin_later(watch, 0);
}

/* The stream failed because of its content. */
static void judge_fault(struct kube_watch *watch, const char *transport_reason)
{
    char reason[768];

    if (watch->fault == -EREMOTEIO) {
        snprintf(reason, sizeof(reason), "watching %s: %s", watch->path, watch->said);
        end_refused(watch, reason, 0);
    } else if (watch->fault == -EMSGSIZE) {
        snprintf(reason, sizeof(reason), "%s contains an object of more than %d MiB", watch->path,
                 KUBE_BODY_MAX >> 20);
        end_senseless(watch, reason);
    } else {
        end_senseless(watch, transport_reason);
    }
}

/* The stream ended normally. */
static void judge_end(struct kube_watch *watch)
{
    char reason[768];
    bool is_list = watch->phase == LISTING;

    if (splitter_end(&watch->splitter) < 0) {
        snprintf(reason, sizeof(reason), "GET %s: the response %s", watch->path,
                 is_list ? "is not a list" : "ends within an event");
        (is_list ? end_senseless : end_broken)(watch, reason);
    } else if (is_list) {
        end_page(watch);
    } else {
        end_watch(watch);
    }
}

static void judge(struct kube_watch *watch, const struct kube_response *response)
{
    if (watch->gone || response->http_status == 410)
        end_gone(watch);
    else if (watch->fault)
        judge_fault(watch, response->reason);
    else if (response->error)
        end_broken(watch, response->reason);
    else if (!kube_is_success(response->http_status))
        end_refused(watch, response->reason, response->retry_after_s);
    else
        judge_end(watch);
}

static void on_done(const struct kube_response *response, void *userdata)
{
    struct kube_watch *watch = userdata;

    watch->call = NULL;
    watch->refusal = kube_is_success(response->http_status) ? 0 : response->http_status;
    enter(watch);
    judge(watch, response);
    leave(watch);
}

/* ---- asking ---- */

static void add_query(const struct kube_watch *watch, struct text *url)
{
    unsigned random = 0;

    if (watch->phase == WATCHING) {
        (void)getrandom(&random, sizeof(random), GRND_NONBLOCK);
        text_addf(url, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=",
                  WATCH_LEAST_S + random % (WATCH_LEAST_S / 2 + 1));
        kube_add_escaped(url, watch->version);
        return;
    }
    /* Without a version, a list is current, at least as new as everything seen before. A page
     * expires with the version it started with; a list in one response cannot. */
    if (watch->unpaged)
        text_add(url, "resourceVersion=");
    else
        text_addf(url, "limit=%u", PAGE_OBJECTS);
    if (watch->page) {
        text_add(url, "&continue=");
        kube_add_escaped(url, watch->page);
    }
}

static int ask(struct kube_watch *watch, struct error *err)
{
    cleanup_text struct text url = TEXT_INIT;
    bool is_list = watch->phase == LISTING;
    unsigned watch_idle_ms = watch->events.idle_ms ? watch->events.idle_ms : WATCH_IDLE_MS;

    text_addf(&url, "%s?", watch->path);
    if (watch->query)
        text_addf(&url, "%s&", watch->query);
    add_query(watch, &url);
    if (text_failed(&url))
        return error_set_errno(err, -ENOMEM, "cannot request %s", watch->path);
    splitter_deinit(&watch->splitter);
    splitter_init(&watch->splitter, is_list ? SPLIT_LIST : SPLIT_EVENTS, KUBE_BODY_MAX,
                  is_list ? on_item : on_event, watch);
    watch->fault = 0;
    watch->gone = watch->opened = watch->lived = false;
    return kube_send(watch->client,
                     &(struct kube_request){
                         .method = "GET",
                         .path = url.data,
                         .idle_ms = is_list ? LIST_IDLE_MS : watch_idle_ms,
                         .on_data = on_data,
                         .on_open = on_open,
                         .on_done = on_done,
                     },
                     watch, &watch->call, err);
}

static void begin(struct kube_watch *watch)
{
    struct error err = ERROR_INIT;

    if (ask(watch, &err) == 0)
        return;
    watch->call = NULL;
    report_trouble(watch, error_text(&err));
    begin_later(watch, 0);
}

int kube_watch_new(uv_loop_t *loop, const struct kube_watch_setup *setup,
                   struct kube_watch **ret_watch, struct error *err)
{
    struct kube_watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return error_set_errno(err, -ENOMEM, "cannot watch %s", setup->path);
    *watch = (struct kube_watch){
        .client = setup->client, .events = *setup->events, .userdata = setup->userdata};
    watch->path = strdup(setup->path);
    watch->query = setup->query ? strdup(setup->query) : NULL;
    if (!watch->path || (setup->query && !watch->query)) {
        free(watch->path);
        free(watch->query);
        free(watch);
        return error_set_errno(err, -ENOMEM, "cannot watch %s", setup->path);
    }
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    begin_in(watch, 0);
    *ret_watch = watch;
    return 0;
}

unsigned kube_watch_refusal(const struct kube_watch *watch)
{
    return watch->refusal;
}

void kube_watch_free(struct kube_watch *watch)
{
    if (!watch)
        return;
    enter(watch);
    watch->freed = true;
    kube_cancel(watch->call);
    watch->call = NULL;
    uv_timer_stop(&watch->timer);
    leave(watch);
}
