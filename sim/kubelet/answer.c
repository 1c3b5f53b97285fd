// SPDX-License-Identifier: Apache-2.0
#include "answer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "rpc/message.h"

DEFINE_MESSAGE_CLEANUP(v1beta1_ContainerAllocateResponse)

static void pairs_free(struct pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
    free(pairs);
}

void answer_deinit(struct answer *answer)
{
    pairs_free(answer->envs, answer->n_envs);
    pairs_free(answer->annotations, answer->n_annotations);
    pairs_free(answer->cdi_devices, answer->n_cdi_devices);
    for (size_t i = 0; i < answer->n_mounts; i++) {
        free(answer->mounts[i].container_path);
        free(answer->mounts[i].host_path);
    }
    free(answer->mounts);
    for (size_t i = 0; i < answer->n_nodes; i++) {
        free(answer->nodes[i].container_path);
        free(answer->nodes[i].host_path);
        free(answer->nodes[i].permissions);
    }
    free(answer->nodes);
    *answer = (struct answer)ANSWER_INIT;
}

static int add_pair(struct pair **pairs, size_t *n, size_t *capacity, const char *key,
                    const char *value, size_t *n_conflicts)
{
    struct pair *pair;

    for (size_t i = 0; i < *n; i++)
        if (str_equal((*pairs)[i].key, key)) {
            *n_conflicts += !str_equal((*pairs)[i].value, value);
            return 0;
        }
    pair = array_push(pairs, n, capacity, sizeof(*pair));
    if (!pair)
        return -ENOMEM;
    pair->key = strdup(key);
    pair->value = strdup(value);
    return pair->key && pair->value ? 0 : -ENOMEM;
}

static int add_mount(struct answer *answer, const v1beta1_Mount *mount)
{
    const char *path = message_text(mount->container_path);
    struct answer_mount *new;

    for (size_t i = 0; i < answer->n_mounts; i++)
        if (str_equal(answer->mounts[i].container_path, path)) {
            answer->n_conflicts +=
                !str_equal(answer->mounts[i].host_path, message_text(mount->host_path));
            return 0;
        }
    new = array_push(&answer->mounts, &answer->n_mounts, &answer->mounts_capacity, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->container_path = strdup(path);
    new->host_path = strdup(message_text(mount->host_path));
    new->read_only = mount->read_only;
    return new->container_path &&new->host_path ? 0 : -ENOMEM;
}

static int add_node(struct answer *answer, const v1beta1_DeviceSpec *spec)
{
    const char *path = message_text(spec->container_path);
    struct answer_node *new;

    for (size_t i = 0; i < answer->n_nodes; i++)
        if (str_equal(answer->nodes[i].container_path, path)) {
            answer->n_conflicts +=
                !str_equal(answer->nodes[i].host_path, message_text(spec->host_path));
            return 0;
        }
    new = array_push(&answer->nodes, &answer->n_nodes, &answer->nodes_capacity, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->container_path = strdup(path);
    new->host_path = strdup(message_text(spec->host_path));
    new->permissions = strdup(message_text(spec->permissions));
    return new->container_path &&new->host_path &&new->permissions ? 0 : -ENOMEM;
}

int answer_merge(struct answer *answer, const void *data, size_t size)
{
    cleanup(v1beta1_ContainerAllocateResponse_release_p) v1beta1_ContainerAllocateResponse in =
        v1beta1_ContainerAllocateResponse_init_zero;
    int r = message_decode(v1beta1_ContainerAllocateResponse_fields, data, size, &in);

    for (pb_size_t i = 0; r == 0 && i < in.envs_count; i++)
        r = add_pair(&answer->envs, &answer->n_envs, &answer->envs_capacity,
                     message_text(in.envs[i].key), message_text(in.envs[i].value),
                     &answer->n_conflicts);
    for (pb_size_t i = 0; r == 0 && i < in.annotations_count; i++)
        r = add_pair(&answer->annotations, &answer->n_annotations, &answer->annotations_capacity,
                     message_text(in.annotations[i].key), message_text(in.annotations[i].value),
                     &answer->n_conflicts);
    for (pb_size_t i = 0; r == 0 && i < in.mounts_count; i++)
        r = add_mount(answer, &in.mounts[i]);
    for (pb_size_t i = 0; r == 0 && i < in.devices_count; i++)
        r = add_node(answer, &in.devices[i]);
    for (pb_size_t i = 0; r == 0 && i < in.cdi_devices_count; i++)
        r = add_pair(&answer->cdi_devices, &answer->n_cdi_devices, &answer->cdi_devices_capacity,
                     message_text(in.cdi_devices[i].name), "", &answer->n_conflicts);
    return r;
}

/* strcmp for fields that every allocation has. */
static int order(const char *a, const char *b)
{
    assert(a && b);
    return strcmp(a, b);
}

/* The allocation of this container whose resource name follows `after` (NULL: the first one). */
static const struct allocation *next_allocation(const struct manager *manager, const char *pod_uid,
                                                const char *container, const char *after)
{
    const struct allocation *next = NULL;

    for (size_t i = 0; i < manager->n_allocations; i++) {
        const struct allocation *one = &manager->allocations[i];

        if (!str_equal(one->pod_uid, pod_uid) || !str_equal(one->container, container))
            continue;
        if ((!after || order(one->resource, after) > 0) &&
            (!next || order(one->resource, next->resource) < 0))
            next = one;
    }
    return next;
}

int answer_collect(const struct manager *manager, const char *pod_uid, const char *container,
                   struct answer *ret_answer)
{
    cleanup_answer struct answer answer = ANSWER_INIT;
    const struct allocation *one = next_allocation(manager, pod_uid, container, NULL);

    for (; one; one = next_allocation(manager, pod_uid, container, one->resource)) {
        int r = answer_merge(&answer, one->answer, one->answer_size);

        if (r < 0)
            return r;
    }
    *ret_answer = answer;
    answer = (struct answer)ANSWER_INIT;
    return 0;
}
