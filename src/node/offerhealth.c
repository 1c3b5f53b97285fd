// SPDX-License-Identifier: Apache-2.0
#include "node/offerhealth.h"

#include <stdio.h>

#include "node/devicereport.h"

/* A device whose health is not known yet counts as healthy; one whose UUID a pod got for another
 * device is not: the pod would share it with the next. */
static bool is_healthy(const struct facts *facts, const struct plan_device *on, char *ret_reason)
{
    const struct devicehealth *device =
        facts->health ? health_find(facts->health, on->device.uuid) : NULL;
    const char *resource = grants_hold_other(facts->grants, &on->device);

    *ret_reason = '\0';
    if (resource) {
        snprintf(ret_reason, HEALTH_DESCRIPTION_SIZE,
                 "a pod still holds the device that had this UUID before, as %.100s", resource);
        return false;
    }
    if (device)
        devicehealth_describe(device, ret_reason);
    return !device || device->healthy;
}

static void report(struct publisher *publisher, const struct plan *plan,
                   const struct plan_device *on, bool healthy, const char *reason)
{
    char message[DEVICEREPORT_SIZE];

    devicereport_log_health(plan, on, healthy, *reason ? reason : NULL);
    devicereport_format(plan, on, healthy, reason, message);
    publisher_device_event(publisher, on->device.uuid, !healthy,
                           healthy ? "GPUHealthy" : "GPUUnhealthy", message);
}

/* Offered by this one, and reported as Unhealthy. A MIG device of another profile is another one.
 */
static bool was_reported(const struct offer *offer, const struct device *device)
{
    for (size_t i = 0; offer && i < offer->plan->n_devices; i++) {
        const struct plan_device *on = &offer->plan->devices[i];

        if (!offer->device_healthy[i] && !*on->left_out &&
            str_equal(on->device.uuid, device->uuid) &&
            str_equal(on->device.profile, device->profile))
            return true;
    }
    return false;
}

void offerhealth_begin(const struct facts *facts, struct publisher *publisher, struct offer *next)
{
    for (size_t i = 0; i < next->plan->n_devices; i++) {
        const struct plan_device *on = &next->plan->devices[i];
        char reason[HEALTH_DESCRIPTION_SIZE];

        next->device_healthy[i] = is_healthy(facts, on, reason);
        if (!next->device_healthy[i] && !*on->left_out && !was_reported(facts->offer, &on->device))
            report(publisher, next->plan, on, false, reason);
    }
}

bool offerhealth_refresh(const struct facts *facts, struct publisher *publisher, bool *changed)
{
    struct offer *offer = facts->offer;
    bool any = false;

    for (size_t i = 0; i < offer->plan->n_devices; i++) {
        const struct plan_device *on = &offer->plan->devices[i];
        char reason[HEALTH_DESCRIPTION_SIZE];
        bool healthy = is_healthy(facts, on, reason);

        changed[i] = healthy != offer->device_healthy[i];
        if (!changed[i])
            continue;
        any = true;
        offer->device_healthy[i] = healthy;
        if (!*on->left_out)
            report(publisher, offer->plan, on, healthy, reason);
    }
    return any;
}
