// SPDX-License-Identifier: Apache-2.0
#include "node/facts.h"

#include <stdio.h>

#include "base/array.h"
#include "config/load.h"

/* --- the offer in force --- */

static bool has_config(const struct offer *offer, const struct config *config)
{
    return offer && offer->config == config;
}

void facts_drop(const struct facts *facts, struct offer *offer)
{
    if (!offer)
        return;
    if (!has_config(facts->offer, offer->config) && !has_config(facts->earlier, offer->config))
        config_free(offer->config);
    offer_free(offer);
}

static bool plans_equal(const struct plan *a, const struct plan *b)
{
    bool equal = a->n_resources == b->n_resources;

    for (size_t i = 0; equal && i < a->n_resources; i++)
        equal = str_equal(a->resources[i].name, b->resources[i].name) &&
                plan_resource_equal(a, &a->resources[i], b, &b->resources[i]);
    return equal;
}

void facts_offer(struct facts *facts, struct offer *next, struct offer **ret_dropped)
{
    struct offer *before = facts->offer;

    *ret_dropped = before;
    if (before && !plans_equal(before->plan, next->plan)) {
        *ret_dropped = facts->earlier;
        facts->earlier = before;
    }
    facts->offer = next;
}

void facts_deinit(struct facts *facts)
{
    facts_drop(facts, TAKE_PTR(facts->earlier));
    facts_drop(facts, TAKE_PTR(facts->offer));
    config_free(TAKE_PTR(facts->next_config));
    inventory_deinit(&facts->machine);
    nodestatus_deinit(&facts->nodestatus);
}

/* --- questions --- */

bool facts_foreign_plugin(const struct facts *facts, char *message, size_t size)
{
    for (size_t i = 0; facts->services && i < facts->services->n; i++) {
        const char *sentence =
            coexist_message(facts->coexist, service_resource(facts->services->items[i]));

        if (!sentence)
            continue;
        snprintf(message, size, "%s", sentence);
        return true;
    }
    return false;
}

static void add_unready(const struct facts *facts, const struct service *service, struct text *why)
{
    const char *sentence = coexist_message(facts->coexist, service_resource(service));

    if (sentence)
        text_addf(why, "%s\n", sentence);
    else
        text_addf(why, "%s is not registered with the kubelet\n", service_resource(service));
}

bool facts_ready(const struct facts *facts, struct text *why)
{
    const char *problem = facts->driver_problem;
    size_t before = why->length;

    if (!facts->machine_known)
        text_addf(why, "the driver has not responded yet%s%s\n", *problem ? ": " : "", problem);
    else if (!facts->offer && facts->machine.n_gpus)
        text_add(why, "there is no configuration yet\n");
    if (facts->grants && *grants_problem(facts->grants))
        text_addf(why, "%s\n", grants_problem(facts->grants));
    for (size_t i = 0; facts->services && i < facts->services->n; i++)
        if (!service_is_ready(facts->services->items[i]))
            add_unready(facts, facts->services->items[i], why);
    return why->length == before;
}
