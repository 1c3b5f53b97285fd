// SPDX-License-Identifier: Apache-2.0
#include "node/publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "karpenter/nodekeys.h"
#include "node/labelfile.h"
#include "node/mignames.h"
#include "node/migwish.h"
#include "node/nodestate.h"

enum { SOON_MS = 20 /* changes rarely come alone */ };

/* An event waiting for the names of the pods. */
struct pending {
    struct publisher *publisher;
    struct pending *next;
    bool warning;
    const char *reason; /* static */
    char message[];
};

struct publisher {
    uv_timer_t look;
    const struct facts *facts;
    struct podresources *podresources;
    void *userdata;
    struct synclink *link; /* NULL without a node's name */
    struct labelfile labelfile;
    struct pending *pending;     /* a list */
    uint64_t unsettled_since_ms; /* 0 = settled */
};

/* --- the state --- */

static void write_file(struct publisher *publisher, struct sync_state *state)
{
    const char *path = nodestate_label_file(publisher->facts);

    if (state->keeps_labels)
        return; /* those in the file as well */
    if (!path || !state->n_labels) {
        labelfile_write(&publisher->labelfile, NULL, NULL, 0);
        return;
    }
    if (nodestate_add_timestamp(publisher->facts, state) == 0)
        labelfile_write(&publisher->labelfile, path, state->labels, state->n_labels);
}

static void publish(struct publisher *publisher, struct sync_state *state)
{
    synclink_state(publisher->link, state);
    write_file(publisher, state); /* last: it adds the time */
}

static void on_check(uv_timer_t *timer);

/* True if resources still being registered have had their time. */
static bool is_due(struct publisher *publisher, bool settling)
{
    const uint64_t now_ms = uv_now(publisher->look.loop);
    uint64_t due_ms;

    if (!settling) {
        publisher->unsettled_since_ms = 0;
        return true;
    }
    if (!publisher->unsettled_since_ms)
        publisher->unsettled_since_ms = now_ms;
    due_ms = publisher->unsettled_since_ms + PUBLISHER_SETTLE_MS;
    if (now_ms >= due_ms)
        return true;
    uv_timer_start(&publisher->look, on_check, due_ms - now_ms, 0);
    return false;
}

static void on_check(uv_timer_t *timer)
{
    struct publisher *publisher = timer->data;
    struct sync_state state;
    int r = nodestate_make(publisher->facts, &state);

    if (r < 0)
        log_error("out of memory for the state of this node");
    if (r < 0 || r == NODESTATE_UNKNOWN)
        return;
    if (is_due(publisher, r == NODESTATE_SETTLING))
        publish(publisher, &state);
    sync_state_deinit(&state);
}

void publisher_touch(struct publisher *publisher)
{
    if (!publisher ||
        (!publisher->link && !publisher->labelfile.path && !nodestate_label_file(publisher->facts)))
        return; /* there is no receiver */
    if (!uv_is_active((uv_handle_t *)&publisher->look) ||
        uv_timer_get_due_in(&publisher->look) > SOON_MS)
        uv_timer_start(&publisher->look, on_check, SOON_MS, 0);
}

/* --- events --- */

void publisher_event(struct publisher *publisher, bool warning, const char *reason,
                     const char *message, const struct sync_pod *pods, size_t n_pods)
{
    const struct sync_event event = {
        .warning = warning,
        .reason = (char *)(uintptr_t)reason, /* only read */
        .message = (char *)(uintptr_t)message,
        .pods = (struct sync_pod *)(uintptr_t)pods,
        .n_pods = n_pods,
    };

    if (!publisher || (publisher->facts->machine_known && !publisher->facts->machine.n_gpus))
        return; /* a node without a GPU reports nothing */
    synclink_event(publisher->link, &event);
}

void publisher_pod_event(struct publisher *publisher, const char *reason, const char *message,
                         const struct sync_pod *pod)
{
    const struct sync_event event = {
        .warning = true,
        .is_of_pods = true,
        .reason = (char *)(uintptr_t)reason, /* only read */
        .message = (char *)(uintptr_t)message,
        .pods = (struct sync_pod *)(uintptr_t)pod,
        .n_pods = 1,
    };

    if (publisher)
        synclink_event(publisher->link, &event);
}

static void unlink_pending(struct pending *pending)
{
    struct pending **link = &pending->publisher->pending;

    while (*link != pending)
        link = &(*link)->next;
    *link = pending->next;
}

static void on_holders(const struct podresources_pod *pods, size_t n_pods, void *userdata)
{
    cleanup_free struct pending *pending = userdata;
    cleanup_free struct sync_pod *named = calloc(n_pods + 1, sizeof(*named));
    size_t n = 0;

    unlink_pending(pending);
    for (size_t i = 0; named && i < n_pods; i++)
        if (*pods[i].namespace_ && *pods[i].name)
            named[n++] = (struct sync_pod){(char *)(uintptr_t)pods[i].namespace_,
                                           (char *)(uintptr_t)pods[i].name};
    publisher_event(pending->publisher, pending->warning, pending->reason, pending->message, named,
                    n);
}

/* The ids of a GPU's devices in an offer, as known to the kubelet; borrowed from it. */
static int collect_ids(const struct offer *offer, const char *uuid, const char ***ids, size_t *n,
                       size_t *capacity)
{
    for (size_t i = 0; offer && i < offer->plan->n_resources; i++) {
        const struct plan_resource *resource = &offer->plan->resources[i];

        for (size_t k = 0; k < resource->n_slices; k++) {
            const struct slice *slice = &resource->slices[k];
            const char **place;

            if (!str_equal(offer->plan->devices[slice->device].device.uuid, uuid))
                continue;
            place = array_push(ids, n, capacity, sizeof(*place));
            if (!place)
                return -ENOMEM;
            *place = slice->id;
        }
    }
    return 0;
}

void publisher_device_event(struct publisher *publisher, const char *uuid, bool warning,
                            const char *reason, const char *message)
{
    const size_t size = strlen(message) + 1;
    cleanup_free const char **ids = NULL;
    struct pending *pending;
    size_t n = 0, capacity = 0;

    if (!publisher || !publisher->link)
        return;
    pending = malloc(sizeof(*pending) + size);
    if (!pending)
        return;
    *pending = (struct pending){publisher, publisher->pending, warning, reason};
    publisher->pending = pending;
    memcpy(pending->message, message, size);
    if (collect_ids(publisher->facts->offer, uuid, &ids, &n, &capacity) == 0 &&
        collect_ids(publisher->facts->earlier, uuid, &ids, &n, &capacity) == 0 && n &&
        podresources_ask(publisher->podresources, ids, n, on_holders, pending) == 0)
        return;
    on_holders(NULL, 0, pending);
}

/* --- questions --- */

bool publisher_has_cluster(const struct publisher *publisher)
{
    return publisher && publisher->link;
}

bool publisher_is_connected(const struct publisher *publisher)
{
    return publisher && synclink_is_connected(publisher->link);
}

uint64_t publisher_lost_events(const struct publisher *publisher)
{
    return publisher ? synclink_lost_events(publisher->link) : 0;
}

/* --- life --- */

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)(text ? text : ""); /* only read */
}

int publisher_new(uv_loop_t *loop, const struct publisher_options *options,
                  struct publisher **ret_publisher, struct error *err)
{
    const struct agent_flags *flags = options->facts->flags;
    /* The last one only if it selects a file. */
    char *labels[] = {text_of(MIGWISH_LABEL), text_of(SLICEPROFILE_LABEL),
                      text_of(NODEPROMISE_TYPE), text_of(flags->node_label)};
    char *annotations[] = {text_of(MIGWISH_ANNOTATION), text_of(MIGNAMES_ANNOTATION),
                           text_of(SLICEPROFILE_CONFIG), text_of(SLICEPROFILE_PROMISE)};
    const struct sync_setup setup = {
        .node = text_of(flags->node_name),
        .kubeconfig = text_of(flags->kubeconfig),
        .namespace_ = text_of(flags->namespace_),
        .pod = text_of(flags->pod_name),
        .lease = text_of(flags->controller_lease),
        .watched_labels = labels,
        .n_watched_labels = ARRAY_SIZE(labels) - !(flags->config_folder && flags->node_label),
        .watched_annotations = annotations,
        .n_watched_annotations = ARRAY_SIZE(annotations),
    };
    const struct synclink_options sync = {
        .setup = &setup, .listener = options->listener, .deadline_ms = flags->peer_deadline_ms};
    cleanup_free struct publisher *publisher = calloc(1, sizeof(*publisher));
    int r = 0;

    if (!publisher)
        return error_set_errno(err, -ENOMEM, "cannot communicate with the cluster");
    if (flags->node_name)
        r = synclink_new(loop, &sync, options->on_news, options->userdata, &publisher->link, err);
    if (r < 0)
        return r;
    publisher->facts = options->facts;
    publisher->podresources = options->podresources;
    publisher->userdata = options->userdata;
    uv_timer_init(loop, &publisher->look);
    publisher->look.data = publisher;
    *ret_publisher = TAKE_PTR(publisher);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void publisher_free(struct publisher *publisher)
{
    if (!publisher)
        return;
    while (publisher->pending) {
        struct pending *pending = publisher->pending;

        publisher->pending = pending->next;
        free(pending);
    }
    synclink_free(TAKE_PTR(publisher->link));
    labelfile_end(&publisher->labelfile, true);
    uv_close((uv_handle_t *)&publisher->look, on_closed);
}

/* As in gpu-feature-discovery: what it wrote once stays. */
static bool keeps_file(const struct facts *facts)
{
    const struct gfd_flags *gfd = facts->offer ? &facts->offer->config->gfd : NULL;

    return gfd && (gfd->oneshot || gfd->sleep_interval_ns == UINT64_MAX);
}

bool publisher_leave(struct publisher *publisher, synclink_gone_fn *on_gone)
{
    if (!publisher)
        return false;
    uv_timer_stop(&publisher->look);
    labelfile_end(&publisher->labelfile, keeps_file(publisher->facts));
    return publisher->link && synclink_leave(publisher->link, on_gone, publisher->userdata);
}
