// SPDX-License-Identifier: Apache-2.0
#include "node/serviceset.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"

void serviceset_deinit(struct serviceset *set)
{
    while (set->n)
        service_free(set->items[--set->n]);
    free(set->items);
    *set = (struct serviceset){.items = NULL};
}

static struct service *find(const struct serviceset *set, const char *resource)
{
    for (size_t i = 0; i < set->n; i++)
        if (str_equal(service_resource(set->items[i]), resource))
            return set->items[i];
    return NULL;
}

static void withdraw(struct serviceset *set, const struct plan *plan)
{
    for (size_t i = set->n; i-- > 0;) {
        struct service *service = set->items[i];

        if (plan_find_resource(plan, service_resource(service)))
            continue;
        set->items[i] = set->items[--set->n];
        service_withdraw(service);
    }
}

static void add(struct serviceset *set, const struct plan_resource *resource)
{
    struct error err = ERROR_INIT;
    struct service *service;

    if (!array_push(&set->items, &set->n, &set->capacity, sizeof(*set->items))) {
        log_error("out of memory for a resource", "resource", resource->name);
        return;
    }
    set->n--; /* counted only when complete: callbacks of service_new walk the array */
    if (service_new(&set->context, resource->name, &service, &err) < 0) {
        log_error(error_text(&err), "resource", resource->name);
        return;
    }
    set->items[set->n++] = service;
    log_info("resource offered", "resource", resource->name, "devices",
             log_number(resource->n_slices));
}

static bool announces_the_same(const struct offer *before, const struct offer *now,
                               const struct plan_resource *resource)
{
    const struct plan_resource *was =
        before ? plan_find_resource(before->plan, resource->name) : NULL;

    if (!was || !plan_resource_equal(before->plan, was, now->plan, resource))
        return false;
    for (size_t i = 0; i < resource->n_slices; i++)
        if (offer_slice_is_healthy(before, was, &was->slices[i]) !=
            offer_slice_is_healthy(now, resource, &resource->slices[i]))
            return false;
    return true;
}

void serviceset_sync(struct serviceset *set, const struct offer *before)
{
    const struct offer *offer = set->context.offer;
    const struct plan *plan = offer->plan;

    withdraw(set, plan);
    for (size_t i = 0; i < plan->n_resources; i++) {
        struct service *service = find(set, plan->resources[i].name);

        if (!service)
            add(set, &plan->resources[i]);
        else if (!announces_the_same(before, offer, &plan->resources[i]))
            service_announce(service);
    }
}

static bool has_slices_on(const struct plan_resource *resource, const bool *devices)
{
    for (size_t i = 0; i < resource->n_slices; i++)
        if (devices[resource->slices[i].device])
            return true;
    return false;
}

void serviceset_announce(struct serviceset *set, const bool *devices)
{
    const struct plan *plan = set->context.offer->plan;

    for (size_t i = 0; i < plan->n_resources; i++) {
        struct service *service = find(set, plan->resources[i].name);

        if (service && (!devices || has_slices_on(&plan->resources[i], devices)))
            service_announce(service);
    }
}

void serviceset_check(struct serviceset *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        service_check(set->items[i], name);
}

void serviceset_node_changed(struct serviceset *set)
{
    for (size_t i = 0; i < set->n; i++)
        service_node_changed(set->items[i]);
}

bool serviceset_serves(const struct serviceset *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (service_is_ready(set->items[i]))
            return true;
    return false;
}

bool serviceset_is_registered(const struct serviceset *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (!service_is_ready(set->items[i]))
            return false;
    return set->n > 0;
}

bool serviceset_serves_resource(const struct serviceset *set, const char *resource)
{
    const struct service *service = find(set, resource);

    return service && service_is_ready(service);
}

bool serviceset_stands_by(const struct serviceset *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (!service_foreign_plugin(set->items[i]))
            return false;
    return set->n > 0;
}
