// SPDX-License-Identifier: Apache-2.0
#include "kube/lease.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "kube/field.h"
#include "kube/leaseview.h"
#include "kube/object.h"

enum {
    RELEASE_MS = 2000, /* of the last request */
};

struct lease {
    uv_timer_t retry; /* the next request */
    uv_timer_t limit; /* while it is held: when it is lost unless it was renewed */
    struct lease_setup setup;
    char *namespace_, *name, *identity;
    char *path, *collection;
    struct kube_call *call; /* NULL = none pending */
    json_t *object;         /* as last read or written; NULL = unknown, or there is none */
    struct leaseview observed;
    uint64_t sent_ms;    /* when the pending request was sent */
    uint64_t renewed_ms; /* when the last renewal that succeeded was sent */
    bool is_held, is_reachable;
    bool is_releasing;
    struct lograte trouble;
};

static void on_retry(uv_timer_t *timer);

static uint64_t now_ms(const struct lease *lease)
{
    return lease->setup.now_ms ? lease->setup.now_ms() : clock_now_ms();
}

const char *lease_holder(const struct lease *lease)
{
    return leaseview_holder(&lease->observed);
}

bool lease_is_reachable(const struct lease *lease)
{
    return lease->is_reachable;
}

bool lease_is_held(const struct lease *lease)
{
    return lease && lease->is_held && now_ms(lease) - lease->renewed_ms < lease->setup.deadline_ms;
}

/* -- what is known of it ----------------------------------------------------------------------- */

static void observe(struct lease *lease, json_t *object)
{
    json_decref(lease->object);
    lease->object = object;
    leaseview_see(&lease->observed, object, now_ms(lease));
}

static void forget_object(struct lease *lease)
{
    json_decref(TAKE_PTR(lease->object));
}

static bool is_abandoned(const struct lease *lease)
{
    return leaseview_is_abandoned(&lease->observed, lease->setup.duration_s, now_ms(lease));
}

static bool is_ours(const struct lease *lease)
{
    return str_equal(lease_holder(lease), lease->identity);
}

/* -- what becomes of us ------------------------------------------------------------------------ */

static void lose(struct lease *lease)
{
    uv_timer_stop(&lease->limit);
    if (!lease->is_held)
        return;
    lease->is_held = false;
    if (!lease->is_releasing)
        lease->setup.on_lost(lease->setup.userdata);
}

static void on_limit(uv_timer_t *timer)
{
    struct lease *lease = timer->data;

    if (now_ms(lease) - lease->renewed_ms < lease->setup.deadline_ms)
        uv_timer_start(timer, on_limit, 1, 0); /* the loop's time differs by a moment */
    else
        lose(lease);
}

/* An answer that comes when its time is over, to a process that was stopped meanwhile, is none. */
static void keep(struct lease *lease)
{
    const uint64_t spent_ms = now_ms(lease) - lease->sent_ms;
    const uint64_t deadline_ms = lease->setup.deadline_ms;
    const bool was_held = lease->is_held;

    if (spent_ms >= deadline_ms)
        return;
    lease->renewed_ms = lease->sent_ms;
    lease->is_held = true;
    uv_timer_start(&lease->limit, on_limit, deadline_ms - spent_ms, 0);
    if (!was_held && !lease->is_releasing)
        lease->setup.on_acquired(lease->setup.userdata);
}

static void wait(struct lease *lease)
{
    uv_timer_start(&lease->retry, on_retry, lease->setup.retry_ms, 0);
}

static void log_trouble(struct lease *lease, const char *reason, unsigned status)
{
    lease->is_reachable = false;
    if (!lograte_begin(&lease->trouble, reason, clock_now_ms()))
        return;
    log_warning("cannot read or write our Lease, retrying", "lease", lease->name, "reason", reason,
                "hint",
                status == 403 ? "let our service account get, create and update leases" : NULL);
}

static void end_trouble(struct lease *lease)
{
    lease->is_reachable = true;
    if (lograte_end(&lease->trouble))
        log_info("the Lease can be read and written again", "lease", lease->name);
}

/* -- writing ----------------------------------------------------------------------------------- */

static void on_released(const struct kube_response *response, void *userdata)
{
    struct lease *lease = userdata;

    lease->call = NULL;
    lease->setup.on_released(lease->setup.userdata);
}

static void begin_release(struct lease *lease);

static void on_written(const struct kube_response *response, void *userdata)
{
    struct lease *lease = userdata;
    const bool is_conflict = response->http_status == 409 || response->http_status == 404;

    lease->call = NULL;
    if (kube_is_kind(response, "Lease")) {
        end_trouble(lease);
        observe(lease, json_loadb(response->body, response->size, 0, NULL));
        keep(lease);
    } else {
        forget_object(lease); /* it is read before the next try */
        if (is_conflict)
            end_trouble(lease); /* somebody else was faster */
        else
            log_trouble(lease, *response->reason ? response->reason : "the response is no Lease",
                        response->http_status);
    }
    if (!lease->is_releasing)
        wait(lease);
    else if (!lease->call) /* else on_acquired gave it up at once */
        begin_release(lease);
}

/* The spec with which it is ours, or nobody's. */
static json_t *make_spec(const struct lease *lease, bool is_release)
{
    const json_t *old = json_object_get(lease->object, "spec");
    const bool was_ours = old && kube_says(old, "holderIdentity", lease->identity);
    json_int_t n_transitions = json_integer_value(json_object_get(old, "leaseTransitions"));
    json_t *spec = old ? json_copy((json_t *)(uintptr_t)old) : json_object();
    char time[KUBE_TIME_SIZE];
    struct timespec now;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    kube_microtime_format(&now, time);
    r |=
        json_object_set_new(spec, "holderIdentity", json_string(is_release ? "" : lease->identity));
    r |= json_object_set_new(spec, "leaseDurationSeconds",
                             json_integer(is_release ? 1 : (json_int_t)lease->setup.duration_s));
    r |= json_object_set_new(spec, "renewTime", json_string(time));
    if (!was_ours)
        r |= json_object_set_new(spec, "acquireTime", json_string(time));
    if (old && !was_ours)
        n_transitions++;
    r |= json_object_set_new(spec, "leaseTransitions", json_integer(n_transitions));
    if (r == 0)
        return spec;
    json_decref(spec);
    return NULL;
}

static json_t *make_object(const struct lease *lease, bool is_release)
{
    json_t *spec = make_spec(lease, is_release);
    json_t *object;

    if (!lease->object)
        return json_pack("{s:s,s:s,s:{s:s,s:s},s:o}", "apiVersion", "coordination.k8s.io/v1",
                         "kind", "Lease", "metadata", "name", lease->name, "namespace",
                         lease->namespace_, "spec", spec);
    object = json_copy(lease->object);
    if (json_object_set_new(object, "spec", spec) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static int write_it(struct lease *lease, bool is_release, struct error *err)
{
    const struct kube_waiter waiter = {
        .on_done = is_release ? on_released : on_written,
        .userdata = lease,
        .ret_call = &lease->call,
        .timeout_ms = is_release ? RELEASE_MS : lease->setup.deadline_ms / 2,
    };
    json_t *object = make_object(lease, is_release);
    int r;

    lease->sent_ms = now_ms(lease);
    if (!object)
        r = error_set_errno(err, -ENOMEM, "cannot write the Lease");
    else if (lease->object)
        r = kube_replace(lease->setup.client, lease->path, object, &waiter, err);
    else
        r = kube_create(lease->setup.client, lease->collection, object, &waiter, err);
    json_decref(object);
    return r;
}

/* -- reading ----------------------------------------------------------------------------------- */

static int take(struct lease *lease, struct error *err)
{
    return write_it(lease, false, err);
}

static void fail(struct lease *lease, const struct error *err)
{
    log_trouble(lease, error_text(err), 0);
    wait(lease);
}

/* It was just read: it is ours, or may be, or is another's. */
static void decide(struct lease *lease)
{
    struct error err = ERROR_INIT;

    if (lease->object && *lease_holder(lease) && !is_ours(lease)) {
        lose(lease);
        if (!is_abandoned(lease)) {
            end_trouble(lease);
            wait(lease);
            return;
        }
    }
    if (take(lease, &err) < 0)
        fail(lease, &err);
}

static void on_read(const struct kube_response *response, void *userdata)
{
    struct lease *lease = userdata;
    const bool is_there = kube_is_kind(response, "Lease");

    lease->call = NULL;
    if (lease->is_releasing) {
        begin_release(lease);
        return;
    }
    if (!is_there && !kube_is_gone(response, lease->name)) {
        log_trouble(lease, *response->reason ? response->reason : "the response is no Lease",
                    response->http_status);
        wait(lease);
        return;
    }
    if (is_there) /* whether it can be written too shows next */
        observe(lease, json_loadb(response->body, response->size, 0, NULL));
    else
        forget_object(lease);
    decide(lease);
}

static int read_it(struct lease *lease, struct error *err)
{
    const struct kube_request request = {
        .method = "GET",
        .path = lease->path,
        .timeout_ms = lease->setup.deadline_ms / 2,
        .on_done = on_read,
    };

    return kube_send(lease->setup.client, &request, lease, &lease->call, err);
}

/* The holder writes what it wrote last; if somebody changed it meanwhile, that is a conflict. */
static void on_retry(uv_timer_t *timer)
{
    struct lease *lease = timer->data;
    struct error err = ERROR_INIT;

    if ((lease->is_held && lease->object ? take(lease, &err) : read_it(lease, &err)) < 0)
        fail(lease, &err);
}

/* -- life -------------------------------------------------------------------------------------- */

static void on_nothing_to_release(uv_timer_t *timer)
{
    struct lease *lease = timer->data;

    lease->setup.on_released(lease->setup.userdata);
}

static void begin_release(struct lease *lease)
{
    struct error err = ERROR_INIT;
    const bool is_known = lease_is_held(lease) && lease->object;

    lose(lease);
    if (!is_known || write_it(lease, true, &err) < 0)
        uv_timer_start(&lease->retry, on_nothing_to_release, 0, 0);
}

void lease_release(struct lease *lease)
{
    if (lease->is_releasing)
        return;
    lease->is_releasing = true;
    uv_timer_stop(&lease->retry);
    if (!lease->call)
        begin_release(lease); /* else when it has ended: who wrote last is known then */
}

static void set_defaults(struct lease_setup *setup)
{
    if (!setup->duration_s)
        setup->duration_s = LEASE_DURATION_S;
    if (!setup->deadline_ms)
        setup->deadline_ms = LEASE_DEADLINE_MS;
    if (!setup->retry_ms)
        setup->retry_ms = LEASE_RETRY_MS;
}

static void free_content(struct lease *lease)
{
    json_decref(lease->object);
    leaseview_deinit(&lease->observed);
    free(lease->namespace_);
    free(lease->name);
    free(lease->identity);
    free(lease->path);
    free(lease->collection);
    free(lease);
}

static int copy_setup(struct lease *lease, const struct lease_setup *setup)
{
    struct kube_place place = {LEASEVIEW_API, setup->namespace_, "leases", NULL};

    lease->setup = *setup;
    set_defaults(&lease->setup);
    lease->namespace_ = strdup(setup->namespace_);
    lease->name = strdup(setup->name);
    lease->identity = strdup(setup->identity);
    lease->collection = kube_path(&place);
    place.name = setup->name;
    lease->path = kube_path(&place);
    return lease->namespace_ && lease->name && lease->identity && lease->collection && lease->path
               ? 0
               : -ENOMEM;
}

int lease_new(uv_loop_t *loop, const struct lease_setup *setup, struct lease **ret_lease,
              struct error *err)
{
    struct lease *lease = calloc(1, sizeof(*lease));

    if (!lease || copy_setup(lease, setup) < 0) {
        if (lease)
            free_content(lease);
        return error_set_errno(err, -ENOMEM, "cannot hold a Lease");
    }
    uv_timer_init(loop, &lease->retry);
    uv_timer_init(loop, &lease->limit);
    lease->retry.data = lease->limit.data = lease;
    uv_timer_start(&lease->retry, on_retry, 0, 0);
    *ret_lease = lease;
    return 0;
}

static void on_limit_closed(uv_handle_t *handle)
{
    free_content(handle->data);
}

static void on_retry_closed(uv_handle_t *handle)
{
    struct lease *lease = handle->data;

    uv_close((uv_handle_t *)&lease->limit, on_limit_closed);
}

void lease_free(struct lease *lease)
{
    if (!lease)
        return;
    kube_cancel(TAKE_PTR(lease->call));
    uv_close((uv_handle_t *)&lease->retry, on_retry_closed);
}
