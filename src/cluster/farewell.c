// SPDX-License-Identifier: Apache-2.0
#include "cluster/farewell.h"

#include "base/log.h"

enum { LIMIT_MS = CLUSTER_FAREWELL_MS - 200 /* the rest is for ending */ };

/* A restart loses nothing by it; an uninstall leaves things behind. */
static void say_unknown(const struct farewell *farewell, const char *reason)
{
    log_warning("cannot find out whether this is an uninstall, so what is ours stays on the Node",
                "node", farewell->scene->setup->node, "reason", reason);
}

static bool is_all_removed(const struct farewell *farewell)
{
    return farewell->scene->is_synced && upkeep_is_at_rest(farewell->upkeep) &&
           farewell->feature->writer.at_rest;
}

static void end_when_done(struct farewell *farewell)
{
    if (farewell->is_known && events_are_at_rest(farewell->events) &&
        (!farewell->is_uninstall || is_all_removed(farewell)))
        farewell->on_done(farewell->userdata);
}

static void on_limit(uv_timer_t *timer)
{
    struct farewell *farewell = timer->data;

    if (!farewell->is_known)
        say_unknown(farewell, "the API server does not answer in time");
    if (farewell->is_uninstall)
        log_warning("what we wrote on the Node could not be removed in time", "node",
                    farewell->scene->setup->node);
    farewell->on_done(farewell->userdata);
}

static void remove_everything(struct farewell *farewell)
{
    struct scene *scene = farewell->scene;

    log_info("uninstalled: removing what is ours from the Node", "node", scene->setup->node);
    farewell->is_uninstall = true;
    cluster_state_deinit(&scene->state);
    scene->state = (struct cluster_state){.labels_by = CLUSTER_LABELS_NONE};
    scene->has_state = true;
    /* There is no time to wait out what failed before. */
    upkeep_hurry(farewell->upkeep);
    writer_hurry(&farewell->feature->writer);
}

static void on_daemonset(const struct kube_response *response, void *userdata)
{
    struct farewell *farewell = userdata;

    farewell->call = NULL;
    if (*response->reason && response->http_status != 404)
        say_unknown(farewell, response->reason);
    if (owner_leaves(farewell->owner, response))
        remove_everything(farewell);
    farewell->is_known = true; /* not before each writer has looked: some were at rest */
    end_when_done(farewell);
}

static int ask_daemonset(struct farewell *farewell)
{
    struct kube_request request = {.method = "GET", .on_done = on_daemonset};
    cleanup_free char *path = NULL;
    int r = owner_path(farewell->owner, &path);

    if (r < 0)
        return r;
    request.path = path;
    return kube_send(farewell->scene->client, &request, farewell, &farewell->call, NULL);
}

/* Who owns us may be unknown yet, when the agent ends right after its start. */
static void ask_when_known(struct farewell *farewell)
{
    if (farewell->is_asked || !owner_is_settled(farewell->owner))
        return;
    farewell->is_asked = true;
    farewell->is_known = ask_daemonset(farewell) < 0;
}

void farewell_init(struct farewell *farewell, uv_loop_t *loop, struct scene *scene,
                   const struct owner *owner, struct upkeep *upkeep, struct feature *feature,
                   void (*on_done)(void *userdata), void *userdata)
{
    *farewell = (struct farewell){.scene = scene,
                                  .owner = owner,
                                  .upkeep = upkeep,
                                  .feature = feature,
                                  .on_done = on_done,
                                  .userdata = userdata};
    uv_timer_init(loop, &farewell->limit);
    farewell->limit.data = farewell;
}

void farewell_begin(struct farewell *farewell, const struct events *events)
{
    if (farewell->is_begun)
        return;
    farewell->is_begun = true;
    farewell->events = events;
    if (!farewell->scene->client) {
        farewell->on_done(farewell->userdata);
        return;
    }
    uv_timer_start(&farewell->limit, on_limit, LIMIT_MS, 0);
    farewell_look(farewell);
}

void farewell_look(struct farewell *farewell)
{
    if (!farewell->is_begun || !farewell->scene->client)
        return;
    ask_when_known(farewell);
    end_when_done(farewell);
}

void farewell_deinit(struct farewell *farewell)
{
    kube_cancel(TAKE_PTR(farewell->call));
    uv_close((uv_handle_t *)&farewell->limit, NULL);
}
