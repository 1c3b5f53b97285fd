// SPDX-License-Identifier: Apache-2.0

/* A pod, and after a line a Node, as anybody may create them. */

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "controller/nameadvice.h"
#include "controller/namenode.h"
#include "controller/nameshare.h"
#include "controller/podneed.h"
#include "kube/field.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void advise(const json_t *pod, const json_t *node)
{
    cleanup_text struct text text = TEXT_INIT;
    int64_t from;
    const char *resource = nameadvice_resource(pod, &from);

    if (!resource || nameadvice_judge(pod, resource, node) != NAMEADVICE_OTHER)
        return;
    nameadvice_write(resource, node, &text);
    assert(text.length > 0);
}

/* The demand is what the agent can read, and no more than what it says is free. */
static void share(const json_t *pod, const json_t *node)
{
    const json_t *pods[] = {pod}, *const nodes[] = {node};
    struct namedemand demand = {.n_items = 0}, pool = {.n_items = 0};
    json_t *wanted = NULL, *places = NULL;
    const char *text;
    int r = nameshare_plan(&(struct nameshare){.pods = pods,
                                               .n_pods = json_object_size(pod) > 0,
                                               .nodes = nodes,
                                               .n_nodes = json_object_size(node) > 0},
                           &wanted, &places);

    assert(r == 0);
    text = json_string_value(json_object_get(wanted, kube_name(node)));
    if (text) {
        assert(namedemand_parse(text, &demand, NULL) == 0 && namenode_pool(node, &pool));
        for (size_t i = 0; i < demand.n_items; i++)
            assert(demand.items[i].count <= pool.items[0].count ||
                   demand.items[i].count <= pool.items[pool.n_items - 1].count || pool.n_items > 2);
    }
    json_decref(wanted);
    json_decref(places);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = strndup((const char *)data, size);
    char *rest = strchr(text, '\n');
    json_t *pod, *node, *need, *kept;

    if (!rest)
        return 0;
    *rest++ = '\0';
    pod = json_loads(text, 0, NULL);
    node = json_loads(rest, 0, NULL);
    need = podneed_reduce(pod);
    kept = namenode_reduce(node);
    assert(need && kept);
    advise(need, kept);
    advise(need, node);
    share(need, kept);
    json_decref(pod);
    json_decref(node);
    json_decref(need);
    json_decref(kept);
    return 0;
}
