// SPDX-License-Identifier: Apache-2.0
#include "nodesync/observed.h"

#include <errno.h>

#include "kube/field.h"
#include "kube/object.h"
#include "nodesync/node.h"

int observed_init(struct observed *observed, struct kube_client *client,
                  const struct sync_setup *setup, void (*on_node)(void *userdata), void *userdata)
{
    *observed = (struct observed){
        .client = client, .setup = setup, .on_node = on_node, .userdata = userdata};
    observed->node_path = kube_path(&(struct kube_place){"/api/v1", NULL, "nodes", setup->node});
    return observed->node_path ? 0 : -ENOMEM;
}

static void take(struct observed *observed, const json_t *node)
{
    json_t *kept = node_keep(node);

    if (!kept)
        return;
    json_decref(observed->node);
    json_decref(TAKE_PTR(observed->yielded));
    observed->node = kept;
    observed->on_node(observed->userdata);
}

void observed_update(struct observed *observed, const json_t *node)
{
    if (node_is_later(node, observed->node))
        take(observed, node);
}

void observed_see_listed(struct observed *observed, const json_t *node)
{
    if (!observed->node || !node_is_same(node, observed->node))
        take(observed, node);
}

void observed_update_from_answer(struct observed *observed, const struct kube_response *response)
{
    json_t *object = json_loadb(response->body, response->size, 0, NULL);

    if (kube_says(object, "kind", "Node"))
        observed_update(observed, object);
    json_decref(object);
}

void observed_deinit(struct observed *observed)
{
    free(TAKE_PTR(observed->node_path));
    json_decref(TAKE_PTR(observed->node));
    json_decref(TAKE_PTR(observed->yielded));
    sync_state_deinit(&observed->state);
}
