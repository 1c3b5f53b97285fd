// SPDX-License-Identifier: Apache-2.0
#include "node/memorylimits.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "grant/grantdir.h"
#include "limits/mode.h"
#include "proc/connector.h"
#include "proc/peer.h"
#include "slice/verified.h"

enum { LISTED_MAX = 4 };

struct memorylimits {
    struct memorylimits_setup setup;
    char socket[PATH_MAX];
    struct connector *connector;
    struct channel *channel; /* NULL while there is none */
    uv_timer_t patience;
    struct limitmounts mounts;
    struct arbiter_wish wish;
    bool is_wished;  /* the configuration is known */
    bool has_state;  /* of the arbiter that is connected */
    bool was_usable; /* limits could be enforced, since lost_ms not any more */
    uint64_t lost_ms;
    struct arbiter_state state; /* the last one that came */
    char trouble[320];          /* why there is no connection */
    char problem[640];          /* why slices are withheld; "" = they are not */
};

static uint64_t now_ms(const struct memorylimits *limits)
{
    return uv_now(limits->setup.loop);
}

/* --- what slices wait for --- */

static bool has_library(const struct memorylimits *limits)
{
    char library[PATH_MAX];

    return limitmounts_library(&limits->mounts, library) == 0;
}

/* Why limits could not be enforced now; "" = they could. */
static void find_reason(const struct memorylimits *limits, char *reason, size_t size)
{
    if (!limits->has_state)
        snprintf(reason, size, "gpuslice-arbiter is not connected%s%s",
                 *limits->trouble ? ": " : "", limits->trouble);
    else if (!*limits->state.library || !has_library(limits))
        snprintf(reason, size, "gpuslice-arbiter has put no library on this node%s%s",
                 *limits->state.trouble ? ": " : "", limits->state.trouble);
    else
        *reason = '\0';
}

static bool is_enforcing(const struct memorylimits *limits)
{
    return limits->is_wished && limits->wish.mode == LIMITS_ENFORCED;
}

static void on_patience(uv_timer_t *timer);

/* True while what is missing may come back. */
static bool waits(struct memorylimits *limits)
{
    const uint64_t due_ms = limits->lost_ms + MEMORYLIMITS_PATIENCE_MS;

    if (!limits->was_usable || now_ms(limits) >= due_ms)
        return false;
    uv_timer_start(&limits->patience, on_patience, due_ms - now_ms(limits), 0);
    return true;
}

static void note_usable(struct memorylimits *limits, bool is_usable)
{
    if (is_usable) {
        limits->was_usable = true;
        limits->lost_ms = 0;
        uv_timer_stop(&limits->patience);
    } else if (limits->was_usable && !limits->lost_ms) {
        limits->lost_ms = now_ms(limits) + !now_ms(limits); /* the loop's clock may start at 0 */
    }
}

static void log_change(const char *problem, bool was_withheld)
{
    if (*problem)
        log_warning("slices that no pod holds are Unhealthy: their memory limits could not be "
                    "enforced",
                    "reason", problem);
    else if (was_withheld)
        log_info("slices are offered again");
}

static void evaluate(struct memorylimits *limits)
{
    const bool was_withheld = limits->mounts.withholds;
    char reason[sizeof(limits->problem)];

    find_reason(limits, reason, sizeof(reason));
    note_usable(limits, !*reason);
    if (!is_enforcing(limits) || (*reason && waits(limits)))
        *reason = '\0';
    limits->mounts.withholds = *reason != '\0';
    if (limits->mounts.withholds != was_withheld)
        log_change(reason, was_withheld);
    memcpy(limits->problem, reason, sizeof(reason));
    limits->setup.on_changed(limits->setup.userdata);
}

static void on_patience(uv_timer_t *timer)
{
    evaluate(timer->data);
}

/* --- the arbiter --- */

static void send_wish(struct memorylimits *limits)
{
    cleanup_text struct text text = TEXT_INIT;

    if (!limits->channel || !limits->is_wished)
        return;
    if (arbiter_wish_write(&limits->wish, &text) < 0 ||
        channel_notify(limits->channel, ARBITER_WISH, CHANNEL_KEEP_NEWEST, text_string(&text),
                       text.length) < 0)
        log_error("cannot tell gpuslice-arbiter how memory limits are to be kept");
}

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    struct memorylimits *limits = userdata;

    (void)name;
    limits->channel = channel;
    send_wish(limits);
}

static void take_trouble(struct memorylimits *limits, const char *sentence)
{
    snprintf(limits->trouble, sizeof(limits->trouble), "%s", sentence);
}

static void on_down(const char *sentence, void *userdata)
{
    struct memorylimits *limits = userdata;

    limits->channel = NULL;
    limits->has_state = false;
    take_trouble(limits, sentence);
    evaluate(limits);
}

static void on_trouble(const char *sentence, void *userdata)
{
    struct memorylimits *limits = userdata;

    take_trouble(limits, sentence);
    evaluate(limits);
}

static int take_state(struct memorylimits *limits, const char *body, size_t size, struct error *err)
{
    cleanup_arbiter_state struct arbiter_state state = ARBITER_STATE_INIT;
    int r = arbiter_state_read(body, size, &state, err);

    if (r < 0)
        return r;
    if (!limits->has_state)
        log_info("gpuslice-arbiter is connected", "version", state.version);
    /* It is there later than the connection, if it is a new one: its files are copied first. */
    if (*state.library && !str_equal(state.library, limits->state.library))
        log_info("new containers get this library", "folder", state.library);
    arbiter_state_deinit(&limits->state);
    limits->state = state;
    state = (struct arbiter_state)ARBITER_STATE_INIT;
    limits->has_state = true;
    limits->trouble[0] = '\0';
    evaluate(limits);
    return 0;
}

static int take_event(const struct memorylimits *limits, const char *body, size_t size,
                      struct error *err)
{
    struct arbiter_event event = {.reason = ""};
    int r = arbiter_event_read(body, size, &event, err);

    if (r == 0)
        limits->setup.on_event(&event, limits->setup.userdata);
    return r;
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    struct memorylimits *limits = userdata;
    struct error err = ERROR_INIT;
    int r = 0; /* of a newer release */

    (void)channel;
    if (kind == ARBITER_STATE)
        r = take_state(limits, body, size, &err);
    else if (kind == ARBITER_EVENT)
        r = take_event(limits, body, size, &err);
    if (r < 0)
        log_error("gpuslice-arbiter sent an invalid message", "reason", error_text(&err));
}

/* --- life --- */

int memorylimits_new(const struct memorylimits_setup *setup, struct memorylimits **ret_limits,
                     struct error *err)
{
    static const struct connector_callbacks callbacks = {
        .on_up = on_up, .on_notice = on_notice, .on_down = on_down, .on_trouble = on_trouble};
    const struct channel_options channel =
        peer_channel_options(ARBITER_MESSAGE_MAX, setup->deadline_ms);
    cleanup_free struct memorylimits *limits = calloc(1, sizeof(*limits));
    int r;

    if (!limits)
        return error_set_errno(err, -ENOMEM, "cannot serve memory limits");
    limits->setup = *setup;
    limits->mounts.folder = setup->folder;
    if (snprintf(limits->socket, sizeof(limits->socket), "%s/%s", setup->arbiter_dir,
                 ARBITER_SOCKET) >= (int)sizeof(limits->socket))
        return error_set_errno(err, -ENAMETOOLONG, "cannot use %s", setup->arbiter_dir);
    r = connector_new(setup->loop, limits->socket, &channel, &callbacks, limits, &limits->connector,
                      err);
    if (r < 0)
        return r;
    uv_timer_init(setup->loop, &limits->patience);
    limits->patience.data = limits;
    limits->was_usable = has_library(limits); /* both may have been started, or the node */
    *ret_limits = TAKE_PTR(limits);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct memorylimits *limits = handle->data;

    arbiter_state_deinit(&limits->state);
    free(limits);
}

void memorylimits_free(struct memorylimits *limits)
{
    if (!limits)
        return;
    connector_free(TAKE_PTR(limits->connector));
    uv_close((uv_handle_t *)&limits->patience, on_closed);
}

static bool is_same(const struct arbiter_wish *one, const struct arbiter_wish *other)
{
    return one->mode == other->mode && one->overcommits == other->overcommits &&
           one->compute == other->compute;
}

void memorylimits_wish(struct memorylimits *limits, const struct arbiter_wish *wish)
{
    if (!limits || (limits->is_wished && is_same(&limits->wish, wish)))
        return;
    limits->wish = *wish;
    limits->is_wished = true;
    send_wish(limits);
    evaluate(limits);
}

void memorylimits_release(struct memorylimits *limits)
{
    struct error err = ERROR_INIT;

    if (!limits)
        return;
    limits->wish = (struct arbiter_wish){.mode = LIMITS_NONE};
    limits->is_wished = true;
    if (!limits->channel)
        log_warning("gpuslice-arbiter is not connected: processes that it limits stay limited");
    send_wish(limits);
    /* For those that start when there is no arbiter any more. */
    if (grantdir_set_mode(limits->setup.folder, limits_mode_name(LIMITS_NONE), &err) < 0)
        log_error(error_text(&err), "hint", "programs that start in running pods stay limited");
}

/* --- questions --- */

const struct limitmounts *memorylimits_mounts(const struct memorylimits *limits)
{
    return limits ? &limits->mounts : NULL;
}

const char *memorylimits_problem(const struct memorylimits *limits)
{
    return limits && *limits->problem ? limits->problem : NULL;
}

static void list_containers(const struct arbiter_state *state, bool unenforced, const char *words,
                            struct text *out)
{
    size_t n = 0;

    for (size_t i = 0; i < state->n_containers; i++) {
        const struct arbiter_container *container = &state->containers[i];

        if (!(unenforced ? container->is_unenforced : container->is_over) || ++n > LISTED_MAX)
            continue;
        text_addf(out, "%s%s/%s/%s", n == 1 ? words : ", ", container->namespace_, container->pod,
                  container->container);
    }
    if (n > LISTED_MAX)
        text_addf(out, " and %zu more", n - LISTED_MAX);
}

static void describe_mode(const struct memorylimits *limits, struct text *out)
{
    static const char *const modes[] = {
        [LIMITS_NONE] = "memory limits are not enforced (gpuslice.memory: none)",
        [LIMITS_OBSERVE] = "memory limits are observed, not enforced (gpuslice.memory: observe)",
        [LIMITS_ENFORCED] = "memory limits are enforced",
    };
    char reason[sizeof(limits->problem)];

    find_reason(limits, reason, sizeof(reason));
    if (limits->has_state && limits->state.is_off)
        text_add(out, "memory limits are not enforced: they are switched off on this node "
                      "(gpuslice enforcement off)");
    else if (*reason && limits->wish.mode != LIMITS_NONE)
        text_addf(out, "memory limits are not %s now for new containers: %s",
                  limits->wish.mode == LIMITS_ENFORCED ? "enforced" : "observed", reason);
    else
        text_add(out, modes[limits->wish.mode]);
    if (limits->wish.overcommits)
        text_add(out, ", and may add up to more memory than a GPU has (gpuslice.overcommit)");
}

/* The arbiter may be of a release that knows no turns, or be about to learn the wish. */
static void describe_compute(const struct memorylimits *limits, struct text *out)
{
    static const char *const modes[] = {
        [LIMITS_COMPUTE_NONE] = "",
        [LIMITS_COMPUTE_OBSERVE] = ("; GPU time is observed, not shared in turns "
                                    "(gpuslice.compute: observe)"),
        [LIMITS_COMPUTE_ELASTIC] = "; GPUs are shared in turns (gpuslice.compute: elastic)",
        [LIMITS_COMPUTE_STRICT] = "; GPUs are shared in turns (gpuslice.compute: strict)",
    };

    if (limits->wish.compute != limits->state.compute)
        text_addf(out, "; GPUs are not shared as gpuslice.compute says: %s wished, %s in effect",
                  limits_compute_name(limits->wish.compute),
                  limits_compute_name(limits->state.compute));
    else
        text_add(out, modes[limits->wish.compute]);
}

static void describe_unverified(const struct inventory *machine, struct text *out)
{
    cleanup_text struct text missing = TEXT_INIT;

    verified_add_missing(machine, &missing);
    if (missing.length)
        text_addf(out, "; never verified on %s (gpuslice verify)", text_string(&missing));
}

void memorylimits_describe(const struct memorylimits *limits, const struct inventory *machine,
                           struct text *out)
{
    if (!limits || !limits->is_wished)
        return;
    describe_mode(limits, out);
    if (limits->has_state)
        describe_compute(limits, out);
    if (!limits->has_state || limits->wish.mode == LIMITS_NONE)
        return;
    describe_unverified(machine, out);
    list_containers(&limits->state, true, "; without a limit, from before there was one: ", out);
    list_containers(&limits->state, false, "; beyond their limits: ", out);
}
