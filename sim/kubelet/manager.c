// SPDX-License-Identifier: Apache-2.0
#include "manager.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

static void devices_free(struct managed_device *devices, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(devices[i].id);
        free(devices[i].numa_nodes);
    }
    free(devices);
}

static void resource_deinit(struct resource *resource)
{
    free(resource->name);
    devices_free(resource->devices, resource->n_devices);
}

static void allocation_deinit(struct allocation *allocation)
{
    free(allocation->pod_uid);
    free(allocation->container);
    free(allocation->resource);
    devices_free(allocation->devices, allocation->n_devices);
    free(allocation->answer);
}

void manager_deinit(struct manager *manager)
{
    for (size_t i = 0; i < manager->n_resources; i++)
        resource_deinit(&manager->resources[i]);
    for (size_t i = 0; i < manager->n_allocations; i++)
        allocation_deinit(&manager->allocations[i]);
    free(manager->resources);
    free(manager->allocations);
    *manager = (struct manager)MANAGER_INIT;
}

/* A DNS label or dotted labels: the part before the slash. */
static bool is_dns_subdomain(const char *name, size_t length)
{
    char previous = '.';

    for (size_t i = 0; i < length; i++) {
        char c = name[i];

        if (!islower((unsigned char)c) && !isdigit((unsigned char)c) && c != '-' && c != '.')
            return false;
        if ((c == '.' || c == '-') && previous == '.')
            return false;
        if (c == '.' && previous == '-')
            return false;
        previous = c;
    }
    return length && isalnum((unsigned char)previous);
}

static bool is_name_part(const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return false;
    return length && length <= 63 && isalnum((unsigned char)name[0]) &&
           isalnum((unsigned char)name[length - 1]);
}

bool manager_is_extended_resource(const char *name)
{
    const char *slash = strchr(name, '/');
    /* Quotas use "requests.<name>", which must also be a valid name of at most 253 bytes. */
    const size_t longest = 253 - strlen("requests.");

    if (!slash || strstr(name, "kubernetes.io/") || str_starts_with(name, "requests."))
        return false;
    return (size_t)(slash - name) <= longest && is_dns_subdomain(name, (size_t)(slash - name)) &&
           is_name_part(slash + 1);
}

static struct resource *find_resource(const struct manager *manager, const char *name)
{
    for (size_t i = 0; i < manager->n_resources; i++)
        if (str_equal(manager->resources[i].name, name))
            return &manager->resources[i];
    return NULL;
}

const struct resource *manager_find(const struct manager *manager, const char *name)
{
    return find_resource(manager, name);
}

static struct resource *resource_get(struct manager *manager, const char *name)
{
    struct resource *resource = find_resource(manager, name), new = {.name = NULL};
    size_t at = 0;

    if (resource)
        return resource;
    new.name = strdup(name);
    if (!new.name || !array_push(&manager->resources, &manager->n_resources,
                                 &manager->resources_capacity, sizeof(new))) {
        free(new.name);
        return NULL;
    }
    while (at < manager->n_resources - 1 && strcmp(manager->resources[at].name, name) < 0)
        at++;
    memmove(manager->resources + at + 1, manager->resources + at,
            (manager->n_resources - 1 - at) * sizeof(new));
    manager->resources[at] = new;
    return &manager->resources[at];
}

int manager_connect(struct manager *manager, const char *name, bool offers_preference,
                    bool wants_pre_start)
{
    struct resource *resource = resource_get(manager, name);

    if (!resource)
        return -ENOMEM;
    resource->connected = true;
    resource->offers_preference = offers_preference;
    resource->wants_pre_start = wants_pre_start;
    return 0;
}

static int device_copy(struct managed_device *to, const struct managed_device *from)
{
    to->healthy = from->healthy;
    to->id = strdup(from->id);
    if (!to->id)
        return -ENOMEM;
    if (!from->n_numa_nodes)
        return 0;
    to->numa_nodes = malloc(from->n_numa_nodes * sizeof(*to->numa_nodes));
    if (!to->numa_nodes)
        return -ENOMEM;
    memcpy(to->numa_nodes, from->numa_nodes, from->n_numa_nodes * sizeof(*to->numa_nodes));
    to->n_numa_nodes = from->n_numa_nodes;
    return 0;
}

/* Equal ids sort by their position in the list, so that the last one can be kept. */
static int compare_devices(const void *a, const void *b)
{
    const struct managed_device *const *left = a, *const *right = b;
    int order = strcmp((*left)->id, (*right)->id);

    return order ? order : (*left > *right) - (*left < *right);
}

static int compare_device_id(const void *id, const void *device)
{
    return strcmp(id, ((const struct managed_device *)device)->id);
}

int manager_set_devices(struct manager *manager, const char *name,
                        const struct managed_device *devices, size_t n_devices)
{
    struct resource *resource = resource_get(manager, name);
    cleanup_free const struct managed_device **sorted = calloc(n_devices + 1, sizeof(*sorted));
    struct managed_device *copies = calloc(n_devices + 1, sizeof(*copies));
    size_t n = 0;
    int r = resource && sorted && copies ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < n_devices; i++)
        sorted[i] = &devices[i];
    if (r == 0)
        qsort(sorted, n_devices, sizeof(*sorted), compare_devices);
    for (size_t i = 0; r == 0 && i < n_devices; i++) {
        if (i + 1 < n_devices && !strcmp(sorted[i]->id, sorted[i + 1]->id))
            continue;
        r = device_copy(&copies[n++], sorted[i]);
    }
    if (r < 0) {
        devices_free(copies, n);
        return r;
    }
    devices_free(resource->devices, resource->n_devices);
    resource->devices = copies;
    resource->n_devices = n;
    return 0;
}

void manager_disconnect(struct manager *manager, const char *name, uint64_t now_ms)
{
    struct resource *resource = find_resource(manager, name);

    if (!resource)
        return;
    resource->connected = false;
    resource->stopped_at_ms = now_ms;
    for (size_t i = 0; i < resource->n_devices; i++)
        resource->devices[i].healthy = false;
}

size_t manager_expire(struct manager *manager, uint64_t now_ms, uint64_t *ret_next_ms)
{
    size_t kept = 0, gone;
    uint64_t next = 0;

    for (size_t i = 0; i < manager->n_resources; i++) {
        struct resource *resource = &manager->resources[i];
        uint64_t ends_ms = resource->stopped_at_ms + MANAGER_STOP_GRACE_MS;

        if (!resource->connected && now_ms >= ends_ms) {
            resource_deinit(resource);
            continue;
        }
        if (!resource->connected && (!next || ends_ms < next))
            next = ends_ms;
        manager->resources[kept++] = *resource;
    }
    gone = manager->n_resources - kept;
    manager->n_resources = kept;
    *ret_next_ms = next;
    return gone;
}

size_t manager_capacity(const struct resource *resource)
{
    return resource->n_devices;
}

size_t manager_allocatable(const struct resource *resource)
{
    size_t n = 0;

    for (size_t i = 0; i < resource->n_devices; i++)
        n += resource->devices[i].healthy;
    return n;
}

/* The allocated ids of this resource. */
static int allocated_ids(const struct manager *manager, const char *name, struct ids *held)
{
    for (size_t i = 0; i < manager->n_allocations; i++) {
        const struct allocation *allocation = &manager->allocations[i];

        if (!str_equal(allocation->resource, name))
            continue;
        for (size_t k = 0; k < allocation->n_devices; k++)
            if (ids_add(held, allocation->devices[k].id) < 0)
                return -ENOMEM;
    }
    return 0;
}

bool manager_knows(const struct manager *manager, const char *name)
{
    if (find_resource(manager, name))
        return true;
    for (size_t i = 0; i < manager->n_allocations; i++)
        if (str_equal(manager->allocations[i].resource, name))
            return true;
    return false;
}

void pick_deinit(struct pick *pick)
{
    ids_deinit(&pick->chosen);
    ids_deinit(&pick->available);
}

const struct allocation *manager_find_allocation(const struct manager *manager, const char *pod_uid,
                                                 const char *container, const char *resource)
{
    for (size_t i = 0; i < manager->n_allocations; i++) {
        const struct allocation *allocation = &manager->allocations[i];

        if (str_equal(allocation->pod_uid, pod_uid) &&
            str_equal(allocation->container, container) &&
            str_equal(allocation->resource, resource))
            return allocation;
    }
    return NULL;
}

static const struct managed_device *find_device(const struct resource *resource, const char *id)
{
    if (!resource->n_devices)
        return NULL;
    return bsearch(id, resource->devices, resource->n_devices, sizeof(*resource->devices),
                   compare_device_id);
}

static bool is_healthy(const struct resource *resource, const char *id)
{
    const struct managed_device *device = find_device(resource, id);

    return device && device->healthy;
}

/* The container already has devices: it, or the kubelet, was restarted. */
static int check_held(const struct resource *resource, const struct device_request *request,
                      const struct allocation *held, struct error *err)
{
    for (size_t i = 0; i < held->n_devices; i++)
        if (!is_healthy(resource, held->devices[i].id))
            return error_set(err, -EIO,
                             "previously allocated devices are no longer healthy; cannot allocate "
                             "unhealthy devices %s",
                             request->resource);
    return MANAGER_NOTHING_NEEDED;
}

static int check_request(const struct manager *manager, const struct device_request *request,
                         const struct allocation *held, const struct resource **ret_resource,
                         struct error *err)
{
    const struct resource *resource = find_resource(manager, request->resource);

    if (held && held->n_devices != request->count)
        return error_set(err, -EINVAL,
                         "pod \"%s\" container \"%s\" changed request for resource \"%s\" from %zu "
                         "to %zu",
                         request->pod_uid, request->container, request->resource, held->n_devices,
                         request->count);
    if (!resource)
        return error_set(err, -ENODEV, "cannot allocate unregistered device %s", request->resource);
    if (!manager_allocatable(resource))
        return error_set(err, -EIO,
                         "no healthy devices present; cannot allocate unhealthy devices %s",
                         request->resource);
    *ret_resource = resource;
    return 0;
}

static int fill_pick(const struct manager *manager, const struct resource *resource,
                     const struct device_request *request, const struct ids *reusable,
                     struct pick *pick)
{
    cleanup_ids struct ids held = IDS_INIT;
    int r = allocated_ids(manager, resource->name, &held);

    for (size_t i = 0; r == 0 && reusable && i < reusable->n_items; i++)
        if (pick->chosen.n_items < request->count)
            r = ids_add(&pick->chosen, reusable->items[i]);
    for (size_t i = 0; r == 0 && i < resource->n_devices; i++) {
        const struct managed_device *device = &resource->devices[i];

        if (device->healthy && !ids_has(&held, device->id) && !ids_has(&pick->chosen, device->id))
            r = ids_add(&pick->available, device->id);
    }
    return r;
}

int manager_pick(const struct manager *manager, const struct device_request *request,
                 const struct ids *reusable, struct pick *ret_pick, struct error *err)
{
    const struct allocation *held =
        manager_find_allocation(manager, request->pod_uid, request->container, request->resource);
    cleanup_pick struct pick pick = PICK_INIT;
    const struct resource *resource = NULL;
    size_t needed;
    int r = check_request(manager, request, held, &resource, err);

    if (r < 0)
        return r;
    assert(resource);
    if (held)
        return check_held(resource, request, held, err);
    if (!request->count)
        return MANAGER_NOTHING_NEEDED;
    r = fill_pick(manager, resource, request, reusable, &pick);
    if (r < 0)
        return error_set_errno(err, r, "cannot allocate devices of %s", request->resource);
    needed = request->count - pick.chosen.n_items;
    if (pick.available.n_items < needed)
        return error_set(err, -EAGAIN,
                         "requested number of devices unavailable for %s. Requested: %zu, "
                         "Available: %zu",
                         request->resource, needed, pick.available.n_items);
    *ret_pick = pick;
    pick = (struct pick)PICK_INIT;
    return needed && resource->offers_preference ? MANAGER_ASK_PREFERENCE : 0;
}

/* Moves ids from available to chosen until there are enough; `wanted` NULL = any. */
static int take(const struct device_request *request, const struct ids *wanted, struct pick *pick)
{
    size_t i = 0;

    while (i < pick->available.n_items && pick->chosen.n_items < request->count) {
        const char *id = pick->available.items[i];

        if (wanted && !ids_has(wanted, id)) {
            i++;
            continue;
        }
        if (ids_add(&pick->chosen, id) < 0)
            return -ENOMEM;
        ids_remove(&pick->available, id);
    }
    return 0;
}

int manager_choose(const struct device_request *request, const struct ids *preferred,
                   struct pick *pick, struct error *err)
{
    int r = preferred ? take(request, preferred, pick) : 0;

    if (r == 0)
        r = take(request, NULL, pick);
    if (r < 0)
        return error_set_errno(err, r, "cannot allocate devices of %s", request->resource);
    if (pick->chosen.n_items < request->count)
        return error_set(err, -EAGAIN,
                         "unexpectedly allocated less resources than required. Requested: %zu, "
                         "Got: %zu",
                         request->count, pick->chosen.n_items);
    return 0;
}

static int allocation_init(struct allocation *allocation, const struct device_request *request,
                           const void *answer, size_t answer_size)
{
    allocation->pod_uid = strdup(request->pod_uid);
    allocation->container = strdup(request->container);
    allocation->resource = strdup(request->resource);
    allocation->devices = calloc(request->count + 1, sizeof(*allocation->devices));
    allocation->answer = malloc(answer_size + 1);
    if (!allocation->pod_uid || !allocation->container || !allocation->resource ||
        !allocation->devices || !allocation->answer)
        return -ENOMEM;
    if (answer_size)
        memcpy(allocation->answer, answer, answer_size);
    allocation->answer_size = answer_size;
    return 0;
}

/* Consumes the allocation, also on failure. */
static int keep(struct manager *manager, struct allocation *allocation)
{
    struct allocation *slot = array_push(&manager->allocations, &manager->n_allocations,
                                         &manager->allocations_capacity, sizeof(*slot));

    if (!slot) {
        allocation_deinit(allocation);
        return -ENOMEM;
    }
    *slot = *allocation;
    return 0;
}

int manager_restore(struct manager *manager, const struct device_request *request,
                    const struct managed_device *devices, const void *answer, size_t answer_size)
{
    struct allocation allocation = {.pod_uid = NULL};
    int r = allocation_init(&allocation, request, answer, answer_size);

    for (size_t i = 0; r == 0 && i < request->count; i++)
        r = device_copy(&allocation.devices[allocation.n_devices++], &devices[i]);
    if (r < 0) {
        allocation_deinit(&allocation);
        return r;
    }
    return keep(manager, &allocation);
}

int manager_record(struct manager *manager, const struct device_request *request,
                   const struct ids *chosen, const void *answer, size_t answer_size)
{
    const struct resource *resource = find_resource(manager, request->resource);
    const struct device_request whole = {request->pod_uid, request->container, request->resource,
                                         chosen->n_items};
    cleanup_free struct managed_device *devices = calloc(chosen->n_items + 1, sizeof(*devices));

    if (!devices)
        return -ENOMEM;
    for (size_t i = 0; i < chosen->n_items; i++) {
        const struct managed_device *listed =
            resource ? find_device(resource, chosen->items[i]) : NULL;

        devices[i] = listed ? *listed : (struct managed_device){.id = chosen->items[i]};
    }
    return manager_restore(manager, &whole, devices, answer, answer_size);
}

size_t manager_reclaim(struct manager *manager, manager_is_active_fn *is_active, void *userdata)
{
    size_t kept = 0, dropped;

    for (size_t i = 0; i < manager->n_allocations; i++) {
        if (is_active(manager->allocations[i].pod_uid, userdata))
            manager->allocations[kept++] = manager->allocations[i];
        else
            allocation_deinit(&manager->allocations[i]);
    }
    dropped = manager->n_allocations - kept;
    manager->n_allocations = kept;
    return dropped;
}

void reuse_deinit(struct reuse *reuse)
{
    for (size_t i = 0; i < reuse->n_items; i++) {
        free(reuse->items[i].resource);
        ids_deinit(&reuse->items[i].ids);
    }
    free(reuse->items);
    *reuse = (struct reuse){.items = NULL};
}

const struct ids *reuse_find(const struct reuse *reuse, const char *resource)
{
    for (size_t i = 0; i < reuse->n_items; i++)
        if (str_equal(reuse->items[i].resource, resource))
            return &reuse->items[i].ids;
    return NULL;
}

static struct ids *reuse_get(struct reuse *reuse, const char *resource)
{
    char *name;

    for (size_t i = 0; i < reuse->n_items; i++)
        if (str_equal(reuse->items[i].resource, resource))
            return &reuse->items[i].ids;
    name = strdup(resource);
    if (!name ||
        !array_push(&reuse->items, &reuse->n_items, &reuse->capacity, sizeof(*reuse->items))) {
        free(name);
        return NULL;
    }
    reuse->items[reuse->n_items - 1].resource = name;
    return &reuse->items[reuse->n_items - 1].ids;
}

int reuse_add(struct reuse *reuse, const struct manager *manager, const char *pod_uid,
              const char *container)
{
    for (size_t i = 0; i < manager->n_allocations; i++) {
        const struct allocation *allocation = &manager->allocations[i];
        struct ids *ids;

        if (!str_equal(allocation->pod_uid, pod_uid) ||
            !str_equal(allocation->container, container))
            continue;
        ids = reuse_get(reuse, allocation->resource);
        for (size_t k = 0; ids && k < allocation->n_devices; k++)
            if (ids_add(ids, allocation->devices[k].id) < 0)
                ids = NULL;
        if (!ids)
            return -ENOMEM;
    }
    return 0;
}

void reuse_remove(struct reuse *reuse, const struct manager *manager, const char *pod_uid,
                  const char *container)
{
    for (size_t i = 0; i < manager->n_allocations; i++) {
        const struct allocation *allocation = &manager->allocations[i];
        struct ids *ids;

        if (!str_equal(allocation->pod_uid, pod_uid) ||
            !str_equal(allocation->container, container) ||
            !reuse_find(reuse, allocation->resource))
            continue;
        ids = reuse_get(reuse, allocation->resource);
        for (size_t k = 0; ids && k < allocation->n_devices; k++)
            ids_remove(ids, allocation->devices[k].id);
    }
}
