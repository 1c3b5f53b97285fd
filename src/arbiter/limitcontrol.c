// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitcontrol.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "arbiter/arbitersocket.h"
#include "arbiter/commands.h"
#include "arbiter/enforcement.h"
#include "arbiter/library.h"
#include "arbiter/limitevents.h"
#include "arbiter/limitmetrics.h"
#include "arbiter/limituses.h"
#include "arbiter/localgrant.h"
#include "arbiter/statusdocument.h"
#include "arbiter/turnmetrics.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "grant/places.h"
#include "limits/mode.h"
#include "slice/verified.h"

enum { PERIOD_MS = 1000 };

/* In a state, which is sent at each change: a change of some MiB is none. */
#define USED_STEP (UINT64_C(64) << 20)

struct limitcontrol {
    const struct arbiteroptions *options;
    struct limiter *limiter;         /* NULL = nothing is limited; then neither ... */
    struct enforcement *enforcement; /* ... of these is there */
    struct library *library;
    const struct auditor *auditor;
    struct arbitersocket *socket;
    struct commands *commands; /* NULL without a limiter */
    struct limitevents events;
    uv_timer_t tick;
};

/* --- what the limiter has --- */

static void add_use(const struct limituse *use, void *userdata)
{
    limituses_add(userdata, use);
}

static struct limituses list_uses(const struct limitcontrol *control)
{
    const struct auditor_view view = auditor_view(control->auditor);
    struct limituses uses = LIMITUSES_INIT;

    if (control->limiter)
        limiter_each(control->limiter, add_use, &uses);
    if (control->limiter && view.audit)
        limituses_add_ungranted(&uses, view.audit);
    return uses;
}

/* --- the mode --- */

static enum limits_mode mode_of(const struct limitcontrol *control)
{
    return control->enforcement ? enforcement_mode(control->enforcement) : LIMITS_NONE;
}

static enum limits_compute compute_of(const struct limitcontrol *control)
{
    return control->enforcement ? enforcement_compute(control->enforcement) : LIMITS_COMPUTE_NONE;
}

static void set_compute(struct limitcontrol *control)
{
    const enum limits_compute compute = compute_of(control);

    if (limiter_get_compute(control->limiter) == compute)
        return;
    log_info("how the time of GPUs is shared changes", "compute", limits_compute_name(compute));
    limiter_set_compute(control->limiter, compute);
}

/* Of enforcement and library: containers have the mode when this returns. */
static void on_changed(void *userdata)
{
    struct limitcontrol *control = userdata;
    const enum limits_mode mode = mode_of(control);

    if (limiter_get_mode(control->limiter) != mode) {
        log_info("the mode of memory limits changes", "mode", limits_mode_name(mode));
        limiter_set_mode(control->limiter, mode);
    }
    set_compute(control);
    if (control->socket)
        arbitersocket_publish(control->socket);
}

/* --- the agent --- */

static void on_wish(const struct arbiter_wish *wish, void *userdata)
{
    struct limitcontrol *control = userdata;

    if (control->enforcement)
        enforcement_set_wish(control->enforcement, wish);
}

static int add_container(struct arbiter_state *state, const struct limituse *use)
{
    const bool is_unenforced = limituse_count_unenforced(use) > 0;
    const bool is_over = use->limit_bytes && use->charged_bytes > use->limit_bytes;
    struct arbiter_container *container;

    if (localgrant_is_uid(use->pod_uid) || (!is_unenforced && !is_over) ||
        state->n_containers == ARBITER_CONTAINERS_MAX)
        return 0;
    container = array_push(&state->containers, &state->n_containers, &state->containers_capacity,
                           sizeof(*container));
    if (!container)
        return -ENOMEM;
    container->is_unenforced = is_unenforced;
    container->is_over = is_over;
    snprintf(container->namespace_, sizeof(container->namespace_), "%s", use->namespace_);
    snprintf(container->pod, sizeof(container->pod), "%s", use->pod);
    snprintf(container->container, sizeof(container->container), "%s", use->container);
    snprintf(container->device, sizeof(container->device), "%s", use->uuid);
    container->limit_bytes = use->limit_bytes;
    container->used_bytes = use->charged_bytes - use->charged_bytes % USED_STEP;
    return 0;
}

static int make_state(struct arbiter_state *state, void *userdata)
{
    const struct limitcontrol *control = userdata;
    cleanup_limituses struct limituses uses = list_uses(control);
    int r = uses.failed ? -ENOMEM : 0;

    snprintf(state->version, sizeof(state->version), "%s", GPUSLICE_VERSION);
    state->mode = mode_of(control);
    state->compute = compute_of(control);
    if (control->library) {
        snprintf(state->library, sizeof(state->library), "%s", library_folder(control->library));
        snprintf(state->trouble, sizeof(state->trouble), "%s", library_trouble(control->library));
        state->is_off = enforcement_is_off(control->enforcement);
    } else {
        snprintf(state->trouble, sizeof(state->trouble),
                 "the arbiter runs without --limits: it audits alone");
    }
    for (size_t i = 0; i < uses.n && r == 0; i++)
        r = add_container(state, &uses.items[i]);
    return r;
}

static bool on_event(const struct arbiter_event *event, void *userdata)
{
    const struct limitcontrol *control = userdata;

    log_info(event->message, "reason", event->reason, "namespace", event->namespace_, "pod",
             event->pod, "container", event->container, "gpu", event->device);
    return arbitersocket_send_event(control->socket, event);
}

/* It is in the log already. */
static bool on_kept_event(const struct arbiter_event *event, void *userdata)
{
    const struct limitcontrol *control = userdata;

    return arbitersocket_send_event(control->socket, event);
}

static void look(struct limitcontrol *control)
{
    cleanup_limituses struct limituses uses = list_uses(control);

    if (!uses.failed)
        (void)limitevents_observe(&control->events, uses.items, uses.n, mode_of(control),
                                  clock_now_ms(), on_event, control);
}

/* With what was refused since the last look. */
static void on_agent(void *userdata)
{
    struct limitcontrol *control = userdata;

    look(control);
    limitevents_deliver(&control->events, on_kept_event, control);
}

static void on_tick(uv_timer_t *timer)
{
    struct limitcontrol *control = timer->data;

    look(control);
    arbitersocket_publish(control->socket);
    if (control->commands)
        commands_sweep(control->commands);
}

/* --- who asks --- */

static void add_status(struct text *out, void *userdata)
{
    const struct limitcontrol *control = userdata;
    const struct auditor_view view = auditor_view(control->auditor);
    cleanup_limituses struct limituses uses = list_uses(control);
    cleanup_text struct text unverified = TEXT_INIT;
    struct statusdocument status = {
        .version = GPUSLICE_VERSION,
        .has_limits = control->limiter,
        .mode = mode_of(control),
        .compute = compute_of(control),
        .no_driver = view.no_driver,
        .audit = view.audit,
        .age_s = view.age_s,
        .uses = uses.items,
        .n_uses = uses.n,
    };

    if (control->limiter) {
        const struct arbiter_wish *wish = enforcement_get_wish(control->enforcement);

        status.wished = wish->mode;
        status.wished_compute = wish->compute;
        status.overcommits = wish->overcommits;
        status.is_off = enforcement_is_off(control->enforcement);
        status.library = library_folder(control->library);
        status.trouble = library_trouble(control->library);
        verified_add_missing(view.machine, &unverified);
        status.unverified = text_string(&unverified);
    }
    statusdocument_add(&status, out);
}

void limitcontrol_add_metrics(const struct limitcontrol *control, struct text *out)
{
    cleanup_limituses struct limituses uses = list_uses(control);
    struct limitmetrics metrics = {.uses = uses.items, .n_uses = uses.n, .mode = mode_of(control)};
    const struct turnmetrics turns = {
        .uses = uses.items, .n_uses = uses.n, .compute = compute_of(control)};

    if (!control->limiter)
        return;
    metrics.counts = limiter_count(control->limiter);
    metrics.is_off = enforcement_is_off(control->enforcement);
    metrics.overcommits = enforcement_get_wish(control->enforcement)->overcommits;
    metrics.has_library = *library_folder(control->library);
    metrics.n_events_dropped = control->events.n_dropped;
    limitmetrics_add(&metrics, out);
    turnmetrics_add(&turns, out);
}

/* --- life --- */

static int start_limits(struct limitcontrol *control, uv_loop_t *loop, struct error *err)
{
    const struct arbiteroptions *options = control->options;
    struct library_options library = {
        .source = options->library, .version = GPUSLICE_VERSION, .root = options->root};
    const struct arbiter_wish first = {.mode = options->limits, .compute = options->compute};
    int r = places_find_below(options->root, options->state_dir, &library.places, err);

    if (r == 0)
        r = enforcement_new(loop, library.places.grant_dir, &first, on_changed, control,
                            &control->enforcement, err);
    if (r == 0)
        r = library_new(loop, &library, on_changed, control, &control->library, err);
    if (r == 0) {
        limiter_set_mode(control->limiter, mode_of(control));
        set_compute(control);
    }
    return r;
}

static int start(struct limitcontrol *control, uv_loop_t *loop, struct error *err)
{
    static const struct arbitersocket_callbacks callbacks = {on_agent, on_wish, make_state,
                                                             add_status};
    char folder[PATH_MAX];
    int r = control->limiter ? start_limits(control, loop, err) : 0;

    snprintf(folder, sizeof(folder), "%s/arbiter", control->options->state_dir);
    if (r == 0)
        r = arbitersocket_new(
            loop, control->options->arbiter_dir ? control->options->arbiter_dir : folder,
            &callbacks, control, &control->socket, err);
    if (r == 0 && control->limiter)
        r = commands_new(loop, control->options, control->limiter, control->auditor,
                         &control->commands, err);
    return r;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int limitcontrol_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter *limiter,
                     const struct auditor *auditor, struct limitcontrol **ret_control,
                     struct error *err)
{
    struct limitcontrol *control = calloc(1, sizeof(*control));
    int r;

    if (!control)
        return error_set_errno(err, -ENOMEM, "cannot serve the agent");
    control->options = options;
    control->limiter = limiter;
    control->auditor = auditor;
    uv_timer_init(loop, &control->tick);
    control->tick.data = control;
    r = start(control, loop, err);
    if (r < 0) {
        limitcontrol_free(control);
        return r;
    }
    uv_timer_start(&control->tick, on_tick, PERIOD_MS, PERIOD_MS);
    *ret_control = control;
    return 0;
}

void limitcontrol_free(struct limitcontrol *control)
{
    if (!control)
        return;
    commands_free(control->commands);
    arbitersocket_free(control->socket);
    library_free(control->library);
    enforcement_free(control->enforcement);
    limitevents_deinit(&control->events);
    uv_close((uv_handle_t *)&control->tick, on_closed);
}
