// SPDX-License-Identifier: Apache-2.0
#include "nodesync/uninstall.h"
#include "nodesync/node.h"

#include <errno.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "base/text.h"
#include "kube/client.h"
#include "kube/kubeconfig.h"
#include "kube/object.h"

enum { LIMIT_MS = 90 * 1000, ASK_MS = 500 };

struct retirement {
    uv_loop_t loop;
    uv_timer_t timer, limit;
    struct kube_client *client;
    const char *name; /* of the DaemonSet or Deployment; borrowed */
    char *path;
    bool is_told; /* the server has accepted the deletion */
    bool is_gone;
    char trouble[256]; /* why it still exists */
};

static void on_timer(uv_timer_t *timer);

/* Forbidden stays forbidden; other failures may be temporary. */
static bool is_hopeless(const struct kube_response *response)
{
    return response->http_status == 401 || response->http_status == 403;
}

static void on_done(const struct kube_response *response, void *userdata)
{
    struct retirement *retirement = userdata;
    const bool is_good = kube_is_success(response->http_status);

    retirement->is_told = retirement->is_told || is_good;
    retirement->is_gone = kube_is_gone(response, retirement->name);
    snprintf(retirement->trouble, sizeof(retirement->trouble), "%s",
             is_good ? "its pods are still running" : response->reason);
    if (retirement->is_gone || is_hopeless(response))
        uv_stop(&retirement->loop);
    else
        uv_timer_start(&retirement->timer, on_timer, ASK_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    static const char foreground[] = "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\","
                                     "\"propagationPolicy\":\"Foreground\"}";
    struct retirement *retirement = timer->data;
    struct kube_request request = {
        .method = "GET", .path = retirement->path, .on_done = on_done, .timeout_ms = 10000};
    struct error err = ERROR_INIT;

    if (!retirement->is_told) {
        request.method = "DELETE";
        request.content_type = "application/json";
        request.body = foreground;
        request.body_size = sizeof(foreground) - 1;
    }
    if (kube_send(retirement->client, &request, retirement, NULL, &err) < 0) {
        snprintf(retirement->trouble, sizeof(retirement->trouble), "%s", error_text(&err));
        uv_timer_start(&retirement->timer, on_timer, ASK_MS, 0); /* the token may not exist yet */
    }
}

static void on_limit(uv_timer_t *timer)
{
    struct retirement *retirement = timer->data;

    uv_stop(&retirement->loop);
}

#define DEPLOYMENTS "deployments/"

static int make_path(struct retirement *retirement, const char *namespace, const char *workload,
                     struct error *err)
{
    bool is_deployment = str_starts_with(workload, DEPLOYMENTS);

    retirement->name = workload + (is_deployment ? strlen(DEPLOYMENTS) : 0);
    if (!namespace || !*namespace || !*retirement->name)
        return error_set(err, -EINVAL,
                         "--retire takes a DaemonSet's name, and NAMESPACE its namespace");
    retirement->path = kube_path(&(struct kube_place){"/apis/apps/v1", namespace,
                                                      is_deployment ? "deployments" : "daemonsets",
                                                      retirement->name});
    return retirement->path ? 0 : error_set_errno(err, -ENOMEM, "cannot retire %s", workload);
}

static int start(struct retirement *retirement, const char *workload, struct error *err)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    const char *namespace = getenv("NAMESPACE");
    int r = kube_access_load(getenv("KUBECONFIG"), &access, err);

    if (r < 0)
        return r;
    r = make_path(retirement, namespace ? namespace : access.namespace, workload, err);
    if (r == 0)
        r = kube_client_new(&retirement->loop, &access, NODE_MANAGER, &retirement->client, err);
    if (r < 0)
        return r;
    uv_timer_start(&retirement->timer, on_timer, 0, 0);
    uv_timer_start(&retirement->limit, on_limit, LIMIT_MS, 0);
    return 0;
}

int uninstall_run(const char *workload)
{
    struct retirement retirement = {.name = workload};
    struct error err = ERROR_INIT;

    uv_loop_init(&retirement.loop);
    uv_timer_init(&retirement.loop, &retirement.timer);
    uv_timer_init(&retirement.loop, &retirement.limit);
    retirement.timer.data = retirement.limit.data = &retirement;
    if (start(&retirement, workload, &err) == 0) {
        uv_run(&retirement.loop, UV_RUN_DEFAULT);
        if (!retirement.is_gone)
            log_error("it could not be deleted, and its pods may leave something behind", "name",
                      workload, "reason", retirement.trouble);
    } else {
        log_error(error_text(&err));
    }
    kube_client_free(retirement.client);
    uv_close((uv_handle_t *)&retirement.timer, NULL);
    uv_close((uv_handle_t *)&retirement.limit, NULL);
    uv_run(&retirement.loop, UV_RUN_DEFAULT);
    uv_loop_close(&retirement.loop);
    free(retirement.path);
    return !retirement.is_gone;
}
