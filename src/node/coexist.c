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
    CHECK_PERIOD_MS = 60000,
    FIRST_RETRY_MS = 250, /* while a foreign plugin's pod is unknown; doubled each time */
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
    struct foreignplugin *foreign;
    size_t n_foreign, capacity;
    char pods[N_COMPONENTS][POD_SIZE]; /* "namespace/name" of the first one; "" = none seen */
    bool asking;
    uint64_t next_check_ms;
    uv_timer_t retry;
    uint64_t retry_ms; /* until the next one */
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
    for (size_t i = 0; i < coexist->n_foreign; i++)
        if (str_equal(coexist->foreign[i].resource, resource))
            return &coexist->foreign[i];
    return NULL;
}

static bool is_of_agent(const char *socket)
{
    return str_starts_with(socket, "gpuslice-");
}

static void compose(struct foreignplugin *foreign_plugin, const char *plugin_pod,
                    const char *agent_pod)
{
    bool is_agent = is_of_agent(foreign_plugin->socket);
    const char *pod = is_agent ? agent_pod : plugin_pod;
    char named[POD_SIZE + 8] = "";

    if (*pod)
        snprintf(named, sizeof(named), " (pod %s)", pod);
    if (is_agent)
        snprintf(foreign_plugin->sentence, sizeof(foreign_plugin->sentence),
                 "another agent serves %s on this node%s; this one takes over when that one exits",
                 foreign_plugin->resource, named);
    else
        snprintf(foreign_plugin->sentence, sizeof(foreign_plugin->sentence),
                 "NVIDIA's device plugin serves %s (%s); uninstall it%s and gpuslice takes over "
                 "immediately, running pods keep their slices",
                 foreign_plugin->resource, foreign_plugin->socket, named);
}

/* A message that gains the pod's name is reported again. */
static void report_foreign_plugins(struct coexist *coexist)
{
    for (size_t i = 0; i < coexist->n_foreign; i++) {
        struct foreignplugin *foreign_plugin = &coexist->foreign[i];

        if (!*foreign_plugin->socket)
            continue;
        compose(foreign_plugin, coexist->pods[DEVICE_PLUGIN], coexist->pods[AGENT]);
        if (lograte_begin(&foreign_plugin->rate, foreign_plugin->sentence,
                          uv_now(coexist->setup.loop)))
            say(coexist, true, COEXIST_FOREIGN, foreign_plugin->sentence);
    }
}

static bool lacks_pod(const struct coexist *coexist)
{
    for (size_t i = 0; i < coexist->n_foreign; i++) {
        const char *socket = coexist->foreign[i].socket;

        if (*socket && !*coexist->pods[is_of_agent(socket) ? AGENT : DEVICE_PLUGIN])
            return true;
    }
    return false;
}

static void report_gone(struct coexist *coexist, struct foreignplugin *foreign_plugin)
{
    char sentence[RESOURCE_NAME_SIZE + 96];

    if (!lograte_end(&foreign_plugin->rate))
        return;
    snprintf(sentence, sizeof(sentence),
             "no other device plugin serves %s any more; gpuslice offers it again",
             foreign_plugin->resource);
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

static void report_component(const struct coexist *coexist, size_t i, const char *pod)
{
    char sentence[POD_SIZE + 256];

    snprintf(sentence, sizeof(sentence), "%s%s%s", components[i].before, pod, components[i].after);
    say(coexist, false, components[i].reason, sentence);
}

static void ask(struct coexist *coexist);

static void on_retry(uv_timer_t *timer)
{
    ask(timer->data);
}

/* A kubelet under load lists a pod late, or does not answer. A plugin on the host has no pod. */
static void plan_retry(struct coexist *coexist)
{
    if (!lacks_pod(coexist) || coexist->retry_ms >= CHECK_PERIOD_MS)
        return;
    uv_timer_start(&coexist->retry, on_retry, coexist->retry_ms, 0);
    coexist->retry_ms *= 2;
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
            report_component(coexist, i, found[i]);
    if (n_pods) /* else the kubelet did not answer */
        memcpy(coexist->pods, found, sizeof(found));
    report_foreign_plugins(coexist);
    plan_retry(coexist);
}

static void ask(struct coexist *coexist)
{
    coexist->next_check_ms = uv_now(coexist->setup.loop) + CHECK_PERIOD_MS;
    if (coexist->asking)
        return;
    coexist->asking = true;
    if (podresources_ask(coexist->setup.podresources, NULL, 0, on_pods, coexist) < 0)
        on_pods(NULL, 0, coexist);
}

void coexist_sync(struct coexist *coexist)
{
    if (uv_now(coexist->setup.loop) >= coexist->next_check_ms)
        ask(coexist);
}

void coexist_foreign_plugin(struct coexist *coexist, const char *resource, const char *socket)
{
    struct foreignplugin *foreign_plugin = find_row(coexist, resource);

    if (str_equal(foreign_plugin ? foreign_plugin->socket : "", socket ? socket : ""))
        return;
    if (!foreign_plugin)
        foreign_plugin = array_push(&coexist->foreign, &coexist->n_foreign, &coexist->capacity,
                                    sizeof(*foreign_plugin));
    if (!foreign_plugin)
        return;
    snprintf(foreign_plugin->resource, sizeof(foreign_plugin->resource), "%s", resource);
    snprintf(foreign_plugin->socket, sizeof(foreign_plugin->socket), "%s", socket ? socket : "");
    if (!socket) {
        report_gone(coexist, foreign_plugin);
        return;
    }
    compose(foreign_plugin, "", "");
    coexist->retry_ms = FIRST_RETRY_MS;
    ask(coexist);
}

const char *coexist_message(const struct coexist *coexist, const char *resource)
{
    const struct foreignplugin *foreign_plugin = find_row(coexist, resource);

    return foreign_plugin && *foreign_plugin->socket ? foreign_plugin->sentence : NULL;
}

const char *coexist_mig_manager(const struct coexist *coexist)
{
    return coexist && *coexist->pods[MIG_MANAGER] ? coexist->pods[MIG_MANAGER] : NULL;
}

/* --- life --- */

int coexist_new(const struct coexist_setup *setup, struct coexist **ret_coexist, struct error *err)
{
    struct coexist *coexist = calloc(1, sizeof(*coexist));

    if (!coexist)
        return error_set_errno(err, -ENOMEM, "cannot look for other GPU software");
    coexist->setup = *setup;
    uv_timer_init(setup->loop, &coexist->retry);
    coexist->retry.data = coexist;
    *ret_coexist = coexist;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void coexist_free(struct coexist *coexist)
{
    if (!coexist)
        return;
    free(coexist->foreign);
    uv_close((uv_handle_t *)&coexist->retry, on_closed);
}
