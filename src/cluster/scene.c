// SPDX-License-Identifier: Apache-2.0
#include "cluster/scene.h"

#include <errno.h>

#include "cluster/node.h"
#include "kube/object.h"

int scene_init(struct scene *scene, struct kube_client *client, const struct cluster_setup *setup,
               void (*on_node)(void *userdata), void *userdata)
{
    *scene =
        (struct scene){.client = client, .setup = setup, .on_node = on_node, .userdata = userdata};
    scene->node_path = kube_path(&(struct kube_place){"/api/v1", NULL, "nodes", setup->node});
    return scene->node_path ? 0 : -ENOMEM;
}

static void take(struct scene *scene, const json_t *node)
{
    json_t *kept = node_keep(node);

    if (!kept)
        return;
    json_decref(scene->node);
    json_decref(TAKE_PTR(scene->yielded));
    scene->node = kept;
    scene->on_node(scene->userdata);
}

void scene_see(struct scene *scene, const json_t *node)
{
    if (node_is_later(node, scene->node))
        take(scene, node);
}

void scene_see_listed(struct scene *scene, const json_t *node)
{
    if (!scene->node || !node_is_same(node, scene->node))
        take(scene, node);
}

void scene_see_answer(struct scene *scene, const struct kube_response *response)
{
    json_t *object = json_loadb(response->body, response->size, 0, NULL);
    const char *kind = json_string_value(json_object_get(object, "kind"));

    if (kind && str_equal(kind, "Node"))
        scene_see(scene, object);
    json_decref(object);
}

void scene_deinit(struct scene *scene)
{
    free(TAKE_PTR(scene->node_path));
    json_decref(TAKE_PTR(scene->node));
    json_decref(TAKE_PTR(scene->yielded));
    cluster_state_deinit(&scene->state);
}
