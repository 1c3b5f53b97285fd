// SPDX-License-Identifier: Apache-2.0
#include "plugin/endpoint.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "plugin/deviceplugin.h"
#include "plugin/grants.h"
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
    /* Backwards: a send without memory ends its call, which removes it from the array. */
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
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory for another watch");
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
    const struct endpoint *endpoint = userdata;
    const v1beta1_DevicePluginOptions options =
        deviceplugin_options(endpoint->setup.wants_pre_start);
    cleanup_free void *data = NULL;
    size_t data_size = 0;

    (void)request, (void)size;
    if (message_encode(v1beta1_DevicePluginOptions_fields, &options, &data, &data_size) < 0)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory for the response");
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

/* --- deferred responses --- */

/* A call whose response is ready, and waits for the grants. */
struct kept_call {
    struct endpoint *endpoint;
    struct rpc_call *call;
    struct grants_wait *wait;
    void *answer;
    size_t answer_size;
};

static void kept_call_free(struct kept_call *kept)
{
    free(kept->answer);
    free(kept);
}

static struct kept_call *kept_call_new(struct endpoint *endpoint, struct rpc_call *call,
                                       void *answer, size_t answer_size)
{
    struct kept_call *kept = malloc(sizeof(*kept));

    if (!kept) {
        free(answer);
        return NULL;
    }
    *kept = (struct kept_call){endpoint, call, NULL, answer, answer_size};
    return kept;
}

/* The kubelet cancelled, or its connection closed. */
static void on_call_gone(struct rpc_call *call, void *call_data)
{
    struct kept_call *kept = call_data;

    (void)call;
    grants_forget(kept->wait);
    kept_call_free(kept);
}

/* Keeps the call until `on_done` runs; `r` is the result from grants. False = it was not kept. */
static bool keep_call(struct kept_call *kept, int r)
{
    if (r != 0) {
        kept_call_free(kept);
        return false;
    }
    rpc_call_keep(kept->call, kept, on_call_gone);
    return true;
}

static void refuse_allocation(struct endpoint *endpoint, struct rpc_call *call,
                              enum rpc_status status, const char *why)
{
    endpoint->counters.failed_allocations++;
    log_warning("allocation rejected", "resource", endpoint->setup.resource, "reason", why);
    rpc_call_finish(call, status, why);
}

static void on_given(int result, const char *why, void *userdata)
{
    struct kept_call *kept = userdata;

    rpc_call_keep(kept->call, NULL, NULL);
    if (result == 0)
        rpc_call_reply(kept->call, kept->answer, kept->answer_size);
    else
        refuse_allocation(kept->endpoint, kept->call, RPC_UNAVAILABLE, why);
    kept_call_free(kept);
}

static void answer_when_durable(struct endpoint *endpoint, struct rpc_call *call,
                                struct deviceplugin_given *given)
{
    struct kept_call *kept = kept_call_new(endpoint, call, TAKE_PTR(given->data), given->size);
    int r = -ENOMEM;

    if (kept)
        r = grants_give(*endpoint->setup.grants, given->items, given->n, on_given, kept,
                        &kept->wait);
    if (!kept || !keep_call(kept, r))
        refuse_allocation(endpoint, call, RPC_RESOURCE_EXHAUSTED, "out of memory for the response");
}

static void handle_allocate(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct endpoint *endpoint = userdata;
    const struct endpoint_setup *setup = &endpoint->setup;
    const struct deviceplugin_offers offers = {*setup->offer, *setup->earlier, *setup->grants};
    cleanup(deviceplugin_given_deinit) struct deviceplugin_given given = DEVICEPLUGIN_GIVEN_INIT;
    struct error err = ERROR_INIT;
    enum rpc_status status;

    status = deviceplugin_allocate(&offers, setup->resource, data, size, &given, &err);
    endpoint->counters.allocations++;
    endpoint->counters.lost_names += status == RPC_FAILED_PRECONDITION;
    if (status != RPC_OK)
        refuse_allocation(endpoint, call, status, error_text(&err));
    else if (given.n)
        answer_when_durable(endpoint, call, &given);
    else
        rpc_call_reply(call, given.data, given.size);
}

/* --- before each start of a container --- */

static void on_prepared(int result, const char *why, void *userdata)
{
    struct kept_call *kept = userdata;

    rpc_call_keep(kept->call, NULL, NULL);
    if (result == 0)
        rpc_call_reply(kept->call, "", 0);
    else
        rpc_call_finish(kept->call, RPC_UNAVAILABLE, why); /* the kubelet retries */
    kept_call_free(kept);
}

/* PreStartContainerResponse has no fields. */
static void prepare_start(struct endpoint *endpoint, struct rpc_call *call,
                          const v1beta1_PreStartContainerRequest *request)
{
    struct kept_call *kept = kept_call_new(endpoint, call, NULL, 0);
    int r = -ENOMEM;

    if (kept)
        r = grants_before_start(*endpoint->setup.grants, endpoint->setup.resource,
                                request->devices_ids, request->devices_ids_count, on_prepared, kept,
                                &kept->wait);
    if (kept && keep_call(kept, r))
        return;
    if (r == GRANTS_UNKNOWN)
        rpc_call_finish(call, RPC_FAILED_PRECONDITION,
                        "the owner of these devices is unknown yet; the next try may find it");
    else
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory for preparing the start");
}

static void handle_prestart(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    v1beta1_PreStartContainerRequest request = v1beta1_PreStartContainerRequest_init_zero;
    struct endpoint *endpoint = userdata;

    if (!endpoint->setup.wants_pre_start || !*endpoint->setup.grants)
        rpc_call_reply(call, "", 0);
    else if (message_decode(v1beta1_PreStartContainerRequest_fields, data, size, &request) < 0)
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "not a PreStartContainerRequest");
    else
        prepare_start(endpoint, call, &request);
    message_release(v1beta1_PreStartContainerRequest_fields, &request);
}

static const struct rpc_method methods[] = {
    {"/v1beta1.DevicePlugin/GetDevicePluginOptions", handle_options},
    {"/v1beta1.DevicePlugin/ListAndWatch", handle_watch},
    {"/v1beta1.DevicePlugin/GetPreferredAllocation", handle_prefer},
    {"/v1beta1.DevicePlugin/Allocate", handle_allocate},
    {"/v1beta1.DevicePlugin/PreStartContainer", handle_prestart},
};

/* --- life --- */

/* FNV-1a. */
static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

void endpoint_name(const char *folder, const char *resource, char *buffer, size_t size)
{
    const size_t max_path = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    const char *slash = strchr(resource, '/');
    int n = snprintf(buffer, size, "gpuslice-%s.sock", slash ? slash + 1 : resource);

    if (n < 0 || strlen(folder) + 1 + (size_t)n > max_path)
        snprintf(buffer, size, "gpuslice-%016" PRIx64 ".sock", hash_text(resource));
}

void endpoint_init(struct endpoint *endpoint, const struct endpoint_setup *setup)
{
    *endpoint = (struct endpoint){.setup = *setup};
    endpoint_name(setup->folder, setup->resource, endpoint->name, sizeof(endpoint->name));
    snprintf(endpoint->path, sizeof(endpoint->path), "%s/%s", setup->folder, endpoint->name);
}

struct endpoint_counters endpoint_counters(const struct endpoint *endpoint)
{
    struct endpoint_counters counters = endpoint->counters;
    const struct rpc_counters *now;

    if (endpoint->server) {
        now = rpc_server_counters(endpoint->server);
        counters.cancelled += now->cancelled_calls;
        counters.protocol_errors += now->protocol_errors;
    }
    return counters;
}

/* Its counters are kept. */
static void free_server(struct endpoint *endpoint)
{
    endpoint->counters = endpoint_counters(endpoint);
    rpc_server_free(TAKE_PTR(endpoint->server));
}

void endpoint_deinit(struct endpoint *endpoint)
{
    free_server(endpoint);
    assert(endpoint->n_watches == 0);
    free(TAKE_PTR(endpoint->watches));
    endpoint->watches_capacity = 0;
}

int endpoint_listen(struct endpoint *endpoint, struct error *err)
{
    const struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    int r;

    free_server(endpoint);
    r = rpc_server_new(endpoint->setup.loop, endpoint->path,
                       &(struct rpc_service){.methods = methods,
                                             .n_methods = ARRAY_SIZE(methods),
                                             .limits = &limits,
                                             .userdata = endpoint},
                       &endpoint->server, err);
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
