// SPDX-License-Identifier: Apache-2.0
#include "node/reconciler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "config/load.h"
#include "gpu/mpsdaemon.h"
#include "limits/mode.h"
#include "node/devicereport.h"
#include "node/offerhealth.h"
#include "node/verdict.h"
#include "plugin/absent.h"
#include "plugin/cdi.h"
#include "plugin/grants.h"
#include "slice/lint.h"
#include "slice/unknown.h"

/* --- apply: an offer becomes services --- */

static void sync_foreign_plugins(struct reconciler *reconciler)
{
    const struct serviceset *services = reconciler->services;

    for (size_t i = 0; i < services->n; i++)
        coexist_foreign_plugin(reconciler->coexist, service_resource(services->items[i]),
                               service_foreign_plugin(services->items[i]));
    coexist_sync(reconciler->coexist);
}

/*
 * The runtime needs the specs before the first container, and for every container restart: they
 * outlive the agent, for restarts while it is away. What another agent wrote is replaced once we
 * serve.
 */
static void sync_cdi(const struct reconciler *reconciler)
{
    const struct facts *facts = reconciler->facts;
    struct error err = ERROR_INIT;

    if (serviceset_stands_by(reconciler->services) || !facts_is_planned(facts))
        return;
    if (!cdi_is_wanted(facts->offer->config))
        cdi_remove(facts->flags->cdi_dir);
    else if (cdi_write(facts->flags->cdi_dir, facts->offer, &err) < 0)
        log_error(error_text(&err), "hint", "containers that request CDI devices cannot start");
}

static void sync_services(struct reconciler *reconciler, const struct offer *before)
{
    if (reconciler->grants && !grants_is_ready(reconciler->grants))
        return;
    if (facts_is_held_back(reconciler->facts))
        return;
    serviceset_sync(reconciler->services, before);
    sync_foreign_plugins(reconciler);
    sync_cdi(reconciler);
}

static void put_in_force(struct reconciler *reconciler, struct offer *next)
{
    const struct grants *grants = reconciler->grants;
    struct facts *facts = reconciler->facts;
    struct offer *before = facts->offer, *dropped;

    facts_offer(facts, next, &dropped);
    next->grants = grants;
    next->limits = memorylimits_mounts(reconciler->limits);
    next->suspended_by = grants && *grants_problem(grants) ? grants : NULL;
    reconciler->services->context.offer = next;
    reconciler->services->context.earlier = facts->earlier;
    sync_services(reconciler, before);
    facts_drop(facts, dropped);
    publisher_touch(reconciler->publisher);
}

/* --- report: what is asked for and not offered --- */

/* What the configuration asks for and this machine cannot offer. */
static void report_shortfall(struct reconciler *reconciler, const struct problems *problems)
{
    struct facts *facts = reconciler->facts;
    char shortfall[sizeof(facts->shortfall)];

    problems_describe(problems, shortfall, sizeof(shortfall));
    if (*shortfall && !str_equal(shortfall, facts->shortfall))
        publisher_event(reconciler->publisher, true, VERDICT_SHORT, shortfall, NULL, 0);
    memcpy(facts->shortfall, shortfall, sizeof(shortfall));
}

/* Somebody wants it so: it is excluded, or its layout leaves it without MIG devices, or it has none
 * yet. */
static bool is_meant(const struct reconciler *reconciler, const struct plan *plan,
                     const struct plan_device *on)
{
    const struct gpu *gpu = plan_gpu(plan, on);

    return on->excluded || (on->device.kind == DEVICE_WHOLE && gpu->mig_enabled &&
                            partitioner_is_wanted_of(reconciler->facts->partitioner, gpu->uuid));
}

enum { LEFT_OUT_START_SIZE = DEVICE_NAME_SIZE + GPU_UUID_SIZE + 4 };

/* The line of a device in what was reported last; NULL = there is none. */
static const char *find_left_out(const struct reconciler *reconciler, const struct plan *plan,
                                 const struct plan_device *on, char ret_start[LEFT_OUT_START_SIZE])
{
    char name[DEVICE_NAME_SIZE];

    snprintf(ret_start, LEFT_OUT_START_SIZE, "\n%s %s ", plan_device_name(plan, on, name),
             on->device.uuid);
    return reconciler->left_out ? strstr(reconciler->left_out, ret_start) : NULL;
}

/* What is to be reported of the devices of a plan. */
struct left_out {
    bool *meant; /* see is_meant: no event */
    bool *fresh; /* not reported yet */
};

static void left_out_deinit(struct left_out *out)
{
    free(out->meant);
    free(out->fresh);
}

/* True for the first of those that are new and left out for one reason. */
static bool has_event(const struct plan *plan, const struct left_out *out, size_t i)
{
    if (out->meant[i])
        return false;
    for (size_t k = 0; k < i; k++)
        if (out->fresh[k] && !out->meant[k] &&
            str_equal(plan->devices[k].left_out, plan->devices[i].left_out))
            return false;
    return true;
}

static void announce_left_out(const struct reconciler *reconciler, const struct plan *plan,
                              const struct left_out *out)
{
    char message[DEVICEREPORT_SIZE];

    for (size_t i = 0; i < plan->n_devices; i++) {
        if (!out->fresh[i])
            continue;
        devicereport_log_left_out(plan, &plan->devices[i]);
        if (!has_event(plan, out, i))
            continue;
        devicereport_format_left_out(plan, &plan->devices[i], out->meant, message);
        publisher_event(reconciler->publisher, true, "GPULeftOut", message, NULL, 0);
    }
}

/* Notes it in `reported`. True: it is left out, and was not for that reason. */
static bool note_left_out(const struct reconciler *reconciler, const struct plan *plan,
                          const struct plan_device *on, bool is_meant, struct text *reported)
{
    char start[LEFT_OUT_START_SIZE], line[LEFT_OUT_START_SIZE + sizeof(on->left_out) + 8];
    const char *before = find_left_out(reconciler, plan, on, start);

    if (on->device.is_withheld) { /* the partitioner reports that; it may be so again after */
        if (before)
            text_addf(reported, "%.*s\n", (int)strcspn(before + 1, "\n") + 1, before);
        return false;
    }
    if (!*on->left_out || on->waits_for_mps)
        return false; /* a problem of the plan and the event of note_mps name the resource */
    snprintf(line, sizeof(line), "%s%s%s\n", start, is_meant ? "meant: " : "", on->left_out);
    text_add(reported, line);
    return !before || strncmp(before, line, strlen(line)) != 0;
}

/* Each once, as long as it is left out for that reason: whatever changes, all is planned again. */
static void report_left_out(struct reconciler *reconciler, const struct plan *plan)
{
    cleanup(left_out_deinit) struct left_out out = {
        .meant = calloc(plan->n_devices + 1, sizeof(*out.meant)),
        .fresh = calloc(plan->n_devices + 1, sizeof(*out.fresh)),
    };
    cleanup_text struct text reported = TEXT_INIT;

    if (!out.meant || !out.fresh)
        return; /* it is reported when all is planned again */
    for (size_t i = 0; i < plan->n_devices; i++) {
        const struct plan_device *on = &plan->devices[i];

        out.meant[i] = is_meant(reconciler, plan, on);
        out.fresh[i] = note_left_out(reconciler, plan, on, out.meant[i], &reported);
    }
    announce_left_out(reconciler, plan, &out);
    free(reconciler->left_out);
    reconciler->left_out = text_take(&reported);
}

/* MPS slices come and go with their control daemon. `waited`: the resource without one before, or
 * "". Its daemon need not have come: another configuration may no longer share it by MPS. */
static void report_mps(struct reconciler *reconciler, const char *waited)
{
    const struct plan *plan = reconciler->facts->offer->plan;
    const struct plan_resource *resource = plan_find_resource(plan, waited);
    char message[FACTS_MESSAGE_SIZE];

    if (str_equal(plan->waits_for_mps, waited))
        return;
    if (resource && resource->sharing == SHARING_MPS) {
        snprintf(message, sizeof(message),
                 "the MPS control daemon of %s answers, its slices are offered", waited);
        publisher_event(reconciler->publisher, false, "MPSDaemonAnswers", message, NULL, 0);
    }
    if (facts_waits_for_mps(reconciler->facts, message, sizeof(message)))
        publisher_event(reconciler->publisher, true, VERDICT_MPS, message, NULL, 0);
}

/* What the driver leaves unknown, on the Node as in the log. */
static void report_unknown(const struct reconciler *reconciler)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    unknown_report(&reconciler->facts->machine, &problems);
    for (size_t i = 0; i < problems.n_items; i++)
        publisher_event(reconciler->publisher, problems.items[i].severity != PROBLEM_NOTE,
                        "GPUFactUnknown", problems.items[i].text, NULL, 0);
}

/* True if this was not reported the last time. */
static bool note_news(struct reconciler *reconciler, const struct problems *problems)
{
    cleanup_text struct text text = TEXT_INIT;
    char about_mig[sizeof(reconciler->about_mig)];

    for (size_t i = 0; i < problems->n_items; i++)
        text_addf(&text, "%s\n", problems->items[i].text);
    snprintf(about_mig, sizeof(about_mig), "%s", text_string(&text));
    if (str_equal(about_mig, reconciler->about_mig))
        return false;
    memcpy(reconciler->about_mig, about_mig, sizeof(about_mig));
    return true;
}

/* Of a configuration that may not be in force yet. */
static bool wants_layout(const struct reconciler *reconciler, const struct config *config)
{
    const struct partitioner *partitioner = reconciler->facts->partitioner;

    return partitioner && (config->policy.mig_layout || partitioner_is_wanted(partitioner));
}

/* What the configuration says of MIG, and the machine makes of it. Not a fault: one configuration
 * is for many nodes. Where a layout is wanted the partitioner reports what becomes of it, but not
 * under which name. */
static void report_mig(struct reconciler *reconciler, const struct config *config,
                       const struct plan *plan)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    if (!wants_layout(reconciler, config))
        lint_models(&config->policy, &reconciler->facts->machine, &problems);
    lint_names(&config->policy, plan, &problems);
    if (!note_news(reconciler, &problems))
        return;
    for (size_t i = 0; i < problems.n_items; i++) {
        log_info(problems.items[i].text);
        publisher_event(reconciler->publisher, false, "MIGStrategy", problems.items[i].text, NULL,
                        0);
    }
}

/* --- what pods hold, and does not exist --- */

static void report_absent(const struct reconciler *reconciler, const struct absent *absent)
{
    const char *end = strstr(absent->id, "::");
    char message[FACTS_MESSAGE_SIZE], uuid[GPU_UUID_SIZE];

    snprintf(uuid, sizeof(uuid), "%.*s", end ? (int)(end - absent->id) : (int)strlen(absent->id),
             absent->id);
    snprintf(message, sizeof(message),
             "a pod holds MIG device %s as %s, and it does not exist: it stays Unhealthy, and the "
             "pod cannot start again before it is back",
             uuid, absent->resource);
    log_warning(message);
    publisher_device_event(reconciler->publisher, uuid, true, "GPUUnhealthy", message);
}

/* True if there are more or fewer of them. Reported when there are more: those of before too, whose
 * events are counted together. */
static bool count_absent(struct reconciler *reconciler)
{
    const struct offer *offer = reconciler->facts->offer;
    size_t n = 0, position = 0;
    struct absent absent;

    while (absent_next(offer, NULL, &position, &absent))
        n++;
    position = 0;
    while (n > reconciler->n_absent && absent_next(offer, NULL, &position, &absent))
        report_absent(reconciler, &absent);
    if (n == reconciler->n_absent)
        return false;
    reconciler->n_absent = n;
    return true;
}

/* --- memory limits --- */

/* In the words of the configuration, or of the agent's options where it has none. */
static enum limits_mode memory_mode(const struct facts *facts, const struct config *config)
{
    static const enum limits_mode modes[] = {
        [MEMORY_NONE] = LIMITS_NONE,
        [MEMORY_OBSERVE] = LIMITS_OBSERVE,
        [MEMORY_ENFORCED] = LIMITS_ENFORCED,
    };
    const char *word = facts->flags->default_memory;
    enum limits_mode mode;

    if (!config->policy.memory_at.line && word && limits_parse_mode(word, &mode))
        return mode;
    return modes[config->policy.memory];
}

static enum limits_compute compute_mode(const struct facts *facts, const struct config *config)
{
    static const enum limits_compute modes[] = {
        [COMPUTE_NONE] = LIMITS_COMPUTE_NONE,
        [COMPUTE_OBSERVE] = LIMITS_COMPUTE_OBSERVE,
        [COMPUTE_ELASTIC] = LIMITS_COMPUTE_ELASTIC,
        [COMPUTE_STRICT] = LIMITS_COMPUTE_STRICT,
    };
    const char *word = facts->flags->default_compute;
    enum limits_compute compute;

    if (!config->policy.compute_at.line && word && limits_parse_compute(word, &compute))
        return compute;
    return modes[config->policy.compute];
}

static void wish_limits(struct reconciler *reconciler, const struct config *config)
{
    struct arbiter_wish wish = {.overcommits = config->policy.overcommits};

    if (!reconciler->limits)
        return;
    wish.mode = memory_mode(reconciler->facts, config);
    wish.compute = compute_mode(reconciler->facts, config);
    memorylimits_wish(reconciler->limits, &wish);
    if (reconciler->grants)
        grants_set_mode(reconciler->grants, limits_mode_name(wish.mode));
}

static void report_limits(struct reconciler *reconciler)
{
    const char *problem = memorylimits_problem(reconciler->limits);
    char message[FACTS_MESSAGE_SIZE];

    if (!problem) {
        publisher_event(reconciler->publisher, false, "MemoryLimitsEnforced",
                        "memory limits are enforced, all slices are offered", NULL, 0);
        return;
    }
    snprintf(message, sizeof(message), "slices that no pod holds are Unhealthy: %s", problem);
    publisher_event(reconciler->publisher, true, VERDICT_LIMITS, message, NULL, 0);
}

void reconciler_limits_changed(struct reconciler *reconciler)
{
    const bool withholds = memorylimits_problem(reconciler->limits) != NULL;
    const struct offer *offer = reconciler->facts->offer;

    publisher_touch(reconciler->publisher);
    if (!offer || withholds == reconciler->withholds || !offer_has_limits(offer, NULL))
        return;
    reconciler->withholds = withholds;
    report_limits(reconciler);
    if (reconciler->services->n)
        serviceset_announce(reconciler->services, NULL);
}

/* --- plan: configuration and machine become an offer --- */

/* Takes ownership of config. */
static void keep_for_later(struct facts *facts, struct config *config)
{
    log_error("out of memory for planning; the old plan stays");
    if (!facts->offer)
        facts->next_config = config; /* retried with the next inventory */
    else if (config != facts->offer->config)
        config_free(config);
}

/* Of the machine without what is withheld because it is being partitioned. */
static int offer_of(const struct facts *facts, struct config *config, struct problems *problems,
                    struct offer **ret_offer)
{
    struct inventory masked;
    int r = inventory_copy(&masked, &facts->machine);

    if (r < 0)
        return r;
    partitioner_mask(facts->partitioner, &masked);
    r = offer_new(config, &masked, problems, ret_offer);
    inventory_deinit(&masked);
    return r;
}

/* Takes ownership of config, which may be the one in force. */
static void plan(struct reconciler *reconciler, struct config *config)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct facts *facts = reconciler->facts;
    char waited[RESOURCE_NAME_SIZE] = "";
    struct offer *next;

    if (facts->offer)
        memcpy(waited, facts->offer->plan->waits_for_mps, sizeof(waited));
    if (*facts->config_path)
        problems_set_source(&problems, facts->config_path);
    policy_refresh_mps(&config->policy, config->mps_root, mpsdaemon_answers);
    if (offer_of(facts, config, &problems, &next) < 0) {
        keep_for_later(facts, config);
        return;
    }
    problems_log(&problems);
    report_mig(reconciler, config, next->plan);
    report_shortfall(reconciler, &problems);
    report_left_out(reconciler, next->plan);
    wish_limits(reconciler, config);
    offerhealth_begin(facts, reconciler->publisher, next);
    mignames_begin(reconciler->mignames, next);
    formernames_refresh(&reconciler->formernames, facts, reconciler->publisher, next, NULL);
    put_in_force(reconciler, next);
    reconciler_limits_changed(reconciler);
    count_absent(reconciler);
    mignames_touch(reconciler->mignames);
    mpswatch_follow(reconciler->mpswatch, config);
    report_mps(reconciler, waited);
}

/* --- what changed --- */

void reconciler_deinit(struct reconciler *reconciler)
{
    free(TAKE_PTR(reconciler->left_out));
}

void reconciler_take_config(struct reconciler *reconciler, struct config *config)
{
    struct facts *facts = reconciler->facts;

    if (facts->machine_known) {
        plan(reconciler, config);
        return;
    }
    config_free(facts->next_config);
    facts->next_config = config;
}

void reconciler_machine_changed(struct reconciler *reconciler)
{
    struct facts *facts = reconciler->facts;
    struct config *config = TAKE_PTR(facts->next_config);

    report_unknown(reconciler);
    if (!config && facts->offer)
        config = facts->offer->config;
    if (config) /* unless still waiting for it */
        plan(reconciler, config);
}

void reconciler_withheld_changed(struct reconciler *reconciler)
{
    if (reconciler->facts->offer)
        plan(reconciler, reconciler->facts->offer->config);
}

void reconciler_partitioned(struct reconciler *reconciler)
{
    const struct serviceset *services = reconciler->services;

    if (!reconciler->facts->offer || services->n)
        return;
    sync_services(reconciler, reconciler->facts->offer);
    publisher_touch(reconciler->publisher);
}

void reconciler_mps_changed(struct reconciler *reconciler)
{
    plan(reconciler, reconciler->facts->offer->config);
}

void reconciler_health_changed(struct reconciler *reconciler)
{
    const struct facts *facts = reconciler->facts;
    cleanup_free bool *changed =
        facts->offer ? calloc(facts->offer->plan->n_devices + 1, sizeof(*changed)) : NULL;
    bool any = changed && offerhealth_refresh(facts, reconciler->publisher, changed);

    if (changed)
        any |= formernames_refresh(&reconciler->formernames, facts, reconciler->publisher,
                                   facts->offer, changed);
    if (any) {
        serviceset_announce(reconciler->services, changed);
        publisher_touch(reconciler->publisher);
    }
    mignames_touch(reconciler->mignames);
    if (facts->offer && count_absent(reconciler)) {
        serviceset_announce(reconciler->services, NULL);
        sync_services(reconciler, facts->offer);
    }
}

void reconciler_grants_changed(struct reconciler *reconciler)
{
    const char *problem = grants_problem(reconciler->grants);
    struct offer *offer = reconciler->facts->offer;

    if (*problem)
        publisher_event(reconciler->publisher, true, VERDICT_GRANTS, problem, NULL, 0);
    publisher_touch(reconciler->publisher);
    if (!offer)
        return;
    offer->suspended_by = *problem ? reconciler->grants : NULL;
    reconciler_health_changed(reconciler); /* the grants may just have been read */
    if (reconciler->services->n)
        serviceset_announce(reconciler->services, NULL);
    sync_services(reconciler, offer);
}

void reconciler_services_changed(struct reconciler *reconciler)
{
    const struct serviceset *services = reconciler->services;
    const bool served = reconciler->serves;

    reconciler->serves = serviceset_serves(services);
    if (reconciler->serves && !served)
        sync_cdi(reconciler);
    if (reconciler->serves && reconciler->grants)
        grants_kubelet_changed(reconciler->grants, NULL); /* devices that pods already hold */
    sync_foreign_plugins(reconciler);
    publisher_touch(reconciler->publisher);
    if (serviceset_is_registered(services))
        log_info("every resource is registered", "resources", log_number(services->n));
}
