// SPDX-License-Identifier: Apache-2.0
#include "plugin/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "plugin/foreignplugin.h"
#include "plugin/regcheck.h"
#include "plugin/registration.h"
#include "plugin/standby.h"

enum {
    RETRY_FIRST_MS = 50,
    RETRY_LAST_MS = 5000, /* restarts at the first delay for a new kubelet socket */
    STEADY_MS = 10000,    /* a registration that lasts this long was successful */
    WITHDRAW_MS = 500,    /* a kubelet reads its stream immediately */
    WATCHES_KEPT = 16,
};

enum state {
    STATE_IDLE,       /* no kubelet, or another plugin serves, or not tried yet */
    STATE_CALLING,    /* Register is pending */
    STATE_RETRY,      /* the timer runs */
    STATE_REGISTERED, /* the timer runs while the Node disagrees */
};

struct service {
    const struct service_context *context;
    char resource[RESOURCE_NAME_SIZE];
    struct endpoint endpoint;
    struct registration registration;
    struct standby standby; /* the timer runs while it is active */
    struct regcheck
        regcheck; /* for a registration that the Node does not show, ours or a foreign one */
    struct lograte trouble;
    enum state state;
    uint64_t generation;    /* of the kubelet's socket that `state` refers to */
    uint64_t registered_ms; /* when it last registered */
    uint64_t retry_ms;
    bool dropped;      /* the kubelet stopped watching, not logged yet */
    bool let_go_early; /* it did so before it answered Register */
    bool withdrawn, timer_closed;
    uv_timer_t timer;
    uint64_t registrations, failed_registrations;
};

static uint64_t now_ms(const struct service *service)
{
    return uv_now(service->context->loop);
}

static void notify_agent(const struct service *service)
{
    service->context->on_state(service->context->userdata);
}

static void set_state(struct service *service, enum state state)
{
    bool was_ready = service_is_ready(service);

    service->state = state;
    if (service_is_ready(service) != was_ready)
        notify_agent(service);
}

/* --- the timer: one thing at a time to check again --- */

static void on_timer(uv_timer_t *timer);

static void schedule_check(struct service *service, uint64_t ms)
{
    uv_timer_start(&service->timer, on_timer, ms, 0);
}

static void look_at(struct service *service, uint64_t due_ms)
{
    uint64_t now = now_ms(service);

    schedule_check(service, due_ms > now ? due_ms - now : 1);
}

static void retry_in(struct service *service, uint64_t ms)
{
    schedule_check(service, ms);
    set_state(service, STATE_RETRY);
}

static void retry(struct service *service)
{
    retry_in(service, service->retry_ms);
    service->retry_ms = clock_twice_ms(service->retry_ms, RETRY_LAST_MS);
}

/* Streams that end now must not be mistaken for the end of the next ones: see stand_back. */
static void register_soon(struct service *service)
{
    retry_in(service, RETRY_FIRST_MS);
}

/* --- failures --- */

#define NO_KUBELET "is a kubelet on this machine? --kubelet-socket names its socket"

static void log_trouble(struct service *service, enum log_level level, const char *message,
                        const char *why)
{
    const bool has_folder = access(kubeletdir_path(service->context->kubelet), F_OK) == 0;

    if (lograte_begin(&service->trouble, why, now_ms(service)))
        log_event(level, message, "resource", service->resource, "reason", why, "hint",
                  has_folder ? NULL : NO_KUBELET, NULL);
}

/* A lasting registration ends the trouble before it. */
static void forget_trouble(struct service *service)
{
    if (service->state != STATE_REGISTERED || now_ms(service) - service->registered_ms < STEADY_MS)
        return;
    lograte_end(&service->trouble);
    service->retry_ms = RETRY_FIRST_MS;
}

static void fail_registration(struct service *service, const char *why)
{
    service->failed_registrations++;
    log_trouble(service, LOG_WARNING, "cannot register with the kubelet, retrying", why);
    retry(service);
}

/* A kubelet that exits leaves its socket behind; the next one recreates it, which we notice. */
static void await_kubelet(struct service *service, const char *why)
{
    service->failed_registrations++;
    service->dropped = false;
    log_trouble(service, LOG_INFO, "waiting for the kubelet", why);
    retry(service);
}

/* --- what the Node shows --- */

/* Whether the Node still does not show the resource, too long after since_ms. */
static bool disagrees(struct service *service, uint64_t since_ms)
{
    const struct offer *offer = service->context->offer;
    const struct plan_resource *resource = plan_find_resource(offer->plan, service->resource);
    struct regcheck_view view = {
        .registered_ms = since_ms + 1, /* the loop's clock may start at 0 */
        .healthy = resource ? offer_count_healthy(offer, resource) : 0,
    };

    view.known = nodestatus_find(service->context->node, service->resource, &view.capacity,
                                 &view.allocatable);
    return regcheck_update(&service->regcheck, &view, now_ms(service));
}

static void look_at_node(struct service *service)
{
    bool renew = disagrees(service, service->registered_ms);
    uint64_t due_ms = regcheck_due_ms(&service->regcheck);

    if (renew) {
        log_warning("registering again, because the Node shows none of its devices", "resource",
                    service->resource);
        endpoint_end_watches(&service->endpoint);
        register_soon(service);
    } else if (due_ms != UINT64_MAX) {
        look_at(service, due_ms);
    } else {
        uv_timer_stop(&service->timer);
    }
}

void service_node_changed(struct service *service)
{
    if (!service->withdrawn && service->state == STATE_REGISTERED)
        look_at_node(service);
}

/* --- rivals --- */

/*
 * Leaves the resource to the foreign plugin without ending our streams: kubelets (at least up to
 * 1.36) take the end of any stream of a resource for the end of its newest plugin, and would
 * disconnect that one.
 */
static void stand_back(struct service *service)
{
    registration_cancel(&service->registration);
    service->dropped = false;
    look_at(service, service->standby.due_ms);
    set_state(service, STATE_IDLE);
}

/* Whether another plugin serves instead of us. Then we stand back. */
static bool finds_foreign_plugin(struct service *service)
{
    int outcome =
        standby_update(&service->standby, endpoint_is_lost(&service->endpoint), now_ms(service));

    if (outcome == 0)
        return false;
    stand_back(service);
    if (outcome == STANDBY_CHANGED)
        notify_agent(service);
    return true;
}

/*
 * If the Node does not show the foreign plugin's devices, the kubelet has dropped it without
 * notifying it (a crash or an upgrade of ours causes this, see stand_back), and the resource would
 * stay unserved. It counts again once it has a new socket. True = take over.
 */
static bool regcheck_foreign_plugin(struct service *service)
{
    if (!standby_is_foreign(&service->standby) || !disagrees(service, service->standby.since_ms))
        return false;
    log_warning("the Node shows none of the devices of another device plugin; taking over",
                "resource", service->resource, "serves", service->standby.name);
    standby_forget(&service->standby);
    return true;
}

/* The streams that stand_back keeps open are about to end. */
static void warn_of_the_end(const struct service *service)
{
    if (standby_is_active(&service->standby) && service->endpoint.n_watches)
        log_warning("the kubelet takes our shutdown for that of the device plugin that serves the "
                    "resource; restart that one if the Node shows none of its devices",
                    "resource", service->resource, "serves", service->standby.name);
}

/* --- registration --- */

static void on_let_go(void *userdata);

static void on_registered(const char *why, void *userdata)
{
    struct service *service = userdata;

    if (why) {
        fail_registration(service, why);
        return;
    }
    service->registrations++;
    service->registered_ms = now_ms(service);
    log_info("registered with the kubelet", "resource", service->resource, "endpoint",
             service->endpoint.name);
    set_state(service, STATE_REGISTERED);
    if (service->let_go_early) /* it opens its stream before it answers, and may end it before */
        on_let_go(service);
    else
        look_at_node(service);
}

static void call_register(struct service *service)
{
    struct error err = ERROR_INIT;
    int r;

    endpoint_begin_turn(&service->endpoint);
    service->let_go_early = false;
    set_state(service, STATE_CALLING);
    r = registration_call(&service->registration,
                          &(struct registration_setup){
                              .loop = service->context->loop,
                              .kubelet_path = kubeletdir_socket_path(service->context->kubelet),
                              .endpoint = service->endpoint.name,
                              .resource = service->resource,
                              .wants_pre_start = service->endpoint.setup.wants_pre_start,
                              .on_done = on_registered,
                              .userdata = service},
                          &err);
    if (r == -ECONNREFUSED || r == -ENOENT)
        await_kubelet(service, error_text(&err));
    else if (r < 0)
        fail_registration(service, error_text(&err));
    else if (service->dropped)
        log_trouble(service, LOG_WARNING, "registering again", "the kubelet stopped watching");
    service->dropped = false;
}

/* Listens where the kubelet can dial us. Returns false if registering has to wait. */
static bool listen_now(struct service *service)
{
    bool watched = service->endpoint.n_watches > 0;
    struct error err = ERROR_INIT;

    if (endpoint_is_reachable(&service->endpoint))
        return true;
    if (endpoint_listen(&service->endpoint, &err) < 0) {
        fail_registration(service, error_text(&err));
        return false;
    }
    if (watched && service->generation)
        register_soon(service);
    return !watched;
}

static void register_now(struct service *service)
{
    uv_timer_stop(&service->timer);
    registration_cancel(&service->registration);
    forget_trouble(service);
    service->generation = kubeletdir_generation(service->context->kubelet);
    if (finds_foreign_plugin(service))
        return;
    /* Before the watches of the old server end, which must not count as the kubelet's doing. */
    set_state(service, STATE_IDLE);
    if (standby_end(&service->standby))
        notify_agent(service);
    if (!listen_now(service) || service->generation == 0)
        return;
    if (service->endpoint.n_watches > WATCHES_KEPT) {
        endpoint_end_watches(&service->endpoint);
        register_soon(service);
        return;
    }
    call_register(service);
}

/* --- what happens --- */

static void on_timer(uv_timer_t *timer)
{
    struct service *service = timer->data;

    if (service->withdrawn) {
        service_free(service);
    } else if (service->state == STATE_REGISTERED) {
        look_at_node(service);
    } else {
        (void)regcheck_foreign_plugin(service);
        standby_back_off(&service->standby);
        register_now(service);
    }
}

/* The kubelet dropped us: after a restart on the same socket, or because it dropped the plugin. */
static void on_let_go(void *userdata)
{
    struct service *service = userdata;

    service->let_go_early = service->state == STATE_CALLING;
    if (service->withdrawn || service->state != STATE_REGISTERED || finds_foreign_plugin(service))
        return;
    forget_trouble(service);
    service->dropped = true;
    retry(service);
}

static void on_new_kubelet(struct service *service, uint64_t generation)
{
    service->retry_ms = RETRY_FIRST_MS;
    service->generation = generation;
    if (standby_is_active(&service->standby)) {
        standby_expect(&service->standby, now_ms(service));
        look_at(service, service->standby.due_ms);
    } else {
        register_now(service);
    }
}

/*
 * A foreign plugin that came and went unnoticed may have been registered for a moment. The kubelet
 * then dropped its newest plugin and calls nobody, while our stream continues as if nothing had
 * happened.
 */
static bool may_have_lost_to(const struct service *service, const char *name)
{
    return service->state == STATE_REGISTERED && name &&
           foreignplugin_is_named(name, service->resource);
}

void service_check(struct service *service, const char *name)
{
    uint64_t generation = kubeletdir_generation(service->context->kubelet);
    bool stood_back = standby_is_active(&service->standby);

    if (service->withdrawn)
        return;
    if (generation != service->generation) {
        on_new_kubelet(service, generation);
    } else if (finds_foreign_plugin(service)) {
        /* Each check restarts the timer: in a busy directory it might never expire. */
        if (regcheck_foreign_plugin(service))
            register_soon(service);
    } else if (stood_back) {
        if (standby_missed(&service->standby, now_ms(service)))
            look_at(service, service->standby.due_ms);
    } else if (may_have_lost_to(service, name)) {
        register_soon(service);
    } else if (service->state != STATE_RETRY && !endpoint_is_reachable(&service->endpoint)) {
        /* Not immediately: another plugin may be about to create its own. */
        forget_trouble(service);
        register_soon(service);
    }
}

/* Whether the kubelet is to call before each start of a container: where limits are served, so that
 * the directories of its grants are there (grants_before_start). */
static bool wants_pre_start(const struct service *service)
{
    const struct offer *offer = service->context->offer;
    const struct plan_resource *resource =
        offer ? plan_find_resource(offer->plan, service->resource) : NULL;

    return resource && service->context->grants && offer_has_limits(offer, resource);
}

/* The kubelet knows it from Register alone. */
static void renew_options(struct service *service)
{
    const bool wants = wants_pre_start(service);

    if (service->withdrawn || service->endpoint.setup.wants_pre_start == wants)
        return;
    service->endpoint.setup.wants_pre_start = wants;
    if (service->state == STATE_REGISTERED || service->state == STATE_CALLING)
        register_soon(service);
}

void service_announce(struct service *service)
{
    renew_options(service);
    /* The kubelet also reads the streams of older plugins: ours would replace the newest one's
     * list. */
    if (!standby_is_active(&service->standby))
        endpoint_announce(&service->endpoint);
}

/* --- life --- */

static void init_parts(struct service *service)
{
    const struct service_context *context = service->context;
    const char *folder = kubeletdir_path(context->kubelet);
    const struct endpoint_setup setup = {
        .loop = context->loop,
        .folder = folder,
        .resource = service->resource,
        .offer = &context->offer,
        .earlier = &context->earlier,
        .grants = &context->grants,
        .on_let_go = on_let_go,
        .userdata = service,
    };

    endpoint_init(&service->endpoint, &setup);
    standby_init(&service->standby, folder, service->resource, service->endpoint.name,
                 *kubeletdir_socket_path(context->kubelet));
    service->regcheck = (struct regcheck)REGCHECK_INIT;
    service->endpoint.setup.wants_pre_start = wants_pre_start(service);
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
    init_parts(service);
    r = uv_timer_init(context->loop, &service->timer);
    if (r < 0) {
        free(service);
        return error_set_errno(err, r, "cannot offer %s", resource);
    }
    service->timer.data = service;
    *ret_service = service;
    register_now(service); /* failures are retried */
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void service_free(struct service *service)
{
    if (!service || service->timer_closed)
        return;
    if (!service->withdrawn)
        warn_of_the_end(service);
    service->withdrawn = true; /* nothing registers again while the watches end */
    service->timer_closed = true;
    registration_cancel(&service->registration);
    endpoint_deinit(&service->endpoint);
    uv_close((uv_handle_t *)&service->timer, on_timer_closed);
}

void service_withdraw(struct service *service)
{
    service->withdrawn = true;
    registration_cancel(&service->registration);
    warn_of_the_end(service);
    endpoint_withdraw(&service->endpoint);
    service_announce(service);
    endpoint_end_watches(&service->endpoint);
    log_info("resource withdrawn", "resource", service->resource);
    schedule_check(service, WITHDRAW_MS);
}

/* --- questions --- */

bool service_is_ready(const struct service *service)
{
    if (!*kubeletdir_socket_path(service->context->kubelet))
        return service->endpoint.server != NULL;
    return service->state == STATE_REGISTERED;
}

const char *service_foreign_plugin(const struct service *service)
{
    return standby_is_active(&service->standby) ? service->standby.name : NULL;
}

const char *service_resource(const struct service *service)
{
    return service->resource;
}

struct service_counters service_counters(const struct service *service)
{
    return (struct service_counters){
        .calls = endpoint_counters(&service->endpoint),
        .registrations = service->registrations,
        .failed_registrations = service->failed_registrations,
    };
}
