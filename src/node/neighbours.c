// SPDX-License-Identifier: Apache-2.0
#include "node/neighbours.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "node/rival.h"

enum {
    LOOK_PERIOD_MS = 60000,
    SAY_PERIOD_MS = 60000,
    SAY_MAX = 4, /* a plugin that crashes again and again is said so often in that time */
    POD_SIZE = 512,
};

enum component { DEVICE_PLUGIN, AGENT, FEATURE_DISCOVERY, MIG_MANAGER, N_COMPONENTS };

/* The pods of each by their usual names, whatever a Helm release puts before or behind. */
static const struct {
    const char *pattern;
    const char *reason;         /* NULL = it is only said together with a rival */
    const char *before, *after; /* the pod's name in a sentence */
} components[N_COMPONENTS] = {
    [DEVICE_PLUGIN] = {"*nvidia-device-plugin*", NULL, NULL, NULL},
    [AGENT] = {"*gpuslice*", NULL, NULL, NULL},
    [FEATURE_DISCOVERY] = {"*gpu-feature-discovery*", "FeatureDiscoveryFound",
                           "gpu-feature-discovery runs on this node (pod ",
                           "); the labels that it set stay its own, and gpuslice sets them when it "
                           "is uninstalled"},
    [MIG_MANAGER] = {"*mig-manager*", "MigManagerFound",
                     "NVIDIA's mig-manager runs on this node (pod ",
                     "); it decides on the MIG layout, and gpuslice offers the MIG devices that it "
                     "makes"},
};

struct rival {
    char resource[RESOURCE_NAME_SIZE];
    char socket[RIVAL_NAME_SIZE]; /* "" = none now */
    char said[RIVAL_NAME_SIZE];   /* what was said last */
    char sentence[POD_SIZE + 320];
    uint64_t said_ms; /* when the period began in which ... */
    unsigned n_said;  /* ... so much was said */
};

struct neighbours {
    uv_loop_t *loop;
    struct holders *holders;
    const char *own_namespace, *own_pod;
    neighbours_fn *on_news;
    void *userdata;
    struct rival *rivals;
    size_t n_rivals, capacity;
    char pods[N_COMPONENTS][POD_SIZE]; /* "namespace/name" of the first; "" = none seen */
    bool asking;
    uint64_t next_look_ms;
};

static void say(const struct neighbours *neighbours, bool warning, const char *reason,
                const char *sentence)
{
    const struct neighbour_news news = {warning, reason, sentence};

    log_event(warning ? LOG_WARNING : LOG_INFO, sentence, "reason", reason, NULL);
    neighbours->on_news(&news, neighbours->userdata);
}

/* --- rivals --- */

static struct rival *find_row(const struct neighbours *neighbours, const char *resource)
{
    for (size_t i = 0; i < neighbours->n_rivals; i++)
        if (str_equal(neighbours->rivals[i].resource, resource))
            return &neighbours->rivals[i];
    return NULL;
}

/* A plugin that flaps says its news to nobody after a while; what is so stays on the status page.
 */
static bool may_say(struct rival *rival, uint64_t now_ms)
{
    if (rival->n_said == 0 || now_ms - rival->said_ms >= SAY_PERIOD_MS) {
        rival->said_ms = now_ms;
        rival->n_said = 0;
    }
    return rival->n_said++ < SAY_MAX;
}

static void compose(struct rival *rival, const char *plugin_pod, const char *agent_pod)
{
    bool is_agent = str_starts_with(rival->socket, "gpuslice-");
    const char *pod = is_agent ? agent_pod : plugin_pod;
    char named[POD_SIZE + 8] = "";

    if (*pod)
        snprintf(named, sizeof(named), " (pod %s)", pod);
    if (is_agent)
        snprintf(rival->sentence, sizeof(rival->sentence),
                 "another agent serves %s on this node%s; this one takes over when that one ends",
                 rival->resource, named);
    else
        snprintf(rival->sentence, sizeof(rival->sentence),
                 "NVIDIA's device plugin serves %s (%s); uninstall it%s and gpuslice takes over at "
                 "once, running pods keep their slices",
                 rival->resource, rival->socket, named);
}

static void say_rivals(struct neighbours *neighbours)
{
    for (size_t i = 0; i < neighbours->n_rivals; i++) {
        struct rival *rival = &neighbours->rivals[i];

        if (!*rival->socket)
            continue;
        compose(rival, neighbours->pods[DEVICE_PLUGIN], neighbours->pods[AGENT]);
        if (str_equal(rival->socket, rival->said))
            continue;
        memcpy(rival->said, rival->socket, sizeof(rival->said));
        if (may_say(rival, uv_now(neighbours->loop)))
            say(neighbours, true, "ForeignDevicePlugin", rival->sentence);
    }
}

static void say_gone(struct neighbours *neighbours, struct rival *rival)
{
    char sentence[RESOURCE_NAME_SIZE + 96];

    if (!*rival->said)
        return;
    rival->said[0] = '\0';
    snprintf(sentence, sizeof(sentence), "nobody else serves %s any more; gpuslice offers it again",
             rival->resource);
    if (may_say(rival, uv_now(neighbours->loop)))
        say(neighbours, false, "ForeignDevicePluginGone", sentence);
}

/* --- pods --- */

static bool is_own(const struct neighbours *neighbours, const struct holders_pod *pod)
{
    return neighbours->own_pod && str_equal(pod->name, neighbours->own_pod) &&
           (!neighbours->own_namespace || str_equal(pod->namespace_, neighbours->own_namespace));
}

static void take_pod(const struct neighbours *neighbours, const struct holders_pod *pod,
                     char found[N_COMPONENTS][POD_SIZE])
{
    for (size_t i = 0; i < N_COMPONENTS; i++)
        if (!*found[i] && str_glob(components[i].pattern, pod->name) && !is_own(neighbours, pod))
            snprintf(found[i], POD_SIZE, "%s/%s", pod->namespace_, pod->name);
}

static void say_component(const struct neighbours *neighbours, size_t i, const char *pod)
{
    char sentence[POD_SIZE + 256];

    snprintf(sentence, sizeof(sentence), "%s%s%s", components[i].before, pod, components[i].after);
    say(neighbours, false, components[i].reason, sentence);
}

static void on_pods(const struct holders_pod *pods, size_t n_pods, void *userdata)
{
    struct neighbours *neighbours = userdata;
    char found[N_COMPONENTS][POD_SIZE] = {""};

    neighbours->asking = false;
    for (size_t i = 0; i < n_pods; i++)
        take_pod(neighbours, &pods[i], found);
    for (size_t i = 0; i < N_COMPONENTS; i++)
        if (components[i].reason && *found[i] && !str_equal(found[i], neighbours->pods[i]))
            say_component(neighbours, i, found[i]);
    memcpy(neighbours->pods, found, sizeof(found));
    say_rivals(neighbours);
}

static void ask(struct neighbours *neighbours)
{
    neighbours->next_look_ms = uv_now(neighbours->loop) + LOOK_PERIOD_MS;
    if (neighbours->asking)
        return;
    neighbours->asking = true;
    if (holders_ask(neighbours->holders, NULL, 0, on_pods, neighbours) < 0)
        on_pods(NULL, 0, neighbours);
}

void neighbours_look(struct neighbours *neighbours)
{
    if (uv_now(neighbours->loop) >= neighbours->next_look_ms)
        ask(neighbours);
}

void neighbours_rival(struct neighbours *neighbours, const char *resource, const char *socket)
{
    struct rival *rival = find_row(neighbours, resource);

    if (str_equal(rival ? rival->socket : "", socket ? socket : ""))
        return;
    if (!rival)
        rival = array_push(&neighbours->rivals, &neighbours->n_rivals, &neighbours->capacity,
                           sizeof(*rival));
    if (!rival)
        return;
    snprintf(rival->resource, sizeof(rival->resource), "%s", resource);
    snprintf(rival->socket, sizeof(rival->socket), "%s", socket ? socket : "");
    if (!socket) {
        say_gone(neighbours, rival);
        return;
    }
    compose(rival, "", "");
    ask(neighbours);
}

const char *neighbours_sentence(const struct neighbours *neighbours, const char *resource)
{
    const struct rival *rival = find_row(neighbours, resource);

    return rival && *rival->socket ? rival->sentence : NULL;
}

/* --- life --- */

int neighbours_new(uv_loop_t *loop, struct holders *holders, const char *own_namespace,
                   const char *own_pod, neighbours_fn *on_news, void *userdata,
                   struct neighbours **ret_neighbours, struct error *err)
{
    struct neighbours *neighbours = calloc(1, sizeof(*neighbours));

    if (!neighbours)
        return error_set_errno(err, -ENOMEM, "cannot look for other GPU software");
    neighbours->loop = loop;
    neighbours->holders = holders;
    neighbours->own_namespace = own_namespace;
    neighbours->own_pod = own_pod;
    neighbours->on_news = on_news;
    neighbours->userdata = userdata;
    *ret_neighbours = neighbours;
    return 0;
}

void neighbours_free(struct neighbours *neighbours)
{
    if (!neighbours)
        return;
    free(neighbours->rivals);
    free(neighbours);
}
