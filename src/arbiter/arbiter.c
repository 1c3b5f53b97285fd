// SPDX-License-Identifier: Apache-2.0
#include "arbiter/arbiter.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arbiter/auditor.h"
#include "arbiter/limitcontrol.h"
#include "arbiter/limiter.h"
#include "arbiter/localreport.h"
#include "base/array.h"
#include "base/exposition.h"
#include "base/log.h"
#include "limits/mode.h"
#include "proc/arbitermessage.h"
#include "proc/httplink.h"
#include "proc/peer.h"
#include "proc/role.h"
#include "proc/watchdog.h"

enum { PEER_DEADLINE_MS = 10000 };

#define SOCKET "arbiter.sock" /* in --channel-dir */

static const int signal_numbers[] = {SIGTERM, SIGINT};

struct arbiter {
    uv_loop_t loop;
    const struct arbiteroptions *options;
    uv_signal_t signals[ARRAY_SIZE(signal_numbers)];
    struct watchdog watchdog;
    struct limiter *limiter; /* NULL without --limits */
    struct auditor *auditor;
    struct limitcontrol *control;
    struct localreport report; /* with --report-fd */
    struct httplink *httplink; /* NULL without --channel-dir */
};

/* --- /healthz, /readyz, /metrics --- */

static void add_metrics(const struct arbiter *arbiter, struct text *out)
{
    exposition_family(out, "gpuslice_arbiter_info", "gauge", "Constant 1, labelled by version.");
    exposition_sample(out, "gpuslice_arbiter_info", 1, "version", GPUSLICE_VERSION, NULL);
    auditor_add_metrics(arbiter->auditor, out);
    if (arbiter->control)
        limitcontrol_add_metrics(arbiter->control, out);
}

static unsigned answer(enum httplink_page page, struct text *body, void *userdata)
{
    const struct arbiter *arbiter = userdata;

    switch (page) {
    case HTTPLINK_HEALTH: /* who answers lives */
        text_add(body, "ok\n");
        return 200;
    case HTTPLINK_READY:
        return auditor_add_readiness(arbiter->auditor, body) ? 200 : 503;
    case HTTPLINK_METRICS:
        add_metrics(arbiter, body);
        return 200;
    }
    return 404;
}

static int serve(struct arbiter *arbiter, struct error *err)
{
    const char *folder = arbiter->options->channel_dir;
    char path[PATH_MAX];
    const struct httplink_options options = {.socket_path = path, .deadline_ms = PEER_DEADLINE_MS};

    if (!folder)
        return 0;
    snprintf(path, sizeof(path), "%s/" SOCKET, folder);
    return httplink_new(&arbiter->loop, &options, answer, arbiter, &arbiter->httplink, err);
}

/* --- life --- */

static void on_signal(uv_signal_t *handle, int number)
{
    log_info("ending", "signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
    uv_stop(handle->loop);
}

static void start_handles(struct arbiter *arbiter)
{
    uv_loop_init(&arbiter->loop);
    for (size_t i = 0; i < ARRAY_SIZE(signal_numbers); i++) {
        uv_signal_init(&arbiter->loop, &arbiter->signals[i]);
        uv_signal_start(&arbiter->signals[i], on_signal, signal_numbers[i]);
    }
    watchdog_start(&arbiter->watchdog, &arbiter->loop, WATCHDOG_MS);
}

static void close_all(struct arbiter *arbiter)
{
    watchdog_stop(&arbiter->watchdog);
    httplink_free(arbiter->httplink);
    limitcontrol_free(arbiter->control);
    auditor_free(arbiter->auditor);
    limiter_free(arbiter->limiter);
    for (size_t i = 0; i < ARRAY_SIZE(signal_numbers); i++)
        uv_close((uv_handle_t *)&arbiter->signals[i], NULL);
    uv_run(&arbiter->loop, UV_RUN_DEFAULT);
    uv_loop_close(&arbiter->loop);
}

int arbiter_run(const struct arbiteroptions *options)
{
    struct arbiter arbiter = {.options = options};
    struct error err = ERROR_INIT;
    int r;

    start_handles(&arbiter);
    r = options->has_limits ? limiter_new(&arbiter.loop, options, &arbiter.limiter, &err) : 0;
    if (r == -EOPNOTSUPP && !options->local_grant) { /* the audit goes on */
        log_error("there are no limits of memory", "reason", error_text(&err));
        r = 0;
    }
    if (r == 0)
        r = auditor_new(&arbiter.loop, options, arbiter.limiter, &arbiter.auditor, &err);
    if (r == 0 && !options->local_grant) /* a node's */
        r = limitcontrol_new(&arbiter.loop, options, arbiter.limiter, arbiter.auditor,
                             &arbiter.control, &err);
    if (r == 0)
        r = serve(&arbiter, &err);
    if (r == 0 && options->report_fd >= 0 && arbiter.limiter)
        localreport_start(&arbiter.report, &arbiter.loop, arbiter.limiter, options->report_fd);
    if (r == 0) {
        log_info("gpuslice-arbiter " GPUSLICE_VERSION, "mode", "audit", "on_violation",
                 violation_action_name(options->policy.action), "limits",
                 arbiter.limiter ? limits_mode_name(limiter_get_mode(arbiter.limiter)) : NULL);
        uv_run(&arbiter.loop, UV_RUN_DEFAULT);
        if (options->report_fd >= 0 && arbiter.limiter)
            localreport_end(&arbiter.report);
    } else {
        log_error(error_text(&err));
    }
    close_all(&arbiter);
    return r < 0 ? 1 : 0;
}
