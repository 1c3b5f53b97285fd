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
#include "grant/places.h"
#include "karpenter/nodekeys.h"
#include "node/channeldir.h"
#include "node/coexist.h"
#include "node/container.h"
#include "node/driverwatch.h"
#include "node/ending.h"
#include "node/facts.h"
#include "node/memorylimits.h"
#include "node/migcontrol.h"
#include "node/mignames.h"
#include "node/mpswatch.h"
#include "node/publisher.h"
#include "node/reconciler.h"
#include "node/reload.h"
#include "node/renewal.h"
#include "node/status.h"
#include "node/verdict.h"
#include "plugin/cdi.h"
#include "plugin/formerholds.h"
#include "plugin/grants.h"
#include "plugin/kubeletdir.h"
#include "proc/httplink.h"
#include "proc/role.h"

enum { TICK_MS = 60000, MMAP_THRESHOLD = 128 << 10 };

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
    struct reconciler reconciler;
    struct mignames *mignames;
    struct memorylimits *limits;   /* NULL = memory limits are not served */
    struct migcontrol *migcontrol; /* NULL = MIG layouts are not changed */
    struct renewal *renewal;
    struct status status_source;
    bool lacks_driver;                  /* it is not available, and never was */
    char outranked[FACTS_MESSAGE_SIZE]; /* what was reported of nodeconfig_outranked */
    struct ending ending;
    bool stopping;
    int status; /* what agent_run returns */
};

static void stop(struct agent *agent, int status);

/* --- observe: configuration and machine --- */

/* FAIL_ON_INIT_ERROR=false keeps retrying instead. */
static void end_without_driver(struct agent *agent)
{
    const struct config *config = agent->facts.next_config;

    if (agent->lacks_driver && config && config->fail_on_init_error &&
        !renewal_is_recent(agent->renewal)) /* then the next one is due later */
        stop(agent, 1);
}

/* A layout that nobody makes is not ignored silently. */
static void check_layout(const struct agent *agent, const struct config *config)
{
    char message[256];

    if (!config->policy.mig_layout || agent->migcontrol)
        return;
    snprintf(message, sizeof(message),
             "the MIG layout %.100s of gpuslice.mig.layout is not made: --mig-partition (in the "
             "chart's values: mig.partition) is off",
             config->policy.mig_layout);
    log_warning(message);
    publisher_event(agent->publisher, true, VERDICT_MIG_FAILED, message, NULL, 0);
}

/* Neither are limits that nobody keeps. */
static void check_memory(const struct agent *agent, const struct config *config)
{
    static const char sentence[] =
        "gpuslice.memory asks for limits, and nobody serves them here: --arbiter-dir (in the "
        "chart's values: arbiter.mode=limits) is off";

    if (agent->facts.flags->arbiter_dir || !config->policy.memory_at.line ||
        config->policy.memory == MEMORY_NONE)
        return;
    log_warning(sentence);
    publisher_event(agent->publisher, true, VERDICT_LIMITS, sentence, NULL, 0);
}

/* Nor are turns that nobody gives. */
static void check_compute(const struct agent *agent, const struct config *config)
{
    static const char sentence[] =
        "gpuslice.compute asks for turns, and nobody gives them here: --arbiter-dir (in the "
        "chart's values: arbiter.mode=limits) is off";

    if (agent->facts.flags->arbiter_dir || config->policy.compute == COMPUTE_NONE)
        return;
    log_warning(sentence);
    publisher_event(agent->publisher, true, VERDICT_LIMITS, sentence, NULL, 0);
}

static void apply_config(struct config *config, void *userdata)
{
    struct agent *agent = userdata;
    struct error err = ERROR_INIT;

    check_layout(agent, config);
    check_memory(agent, config);
    check_compute(agent, config);
    if (driverwatch_look_below(agent->driverwatch, config, &err) < 0)
        log_error(error_text(&err));
    reconciler_take_config(&agent->reconciler, config);
    migcontrol_touch(agent->migcontrol);
    end_without_driver(agent); /* as when the driver is missed later */
}

static void on_machine(void *userdata)
{
    struct agent *agent = userdata;

    agent->lacks_driver = false;
    reconciler_machine_changed(&agent->reconciler);
    migcontrol_touch(agent->migcontrol);
    reload_report_refusal(&agent->reload);
    publisher_touch(agent->publisher);
}

static void on_health(void *userdata)
{
    struct agent *agent = userdata;

    reconciler_health_changed(&agent->reconciler);
}

static void on_withheld(void *userdata)
{
    struct agent *agent = userdata;

    reconciler_withheld_changed(&agent->reconciler);
}

static void on_partitioner_idle(void *userdata)
{
    struct agent *agent = userdata;

    if (!agent->stopping)
        reconciler_partitioned(&agent->reconciler);
}

static void look_for_ended(void *userdata)
{
    const struct agent *agent = userdata;

    if (agent->grants)
        grants_tick(agent->grants);
}

static void on_mps(void *userdata)
{
    struct agent *agent = userdata;

    reconciler_mps_changed(&agent->reconciler);
}

static void on_limits(void *userdata)
{
    struct agent *agent = userdata;

    if (!agent->stopping)
        reconciler_limits_changed(&agent->reconciler);
}

/* The arbiter sends few, see proc/arbitermessage.h. */
static void on_limits_event(const struct arbiter_event *event, void *userdata)
{
    struct agent *agent = userdata;
    const struct sync_pod pod = {(char *)(uintptr_t)event->namespace_,
                                 (char *)(uintptr_t)event->pod};

    log_info("an event of gpuslice-arbiter", "reason", event->reason, "namespace",
             event->namespace_, "pod", event->pod, "container", event->container, "message",
             event->message);
    if (*event->namespace_ && *event->pod)
        publisher_pod_event(agent->publisher, event->reason, event->message, &pod);
}

static void on_no_driver(void *userdata)
{
    struct agent *agent = userdata;

    agent->lacks_driver = true;
    reload_report_refusal(&agent->reload);
    end_without_driver(agent);
}

/* --- observe: files, folders, signals --- */

/* It is logged already. */
static void report_outranked(struct agent *agent)
{
    const char *sentence = nodeconfig_outranked(agent->nodeconfig);

    if (*sentence && !str_equal(sentence, agent->outranked))
        publisher_event(agent->publisher, true, "ProfileOutranked", sentence, NULL, 0);
    snprintf(agent->outranked, sizeof(agent->outranked), "%s", sentence);
}

static void on_config_changed(void *userdata)
{
    struct agent *agent = userdata;

    report_outranked(agent);
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

    if (!agent->stopping)
        reconciler_services_changed(&agent->reconciler);
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

static void take_node_config(struct agent *agent, const struct sync_news *news)
{
    const char *label = agent->facts.flags->node_label;
    const struct nodeconfig_node node = {
        .label = label ? sync_news_label(news, label) : NULL,
        .profile = sync_news_label(news, SLICEPROFILE_LABEL),
        .profile_config = sync_news_annotation(news, SLICEPROFILE_CONFIG),
    };

    nodeconfig_node(agent->nodeconfig, &node);
}

static void on_cluster_news(const struct sync_news *news, void *userdata)
{
    struct agent *agent = userdata;

    if (news->gone)
        return; /* a missing Node selects nothing */
    take_node_config(agent, news);
    if (nodepromise_set(&agent->facts.promise, sync_news_annotation(news, SLICEPROFILE_PROMISE),
                        sync_news_label(news, NODEPROMISE_TYPE)))
        publisher_touch(agent->publisher);
    migcontrol_news(agent->migcontrol, news);
    mignames_demand(agent->mignames, sync_news_annotation(news, MIGNAMES_ANNOTATION));
    take_node_status(agent, news);
    serviceset_node_changed(&agent->services);
}

/* --- observe: grants --- */

/* Under a name that is not planned, such as that of an earlier configuration or of another plugin:
 * a device of ours. */
static bool has_device_of_ours(const struct facts *facts, const struct grant *held)
{
    const struct offer *offer = facts->offer;

    if (!offer || plan_find_resource(offer->plan, held->resource))
        return false;
    for (size_t i = 0; i < held->n_ids; i++)
        if (formerholds_is_device(&offer->inventory, held->ids[i]))
            return true;
    return false;
}

static bool is_ours(const struct grant *held, void *userdata)
{
    const struct agent *agent = userdata;

    return serviceset_serves_resource(&agent->services, held->resource) ||
           has_device_of_ours(&agent->facts, held);
}

static void on_grants_state(void *userdata)
{
    struct agent *agent = userdata;

    if (!agent->stopping)
        reconciler_grants_changed(&agent->reconciler);
    migcontrol_touch(agent->migcontrol);
}

static void on_names_changed(const bool *devices, void *userdata)
{
    struct agent *agent = userdata;

    if (agent->stopping)
        return;
    serviceset_announce(&agent->services, devices);
    publisher_touch(agent->publisher);
}

static void on_seen(void *userdata)
{
    struct agent *agent = userdata;

    if (!agent->stopping)
        reconciler_health_changed(&agent->reconciler);
    if (agent->reconciler.formernames.n_reported)
        grants_tick(agent->grants); /* an end is waited for */
    mignames_seen(agent->mignames);
}

/* A MIG device may have been withheld until now: its UUID was another device's. */
static void on_freed(void *userdata)
{
    struct agent *agent = userdata;

    if (!agent->stopping)
        reconciler_health_changed(&agent->reconciler);
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

    if (agent->ending.is_draining || agent->stopping)
        return;
    log_error(sentence, "reason", agent->facts.driver_problem);
    snprintf(message, sizeof(message), "%s: %s", sentence, agent->facts.driver_problem);
    publisher_event(agent->publisher, true, "ContainerOutdated", message, NULL, 0);
    ending_give_up(&agent->ending, 1);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct agent *agent = handle->data;

    if (number != SIGHUP)
        ending_asked(&agent->ending);
    else
        nodeconfig_touch(agent->nodeconfig);
}

/* --- life --- */

/* The last ones that talk to our programs. */
static void free_publisher(struct agent *agent)
{
    memorylimits_free(TAKE_PTR(agent->limits));
    publisher_free(TAKE_PTR(agent->publisher));
    channeldir_close(&agent->channeldir);
}

static void on_left(bool is_uninstall, void *userdata)
{
    struct agent *agent = userdata;

    if (is_uninstall) {
        cdi_remove(agent->facts.flags->cdi_dir);
        memorylimits_release(agent->limits);
    }
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
    agent->reconciler.mignames = NULL;
    agent->facts.limits = agent->reconciler.limits = NULL;
    reconciler_deinit(&agent->reconciler);
    mignames_free(TAKE_PTR(agent->mignames));
    migcontrol_free(TAKE_PTR(agent->migcontrol));
    coexist_free(TAKE_PTR(agent->coexist));
    kubeletdir_free(TAKE_PTR(agent->kubelet));
    if (status != 0 || !publisher_leave(agent->publisher, on_left))
        free_publisher(agent);
    for (size_t i = 0; i < ARRAY_SIZE(agent->signals); i++)
        uv_close((uv_handle_t *)&agent->signals[i], NULL);
    mpswatch_close(&agent->mpswatch);
    uv_close((uv_handle_t *)&agent->tick, NULL);
    ending_close(&agent->ending);
}

static void on_end(int status, void *userdata)
{
    stop(userdata, status);
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
    agent->tick.data = agent;
    ending_init(&agent->ending, &agent->loop, on_end, agent);
    uv_timer_start(&agent->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_config_event(bool warning, const char *reason, const char *message, void *userdata)
{
    struct agent *agent = userdata;

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

static int start_mignames(struct agent *agent, struct error *err)
{
    const struct mignames_setup setup = {.loop = &agent->loop,
                                         .facts = &agent->facts,
                                         .on_changed = on_names_changed,
                                         .userdata = agent};
    int r = mignames_new(&setup, &agent->mignames);

    return r < 0 ? error_set_errno(err, r, "cannot give MIG devices two names") : 0;
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
    if (r == 0)
        r = migcontrol_new(&(struct migcontrol_setup){.loop = &agent->loop,
                                                      .facts = &agent->facts,
                                                      .publisher = agent->publisher,
                                                      .driverwatch = agent->driverwatch,
                                                      .podresources = agent->podresources,
                                                      .on_withheld = on_withheld,
                                                      .on_idle = on_partitioner_idle,
                                                      .look_for_ended = look_for_ended,
                                                      .userdata = agent},
                           &agent->migcontrol, err);
    if (r == 0)
        r = start_mignames(agent, err);
    agent->facts.nodeconfig = agent->nodeconfig;
    agent->reload = (struct reload){.facts = &agent->facts,
                                    .nodeconfig = agent->nodeconfig,
                                    .overrides = agent->overrides,
                                    .apply = apply_config,
                                    .event = on_config_event,
                                    .userdata = agent};
    agent->reconciler = (struct reconciler){.facts = &agent->facts,
                                            .services = &agent->services,
                                            .publisher = agent->publisher,
                                            .mpswatch = &agent->mpswatch,
                                            .mignames = agent->mignames};
    agent->status_source = (struct status){&agent->facts, agent->publisher};
    return r;
}

static int start_limits(struct agent *agent, struct error *err)
{
    const struct agent_flags *flags = agent->facts.flags;
    const struct memorylimits_setup setup = {
        .loop = &agent->loop,
        .arbiter_dir = flags->arbiter_dir,
        .folder = flags->grant_dir,
        .deadline_ms = flags->peer_deadline_ms,
        .on_changed = on_limits,
        .on_event = on_limits_event,
        .userdata = agent,
    };
    int r;

    if (!flags->arbiter_dir)
        return 0;
    if (!flags->grant_dir || !*flags->grant_dir)
        return error_set(err, -EINVAL,
                         "--arbiter-dir needs --grant-dir: what is not recorded has no limits");
    r = memorylimits_new(&setup, &agent->limits, err);
    agent->facts.limits = agent->reconciler.limits = agent->limits;
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
        .keeps_directories = agent->limits != NULL,
        .is_ours = is_ours,
        .on_state = on_grants_state,
        .on_stale_checkpoint = on_stale_checkpoint,
        .on_freed = on_freed,
        .on_seen = on_seen,
        .userdata = agent,
    };
    const bool keeps = flags->grant_dir && *flags->grant_dir;
    struct error why = ERROR_INIT;
    int r = keeps ? grants_new(&setup, &agent->grants, err) : 0;

    if (keeps && places_leave(flags->state_dir, flags->plugin_dir, flags->grant_dir, &why) < 0)
        log_warning("gpuslice mig apply does not see which pods have devices", "reason",
                    error_text(&why));
    agent->facts.grants = agent->ending.grants = agent->reconciler.grants = agent->grants;
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
        r = start_limits(agent, err);
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
    agent->facts.coexist = agent->reconciler.coexist = agent->coexist;
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
