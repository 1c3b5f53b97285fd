// SPDX-License-Identifier: Apache-2.0
#include "cluster/events.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/condition.h"
#include "cluster/managed.h"
#include "cluster/tally.h"
#include "kube/backoff.h"
#include "kube/object.h"

enum { FIRST_MS = 1000, LAST_MS = 5 * 60 * 1000, OBJECT_NAME_KEPT = 200 };

struct events {
    uv_timer_t timer;
    struct kube_client *client; /* NULL before events_start */
    const char *node;
    void (*on_rest)(void *userdata);
    void *userdata;
    struct tally tally;
    struct kube_call *call;    /* NULL = none is open */
    struct tally_entry *entry; /* what it is about */
    unsigned n_sent;           /* the count it carries */
    struct backoff backoff;
    bool is_refused;   /* the timer runs after a failure */
    bool is_full_said; /* that events are lost */
    char trouble[256]; /* as it was said; "" = it works */
};

static void pump(struct events *events);

static struct tally_now now(void)
{
    return (struct tally_now){.ms = clock_now_ms(), .wall = time(NULL)};
}

static void on_timer(uv_timer_t *timer)
{
    struct events *events = timer->data;

    events->is_refused = false;
    pump(events);
}

static void say_trouble(struct events *events, const char *reason, unsigned status)
{
    if (str_equal(events->trouble, reason))
        return;
    snprintf(events->trouble, sizeof(events->trouble), "%s", reason);
    log_warning("cannot write events", "reason", reason, "do",
                status == 403 ? "let our service account create and patch events" : NULL);
}

/* A namespace that is gone or being deleted takes no events; that of the Node's is always there. */
static bool is_of_pod(unsigned status)
{
    return status == 403 || status == 404 || status == 410;
}

/* Waits, or gives the entry up when only it is to blame. */
static void on_failure(struct events *events, const struct kube_response *response)
{
    const unsigned status = response->http_status;
    const bool is_of_entry = status >= 400 && status < 500 && status != 401 && status != 429 &&
                             (!is_of_pod(status) || *events->entry->pod);

    say_trouble(events, *response->reason ? response->reason : "no reason given", status);
    if (is_of_entry) {
        tally_forget(events->entry);
        return;
    }
    events->is_refused = true;
    uv_timer_start(&events->timer, on_timer,
                   backoff_next_ms(&events->backoff, response->retry_after_s), 0);
}

static void on_good(struct events *events)
{
    if (*events->trouble)
        log_info("events are written again");
    events->trouble[0] = '\0';
    backoff_reset(&events->backoff);
    events->entry->n_written = events->n_sent;
    events->entry->has_event = true;
}

/* What a proxy answers in the server's place may be 2xx as well. */
static bool is_event(const struct kube_response *response)
{
    json_t *object = json_loadb(response->body, response->size, 0, NULL);
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const bool is_one = kind && str_equal(kind, "Event");

    json_decref(object);
    return is_one;
}

static void on_written(const struct kube_response *response, void *userdata)
{
    struct events *events = userdata;
    struct tally_entry *entry = events->entry;
    const unsigned status = response->http_status;

    events->call = NULL;
    if (kube_is_success(status) && is_event(response)) {
        on_good(events);
    } else if (kube_is_success(status)) {
        on_failure(events, &(struct kube_response){.reason = "what was answered is no event"});
    } else if (status == 409 && !entry->has_event) {
        entry->has_event = true; /* written by an earlier try, whose answer was lost */
    } else if (status == 404 && entry->has_event) {
        entry->has_event = false; /* events live for an hour: say it anew */
        free(TAKE_PTR(entry->event_name));
    } else {
        on_failure(events, response);
    }
    pump(events);
}

static void on_pod(const struct kube_response *response, void *userdata)
{
    struct events *events = userdata;
    const bool is_refused = response->http_status == 403;
    const char *uid = NULL;
    json_t *pod = NULL;

    events->call = NULL;
    if (kube_is_success(response->http_status) && (pod = json_loads(response->body, 0, NULL)))
        uid = json_string_value(json_object_get(json_object_get(pod, "metadata"), "uid"));
    if (uid || is_refused)
        events->entry->pod_uid = strdup(uid ? uid : "");
    if (is_refused && !*events->trouble)
        say_trouble(events, response->reason, 0);
    if (response->http_status == 404)
        tally_forget(events->entry);
    else if (!events->entry->pod_uid)
        on_failure(events, response);
    json_decref(pod);
    pump(events);
}

/* -- requests -------------------------------------------------------------------------------- */

static char *path_of(const char *namespace_, const char *collection, const char *name)
{
    return kube_path(&(struct kube_place){"/api/v1", namespace_, collection, name});
}

/* Events about a Node, which has no namespace, live in this one by convention. */
static const char *namespace_of(const struct tally_entry *entry)
{
    return *entry->pod ? entry->namespace_ : "default";
}

static json_t *involved(const struct events *events, const struct tally_entry *entry)
{
    if (*entry->pod)
        return json_pack("{s:s,s:s,s:s,s:s,s:s*}", "apiVersion", "v1", "kind", "Pod", "namespace",
                         entry->namespace_, "name", entry->pod, "uid",
                         *entry->pod_uid ? entry->pod_uid : NULL);
    /* The kubelet writes its node's name as uid, and kubectl looks for that too. */
    return json_pack("{s:s,s:s,s:s,s:s}", "apiVersion", "v1", "kind", "Node", "name", events->node,
                     "uid", events->node);
}

static json_t *event_object(const struct events *events, const struct tally_entry *entry)
{
    char first[CONDITION_TIME_SIZE], last[CONDITION_TIME_SIZE];

    condition_time(entry->first, first);
    condition_time(entry->last, last);
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:o,s:s,s:s,s:s,s:i,s:s,s:s,s:{s:s,s:s},s:s,s:s}",
                     "apiVersion", "v1", "kind", "Event", "metadata", "name", entry->event_name,
                     "namespace", namespace_of(entry), "involvedObject", involved(events, entry),
                     "reason", entry->reason, "message", entry->message, "type",
                     entry->warning ? "Warning" : "Normal", "count", (int)entry->count,
                     "firstTimestamp", first, "lastTimestamp", last, "source", "component",
                     FIELD_MANAGER, "host", events->node, "reportingComponent", FIELD_MANAGER,
                     "reportingInstance", events->node);
}

static json_t *event_patch(const struct tally_entry *entry)
{
    char last[CONDITION_TIME_SIZE];

    condition_time(entry->last, last);
    return json_pack("[{s:s,s:s,s:i},{s:s,s:s,s:s},{s:s,s:s,s:s}]", "op", "replace", "path",
                     "/count", "value", (int)entry->count, "op", "replace", "path",
                     "/lastTimestamp", "value", last, "op", "replace", "path", "/message", "value",
                     entry->message);
}

static int ask_pod(struct events *events, const struct tally_entry *entry, struct error *err)
{
    cleanup_free char *path = path_of(entry->namespace_, "pods", entry->pod);
    const struct kube_request request = {.method = "GET", .path = path, .on_done = on_pod};

    if (!path)
        return error_set_errno(err, -ENOMEM, "cannot ask for a pod");
    return kube_send(events->client, &request, events, &events->call, err);
}

/* A later try bears the same name: the server then knows it for the same. */
static int name_event(const struct events *events, struct tally_entry *entry)
{
    const char *object = *entry->pod ? entry->pod : events->node;
    size_t length = strnlen(object, OBJECT_NAME_KEPT);

    /* What stands before the dot must end as a name does. */
    while (length && strchr("-.", object[length - 1]))
        length--;
    if (!entry->event_name && asprintf(&entry->event_name, "%.*s.%llx", (int)length, object,
                                       (unsigned long long)clock_now_ns()) < 0)
        entry->event_name = NULL;
    return entry->event_name ? 0 : -ENOMEM;
}

static int create_event(struct events *events, struct tally_entry *entry, struct error *err)
{
    cleanup_free char *path = path_of(namespace_of(entry), "events", NULL);
    json_t *event = name_event(events, entry) == 0 ? event_object(events, entry) : NULL;
    int r;

    r = path && event ? kube_create(events->client, path, FIELD_MANAGER, event, on_written, events,
                                    &events->call, err)
                      : error_set_errno(err, -ENOMEM, "cannot make an event");
    json_decref(event);
    return r;
}

static int patch_event(struct events *events, const struct tally_entry *entry, struct error *err)
{
    cleanup_free char *path = path_of(namespace_of(entry), "events", entry->event_name);
    json_t *patch = event_patch(entry);
    int r;

    r = path && patch ? kube_json_patch(events->client, path, FIELD_MANAGER, patch, on_written,
                                        events, &events->call, err)
                      : error_set_errno(err, -ENOMEM, "cannot make an event");
    json_decref(patch);
    return r;
}

static int send_entry(struct events *events, struct tally_entry *entry, struct error *err)
{
    const struct tally_now moment = now();

    events->entry = entry;
    if (*entry->pod && !entry->pod_uid)
        return ask_pod(events, entry, err);
    events->n_sent = entry->count;
    tally_spend(&events->tally, entry, &moment);
    return entry->has_event ? patch_event(events, entry, err) : create_event(events, entry, err);
}

static void pump(struct events *events)
{
    struct kube_response lost = {.reason = ""};
    struct error err = ERROR_INIT;
    struct tally_entry *entry;
    struct tally_now moment = now();
    uint64_t wait_ms = 0;

    if (events->call || !events->client)
        return;
    entry = events->is_refused ? NULL : tally_next(&events->tally, &moment, &wait_ms);
    if (entry && send_entry(events, entry, &err) < 0) {
        lost.reason = error_text(&err);
        on_failure(events, &lost);
        entry = NULL;
    }
    if (!entry && !events->is_refused && wait_ms != UINT64_MAX)
        uv_timer_start(&events->timer, on_timer, wait_ms, 0);
    if (!entry)
        events->on_rest(events->userdata);
}

/* -- life ------------------------------------------------------------------------------------ */

int events_new(uv_loop_t *loop, const char *node, void (*on_rest)(void *userdata), void *userdata,
               struct events **ret_events, struct error *err)
{
    struct events *events = calloc(1, sizeof(*events));

    if (!events)
        return error_set_errno(err, -ENOMEM, "cannot write events");
    events->node = node;
    events->on_rest = on_rest;
    events->userdata = userdata;
    events->backoff = (struct backoff){.first_ms = FIRST_MS, .last_ms = LAST_MS};
    uv_timer_init(loop, &events->timer);
    events->timer.data = events;
    *ret_events = events;
    return 0;
}

void events_start(struct events *events, struct kube_client *client)
{
    events->client = client;
    pump(events);
}

static void say_one(struct events *events, const struct cluster_event *event,
                    const struct cluster_pod *pod)
{
    const struct tally_sentence sentence = {
        .namespace_ = pod ? pod->namespace_ : "",
        .pod = pod ? pod->name : "",
        .reason = event->reason,
        .message = event->message,
        .warning = event->warning,
    };
    const struct tally_now moment = now();
    const bool is_lost = tally_add(&events->tally, &sentence, &moment) != 0;

    if (is_lost && !events->is_full_said)
        log_warning("events are lost, more of them came than can be written", "reason",
                    event->reason, "message", event->message);
    events->is_full_said = is_lost;
}

void events_say(struct events *events, const struct cluster_event *event)
{
    say_one(events, event, NULL);
    for (size_t i = 0; i < event->n_pods; i++)
        say_one(events, event, &event->pods[i]);
    pump(events);
}

void events_hurry(struct events *events)
{
    backoff_reset(&events->backoff);
    events->is_refused = false;
    pump(events);
}

bool events_are_at_rest(const struct events *events)
{
    return !events || (!events->call &&
                       (events->is_refused || uv_is_active((const uv_handle_t *)&events->timer) ||
                        tally_is_all_written(&events->tally)));
}

static void on_closed(uv_handle_t *handle)
{
    struct events *events = handle->data;

    tally_deinit(&events->tally);
    free(events);
}

void events_free(struct events *events)
{
    if (!events)
        return;
    kube_cancel(TAKE_PTR(events->call));
    uv_close((uv_handle_t *)&events->timer, on_closed);
}
