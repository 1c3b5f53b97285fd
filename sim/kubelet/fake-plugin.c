// SPDX-License-Identifier: Apache-2.0
#include "fake-plugin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "rpc/server.h"

DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateRequest)
DEFINE_MESSAGE_CLEANUP(v1beta1_PreferredAllocationRequest)

struct fake_plugin {
    struct fake_plugin_options options;
    uv_loop_t *loop;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpc_call *watch;
    struct fake_plugin_counters counters;
    char registered[512];
    void *list; /* the encoded list */
    size_t list_size;
    const char *allocate_error, *preference_error, *pre_start_error;
};

/* One test may run several plugins of the same resource: each gets its own socket name. */
static void socket_name(const struct fake_plugin *plugin, char *name, size_t size)
{
    snprintf(name, size, "fake-%p.sock", (const void *)plugin);
}

static void reply(struct rpc_call *call, const pb_msgdesc_t *fields, const void *message)
{
    cleanup_free void *data = NULL;
    size_t size;

    if (message_encode(fields, message, &data, &size) < 0)
        abort();
    rpc_call_reply(call, data, size);
}

static void handle_options(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct fake_plugin *plugin = userdata;
    v1beta1_DevicePluginOptions options = {
        .pre_start_required = plugin->options.wants_pre_start,
        .get_preferred_allocation_available = plugin->options.offers_preference,
    };

    reply(call, v1beta1_DevicePluginOptions_fields, &options);
}

static void handle_gone(struct rpc_call *call, void *call_data)
{
    struct fake_plugin *plugin = call_data;

    if (plugin->watch == call)
        plugin->watch = NULL;
}

static void handle_watch(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct fake_plugin *plugin = userdata;

    plugin->watch = call;
    rpc_call_keep(call, plugin, handle_gone);
    if (plugin->list)
        rpc_call_send(call, plugin->list, plugin->list_size);
}

static void handle_preference(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1beta1_PreferredAllocationRequest_release_p) v1beta1_PreferredAllocationRequest in =
        v1beta1_PreferredAllocationRequest_init_zero;
    v1beta1_ContainerPreferredAllocationResponse container =
        v1beta1_ContainerPreferredAllocationResponse_init_zero;
    v1beta1_PreferredAllocationResponse out = {.container_responses = &container,
                                               .container_responses_count = 1};
    struct fake_plugin *plugin = userdata;
    v1beta1_ContainerPreferredAllocationRequest *asked;

    plugin->counters.n_preferences++;
    if (plugin->preference_error) {
        rpc_call_finish(call, RPC_UNKNOWN, plugin->preference_error);
        return;
    }
    if (message_decode(v1beta1_PreferredAllocationRequest_fields, data, size, &in) < 0 ||
        in.container_requests_count != 1)
        abort();
    asked = &in.container_requests[0];
    plugin->counters.last_available = asked->available_deviceIDs_count;
    plugin->counters.last_must_include = asked->must_include_deviceIDs_count;
    plugin->counters.last_size = (size_t)asked->allocation_size;
    container.deviceIDs =
        asked->available_deviceIDs + asked->available_deviceIDs_count - asked->allocation_size;
    container.deviceIDs_count = (pb_size_t)asked->allocation_size;
    reply(call, v1beta1_PreferredAllocationResponse_fields, &out);
}

static void handle_allocate(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest in =
        v1beta1_AllocateRequest_init_zero;
    cleanup_text struct text ids = TEXT_INIT, directory = TEXT_INIT;
    struct fake_plugin *plugin = userdata;
    static char name[] = "FAKE_DEVICES", path[] = "/fake", node[] = "/dev/fake", rw[] = "rw",
                cdi[] = "fake.example/device=all", key[] = "fake.example/answer", yes[] = "yes";
    v1beta1_ContainerAllocateResponse_EnvsEntry env = {.key = name};
    v1beta1_ContainerAllocateResponse_AnnotationsEntry annotation = {.key = key, .value = yes};
    v1beta1_Mount mount = {.container_path = path, .read_only = true};
    v1beta1_DeviceSpec device = {.container_path = node, .host_path = node, .permissions = rw};
    v1beta1_CDIDevice cdi_device = {.name = cdi};
    v1beta1_ContainerAllocateResponse container = {.envs = &env,
                                                   .envs_count = 1,
                                                   .mounts = &mount,
                                                   .mounts_count = 1,
                                                   .devices = &device,
                                                   .devices_count = 1,
                                                   .annotations = &annotation,
                                                   .annotations_count = 1,
                                                   .cdi_devices = &cdi_device,
                                                   .cdi_devices_count = 1};
    v1beta1_AllocateResponse out = {.container_responses = &container,
                                    .container_responses_count = 1};

    plugin->counters.n_allocates++;
    if (plugin->allocate_error) {
        rpc_call_finish(call, RPC_UNKNOWN, plugin->allocate_error);
        return;
    }
    if (message_decode(v1beta1_AllocateRequest_fields, data, size, &in) < 0 ||
        in.container_requests_count != 1)
        abort();
    for (pb_size_t i = 0; i < in.container_requests[0].devices_ids_count; i++)
        text_addf(&ids, "%s%s", i ? "," : "", in.container_requests[0].devices_ids[i]);
    text_addf(&directory, "/host/%s", plugin->options.resource);
    env.value = ids.data;
    mount.host_path = directory.data;
    reply(call, v1beta1_AllocateResponse_fields, &out);
}

static void handle_pre_start(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct fake_plugin *plugin = userdata;

    plugin->counters.n_pre_starts++;
    if (plugin->pre_start_error)
        rpc_call_finish(call, RPC_UNKNOWN, plugin->pre_start_error);
    else
        rpc_call_reply(call, "", 0);
}

static const struct rpc_method methods[] = {
    {"/v1beta1.DevicePlugin/GetDevicePluginOptions", handle_options},
    {"/v1beta1.DevicePlugin/ListAndWatch", handle_watch},
    {"/v1beta1.DevicePlugin/GetPreferredAllocation", handle_preference},
    {"/v1beta1.DevicePlugin/Allocate", handle_allocate},
    {"/v1beta1.DevicePlugin/PreStartContainer", handle_pre_start},
};

int fake_plugin_new(uv_loop_t *loop, const struct fake_plugin_options *options,
                    struct fake_plugin **ret_plugin)
{
    static const struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    struct fake_plugin *plugin = calloc(1, sizeof(*plugin));
    cleanup_text struct text path = TEXT_INIT;
    char name[64];
    int r;

    if (!plugin)
        return -ENOMEM;
    plugin->options = *options;
    plugin->loop = loop;
    socket_name(plugin, name, sizeof(name));
    text_addf(&path, "%s/%s", options->directory, name);
    r = rpc_server_new(loop, text_string(&path),
                       &(struct rpc_service){.methods = methods,
                                             .n_methods = ARRAY_SIZE(methods),
                                             .limits = &limits,
                                             .userdata = plugin},
                       &plugin->server, NULL);
    if (r < 0) {
        free(plugin);
        return r;
    }
    *ret_plugin = plugin;
    return 0;
}

void fake_plugin_free(struct fake_plugin *plugin)
{
    if (!plugin)
        return;
    rpc_client_free(plugin->client);
    rpc_server_free(plugin->server);
    free(plugin->list);
    free(plugin);
}

static void handle_registered(struct rpc_request *request, enum rpc_status status, const char *text,
                              const void *message, size_t size, void *userdata)
{
    struct fake_plugin *plugin = userdata;

    snprintf(plugin->registered, sizeof(plugin->registered), "%s", status == RPC_OK ? "OK" : text);
}

int fake_plugin_register(struct fake_plugin *plugin)
{
    cleanup_text struct text path = TEXT_INIT;
    cleanup_free void *data = NULL;
    char name[64], version[16], resource[256];
    v1beta1_RegisterRequest request = {
        .version = version, .endpoint = name, .resource_name = resource};
    size_t size;
    int r;

    socket_name(plugin, name, sizeof(name));
    snprintf(version, sizeof(version), "%s",
             plugin->options.version ? plugin->options.version : "v1beta1");
    snprintf(resource, sizeof(resource), "%s", plugin->options.resource);
    text_addf(&path, "%s/kubelet.sock", plugin->options.directory);
    plugin->registered[0] = '\0';
    rpc_client_free(plugin->client);
    plugin->client = NULL;
    r = rpc_client_new(plugin->loop, text_string(&path), &plugin->client, NULL);
    if (r == 0)
        r = message_encode(v1beta1_RegisterRequest_fields, &request, &data, &size);
    if (r == 0)
        r = rpc_client_call(plugin->client,
                            &(struct rpc_invocation){.method = "/v1beta1.Registration/Register",
                                                     .message = data,
                                                     .size = size,
                                                     .deadline_ms = 5000,
                                                     .on_done = handle_registered,
                                                     .userdata = plugin},
                            NULL, NULL);
    return r;
}

const char *fake_plugin_registered(const struct fake_plugin *plugin)
{
    return plugin->registered;
}

void fake_plugin_list(struct fake_plugin *plugin, const struct managed_device *devices,
                      size_t n_devices)
{
    static char healthy[] = "Healthy", unhealthy[] = "Unhealthy";
    v1beta1_Device *items = calloc(n_devices + 1, sizeof(*items));
    v1beta1_NUMANode *nodes = calloc(n_devices + 1, sizeof(*nodes));
    v1beta1_ListAndWatchResponse list = {.devices = items, .devices_count = (pb_size_t)n_devices};

    if (!items || !nodes)
        abort();
    for (size_t i = 0; i < n_devices; i++) {
        items[i].ID = devices[i].id;
        items[i].health = devices[i].healthy ? healthy : unhealthy;
        if (!devices[i].n_numa_nodes)
            continue;
        nodes[i].ID = devices[i].numa_nodes[0];
        items[i].has_topology = true;
        items[i].topology.nodes = &nodes[i];
        items[i].topology.nodes_count = 1;
    }
    free(plugin->list);
    if (message_encode(v1beta1_ListAndWatchResponse_fields, &list, &plugin->list,
                       &plugin->list_size) < 0)
        abort();
    if (plugin->watch)
        rpc_call_send(plugin->watch, plugin->list, plugin->list_size);
    free(items);
    free(nodes);
}

void fake_plugin_fail_allocate(struct fake_plugin *plugin, const char *sentence)
{
    plugin->allocate_error = sentence;
}

void fake_plugin_fail_preference(struct fake_plugin *plugin, const char *sentence)
{
    plugin->preference_error = sentence;
}

void fake_plugin_fail_pre_start(struct fake_plugin *plugin, const char *sentence)
{
    plugin->pre_start_error = sentence;
}

const struct fake_plugin_counters *fake_plugin_counters(const struct fake_plugin *plugin)
{
    return &plugin->counters;
}
