// SPDX-License-Identifier: Apache-2.0
#include "controller/podneed.h"

#include <stdbool.h>
#include <time.h>

#include "base/text.h"
#include "controller/quantity.h"
#include "slice/name.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* -- requests ---------------------------------------------------------------------------------- */

static json_int_t request_of(const json_t *container, const char *name)
{
    const json_t *requests = json_object_get(json_object_get(container, "resources"), "requests");

    return quantity_read(json_string_value(json_object_get(requests, name)));
}

static bool runs_on(const json_t *init_container)
{
    return str_equal(text_of(init_container, "restartPolicy"), "Always");
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
    return sum < QUANTITY_MAX ? sum : QUANTITY_MAX;
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

static int64_t read_time(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    return end ? (int64_t)timegm(&tm) : 0;
}

/* The scheduler has tried, and no Node was fit. */
static bool is_unschedulable(const json_t *pod, int64_t *ret_since)
{
    const json_t *conditions = json_object_get(json_object_get(pod, "status"), "conditions");

    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *one = json_array_get(conditions, i);

        if (!str_equal(text_of(one, "type"), "PodScheduled"))
            continue;
        *ret_since = read_time(text_of(one, "lastTransitionTime"));
        return str_equal(text_of(one, "status"), "False") &&
               str_equal(text_of(one, "reason"), "Unschedulable");
    }
    return false;
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
    const json_t *metadata = json_object_get(pod, "metadata"), *spec = json_object_get(pod, "spec");
    json_t *requests = json_object();
    int64_t since;

    add_names(spec, "initContainers", requests);
    add_names(spec, "containers", requests);
    if (!json_object_size(requests) || *text_of(spec, "nodeName") ||
        json_object_get(metadata, "deletionTimestamp") || !is_unschedulable(pod, &since)) {
        json_decref(requests);
        return json_object();
    }
    return json_pack("{s:{s:s,s:s,s:s},s:o,s:o,s:I}", "metadata", "namespace",
                     text_of(metadata, "namespace"), "name", text_of(metadata, "name"), "uid",
                     text_of(metadata, "uid"), "spec", keep_spec(spec), "requests", requests,
                     "since", (json_int_t)since);
}

json_t *podneed_requests(const json_t *pod)
{
    return json_object_get(pod, "requests");
}

const char *podneed_uid(const json_t *pod)
{
    return text_of(json_object_get(pod, "metadata"), "uid");
}

int64_t podneed_since(const json_t *pod)
{
    return json_integer_value(json_object_get(pod, "since"));
}
