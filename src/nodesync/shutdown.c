// SPDX-License-Identifier: Apache-2.0
#include "nodesync/shutdown.h"

#include <errno.h>

#include "base/log.h"

enum { LIMIT_MS = SYNC_SHUTDOWN_MS - 200 /* the rest is for exiting */ };

/* A restart loses nothing by this; an uninstall leaves things behind. */
static void log_unknown(const struct shutdown *shutdown, const char *reason)
{
    log_warning("cannot determine whether this is an uninstall, so our changes to the Node stay",
                "node", shutdown->setup.observed->setup->node, "reason", reason);
}

static bool is_all_removed(const struct shutdown *shutdown)
{
    return shutdown->setup.observed->is_synced &&
           nodewriters_is_idle(shutdown->setup.nodewriters) && shutdown->setup.feature->writer.idle;
}

static void end_when_done(struct shutdown *shutdown)
{
    if (shutdown->is_known && recorder_is_idle(shutdown->events) &&
        (!shutdown->is_uninstall || is_all_removed(shutdown)))
        shutdown->setup.on_done(shutdown->setup.userdata);
}

static void on_limit(uv_timer_t *timer)
{
    struct shutdown *shutdown = timer->data;

    if (!shutdown->is_known)
        log_unknown(shutdown, "the API server does not respond in time");
    if (shutdown->is_uninstall)
        log_warning("our changes to the Node could not be removed in time", "node",
                    shutdown->setup.observed->setup->node);
    shutdown->setup.on_done(shutdown->setup.userdata);
}

static void remove_everything(struct shutdown *shutdown)
{
    struct observed *observed = shutdown->setup.observed;

    log_info("uninstalled: removing our changes from the Node", "node", observed->setup->node);
    shutdown->is_uninstall = true;
    sync_state_deinit(&observed->state);
    observed->state = (struct sync_state){.labels_by = SYNC_LABELS_NONE,
                                          .handles_clients = observed->state.handles_clients};
    observed->has_state = true;
    /* There is no time to wait for back-offs. */
    nodewriters_kick(shutdown->setup.nodewriters);
    writer_kick(&shutdown->setup.feature->writer);
}

static void on_daemonset(const struct kube_response *response, void *userdata)
{
    struct shutdown *shutdown = userdata;

    shutdown->call = NULL;
    if (*response->reason && response->http_status != 404)
        log_unknown(shutdown, response->reason);
    if (owner_leaves(shutdown->setup.owner, response))
        remove_everything(shutdown);
    shutdown->is_known = true; /* not before each writer has synced: some were idle */
    end_when_done(shutdown);
}

enum { SHUTDOWN_NO_DAEMONSET = 1 };

static int ask_daemonset(struct shutdown *shutdown, struct error *err)
{
    struct kube_request request = {.method = "GET", .on_done = on_daemonset};
    cleanup_free char *path = NULL;
    int r = owner_path(shutdown->setup.owner, &path);

    if (r == -ENOENT)
        return SHUTDOWN_NO_DAEMONSET;
    if (r < 0)
        return error_set_errno(err, r, "cannot get the DaemonSet");
    request.path = path;
    return kube_send(shutdown->setup.observed->client, &request, shutdown, &shutdown->call, err);
}

/* The owner may still be unknown if the agent ends right after its start. */
static void ask_when_known(struct shutdown *shutdown)
{
    struct error err = ERROR_INIT;
    int r;

    if (shutdown->is_asked || !owner_is_settled(shutdown->setup.owner))
        return;
    shutdown->is_asked = true;
    r = ask_daemonset(shutdown, &err);
    if (r < 0)
        log_unknown(shutdown, error_text(&err));
    shutdown->is_known = r != 0;
}

void shutdown_init(struct shutdown *shutdown, uv_loop_t *loop, const struct shutdown_setup *setup)
{
    *shutdown = (struct shutdown){.setup = *setup};
    uv_timer_init(loop, &shutdown->limit);
    shutdown->limit.data = shutdown;
}

void shutdown_begin(struct shutdown *shutdown, const struct recorder *events)
{
    if (shutdown->is_begun)
        return;
    shutdown->is_begun = true;
    shutdown->events = events;
    if (!shutdown->setup.observed->client) {
        shutdown->setup.on_done(shutdown->setup.userdata);
        return;
    }
    uv_timer_start(&shutdown->limit, on_limit, LIMIT_MS, 0);
    shutdown_sync(shutdown);
}

void shutdown_sync(struct shutdown *shutdown)
{
    if (!shutdown->is_begun || !shutdown->setup.observed->client)
        return;
    ask_when_known(shutdown);
    end_when_done(shutdown);
}

void shutdown_deinit(struct shutdown *shutdown)
{
    kube_cancel(TAKE_PTR(shutdown->call));
    uv_close((uv_handle_t *)&shutdown->limit, NULL);
}
