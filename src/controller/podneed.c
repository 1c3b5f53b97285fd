// SPDX-License-Identifier: Apache-2.0
#include "controller/podneed.h"

#include <stdbool.h>

#include "base/text.h"
#include "kube/field.h"
#include "slice/name.h"

enum { COUNT_MAX = 1000000 }; /* so that sums stay in bounds */

/* -- requests ---------------------------------------------------------------------------------- */

static json_int_t request_of(const json_t *container, const char *name)
{
    const json_t *requests = json_object_get(json_object_get(container, "resources"), "requests");
    const int64_t count = kube_count(json_object_get(requests, name));

    return count < 0 ? 0 : count < COUNT_MAX ? count : COUNT_MAX;
}

static bool runs_on(const json_t *init_container)
{
    return kube_says(init_container, "restartPolicy", "Always");
}

/* As the scheduler counts: init containers run one after the other, before the others and beside
 * those that were started to run on. */
static json_int_t count(const json_t *spec, const char *name)
{
    const json_t *init = json_object_get(spec, "initContainers");
    const json_t *main = json_object_get(spec, "containers");
    json_int_t beside = 0, most = 0, sum = 0;

    for (size_t i = 0; i < json_array_size(init); i++) {
        const json_t *one = json_array_get(init, i);
        const json_int_t request = request_of(one, name);

        if (beside + request > most)
            most = beside + request;
        beside += runs_on(one) ? request : 0;
    }
    for (size_t i = 0; i < json_array_size(main); i++)
        sum += request_of(json_array_get(main, i), name);
    sum += beside;
    sum = sum > most ? sum : most;
    return sum < COUNT_MAX ? sum : COUNT_MAX;
}

static void add_names(const json_t *spec, const char *member, json_t *requests)
{
    const json_t *containers = json_object_get(spec, member);

    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *resources = json_object_get(json_array_get(containers, i), "resources");
        json_t *found = json_object_get(resources, "requests"), *value;
        const char *name;

        json_object_foreach(found, name, value)
        {
            if (str_starts_with(name, NAME_DOMAIN) && !json_object_get(requests, name) &&
                count(spec, name) > 0)
                json_object_set_new(requests, name, json_integer(count(spec, name)));
        }
    }
}

/* -- since when -------------------------------------------------------------------------------- */

/* The scheduler has tried, and no Node was fit. */
static bool is_unschedulable(const json_t *pod, int64_t *ret_since)
{
    const json_t *condition = kube_condition(pod, "PodScheduled");

    *ret_since = kube_time(condition, "lastTransitionTime");
    return kube_says(condition, "status", "False") &&
           kube_says(condition, "reason", "Unschedulable");
}

/* -- what is kept ------------------------------------------------------------------------------ */

static json_t *keep_spec(const json_t *spec)
{
    const json_t *affinity = json_object_get(spec, "affinity");

    return json_pack("{s:O*,s:O*,s:{s:O*}}", "nodeSelector", json_object_get(spec, "nodeSelector"),
                     "tolerations", json_object_get(spec, "tolerations"), "affinity",
                     "nodeAffinity", json_object_get(affinity, "nodeAffinity"));
}

json_t *podneed_reduce(const json_t *pod)
{
    const json_t *metadata = kube_metadata(pod), *spec = json_object_get(pod, "spec");
    json_t *requests = json_object();
    int64_t since;

    add_names(spec, "initContainers", requests);
    add_names(spec, "containers", requests);
    if (!json_object_size(requests) || *kube_text(spec, "nodeName") ||
        json_object_get(metadata, "deletionTimestamp") || !is_unschedulable(pod, &since)) {
        json_decref(requests);
        return json_object();
    }
    return json_pack("{s:{s:s,s:s,s:s},s:o,s:o,s:I}", "metadata", "namespace",
                     kube_text(metadata, "namespace"), "name", kube_text(metadata, "name"), "uid",
                     kube_text(metadata, "uid"), "spec", keep_spec(spec), "requests", requests,
                     "since", (json_int_t)since);
}

json_t *podneed_requests(const json_t *pod)
{
    return json_object_get(pod, "requests");
}

const char *podneed_uid(const json_t *pod)
{
    return kube_uid(pod);
}

int64_t podneed_since(const json_t *pod)
{
    return json_integer_value(json_object_get(pod, "since"));
}
