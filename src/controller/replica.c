// SPDX-License-Identifier: Apache-2.0
#include "controller/replica.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/exposition.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "catalog/boards.h"
#include "catalog/catalog.h"
#include "controller/configprofiles.h"
#include "controller/drains.h"
#include "controller/nodegates.h"
#include "controller/profiles.h"
#include "controller/sharedstores.h"
#include "controller/waiting.h"
#include "kube/backoff.h"
#include "kube/kubeconfig.h"
#include "kube/lease.h"
#include "kube/recorder.h"
#include "proc/httplink.h"
#include "proc/peer.h"
#include "proc/role.h"
#include "proc/watchdog.h"

enum {
    ACCESS_FIRST_MS = 1000,
    ACCESS_LAST_MS = 60000,
    PEER_DEADLINE_MS = 10000,
    LEAVE_MS = 5000, /* at most, for giving the Lease up */
    CONFIG_GRACE_MS = 10000,
    IDENTITY_SIZE = 128,
    NAMESPACE_SIZE = 254,
};

#define MANAGER "gpuslice-controller"
#define SOCKET  "controller.sock" /* in --channel-dir */

static const int signal_numbers[] = {SIGTERM, SIGINT};

struct replica {
    uv_loop_t loop;
    const struct options *options;
    char identity[IDENTITY_SIZE];
    uv_timer_t access, leave;
    uv_signal_t signals[ARRAY_SIZE(signal_numbers)];
    struct watchdog watchdog;
    struct backoff access_backoff;
    struct lograte access_trouble;
    struct kube_client *client; /* NULL until the access is known */
    char namespace_[NAMESPACE_SIZE];
    struct lease *lease;
    struct httplink *httplink; /* NULL without --channel-dir */
    /* While it leads: */
    struct recorder *recorder;
    struct sharedstores *stores; /* NULL without profiles */
    struct drains *drains;
    struct drain_counters drained;
    struct waiting *waiting;
    uint64_t n_answered; /* pods */
    struct profiles *profiles;
    struct profilekeeper_counters changed;
    struct configprofiles *configprofiles;
    unsigned n_leaving; /* duties that take back, and have not done so */
    struct nodegates *nodegates;
    struct gate_counters gated;
    struct catalog catalog; /* for profiles */
    int status;             /* of the program */
    uint64_t n_terms;       /* times that it began to lead */
};

/* -- duties ------------------------------------------------------------------------------------ */

static bool may_write(void *userdata)
{
    const struct replica *replica = userdata;

    return lease_is_held(replica->lease);
}

static void on_idle(void *userdata)
{
}

static int start_drains(struct replica *replica, struct error *err)
{
    return drains_new(&(struct drain_setup){.loop = &replica->loop,
                                            .client = replica->client,
                                            .recorder = replica->recorder,
                                            .consent = replica->options->drain_for_mig,
                                            .may_write = may_write,
                                            .userdata = replica,
                                            .counters = &replica->drained},
                      &replica->drains, err);
}

static void stop_drains(struct replica *replica)
{
    drains_free(TAKE_PTR(replica->drains));
}

static void add_evictions(const struct drain_counters *drained, struct text *out)
{
    static const char name[] = "gpuslice_controller_evictions_total";

    exposition_family(out, name, "counter", "Evictions requested for MIG layouts.");
    exposition_sample(out, name, (double)drained->evicted, "result", "accepted", NULL);
    exposition_sample(out, name, (double)drained->blocked, "result", "blocked", NULL);
    exposition_sample(out, name, (double)drained->failed, "result", "failed", NULL);
}

static void add_drains(const struct replica *replica, struct text *out)
{
    drains_add_metrics(replica->drains, out);
    add_evictions(&replica->drained, out);
}

static int start_waiting(struct replica *replica, struct error *err)
{
    return waiting_new(&(struct advisor_setup){.loop = &replica->loop,
                                               .client = replica->client,
                                               .recorder = replica->recorder,
                                               .may_write = may_write,
                                               .userdata = replica,
                                               .n_answered = &replica->n_answered},
                       &replica->waiting, err);
}

static void stop_waiting(struct replica *replica)
{
    waiting_free(TAKE_PTR(replica->waiting));
}

static void add_waiting(const struct replica *replica, struct text *out)
{
    static const char name[] = "gpuslice_controller_answered_pods_total";

    waiting_add_metrics(replica->waiting, out);
    exposition_family(out, name, "counter",
                      "Pods with an event that no Node has MIG devices of the name they request.");
    exposition_sample(out, name, (double)replica->n_answered, NULL);
}

/* The end of a replica that only takes back. */
static void on_left(const char *waits, void *userdata)
{
    struct replica *replica = userdata;

    if (*waits)
        log_error("not everything is taken back", "waits", waits);
    replica->status |= *waits != '\0';
    if (--replica->n_leaving)
        return;
    if (!replica->status)
        log_info("NodeOverlays and NodePools are taken back");
    lease_release(replica->lease);
}

static int start_profiles(struct replica *replica, struct error *err)
{
    const enum profiles_mode mode = replica->options->profiles;

    if (mode == PROFILES_OFF)
        return 0;
    replica->n_leaving += mode == PROFILES_LEFT;
    return profiles_new(&(struct profiles_setup){.loop = &replica->loop,
                                                 .client = replica->client,
                                                 .stores = replica->stores,
                                                 .recorder = replica->recorder,
                                                 .catalog = &replica->catalog,
                                                 .is_leaving = mode == PROFILES_LEFT,
                                                 .may_write = may_write,
                                                 .on_left = on_left,
                                                 .userdata = replica,
                                                 .counters = &replica->changed},
                        &replica->profiles, err);
}

static void stop_profiles(struct replica *replica)
{
    profiles_free(TAKE_PTR(replica->profiles));
}

static void add_profiles(const struct replica *replica, struct text *out)
{
    static const char name[] = "gpuslice_controller_karpenter_writes_total";

    if (replica->options->profiles == PROFILES_OFF)
        return;
    profiles_add_metrics(replica->profiles, out);
    exposition_family(out, name, "counter", "Changes of NodeOverlays and NodePools requested.");
    exposition_sample(out, name, (double)replica->changed.written, "result", "accepted", NULL);
    exposition_sample(out, name, (double)replica->changed.failed, "result", "failed", NULL);
}

static int start_configprofiles(struct replica *replica, struct error *err)
{
    const enum profiles_mode mode = replica->options->profiles;

    if (mode == PROFILES_OFF)
        return 0;
    replica->n_leaving += mode == PROFILES_LEFT;
    return configprofiles_new(&(struct configprofiles_setup){.loop = &replica->loop,
                                                             .client = replica->client,
                                                             .stores = replica->stores,
                                                             .recorder = replica->recorder,
                                                             .namespace_ = replica->namespace_,
                                                             .grace_ms = CONFIG_GRACE_MS,
                                                             .is_leaving = mode == PROFILES_LEFT,
                                                             .may_write = may_write,
                                                             .on_left = on_left,
                                                             .userdata = replica},
                              &replica->configprofiles, err);
}

static void stop_configprofiles(struct replica *replica)
{
    configprofiles_free(TAKE_PTR(replica->configprofiles));
}

/* Not while profiles are left: that changes no node. */
static int start_nodegates(struct replica *replica, struct error *err)
{
    if (replica->options->profiles != PROFILES_KEPT)
        return 0;
    return nodegates_new(
        &(struct nodegates_setup){.loop = &replica->loop,
                                  .client = replica->client,
                                  .stores = replica->stores,
                                  .recorder = replica->recorder,
                                  .catalog = &replica->catalog,
                                  .limit_s = replica->options->node_limit_s,
                                  .replace_at_most = replica->options->replace_at_most,
                                  .may_write = may_write,
                                  .userdata = replica,
                                  .counters = &replica->gated},
        &replica->nodegates, err);
}

static void stop_nodegates(struct replica *replica)
{
    nodegates_free(TAKE_PTR(replica->nodegates));
}

static void add_nodegates(const struct replica *replica, struct text *out)
{
    static const char opened[] = "gpuslice_controller_opened_nodes_total";
    static const char replaced[] = "gpuslice_controller_replaced_nodes_total";

    if (replica->options->profiles != PROFILES_KEPT)
        return;
    nodegates_add_metrics(replica->nodegates, out);
    exposition_family(out, opened, "counter", "Nodes whose startup taint was removed.");
    exposition_sample(out, opened, (double)replica->gated.opened, NULL);
    exposition_family(
        out, replaced, "counter",
        "Nodes that never advertised what was promised, and whose NodeClaim was deleted.");
    exposition_sample(out, replaced, (double)replica->gated.replaced, NULL);
}

/* What it does while it leads. */
static const struct duty {
    int (*start)(struct replica *replica, struct error *err);
    void (*stop)(struct replica *replica); /* also if it did not start */
    void (*add_metrics)(const struct replica *replica, struct text *out); /* also while stopped;
                                                                             may be NULL */
} duties[] = {
    {start_drains, stop_drains, add_drains},
    {start_profiles, stop_profiles, add_profiles},
    {start_configprofiles, stop_configprofiles, NULL},
    {start_waiting, stop_waiting, add_waiting},
    {start_nodegates, stop_nodegates, add_nodegates},
};

static int start_duties(struct replica *replica, struct error *err)
{
    int r =
        recorder_new(&replica->loop, replica->identity, on_idle, replica, &replica->recorder, err);

    if (r < 0)
        return r;
    recorder_start(replica->recorder, replica->client);
    replica->n_leaving = 0;
    if (replica->options->profiles != PROFILES_OFF)
        r = sharedstores_new(&replica->loop, replica->client, &replica->stores, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(duties); i++)
        r = duties[i].start(replica, err);
    return r;
}

static void stop_duties(struct replica *replica)
{
    for (size_t i = ARRAY_SIZE(duties); i-- > 0;)
        duties[i].stop(replica);
    sharedstores_free(TAKE_PTR(replica->stores));
    recorder_free(TAKE_PTR(replica->recorder));
}

/* -- the Lease --------------------------------------------------------------------------------- */

static void on_acquired(void *userdata)
{
    struct replica *replica = userdata;
    struct error err = ERROR_INIT;

    log_info("this replica leads", "identity", replica->identity);
    replica->n_terms++;
    if (start_duties(replica, &err) == 0)
        return;
    log_error(error_text(&err));
    stop_duties(replica);
    lease_release(replica->lease); /* another replica may have the memory, and this one ends */
}

static void on_lost(void *userdata)
{
    struct replica *replica = userdata;

    log_warning("this replica no longer leads", "identity", replica->identity, "holder",
                lease_holder(replica->lease));
    stop_duties(replica);
}

static void on_released(void *userdata)
{
    struct replica *replica = userdata;

    uv_stop(&replica->loop);
}

/* -- /healthz, /readyz, /metrics --------------------------------------------------------------- */

static void add_metrics(const struct replica *replica, struct text *out)
{
    static const char leads[] = "gpuslice_controller_leader";
    static const char terms[] = "gpuslice_controller_terms_total";

    exposition_family(out, leads, "gauge", "1 while this replica holds the Lease and works.");
    exposition_sample(out, leads, lease_is_held(replica->lease), NULL);
    exposition_family(out, terms, "counter", "Times that this replica began to lead.");
    exposition_sample(out, terms, (double)replica->n_terms, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(duties); i++)
        if (duties[i].add_metrics)
            duties[i].add_metrics(replica, out);
}

/* A replica that waits is ready too. */
static unsigned add_readiness(const struct replica *replica, struct text *out)
{
    const char *holder = replica->lease ? lease_holder(replica->lease) : "";

    if (!replica->lease || !lease_is_reachable(replica->lease)) {
        text_add(out, "the Lease cannot be read or written, see the log\n");
        return 503;
    }
    if (lease_is_held(replica->lease))
        text_add(out, "this replica leads\n");
    else
        text_addf(out, "%s leads\n", *holder ? holder : "nobody");
    return 200;
}

static unsigned answer(enum httplink_page page, struct text *body, void *userdata)
{
    const struct replica *replica = userdata;

    switch (page) {
    case HTTPLINK_HEALTH: /* who answers lives */
        text_add(body, "ok\n");
        return 200;
    case HTTPLINK_READY:
        return add_readiness(replica, body);
    case HTTPLINK_METRICS:
        add_metrics(replica, body);
        return 200;
    }
    return 404;
}

static int serve(struct replica *replica, struct error *err)
{
    const char *folder = replica->options->channel_dir;
    char path[PATH_MAX];
    const struct httplink_options options = {.socket_path = path, .deadline_ms = PEER_DEADLINE_MS};

    if (!folder)
        return 0;
    snprintf(path, sizeof(path), "%s/" SOCKET, folder);
    return httplink_new(&replica->loop, &options, answer, replica, &replica->httplink, err);
}

/* -- the start --------------------------------------------------------------------------------- */

static int join_election(struct replica *replica, const char *namespace_, struct error *err)
{
    const unsigned duration_ms = replica->options->lease_s * 1000;

    if (!namespace_ || !*namespace_)
        return error_set(err, -EINVAL, "the namespace of the Lease is not known: set --namespace");
    snprintf(replica->namespace_, sizeof(replica->namespace_), "%s", namespace_);
    return lease_new(&replica->loop,
                     &(struct lease_setup){.client = replica->client,
                                           .namespace_ = namespace_,
                                           .name = replica->options->lease,
                                           .identity = replica->identity,
                                           .duration_s = replica->options->lease_s,
                                           /* as 15 s, 10 s and 2 s */
                                           .deadline_ms = duration_ms / 3 * 2,
                                           .retry_ms = duration_ms / 15 * 2,
                                           .on_acquired = on_acquired,
                                           .on_lost = on_lost,
                                           .on_released = on_released,
                                           .userdata = replica},
                     &replica->lease, err);
}

static int start(struct replica *replica, struct error *err)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    const struct options *options = replica->options;
    int r = kube_access_load(options->kubeconfig, &access, err);

    if (r == 0)
        r = kube_client_new(&replica->loop, &access, MANAGER, &replica->client, err);
    if (r < 0)
        return r;
    r = join_election(replica, options->namespace_ ? options->namespace_ : access.namespace, err);
    if (r < 0)
        kube_client_free(TAKE_PTR(replica->client));
    else
        log_info("gpuslice-controller " GPUSLICE_VERSION, "server", access.server, "lease",
                 options->lease, "identity", replica->identity);
    return r;
}

static void on_access(uv_timer_t *timer)
{
    struct replica *replica = timer->data;
    struct error err = ERROR_INIT;

    if (start(replica, &err) == 0)
        return;
    if (lograte_begin(&replica->access_trouble, error_text(&err), clock_now_ms()))
        log_error(error_text(&err));
    uv_timer_start(timer, on_access, backoff_next_ms(&replica->access_backoff, 0), 0);
}

/* A pod's name is unique. Of several processes on one host each has another number. */
static void make_identity(struct replica *replica)
{
    char host[64] = "";
    unsigned number = 0;

    if (replica->options->identity) {
        snprintf(replica->identity, sizeof(replica->identity), "%s", replica->options->identity);
        return;
    }
    gethostname(host, sizeof(host) - 1);
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        number = (unsigned)getpid();
    snprintf(replica->identity, sizeof(replica->identity), "%s-%08x", *host ? host : "controller",
             number);
}

/* -- life -------------------------------------------------------------------------------------- */

static void on_leave_limit(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* The Lease is given up last: until then no other replica may act. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct replica *replica = handle->data;

    log_info("ending", "signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
    stop_duties(replica);
    if (!replica->lease) {
        uv_stop(&replica->loop);
        return;
    }
    uv_timer_start(&replica->leave, on_leave_limit, LEAVE_MS, 0);
    lease_release(replica->lease);
}

static void start_handles(struct replica *replica)
{
    uv_loop_init(&replica->loop);
    uv_timer_init(&replica->loop, &replica->access);
    uv_timer_init(&replica->loop, &replica->leave);
    replica->access.data = replica->leave.data = replica;
    for (size_t i = 0; i < ARRAY_SIZE(signal_numbers); i++) {
        uv_signal_init(&replica->loop, &replica->signals[i]);
        replica->signals[i].data = replica;
        uv_signal_start(&replica->signals[i], on_signal, signal_numbers[i]);
    }
    watchdog_start(&replica->watchdog, &replica->loop, WATCHDOG_MS);
    uv_timer_start(&replica->access, on_access, 0, 0);
}

static void close_all(struct replica *replica)
{
    watchdog_stop(&replica->watchdog);
    stop_duties(replica);
    lease_free(replica->lease);
    kube_client_free(replica->client);
    httplink_free(replica->httplink);
    uv_close((uv_handle_t *)&replica->access, NULL);
    uv_close((uv_handle_t *)&replica->leave, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(signal_numbers); i++)
        uv_close((uv_handle_t *)&replica->signals[i], NULL);
    uv_run(&replica->loop, UV_RUN_DEFAULT);
    uv_loop_close(&replica->loop);
}

/* Promises are made of it; a catalog that is read while it runs would change them. */
static int load_catalog(struct replica *replica, struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r = 0;

    if (replica->options->profiles != PROFILES_OFF)
        r = catalog_load(boards_folder(), &problems, &replica->catalog);
    problems_log(&problems);
    return r < 0 ? error_set(err, r, "cannot load the catalog %s", boards_folder()) : 0;
}

int replica_run(const struct options *options)
{
    struct replica replica = {
        .options = options,
        .access_backoff = {.first_ms = ACCESS_FIRST_MS, .last_ms = ACCESS_LAST_MS},
    };
    struct error err = ERROR_INIT;
    int r;

    make_identity(&replica);
    start_handles(&replica);
    r = load_catalog(&replica, &err);
    if (r == 0)
        r = serve(&replica, &err);
    if (r == 0)
        uv_run(&replica.loop, UV_RUN_DEFAULT);
    else
        log_error(error_text(&err));
    close_all(&replica);
    catalog_deinit(&replica.catalog);
    return r < 0 ? 1 : replica.status;
}
