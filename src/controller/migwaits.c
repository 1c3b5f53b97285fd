// SPDX-License-Identifier: Apache-2.0
#include "controller/migwaits.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "kube/field.h"

static bool has(const struct migwaits *waits, const struct migwaits_pod *pod)
{
    for (size_t i = 0; i < waits->n_pods; i++)
        if (str_equal(waits->pods[i].namespace_, pod->namespace_) &&
            str_equal(waits->pods[i].name, pod->name) && str_equal(waits->pods[i].uid, pod->uid))
            return true;
    return false;
}

static void free_pod(struct migwaits_pod *pod)
{
    free(pod->namespace_);
    free(pod->name);
    free(pod->uid);
}

/* A pod that has devices of several GPUs is named for each. */
static int add_pod(struct migwaits *waits, const json_t *object, struct error *err)
{
    const char *namespace_ = kube_text(object, "namespace"), *name = kube_text(object, "name");
    const char *uid = json_string_value(json_object_get(object, "uid")); /* may be "" */
    struct migwaits_pod pod, *place;

    if (!*namespace_ || !*name || !uid)
        return error_set(err, -EBADMSG, "a pod needs namespace, name and uid, as texts");
    pod = (struct migwaits_pod){strdup(namespace_), strdup(name), strdup(uid)};
    if (pod.namespace_ && pod.name && pod.uid && has(waits, &pod)) {
        free_pod(&pod);
        return 0;
    }
    if (waits->n_pods == MIGWAITS_PODS_MAX) {
        free_pod(&pod);
        return error_set(err, -EBADMSG, "there are more than %d pods", MIGWAITS_PODS_MAX);
    }
    place = pod.namespace_ && pod.name && pod.uid
                ? array_push(&waits->pods, &waits->n_pods, &waits->capacity, sizeof(*place))
                : NULL;
    if (!place) {
        free_pod(&pod);
        return error_set_errno(err, -ENOMEM, "cannot read it");
    }
    *place = pod;
    return 0;
}

static int add_gpu(struct migwaits *waits, const json_t *gpu, struct error *err)
{
    const json_t *pods = json_object_get(gpu, "pods"), *pod;
    size_t i;
    int r;

    if (!json_is_array(pods))
        return error_set(err, -EBADMSG, "a GPU needs a list of pods");
    json_array_foreach(pods, i, pod)
    {
        r = add_pod(waits, pod, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_object(const json_t *object, struct migwaits *waits, struct error *err)
{
    const char *layout = json_string_value(json_object_get(object, "layout"));
    const json_t *gpus = json_object_get(object, "gpus"), *gpu;
    size_t i;
    int r;

    if (!layout || !json_is_array(gpus))
        return error_set(err, -EBADMSG, "it needs a layout and a list of gpus");
    waits->layout = strdup(layout);
    if (!waits->layout)
        return error_set_errno(err, -ENOMEM, "cannot read it");
    json_array_foreach(gpus, i, gpu)
    {
        r = add_gpu(waits, gpu, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int migwaits_read(const char *text, struct migwaits *ret_waits, struct error *err)
{
    struct migwaits waits = {.layout = NULL};
    json_error_t where;
    json_t *object;
    int r;

    if (strlen(text) > MIGWAITS_SIZE_MAX)
        return error_set(err, -EBADMSG, "it is longer than %d bytes", MIGWAITS_SIZE_MAX);
    object = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!object)
        return error_set(err, -EBADMSG, "column %d: %s", where.column, where.text);
    r = read_object(object, &waits, err);
    json_decref(object);
    if (r < 0)
        migwaits_deinit(&waits);
    else
        *ret_waits = waits;
    return r;
}

void migwaits_deinit(struct migwaits *waits)
{
    for (size_t i = 0; i < waits->n_pods; i++)
        free_pod(&waits->pods[i]);
    free(waits->pods);
    free(waits->layout);
    *waits = (struct migwaits){.layout = NULL};
}
