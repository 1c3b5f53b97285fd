// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nfdwatch.h"

#include "base/array.h"
#include "base/log.h"

enum {
    TIMEOUT_MS = 60 * 1000, /* how long NFD may take to set our values */
    CHECK_MS = 10 * 60 * 1000,
};

/* Copies the lasting results to the observed state. */
static void update_observed(struct nfdwatch *watch)
{
    watch->observed->nfd_left = nfd_left(&watch->nfd);
    watch->observed->nfd_lost = watch->is_lost_old ? nfd_lost(&watch->nfd) : NULL;
}

static void on_lag(uv_timer_t *timer)
{
    struct nfdwatch *watch = timer->data;

    log_warning("node-feature-discovery does not set our labels, setting them on the Node", "node",
                watch->observed->setup->node);
    nfd_give_up(&watch->nfd, watch->observed->node);
    update_observed(watch);
    watch->on_change(watch->userdata);
}

static void on_lost(uv_timer_t *timer)
{
    struct nfdwatch *watch = timer->data;

    watch->is_lost_old = true;
    update_observed(watch);
    watch->on_change(watch->userdata);
}

static void on_check(uv_timer_t *timer)
{
    struct nfdwatch *watch = timer->data;

    if (!watch->feature->is_offered)
        feature_check(watch->feature);
}

/* Runs the timer while the condition holds. */
static void await(uv_timer_t *timer, bool is_so, uv_timer_cb on_due)
{
    if (!is_so)
        uv_timer_stop(timer);
    else if (!uv_is_active((uv_handle_t *)timer))
        uv_timer_start(timer, on_due, TIMEOUT_MS, 0);
}

void nfdwatch_init(struct nfdwatch *watch, uv_loop_t *loop, struct observed *observed,
                   struct feature *feature, void (*on_change)(void *userdata), void *userdata)
{
    uv_timer_t *timers[] = {&watch->lag, &watch->lost, &watch->check};

    *watch = (struct nfdwatch){
        .observed = observed, .feature = feature, .on_change = on_change, .userdata = userdata};
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = watch;
    }
    uv_timer_start(&watch->check, on_check, CHECK_MS, CHECK_MS);
}

void nfdwatch_sync(struct nfdwatch *watch)
{
    struct nfd *nfd = &watch->nfd;
    const size_t n_served_before = nfd->n_served;
    const bool was_here_before = nfd->was_here;

    if (watch->observed->state.keeps_labels)
        return;
    nfd_update(nfd, watch->observed->node, &watch->observed->state, watch->feature->found);
    watch->is_lost_old = watch->is_lost_old && nfd_lost(nfd);
    update_observed(watch);
    await(&watch->lag, nfd->lags && !nfd->is_silent, on_lag);
    await(&watch->lost, nfd_lost(nfd) && !watch->is_lost_old, on_lost);
    if ((nfd->n_served > 0) != (n_served_before > 0))
        log_info(nfd->n_served ? "node-feature-discovery sets our labels now"
                               : "node-feature-discovery no longer sets our labels",
                 "node", watch->observed->setup->node);
    if (nfd->n_served < n_served_before || (nfd->was_here && !was_here_before))
        feature_check(watch->feature);
}

void nfdwatch_deinit(struct nfdwatch *watch)
{
    uv_close((uv_handle_t *)&watch->lag, NULL);
    uv_close((uv_handle_t *)&watch->lost, NULL);
    uv_close((uv_handle_t *)&watch->check, NULL);
    nfd_deinit(&watch->nfd);
}
