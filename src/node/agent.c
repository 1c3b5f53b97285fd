// SPDX-License-Identifier: Apache-2.0
#include "node/agent.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "config/load.h"
#include "gpu/mpsdaemon.h"
#include "node/channeldir.h"
#include "node/coexist.h"
#include "node/container.h"
#include "node/devicereport.h"
#include "node/driverwatch.h"
#include "node/facts.h"
#include "node/httplink.h"
#include "node/mpswatch.h"
#include "node/offerhealth.h"
#include "node/publisher.h"
#include "node/reload.h"
#include "node/renewal.h"
#include "node/status.h"
#include "node/verdict.h"
#include "plugin/cdi.h"
#include "plugin/grants.h"
#include "plugin/kubeletdir.h"
#include "proc/role.h"
#include "slice/unknown.h"

enum { TICK_MS = 60000, DRAIN_MS = 3000, MMAP_THRESHOLD = 128 << 10 };

struct agent {
    struct facts facts;
    const struct config_overrides *overrides;
    uv_loop_t loop;
    uv_signal_t signals[4];
    struct mpswatch mpswatch;
    uv_timer_t tick; /* once a minute: what inotify may have missed */
    struct driverwatch *driverwatch;
    struct kubeletdir *kubelet;
    struct nodeconfig *nodeconfig;
    struct podresources *podresources;
    struct grants *grants; /* NULL = grants are not recorded */
    struct coexist *coexist;
    struct serviceset services;
    struct publisher *publisher;
    struct httplink *httplink;    /* NULL without an address */
    struct channeldir channeldir; /* where our programs connect, unless they are children */
    struct reload reload;
    struct renewal *renewal;
    struct status status_source;
    bool lacks_driver;  /* it is not available, and never was */
    bool serves;        /* a resource is registered with the kubelet */
    bool refused_early; /* before it was known whether the node has a GPU: the event is due */
    uv_timer_t drain;   /* the end waits so long for calls that wait for the disk */
    bool draining, stopping;
    int status; /* what agent_run returns; until then, what it will when it drains */
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

    if (serviceset_stands_by(&agent->services) || !facts_is_planned(&agent->facts))
        return;
    if (!cdi_is_wanted(agent->facts.offer->config))
        cdi_remove(agent->facts.flags->cdi_dir);
    else if (cdi_write(agent->facts.flags->cdi_dir, agent->facts.offer, &err) < 0)
        log_error(error_text(&err), "hint", "containers that request CDI devices cannot start");
}

/* --- health: devices become Healthy and Unhealthy --- */

static void on_health(void *userdata)
{
    struct agent *agent = userdata;
    const struct plan *plan = agent->facts.offer ? agent->facts.offer->plan : NULL;
    cleanup_free bool *changed = plan ? calloc(plan->n_devices + 1, sizeof(*changed)) : NULL;

    if (changed && offerhealth_refresh(&agent->facts, agent->publisher, changed)) {
        serviceset_announce(&agent->services, changed);
        publisher_touch(agent->publisher);
    }
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

/* What the configuration asks for and this machine cannot offer. */
static void note_shortfall(struct agent *agent, const struct problems *problems)
{
    char shortfall[sizeof(agent->facts.shortfall)];

    problems_describe(problems, shortfall, sizeof(shortfall));
    if (*shortfall && !str_equal(shortfall, agent->facts.shortfall))
        publisher_event(agent->publisher, true, VERDICT_SHORT, shortfall, NULL, 0);
    memcpy(agent->facts.shortfall, shortfall, sizeof(shortfall));
}

static void publish_left_out(const struct agent *agent, const struct plan *plan,
                             const struct plan_device *on)
{
    char message[DEVICEREPORT_SIZE];

    devicereport_log_left_out(plan, on);
    if (on->excluded)
        return; /* somebody wants it so */
    devicereport_format_left_out(plan, on, message);
    publisher_event(agent->publisher, true, "GPULeftOut", message, NULL, 0);
}

/* MPS slices come and go with their control daemon. `waited`: the resource without one before, or
 * "". Its daemon need not have come: another configuration may no longer share it by MPS. */
static void note_mps(struct agent *agent, const char *waited)
{
    const struct plan *plan = agent->facts.offer->plan;
    const struct plan_resource *resource = plan_find_resource(plan, waited);
    char message[FACTS_MESSAGE_SIZE];

    if (str_equal(plan->waits_for_mps, waited))
        return;
    if (resource && resource->sharing == SHARING_MPS) {
        snprintf(message, sizeof(message),
                 "the MPS control daemon of %s answers, its slices are offered", waited);
        publisher_event(agent->publisher, false, "MPSDaemonAnswers", message, NULL, 0);
    }
    if (facts_waits_for_mps(&agent->facts, message, sizeof(message)))
        publisher_event(agent->publisher, true, VERDICT_MPS, message, NULL, 0);
}

/* Takes ownership of config, which may be the one in force. */
static void replan(struct agent *agent, struct config *config)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char waited[RESOURCE_NAME_SIZE] = "";
    struct offer *next;

    if (agent->facts.offer)
        memcpy(waited, agent->facts.offer->plan->waits_for_mps, sizeof(waited));
    if (*agent->facts.config_path)
        problems_set_source(&problems, agent->facts.config_path);
    policy_refresh_mps(&config->policy, config->mps_root, mpsdaemon_answers);
    if (offer_new(config, &agent->facts.machine, &problems, &next) < 0) {
        log_error("out of memory for planning; the old plan stays");
        if (!agent->facts.offer)
            agent->facts.next_config = config; /* retried with the next inventory */
        else if (config != agent->facts.offer->config)
            config_free(config);
        return;
    }
    problems_log(&problems);
    note_shortfall(agent, &problems);
    for (size_t i = 0; i < next->plan->n_devices; i++)
        if (*next->plan->devices[i].left_out)
            publish_left_out(agent, next->plan, &next->plan->devices[i]);
    offerhealth_begin(&agent->facts, agent->publisher, next);
    put_in_force(agent, next);
    mpswatch_follow(&agent->mpswatch, config);
    note_mps(agent, waited);
}

static void on_mps(void *userdata)
{
    struct agent *agent = userdata;

    replan(agent, agent->facts.offer->config);
}

/* FAIL_ON_INIT_ERROR=false keeps retrying instead. */
static void end_without_driver(struct agent *agent)
{
    const struct config *config = agent->facts.next_config;

    if (agent->lacks_driver && config && config->fail_on_init_error &&
        !renewal_is_recent(agent->renewal)) /* then the next one is due later */
        stop(agent, 1);
}

static void apply_config(struct config *config, void *userdata)
{
    struct agent *agent = userdata;
    struct error err = ERROR_INIT;

    if (driverwatch_look_below(agent->driverwatch, config, &err) < 0)
        log_error(error_text(&err));
    if (agent->facts.machine_known) {
        replan(agent, config);
        return;
    }
    config_free(agent->facts.next_config);
    agent->facts.next_config = config;
    end_without_driver(agent); /* as when the driver is missed later */
}

/* A node without a GPU reports nothing, so events wait until it is known whether it has one. */
static bool may_have_no_gpu(const struct facts *facts)
{
    return !facts->machine_known && !*facts->driver_problem;
}

static void report_early_refusal(struct agent *agent)
{
    const char *refusal = agent->facts.refusal;

    if (agent->refused_early && *refusal)
        publisher_event(agent->publisher, true, VERDICT_REFUSED, refusal, NULL, 0);
    agent->refused_early = false;
}

/* What the driver leaves unknown, on the Node as in the log. */
static void publish_unknown(const struct agent *agent)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    unknown_report(&agent->facts.machine, &problems);
    for (size_t i = 0; i < problems.n_items; i++)
        publisher_event(agent->publisher, problems.items[i].severity != PROBLEM_NOTE,
                        "GPUFactUnknown", problems.items[i].text, NULL, 0);
}

static void on_machine(void *userdata)
{
    struct agent *agent = userdata;
    struct config *config = TAKE_PTR(agent->facts.next_config);

    agent->lacks_driver = false;
    publish_unknown(agent);
    if (!config && agent->facts.offer)
        config = agent->facts.offer->config;
    if (config) /* unless still waiting for it */
        replan(agent, config);
    report_early_refusal(agent);
    publisher_touch(agent->publisher);
}

static void on_no_driver(void *userdata)
{
    struct agent *agent = userdata;

    agent->lacks_driver = true;
    report_early_refusal(agent);
    end_without_driver(agent);
}

/* --- observe: files, folders, signals --- */

static void on_config_changed(void *userdata)
{
    struct agent *agent = userdata;

    reload_now(&agent->reload);
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
static void on_other_software(const struct coexist_news *news, void *userdata)
{
    struct agent *agent = userdata;

    publisher_event(agent->publisher, news->warning, news->reason, news->sentence, NULL, 0);
    publisher_touch(agent->publisher);
}

static void on_service_state(void *userdata)
{
    struct agent *agent = userdata;
    const bool served = agent->serves;

    if (agent->stopping)
        return;
    agent->serves = serviceset_serves(&agent->services);
    if (agent->serves && !served)
        reconcile_cdi(agent);
    if (agent->serves && agent->grants)
        grants_kubelet_changed(agent->grants, NULL); /* devices that pods already hold */
    sync_foreign_plugins(agent);
    publisher_touch(agent->publisher);
    if (serviceset_is_registered(&agent->services))
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
        publisher_event(agent->publisher, true, VERDICT_GRANTS, problem, NULL, 0);
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

static void on_drained(void *userdata)
{
    stop(userdata, 0);
}

static void on_drain_timeout(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    stop(agent, agent->status);
}

/* An Allocate that fails leaves a dead pod behind: those that wait for the disk are answered first.
 */
static void leave(struct agent *agent)
{
    if (agent->draining || !agent->grants || !grants_n_waiting(agent->grants)) {
        stop(agent, 0);
        return;
    }
    agent->draining = true;
    agent->status = 0;
    log_info("waiting for the disk before the end", "allocations",
             log_number(grants_n_waiting(agent->grants)));
    uv_timer_start(&agent->drain, on_drain_timeout, DRAIN_MS, 0);
    grants_drain(agent->grants, on_drained);
}

static void on_reach(bool is_lost, void *userdata)
{
    struct agent *agent = userdata;

    renewal_fault(agent->renewal, is_lost);
}

/* Everything on the node and at the cluster stays for the agent in the next container; the event
 * gets the time of a drain to leave. */
static void on_renewal(void *userdata)
{
    static const char sentence[] =
        "no GPU can be reached from this container any more; the agent ends, so that a new one is "
        "created, at most every 10 minutes";
    struct agent *agent = userdata;
    char message[sizeof(sentence) + sizeof(agent->facts.driver_problem) + 8];

    if (agent->draining || agent->stopping)
        return;
    log_error(sentence, "reason", agent->facts.driver_problem);
    snprintf(message, sizeof(message), "%s: %s", sentence, agent->facts.driver_problem);
    publisher_event(agent->publisher, true, "ContainerOutdated", message, NULL, 0);
    agent->status = 1;
    uv_timer_start(&agent->drain, on_drain_timeout, DRAIN_MS, 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct agent *agent = handle->data;

    if (number != SIGHUP)
        leave(agent);
    else
        nodeconfig_touch(agent->nodeconfig);
}

/* --- life --- */

/* The last one that talks to our programs. */
static void free_publisher(struct agent *agent)
{
    publisher_free(TAKE_PTR(agent->publisher));
    channeldir_close(&agent->channeldir);
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
    driverwatch_free(TAKE_PTR(agent->driverwatch));
    renewal_free(TAKE_PTR(agent->renewal));
    httplink_free(TAKE_PTR(agent->httplink));
    channeldir_close_one(&agent->channeldir, CHANNELDIR_HTTP);
    channeldir_close_one(&agent->channeldir, CHANNELDIR_PROBE);
    nodeconfig_free(TAKE_PTR(agent->nodeconfig));
    grants_free(TAKE_PTR(agent->grants));
    podresources_free(TAKE_PTR(agent->podresources));
    coexist_free(TAKE_PTR(agent->coexist));
    kubeletdir_free(TAKE_PTR(agent->kubelet));
    if (status != 0 || !publisher_leave(agent->publisher, on_left))
        free_publisher(agent);
    for (size_t i = 0; i < ARRAY_SIZE(agent->signals); i++)
        uv_close((uv_handle_t *)&agent->signals[i], NULL);
    mpswatch_close(&agent->mpswatch);
    uv_close((uv_handle_t *)&agent->tick, NULL);
    uv_close((uv_handle_t *)&agent->drain, NULL);
}

static void start_handles(struct agent *agent)
{
    static const int numbers[ARRAY_SIZE(agent->signals)] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&agent->loop, &agent->signals[i]);
        agent->signals[i].data = agent;
        uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
    }
    mpswatch_init(&agent->mpswatch, &agent->loop, MPSWATCH_PERIOD_MS, on_mps, agent);
    uv_timer_init(&agent->loop, &agent->tick);
    uv_timer_init(&agent->loop, &agent->drain);
    agent->tick.data = agent->drain.data = agent;
    uv_timer_start(&agent->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_config_event(bool warning, const char *reason, const char *message, void *userdata)
{
    struct agent *agent = userdata;

    if (warning && may_have_no_gpu(&agent->facts))
        agent->refused_early = true;
    else
        publisher_event(agent->publisher, warning, reason, message, NULL, 0);
}

static int start_channeldir(struct agent *agent, struct error *err)
{
    const struct agent_flags *flags = agent->facts.flags;
    int r;

    if (!flags->channel_dir)
        return 0;
    if (flags->http_address && *flags->http_address)
        log_warning("--http-address has no effect with --channel-dir", "hint",
                    "name the address to gpuslice-http; in the chart's values: httpAddress");
    r = channeldir_open(&agent->channeldir, &agent->loop, flags->channel_dir,
                        flags->peer_deadline_ms, err);
    return r < 0 ? error_wrap(err, r, "--channel-dir") : 0;
}

static int start_renewal(struct agent *agent, struct error *err)
{
    const struct agent_flags *flags = agent->facts.flags;
    const struct renewal_setup setup = {
        .loop = &agent->loop,
        .state_dir = flags->state_dir,
        .patience_ms = container_is_around("", environ) ? flags->driver_patience_ms : 0,
        .on_due = on_renewal,
        .userdata = agent,
    };

    return renewal_new(&setup, &agent->renewal, err);
}

/* Outputs that depend on the first configuration. */
static int start_outputs(struct agent *agent, struct error *err)
{
    const struct agent_flags *flags = agent->facts.flags;
    const char *pods = flags->pod_resources_socket;
    int r = nodeconfig_new(&agent->loop, flags, on_config_changed, agent, &agent->nodeconfig, err);

    if (r == 0)
        r = start_channeldir(agent, err);
    if (r == 0)
        r = podresources_new(&agent->loop, pods ? pods : "", &agent->podresources, err);
    if (r == 0)
        r = publisher_new(&agent->loop,
                          &(struct publisher_options){
                              .facts = &agent->facts,
                              .podresources = agent->podresources,
                              .listener = agent->channeldir.listeners[CHANNELDIR_NODESYNC],
                              .on_news = on_cluster_news,
                              .userdata = agent},
                          &agent->publisher, err);
    if (r == 0)
        r = start_renewal(agent, err);
    if (r == 0)
        r = driverwatch_new(&(struct driverwatch_setup){.loop = &agent->loop,
                                                        .facts = &agent->facts,
                                                        .publisher = agent->publisher,
                                                        .on_machine = on_machine,
                                                        .on_health = on_health,
                                                        .on_no_driver = on_no_driver,
                                                        .on_reach = on_reach,
                                                        .userdata = agent},
                            &agent->driverwatch, err);
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

/* Before this node's configuration is known, flags and variables say where the driver is. */
static int look_below_flags(struct agent *agent, struct error *err)
{
    const struct config_request request = {.strictness = CONFIG_AGENT,
                                           .overrides = agent->overrides};
    struct config *config;
    int r = agent->facts.next_config ? 0 : config_load(&request, NULL, &config, err);

    if (r < 0 || agent->facts.next_config)
        return r;
    r = driverwatch_look_below(agent->driverwatch, config, err);
    config_free(config);
    return r;
}

static int start_observers(struct agent *agent, struct error *err)
{
    const struct agent_flags *flags = agent->facts.flags;
    const struct httplink_options http = {.listener = agent->channeldir.listeners[CHANNELDIR_HTTP],
                                          .probe_listener =
                                              agent->channeldir.listeners[CHANNELDIR_PROBE],
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
                                                .on_news = on_other_software,
                                                .userdata = agent},
                        &agent->coexist, err);
    if (r == 0)
        r = look_below_flags(agent, err);
    if (r == 0)
        r = driverwatch_start(agent->driverwatch, err);
    if (r == 0 && (flags->channel_dir || (flags->http_address && *flags->http_address)))
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

static int start(struct agent *agent)
{
    struct error err = ERROR_INIT;
    int r;

    start_handles(agent);
    r = start_outputs(agent, &err);
    if (r == 0) {
        reload_now(&agent->reload);
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
    return agent.status;
}
