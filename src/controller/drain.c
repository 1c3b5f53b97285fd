// SPDX-License-Identifier: Apache-2.0
#include "controller/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "kube/backoff.h"
#include "kube/field.h"
#include "kube/object.h"

enum { HTTP_BLOCKED = 429 /* by a disruption budget */ };

struct drain {
    const struct drain_setup *setup;
    char *node;
    uv_timer_t timer;       /* the next pass */
    struct kube_call *call; /* NULL = none pending */
    struct backoff backoff;
    char *seen; /* what a pass depends on, as of the last Node */
    struct migwaits waits;
    enum drain_consent consent;
    bool is_ready;              /* the Node */
    size_t next;                /* the pod that is looked at */
    unsigned n_blocked, n_left; /* in this pass */
    unsigned last_blocked, last_left;
    unsigned retry_after_s; /* the longest that a refusal of this pass asked for; 0 = none did */
    bool is_refused;        /* something of this pass is to be tried again */
};

static void look_at_next(struct drain *drain);

/* -- reports ----------------------------------------------------------------------------------- */

static const struct migwaits_pod *current(const struct drain *drain)
{
    return &drain->waits.pods[drain->next];
}

/* On the Node, and on the pod. */
static void report(const struct drain *drain, bool warning, const char *reason, const char *what)
{
    const struct migwaits_pod *pod = current(drain);
    cleanup_text struct text message = TEXT_INIT;
    struct correlator_event event = {
        .node = drain->node, .namespace_ = "", .pod = "", .reason = reason, .warning = warning};

    text_addf(&message, "pod %s/%s, which holds what the MIG layout %s needs, %s", pod->namespace_,
              pod->name, drain->waits.layout, what);
    event.message = text_string(&message);
    recorder_add(drain->setup->recorder, &event);
    event.namespace_ = pod->namespace_;
    event.pod = pod->name;
    recorder_add(drain->setup->recorder, &event);
}

static void report_left(struct drain *drain, const char *why)
{
    cleanup_text struct text what = TEXT_INIT;

    drain->n_left++;
    text_addf(&what, "is not evicted: it %s", why);
    report(drain, true, "MIGDrainLeft", text_string(&what));
}

/* -- one pass ---------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct drain *drain = timer->data;

    drain->next = 0;
    drain->n_blocked = drain->n_left = drain->retry_after_s = 0;
    drain->is_refused = false;
    look_at_next(drain);
}

static void end_pass(struct drain *drain)
{
    unsigned wait_ms = DRAIN_LOOK_MS;

    drain->last_blocked = drain->n_blocked;
    drain->last_left = drain->n_left;
    if (drain->is_refused)
        wait_ms = backoff_next_ms(&drain->backoff, drain->retry_after_s);
    else
        backoff_reset(&drain->backoff);
    uv_timer_start(&drain->timer, on_timer, wait_ms, 0);
}

static void look_further(struct drain *drain)
{
    drain->next++;
    look_at_next(drain);
}

/* Also without an answer. */
static void on_failure(struct drain *drain, const char *doing, const char *reason)
{
    const struct migwaits_pod *pod = current(drain);

    drain->is_refused = true;
    log_warning(doing, "node", drain->node, "namespace", pod->namespace_, "pod", pod->name,
                "reason", *reason ? reason : "the server gave no reason");
}

/* -- eviction ---------------------------------------------------------------------------------- */

/* Which budget it is: "The disruption budget web needs 2 healthy pods and has 2 currently". */
static void add_causes(const struct kube_response *response, struct text *text)
{
    json_t *status = json_loadb(response->body, response->size, 0, NULL), *cause;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(status, "details"), "causes"), i, cause)
    {
        const char *message = kube_text(cause, "message");

        if (*message)
            text_addf(text, "; %s", message);
    }
    json_decref(status);
}

static void on_blocked(struct drain *drain, const struct kube_response *response)
{
    cleanup_text struct text what = TEXT_INIT;

    drain->is_refused = true;
    drain->n_blocked++;
    drain->setup->counters->blocked++;
    if (response->retry_after_s > drain->retry_after_s)
        drain->retry_after_s = response->retry_after_s;
    text_addf(&what, "may not be evicted yet: %s", response->reason);
    add_causes(response, &what);
    report(drain, true, "MIGDrainBlocked", text_string(&what));
}

/* A conflict: the pod of this name is another one by now, or is just being changed. */
static void on_evicted(const struct kube_response *response, void *userdata)
{
    struct drain *drain = userdata;
    const struct migwaits_pod *pod = current(drain);

    drain->call = NULL;
    if (kube_is_kind(response, "Status")) {
        drain->setup->counters->evicted++;
        report(drain, false, "MIGDrainEvicted", "is evicted");
    } else if (response->http_status == HTTP_BLOCKED) {
        on_blocked(drain, response);
    } else if (!kube_is_gone(response, pod->name)) {
        drain->setup->counters->failed++;
        on_failure(drain, "cannot evict a pod", response->reason);
    }
    look_further(drain);
}

static json_t *make_eviction(const struct migwaits_pod *pod)
{
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:{s:s}}}", "apiVersion", "policy/v1", "kind",
                     "Eviction", "metadata", "name", pod->name, "namespace", pod->namespace_,
                     "deleteOptions", "preconditions", "uid", pod->uid);
}

static int evict(struct drain *drain, struct error *err)
{
    const struct migwaits_pod *pod = current(drain);
    cleanup_free char *pod_path =
        kube_path(&(struct kube_place){"/api/v1", pod->namespace_, "pods", pod->name});
    cleanup_text struct text path = TEXT_INIT;
    json_t *eviction = make_eviction(pod);
    int r;

    text_addf(&path, "%s/eviction", pod_path ? pod_path : "");
    if (!pod_path || !eviction || text_failed(&path))
        r = error_set_errno(err, -ENOMEM, "cannot evict a pod");
    else
        r = kube_create(drain->setup->client, text_string(&path), eviction,
                        &(struct kube_waiter){
                            .on_done = on_evicted, .userdata = drain, .ret_call = &drain->call},
                        err);
    json_decref(eviction);
    return r;
}

/* -- one pod ----------------------------------------------------------------------------------- */

/* True if a request is under way. */
static bool act(struct drain *drain, const json_t *pod)
{
    struct error err = ERROR_INIT;
    const char *why;

    switch (drainplan_pod(pod, current(drain), drain->node, drain->consent, &why)) {
    case DRAIN_LEFT:
        report_left(drain, why);
        return false;
    case DRAIN_EVICT:
        if (!drain->setup->may_write(drain->setup->userdata))
            return false; /* another leader does it */
        if (evict(drain, &err) == 0)
            return true;
        on_failure(drain, "cannot evict a pod", error_text(&err));
        return false;
    case DRAIN_GONE:
    case DRAIN_GOING:
    case DRAIN_UNKNOWN:
        return false;
    }
    return false;
}

static void on_pod(const struct kube_response *response, void *userdata)
{
    struct drain *drain = userdata;
    const bool is_there = kube_is_kind(response, "Pod");
    bool is_acting = false;
    json_t *pod;

    drain->call = NULL;
    if (is_there || kube_is_gone(response, current(drain)->name)) {
        pod = is_there ? json_loadb(response->body, response->size, 0, NULL) : NULL;
        is_acting = act(drain, pod);
        json_decref(pod);
    } else {
        on_failure(drain, "cannot get a pod", response->reason);
    }
    if (!is_acting)
        look_further(drain);
}

static int get_pod(struct drain *drain, struct error *err)
{
    const struct migwaits_pod *pod = current(drain);
    cleanup_free char *path =
        kube_path(&(struct kube_place){"/api/v1", pod->namespace_, "pods", pod->name});
    const struct kube_request request = {.method = "GET", .path = path, .on_done = on_pod};

    return path ? kube_send(drain->setup->client, &request, drain, &drain->call, err)
                : error_set_errno(err, -ENOMEM, "cannot get a pod");
}

static void look_at_next(struct drain *drain)
{
    struct error err = ERROR_INIT;

    while (drain->next < drain->waits.n_pods) {
        if (get_pod(drain, &err) == 0)
            return;
        on_failure(drain, "cannot get a pod", error_text(&err));
        drain->next++;
    }
    end_pass(drain);
}

/* -- the Node ---------------------------------------------------------------------------------- */

/* On one that is not, nobody would end the pods. */
static bool is_node_ready(const json_t *node)
{
    return kube_says(kube_condition(node, "Ready"), "status", "True");
}

static void complain(const struct drain *drain, const char *reason, const char *message)
{
    log_warning(message, "node", drain->node);
    recorder_add(drain->setup->recorder, &(struct correlator_event){.node = drain->node,
                                                                    .namespace_ = "",
                                                                    .pod = "",
                                                                    .reason = reason,
                                                                    .message = message,
                                                                    .warning = true});
}

static enum drain_consent read_consent(const struct drain *drain, const char *word)
{
    enum drain_consent consent = drain->setup->consent;
    cleanup_text struct text message = TEXT_INIT;

    if (!word || drain_consent_parse(word, &consent))
        return consent;
    text_addf(&message,
              "the annotation " DRAINPLAN_ANNOTATION
              " is \"%s\", so no pod is evicted; write allowed, forced or denied",
              word);
    complain(drain, "MIGDrainUnclear", text_string(&message));
    return DRAIN_DENIED;
}

static void read_waits(struct drain *drain, const char *text)
{
    struct error err = ERROR_INIT;
    cleanup_text struct text message = TEXT_INIT;

    migwaits_deinit(&drain->waits);
    if (migwaits_read(text, &drain->waits, &err) == 0)
        return;
    text_addf(&message, "the annotation " MIGWAITS_ANNOTATION " cannot be read: %s",
              error_text(&err));
    complain(drain, "MIGDrainUnclear", text_string(&message));
}

/* Everything of the Node that a pass depends on; NULL without memory. */
static char *summarize(const char *waits, const char *word, bool is_ready)
{
    cleanup_text struct text text = TEXT_INIT;

    text_addf(&text, "%d %s %s", is_ready, word ? word : "(none)", waits);
    return text_take(&text);
}

/* Without consent nothing is asked: the agent has said already what it waits for. */
static void restart(struct drain *drain)
{
    kube_cancel(TAKE_PTR(drain->call));
    uv_timer_stop(&drain->timer);
    backoff_reset(&drain->backoff);
    drain->last_blocked = drain->last_left = 0;
    if (drain->is_ready && drain->consent != DRAIN_DENIED && drain->waits.n_pods)
        uv_timer_start(&drain->timer, on_timer, 0, 0);
}

bool drain_see(struct drain *drain, const json_t *node)
{
    const char *waits = kube_annotation(node, MIGWAITS_ANNOTATION);
    const char *word = kube_annotation(node, DRAINPLAN_ANNOTATION);
    cleanup_free char *now = NULL;

    if (!waits)
        return false;
    now = summarize(waits, word, is_node_ready(node));
    if (!now || (drain->seen && str_equal(now, drain->seen)))
        return true;
    free(drain->seen);
    drain->seen = TAKE_PTR(now);
    drain->is_ready = is_node_ready(node);
    drain->consent = read_consent(drain, word);
    read_waits(drain, waits);
    restart(drain);
    return true;
}

/* -- life -------------------------------------------------------------------------------------- */

const char *drain_node(const struct drain *drain)
{
    return drain->node;
}

void drain_count(const struct drain *drain, unsigned *blocked, unsigned *left)
{
    *blocked += drain->last_blocked;
    *left += drain->last_left;
}

struct drain *drain_new(const struct drain_setup *setup, const char *node)
{
    struct drain *drain = calloc(1, sizeof(*drain));

    if (!drain)
        return NULL;
    *drain = (struct drain){
        .setup = setup,
        .node = strdup(node),
        .backoff = {.first_ms = DRAIN_RETRY_FIRST_MS, .last_ms = DRAIN_RETRY_LAST_MS},
    };
    if (!drain->node) {
        free(drain);
        return NULL;
    }
    uv_timer_init(setup->loop, &drain->timer);
    drain->timer.data = drain;
    return drain;
}

static void on_closed(uv_handle_t *handle)
{
    struct drain *drain = handle->data;

    migwaits_deinit(&drain->waits);
    free(drain->seen);
    free(drain->node);
    free(drain);
}

void drain_free(struct drain *drain)
{
    if (!drain)
        return;
    kube_cancel(TAKE_PTR(drain->call));
    uv_close((uv_handle_t *)&drain->timer, on_closed);
}
