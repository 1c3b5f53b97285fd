// SPDX-License-Identifier: Apache-2.0
#include "nodesync/condition.h"

#include <errno.h>

#include "kube/field.h"
#include "kube/managedfields.h"
#include "kube/object.h"
#include "nodesync/node.h"

static bool is_ours(const json_t *node)
{
    static const struct managed_field field = {
        {"f:status", "f:conditions", "k:{\"type\":\"" CONDITION_TYPE "\"}"}};

    return managedfields_applied(node, NODE_MANAGER, "status", &field) != NULL;
}

static json_t *apply_object(const json_t *node, const char *node_name, json_t *conditions)
{
    return json_pack("{s:s,s:s,s:{s:s,s:s*},s:{s:o}}", "apiVersion", "v1", "kind", "Node",
                     "metadata", "name", node_name, "uid", node_uid(node), "status", "conditions",
                     conditions);
}

int condition_plan(const json_t *node, const char *node_name, const struct sync_state *state,
                   time_t now, json_t **ret_object)
{
    const json_t *current = kube_condition(node, CONDITION_TYPE);
    const char *status = state->ready ? "True" : "False";
    const char *since;
    char time[KUBE_TIME_SIZE];

    if (!state->has_condition) {
        if (!current || !is_ours(node))
            return CONDITION_AS_WANTED;
        *ret_object = apply_object(node, node_name, json_array());
        return *ret_object ? 0 : -ENOMEM;
    }
    if (kube_says(current, "status", status) && kube_says(current, "reason", state->reason) &&
        kube_says(current, "message", state->message))
        return CONDITION_AS_WANTED;
    kube_time_format(now, time);
    since = json_string_value(json_object_get(current, "lastTransitionTime"));
    if (!since || !kube_says(current, "status", status))
        since = time;
    *ret_object =
        apply_object(node, node_name,
                     json_pack("[{s:s,s:s,s:s,s:s,s:s,s:s}]", "type", CONDITION_TYPE, "status",
                               status, "reason", state->reason, "message", state->message,
                               "lastTransitionTime", since, "lastHeartbeatTime", time));
    return *ret_object ? 0 : -ENOMEM;
}
