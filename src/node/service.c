// SPDX-License-Identifier: Apache-2.0
#include "node/service.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "node/allocation.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "rpc/server.h"

enum {
    REGISTER_DEADLINE_MS = 5000,
    RETRY_FIRST_MS = 50,
    RETRY_LAST_MS = 5000, /* a new socket of the kubelet begins with the first again */
    STEADY_MS = 10000,    /* a registration that held so long was a good one */
    SAY_PERIOD_MS = 60000,
    SAY_MAX = 4,       /* so many reasons are said in that time */
    WITHDRAW_MS = 500, /* a kubelet reads its stream at once */
};

enum registration {
    REGISTRATION_NONE,    /* no kubelet, or not our turn, or not tried yet */
    REGISTRATION_CALLING, /* Register is under way */
    REGISTRATION_RETRY,   /* the timer runs */
    REGISTRATION_DONE,
};

struct service {
    const struct service_context *context;
    char resource[RESOURCE_NAME_SIZE];
    char endpoint[RESOURCE_NAME_SIZE + 16];
    char path[PATH_MAX];
    struct rpc_server *server;
    struct rpc_client *client; /* to the kubelet, while registering */
    struct rpc_call **watches;
    size_t n_watches, watches_capacity;
    enum registration registration;
    uint64_t generation; /* of the kubelet's socket that `registration` is about */
    unsigned retry_ms;
    uint64_t registered_ms; /* when it was last */
    char trouble[256];      /* logged once, not at each retry; "" = none */
    uint64_t said_ms;       /* when the period began in which ... */
    unsigned n_said;        /* ... so much was said */
    bool served;            /* it could be reached before */
    bool withdrawn, timer_closed;
    uv_timer_t timer;
    struct service_counters counters;
};

DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateRequest)
DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateResponse)
DEFINE_MESSAGE_CLEANUP(v1beta1_PreferredAllocationRequest)

void service_socket_name(const char *resource, char *buffer, size_t size)
{
    const char *slash = strchr(resource, '/');

    snprintf(buffer, size, "gpuslice-%s.sock", slash ? slash + 1 : resource);
}

static void set_registration(struct service *service, enum registration registration)
{
    bool was_ready = service_is_ready(service);

    service->registration = registration;
    if (service_is_ready(service) != was_ready)
        service->context->on_state(service->context->userdata);
}

/* --- the device list --- */

/* Borrows everything from the offer; `nodes` must have room for one entry per slice. */
static void fill_device(const struct offer *offer, const struct slice *slice,
                        v1beta1_Device *device, v1beta1_NUMANode *node)
{
    const struct gpu *gpu = &offer->plan->gpus[slice->gpu].gpu;

    device->ID = (char *)(uintptr_t)slice->id;
    device->health =
        (char *)(uintptr_t)(offer_slice_is_healthy(offer, slice) ? "Healthy" : "Unhealthy");
    if (gpu->numa_node < 0)
        return;
    node->ID = gpu->numa_node;
    device->has_topology = true;
    device->topology.nodes_count = 1;
    device->topology.nodes = node;
}

static int encode_list(const struct service *service, void **ret_data, size_t *ret_size)
{
    const struct offer *offer = service->context->offer;
    const struct plan_resource *resource =
        service->withdrawn ? NULL : plan_find_resource(offer->plan, service->resource);
    size_t n = resource ? resource->n_slices : 0;
    cleanup_free v1beta1_Device *devices = calloc(n + 1, sizeof(*devices));
    cleanup_free v1beta1_NUMANode *nodes = calloc(n + 1, sizeof(*nodes));
    v1beta1_ListAndWatchResponse list = v1beta1_ListAndWatchResponse_init_zero;

    if (!devices || !nodes)
        return -ENOMEM;
    if (n > MESSAGE_MAX_ENTRIES)
        n = MESSAGE_MAX_ENTRIES; /* a plan of 65,535 slices on one node is beyond any kubelet */
    for (size_t i = 0; i < n; i++)
        fill_device(offer, &resource->slices[i], &devices[i], &nodes[i]);
    list.devices = devices;
    list.devices_count = (pb_size_t)n;
    return message_encode(v1beta1_ListAndWatchResponse_fields, &list, ret_data, ret_size);
}

void service_announce(struct service *service)
{
    cleanup_free void *data = NULL;
    size_t size = 0;

    if (service->n_watches == 0)
        return;
    if (encode_list(service, &data, &size) < 0) {
        log_error("no memory for the device list", "resource", service->resource);
        return;
    }
    /* From the back: a send without memory ends its call, which takes it out of the array. */
    for (size_t i = service->n_watches; i-- > 0;)
        if (rpc_call_send(service->watches[i], data, size) == 0)
            service->counters.lists_sent++;
}

/* --- registration --- */

static void arm(struct service *service);

/* Says a trouble once, although it may last, and a hostile peer may word it anew each time. */
static void say_trouble(struct service *service, const char *message, const char *why)
{
    uint64_t now_ms = uv_now(service->context->loop);

    if (now_ms - service->said_ms >= SAY_PERIOD_MS) {
        service->said_ms = now_ms;
        service->n_said = 0;
    }
    if (str_equal(why, service->trouble) || service->n_said >= SAY_MAX)
        return;
    service->n_said++;
    snprintf(service->trouble, sizeof(service->trouble), "%s", why);
    log_warning(message, "resource", service->resource, "reason", why);
}

/* A registration that held was the end of the trouble before it. */
static void forget_trouble(struct service *service)
{
    if (service->registration != REGISTRATION_DONE ||
        uv_now(service->context->loop) - service->registered_ms < STEADY_MS)
        return;
    service->trouble[0] = '\0';
    service->retry_ms = RETRY_FIRST_MS;
}

static void fail_registration(struct service *service, const char *why)
{
    service->counters.failed_registrations++;
    say_trouble(service, "cannot register with the kubelet, trying again", why);
    arm(service);
}

static void hang_up(struct service *service)
{
    rpc_client_free(TAKE_PTR(service->client));
}

static void on_registered(struct rpc_request *request, enum rpc_status status, const char *text,
                          const void *message, size_t size, void *userdata)
{
    struct service *service = userdata;
    char why[sizeof(service->trouble)];

    (void)request, (void)message, (void)size;
    if (status != RPC_OK) {
        snprintf(why, sizeof(why), "%s: %s", rpc_status_name(status), text);
        hang_up(service);
        fail_registration(service, why);
        return;
    }
    hang_up(service);
    service->counters.registrations++;
    service->registered_ms = uv_now(service->context->loop);
    log_info("registered with the kubelet", "resource", service->resource, "endpoint",
             service->endpoint);
    set_registration(service, REGISTRATION_DONE);
}

static int call_register(struct service *service, struct error *err)
{
    const v1beta1_RegisterRequest message = {
        .version = (char *)(uintptr_t) "v1beta1",
        .endpoint = service->endpoint,
        .resource_name = service->resource,
        .has_options = true,
        .options = {.get_preferred_allocation_available = true},
    };
    cleanup_free void *data = NULL;
    struct rpc_request *request;
    size_t size;
    int r;

    r = rpc_client_new(service->context->loop, kubelet_socket_path(service->context->kubelet),
                       &service->client, err);
    if (r < 0)
        return r;
    r = message_encode(v1beta1_RegisterRequest_fields, &message, &data, &size);
    if (r < 0)
        return error_set_errno(err, r, "cannot encode the registration");
    return rpc_client_call(service->client, "/v1beta1.Registration/Register", data, size,
                           REGISTER_DEADLINE_MS, NULL, on_registered, service, &request, err);
}

static int listen_on(struct service *service, struct error *err);

/* The newest agent serves: whoever served before and finds another's live socket steps back, or the
 * two would replace each other's for ever. It is its turn again when that one is gone. */
static bool is_replaced(const struct service *service)
{
    struct rpc_client *other;

    if (rpc_client_new(service->context->loop, service->path, &other, NULL) < 0)
        return false;
    rpc_client_free(other);
    return true;
}

/* Listens where the kubelet can dial us. Returns false when that is not to be now. */
static bool be_reachable(struct service *service)
{
    struct error err = ERROR_INIT;

    if (service->server && rpc_server_socket_is_ours(service->server))
        return true;
    if (service->served && is_replaced(service)) {
        say_trouble(service, "not offering the resource", "another agent serves it on this node");
        return false;
    }
    if (listen_on(service, &err) == 0) {
        service->served = true;
        return true;
    }
    fail_registration(service, error_text(&err));
    return false;
}

static void register_now(struct service *service)
{
    struct error err = ERROR_INIT;

    uv_timer_stop(&service->timer);
    hang_up(service);
    forget_trouble(service);
    service->generation = kubelet_generation(service->context->kubelet);
    /* Before the watches of an old server end, which must not count as the kubelet's doing. */
    set_registration(service, REGISTRATION_NONE);
    if (!be_reachable(service) || service->generation == 0)
        return;
    set_registration(service, REGISTRATION_CALLING);
    if (call_register(service, &err) < 0)
        fail_registration(service, error_text(&err));
}

static void on_timer(uv_timer_t *timer)
{
    struct service *service = timer->data;
    char resource[RESOURCE_NAME_SIZE];

    if (!service->withdrawn) {
        register_now(service);
        return;
    }
    memcpy(resource, service->resource, sizeof(resource));
    service_free(service);
    log_info("resource withdrawn", "resource", resource);
}

static void arm_in(struct service *service, unsigned ms)
{
    uv_timer_start(&service->timer, on_timer, ms, 0);
    set_registration(service, REGISTRATION_RETRY);
}

static void arm(struct service *service)
{
    arm_in(service, service->retry_ms);
    service->retry_ms =
        service->retry_ms * 2 < RETRY_LAST_MS ? service->retry_ms * 2 : RETRY_LAST_MS;
}

void service_check(struct service *service)
{
    uint64_t generation = kubelet_generation(service->context->kubelet);

    if (service->withdrawn)
        return;
    if (generation != service->generation) {
        service->retry_ms = RETRY_FIRST_MS;
        register_now(service);
    } else if (service->registration != REGISTRATION_RETRY &&
               (!service->server || !rpc_server_socket_is_ours(service->server))) {
        /* Not at once: whoever removed it may be about to put his own there. */
        forget_trouble(service);
        arm_in(service, RETRY_FIRST_MS);
    }
}

bool service_is_ready(const struct service *service)
{
    if (!*kubelet_socket_path(service->context->kubelet))
        return service->server != NULL;
    return service->registration == REGISTRATION_DONE;
}

/* --- the calls --- */

static void refuse(struct rpc_call *call, enum rpc_status status, const char *text)
{
    rpc_call_finish(call, status, text);
}

static void reply(struct rpc_call *call, const pb_msgdesc_t *fields, const void *message)
{
    cleanup_free void *data = NULL;
    size_t size = 0;

    if (message_encode(fields, message, &data, &size) < 0)
        refuse(call, RPC_RESOURCE_EXHAUSTED, "no memory for the answer");
    else
        rpc_call_reply(call, data, size);
}

static void handle_options(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    const v1beta1_DevicePluginOptions options = {.get_preferred_allocation_available = true};

    (void)request, (void)size, (void)userdata;
    reply(call, v1beta1_DevicePluginOptions_fields, &options);
}

static void forget_watch(struct service *service, const struct rpc_call *call)
{
    size_t i = 0;

    while (i < service->n_watches && service->watches[i] != call)
        i++;
    assert(i < service->n_watches);
    service->watches[i] = service->watches[--service->n_watches];
}

static void on_watch_gone(struct rpc_call *call, void *call_data)
{
    struct service *service = call_data;

    forget_watch(service, call);
    if (service->n_watches || service->withdrawn || service->registration != REGISTRATION_DONE)
        return;
    /* The kubelet let go of us: after a restart on the same socket, or because it dropped the
     * plugin. */
    forget_trouble(service);
    say_trouble(service, "registering again", "the kubelet stopped watching");
    arm(service);
}

static void handle_watch(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct service *service = userdata;
    cleanup_free void *data = NULL;
    struct rpc_call **place;
    size_t list_size = 0;

    (void)request, (void)size;
    place = array_push(&service->watches, &service->n_watches, &service->watches_capacity,
                       sizeof(*place));
    if (!place) {
        refuse(call, RPC_RESOURCE_EXHAUSTED, "no memory for another watch");
        return;
    }
    *place = call;
    rpc_call_keep(call, service, on_watch_gone);
    if (encode_list(service, &data, &list_size) < 0) {
        forget_watch(service, call);
        refuse(call, RPC_RESOURCE_EXHAUSTED, "no memory for the device list");
    } else if (rpc_call_send(call, data, list_size) == 0) {
        service->counters.lists_sent++;
    }
}

/* One container's preference; what cannot be preferred stays empty, and the kubelet chooses itself.
 */
static int prefer_one(const struct service *service,
                      const v1beta1_ContainerPreferredAllocationRequest *request,
                      v1beta1_ContainerPreferredAllocationResponse *answer)
{
    const struct offer *offer = service->context->offer;
    const struct plan_resource *resource = plan_find_resource(offer->plan, service->resource);
    size_t size = request->allocation_size > 0 ? (size_t)request->allocation_size : 0;
    cleanup_free const char **ids = NULL;
    int r;

    if (!resource || size == 0 ||
        size > (size_t)request->available_deviceIDs_count + request->must_include_deviceIDs_count)
        return 0;
    ids = calloc(size, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    r = prefer(offer->plan, resource, &offer->inventory, offer->config->plugin.allocation_policy,
               (const char *const *)request->available_deviceIDs,
               request->available_deviceIDs_count,
               (const char *const *)request->must_include_deviceIDs,
               request->must_include_deviceIDs_count, size, ids);
    if (r != 0)
        return r == PREFER_TOO_FEW ? 0 : r;
    answer->deviceIDs = (char **)(uintptr_t)TAKE_PTR(ids); /* the strings stay the request's */
    answer->deviceIDs_count = (pb_size_t)size;
    return 0;
}

static void handle_prefer(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1beta1_PreferredAllocationRequest_release_p)
        v1beta1_PreferredAllocationRequest request = v1beta1_PreferredAllocationRequest_init_zero;
    cleanup_free v1beta1_ContainerPreferredAllocationResponse *answers = NULL;
    v1beta1_PreferredAllocationResponse response = v1beta1_PreferredAllocationResponse_init_zero;
    struct service *service = userdata;
    int r = 0;

    if (message_decode(v1beta1_PreferredAllocationRequest_fields, data, size, &request) < 0) {
        refuse(call, RPC_INVALID_ARGUMENT, "this is no PreferredAllocationRequest");
        return;
    }
    service->counters.preferences++;
    answers = calloc((size_t)request.container_requests_count + 1, sizeof(*answers));
    for (pb_size_t i = 0; answers && r == 0 && i < request.container_requests_count; i++)
        r = prefer_one(service, &request.container_requests[i], &answers[i]);
    response.container_responses = answers;
    response.container_responses_count = request.container_requests_count;
    if (!answers || r < 0)
        refuse(call, RPC_RESOURCE_EXHAUSTED, "no memory to choose devices");
    else
        reply(call, v1beta1_PreferredAllocationResponse_fields, &response);
    for (pb_size_t i = 0; answers && i < request.container_requests_count; i++)
        free(answers[i].deviceIDs);
}

static int allocate_all(struct service *service, const v1beta1_AllocateRequest *request,
                        v1beta1_AllocateResponse *response, struct error *err)
{
    const struct service_context *context = service->context;
    int r =
        message_entries(&response->container_responses, &response->container_responses_count,
                        request->container_requests_count, sizeof(*response->container_responses));

    for (pb_size_t i = 0; r == 0 && i < request->container_requests_count; i++) {
        const v1beta1_ContainerAllocateRequest *one = &request->container_requests[i];

        r = allocation_answer(context->offer, context->earlier, service->resource, one->devices_ids,
                              one->devices_ids_count, &response->container_responses[i], err);
    }
    return r;
}

static void handle_allocate(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest request =
        v1beta1_AllocateRequest_init_zero;
    cleanup(v1beta1_AllocateResponse_release_p) v1beta1_AllocateResponse response =
        v1beta1_AllocateResponse_init_zero;
    struct service *service = userdata;
    struct error err = ERROR_INIT;
    int r;

    if (message_decode(v1beta1_AllocateRequest_fields, data, size, &request) < 0) {
        refuse(call, RPC_INVALID_ARGUMENT, "this is no AllocateRequest");
        return;
    }
    service->counters.allocations++;
    r = allocate_all(service, &request, &response, &err);
    if (r == 0) {
        reply(call, v1beta1_AllocateResponse_fields, &response);
        return;
    }
    service->counters.failed_allocations++;
    log_warning("allocation refused", "resource", service->resource, "reason",
                r < 0 ? "no memory" : err.message);
    refuse(call, r < 0 ? RPC_RESOURCE_EXHAUSTED : RPC_INVALID_ARGUMENT,
           r < 0 ? "no memory for the answer" : err.message);
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

static int listen_on(struct service *service, struct error *err)
{
    const struct rpc_limits limits = RPC_LIMITS_DEFAULT;

    rpc_server_free(TAKE_PTR(service->server));
    return rpc_server_new(service->context->loop, service->path, methods, ARRAY_SIZE(methods),
                          &limits, service, &service->server, err);
}

int service_new(const struct service_context *context, const char *resource,
                struct service **ret_service, struct error *err)
{
    struct service *service = calloc(1, sizeof(*service));
    int r;

    if (!service)
        return error_set_errno(err, -ENOMEM, "cannot offer %s", resource);
    service->context = context;
    service->retry_ms = RETRY_FIRST_MS;
    snprintf(service->resource, sizeof(service->resource), "%s", resource);
    service_socket_name(resource, service->endpoint, sizeof(service->endpoint));
    snprintf(service->path, sizeof(service->path), "%s/%s", kubelet_folder(context->kubelet),
             service->endpoint);
    r = uv_timer_init(context->loop, &service->timer);
    if (r < 0) {
        free(service);
        return error_set_errno(err, r, "cannot offer %s", resource);
    }
    service->timer.data = service;
    *ret_service = service;
    register_now(service); /* what fails now is tried again */
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct service *service = handle->data;

    assert(service->n_watches == 0);
    free(service->watches);
    free(service);
}

void service_free(struct service *service)
{
    if (!service || service->timer_closed)
        return;
    service->withdrawn = true; /* nothing registers again while the watches end */
    service->timer_closed = true;
    hang_up(service);
    rpc_server_free(TAKE_PTR(service->server));
    uv_close((uv_handle_t *)&service->timer, on_timer_closed);
}

void service_withdraw(struct service *service)
{
    service->withdrawn = true;
    hang_up(service);
    service_announce(service);
    while (service->n_watches)
        rpc_call_finish(service->watches[--service->n_watches], RPC_OK, NULL);
    uv_timer_start(&service->timer, on_timer, WITHDRAW_MS, 0);
}

const char *service_resource(const struct service *service)
{
    return service->resource;
}

const struct service_counters *service_counters(const struct service *service)
{
    return &service->counters;
}
