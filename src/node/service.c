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
#include "node/deviceplugin.h"
#include "node/doubt.h"
#include "node/rival.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "rpc/server.h"

enum {
    REGISTER_DEADLINE_MS = 5000,
    RETRY_FIRST_MS = 50,
    RETRY_LAST_MS = 5000, /* a new socket of the kubelet begins with the first again */
    STEADY_MS = 10000,    /* a registration that held so long was a good one */
    SAY_PERIOD_MS = 60000,
    SAY_MAX = 4,          /* so many reasons are said in that time */
    WITHDRAW_MS = 500,    /* a kubelet reads its stream at once */
    RIVAL_FIRST_MS = 250, /* a killed rival's socket stays, and nobody tells us that it is dead */
    RIVAL_LAST_MS = 5000,
    RIVAL_GONE_MS = 100, /* until the kubelet has seen the end of a rival's stream, see step_back */
    RIVAL_GRACE_MS = 5000, /* so long a rival is awaited after a restart of the kubelet */
    WATCHES_KEPT = 16,
};

enum registration {
    REGISTRATION_NONE,    /* no kubelet, or not our turn, or not tried yet */
    REGISTRATION_CALLING, /* Register is under way */
    REGISTRATION_RETRY,   /* the timer runs */
    REGISTRATION_YIELDED, /* somebody else serves the resource; the timer runs */
    REGISTRATION_DONE,
};

struct watch {
    struct rpc_call *call;
    uint64_t turn; /* the registration that it followed */
};

struct service {
    const struct service_context *context;
    char resource[RESOURCE_NAME_SIZE];
    char endpoint[RIVAL_NAME_SIZE];
    char path[PATH_MAX];
    struct rpc_server *server;
    struct rpc_client *client; /* to the kubelet, while registering */
    struct watch *watches;
    size_t n_watches, watches_capacity;
    enum registration registration;
    uint64_t turn;       /* counts the calls of Register */
    uint64_t generation; /* of the kubelet's socket that `registration` is about */
    unsigned retry_ms;
    uint64_t registered_ms;      /* when it was last */
    char rival[RIVAL_NAME_SIZE]; /* the socket of who serves instead of us; "" = nobody */
    uint64_t rival_until_ms;     /* a rival that is not there is awaited until then */
    unsigned rival_ms;           /* until it is looked for again */
    uint64_t yielded_ms;         /* since when it serves */
    uint64_t forgotten_ns;       /* birth of a rival's socket that the kubelet calls no more */
    struct doubt doubt; /* of a registration that the Node does not show, ours or a rival's */
    char trouble[256];  /* logged once, not at each retry; "" = none */
    uint64_t said_ms;   /* when the period began in which ... */
    unsigned n_said;    /* ... so much was said */
    bool dropped;       /* the kubelet stopped watching, which was not said yet */
    bool served;        /* it could be reached before */
    bool withdrawn, timer_closed;
    uv_timer_t timer;
    struct service_counters counters;
};

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

static enum rpc_status encode_list(const struct service *service, void **ret_data, size_t *ret_size,
                                   struct error *err)
{
    return deviceplugin_list(service->context->offer, service->withdrawn ? NULL : service->resource,
                             ret_data, ret_size, err);
}

void service_announce(struct service *service)
{
    cleanup_free void *data = NULL;
    struct error err = ERROR_INIT;
    size_t size = 0;

    /* The kubelet still reads the streams of who is not the newest: ours would replace his list. */
    if (service->n_watches == 0 || service->registration == REGISTRATION_YIELDED)
        return;
    if (encode_list(service, &data, &size, &err) != RPC_OK) {
        log_error(error_text(&err), "resource", service->resource);
        return;
    }
    /* From the back: a send without memory ends its call, which takes it out of the array. */
    for (size_t i = service->n_watches; i-- > 0;)
        if (rpc_call_send(service->watches[i].call, data, size) == 0)
            service->counters.lists_sent++;
}

/* --- registration --- */

static void arm(struct service *service);

/* Says a trouble once, although it may last, and a hostile peer may word it anew each time. */
static void say_trouble(struct service *service, enum log_level level, const char *message,
                        const char *why)
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
    log_event(level, message, "resource", service->resource, "reason", why, NULL);
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
    say_trouble(service, LOG_WARNING, "cannot register with the kubelet, trying again", why);
    arm(service);
}

/* A kubelet that ends leaves its socket behind; the next one makes it anew, and that is seen. */
static void await_kubelet(struct service *service, const char *why)
{
    service->counters.failed_registrations++;
    service->dropped = false;
    say_trouble(service, LOG_INFO, "the kubelet is away, waiting for it", why);
    arm(service);
}

static void look_at_node(struct service *service);

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
    look_at_node(service);
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

static void on_timer(uv_timer_t *timer);

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

/* --- rivals --- */

/*
 * Who serves the resource instead of us. Among agents of ours the newest serves: whoever served
 * before and finds another's live socket in the place of his steps back.
 */
static bool find_rival(const struct service *service, char ret_name[RIVAL_NAME_SIZE])
{
    const struct kubelet *kubelet = service->context->kubelet;
    bool ours = service->server && rpc_server_socket_is_ours(service->server);

    if (service->served && !ours && rival_is_live(kubelet_folder(kubelet), service->endpoint)) {
        snprintf(ret_name, RIVAL_NAME_SIZE, "%s", service->endpoint);
        return true;
    }
    return *kubelet_socket_path(kubelet) &&
           rival_find(kubelet_folder(kubelet), service->resource, ret_name) &&
           rival_born_ns(kubelet_folder(kubelet), ret_name) != service->forgotten_ns;
}

static void set_rival(struct service *service, const char *name)
{
    if (str_equal(service->rival, name))
        return;
    snprintf(service->rival, sizeof(service->rival), "%s", name);
    service->context->on_state(service->context->userdata);
}

static void yield_for(struct service *service, unsigned ms)
{
    uv_timer_start(&service->timer, on_timer, ms, 0);
    set_registration(service, REGISTRATION_YIELDED);
}

/*
 * Leaves the resource to a rival, in silence: the streams stay open, because kubelets (1.36 and
 * before, at least) take the end of any stream of a resource for the end of its newest plugin, and
 * would hang up on the rival.
 */
static void step_back(struct service *service, const char *name)
{
    if (service->registration != REGISTRATION_YIELDED) {
        service->rival_ms = RIVAL_FIRST_MS;
        service->yielded_ms = uv_now(service->context->loop);
    }
    hang_up(service);
    service->dropped = false;
    service->rival_until_ms = 0;
    yield_for(service, service->rival_ms);
    set_rival(service, name);
}

static bool steps_back(struct service *service)
{
    char name[RIVAL_NAME_SIZE];
    bool found = find_rival(service, name);

    if (found)
        step_back(service, name);
    return found;
}

/* A kubelet that starts wipes the rival's socket along with ours: he goes first, as before. */
static void await_rival(struct service *service)
{
    service->rival_until_ms = uv_now(service->context->loop) + RIVAL_GRACE_MS;
    yield_for(service, RIVAL_GRACE_MS);
}

/* The folder changed while we stand back. */
static void check_rival(struct service *service)
{
    if (!steps_back(service) && uv_now(service->context->loop) >= service->rival_until_ms &&
        uv_timer_get_due_in(&service->timer) > RIVAL_GONE_MS)
        yield_for(service, RIVAL_GONE_MS);
}

/* What step_back holds open cannot be held open any longer. */
static void warn_of_the_end(const struct service *service)
{
    if (service->registration == REGISTRATION_YIELDED && service->n_watches)
        log_warning("the kubelet takes our end for the end of the device plugin that serves the "
                    "resource; restart that one if the Node shows none of its devices",
                    "resource", service->resource, "serves", service->rival);
}

static void end_watches(struct service *service)
{
    while (service->n_watches)
        rpc_call_finish(service->watches[--service->n_watches].call, RPC_OK, NULL);
}

/* --- registration, again --- */

/* Streams that end now must not be taken for the end of the next: see step_back. */
static void register_soon(struct service *service)
{
    arm_in(service, RETRY_FIRST_MS);
}

/* Listens where the kubelet can dial us. Returns false when registering has to wait. */
static bool be_reachable(struct service *service)
{
    bool watched = service->n_watches > 0;
    struct error err = ERROR_INIT;

    if (service->server && rpc_server_socket_is_ours(service->server))
        return true;
    if (listen_on(service, &err) < 0) {
        fail_registration(service, error_text(&err));
        return false;
    }
    service->served = true;
    if (watched && service->generation)
        register_soon(service);
    return !watched;
}

static void register_now(struct service *service)
{
    struct error err = ERROR_INIT;
    int r;

    uv_timer_stop(&service->timer);
    hang_up(service);
    forget_trouble(service);
    service->generation = kubelet_generation(service->context->kubelet);
    if (steps_back(service))
        return;
    /* Before the watches of an old server end, which must not count as the kubelet's doing. */
    set_registration(service, REGISTRATION_NONE);
    set_rival(service, "");
    if (!be_reachable(service) || service->generation == 0)
        return;
    if (service->n_watches > WATCHES_KEPT) {
        end_watches(service);
        register_soon(service);
        return;
    }
    service->turn++;
    set_registration(service, REGISTRATION_CALLING);
    r = call_register(service, &err);
    if (r == -ECONNREFUSED || r == -ENOENT)
        await_kubelet(service, error_text(&err));
    else if (r < 0)
        fail_registration(service, error_text(&err));
    else if (service->dropped)
        say_trouble(service, LOG_WARNING, "registering again", "the kubelet stopped watching");
    service->dropped = false;
}

static bool doubts(struct service *service, uint64_t since_ms);

/*
 * A rival whose devices the Node does not show has been dropped by the kubelet without being told
 * (a crash or an upgrade of ours does it, see step_back), and nobody would serve for ever. It
 * serves again once it comes with a new socket.
 */
static void doubt_rival(struct service *service)
{
    if (!*service->rival || str_equal(service->rival, service->endpoint) ||
        !doubts(service, service->yielded_ms))
        return;
    log_warning(
        "the Node shows none of the devices of another device plugin; serving instead of it",
        "resource", service->resource, "serves", service->rival);
    service->forgotten_ns =
        rival_born_ns(kubelet_folder(service->context->kubelet), service->rival);
}

/* The time to look has come: whether a rival is still there, or for registering again. */
static void on_timer(uv_timer_t *timer)
{
    struct service *service = timer->data;

    if (!service->withdrawn && service->registration == REGISTRATION_YIELDED)
        doubt_rival(service);
    service->rival_ms =
        service->rival_ms * 2 < RIVAL_LAST_MS ? service->rival_ms * 2 : RIVAL_LAST_MS;
    if (service->withdrawn)
        service_free(service);
    else if (service->registration == REGISTRATION_DONE)
        look_at_node(service);
    else
        register_now(service);
}

void service_check(struct service *service)
{
    uint64_t generation = kubelet_generation(service->context->kubelet);

    if (service->withdrawn)
        return;
    if (generation != service->generation) {
        service->retry_ms = RETRY_FIRST_MS;
        service->generation = generation;
        if (service->registration == REGISTRATION_YIELDED)
            await_rival(service);
        else
            register_now(service);
    } else if (service->registration == REGISTRATION_YIELDED) {
        check_rival(service);
    } else if (!steps_back(service) && service->registration != REGISTRATION_RETRY &&
               (!service->server || !rpc_server_socket_is_ours(service->server))) {
        /* Not at once: whoever removed it may be about to put his own there. */
        forget_trouble(service);
        arm_in(service, RETRY_FIRST_MS);
    }
}

/* --- what the Node shows --- */

static size_t count_healthy(const struct service *service)
{
    const struct offer *offer = service->context->offer;
    const struct plan_resource *resource = plan_find_resource(offer->plan, service->resource);
    size_t n = 0;

    for (size_t i = 0; resource && i < resource->n_slices; i++)
        n += offer_slice_is_healthy(offer, &resource->slices[i]);
    return n;
}

/* Whether the Node shows nothing of the resource, too long after since_ms. */
static bool doubts(struct service *service, uint64_t since_ms)
{
    struct doubt_view view = {
        .registered_ms = since_ms + 1, /* the loop's clock may begin with 0 */
        .healthy = count_healthy(service),
    };

    view.known =
        nodeview_find(service->context->node, service->resource, &view.capacity, &view.allocatable);
    return doubt_look(&service->doubt, &view, uv_now(service->context->loop));
}

/* The timer is free while a registration holds. */
static void look_at_node(struct service *service)
{
    bool renew = doubts(service, service->registered_ms);
    uint64_t now_ms = uv_now(service->context->loop);
    uint64_t due_ms = doubt_due_ms(&service->doubt);

    if (renew) {
        log_warning("registering again, because the Node shows none of its devices", "resource",
                    service->resource);
        end_watches(service);
        register_soon(service);
    } else if (due_ms != UINT64_MAX) {
        uv_timer_start(&service->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 1, 0);
    } else {
        uv_timer_stop(&service->timer);
    }
}

void service_node_changed(struct service *service)
{
    if (!service->withdrawn && service->registration == REGISTRATION_DONE)
        look_at_node(service);
}

bool service_is_ready(const struct service *service)
{
    if (!*kubelet_socket_path(service->context->kubelet))
        return service->server != NULL;
    return service->registration == REGISTRATION_DONE;
}

/* --- the calls --- */

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

static void forget_watch(struct service *service, const struct rpc_call *call)
{
    size_t i = 0;

    while (i < service->n_watches && service->watches[i].call != call)
        i++;
    assert(i < service->n_watches);
    service->watches[i] = service->watches[--service->n_watches];
}

/* A stream from before the last registration may go on, but the kubelet's word is the newer one. */
static bool is_watched(const struct service *service)
{
    for (size_t i = 0; i < service->n_watches; i++)
        if (service->watches[i].turn == service->turn)
            return true;
    return false;
}

static void on_watch_gone(struct rpc_call *call, void *call_data)
{
    struct service *service = call_data;

    forget_watch(service, call);
    if (is_watched(service) || service->withdrawn || service->registration != REGISTRATION_DONE ||
        steps_back(service))
        return;
    /* The kubelet let go of us: after a restart on the same socket, or because it dropped the
     * plugin. */
    forget_trouble(service);
    service->dropped = true;
    arm(service);
}

static void handle_watch(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct service *service = userdata;
    cleanup_free void *data = NULL;
    struct watch *place;
    struct error err = ERROR_INIT;
    enum rpc_status status;
    size_t list_size = 0;

    (void)request, (void)size;
    place = array_push(&service->watches, &service->n_watches, &service->watches_capacity,
                       sizeof(*place));
    if (!place) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "no memory for another watch");
        return;
    }
    *place = (struct watch){.call = call, .turn = service->turn};
    rpc_call_keep(call, service, on_watch_gone);
    status = encode_list(service, &data, &list_size, &err);
    if (status != RPC_OK) {
        forget_watch(service, call);
        rpc_call_finish(call, status, error_text(&err));
    } else if (rpc_call_send(call, data, list_size) == 0) {
        service->counters.lists_sent++;
    }
}

static void handle_prefer(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct service *service = userdata;
    struct error err = ERROR_INIT;
    cleanup_free void *answer = NULL;
    size_t answer_size = 0;
    enum rpc_status status;

    status = deviceplugin_prefer(service->context->offer, service->resource, data, size, &answer,
                                 &answer_size, &err);
    service->counters.preferences += status != RPC_INVALID_ARGUMENT;
    if (status == RPC_OK)
        rpc_call_reply(call, answer, answer_size);
    else
        rpc_call_finish(call, status, error_text(&err));
}

static void handle_allocate(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    struct service *service = userdata;
    const struct service_context *context = service->context;
    struct error err = ERROR_INIT;
    cleanup_free void *answer = NULL;
    size_t answer_size = 0;
    enum rpc_status status;

    status = deviceplugin_allocate(context->offer, context->earlier, service->resource, data, size,
                                   &answer, &answer_size, &err);
    service->counters.allocations++;
    if (status == RPC_OK) {
        rpc_call_reply(call, answer, answer_size);
        return;
    }
    service->counters.failed_allocations++;
    log_warning("allocation refused", "resource", service->resource, "reason", error_text(&err));
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
    service->doubt = (struct doubt)DOUBT_INIT;
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
    if (!service->withdrawn)
        warn_of_the_end(service);
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
    warn_of_the_end(service);
    service_announce(service);
    end_watches(service);
    log_info("resource withdrawn", "resource", service->resource);
    uv_timer_start(&service->timer, on_timer, WITHDRAW_MS, 0);
}

const char *service_rival(const struct service *service)
{
    return *service->rival ? service->rival : NULL;
}

const char *service_resource(const struct service *service)
{
    return service->resource;
}

const struct service_counters *service_counters(const struct service *service)
{
    return &service->counters;
}
