// SPDX-License-Identifier: Apache-2.0
#include "kube/recorder.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "kube/backoff.h"
#include "kube/correlator.h"
#include "kube/managedfields.h"
#include "kube/object.h"

enum { FIRST_MS = 1000, LAST_MS = 5 * 60 * 1000, OBJECT_NAME_KEPT = 200 };

struct recorder {
    uv_timer_t timer;
    struct kube_client *client; /* NULL before recorder_start */
    const char *node;
    void (*on_idle)(void *userdata);
    void *userdata;
    struct correlator correlator;
    struct kube_call *call;         /* NULL = none pending */
    struct correlator_entry *entry; /* the entry being written */
    unsigned n_sent;                /* the count it carries */
    struct backoff backoff;
    bool is_refused;     /* the timer runs after a failure */
    bool may_try_others; /* ... which may concern only its entry */
    struct lograte trouble, pods_refused, loss;
};

static void take_turn(struct recorder *recorder, struct correlator_entry *entry);
static void pump(struct recorder *recorder);

static struct correlator_now now(void)
{
    return (struct correlator_now){.ms = clock_now_ms(), .wall = time(NULL)};
}

static void on_timer(uv_timer_t *timer)
{
    struct recorder *recorder = timer->data;

    recorder->is_refused = false;
    pump(recorder);
}

static void log_trouble(struct recorder *recorder, const char *reason, unsigned status)
{
    if (!lograte_begin(&recorder->trouble, reason, clock_now_ms()))
        return;
    log_warning("cannot write events", "reason", reason, "hint",
                status == 403 ? "let our service account create and patch events" : NULL);
}

/* A deleted or terminating namespace accepts no events; the Node's namespace always exists. */
static bool is_of_namespace(unsigned status)
{
    return status == 403 || status == 404 || status == 410;
}

/* Backs off, or drops the entry if only that is to blame. */
static void on_failure(struct recorder *recorder, const struct kube_response *response)
{
    const unsigned status = response->http_status;
    const bool is_of_entry = status >= 400 && status < 500 && status != 401 && status != 429 &&
                             (!is_of_namespace(status) || *recorder->entry->namespace_);

    log_trouble(recorder, *response->reason ? response->reason : "no reason given", status);
    if (is_of_entry) {
        correlator_forget(recorder->entry);
        return;
    }
    recorder->is_refused = true;
    /* A failing webhook is a 500 in one namespace; the others concern the whole server. */
    recorder->may_try_others = status >= 500 && status != 503 && status != 504;
    uv_timer_start(&recorder->timer, on_timer,
                   backoff_next_ms(&recorder->backoff, response->retry_after_s), 0);
}

static void on_good(struct recorder *recorder)
{
    if (lograte_end(&recorder->trouble))
        log_info("writing events again");
    backoff_reset(&recorder->backoff);
    recorder->entry->n_written = recorder->n_sent;
    recorder->entry->has_event = true;
}

static void on_written(const struct kube_response *response, void *userdata)
{
    struct recorder *recorder = userdata;
    struct correlator_entry *entry = recorder->entry;
    const unsigned status = response->http_status;
    const bool is_there = status == 409 && !entry->has_event; /* an earlier response was lost */

    recorder->call = NULL;
    if (kube_is_kind(response, "Event") || (is_there && entry->is_once)) {
        on_good(recorder);
    } else if (kube_is_success(status)) {
        on_failure(recorder, &(struct kube_response){.reason = "the response is not an event"});
    } else if (is_there) {
        entry->has_event = true;
    } else if (status == 404 && entry->has_event) {
        entry->has_event = false; /* events expire after an hour: create it again */
        free(TAKE_PTR(entry->event_name));
    } else {
        on_failure(recorder, response);
    }
    pump(recorder);
}

/* Without permission to get pods the events are still written, without the pod's uid. */
static void take_pod(struct recorder *recorder, const struct kube_response *response)
{
    json_t *pod = json_loadb(response->body, response->size, 0, NULL);
    const char *uid = json_string_value(json_object_get(json_object_get(pod, "metadata"), "uid"));
    const bool is_refused = response->http_status == 403;

    if (is_refused && lograte_begin(&recorder->pods_refused, response->reason, clock_now_ms()))
        log_warning("events cannot name the uid of a pod", "reason", response->reason, "hint",
                    "let our service account get pods");
    if (uid && kube_is_success(response->http_status)) {
        lograte_end(&recorder->pods_refused);
        recorder->entry->pod_uid = strdup(uid);
    } else if (is_refused) {
        recorder->entry->pod_uid = strdup("");
    }
    json_decref(pod);
}

static void on_pod(const struct kube_response *response, void *userdata)
{
    struct recorder *recorder = userdata;

    recorder->call = NULL;
    take_pod(recorder, response);
    if (recorder->entry->pod_uid) {
        take_turn(recorder, recorder->entry);
        return;
    }
    if (kube_is_gone(response, recorder->entry->pod))
        correlator_forget(recorder->entry);
    else
        on_failure(recorder, response);
    pump(recorder);
}

/* -- requests -------------------------------------------------------------------------------- */

static char *path_of(const char *namespace_, const char *collection, const char *name)
{
    return kube_path(&(struct kube_place){"/api/v1", namespace_, collection, name});
}

/* Events about a Node, which has no namespace, are in this one by convention. */
static const char *namespace_of(const struct correlator_entry *entry)
{
    return *entry->namespace_ ? entry->namespace_ : "default";
}

static const char *node_of(const struct recorder *recorder, const struct correlator_entry *entry)
{
    return *entry->node ? entry->node : recorder->node;
}

static json_t *involved(const struct recorder *recorder, const struct correlator_entry *entry)
{
    if (*entry->pod)
        return json_pack("{s:s,s:s,s:s,s:s,s:s*}", "apiVersion", "v1", "kind", "Pod", "namespace",
                         entry->namespace_, "name", entry->pod, "uid",
                         *entry->pod_uid ? entry->pod_uid : NULL);
    if (entry->kind)
        return json_pack("{s:s,s:s,s:s*,s:s,s:s}", "apiVersion", entry->api_version, "kind",
                         entry->kind, "namespace", *entry->namespace_ ? entry->namespace_ : NULL,
                         "name", entry->node, "uid", entry->uid);
    /* The kubelet uses the node's name as uid, and kubectl also searches for that. */
    return json_pack("{s:s,s:s,s:s,s:s}", "apiVersion", "v1", "kind", "Node", "name",
                     node_of(recorder, entry), "uid", node_of(recorder, entry));
}

static json_t *event_object(const struct recorder *recorder, const struct correlator_entry *entry)
{
    const char *manager = kube_client_manager(recorder->client);
    char first[KUBE_TIME_SIZE], last[KUBE_TIME_SIZE];

    kube_time_format(entry->first, first);
    kube_time_format(entry->last, last);
    return json_pack(
        "{s:s,s:s,s:{s:s,s:s},s:o,s:s,s:s,s:s,s:i,s:s,s:s,s:{s:s,s:s},s:s,s:s}", "apiVersion", "v1",
        "kind", "Event", "metadata", "name", entry->event_name, "namespace", namespace_of(entry),
        "involvedObject", involved(recorder, entry), "reason", entry->reason, "message",
        entry->message, "type", entry->warning ? "Warning" : "Normal", "count", (int)entry->count,
        "firstTimestamp", first, "lastTimestamp", last, "source", "component", manager, "host",
        recorder->node, "reportingComponent", manager, "reportingInstance", recorder->node);
}

static json_t *event_patch(const struct correlator_entry *entry)
{
    char last[KUBE_TIME_SIZE];

    kube_time_format(entry->last, last);
    return json_pack("[{s:s,s:s,s:i},{s:s,s:s,s:s},{s:s,s:s,s:s}]", "op", "replace", "path",
                     "/count", "value", (int)entry->count, "op", "replace", "path",
                     "/lastTimestamp", "value", last, "op", "replace", "path", "/message", "value",
                     entry->message);
}

static int ask_pod(struct recorder *recorder, const struct correlator_entry *entry,
                   struct error *err)
{
    cleanup_free char *path = path_of(entry->namespace_, "pods", entry->pod);
    const struct kube_request request = {.method = "GET", .path = path, .on_done = on_pod};

    if (!path)
        return error_set_errno(err, -ENOMEM, "cannot get a pod");
    return kube_send(recorder->client, &request, recorder, &recorder->call, err);
}

/* What tells the events of one object apart: when, or for one that is written once, what. */
static uint64_t number_of(const struct correlator_entry *entry)
{
    if (!entry->is_once || !entry->pod_uid)
        return clock_now_ns();
    return hash_text(hash_text(HASH_INIT, entry->reason), entry->pod_uid);
}

/* A retry uses the same name, so the server recognises it. */
static int name_event(const struct recorder *recorder, struct correlator_entry *entry)
{
    const char *object = *entry->pod ? entry->pod : node_of(recorder, entry);
    size_t length = strnlen(object, OBJECT_NAME_KEPT);

    /* The part before the dot must end like a name. */
    while (length && strchr("-.", object[length - 1]))
        length--;
    if (!entry->event_name && asprintf(&entry->event_name, "%.*s.%llx", (int)length, object,
                                       (unsigned long long)number_of(entry)) < 0)
        entry->event_name = NULL;
    return entry->event_name ? 0 : -ENOMEM;
}

static int create_event(struct recorder *recorder, struct correlator_entry *entry,
                        struct error *err)
{
    cleanup_free char *path = path_of(namespace_of(entry), "events", NULL);
    json_t *event = name_event(recorder, entry) == 0 ? event_object(recorder, entry) : NULL;
    int r;

    r = path && event ? kube_create(recorder->client, path, event,
                                    &(struct kube_waiter){.on_done = on_written,
                                                          .userdata = recorder,
                                                          .ret_call = &recorder->call},
                                    err)
                      : error_set_errno(err, -ENOMEM, "cannot create an event");
    json_decref(event);
    return r;
}

static int patch_event(struct recorder *recorder, const struct correlator_entry *entry,
                       struct error *err)
{
    cleanup_free char *path = path_of(namespace_of(entry), "events", entry->event_name);
    json_t *patch = event_patch(entry);
    int r;

    r = path && patch ? kube_json_patch(recorder->client, path, patch,
                                        &(struct kube_waiter){.on_done = on_written,
                                                              .userdata = recorder,
                                                              .ret_call = &recorder->call},
                                        err)
                      : error_set_errno(err, -ENOMEM, "cannot create an event");
    json_decref(patch);
    return r;
}

static int send_entry(struct recorder *recorder, struct correlator_entry *entry, struct error *err)
{
    const struct correlator_now moment = now();

    recorder->entry = entry;
    if (*entry->pod && !entry->pod_uid)
        return ask_pod(recorder, entry, err);
    recorder->n_sent = entry->count;
    correlator_spend(&recorder->correlator, entry, &moment);
    return entry->has_event ? patch_event(recorder, entry, err)
                            : create_event(recorder, entry, err);
}

static void become_idle(struct recorder *recorder, uint64_t wait_ms)
{
    if (!recorder->is_refused && wait_ms != UINT64_MAX)
        uv_timer_start(&recorder->timer, on_timer, wait_ms, 0);
    recorder->on_idle(recorder->userdata);
}

static void take_turn(struct recorder *recorder, struct correlator_entry *entry)
{
    struct kube_response lost = {.reason = ""};
    struct error err = ERROR_INIT;

    if (send_entry(recorder, entry, &err) == 0)
        return;
    lost.reason = error_text(&err);
    on_failure(recorder, &lost);
    become_idle(recorder, UINT64_MAX);
}

static void pump(struct recorder *recorder)
{
    const struct correlator_now moment = now();
    struct correlator_entry *entry = NULL;
    uint64_t wait_ms = UINT64_MAX;

    if (recorder->call || !recorder->client)
        return;
    if (!recorder->is_refused)
        entry = correlator_next(&recorder->correlator, &moment, &wait_ms);
    if (entry)
        take_turn(recorder, entry);
    else
        become_idle(recorder, wait_ms);
}

/* -- life ------------------------------------------------------------------------------------ */

int recorder_new(uv_loop_t *loop, const char *node, void (*on_idle)(void *userdata), void *userdata,
                 struct recorder **ret_recorder, struct error *err)
{
    struct recorder *recorder = calloc(1, sizeof(*recorder));

    if (!recorder)
        return error_set_errno(err, -ENOMEM, "cannot write events");
    recorder->node = node;
    recorder->on_idle = on_idle;
    recorder->userdata = userdata;
    recorder->backoff = (struct backoff){.first_ms = FIRST_MS, .last_ms = LAST_MS};
    uv_timer_init(loop, &recorder->timer);
    recorder->timer.data = recorder;
    *ret_recorder = recorder;
    return 0;
}

void recorder_start(struct recorder *recorder, struct kube_client *client)
{
    recorder->client = client;
    pump(recorder);
}

static bool is_about_the_same(const struct correlator_entry *entry,
                              const struct correlator_event *event)
{
    return str_equal(entry->node, event->node ? event->node : "") &&
           str_equal(entry->namespace_, event->namespace_) && str_equal(entry->pod, event->pod);
}

void recorder_add(struct recorder *recorder, const struct correlator_event *event)
{
    const struct correlator_now moment = now();
    const char *loss = "events are lost, too many to be written";

    if (correlator_add(&recorder->correlator, event, &moment) == 0)
        lograte_end(&recorder->loss);
    else if (lograte_begin(&recorder->loss, loss, moment.ms))
        log_warning(loss, "reason", event->reason, "message", event->message);
    if (recorder->may_try_others && !is_about_the_same(recorder->entry, event))
        recorder->is_refused = false;
    pump(recorder);
}

void recorder_kick(struct recorder *recorder)
{
    backoff_reset(&recorder->backoff);
    recorder->is_refused = false;
    pump(recorder);
}

bool recorder_is_idle(const struct recorder *recorder)
{
    return !recorder || (!recorder->call && (recorder->is_refused ||
                                             uv_is_active((const uv_handle_t *)&recorder->timer) ||
                                             correlator_is_all_written(&recorder->correlator)));
}

static void on_closed(uv_handle_t *handle)
{
    struct recorder *recorder = handle->data;

    correlator_deinit(&recorder->correlator);
    free(recorder);
}

void recorder_free(struct recorder *recorder)
{
    if (!recorder)
        return;
    kube_cancel(TAKE_PTR(recorder->call));
    uv_close((uv_handle_t *)&recorder->timer, on_closed);
}
