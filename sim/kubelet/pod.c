// SPDX-License-Identifier: Apache-2.0
#include "pod.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/array.h"
#include "base/text.h"

static const char *const phase_names[] = {"Pending", "Running", "Succeeded", "Failed"};

const char *pod_phase_name(enum pod_phase phase)
{
    return phase_names[phase];
}

static void pod_free(struct pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++) {
        assert(!pod->containers[i].process);
        free(pod->containers[i].reason);
        answer_deinit(&pod->containers[i].answer);
    }
    free(pod->containers);
    free(pod->namespace);
    free(pod->name);
    free(pod->uid);
    free(pod->owner);
    free(pod->reason);
    free(pod->message);
    pod_template_unref(pod->template);
    free(pod);
}

DEFINE_CLEANUP(struct pod *, pod_free)

/* A random UUID, like those of the API server. */
static char *make_uid(void)
{
    unsigned char b[16];
    char text[40];

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        return NULL;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(text, sizeof(text),
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
    return strdup(text);
}

int pods_add(struct pods *pods, const struct podmanifest *owner, const char *name, const char *uid,
             struct pod **ret_pod)
{
    cleanup(pod_free_p) struct pod *pod = calloc(1, sizeof(*pod));
    struct pod **slot;

    if (!pod)
        return -ENOMEM;
    if (pods_find(pods, owner->namespace, name))
        return -EEXIST;
    pod->namespace = strdup(owner->namespace);
    pod->name = strdup(name);
    pod->uid = uid ? strdup(uid) : make_uid();
    pod->owner = strdup(owner->name);
    pod->owner_kind = owner->kind;
    pod->template = pod_template_ref(owner->template);
    pod->containers = calloc(owner->template->n_containers + 1, sizeof(*pod->containers));
    if (!pod->namespace || !pod->name || !pod->uid || !pod->owner || !pod->containers)
        return -ENOMEM;
    pod->n_containers = owner->template->n_containers;
    for (size_t i = 0; i < pod->n_containers; i++)
        pod->containers[i].spec = &owner->template->containers[i];
    slot = array_push(&pods->items, &pods->n_items, &pods->capacity, sizeof(struct pod *));
    if (!slot)
        return -ENOMEM;
    *slot = *ret_pod = TAKE_PTR(pod);
    return 0;
}

void pods_remove(struct pods *pods, struct pod *pod)
{
    for (size_t i = 0; i < pods->n_items; i++)
        if (pods->items[i] == pod) {
            memmove(pods->items + i, pods->items + i + 1,
                    (pods->n_items - i - 1) * sizeof(*pods->items));
            pods->n_items--;
            pod_free(pod);
            return;
        }
}

void pods_deinit(struct pods *pods)
{
    for (size_t i = 0; i < pods->n_items; i++)
        pod_free(pods->items[i]);
    free(pods->items);
    *pods = (struct pods){.items = NULL};
}

struct pod *pods_find(const struct pods *pods, const char *namespace, const char *name)
{
    for (size_t i = 0; i < pods->n_items; i++)
        if (str_equal(pods->items[i]->name, name) &&
            str_equal(pods->items[i]->namespace, namespace))
            return pods->items[i];
    return NULL;
}

struct pod *pods_find_uid(const struct pods *pods, const char *uid)
{
    for (size_t i = 0; i < pods->n_items; i++)
        if (str_equal(pods->items[i]->uid, uid))
            return pods->items[i];
    return NULL;
}

bool pod_is_terminal(const struct pod *pod)
{
    return pod->phase == POD_SUCCEEDED || pod->phase == POD_FAILED;
}

bool pod_has_running(const struct pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++)
        if (pod->containers[i].process)
            return true;
    return false;
}

bool pod_is_active(const struct pod *pod)
{
    return !pod_is_terminal(pod) || pod_has_running(pod);
}

static int replace(char **where, const char *string)
{
    char *copy = string ? strdup(string) : NULL;

    if (string && !copy)
        return -ENOMEM;
    free(*where);
    *where = copy;
    return 0;
}

int pod_set_phase(struct pod *pod, enum pod_phase phase, const char *reason, const char *message)
{
    int r = replace(&pod->reason, reason);

    pod->phase = phase;
    return r < 0 ? r : replace(&pod->message, message);
}

int container_set_reason(struct container *container, const char *reason)
{
    return replace(&container->reason, reason);
}

/* "Init:1/2" while init containers run; NULL when all are done. */
static const char *init_status(const struct pod *pod, char *buffer, size_t size)
{
    size_t n = 0, n_done = 0;

    for (size_t i = 0; i < pod->n_containers; i++) {
        const struct container *container = &pod->containers[i];

        if (container->spec->role == CONTAINER_APP)
            continue;
        n++;
        n_done += container->spec->role == CONTAINER_SIDECAR
                      ? container->state == CONTAINER_RUNNING
                      : container->state == CONTAINER_TERMINATED && !container->exit_code;
    }
    if (n_done == n)
        return NULL;
    snprintf(buffer, size, "Init:%zu/%zu", n_done, n);
    return buffer;
}

const char *pod_status(const struct pod *pod, char *buffer, size_t size)
{
    const char *init;

    if (pod->deleting)
        return "Terminating";
    if (pod_is_terminal(pod) && pod->reason)
        return pod->reason;
    if (pod_is_terminal(pod))
        return pod->phase == POD_FAILED ? "Error" : "Completed";
    if (!pod->admitted)
        return phase_names[pod->phase];
    for (size_t i = 0; i < pod->n_containers; i++) {
        const struct container *container = &pod->containers[i];

        if (container->state == CONTAINER_WAITING && container->reason)
            return container->reason;
    }
    init = pod->phase == POD_PENDING ? init_status(pod, buffer, size) : NULL;
    return init ? init : phase_names[pod->phase];
}
