// SPDX-License-Identifier: Apache-2.0
#include "node/agent.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "config/load.h"
#include "gpu/driver.h"
#include "gpu/pci.h"
#include "health/health.h"
#include "health/healthfile.h"
#include "node/coexist.h"
#include "node/devicereport.h"
#include "node/facts.h"
#include "node/httplink.h"
#include "node/liveness.h"
#include "node/machine.h"
#include "node/peer.h"
#include "node/publisher.h"
#include "node/reload.h"
#include "node/status.h"
#include "plugin/cdi.h"
#include "plugin/grants.h"
#include "plugin/kubeletdir.h"
#include "proc/listener.h"
#include "proc/role.h"

enum { TICK_MS = 60000, XID_QUIET_MS = 10000, MMAP_THRESHOLD = 128 << 10 };

struct agent {
    struct facts facts;
    const struct config_overrides *overrides;
    uv_loop_t loop;
    uv_signal_t signals[4];
    uv_timer_t tick;  /* once a minute: what inotify may have missed */
    uv_timer_t probe; /* while a GPU is unhealthy: when to probe again */
    struct driver *driver;
    struct kubeletdir *kubelet;
    struct nodeconfig *nodeconfig;
    struct podresources *podresources;
    struct grants *grants; /* NULL = no record is kept of what is given */
    struct coexist *coexist;
    struct serviceset services;
    struct publisher *publisher;
    struct httplink *httplink; /* NULL without an address */
    struct listener *listener; /* where our programs connect; NULL = they are children */
    struct reload reload;
    struct status status_source;
    struct health health;
    struct xid_filter xid_filter;
    struct lograte driver_problem;   /* of facts.driver_problem */
    struct lograte_keys logged_xids; /* a failing GPU repeats its XID many times a second */
    struct healthfile healthfile;
    int helper_pid; /* of the process that sent the last inventory */
    bool serves;    /* a resource is registered with the kubelet */
    bool stopping;
    int status; /* what agent_run returns */
};

static void stop(struct agent *agent, int status);

/* --- apply: a plan becomes services --- */

static void sync_foreign_plugins(struct agent *agent)
{
    for (size_t i = 0; i < agent->services.n; i++)
        coexist_foreign_plugin(agent->coexist, service_resource(agent->services.items[i]),
                               service_foreign_plugin(agent->services.items[i]));
    coexist_sync(agent->coexist);
}

/*
 * The runtime needs the specs before the first container, and for every container restart: they
 * outlive the agent, for restarts while it is away. What another agent wrote is replaced once we
 * serve.
 */
static void reconcile_cdi(const struct agent *agent)
{
    struct error err = ERROR_INIT;

    if (serviceset_stands_by(&agent->services))
        return;
    if (!cdi_is_wanted(agent->facts.offer->config))
        cdi_remove(agent->facts.flags->cdi_dir);
    else if (cdi_write(agent->facts.flags->cdi_dir, agent->facts.offer, &err) < 0)
        log_error(error_text(&err), "hint", "containers that request CDI devices cannot start");
}

/* --- health: devices become Healthy and Unhealthy --- */

static void arm_probe(struct agent *agent);

/* A device whose health is not known yet counts as Healthy. */
static bool is_healthy(const struct agent *agent, const struct plan_device *on)
{
    const struct health_device *device = health_find(&agent->health, on->device.uuid);

    return !device || device->healthy;
}

static void publish_health(const struct agent *agent, const struct plan *plan,
                           const struct plan_device *on, bool healthy)
{
    const struct health_device *device = health_find(&agent->health, on->device.uuid);
    const char *reason = device ? health_reason(device) : NULL;
    char message[DEVICEREPORT_SIZE];

    devicereport_log_health(plan, on, healthy, reason);
    devicereport_format(plan, on, healthy, reason ? reason : "", message);
    publisher_device_event(agent->publisher, on->device.uuid, !healthy,
                           healthy ? "GPUHealthy" : "GPUUnhealthy", message);
}

/* Updates the offer's health; `changed` (one per device) marks those that flipped. */
static bool refresh_health(struct agent *agent, bool *changed)
{
    struct offer *offer = agent->facts.offer;
    bool any = false;

    for (size_t i = 0; i < offer->plan->n_devices; i++) {
        const struct plan_device *on = &offer->plan->devices[i];
        bool healthy = is_healthy(agent, on);

        changed[i] = healthy != offer->device_healthy[i];
        if (!changed[i])
            continue;
        any = true;
        offer->device_healthy[i] = healthy;
        publish_health(agent, offer->plan, on, healthy);
    }
    return any;
}

static void announce_health(struct agent *agent)
{
    const struct plan *plan = agent->facts.offer ? agent->facts.offer->plan : NULL;
    cleanup_free bool *changed = plan ? calloc(plan->n_devices + 1, sizeof(*changed)) : NULL;

    if (changed && refresh_health(agent, changed))
        serviceset_announce(&agent->services, changed);
}

/* `outcome` is the result of one of health.h's inputs. */
static void apply_health(struct agent *agent, int outcome)
{
    if (outcome < 0)
        log_error("out of memory for the health of the GPUs");
    if (outcome == HEALTH_CHANGED) {
        announce_health(agent);
        healthfile_save(&agent->healthfile, &agent->health);
    }
    arm_probe(agent);
}

/* --- plan: configuration and machine become an offer --- */

/* Nothing is registered before it is known what pods hold. */
static void sync_services(struct agent *agent, const struct offer *before)
{
    if (agent->grants && !grants_is_ready(agent->grants))
        return;
    serviceset_sync(&agent->services, before);
    sync_foreign_plugins(agent);
    reconcile_cdi(agent);
}

static void put_in_force(struct agent *agent, struct offer *next)
{
    struct offer *before = agent->facts.offer, *dropped;

    facts_offer(&agent->facts, next, &dropped);
    next->suspended_by = agent->grants && *grants_problem(agent->grants) ? agent->grants : NULL;
    agent->services.context.offer = next;
    agent->services.context.earlier = agent->facts.earlier;
    sync_services(agent, before);
    facts_drop(&agent->facts, dropped);
    publisher_touch(agent->publisher);
}

/* Takes ownership of config, which may be the one in force. */
static void replan(struct agent *agent, struct config *config)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct offer *next;

    if (*agent->facts.config_path)
        problems_set_source(&problems, agent->facts.config_path);
    if (offer_new(config, &agent->facts.machine, &problems, &next) < 0) {
        log_error("out of memory for planning; the old plan stays");
        if (!agent->facts.offer)
            agent->facts.next_config = config; /* retried with the next inventory */
        else if (config != agent->facts.offer->config)
            config_free(config);
        return;
    }
    problems_log(&problems);
    for (size_t i = 0; i < next->plan->n_devices; i++) {
        const struct plan_device *on = &next->plan->devices[i];

        next->device_healthy[i] = is_healthy(agent, on);
        if (*on->left_out)
            devicereport_log_left_out(next->plan, on);
    }
    put_in_force(agent, next);
    arm_probe(agent);
}

static void apply_config(struct config *config, void *userdata)
{
    struct agent *agent = userdata;

    if (agent->facts.machine_known) {
        replan(agent, config);
        return;
    }
    config_free(agent->facts.next_config);
    agent->facts.next_config = config;
}

/* The machine became known or changed. */
static void replan_machine(struct agent *agent)
{
    struct config *config = TAKE_PTR(agent->facts.next_config);

    if (!config && agent->facts.offer)
        config = agent->facts.offer->config;
    if (config) /* unless still waiting for it */
        replan(agent, config);
}

/* --- observe: the driver --- */

static void on_inventory(const struct inventory *seen, void *userdata)
{
    struct agent *agent = userdata;
    bool changed, first = !agent->facts.machine_known;
    int outcome;

    agent->facts.driver_problem[0] = '\0';
    lograte_end(&agent->driver_problem);
    publisher_touch(agent->publisher);
    if (machine_update(&agent->facts.machine, seen, NULL, 0, &changed) < 0) {
        log_error("out of memory for the machine's inventory");
        return;
    }
    agent->facts.machine_known = true;
    outcome = health_inventory(&agent->health, seen, clock_now_ms());
    if (health_forget(&agent->health, &agent->facts.machine) == HEALTH_CHANGED && outcome == 0)
        outcome = HEALTH_CHANGED;
    if (agent->helper_pid != driver_pid(agent->driver))
        log_info("driver is available", "driver", seen->driver_version, "gpus",
                 log_number(seen->n_gpus));
    agent->helper_pid = driver_pid(agent->driver);
    if (first || changed || !agent->facts.offer)
        replan_machine(agent);
    apply_health(agent, outcome);
}

static void report_driver_problem(struct agent *agent, const char *message, const char *hint)
{
    const char *reason = agent->facts.driver_problem;

    publisher_touch(agent->publisher);
    if (!lograte_begin(&agent->driver_problem, reason, clock_now_ms()))
        return;
    log_error(message, "reason", reason, "hint", hint);
    publisher_event(agent->publisher, true, "DriverNotAvailable", reason, NULL, 0);
}

static void on_unavailable(const char *reason, void *userdata)
{
    struct agent *agent = userdata;
    const struct config *config = agent->facts.next_config;

    snprintf(agent->facts.driver_problem, sizeof(agent->facts.driver_problem), "%s", reason);
    if (agent->facts.machine_known) {
        report_driver_problem(agent, "the driver is not available, retrying", NULL);
        apply_health(agent, health_unavailable(&agent->health, reason, clock_now_ms()));
        return;
    }
    if (!pci_has_nvidia_gpu(NULL)) {
        log_info("this node has no NVIDIA GPU; nothing to offer");
        agent->facts.machine_known = true;
        replan_machine(agent);
        return;
    }
    report_driver_problem(agent, "the NVIDIA driver is not available",
                          "is the driver loaded, and does this container see its libraries?");
    if (config && config->fail_on_init_error)
        stop(agent, 1); /* FAIL_ON_INIT_ERROR=false keeps retrying instead */
}

static bool admits_xid(struct agent *agent, const struct gpu_event *event)
{
    char key[GPU_UUID_SIZE + 64];

    snprintf(key, sizeof(key), "%s %u %u %" PRIu64, event->uuid, event->gpu_instance,
             event->compute_instance, event->xid);
    return lograte_admit(&agent->logged_xids, key, XID_QUIET_MS, clock_now_ms());
}

static void log_xid(const struct gpu_event *event, enum xid_class class)
{
    const bool has_gi = event->gpu_instance != DEVICE_NO_INSTANCE;
    const bool has_ci = event->compute_instance != DEVICE_NO_INSTANCE;
    struct log_digits gi, ci;

    log_event(class == XID_INFORMATION || class == XID_APPLICATION ? LOG_INFO : LOG_WARNING,
              "the driver reported an XID", "gpu", *event->uuid ? event->uuid : NULL,
              "gpu_instance", has_gi ? log_number_format(&gi, event->gpu_instance) : NULL,
              "compute_instance", has_ci ? log_number_format(&ci, event->compute_instance) : NULL,
              "xid", log_number(event->xid), "class", xid_class_name(class), "meaning",
              xid_find(event->xid)->meaning, NULL);
}

static void on_event(const struct gpu_event *event, void *userdata)
{
    struct agent *agent = userdata;
    enum xid_class class = xid_filter_class(&agent->xid_filter, event->xid);

    agent->facts.counters.xids++;
    if (admits_xid(agent, event))
        log_xid(event, class);
    apply_health(agent, health_event(&agent->health, event, class, clock_now_ms()));
}

static void on_probe(const char *uuid, int outcome, const struct gpu_probe *probe,
                     const char *reason, void *userdata)
{
    struct agent *agent = userdata;
    int r = health_probe(&agent->health, uuid, outcome, probe, reason, clock_now_ms());

    apply_health(agent, r);
    if (r != HEALTH_CHANGED && !health_is_well(&agent->health, uuid))
        /* Saved even if nothing changed, for the energy counter that reveals a reset. */
        healthfile_save(&agent->healthfile, &agent->health);
}

static void on_unwatched(const char *uuid, const char *reason, void *userdata)
{
    (void)userdata;
    log_warning("GPU does not report XID events; it is only probed", "gpu", uuid, "reason", reason);
}

static void on_hang(const char *call, const char *uuid, bool stuck, void *userdata)
{
    struct agent *agent = userdata;

    agent->facts.counters.hangs += !stuck;
    snprintf(agent->facts.driver_problem, sizeof(agent->facts.driver_problem), "%s does not return",
             call);
    publisher_touch(agent->publisher);
    log_error(stuck ? "a driver call hangs in the kernel; its process cannot be killed"
                    : "a driver call does not return; its process was killed",
              "call", call, "gpu", *uuid ? uuid : NULL);
    apply_health(agent, health_hang(&agent->health, call, uuid, clock_now_ms()));
}

static void on_probe_due(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    uint64_t now_ms = clock_now_ms();
    const char *uuid;

    while ((uuid = health_take_due(&agent->health, now_ms)))
        driver_probe(agent->driver, uuid);
    arm_probe(agent);
}

static void arm_probe(struct agent *agent)
{
    uint64_t due_ms = health_next_probe_ms(&agent->health), now_ms = clock_now_ms();

    if (due_ms == UINT64_MAX || agent->stopping)
        uv_timer_stop(&agent->probe);
    else
        uv_timer_start(&agent->probe, on_probe_due, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* --- observe: files, folders, signals --- */

static void on_config_changed(void *userdata)
{
    struct agent *agent = userdata;

    if (reload_now(&agent->reload) < 0)
        stop(agent, 1);
    publisher_touch(agent->publisher);
}

static void on_kubelet_changed(const char *name, void *userdata)
{
    struct agent *agent = userdata;

    serviceset_check(&agent->services, name);
    if (agent->grants)
        grants_kubelet_changed(agent->grants, name);
}

/* Other GPU software came or went. It is logged already. */
static void on_neighbour(const struct coexist_news *news, void *userdata)
{
    struct agent *agent = userdata;

    publisher_event(agent->publisher, news->warning, news->reason, news->sentence, NULL, 0);
    publisher_touch(agent->publisher);
}

static void on_service_state(void *userdata)
{
    struct agent *agent = userdata;
    const bool served = agent->serves;
    cleanup_text struct text why = TEXT_INIT;

    if (agent->stopping)
        return;
    agent->serves = serviceset_serves(&agent->services);
    if (agent->serves && !served)
        reconcile_cdi(agent);
    if (agent->serves && agent->grants)
        grants_kubelet_changed(agent->grants, NULL); /* what pods hold from before us */
    sync_foreign_plugins(agent);
    publisher_touch(agent->publisher);
    if (agent->services.n && facts_ready(&agent->facts, &why))
        log_info("every resource is registered", "resources", log_number(agent->services.n));
}

static void take_node_status(struct agent *agent, const struct sync_news *news)
{
    int r = 0;

    nodestatus_clear(&agent->facts.nodestatus);
    for (size_t i = 0; r == 0 && i < news->n_resources; i++) {
        const struct sync_resource *resource = &news->resources[i];

        r = nodestatus_add(&agent->facts.nodestatus, resource->name, resource->capacity,
                           resource->allocatable);
    }
    if (r < 0)
        log_error("out of memory for the Node's status");
}

static void on_cluster_news(const struct sync_news *news, void *userdata)
{
    struct agent *agent = userdata;

    if (news->gone)
        return; /* a missing Node selects nothing */
    if (agent->facts.flags->node_label)
        nodeconfig_label(agent->nodeconfig, sync_news_label(news, agent->facts.flags->node_label));
    take_node_status(agent, news);
    serviceset_node_changed(&agent->services);
}

/* --- observe: grants --- */

static bool is_ours(const char *resource, void *userdata)
{
    const struct agent *agent = userdata;

    return serviceset_serves_resource(&agent->services, resource);
}

static void on_grants_state(void *userdata)
{
    struct agent *agent = userdata;
    const char *problem = grants_problem(agent->grants);
    struct offer *offer = agent->facts.offer;

    if (agent->stopping)
        return;
    if (*problem)
        publisher_event(agent->publisher, true, "GrantsNotWritable", problem, NULL, 0);
    publisher_touch(agent->publisher);
    if (!offer)
        return;
    offer->suspended_by = *problem ? agent->grants : NULL;
    if (agent->services.n)
        serviceset_announce(&agent->services, NULL);
    sync_services(agent, offer);
}

static void on_stale_checkpoint(void *userdata)
{
    struct agent *agent = userdata;

    if (agent->facts.offer && !agent->stopping)
        serviceset_announce(&agent->services, NULL);
}

static void on_tick(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    kubeletdir_check(agent->kubelet);
    if (agent->grants)
        grants_tick(agent->grants);
    nodeconfig_check(agent->nodeconfig);
    publisher_touch(agent->publisher); /* failed writes are retried */
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct agent *agent = handle->data;

    if (number != SIGHUP)
        stop(agent, 0);
    else
        nodeconfig_touch(agent->nodeconfig);
}

/* --- life --- */

/* The last of those that talk with our programs. */
static void free_publisher(struct agent *agent)
{
    publisher_free(TAKE_PTR(agent->publisher));
    listener_free(TAKE_PTR(agent->listener));
}

static void on_left(bool is_uninstall, void *userdata)
{
    struct agent *agent = userdata;

    if (is_uninstall)
        cdi_remove(agent->facts.flags->cdi_dir);
    free_publisher(agent);
}

/* The loop runs until everything is closed. */
static void stop(struct agent *agent, int status)
{
    if (agent->stopping)
        return;
    agent->stopping = true;
    agent->status = status;
    serviceset_deinit(&agent->services);
    driver_free(TAKE_PTR(agent->driver));
    httplink_free(TAKE_PTR(agent->httplink));
    nodeconfig_free(TAKE_PTR(agent->nodeconfig));
    grants_free(TAKE_PTR(agent->grants));
    podresources_free(TAKE_PTR(agent->podresources));
    coexist_free(TAKE_PTR(agent->coexist));
    kubeletdir_free(TAKE_PTR(agent->kubelet));
    if (status != 0 || !publisher_leave(agent->publisher, on_left))
        free_publisher(agent);
    for (size_t i = 0; i < ARRAY_SIZE(agent->signals); i++)
        uv_close((uv_handle_t *)&agent->signals[i], NULL);
    uv_close((uv_handle_t *)&agent->tick, NULL);
    uv_close((uv_handle_t *)&agent->probe, NULL);
}

static void start_handles(struct agent *agent)
{
    static const int numbers[ARRAY_SIZE(agent->signals)] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&agent->loop, &agent->signals[i]);
        agent->signals[i].data = agent;
        uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&agent->loop, &agent->tick);
    uv_timer_init(&agent->loop, &agent->probe);
    agent->tick.data = agent->probe.data = agent;
    uv_timer_start(&agent->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_config_event(bool warning, const char *reason, const char *message, void *userdata)
{
    struct agent *agent = userdata;

    publisher_event(agent->publisher, warning, reason, message, NULL, 0);
}

/* In a pod of several containers the folder is mounted into each of them; the kernel tells which
 * user connects. */
static int start_listener(struct agent *agent, struct error *err)
{
    const char *folder = agent->facts.flags->channel_dir;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    struct listener_options options = {
        .path = path,
        .mode = 0666,
        .users = {geteuid(), 0, ROLE_NOBODY},
        .n_users = 3,
        .channel = peer_channel_options(HTTPLINK_MAX_BODY, agent->facts.flags->peer_deadline_ms),
    };
    int r;

    if (!folder)
        return 0;
    if (snprintf(path, sizeof(path), "%s/" PEER_SOCKET, folder) >= (int)sizeof(path))
        return error_set(err, -ENAMETOOLONG, "the path of --channel-dir is too long: %s", folder);
    r = listener_new(&agent->loop, &options, &agent->listener, err);
    if (r < 0)
        return error_wrap(err, r, "--channel-dir");
    return liveness_serve(agent->listener);
}

/* Outputs that depend on the first configuration. */
static int start_outputs(struct agent *agent, struct error *err)
{
    const struct agent_flags *flags = agent->facts.flags;
    const char *pods = flags->pod_resources_socket;
    int r = nodeconfig_new(&agent->loop, flags, on_config_changed, agent, &agent->nodeconfig, err);

    if (r == 0)
        r = start_listener(agent, err);
    if (r == 0)
        r = podresources_new(&agent->loop, pods ? pods : "", &agent->podresources, err);
    if (r == 0)
        r = publisher_new(&agent->loop,
                          &(struct publisher_options){.facts = &agent->facts,
                                                      .podresources = agent->podresources,
                                                      .listener = agent->listener,
                                                      .on_news = on_cluster_news,
                                                      .userdata = agent},
                          &agent->publisher, err);
    agent->facts.nodeconfig = agent->nodeconfig;
    agent->reload = (struct reload){.facts = &agent->facts,
                                    .nodeconfig = agent->nodeconfig,
                                    .overrides = agent->overrides,
                                    .apply = apply_config,
                                    .event = on_config_event,
                                    .userdata = agent};
    agent->status_source = (struct status){&agent->facts, agent->publisher};
    return r;
}

static int start_grants(struct agent *agent, struct error *err)
{
    const struct agent_flags *flags = agent->facts.flags;
    const struct grants_setup setup = {
        .loop = &agent->loop,
        .folder = flags->grant_dir,
        .kubelet_folder = flags->plugin_dir,
        .list = podresources_list,
        .podresources = agent->podresources,
        .is_ours = is_ours,
        .on_state = on_grants_state,
        .on_stale_checkpoint = on_stale_checkpoint,
        .userdata = agent,
    };
    int r = flags->grant_dir && *flags->grant_dir ? grants_new(&setup, &agent->grants, err) : 0;

    agent->facts.grants = agent->grants;
    return r;
}

static int start_observers(struct agent *agent, struct error *err)
{
    static const struct driver_callbacks callbacks = {on_inventory, on_unavailable, on_event,
                                                      on_probe,     on_unwatched,   on_hang};
    const struct agent_flags *flags = agent->facts.flags;
    const struct driver_options options = {.deadline_ms = flags->driver_deadline_ms};
    const struct httplink_options http = {.listener = agent->listener,
                                          .address = flags->http_address,
                                          .deadline_ms = flags->peer_deadline_ms};
    int r = kubeletdir_new(&agent->loop, flags->kubelet_socket, flags->plugin_dir,
                           on_kubelet_changed, agent, &agent->kubelet, err);

    if (r == 0)
        r = start_grants(agent, err);
    if (r == 0)
        r = coexist_new(&(struct coexist_setup){.loop = &agent->loop,
                                                .podresources = agent->podresources,
                                                .own_namespace = flags->namespace_,
                                                .own_pod = flags->pod_name,
                                                .on_news = on_neighbour,
                                                .userdata = agent},
                        &agent->coexist, err);
    if (r == 0)
        r = driver_new(&agent->loop, &options, &callbacks, agent, &agent->driver, err);
    if (r == 0 && (agent->listener || (flags->http_address && *flags->http_address)))
        r = httplink_new(&agent->loop, &http, status_answer, &agent->status_source,
                         &agent->httplink, err);
    agent->facts.coexist = agent->coexist;
    agent->services.context = (struct service_context){
        .loop = &agent->loop,
        .kubelet = agent->kubelet,
        .node = &agent->facts.nodestatus,
        .grants = agent->grants,
        .on_state = on_service_state,
        .userdata = agent,
    };
    return r;
}

/* NVIDIA's DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS. */
static int read_xid_filter(struct agent *agent)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r =
        xid_filter_parse(agent->facts.flags->disable_health_checks,
                         agent->facts.flags->enable_health_checks, &problems, &agent->xid_filter);

    problems_log(&problems);
    return r;
}

static int start(struct agent *agent)
{
    struct error err = ERROR_INIT;
    int r;

    start_handles(agent);
    r = read_xid_filter(agent);
    if (r < 0)
        return r;
    healthfile_init(&agent->healthfile, agent->facts.flags->state_dir);
    healthfile_load(&agent->healthfile, &agent->health);
    r = start_outputs(agent, &err);
    if (r == 0) {
        r = reload_first(&agent->reload);
        if (r < 0)
            return r; /* already logged */
        r = start_observers(agent, &err);
    }
    if (r < 0)
        log_error(error_text(&err));
    return r;
}

int agent_run(const struct agent_flags *flags, const struct config_overrides *overrides)
{
    struct agent agent = {.facts.flags = flags, .overrides = overrides};
    int r;

    agent.facts.services = &agent.services;

    /* glibc raises this threshold after a large message and then never returns such memory. */
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    r = uv_loop_init(&agent.loop);

    if (r < 0) {
        log_error("cannot start the event loop", "reason", strerror(-r));
        return 1;
    }
    if (start(&agent) < 0)
        stop(&agent, 1);
    uv_run(&agent.loop, UV_RUN_DEFAULT);
    r = uv_loop_close(&agent.loop);
    assert(r == 0); /* an unclosed handle is a leak */
    facts_deinit(&agent.facts);
    xid_filter_deinit(&agent.xid_filter);
    health_deinit(&agent.health);
    return agent.status;
}
