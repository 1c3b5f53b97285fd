// SPDX-License-Identifier: Apache-2.0
#include "node/serviceset.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "plugin/absent.h"

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

/* It has a device, or a pod has one of it that is gone. */
static bool is_listed(const struct offer *offer, const char *resource)
{
    struct absent absent;
    size_t position = 0;

    return plan_find_resource(offer->plan, resource) ||
           absent_next(offer, resource, &position, &absent);
}

static void withdraw(struct serviceset *set)
{
    for (size_t i = set->n; i-- > 0;) {
        struct service *service = set->items[i];

        if (is_listed(set->context.offer, service_resource(service)))
            continue;
        set->items[i] = set->items[--set->n];
        service_withdraw(service);
    }
}

static void add(struct serviceset *set, const char *resource, size_t n_devices)
{
    struct error err = ERROR_INIT;
    struct service *service;

    if (!array_push(&set->items, &set->n, &set->capacity, sizeof(*set->items))) {
        log_error("out of memory for a resource", "resource", resource);
        return;
    }
    set->n--; /* counted only when complete: callbacks of service_new walk the array */
    if (service_new(&set->context, resource, &service, &err) < 0) {
        log_error(error_text(&err), "resource", resource);
        return;
    }
    set->items[set->n++] = service;
    log_info("resource offered", "resource", resource, "devices", log_number(n_devices));
}

static bool announces_the_same(const struct offer *before, const struct offer *now,
                               const char *name)
{
    const struct plan_resource *was = before ? plan_find_resource(before->plan, name) : NULL;
    const struct plan_resource *resource = plan_find_resource(now->plan, name);

    if (!before || !was != !resource || absent_differ(before, now, name))
        return false;
    if (!resource)
        return true;
    if (!plan_resource_equal(before->plan, was, now->plan, resource))
        return false;
    for (size_t i = 0; i < resource->n_slices; i++)
        if (offer_slice_is_healthy(before, was, &was->slices[i]) !=
            offer_slice_is_healthy(now, resource, &resource->slices[i]))
            return false;
    return true;
}

static void sync_one(struct serviceset *set, const struct offer *before, const char *resource,
                     size_t n_devices)
{
    struct service *service = find(set, resource);

    if (!service)
        add(set, resource, n_devices);
    else if (!announces_the_same(before, set->context.offer, resource))
        service_announce(service);
}

void serviceset_sync(struct serviceset *set, const struct offer *before)
{
    const struct offer *offer = set->context.offer;
    const struct plan *plan = offer->plan;
    struct absent absent;
    size_t position = 0;

    withdraw(set);
    for (size_t i = 0; i < plan->n_resources; i++)
        sync_one(set, before, plan->resources[i].name, plan->resources[i].n_slices);
    while (absent_next(offer, NULL, &position, &absent))
        if (!plan_find_resource(plan, absent.resource))
            sync_one(set, before, absent.resource, 0);
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

    for (size_t i = 0; i < set->n; i++) {
        const struct plan_resource *resource =
            plan_find_resource(plan, service_resource(set->items[i]));

        if (!devices || (resource && has_slices_on(resource, devices)))
            service_announce(set->items[i]);
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
