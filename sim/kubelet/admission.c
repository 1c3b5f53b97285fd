// SPDX-License-Identifier: Apache-2.0
#include "admission.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "kubelet.h"
#include "plugin.h"
#include "registry.h"

void admission_deinit(struct admission *admission)
{
    free(admission->pod_uid);
    pick_deinit(&admission->pick);
    reuse_deinit(&admission->reuse);
    *admission = (struct admission){.pod_uid = NULL};
}

bool admission_is_busy(const struct admission *admission)
{
    return admission->pod_uid;
}

bool admission_is_of(const struct admission *admission, const struct pod *pod)
{
    return admission->pod_uid && str_equal(admission->pod_uid, pod->uid);
}

static struct pod *pod_of(struct kubelet *kubelet)
{
    struct pod *pod = pods_find_uid(&kubelet->pods, kubelet->admission.pod_uid);

    assert(pod); /* a pod is not removed while it is being admitted */
    return pod;
}

static struct device_request request_of(struct kubelet *kubelet, const struct pod *pod)
{
    const struct container_spec *container = pod->containers[kubelet->admission.container].spec;
    const struct quantity *limit = &container->limits[kubelet->admission.limit];

    return (struct device_request){pod->uid, container->name, limit->resource,
                                   (size_t)limit->count};
}

static void finish(struct kubelet *kubelet)
{
    admission_deinit(&kubelet->admission);
    kubelet->checkpoint_dirty = kubelet->state_dirty = true;
    kubelet_wake(kubelet);
}

static void reject(struct kubelet *kubelet, const char *why)
{
    cleanup_text struct text message = TEXT_INIT;
    struct pod *pod = pod_of(kubelet);

    text_addf(&message, "Pod was rejected: Allocate failed due to %s, which is unexpected", why);
    pod_set_phase(pod, POD_FAILED, "UnexpectedAdmissionError", text_string(&message));
    log_warning("pod rejected", "namespace", pod->namespace, "pod", pod->name, "reason",
                pod->reason, "message", pod->message);
    workload_pod_ended(&kubelet->workloads, pod, clock_now_ms());
    finish(kubelet);
}

static void admit(struct kubelet *kubelet, struct pod *pod)
{
    pod->admitted = true;
    log_info("pod admitted", "namespace", pod->namespace, "pod", pod->name);
    finish(kubelet);
}

static void proceed(struct kubelet *kubelet);

static void handle_allocated(const char *error, const void *answer, size_t size, void *userdata)
{
    struct kubelet *kubelet = userdata;
    struct admission *admission = &kubelet->admission;
    struct pod *pod = pod_of(kubelet);
    struct device_request request = request_of(kubelet, pod);

    if (!error &&
        manager_record(&kubelet->manager, &request, &admission->pick.chosen, answer, size) < 0)
        error = "out of memory";
    if (error) {
        reject(kubelet, error);
        return;
    }
    kubelet->checkpoint_dirty = true;
    log_debug("devices allocated", "pod", pod->name, "container", request.container, "resource",
              request.resource, "count", log_number(admission->pick.chosen.n_items));
    pick_deinit(&admission->pick);
    admission->limit++;
    proceed(kubelet);
}

static void allocate(struct kubelet *kubelet, const struct device_request *request,
                     const struct ids *preferred)
{
    struct plugin *plugin = registry_find(kubelet->registry, request->resource);
    struct admission *admission = &kubelet->admission;
    struct error err = ERROR_INIT;
    int r = manager_choose(request, preferred, &admission->pick, &err);

    if (r == 0 && !plugin)
        r = error_set(&err, -ENODEV, "unknown Device Plugin %s", request->resource);
    if (r == 0)
        r = plugin_allocate(plugin, &admission->pick.chosen, handle_allocated, kubelet, &err);
    if (r < 0)
        reject(kubelet, error_text(&err));
}

static void handle_preferred(const char *error, const struct ids *ids, void *userdata)
{
    cleanup_text struct text sentence = TEXT_INIT;
    struct kubelet *kubelet = userdata;
    struct device_request request = request_of(kubelet, pod_of(kubelet));

    if (!error) {
        allocate(kubelet, &request, ids);
        return;
    }
    text_addf(&sentence, "device plugin GetPreferredAllocation rpc failed with err: %s", error);
    reject(kubelet, text_string(&sentence));
}

static int ask_preference(struct kubelet *kubelet, const struct device_request *request,
                          struct error *err)
{
    struct plugin *plugin = registry_find(kubelet->registry, request->resource);
    cleanup_ids struct ids candidates = IDS_INIT;
    const struct pick *pick = &kubelet->admission.pick;

    if (!plugin)
        return error_set(err, -ENODEV, "endpoint not found in cache for a registered resource: %s",
                         request->resource);
    if (ids_add_all(&candidates, &pick->available) < 0 ||
        ids_add_all(&candidates, &pick->chosen) < 0)
        return error_set_errno(err, -ENOMEM, "GetPreferredAllocation failed");
    return plugin_prefer(plugin, &candidates, &pick->chosen, request->count, handle_preferred,
                         kubelet, err);
}

/* Later containers may reuse the devices of an init container; a sidecar keeps its own. */
static int end_container(struct kubelet *kubelet, const struct pod *pod)
{
    struct admission *admission = &kubelet->admission;
    const struct container_spec *container = pod->containers[admission->container].spec;

    admission->container++;
    admission->limit = 0;
    if (container->role == CONTAINER_INIT)
        return reuse_add(&admission->reuse, &kubelet->manager, pod->uid, container->name);
    reuse_remove(&admission->reuse, &kubelet->manager, pod->uid, container->name);
    return 0;
}

/* Handles one resource of one container. True when a call is pending or the pod was rejected. */
static bool begin_limit(struct kubelet *kubelet, const struct pod *pod)
{
    struct admission *admission = &kubelet->admission;
    struct device_request request = request_of(kubelet, pod);
    struct error err = ERROR_INIT;
    int r;

    if (!manager_knows(&kubelet->manager, request.resource)) {
        admission->limit++;
        return false;
    }
    manager_reclaim(&kubelet->manager, kubelet_is_active, kubelet);
    r = manager_pick(&kubelet->manager, &request, reuse_find(&admission->reuse, request.resource),
                     &admission->pick, &err);
    if (r == MANAGER_NOTHING_NEEDED) {
        admission->limit++;
        return false;
    }
    if (r == 0)
        allocate(kubelet, &request, NULL);
    if (r == MANAGER_ASK_PREFERENCE)
        r = ask_preference(kubelet, &request, &err);
    if (r < 0)
        reject(kubelet, error_text(&err));
    return true;
}

static void proceed(struct kubelet *kubelet)
{
    struct pod *pod = pod_of(kubelet);

    while (kubelet->admission.container < pod->n_containers) {
        const struct container_spec *container = pod->containers[kubelet->admission.container].spec;

        if (kubelet->admission.limit < container->n_limits) {
            if (begin_limit(kubelet, pod))
                return;
        } else if (end_container(kubelet, pod) < 0) {
            reject(kubelet, "out of memory");
            return;
        }
    }
    admit(kubelet, pod);
}

void admission_begin(struct kubelet *kubelet, struct pod *pod)
{
    assert(!kubelet->admission.pod_uid);
    kubelet->admission.pod_uid = strdup(pod->uid);
    if (kubelet->admission.pod_uid)
        proceed(kubelet);
}
