// SPDX-License-Identifier: Apache-2.0
#include "node/facts.h"

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
    nodepromise_deinit(&facts->promise);
}

bool facts_is_planned(const struct facts *facts)
{
    return facts->offer && (!*facts->driver_problem || facts->offer->plan->n_resources);
}

static bool any_is_held(const struct grants *grants)
{
    struct ledger_held held;
    size_t position = 0;

    return grants && grants_next_held(grants, &position, &held);
}

bool facts_is_held_back(const struct facts *facts)
{
    return (!facts->services || !facts->services->n) && nodeconfig_is_profile(facts->nodeconfig) &&
           !partitioner_is_settled(facts->partitioner) && !any_is_held(facts->grants);
}

bool facts_waits_for_mps(const struct facts *facts, char *message, size_t size)
{
    const char *resource = facts->offer ? facts->offer->plan->waits_for_mps : "";

    if (!*resource)
        return false;
    if (message)
        snprintf(
            message, size,
            "%s is not offered: this release starts no MPS control daemon, and none answers at "
            "%s/%s/pipe/control; use sharing.timeSlicing, or run NVIDIA's daemon",
            resource, facts->offer->config->mps_root, resource);
    return true;
}
