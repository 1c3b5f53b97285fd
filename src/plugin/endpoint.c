// SPDX-License-Identifier: Apache-2.0
#include "plugin/endpoint.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "plugin/deviceplugin.h"
#include "rpc/message.h"
#include "rpc/server.h"

struct endpoint_watch {
    struct rpc_call *call;
    uint64_t turn;
};

/* --- the device list --- */

static enum rpc_status encode_list(const struct endpoint *endpoint, void **ret_data,
                                   size_t *ret_size, struct error *err)
{
    return deviceplugin_list(*endpoint->setup.offer,
                             endpoint->withdrawn ? NULL : endpoint->setup.resource, ret_data,
                             ret_size, err);
}

void endpoint_announce(struct endpoint *endpoint)
{
    cleanup_free void *data = NULL;
    struct error err = ERROR_INIT;
    size_t size = 0;

    if (endpoint->n_watches == 0)
        return;
    if (encode_list(endpoint, &data, &size, &err) != RPC_OK) {
        log_error(error_text(&err), "resource", endpoint->setup.resource);
        return;
    }
    /* From the back: a send without memory ends its call, which takes it out of the array. */
    for (size_t i = endpoint->n_watches; i-- > 0;)
        if (rpc_call_send(endpoint->watches[i].call, data, size) == 0)
            endpoint->counters.lists_sent++;
}

/* --- watches --- */

static void forget_watch(struct endpoint *endpoint, const struct rpc_call *call)
{
    size_t i = 0;

    while (i < endpoint->n_watches && endpoint->watches[i].call != call)
        i++;
    assert(i < endpoint->n_watches);
    endpoint->watches[i] = endpoint->watches[--endpoint->n_watches];
}

static bool is_watched_this_turn(const struct endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->n_watches; i++)
        if (endpoint->watches[i].turn == endpoint->turn)
            return true;
    return false;
}

static void on_watch_gone(struct rpc_call *call, void *call_data)
{
    struct endpoint *endpoint = call_data;

    forget_watch(endpoint, call);
    if (!is_watched_this_turn(endpoint))
        endpoint->setup.on_let_go(endpoint->setup.userdata);
}

static void handle_watch(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct endpoint *endpoint = userdata;
    cleanup_free void *data = NULL;
    struct endpoint_watch *place;
    struct error err = ERROR_INIT;
    enum rpc_status status;
    size_t list_size = 0;

    (void)request, (void)size;
    place = array_push(&endpoint->watches, &endpoint->n_watches, &endpoint->watches_capacity,
                       sizeof(*place));
    if (!place) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "no memory for another watch");
        return;
    }
    *place = (struct endpoint_watch){.call = call, .turn = endpoint->turn};
    rpc_call_keep(call, endpoint, on_watch_gone);
    status = encode_list(endpoint, &data, &list_size, &err);
    if (status != RPC_OK) {
        forget_watch(endpoint, call);
        rpc_call_finish(call, status, error_text(&err));
    } else if (rpc_call_send(call, data, list_size) == 0) {
        endpoint->counters.lists_sent++;
    }
}

void endpoint_end_watches(struct endpoint *endpoint)
{
    while (endpoint->n_watches)
        rpc_call_finish(endpoint->watches[--endpoint->n_watches].call, RPC_OK, NULL);
}

/* --- the other calls --- */

static void handle_options(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    const v1beta1_DevicePluginOptions options = {.get_preferred_allocation_available = true};
    cleanup_free void *data = NULL;
    size_t data_size = 0;

    (void)request, (void)size, (void)userdata;
    if (message_encode(v1beta1_DevicePluginOptions_fields, &options, &data, &data_size) < 0)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "no memory for the answer");
    else
        rpc_call_reply(call, data, data_size);
}

static void handle_prefer(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct endpoint *endpoint = userdata;
    struct error err = ERROR_INIT;
    cleanup_free void *answer = NULL;
    size_t answer_size = 0;
    enum rpc_status status;

    status = deviceplugin_prefer(*endpoint->setup.offer, endpoint->setup.resource, data, size,
                                 &answer, &answer_size, &err);
    endpoint->counters.preferences += status != RPC_INVALID_ARGUMENT;
    if (status == RPC_OK)
        rpc_call_reply(call, answer, answer_size);
    else
        rpc_call_finish(call, status, error_text(&err));
}

static void handle_allocate(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct endpoint *endpoint = userdata;
    const struct endpoint_setup *setup = &endpoint->setup;
    struct error err = ERROR_INIT;
    cleanup_free void *answer = NULL;
    size_t answer_size = 0;
    enum rpc_status status;

    status = deviceplugin_allocate(*setup->offer, *setup->earlier, setup->resource, data, size,
                                   &answer, &answer_size, &err);
    endpoint->counters.allocations++;
    if (status == RPC_OK) {
        rpc_call_reply(call, answer, answer_size);
        return;
    }
    endpoint->counters.failed_allocations++;
    log_warning("allocation refused", "resource", setup->resource, "reason", error_text(&err));
    rpc_call_finish(call, status, error_text(&err));
}

static void handle_prestart(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    (void)request, (void)size, (void)userdata;
    rpc_call_reply(call, "", 0); /* PreStartContainerResponse has no fields */
}

static const struct rpc_method methods[] = {
    {"/v1beta1.DevicePlugin/GetDevicePluginOptions", handle_options},
    {"/v1beta1.DevicePlugin/ListAndWatch", handle_watch},
    {"/v1beta1.DevicePlugin/GetPreferredAllocation", handle_prefer},
    {"/v1beta1.DevicePlugin/Allocate", handle_allocate},
    {"/v1beta1.DevicePlugin/PreStartContainer", handle_prestart},
};

/* --- life --- */

void endpoint_name(const char *resource, char *buffer, size_t size)
{
    const char *slash = strchr(resource, '/');

    snprintf(buffer, size, "gpuslice-%s.sock", slash ? slash + 1 : resource);
}

void endpoint_init(struct endpoint *endpoint, const struct endpoint_setup *setup)
{
    *endpoint = (struct endpoint){.setup = *setup};
    endpoint_name(setup->resource, endpoint->name, sizeof(endpoint->name));
    snprintf(endpoint->path, sizeof(endpoint->path), "%s/%s", setup->folder, endpoint->name);
}

void endpoint_deinit(struct endpoint *endpoint)
{
    rpc_server_free(TAKE_PTR(endpoint->server));
    assert(endpoint->n_watches == 0);
    free(TAKE_PTR(endpoint->watches));
    endpoint->watches_capacity = 0;
}

int endpoint_listen(struct endpoint *endpoint, struct error *err)
{
    const struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    int r;

    rpc_server_free(TAKE_PTR(endpoint->server));
    r = rpc_server_new(endpoint->setup.loop, endpoint->path, methods, ARRAY_SIZE(methods), &limits,
                       endpoint, &endpoint->server, err);
    if (r == 0)
        endpoint->served = true;
    return r;
}

void endpoint_begin_turn(struct endpoint *endpoint)
{
    endpoint->turn++;
}

void endpoint_withdraw(struct endpoint *endpoint)
{
    endpoint->withdrawn = true;
}

bool endpoint_is_reachable(const struct endpoint *endpoint)
{
    return endpoint->server && rpc_server_socket_is_ours(endpoint->server);
}

bool endpoint_is_lost(const struct endpoint *endpoint)
{
    return endpoint->served && !endpoint_is_reachable(endpoint);
}
