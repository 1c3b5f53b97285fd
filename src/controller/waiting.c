// SPDX-License-Identifier: Apache-2.0
#include "controller/waiting.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/exposition.h"
#include "base/log.h"
#include "controller/demandwriter.h"
#include "controller/namenode.h"
#include "controller/nameshare.h"
#include "controller/podneed.h"

struct waiting {
    struct advisor_setup setup;
    uv_timer_t timer; /* the next pass */
    struct kube_store *pods, *nodes;
    struct demandwriter *writer;
    struct advisor *advisor;
    json_t *places; /* see nameshare.h; NULL before the first pass */
    size_t n_pods;  /* of the last pass */
};

/* -- a pass ------------------------------------------------------------------------------------ */

/* Those of a store of which something is kept. To be freed; NULL without memory. */
static const json_t **gather(const struct kube_store *store, size_t *ret_n)
{
    const size_t n_all = kube_store_count(store);
    const json_t **found = calloc(n_all + 1, sizeof(*found));
    size_t n = 0;

    for (size_t i = 0; found && i < n_all; i++)
        if (json_object_size(kube_store_at(store, i)))
            found[n++] = kube_store_at(store, i);
    *ret_n = n;
    return found;
}

static int share_out(struct waiting *waiting, int64_t now)
{
    size_t n_nodes;
    cleanup_free const json_t **pods = gather(waiting->pods, &waiting->n_pods);
    cleanup_free const json_t **nodes = gather(waiting->nodes, &n_nodes);
    json_t *wanted = NULL, *places = NULL;
    int r = pods && nodes ? nameshare_plan(&(struct nameshare){.pods = pods,
                                                               .n_pods = waiting->n_pods,
                                                               .nodes = nodes,
                                                               .n_nodes = n_nodes,
                                                               .places = waiting->places,
                                                               .now = now},
                                           &wanted, &places)
                          : -ENOMEM;

    if (r < 0)
        return r;
    json_decref(waiting->places);
    waiting->places = places;
    demandwriter_begin(waiting->writer, waiting->nodes, wanted);
    return 0;
}

static void on_pass(uv_timer_t *timer)
{
    struct waiting *waiting = timer->data;
    const int64_t now = time(NULL);

    if (share_out(waiting, now) < 0)
        log_error("out of memory for the pods that wait");
    advisor_look(waiting->advisor, waiting->pods, waiting->nodes, now);
    if (waiting->n_pods)
        uv_timer_start(timer, on_pass, WAITING_LOOK_MS, 0);
}

/* Before both are known as a whole, nothing is taken off. */
static void touch(struct waiting *waiting)
{
    if (!kube_store_is_complete(waiting->pods) || !kube_store_is_complete(waiting->nodes))
        return;
    if (!uv_is_active((uv_handle_t *)&waiting->timer) ||
        uv_timer_get_due_in(&waiting->timer) > WAITING_SETTLE_MS)
        uv_timer_start(&waiting->timer, on_pass, WAITING_SETTLE_MS, 0);
}

/* -- what is watched --------------------------------------------------------------------------- */

static void *reduce_pod(const json_t *object, void *userdata)
{
    return podneed_reduce(object);
}

static void *reduce_node(const json_t *object, void *userdata)
{
    return namenode_reduce(object);
}

static void on_pod(const char *key, const void *was, const void *is, void *userdata)
{
    struct waiting *waiting = userdata;

    if (was && (!is || *podneed_uid(is) == '\0'))
        advisor_forget(waiting->advisor, podneed_uid(was));
    touch(waiting);
}

static void on_node(const char *key, const void *was, const void *is, void *userdata)
{
    struct waiting *waiting = userdata;

    demandwriter_seen(waiting->writer, key);
    if (!is)
        demandwriter_left(waiting->writer, was);
    touch(waiting);
}

static void on_state(struct kube_store *store, void *userdata)
{
    struct waiting *waiting = userdata;

    if (kube_store_state(store) == STORE_SYNCED)
        recorder_kick(waiting->setup.recorder);
    touch(waiting);
}

static int watch_pods(struct waiting *waiting, struct error *err)
{
    static const struct store_kind kind = {reduce_pod, kube_store_json_is_equal,
                                           kube_store_json_release};
    static const struct store_events events = {on_pod, on_state};

    return kube_store_new(
        waiting->setup.loop,
        &(struct kube_store_setup){.client = waiting->setup.client,
                                   .path = "/api/v1/pods",
                                   .query = PODNEED_QUERY,
                                   .what = "pods that wait for a Node",
                                   .remedy = "let our service account list and watch pods",
                                   .kind = &kind,
                                   .events = &events,
                                   .userdata = waiting},
        &waiting->pods, err);
}

static int watch_nodes(struct waiting *waiting, struct error *err)
{
    static const struct store_kind kind = {reduce_node, kube_store_json_is_equal,
                                           kube_store_json_release};
    static const struct store_events events = {on_node, on_state};

    return kube_store_new(
        waiting->setup.loop,
        &(struct kube_store_setup){.client = waiting->setup.client,
                                   .path = "/api/v1/nodes",
                                   .query = NAMENODE_QUERY,
                                   .what = "Nodes with a MIG strategy",
                                   .remedy = "let our service account list and watch nodes",
                                   .kind = &kind,
                                   .events = &events,
                                   .userdata = waiting},
        &waiting->nodes, err);
}

/* -- life -------------------------------------------------------------------------------------- */

int waiting_new(const struct advisor_setup *setup, struct waiting **ret_waiting, struct error *err)
{
    struct waiting *waiting = calloc(1, sizeof(*waiting));
    int r = 0;

    if (!waiting)
        return error_set_errno(err, -ENOMEM, "cannot look after pods that wait");
    waiting->setup = *setup;
    uv_timer_init(setup->loop, &waiting->timer);
    waiting->timer.data = waiting;
    waiting->advisor = advisor_new(setup);
    waiting->writer = demandwriter_new(&(struct demandwriter_setup){.loop = setup->loop,
                                                                    .client = setup->client,
                                                                    .may_write = setup->may_write,
                                                                    .userdata = setup->userdata});
    if (!waiting->advisor || !waiting->writer)
        r = error_set_errno(err, -ENOMEM, "cannot look after pods that wait");
    if (r == 0)
        r = watch_pods(waiting, err);
    if (r == 0)
        r = watch_nodes(waiting, err);
    if (r < 0)
        waiting_free(waiting);
    else
        *ret_waiting = waiting;
    return r;
}

void waiting_add_metrics(const struct waiting *waiting, struct text *out)
{
    static const char pods[] = "gpuslice_controller_waiting_pods";
    static const char nodes[] = "gpuslice_controller_told_nodes";

    exposition_family(out, pods, "gauge",
                      "Pods that request resources of nvidia.com and that no Node was found for.");
    exposition_sample(out, pods, waiting ? (double)waiting->n_pods : 0, NULL);
    exposition_family(out, nodes, "gauge",
                      "Nodes annotated with the names under which pods wait for MIG devices.");
    exposition_sample(out, nodes, waiting ? (double)demandwriter_count(waiting->writer) : 0, NULL);
}

static void on_closed(uv_handle_t *handle)
{
    struct waiting *waiting = handle->data;

    json_decref(waiting->places);
    free(waiting);
}

void waiting_free(struct waiting *waiting)
{
    if (!waiting)
        return;
    kube_store_free(waiting->pods);
    kube_store_free(waiting->nodes);
    demandwriter_free(waiting->writer);
    advisor_free(waiting->advisor);
    uv_close((uv_handle_t *)&waiting->timer, on_closed);
}
