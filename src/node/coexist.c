// SPDX-License-Identifier: Apache-2.0
#include "node/coexist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "plugin/foreignplugin.h"

enum {
    LOOK_PERIOD_MS = 60000,
    POD_SIZE = 512,
};

enum component { DEVICE_PLUGIN, AGENT, FEATURE_DISCOVERY, MIG_MANAGER, N_COMPONENTS };

/* The usual names of their pods, whatever prefix or suffix a Helm release adds. */
static const struct {
    const char *pattern;
    const char *reason;         /* NULL = reported only together with a foreign plugin */
    const char *before, *after; /* around the pod's name in a message */
} components[N_COMPONENTS] = {
    [DEVICE_PLUGIN] = {"*nvidia-device-plugin*", NULL, NULL, NULL},
    [AGENT] = {"*gpuslice*", NULL, NULL, NULL},
    [FEATURE_DISCOVERY] =
        {"*gpu-feature-discovery*", "FeatureDiscoveryFound",
         "gpu-feature-discovery runs on this node (pod ",
         "); the labels that it set remain its own, and gpuslice sets them when it is uninstalled"},
    [MIG_MANAGER] =
        {"*mig-manager*", "MigManagerFound", "NVIDIA's mig-manager runs on this node (pod ",
         "); it decides on the MIG layout, and gpuslice offers the MIG devices that it creates"},
};

struct foreignplugin {
    char resource[RESOURCE_NAME_SIZE];
    char socket[FOREIGNPLUGIN_NAME_SIZE]; /* "" = currently none */
    char sentence[POD_SIZE + 320];
    struct lograte rate; /* of a crash-looping plugin */
};

struct coexist {
    struct coexist_setup setup;
    struct foreignplugin *rivals;
    size_t n_rivals, capacity;
    char pods[N_COMPONENTS][POD_SIZE]; /* "namespace/name" of the first one; "" = none seen */
    bool asking;
    uint64_t next_look_ms;
};

static void say(const struct coexist *coexist, bool warning, const char *reason,
                const char *sentence)
{
    const struct coexist_news news = {warning, reason, sentence};

    log_event(warning ? LOG_WARNING : LOG_INFO, sentence, "reason", reason, NULL);
    coexist->setup.on_news(&news, coexist->setup.userdata);
}

/* --- rivals --- */

static struct foreignplugin *find_row(const struct coexist *coexist, const char *resource)
{
    for (size_t i = 0; i < coexist->n_rivals; i++)
        if (str_equal(coexist->rivals[i].resource, resource))
            return &coexist->rivals[i];
    return NULL;
}

static void compose(struct foreignplugin *rival, const char *plugin_pod, const char *agent_pod)
{
    bool is_agent = str_starts_with(rival->socket, "gpuslice-");
    const char *pod = is_agent ? agent_pod : plugin_pod;
    char named[POD_SIZE + 8] = "";

    if (*pod)
        snprintf(named, sizeof(named), " (pod %s)", pod);
    if (is_agent)
        snprintf(rival->sentence, sizeof(rival->sentence),
                 "another agent serves %s on this node%s; this one takes over when that one exits",
                 rival->resource, named);
    else
        snprintf(rival->sentence, sizeof(rival->sentence),
                 "NVIDIA's device plugin serves %s (%s); uninstall it%s and gpuslice takes over "
                 "immediately, running pods keep their slices",
                 rival->resource, rival->socket, named);
}

static void say_rivals(struct coexist *coexist)
{
    for (size_t i = 0; i < coexist->n_rivals; i++) {
        struct foreignplugin *rival = &coexist->rivals[i];

        if (!*rival->socket)
            continue;
        compose(rival, coexist->pods[DEVICE_PLUGIN], coexist->pods[AGENT]);
        if (lograte_begin(&rival->rate, rival->socket, uv_now(coexist->setup.loop)))
            say(coexist, true, "ForeignDevicePlugin", rival->sentence);
    }
}

static void say_gone(struct coexist *coexist, struct foreignplugin *rival)
{
    char sentence[RESOURCE_NAME_SIZE + 96];

    if (!lograte_end(&rival->rate))
        return;
    snprintf(sentence, sizeof(sentence),
             "no other device plugin serves %s any more; gpuslice offers it again",
             rival->resource);
    say(coexist, false, "ForeignDevicePluginGone", sentence);
}

/* --- pods --- */

static bool is_own(const struct coexist *coexist, const struct podresources_pod *pod)
{
    return coexist->setup.own_pod && str_equal(pod->name, coexist->setup.own_pod) &&
           (!coexist->setup.own_namespace ||
            str_equal(pod->namespace_, coexist->setup.own_namespace));
}

static void take_pod(const struct coexist *coexist, const struct podresources_pod *pod,
                     char found[N_COMPONENTS][POD_SIZE])
{
    for (size_t i = 0; i < N_COMPONENTS; i++)
        if (!*found[i] && str_glob(components[i].pattern, pod->name) && !is_own(coexist, pod))
            snprintf(found[i], POD_SIZE, "%s/%s", pod->namespace_, pod->name);
}

static void say_component(const struct coexist *coexist, size_t i, const char *pod)
{
    char sentence[POD_SIZE + 256];

    snprintf(sentence, sizeof(sentence), "%s%s%s", components[i].before, pod, components[i].after);
    say(coexist, false, components[i].reason, sentence);
}

static void on_pods(const struct podresources_pod *pods, size_t n_pods, void *userdata)
{
    struct coexist *coexist = userdata;
    char found[N_COMPONENTS][POD_SIZE] = {""};

    coexist->asking = false;
    for (size_t i = 0; i < n_pods; i++)
        take_pod(coexist, &pods[i], found);
    for (size_t i = 0; i < N_COMPONENTS; i++)
        if (components[i].reason && *found[i] && !str_equal(found[i], coexist->pods[i]))
            say_component(coexist, i, found[i]);
    memcpy(coexist->pods, found, sizeof(found));
    say_rivals(coexist);
}

static void ask(struct coexist *coexist)
{
    coexist->next_look_ms = uv_now(coexist->setup.loop) + LOOK_PERIOD_MS;
    if (coexist->asking)
        return;
    coexist->asking = true;
    if (podresources_ask(coexist->setup.podresources, NULL, 0, on_pods, coexist) < 0)
        on_pods(NULL, 0, coexist);
}

void coexist_sync(struct coexist *coexist)
{
    if (uv_now(coexist->setup.loop) >= coexist->next_look_ms)
        ask(coexist);
}

void coexist_foreign_plugin(struct coexist *coexist, const char *resource, const char *socket)
{
    struct foreignplugin *rival = find_row(coexist, resource);

    if (str_equal(rival ? rival->socket : "", socket ? socket : ""))
        return;
    if (!rival)
        rival =
            array_push(&coexist->rivals, &coexist->n_rivals, &coexist->capacity, sizeof(*rival));
    if (!rival)
        return;
    snprintf(rival->resource, sizeof(rival->resource), "%s", resource);
    snprintf(rival->socket, sizeof(rival->socket), "%s", socket ? socket : "");
    if (!socket) {
        say_gone(coexist, rival);
        return;
    }
    compose(rival, "", "");
    ask(coexist);
}

const char *coexist_message(const struct coexist *coexist, const char *resource)
{
    const struct foreignplugin *rival = find_row(coexist, resource);

    return rival && *rival->socket ? rival->sentence : NULL;
}

/* --- life --- */

int coexist_new(const struct coexist_setup *setup, struct coexist **ret_coexist, struct error *err)
{
    struct coexist *coexist = calloc(1, sizeof(*coexist));

    if (!coexist)
        return error_set_errno(err, -ENOMEM, "cannot look for other GPU software");
    coexist->setup = *setup;
    *ret_coexist = coexist;
    return 0;
}

void coexist_free(struct coexist *coexist)
{
    if (!coexist)
        return;
    free(coexist->rivals);
    free(coexist);
}
