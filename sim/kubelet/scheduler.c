// SPDX-License-Identifier: Apache-2.0
#include "scheduler.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* The demand of the scheduled, unfinished pods for a resource. */
static int64_t used(const struct pods *pods, const char *resource)
{
    int64_t sum = 0;

    for (size_t i = 0; i < pods->n_items; i++)
        if (pods->items[i]->scheduled && pod_is_active(pods->items[i]))
            sum += pod_template_demand(pods->items[i]->template, resource);
    return sum;
}

static bool fits(const struct manager *manager, const struct pods *pods, const char *resource,
                 int64_t demand)
{
    const struct resource *found = manager_find(manager, resource);
    int64_t allocatable = found ? (int64_t)manager_allocatable(found) : 0;

    return !demand || demand <= allocatable - used(pods, resource);
}

/* Iterates over the resources of a template, each once and sorted: the next one after `after`, or
 * NULL. */
static const char *next_resource(const struct pod_template *template, const char *after)
{
    const char *next = NULL;

    for (size_t i = 0; i < template->n_containers; i++)
        for (size_t k = 0; k < template->containers[i].n_limits; k++) {
            const char *name = template->containers[i].limits[k].resource;

            if ((!after || strcmp(name, after) > 0) && (!next || strcmp(name, next) < 0))
                next = name;
        }
    return next;
}

static bool place(const struct manager *manager, const struct pods *pods, struct pod *pod)
{
    cleanup_text struct text missing = TEXT_INIT;
    cleanup_text struct text message = TEXT_INIT;
    const char *resource = next_resource(pod->template, NULL);

    for (; resource; resource = next_resource(pod->template, resource))
        if (!fits(manager, pods, resource, pod_template_demand(pod->template, resource)))
            text_addf(&missing, "%s1 Insufficient %s", missing.length ? ", " : "", resource);
    if (!missing.length) {
        pod->scheduled = true;
        pod_set_phase(pod, POD_PENDING, NULL, NULL);
        return true;
    }
    /* kube-scheduler's message since 1.34, for a pod that could preempt nobody. */
    text_addf(&message,
              "0/1 nodes are available: %s. no new claims to deallocate, preemption: 0/1 nodes are "
              "available: 1 No preemption victims found for incoming pod.",
              text_string(&missing));
    if (pod->message && str_equal(pod->message, text_string(&message)))
        return false;
    pod_set_phase(pod, POD_PENDING, "Unschedulable", text_string(&message));
    return true;
}

bool scheduler_run(const struct manager *manager, const struct pods *pods)
{
    bool changed = false;

    for (size_t i = 0; i < pods->n_items; i++) {
        struct pod *pod = pods->items[i];

        if (!pod->scheduled && !pod->deleting && !pod_is_terminal(pod))
            changed |= place(manager, pods, pod);
    }
    return changed;
}
