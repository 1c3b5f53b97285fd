// SPDX-License-Identifier: Apache-2.0
#include "plugin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/text.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "rpc/client.h"
#include "rpc/message.h"

enum {
    DIAL_AGAIN_MS = 1000, /* the base delay of grpc-go's back-off */
    PART_ENTRIES = 1024,
    READ_MAX_BYTES = 4 << 20, /* grpc-go's default, which the kubelet keeps for plugins */
};

DEFINE_MESSAGE_CLEANUP(v1beta1_DevicePluginOptions)
DEFINE_MESSAGE_CLEANUP(v1beta1_ListAndWatchResponse)
DEFINE_MESSAGE_CLEANUP(v1beta1_PreferredAllocationResponse)
DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateResponse)

/* One open unary call; exactly one of the three functions is set. */
struct call {
    struct plugin *plugin;
    struct call *next;
    plugin_preferred_fn *preferred;
    plugin_allocated_fn *allocated;
    plugin_pre_started_fn *pre_started;
    void *userdata;
};

struct plugin {
    uv_timer_t dial; /* also keeps the memory alive until libuv has closed it */
    uv_loop_t *loop;
    char *path, *resource;
    struct rpc_client *client;
    const struct plugin_events *events;
    void *userdata;
    uint64_t dial_ends_ms;
    struct call *calls;
    bool connected, offers_preference, wants_pre_start;
    bool closed; /* plugin_free ran: no callback runs any more */
};

/* As google.golang.org/grpc/codes prints them. */
static const char *const go_codes[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

static void format_status(struct text *text, enum rpc_status status, const char *sentence)
{
    const char *code = (size_t)status < ARRAY_SIZE(go_codes) ? go_codes[status] : "Unknown";

    text_addf(text, "rpc error: code = %s desc = %s", code, sentence);
}

static void plugin_release(uv_handle_t *handle)
{
    struct plugin *plugin = handle->data;
    struct call *call;

    rpc_client_free(plugin->client);
    while ((call = plugin->calls)) {
        plugin->calls = call->next;
        free(call);
    }
    free(plugin->path);
    free(plugin->resource);
    free(plugin);
}

static void finish_call(struct call *call, const char *error, const void *message, size_t size);

void plugin_free(struct plugin *plugin)
{
    if (!plugin || plugin->closed)
        return;
    plugin->closed = true;
    plugin->connected = false;
    /* Their requests still refer to the calls, so free these together with the client. */
    for (struct call *call = plugin->calls; call; call = call->next)
        finish_call(call,
                    "rpc error: code = Canceled desc = grpc: the client connection is closing",
                    NULL, 0);
    uv_close((uv_handle_t *)&plugin->dial, plugin_release);
}

const char *plugin_resource(const struct plugin *plugin)
{
    return plugin->resource;
}

bool plugin_is_connected(const struct plugin *plugin)
{
    return plugin->connected;
}

bool plugin_offers_preference(const struct plugin *plugin)
{
    return plugin->offers_preference;
}

bool plugin_wants_pre_start(const struct plugin *plugin)
{
    return plugin->wants_pre_start;
}

/* A kubelet's view of a list that arrived in parts. */
struct device_list {
    struct managed_device *items;
    size_t n_items, capacity;
};

static void device_list_deinit(struct device_list *list)
{
    for (size_t i = 0; i < list->n_items; i++) {
        free(list->items[i].id);
        free(list->items[i].numa_nodes);
    }
    free(list->items);
}

static int add_device(struct device_list *list, const v1beta1_Device *in)
{
    struct managed_device *device =
        array_push(&list->items, &list->n_items, &list->capacity, sizeof(*device));
    size_t n_nodes = in->has_topology ? in->topology.nodes_count : 0;

    if (!device)
        return -ENOMEM;
    device->id = strdup(message_text(in->ID));
    device->healthy = str_equal(message_text(in->health), "Healthy");
    device->numa_nodes = n_nodes ? calloc(n_nodes, sizeof(int64_t)) : NULL;
    for (size_t k = 0; device->numa_nodes && k < n_nodes; k++)
        device->numa_nodes[device->n_numa_nodes++] = in->topology.nodes[k].ID;
    return device->id ? 0 : -ENOMEM;
}

/* Go's protobuf counts entries without a limit; nanopb does not, and grows an array by one each. */
static int read_list(const uint8_t *message, size_t size, struct device_list *list)
{
    int r = 0;

    while (r == 0 && size > 0) {
        cleanup(v1beta1_ListAndWatchResponse_release_p) v1beta1_ListAndWatchResponse part =
            v1beta1_ListAndWatchResponse_init_zero;
        size_t length = message_part(message, size, PART_ENTRIES);

        r = message_decode(v1beta1_ListAndWatchResponse_fields, message, length, &part);
        for (pb_size_t i = 0; r == 0 && i < part.devices_count; i++)
            r = add_device(list, &part.devices[i]);
        message += length;
        size -= length;
    }
    return r;
}

static void handle_list(struct rpc_request *request, const void *message, size_t size,
                        void *userdata)
{
    cleanup(device_list_deinit) struct device_list list = {.items = NULL};
    struct plugin *plugin = userdata;

    if (plugin->closed)
        return;
    if (read_list(message, size, &list) < 0) {
        rpc_request_cancel(request);
        plugin->connected = false;
        plugin->events->ended(plugin, "the list is not a ListAndWatchResponse", plugin->userdata);
        return;
    }
    plugin->events->listed(plugin, list.items, list.n_items, plugin->userdata);
}

static void handle_watch_end(struct rpc_request *request, enum rpc_status status, const char *text,
                             const void *message, size_t size, void *userdata)
{
    cleanup_text struct text sentence = TEXT_INIT;
    struct plugin *plugin = userdata;

    if (plugin->closed)
        return;
    plugin->connected = false;
    format_status(&sentence, status, text);
    plugin->events->ended(plugin, status == RPC_OK ? "EOF" : text_string(&sentence),
                          plugin->userdata);
}

static void watch(struct plugin *plugin)
{
    struct error err = ERROR_INIT;

    if (rpc_client_call(plugin->client,
                        &(struct rpc_invocation){.method = "/v1beta1.DevicePlugin/ListAndWatch",
                                                 .message = "",
                                                 .max_bytes = READ_MAX_BYTES,
                                                 .on_message = handle_list,
                                                 .on_done = handle_watch_end,
                                                 .userdata = plugin},
                        NULL, &err) < 0) {
        plugin->connected = false;
        plugin->events->ended(plugin, error_text(&err), plugin->userdata);
    }
}

static void handle_options(struct rpc_request *request, enum rpc_status status, const char *text,
                           const void *message, size_t size, void *userdata)
{
    cleanup(v1beta1_DevicePluginOptions_release_p) v1beta1_DevicePluginOptions options =
        v1beta1_DevicePluginOptions_init_zero;
    cleanup_text struct text sentence = TEXT_INIT;
    struct plugin *plugin = userdata;

    if (plugin->closed)
        return;
    if (status == RPC_OK &&
        message_decode(v1beta1_DevicePluginOptions_fields, message, size, &options) < 0) {
        status = RPC_INTERNAL;
        text = "the response is not a DevicePluginOptions";
    }
    if (status != RPC_OK) {
        text_add(&sentence, "failed to get device plugin options: ");
        format_status(&sentence, status, text);
        plugin->events->failed(plugin, text_string(&sentence), plugin->userdata);
        return;
    }
    plugin->offers_preference = options.get_preferred_allocation_available;
    plugin->wants_pre_start = options.pre_start_required;
    plugin->connected = true;
    plugin->events->connected(plugin, plugin->userdata);
    if (!plugin->closed)
        watch(plugin);
}

static void dial(uv_timer_t *timer)
{
    struct plugin *plugin = timer->data;
    cleanup_text struct text sentence = TEXT_INIT;
    struct error err = ERROR_INIT;
    int r = rpc_client_new(plugin->loop, plugin->path, &plugin->client, &err);

    if (r < 0 && clock_now_ms() < plugin->dial_ends_ms) {
        uv_timer_start(&plugin->dial, dial, DIAL_AGAIN_MS, 0);
        return;
    }
    if (r == 0)
        r = rpc_client_call(
            plugin->client,
            &(struct rpc_invocation){.method = "/v1beta1.DevicePlugin/GetDevicePluginOptions",
                                     .message = "",
                                     .max_bytes = READ_MAX_BYTES,
                                     .on_done = handle_options,
                                     .userdata = plugin},
            NULL, &err);
    if (r == 0)
        return;
    text_addf(&sentence, "failed to dial device plugin: context deadline exceeded (%s)",
              error_text(&err));
    plugin->events->failed(plugin, text_string(&sentence), plugin->userdata);
}

int plugin_new(uv_loop_t *loop, const char *path, const char *resource,
               const struct plugin_events *events, void *userdata, struct plugin **ret_plugin,
               struct error *err)
{
    struct plugin *plugin = calloc(1, sizeof(*plugin));

    if (plugin) {
        plugin->path = strdup(path);
        plugin->resource = strdup(resource);
    }
    if (!plugin || !plugin->path || !plugin->resource) {
        if (plugin) {
            free(plugin->path);
            free(plugin->resource);
        }
        free(plugin);
        return error_set_errno(err, -ENOMEM, "cannot connect to %s", path);
    }
    plugin->loop = loop;
    plugin->events = events;
    plugin->userdata = userdata;
    plugin->dial_ends_ms = clock_now_ms() + PLUGIN_DIAL_MS;
    plugin->dial.data = plugin;
    uv_timer_init(loop, &plugin->dial);
    uv_timer_start(&plugin->dial, dial, 0, 0);
    *ret_plugin = plugin;
    return 0;
}

static void finish_preferred(const struct call *call, const char *error, const void *message,
                             size_t size)
{
    cleanup(v1beta1_PreferredAllocationResponse_release_p) v1beta1_PreferredAllocationResponse in =
        v1beta1_PreferredAllocationResponse_init_zero;
    cleanup_ids struct ids ids = IDS_INIT;

    if (!error &&
        message_decode(v1beta1_PreferredAllocationResponse_fields, message, size, &in) < 0)
        error =
            "rpc error: code = Internal desc = the response is not a PreferredAllocationResponse";
    if (!error && in.container_responses_count)
        for (pb_size_t i = 0; i < in.container_responses[0].deviceIDs_count; i++)
            if (in.container_responses[0].deviceIDs[i])
                ids_add(&ids, in.container_responses[0].deviceIDs[i]);
    call->preferred(error, &ids, call->userdata);
}

static void finish_allocated(const struct call *call, const char *error, const void *message,
                             size_t size)
{
    cleanup(v1beta1_AllocateResponse_release_p) v1beta1_AllocateResponse in =
        v1beta1_AllocateResponse_init_zero;
    cleanup_free void *answer = NULL;
    size_t answer_size = 0;

    if (!error && message_decode(v1beta1_AllocateResponse_fields, message, size, &in) < 0)
        error = "rpc error: code = Internal desc = the response is not an AllocateResponse";
    else if (!error && !in.container_responses_count)
        error = "no containers return in allocation response &AllocateResponse{"
                "ContainerResponses:[]*ContainerAllocateResponse{},}";
    else if (!error && message_encode(v1beta1_ContainerAllocateResponse_fields,
                                      &in.container_responses[0], &answer, &answer_size) < 0)
        error = "cannot store the response: out of memory";
    call->allocated(error, answer, answer_size, call->userdata);
}

static void finish_call(struct call *call, const char *error, const void *message, size_t size)
{
    if (call->preferred)
        finish_preferred(call, error, message, size);
    else if (call->allocated)
        finish_allocated(call, error, message, size);
    else
        call->pre_started(error, call->userdata);
}

static void handle_done(struct rpc_request *request, enum rpc_status status, const char *text,
                        const void *message, size_t size, void *userdata)
{
    cleanup_text struct text sentence = TEXT_INIT;
    struct call *call = userdata;
    struct call **link;

    if (call->plugin->closed)
        return;
    for (link = &call->plugin->calls; *link != call; link = &(*link)->next)
        ;
    *link = call->next;
    if (status != RPC_OK)
        format_status(&sentence, status, text);
    finish_call(call, status == RPC_OK ? NULL : text_string(&sentence), message, size);
    free(call);
}

/* Sends the encoded `message`; consumes `call`. */
static int start_call(struct plugin *plugin, const char *method, uint64_t deadline_ms,
                      const pb_msgdesc_t *fields, const void *message, const struct call *call,
                      struct error *err)
{
    cleanup_free struct call *kept = malloc(sizeof(*kept));
    cleanup_free void *data = NULL;
    size_t size;
    int r;

    if (!plugin->connected)
        return error_set(err, -ENOTCONN, "endpoint %s has been stopped", plugin->path);
    if (!kept || message_encode(fields, message, &data, &size) < 0)
        return error_set_errno(err, -ENOMEM, "cannot call %s", method);
    *kept = *call;
    kept->plugin = plugin;
    r = rpc_client_call(plugin->client,
                        &(struct rpc_invocation){.method = method,
                                                 .message = data,
                                                 .size = size,
                                                 .max_bytes = READ_MAX_BYTES,
                                                 .deadline_ms = deadline_ms,
                                                 .on_done = handle_done,
                                                 .userdata = kept},
                        NULL, err);
    if (r < 0)
        return r;
    kept->next = plugin->calls;
    plugin->calls = TAKE_PTR(kept);
    return 0;
}

int plugin_prefer(struct plugin *plugin, const struct ids *available,
                  const struct ids *must_include, size_t size, plugin_preferred_fn *on_done,
                  void *userdata, struct error *err)
{
    v1beta1_ContainerPreferredAllocationRequest container = {
        .available_deviceIDs = available->items,
        .available_deviceIDs_count = available->n_items < MESSAGE_MAX_ENTRIES
                                         ? (pb_size_t)available->n_items
                                         : MESSAGE_MAX_ENTRIES, /* a kubelet names all */
        .must_include_deviceIDs = must_include->items,
        .must_include_deviceIDs_count = (pb_size_t)must_include->n_items,
        .allocation_size = (int32_t)size,
    };
    v1beta1_PreferredAllocationRequest request = {.container_requests = &container,
                                                  .container_requests_count = 1};
    struct call call = {.preferred = on_done, .userdata = userdata};

    return start_call(plugin, "/v1beta1.DevicePlugin/GetPreferredAllocation", 0,
                      v1beta1_PreferredAllocationRequest_fields, &request, &call, err);
}

int plugin_allocate(struct plugin *plugin, const struct ids *ids, plugin_allocated_fn *on_done,
                    void *userdata, struct error *err)
{
    v1beta1_ContainerAllocateRequest container = {.devices_ids = ids->items,
                                                  .devices_ids_count = (pb_size_t)ids->n_items};
    v1beta1_AllocateRequest request = {.container_requests = &container,
                                       .container_requests_count = 1};
    struct call call = {.allocated = on_done, .userdata = userdata};

    return start_call(plugin, "/v1beta1.DevicePlugin/Allocate", 0, v1beta1_AllocateRequest_fields,
                      &request, &call, err);
}

int plugin_pre_start(struct plugin *plugin, const struct ids *ids, plugin_pre_started_fn *on_done,
                     void *userdata, struct error *err)
{
    v1beta1_PreStartContainerRequest request = {.devices_ids = ids->items,
                                                .devices_ids_count = (pb_size_t)ids->n_items};
    struct call call = {.pre_started = on_done, .userdata = userdata};

    return start_call(plugin, "/v1beta1.DevicePlugin/PreStartContainer", PLUGIN_PRE_START_MS,
                      v1beta1_PreStartContainerRequest_fields, &request, &call, err);
}
