// SPDX-License-Identifier: Apache-2.0
#include "plugin/deviceplugin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "plugin/absent.h"
#include "plugin/allocation.h"
#include "plugin/formerholds.h"
#include "plugin/grants.h"
#include "plugin/grantterms.h"
#include "plugin/limitmounts.h"
#include "rpc/message.h"

DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateRequest)
DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateResponse)
DEFINE_MESSAGE_CLEANUP(v1beta1_PreferredAllocationRequest)

static enum rpc_status refuse(struct error *err, enum rpc_status status, const char *sentence)
{
    error_set(err, -EINVAL, "%s", sentence);
    return status;
}

/* --- options --- */

v1beta1_DevicePluginOptions deviceplugin_options(bool wants_pre_start)
{
    return (v1beta1_DevicePluginOptions){
        .pre_start_required = wants_pre_start,
        .get_preferred_allocation_available = true,
    };
}

/* --- ListAndWatch --- */

/* Borrows everything from the offer; `nodes` must have room for one entry per slice. */
static void fill_device(const struct offer *offer, const struct plan_resource *resource,
                        const struct slice *slice, v1beta1_Device *device, v1beta1_NUMANode *node)
{
    const struct device *on = &offer->plan->devices[slice->device].device;

    device->ID = (char *)(uintptr_t)slice->id;
    device->health =
        (char *)(uintptr_t)(offer_slice_is_healthy(offer, resource, slice) ? "Healthy"
                                                                           : "Unhealthy");
    if (on->numa_node < 0)
        return;
    node->ID = on->numa_node;
    device->has_topology = true;
    device->topology.nodes_count = 1;
    device->topology.nodes = node;
}

/* A part of the list: up to MESSAGE_MAX_ENTRIES slices. */
static int encode_part(const struct offer *offer, const struct plan_resource *resource, size_t from,
                       size_t n, struct text *list)
{
    cleanup_free v1beta1_Device *devices = calloc(n, sizeof(*devices));
    cleanup_free v1beta1_NUMANode *nodes = calloc(n, sizeof(*nodes));
    v1beta1_ListAndWatchResponse part = v1beta1_ListAndWatchResponse_init_zero;
    cleanup_free void *data = NULL;
    size_t size;
    int r;

    if (!devices || !nodes)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        fill_device(offer, resource, &resource->slices[from + i], &devices[i], &nodes[i]);
    part.devices = devices;
    part.devices_count = (pb_size_t)n;
    r = message_encode(v1beta1_ListAndWatchResponse_fields, &part, &data, &size);
    if (r == 0)
        text_add_bytes(list, data, size);
    return r;
}

/* What pods hold of devices that are gone. Few: a pod's end is noticed within a minute. */
static int encode_absent(const struct offer *offer, const char *resource, struct text *list)
{
    struct absent absent;
    size_t position = 0;
    int r = 0;

    while (r == 0 && resource && absent_next(offer, resource, &position, &absent)) {
        v1beta1_Device device = {.ID = (char *)(uintptr_t)absent.id,
                                 .health = (char *)(uintptr_t) "Unhealthy"};
        const v1beta1_ListAndWatchResponse part = {.devices = &device, .devices_count = 1};
        cleanup_free void *data = NULL;
        size_t size;

        r = message_encode(v1beta1_ListAndWatchResponse_fields, &part, &data, &size);
        if (r == 0)
            text_add_bytes(list, data, size);
    }
    return r;
}

enum rpc_status deviceplugin_list(const struct offer *offer, const char *name, void **ret_data,
                                  size_t *ret_size, struct error *err)
{
    const struct plan_resource *resource = name ? plan_find_resource(offer->plan, name) : NULL;
    const size_t n_slices = resource ? resource->n_slices : 0;
    cleanup_text struct text list = TEXT_INIT;
    int r = 0;

    text_add(&list, ""); /* data is never NULL */
    for (size_t from = 0; r == 0 && from < n_slices; from += MESSAGE_MAX_ENTRIES) {
        size_t left = n_slices - from;

        r = encode_part(offer, resource, from,
                        left < MESSAGE_MAX_ENTRIES ? left : MESSAGE_MAX_ENTRIES, &list);
    }
    if (r == 0)
        r = encode_absent(offer, name, &list);
    if (r < 0 || text_failed(&list))
        return refuse(err, RPC_RESOURCE_EXHAUSTED, "out of memory for the device list");
    *ret_size = list.length;
    *ret_data = TAKE_PTR(list.data);
    return RPC_OK;
}

/* --- GetPreferredAllocation --- */

/* One container's preference; if there is none it stays empty, and the kubelet decides. */
static int prefer_one(const struct offer *offer, const char *name,
                      const v1beta1_ContainerPreferredAllocationRequest *request,
                      v1beta1_ContainerPreferredAllocationResponse *answer)
{
    const struct plan_resource *resource = plan_find_resource(offer->plan, name);
    size_t size = request->allocation_size > 0 ? (size_t)request->allocation_size : 0;
    cleanup_free const char **ids = NULL;
    int r;

    if (!resource || size == 0 ||
        size > (size_t)request->available_deviceIDs_count + request->must_include_deviceIDs_count)
        return 0;
    ids = calloc(size, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    r = prefer(
        &(struct preference){.plan = offer->plan,
                             .resource = resource,
                             .inventory = &offer->inventory,
                             .policy = offer->config->plugin.allocation_policy,
                             .unique = offer->config->policy.unique,
                             .available = (const char *const *)request->available_deviceIDs,
                             .n_available = request->available_deviceIDs_count,
                             .required = (const char *const *)request->must_include_deviceIDs,
                             .n_required = request->must_include_deviceIDs_count,
                             .size = size},
        ids);
    if (r != 0)
        return r == PREFER_TOO_FEW ? 0 : r;
    answer->deviceIDs =
        (char **)(uintptr_t)TAKE_PTR(ids); /* the strings still belong to the request */
    answer->deviceIDs_count = (pb_size_t)size;
    return 0;
}

enum rpc_status deviceplugin_prefer(const struct offer *offer, const char *resource,
                                    const void *data, size_t size, void **ret_data,
                                    size_t *ret_size, struct error *err)
{
    cleanup(v1beta1_PreferredAllocationRequest_release_p)
        v1beta1_PreferredAllocationRequest request = v1beta1_PreferredAllocationRequest_init_zero;
    cleanup_free v1beta1_ContainerPreferredAllocationResponse *answers = NULL;
    v1beta1_PreferredAllocationResponse response = v1beta1_PreferredAllocationResponse_init_zero;
    int r = 0;

    r = message_decode(v1beta1_PreferredAllocationRequest_fields, data, size, &request);
    if (r < 0 && r != -E2BIG)
        return refuse(err, RPC_INVALID_ARGUMENT, "not a PreferredAllocationRequest");
    r = 0; /* of more free ids than a message may have, the kubelet takes any */
    answers = calloc((size_t)request.container_requests_count + 1, sizeof(*answers));
    if (!answers)
        return refuse(err, RPC_RESOURCE_EXHAUSTED, "out of memory for choosing devices");
    for (pb_size_t i = 0; r == 0 && i < request.container_requests_count; i++)
        r = prefer_one(offer, resource, &request.container_requests[i], &answers[i]);
    response.container_responses = answers;
    response.container_responses_count = request.container_requests_count;
    if (r == 0)
        r = message_encode(v1beta1_PreferredAllocationResponse_fields, &response, ret_data,
                           ret_size);
    for (pb_size_t i = 0; i < request.container_requests_count; i++)
        free(answers[i].deviceIDs);
    return r < 0 ? refuse(err, RPC_RESOURCE_EXHAUSTED, "out of memory for choosing devices")
                 : RPC_OK;
}

/* --- Allocate --- */

/* Adds the grant's id to the response: the kubelet keeps it in its checkpoint. */
static int annotate(const char *resource, const struct grant *grant,
                    v1beta1_ContainerAllocateResponse *answer)
{
    char key[sizeof(GRANT_ANNOTATION_PREFIX) + RESOURCE_NAME_SIZE];
    v1beta1_ContainerAllocateResponse_AnnotationsEntry *annotations = reallocarray(
        answer->annotations, (size_t)answer->annotations_count + 1, sizeof(*annotations));

    if (!annotations)
        return -ENOMEM;
    answer->annotations = annotations;
    annotations += answer->annotations_count++;
    kubeletcheckpoint_annotation(resource, key, sizeof(key));
    *annotations = (v1beta1_ContainerAllocateResponse_AnnotationsEntry){.key = strdup(key),
                                                                        .value = strdup(grant->id)};
    return annotations->key && annotations->value ? 0 : -ENOMEM;
}

/* The slice of an id, of the offer in force or of the one before; NULL = of neither. */
static const struct slice *find_slice(const struct deviceplugin_offers *offers,
                                      const char *resource, const char *id,
                                      const struct offer **ret_from)
{
    const struct offer *candidates[] = {offers->now, offers->earlier};
    const struct slice *slice = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(candidates) && !slice; i++) {
        const struct plan_resource *found =
            candidates[i] ? plan_find_resource(candidates[i]->plan, resource) : NULL;

        *ret_from = candidates[i];
        slice = found ? plan_find(found, id) : NULL;
    }
    return slice;
}

static bool is_limited(const struct deviceplugin_offers *offers, const char *resource,
                       const v1beta1_ContainerAllocateRequest *request)
{
    const struct offer *from;

    for (pb_size_t i = 0; i < request->devices_ids_count; i++) {
        const struct slice *slice =
            find_slice(offers, resource, message_text(request->devices_ids[i]), &from);

        if (slice && offer_limits_slice(from, slice))
            return true;
    }
    return false;
}

/* Without a library the container runs all the same, and its limit is reported as not enforced:
 * a refusal here leaves a dead pod behind. */
static int limit(const struct deviceplugin_offers *offers, const char *resource,
                 const struct grant *grant, v1beta1_ContainerAllocateResponse *answer)
{
    int r = limitmounts_add(offers->now->limits, resource, grant->id, answer);

    if (r != LIMITMOUNTS_NO_LIBRARY)
        return r;
    log_warning("a container gets slices without a memory limit: there is no library to preload",
                "resource", resource, "grant", grant->id, "hint",
                "is gpuslice-arbiter on this node, with --limits?");
    return 0;
}

static int give(const struct deviceplugin_offers *offers, const char *resource,
                const v1beta1_ContainerAllocateRequest *request,
                v1beta1_ContainerAllocateResponse *answer, struct deviceplugin_given *given)
{
    struct grant *grant = &given->items[given->n];
    int r = grantterms_make(offers->now, offers->earlier, resource, request->devices_ids,
                            request->devices_ids_count, grant);

    if (r < 0)
        return r;
    given->n++;
    r = grants_name(offers->grants, grant);
    if (r == 0)
        r = annotate(resource, grant, answer);
    return r == 0 && is_limited(offers, resource, request) ? limit(offers, resource, grant, answer)
                                                           : r;
}

void deviceplugin_given_deinit(struct deviceplugin_given *given)
{
    for (size_t i = 0; i < given->n; i++)
        grant_deinit(&given->items[i]);
    free(given->items);
    free(given->data);
    *given = (struct deviceplugin_given)DEVICEPLUGIN_GIVEN_INIT;
}

/* The kubelet chose it before it read that a pod holds it otherwise: two pods would share it. */
static int check_former(const struct deviceplugin_offers *offers, const char *resource,
                        const char *id, struct error *err)
{
    const struct ledger *ledger = grants_ledger(offers->grants);
    const struct offer *from = NULL;
    const struct slice *slice = find_slice(offers, resource, id, &from);
    const char *as = NULL;
    int r;

    r = slice && ledger ? formerholds_of_slice(from, ledger, slice, &as) : 0;
    if (r < 0 || !as)
        return r;
    error_set(err, -EBUSY,
              "%s cannot be given to a container as %s: what was offered before the configuration "
              "changed is still held, as %s",
              id, resource, as);
    return ALLOCATION_OTHER_NAME;
}

static int allocate_one(const struct deviceplugin_offers *offers, const char *resource,
                        const v1beta1_ContainerAllocateRequest *request,
                        v1beta1_ContainerAllocateResponse *answer, struct error *err)
{
    int r = allocation_answer(offers->now, offers->earlier, resource, request->devices_ids,
                              request->devices_ids_count, answer, err);

    for (pb_size_t i = 0; r == 0 && i < request->devices_ids_count; i++)
        r = check_former(offers, resource, message_text(request->devices_ids[i]), err);
    return r;
}

static int allocate_all(const struct deviceplugin_offers *offers, const char *resource,
                        const v1beta1_AllocateRequest *request, v1beta1_AllocateResponse *response,
                        struct deviceplugin_given *given, struct error *err)
{
    int r =
        message_entries(&response->container_responses, &response->container_responses_count,
                        request->container_requests_count, sizeof(*response->container_responses));

    for (pb_size_t i = 0; r == 0 && i < request->container_requests_count; i++) {
        const v1beta1_ContainerAllocateRequest *one = &request->container_requests[i];

        r = allocate_one(offers, resource, one, &response->container_responses[i], err);
        if (r == 0 && offers->grants)
            r = give(offers, resource, one, &response->container_responses[i], given);
    }
    return r;
}

enum rpc_status deviceplugin_allocate(const struct deviceplugin_offers *offers,
                                      const char *resource, const void *data, size_t size,
                                      struct deviceplugin_given *ret_given, struct error *err)
{
    cleanup(deviceplugin_given_deinit) struct deviceplugin_given given = DEVICEPLUGIN_GIVEN_INIT;
    cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest request =
        v1beta1_AllocateRequest_init_zero;
    cleanup(v1beta1_AllocateResponse_release_p) v1beta1_AllocateResponse response =
        v1beta1_AllocateResponse_init_zero;
    int r;

    if (message_decode(v1beta1_AllocateRequest_fields, data, size, &request) < 0)
        return refuse(err, RPC_INVALID_ARGUMENT, "not an AllocateRequest");
    given.items = calloc((size_t)request.container_requests_count + 1, sizeof(*given.items));
    r = given.items ? allocate_all(offers, resource, &request, &response, &given, err) : -ENOMEM;
    if (r > 0) /* allocation_answer's message */
        return r == ALLOCATION_OTHER_NAME ? RPC_FAILED_PRECONDITION : RPC_INVALID_ARGUMENT;
    if (r == 0)
        r = message_encode(v1beta1_AllocateResponse_fields, &response, &given.data, &given.size);
    if (r < 0)
        return refuse(err, RPC_RESOURCE_EXHAUSTED, "out of memory for the response");
    *ret_given = given;
    given = (struct deviceplugin_given)DEVICEPLUGIN_GIVEN_INIT;
    return RPC_OK;
}
