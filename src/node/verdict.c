// SPDX-License-Identifier: Apache-2.0
#include "node/verdict.h"

#include <stdio.h>

#include "base/array.h"

enum { UNHEALTHY_LISTED_MAX = 4 };

static void set(struct verdict *verdict, enum verdict_state state, const char *reason,
                const char *message)
{
    verdict->state = state;
    verdict->reason = reason;
    snprintf(verdict->message, sizeof(verdict->message), "%s", message);
}

static bool is_not_ours(const struct facts *facts, struct verdict *verdict)
{
    if (!*facts->unserved)
        return false;
    set(verdict, VERDICT_NOT_OURS, "NoGPUsToServe", facts->unserved);
    return true;
}

static bool has_no_gpu(const struct facts *facts, struct verdict *verdict)
{
    if (!facts->machine_known || facts->machine.n_gpus)
        return false;
    set(verdict, VERDICT_NO_GPU, "NoGPU", "this node has no NVIDIA GPU");
    return true;
}

static bool has_driver_problem(const struct facts *facts, struct verdict *verdict)
{
    if (!*facts->driver_problem)
        return false;
    set(verdict, VERDICT_NOT_READY, VERDICT_DRIVER, facts->driver_problem);
    return true;
}

static bool is_unknown(const struct facts *facts, struct verdict *verdict)
{
    if (facts->machine_known)
        return false;
    set(verdict, VERDICT_STARTING, "Starting", "the driver has not responded yet");
    return true;
}

static bool has_grants_problem(const struct facts *facts, struct verdict *verdict)
{
    if (!facts->grants || !*grants_problem(facts->grants))
        return false;
    set(verdict, VERDICT_NOT_READY, VERDICT_GRANTS, grants_problem(facts->grants));
    return true;
}

static const char *foreign_plugin(const struct facts *facts)
{
    const char *sentence = NULL;

    for (size_t i = 0; !sentence && facts->services && i < facts->services->n; i++)
        sentence = coexist_message(facts->coexist, service_resource(facts->services->items[i]));
    return sentence;
}

static bool has_foreign_plugin(const struct facts *facts, struct verdict *verdict)
{
    const char *sentence = foreign_plugin(facts);

    if (!sentence)
        return false;
    set(verdict, VERDICT_NOT_READY, COEXIST_FOREIGN, sentence);
    return true;
}

static bool is_refused(const struct facts *facts, struct verdict *verdict)
{
    if (!*facts->refusal)
        return false;
    set(verdict, VERDICT_NOT_READY, VERDICT_REFUSED, facts->refusal);
    return true;
}

static bool has_no_config(const struct facts *facts, struct verdict *verdict)
{
    if (facts->offer)
        return false;
    if (nodeconfig_is_missing(facts->nodeconfig))
        set(verdict, VERDICT_NOT_READY, "ConfigurationMissing",
            *nodeconfig_problem(facts->nodeconfig) ? nodeconfig_problem(facts->nodeconfig)
                                                   : "there is no configuration yet for this node");
    else
        set(verdict, VERDICT_STARTING, "Starting", "there is no configuration yet for this node");
    return true;
}

static bool is_held_back(const struct facts *facts, struct verdict *verdict)
{
    if (!facts_is_held_back(facts))
        return false;
    set(verdict, VERDICT_NOT_READY, VERDICT_MIG_PENDING, partitioner_message(facts->partitioner));
    return true;
}

static bool is_settling(const struct facts *facts, struct verdict *verdict)
{
    cleanup_text struct text unready = TEXT_INIT;

    for (size_t i = 0; i < facts->services->n; i++)
        if (!service_is_ready(facts->services->items[i]))
            text_addf(&unready, "%s%s", unready.length ? ", " : "not registered with the kubelet: ",
                      service_resource(facts->services->items[i]));
    if (!unready.length)
        return false;
    set(verdict, VERDICT_SETTLING, "ResourcesNotRegistered", text_string(&unready));
    return true;
}

static void add_unhealthy(const struct facts *facts, const struct plan_device *on, struct text *out)
{
    const struct devicehealth *device =
        facts->health ? health_find(facts->health, on->device.uuid) : NULL;
    char name[DEVICE_NAME_SIZE], reason[HEALTH_DESCRIPTION_SIZE] = "";

    if (device)
        devicehealth_describe(device, reason);
    text_addf(out, "; %s is Unhealthy%s%s", plan_device_name(facts->offer->plan, on, name),
              *reason ? ": " : "", reason);
}

/* Resources are registered, but with fewer slices that can be given out. */
static void list_unhealthy(const struct facts *facts, struct text *out)
{
    const struct offer *offer = facts->offer;
    size_t n = 0;

    for (size_t i = 0; i < offer->plan->n_devices; i++)
        if (!offer->device_healthy[i] && !*offer->plan->devices[i].left_out &&
            ++n <= UNHEALTHY_LISTED_MAX)
            add_unhealthy(facts, &offer->plan->devices[i], out);
    if (n > UNHEALTHY_LISTED_MAX)
        text_addf(out, "; %zu more are Unhealthy", n - UNHEALTHY_LISTED_MAX);
}

/* Where slices have them. */
static void add_limits(const struct facts *facts, struct text *out)
{
    if (!facts->limits || !offer_has_limits(facts->offer, NULL))
        return;
    text_add(out, "; ");
    memorylimits_describe(facts->limits, &facts->machine, out);
}

/* Whatever can be offered is registered. */
static void set_ready(const struct facts *facts, struct verdict *verdict, const char *reason,
                      const char *message)
{
    cleanup_text struct text text = TEXT_INIT;

    text_add(&text, message);
    list_unhealthy(facts, &text);
    add_limits(facts, &text);
    set(verdict, VERDICT_READY, reason, text_string(&text));
}

/* The arbiter of a fresh node comes a moment after us. */
static bool withholds_slices(const struct facts *facts, struct verdict *verdict)
{
    const char *problem = memorylimits_problem(facts->limits);
    char message[sizeof(verdict->message)];

    if (!problem || !offer_has_limits(facts->offer, NULL))
        return false;
    snprintf(message, sizeof(message),
             "slices that no pod holds are Unhealthy, because memory limits are to be enforced: %s",
             problem);
    set(verdict, VERDICT_SETTLING, VERDICT_LIMITS, message);
    return true;
}

static bool waits_for_mps(const struct facts *facts, struct verdict *verdict)
{
    char message[FACTS_MESSAGE_SIZE];

    if (!facts_waits_for_mps(facts, message, sizeof(message)))
        return false;
    set(verdict, VERDICT_NOT_READY, VERDICT_MPS, message);
    return true;
}

/* What is not being partitioned is offered all the same. */
static bool lacks_layout(const struct facts *facts, struct verdict *verdict)
{
    const enum migreport_state state = partitioner_state(facts->partitioner);

    if (state < MIGREPORT_PENDING)
        return false;
    set_ready(facts, verdict, state == MIGREPORT_FAILED ? VERDICT_MIG_FAILED : VERDICT_MIG_PENDING,
              partitioner_message(facts->partitioner));
    return true;
}

static bool is_short(const struct facts *facts, struct verdict *verdict)
{
    if (!*facts->shortfall)
        return false;
    set_ready(facts, verdict, VERDICT_SHORT, facts->shortfall);
    return true;
}

static void be_ready(const struct facts *facts, struct verdict *verdict)
{
    const size_t n = facts->services->n;
    char message[80];

    snprintf(message, sizeof(message), "%zu resource%s %s registered with the kubelet", n,
             n == 1 ? "" : "s", n == 1 ? "is" : "are");
    set_ready(facts, verdict, "AllResourcesRegistered",
              n ? message : "the configuration offers none of this node's GPUs");
}

/* The most severe first. */
static bool (*const checks[])(const struct facts *, struct verdict *) = {
    is_not_ours,        has_no_gpu,    has_driver_problem, is_unknown,   has_grants_problem,
    has_foreign_plugin, is_refused,    has_no_config,      is_held_back, is_settling,
    withholds_slices,   waits_for_mps, lacks_layout,       is_short,
};

void verdict_make(const struct facts *facts, struct verdict *ret_verdict)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        if (checks[i](facts, ret_verdict))
            return;
    be_ready(facts, ret_verdict);
}

bool verdict_is_ready(const struct verdict *verdict)
{
    return verdict->state == VERDICT_READY || verdict->state == VERDICT_NO_GPU ||
           verdict->state == VERDICT_NOT_OURS;
}

static void explain_service(const struct facts *facts, const struct service *service,
                            struct text *out)
{
    const char *sentence = coexist_message(facts->coexist, service_resource(service));

    if (sentence)
        text_addf(out, "%s\n", sentence);
    else if (!service_is_ready(service))
        text_addf(out, "%s is not registered with the kubelet\n", service_resource(service));
}

void verdict_explain(const struct verdict *verdict, const struct facts *facts, struct text *out)
{
    if (verdict_is_ready(verdict))
        return;
    if (verdict->state != VERDICT_SETTLING && !str_equal(verdict->reason, COEXIST_FOREIGN))
        text_addf(out, "%s\n", verdict->message);
    for (size_t i = 0; facts->services && i < facts->services->n; i++)
        explain_service(facts, facts->services->items[i], out);
}
