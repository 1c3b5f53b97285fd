// SPDX-License-Identifier: Apache-2.0
#include "podlister.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "kubelet.h"
#include "podresources/v1/api.pb.h"
#include "rpc/message.h"
#include "rpc/server.h"

DEFINE_MESSAGE_CLEANUP(v1_ListPodResourcesResponse)
DEFINE_MESSAGE_CLEANUP(v1_AllocatableResourcesResponse)
DEFINE_MESSAGE_CLEANUP(v1_GetPodResourcesRequest)
DEFINE_MESSAGE_CLEANUP(v1_GetPodResourcesResponse)

struct podlister {
    struct kubelet *kubelet;
    struct rpc_server *server;
};

static char *copy(const char *string, int *r)
{
    char *new = strdup(string);

    if (!new)
        *r = -ENOMEM;
    return new;
}

/* Entries per device: one without topology, else one per node. */
static size_t count_entries(const struct managed_device *devices, size_t n_devices)
{
    size_t n = 0;

    for (size_t i = 0; i < n_devices; i++)
        n += devices[i].n_numa_nodes ? devices[i].n_numa_nodes : 1;
    return n;
}

static int fill_entry(v1_ContainerDevices *entry, const char *resource,
                      const struct managed_device *device, size_t node)
{
    int r = message_entries(&entry->device_ids, &entry->device_ids_count, 1, sizeof(char *));

    if (r < 0)
        return r;
    entry->resource_name = copy(resource, &r);
    entry->device_ids[0] = copy(device->id, &r);
    if (r < 0 || !device->n_numa_nodes)
        return r;
    entry->has_topology = true;
    r = message_entries(&entry->topology.nodes, &entry->topology.nodes_count, 1,
                        sizeof(*entry->topology.nodes));
    if (r == 0)
        entry->topology.nodes[0].ID = device->numa_nodes[node];
    return r;
}

/* Appends; `*at` counts within `entries`, which has room. */
static int fill_devices(v1_ContainerDevices *entries, size_t *at, const char *resource,
                        const struct managed_device *devices, size_t n_devices)
{
    int r = 0;

    for (size_t i = 0; i < n_devices; i++)
        for (size_t node = 0; node == 0 || node < devices[i].n_numa_nodes; node++) {
            r = fill_entry(&entries[(*at)++], resource, &devices[i], node);
            if (r < 0)
                return r;
        }
    return r;
}

static int fill_container(const struct kubelet *kubelet, const struct pod *pod,
                          const struct container_spec *container, v1_ContainerResources *out)
{
    const struct manager *manager = &kubelet->manager;
    size_t n = 0, at = 0;
    int r = 0;

    out->name = copy(container->name, &r);
    for (size_t i = 0; i < container->n_limits; i++) {
        const struct allocation *one = manager_find_allocation(manager, pod->uid, container->name,
                                                               container->limits[i].resource);

        n += one ? count_entries(one->devices, one->n_devices) : 0;
    }
    if (r == 0)
        r = message_entries(&out->devices, &out->devices_count, n, sizeof(*out->devices));
    for (size_t i = 0; r == 0 && i < container->n_limits; i++) {
        const struct allocation *one = manager_find_allocation(manager, pod->uid, container->name,
                                                               container->limits[i].resource);

        if (one)
            r = fill_devices(out->devices, &at, one->resource, one->devices, one->n_devices);
    }
    return r;
}

static int fill_pod(const struct kubelet *kubelet, const struct pod *pod, v1_PodResources *out)
{
    size_t n = 0, at = 0;
    int r = 0;

    out->name = copy(pod->name, &r);
    out->namespace = copy(pod->namespace, &r);
    for (size_t i = 0; i < pod->n_containers; i++)
        n += pod->containers[i].spec->role != CONTAINER_INIT;
    if (r == 0)
        r = message_entries(&out->containers, &out->containers_count, n, sizeof(*out->containers));
    for (size_t i = 0; r == 0 && i < pod->n_containers; i++)
        if (pod->containers[i].spec->role != CONTAINER_INIT)
            r = fill_container(kubelet, pod, pod->containers[i].spec, &out->containers[at++]);
    return r;
}

static bool is_listed(const struct pod *pod)
{
    return pod->scheduled && pod_is_active(pod);
}

static void reply(struct rpc_call *call, int r, const pb_msgdesc_t *fields, const void *message)
{
    cleanup_free void *data = NULL;
    size_t size = 0;

    if (r == 0)
        r = message_encode(fields, message, &data, &size);
    if (r < 0)
        rpc_call_finish(call, RPC_INTERNAL, strerror(-r));
    else
        rpc_call_reply(call, data, size);
}

static void handle_list(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1_ListPodResourcesResponse_release_p) v1_ListPodResourcesResponse out =
        v1_ListPodResourcesResponse_init_zero;
    struct kubelet *kubelet = ((struct podlister *)userdata)->kubelet;
    size_t n = 0, at = 0;
    int r;

    manager_reclaim(&kubelet->manager, kubelet_is_active, kubelet);
    for (size_t i = 0; i < kubelet->pods.n_items; i++)
        n += is_listed(kubelet->pods.items[i]);
    r = message_entries(&out.pod_resources, &out.pod_resources_count, n,
                        sizeof(*out.pod_resources));
    for (size_t i = 0; r == 0 && i < kubelet->pods.n_items; i++)
        if (is_listed(kubelet->pods.items[i]))
            r = fill_pod(kubelet, kubelet->pods.items[i], &out.pod_resources[at++]);
    reply(call, r, v1_ListPodResourcesResponse_fields, &out);
}

/* Healthy devices, allocated or not. */
static int fill_allocatable(const struct manager *manager, v1_AllocatableResourcesResponse *out)
{
    size_t n = 0, at = 0;
    int r;

    for (size_t i = 0; i < manager->n_resources; i++)
        n += count_entries(manager->resources[i].devices, manager->resources[i].n_devices);
    r = message_entries(&out->devices, &out->devices_count, n, sizeof(*out->devices));
    for (size_t i = 0; r == 0 && i < manager->n_resources; i++) {
        const struct resource *resource = &manager->resources[i];

        for (size_t k = 0; r == 0 && k < resource->n_devices; k++)
            if (resource->devices[k].healthy)
                r = fill_devices(out->devices, &at, resource->name, &resource->devices[k], 1);
    }
    out->devices_count = (pb_size_t)at;
    return r;
}

static void handle_allocatable(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1_AllocatableResourcesResponse_release_p) v1_AllocatableResourcesResponse out =
        v1_AllocatableResourcesResponse_init_zero;
    struct podlister *podlister = userdata;
    int r = fill_allocatable(&podlister->kubelet->manager, &out);

    reply(call, r, v1_AllocatableResourcesResponse_fields, &out);
}

static void handle_get(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1_GetPodResourcesRequest_release_p) v1_GetPodResourcesRequest in =
        v1_GetPodResourcesRequest_init_zero;
    cleanup(v1_GetPodResourcesResponse_release_p) v1_GetPodResourcesResponse out =
        v1_GetPodResourcesResponse_init_zero;
    cleanup_text struct text error = TEXT_INIT;
    struct kubelet *kubelet = ((struct podlister *)userdata)->kubelet;
    const struct pod *pod;

    if (message_decode(v1_GetPodResourcesRequest_fields, data, size, &in) < 0) {
        rpc_call_finish(call, RPC_INTERNAL, "grpc: error unmarshalling request");
        return;
    }
    pod = pods_find(&kubelet->pods, message_text(in.pod_namespace), message_text(in.pod_name));
    if (!pod || !is_listed(pod)) {
        text_addf(&error, "pod %s in namespace %s not found", message_text(in.pod_name),
                  message_text(in.pod_namespace));
        rpc_call_finish(call, RPC_UNKNOWN, text_string(&error));
        return;
    }
    out.has_pod_resources = true;
    reply(call, fill_pod(kubelet, pod, &out.pod_resources), v1_GetPodResourcesResponse_fields,
          &out);
}

static const struct rpc_method methods[] = {
    {"/v1.PodResourcesLister/List", handle_list},
    {"/v1.PodResourcesLister/GetAllocatableResources", handle_allocatable},
    {"/v1.PodResourcesLister/Get", handle_get},
};

int podlister_new(struct kubelet *kubelet, const char *directory, struct podlister **ret_podlister,
                  struct error *err)
{
    static const struct rpc_limits limits = {.allowed_uid = -1, .leaves_socket = true};
    cleanup_free struct podlister *podlister = calloc(1, sizeof(*podlister));
    cleanup_text struct text path = TEXT_INIT;
    int r = file_make_directory(directory, err);

    if (r < 0)
        return r;
    text_addf(&path, "%s/kubelet.sock", directory);
    if (!podlister || text_failed(&path))
        return error_set_errno(err, -ENOMEM, "cannot listen in %s", directory);
    podlister->kubelet = kubelet;
    r = rpc_server_new(kubelet->loop, text_string(&path),
                       &(struct rpc_service){.methods = methods,
                                             .n_methods = ARRAY_SIZE(methods),
                                             .limits = &limits,
                                             .userdata = podlister},
                       &podlister->server, err);
    if (r < 0)
        return r;
    *ret_podlister = TAKE_PTR(podlister);
    return 0;
}

void podlister_free(struct podlister *podlister)
{
    if (!podlister)
        return;
    rpc_server_free(podlister->server);
    free(podlister);
}
