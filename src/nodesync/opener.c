// SPDX-License-Identifier: Apache-2.0
#include "nodesync/opener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "karpenter/nodekeys.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"
#include "kube/lease.h"
#include "kube/object.h"
#include "nodesync/node.h"

static const json_t *taints_of(const struct opener *opener)
{
    return json_object_get(json_object_get(opener->observed->node, "spec"), "taints");
}

static bool is_startup_taint(const json_t *taint)
{
    return kube_says(taint, "key", SLICEPROFILE_STARTUP_TAINT);
}

static bool is_closed(const struct opener *opener)
{
    const json_t *taint;
    size_t i;

    json_array_foreach(taints_of(opener), i, taint) if (is_startup_taint(taint)) return true;
    return false;
}

/* All that was promised, and no other number of it. */
static bool keeps_promise(const struct opener *opener)
{
    const struct sync_state *state = &opener->observed->state;

    for (size_t i = 0; i < state->n_promise; i++)
        if (node_allocatable(opener->observed->node, state->promise[i].name) !=
            state->promise[i].count)
            return false;
    return state->n_promise > 0;
}

/* The Node could be opened, if there is nobody else to do it. */
static bool is_due(const struct opener *opener)
{
    return (opener->path || opener->is_alone) && opener->observed->node &&
           opener->observed->has_state && is_closed(opener) && keeps_promise(opener);
}

/* --- the Lease --- */

static void on_timer(uv_timer_t *timer);

static void log_trouble(struct opener *opener, const struct kube_response *response)
{
    const char *reason = *response->reason ? response->reason : "the response is no Lease";

    if (lograte_begin(&opener->trouble, reason, clock_now_ms()))
        log_warning("cannot read whether a controller opens this node; it stays closed", "reason",
                    reason, "hint",
                    response->http_status == 403 ? "let our service account get the controller's "
                                                   "lease"
                                                 : NULL);
}

static void see(struct opener *opener, const struct kube_response *response)
{
    json_t *lease = json_loadb(response->body, response->size, 0, NULL);
    const uint64_t now_ms = opener->now_ms();

    leaseview_see(&opener->lease, lease, now_ms);
    json_decref(lease);
    opener->is_stale = leaseview_is_abandoned(&opener->lease, LEASE_DURATION_S, now_ms);
}

static void on_read(const struct kube_response *response, void *userdata)
{
    struct opener *opener = userdata;
    const char *name = strrchr(opener->path, '/') + 1;

    opener->call = NULL;
    uv_timer_start(&opener->timer, on_timer, OPENER_RETRY_MS, 0);
    opener->is_stale = false;
    if (kube_is_kind(response, "Lease"))
        see(opener, response);
    else if (kube_is_gone(response, name))
        opener->is_stale = true;
    else
        log_trouble(opener, response);
    if (opener->is_stale)
        writer_sync(&opener->writer);
}

static void on_timer(uv_timer_t *timer)
{
    struct opener *opener = timer->data;
    const struct kube_request request = {.method = "GET", .path = opener->path, .on_done = on_read};
    struct error err = ERROR_INIT;

    if (kube_send(opener->observed->client, &request, opener, &opener->call, &err) == 0)
        return;
    opener->is_stale = false;
    log_warning("cannot read the controller's Lease, retrying", "reason", error_text(&err));
    uv_timer_start(timer, on_timer, OPENER_RETRY_MS, 0);
}

static void forget_lease(struct opener *opener)
{
    uv_timer_stop(&opener->timer);
    kube_cancel(TAKE_PTR(opener->call));
    leaseview_deinit(&opener->lease);
    opener->is_stale = false;
    lograte_end(&opener->trouble);
}

/* --- the taint --- */

static json_t *without_startup_taint(const struct opener *opener)
{
    json_t *left = json_array(), *taint;
    size_t i;

    json_array_foreach(taints_of(opener), i, taint) if (!is_startup_taint(taint))
        json_array_append(left, taint);
    if (json_array_size(left))
        return left;
    json_decref(left);
    return NULL;
}

static int send_opening(void *userdata, kube_done_fn *on_done, void *done_userdata,
                        struct kube_call **ret_call, struct error *err)
{
    struct opener *opener = userdata;
    json_t *patch;
    int r;

    if (!(opener->is_stale || opener->is_alone) || !is_due(opener))
        return WRITER_IDLE;
    patch = json_array();
    if (!patch || jsonpatch_change(patch, "/spec/taints", taints_of(opener),
                                   without_startup_taint(opener)) < 0)
        r = error_set_errno(err, -ENOMEM, "cannot open the Node");
    else
        r = kube_json_patch(opener->observed->client, opener->observed->node_path, patch,
                            &(struct kube_waiter){.on_done = on_done,
                                                  .userdata = done_userdata,
                                                  .ret_call = ret_call},
                            err);
    json_decref(patch);
    return r;
}

static void on_answer(const struct kube_response *response, void *userdata)
{
    static const char sentence[] =
        "the node advertises what was promised of it, and no controller is at work: it is opened "
        "(taint " SLICEPROFILE_STARTUP_TAINT " removed)";
    struct opener *opener = userdata;

    log_info(sentence);
    opener->on_opened(sentence, opener->userdata);
    observed_update_from_answer((struct observed *)(uintptr_t)opener->observed, response);
}

static const struct writer_job job = {
    .what = "startup taint of the Node",
    .remedy = "let our service account patch nodes",
    .send = send_opening,
    .on_answer = on_answer,
};

/* --- life --- */

static void ignore(void *userdata)
{
    (void)userdata;
}

static char *make_path(const struct sync_setup *setup)
{
    return kube_path(&(struct kube_place){
        .api = LEASEVIEW_API,
        .namespace_ = setup->namespace_,
        .collection = "leases",
        .name = setup->lease,
    });
}

int opener_init(struct opener *opener, uv_loop_t *loop, const struct observed *observed,
                void (*on_opened)(const char *sentence, void *userdata), void *userdata)
{
    const struct sync_setup *setup = observed->setup;

    *opener = (struct opener){
        .observed = observed, .now_ms = clock_now_ms, .on_opened = on_opened, .userdata = userdata};
    writer_init(&opener->writer, loop, &job, ignore, NULL, opener);
    uv_timer_init(loop, &opener->timer);
    opener->timer.data = opener;
    opener->is_alone = str_equal(setup->lease, OPENER_ALONE);
    if (opener->is_alone || !*setup->lease || !*setup->namespace_)
        return 0;
    opener->path = make_path(setup);
    return opener->path ? 0 : -ENOMEM;
}

void opener_sync(struct opener *opener)
{
    if (!is_due(opener) || opener->is_alone)
        forget_lease(opener);
    else if (!opener->call && !uv_is_active((uv_handle_t *)&opener->timer))
        uv_timer_start(&opener->timer, on_timer, OPENER_FIRST_MS, 0);
    writer_sync(&opener->writer);
}

void opener_kick(struct opener *opener)
{
    writer_kick(&opener->writer);
}

void opener_deinit(struct opener *opener)
{
    forget_lease(opener);
    writer_deinit(&opener->writer);
    uv_close((uv_handle_t *)&opener->timer, NULL);
    free(TAKE_PTR(opener->path));
}
