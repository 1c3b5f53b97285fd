// SPDX-License-Identifier: Apache-2.0
#include "controller/drains.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/exposition.h"
#include "base/log.h"
#include "base/lograte.h"
#include "kube/field.h"
#include "kube/object.h"
#include "kube/watch.h"

struct subject {
    struct drain *drain;
    bool is_listed; /* in the list that is being read */
};

struct drains {
    struct drain_setup setup;
    struct kube_watch *watch;
    struct subject *subjects;
    size_t n_subjects, capacity;
    struct lograte trouble;
};

/* -- Nodes ------------------------------------------------------------------------------------- */

static struct subject *find(struct drains *drains, const char *node)
{
    for (size_t i = 0; i < drains->n_subjects; i++)
        if (str_equal(drain_node(drains->subjects[i].drain), node))
            return &drains->subjects[i];
    return NULL;
}

static void drop(struct drains *drains, struct subject *subject)
{
    drain_free(subject->drain);
    *subject = drains->subjects[--drains->n_subjects];
}

static struct subject *add(struct drains *drains, const char *node)
{
    struct drain *drain = drain_new(&drains->setup, node);
    struct subject *subject = drain ? array_push(&drains->subjects, &drains->n_subjects,
                                                 &drains->capacity, sizeof(*subject))
                                    : NULL;

    if (!subject) {
        drain_free(drain);
        log_error("out of memory for a Node that waits for pods", "node", node);
        return NULL;
    }
    subject->drain = drain;
    return subject;
}

static void on_relist(void *userdata)
{
    struct drains *drains = userdata;

    for (size_t i = 0; i < drains->n_subjects; i++)
        drains->subjects[i].is_listed = false;
}

static void on_object(enum kube_change change, json_t *node, void *userdata)
{
    struct drains *drains = userdata;
    const char *name = kube_name(node);
    struct subject *subject = find(drains, name);

    if (!*name)
        return;
    if (!subject && change != KUBE_DELETED)
        subject = add(drains, name);
    if (!subject)
        return;
    subject->is_listed = true;
    if (change == KUBE_DELETED || !drain_see(subject->drain, node))
        drop(drains, subject);
}

static void on_synced(void *userdata)
{
    struct drains *drains = userdata;

    for (size_t i = drains->n_subjects; i-- > 0;)
        if (!drains->subjects[i].is_listed)
            drop(drains, &drains->subjects[i]);
}

static void on_trouble(const char *reason, void *userdata)
{
    struct drains *drains = userdata;

    if (reason && lograte_begin(&drains->trouble, reason, clock_now_ms()))
        log_warning("cannot watch Nodes, retrying", "reason", reason);
    else if (!reason && lograte_end(&drains->trouble))
        log_info("Nodes are watched again");
    if (!reason)
        recorder_kick(drains->setup.recorder);
}

/* -- life -------------------------------------------------------------------------------------- */

int drains_new(const struct drain_setup *setup, struct drains **ret_drains, struct error *err)
{
    static const struct kube_watch_events events = {on_relist, on_object, on_synced, on_trouble};
    struct drains *drains = calloc(1, sizeof(*drains));
    cleanup_text struct text query = TEXT_INIT;
    int r;

    text_add(&query, "labelSelector=");
    kube_add_escaped(&query, DRAINS_LABEL " in (pending,failed)");
    if (!drains || text_failed(&query)) {
        free(drains);
        return error_set_errno(err, -ENOMEM, "cannot watch Nodes");
    }
    drains->setup = *setup;
    r = kube_watch_new(setup->loop,
                       &(struct kube_watch_setup){.client = setup->client,
                                                  .path = "/api/v1/nodes",
                                                  .query = text_string(&query),
                                                  .events = &events,
                                                  .userdata = drains},
                       &drains->watch, err);
    if (r < 0)
        free(drains);
    else
        *ret_drains = drains;
    return r;
}

void drains_add_metrics(const struct drains *drains, struct text *out)
{
    static const char nodes[] = "gpuslice_controller_draining_nodes";
    static const char pods[] = "gpuslice_controller_drain_pods";
    unsigned n_blocked = 0, n_left = 0;

    for (size_t i = 0; drains && i < drains->n_subjects; i++)
        drain_count(drains->subjects[i].drain, &n_blocked, &n_left);
    exposition_family(out, nodes, "gauge", "Nodes whose MIG layout waits for pods.");
    exposition_sample(out, nodes, drains ? (double)drains->n_subjects : 0, NULL);
    exposition_family(out, pods, "gauge",
                      "Pods that a MIG layout waits for and that are not evicted: refused by a "
                      "disruption budget, or left.");
    exposition_sample(out, pods, n_blocked, "state", "blocked", NULL);
    exposition_sample(out, pods, n_left, "state", "left", NULL);
}

void drains_free(struct drains *drains)
{
    if (!drains)
        return;
    kube_watch_free(drains->watch);
    while (drains->n_subjects)
        drop(drains, &drains->subjects[0]);
    free(drains->subjects);
    free(drains);
}
