// SPDX-License-Identifier: Apache-2.0
#include "node/formernames.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"
#include "plugin/formerholds.h"

/* Those of devices that are Unhealthy are reported for that, also one whose UUID a pod got for
 * another device. */
static const char *held_as(const struct offer *offer, const char **as,
                           const struct plan_resource *resource, const struct slice *slice)
{
    return offer->device_healthy[slice->device] ? as[offer_slice_place(offer, resource, slice)]
                                                : NULL;
}

/* "3 of nvidia.com/mig-1g.5gb (held as nvidia.com/gpu)", for each resource. */
static void describe(const struct offer *offer, const char **as, struct text *out)
{
    for (size_t r = 0; r < offer->plan->n_resources; r++) {
        const struct plan_resource *resource = &offer->plan->resources[r];
        const char *first = NULL;
        size_t n = 0;

        for (size_t i = 0; i < resource->n_slices; i++) {
            const char *one = held_as(offer, as, resource, &resource->slices[i]);

            first = first ? first : one;
            n += one != NULL;
        }
        if (!n)
            continue;
        text_addf(out, "%s%zu of %s (held as %s%s)", out->length ? ", " : "", n, resource->name,
                  first, str_equal(first, resource->name) ? " with other replicas" : "");
    }
}

static void report(const struct offer *offer, const char **as, struct publisher *publisher)
{
    cleanup_text struct text message = TEXT_INIT, list = TEXT_INIT;

    describe(offer, as, &list);
    text_addf(&message,
              "pods hold devices otherwise than they are offered now, so these are Unhealthy until "
              "those pods end: %s",
              text_string(&list));
    if (text_failed(&message) || text_failed(&list))
        return;
    log_info(text_string(&message));
    publisher_event(publisher, false, "DevicesHeldUnderFormerName", text_string(&message), NULL, 0);
}

/* True if the slices of any device differ from before. */
static bool mark(struct offer *offer, const char **as, bool *changed)
{
    bool any = false;

    for (size_t r = 0; r < offer->plan->n_resources; r++) {
        const struct plan_resource *resource = &offer->plan->resources[r];

        for (size_t i = 0; i < resource->n_slices; i++) {
            const size_t place = offer_slice_place(offer, resource, &resource->slices[i]);

            if (offer->is_held_former[place] == (as[place] != NULL))
                continue;
            offer->is_held_former[place] = as[place] != NULL;
            any = true;
            if (changed)
                changed[resource->slices[i].device] = true;
        }
    }
    return any;
}

static size_t count(const struct offer *offer, const char **as)
{
    size_t n_held = 0;

    for (size_t r = 0; r < offer->plan->n_resources; r++)
        for (size_t i = 0; i < offer->plan->resources[r].n_slices; i++)
            n_held += held_as(offer, as, &offer->plan->resources[r],
                              &offer->plan->resources[r].slices[i]) != NULL;
    return n_held;
}

bool formernames_refresh(struct formernames *names, const struct facts *facts,
                         struct publisher *publisher, struct offer *offer, bool *changed)
{
    const struct ledger *ledger = grants_ledger(facts->grants);
    const size_t n = ledger ? offer_count_slices(offer) : 0;
    cleanup_free const char **as = n ? calloc(n, sizeof(*as)) : NULL;
    size_t n_held;

    if (!as)
        return false;
    if (!offer->is_held_former)
        offer->is_held_former = calloc(n, sizeof(*offer->is_held_former));
    if (!offer->is_held_former || formerholds_find(offer, ledger, as) < 0)
        return false; /* Allocate looks for itself */
    n_held = count(offer, as);
    if (n_held > names->n_reported)
        report(offer, as, publisher);
    names->n_reported = n_held;
    return mark(offer, as, changed);
}
