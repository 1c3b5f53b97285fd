// SPDX-License-Identifier: Apache-2.0
#include "savefile.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "process.h"
#include "runner.h"
#include "template.h"

enum { STATE_MAX_BYTES = 64 << 20 };

DEFINE_CLEANUP(json_t *, json_decref)
#define cleanup_json cleanup(json_decref_p)

static json_t *spec_of(const struct pod_template *template)
{
    return json_loads(template->source, 0, NULL);
}

/* A manifest in a form that manifests_parse reads back. */
static json_t *format_manifest(const struct podmanifest *manifest)
{
    json_t *metadata =
        json_pack("{s:s, s:s}", "name", manifest->name, "namespace", manifest->namespace);
    const char *kind = podmanifest_kind_name(manifest->kind);

    if (manifest->kind == MANIFEST_POD)
        return json_pack("{s:s, s:o, s:o}", "kind", kind, "metadata", metadata, "spec",
                         spec_of(manifest->template));
    if (manifest->kind == MANIFEST_JOB)
        return json_pack("{s:s, s:o, s:{s:I, s:I, s:I, s:{s:o}}}", "kind", kind, "metadata",
                         metadata, "spec", "parallelism", (json_int_t)manifest->replicas,
                         "completions", (json_int_t)manifest->completions, "backoffLimit",
                         (json_int_t)manifest->backoff_limit, "template", "spec",
                         spec_of(manifest->template));
    return json_pack("{s:s, s:o, s:{s:I, s:{s:o}}}", "kind", kind, "metadata", metadata, "spec",
                     "replicas", (json_int_t)manifest->replicas, "template", "spec",
                     spec_of(manifest->template));
}

static json_t *format_workloads(const struct workloads *workloads)
{
    cleanup_json json_t *list = json_array();

    for (size_t i = 0; i < workloads->n_items; i++) {
        const struct workload *workload = workloads->items[i];

        if (json_array_append_new(list, json_pack("{s:o, s:I, s:I, s:I, s:b}", "manifest",
                                                  format_manifest(&workload->manifest), "made",
                                                  (json_int_t)workload->n_made, "succeeded",
                                                  (json_int_t)workload->n_succeeded, "failed",
                                                  (json_int_t)workload->n_failed, "gone",
                                                  workload->gone)) < 0)
            return NULL;
    }
    return TAKE_PTR(list);
}

static json_t *format_containers(const struct pod *pod)
{
    cleanup_json json_t *list = json_array();

    for (size_t i = 0; i < pod->n_containers; i++) {
        const struct container *container = &pod->containers[i];
        const struct process *process = container->process;

        if (json_array_append_new(
                list, json_pack("{s:i, s:s*, s:i, s:i, s:i, s:I}", "state", (int)container->state,
                                "reason", container->reason, "exit_code", container->exit_code,
                                "restarts", (int)container->n_restarts, "pid",
                                process ? (int)process_pid(process) : 0, "start_ticks",
                                process ? (json_int_t)process_start_ticks(process) : 0)) < 0)
            return NULL;
    }
    return TAKE_PTR(list);
}

static json_t *format_pods(const struct pods *pods)
{
    cleanup_json json_t *list = json_array();

    for (size_t i = 0; i < pods->n_items; i++) {
        const struct pod *pod = pods->items[i];

        if (json_array_append_new(
                list, json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:i, s:s*, s:s*, s:b, s:b, s:b, "
                                "s:o}",
                                "namespace", pod->namespace, "name", pod->name, "uid", pod->uid,
                                "owner", pod->owner, "owner_kind", (int)pod->owner_kind, "spec",
                                spec_of(pod->template), "phase", (int)pod->phase, "reason",
                                pod->reason, "message", pod->message, "scheduled", pod->scheduled,
                                "admitted", pod->admitted, "deleting", pod->deleting, "containers",
                                format_containers(pod))) < 0)
            return NULL;
    }
    return TAKE_PTR(list);
}

int savefile_store(const char *path, const struct kubelet *kubelet, struct error *err)
{
    cleanup_json json_t *whole =
        json_pack("{s:o, s:o}", "workloads", format_workloads(&kubelet->workloads), "pods",
                  format_pods(&kubelet->pods));
    cleanup_free char *text = whole ? json_dumps(whole, JSON_INDENT(1)) : NULL;

    if (!text)
        return error_set_errno(err, -ENOMEM, "cannot write %s", path);
    return file_write_atomic(path, text, strlen(text), 0600, err);
}

/* Reads one manifest back. */
static int parse_manifest(const json_t *object, struct podmanifests *manifests)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_free char *json = json_dumps(object, JSON_COMPACT);
    cleanup_text struct text text = TEXT_INIT;
    int r;

    if (!json)
        return -EBADMSG;
    template_add_json(&text, json);
    r = podmanifests_parse(text_string(&text), text.length, "default", &problems, manifests);
    return r == 0 && manifests->n_items != 1 ? -EBADMSG : r;
}

static int parse_workload(json_t *entry, struct kubelet *kubelet)
{
    cleanup_podmanifests struct podmanifests manifests = MANIFESTS_INIT;
    struct workload *workload;
    json_t *manifest;
    json_int_t n_made, n_succeeded, n_failed;
    int gone, r;

    if (json_unpack(entry, "{s:o, s:I, s:I, s:I, s:b}", "manifest", &manifest, "made", &n_made,
                    "succeeded", &n_succeeded, "failed", &n_failed, "gone", &gone) < 0)
        return -EBADMSG;
    r = parse_manifest(manifest, &manifests);
    if (r == 0)
        r = workloads_apply(&kubelet->workloads, &manifests.items[0]);
    if (r < 0)
        return r;
    workload = kubelet->workloads.items[kubelet->workloads.n_items - 1];
    workload->n_made = (uint64_t)n_made;
    workload->n_succeeded = n_succeeded;
    workload->n_failed = n_failed;
    workload->gone = gone;
    return 0;
}

static int parse_container(json_t *entry, struct kubelet *kubelet, struct pod *pod,
                           struct container *container)
{
    const char *reason = NULL;
    int state, exit_code, n_restarts, pid;
    json_int_t start_ticks;

    if (json_unpack(entry, "{s:i, s?s, s:i, s:i, s:i, s:I}", "state", &state, "reason", &reason,
                    "exit_code", &exit_code, "restarts", &n_restarts, "pid", &pid, "start_ticks",
                    &start_ticks) < 0 ||
        state < CONTAINER_WAITING || state > CONTAINER_TERMINATED || n_restarts < 0)
        return -EBADMSG;
    container->state = (enum container_state)state;
    container->exit_code = exit_code;
    container->n_restarts = (unsigned)n_restarts;
    container_set_reason(container, reason);
    answer_deinit(&container->answer);
    answer_collect(&kubelet->manager, pod->uid, container->spec->name, &container->answer);
    if (pid)
        runner_adopt(kubelet, pod, container, pid, (uint64_t)start_ticks);
    return 0;
}

/* Pods created from the workload's current template share it. */
static void share_template(const struct kubelet *kubelet, struct podmanifest *manifest)
{
    const struct workload *workload =
        workloads_find(&kubelet->workloads, manifest->kind, manifest->namespace, manifest->name);
    struct pod_template *template = workload ? workload->manifest.template : NULL;

    if (!template || strcmp(template->source, manifest->template->source) != 0)
        return;
    pod_template_unref(manifest->template);
    manifest->template = pod_template_ref(template);
}

static int make_pod(json_t *entry, struct kubelet *kubelet, const char *namespace, const char *name,
                    struct pod **ret_pod)
{
    cleanup_podmanifests struct podmanifests manifests = MANIFESTS_INIT;
    cleanup_json json_t *object = NULL;
    const char *uid, *owner;
    char *copy;
    json_t *spec;
    int kind, r;

    if (json_unpack(entry, "{s:s, s:s, s:i, s:o}", "uid", &uid, "owner", &owner, "owner_kind",
                    &kind, "spec", &spec) < 0 ||
        kind < MANIFEST_POD || kind > MANIFEST_JOB)
        return -EBADMSG;
    object = json_pack("{s:s, s:{s:s, s:s}, s:O}", "kind", "Pod", "metadata", "name", name,
                       "namespace", namespace, "spec", spec);
    r = parse_manifest(object, &manifests);
    if (r < 0)
        return r;
    copy = strdup(owner);
    if (!copy)
        return -ENOMEM;
    free(manifests.items[0].name);
    manifests.items[0].name = copy;
    manifests.items[0].kind = (enum manifest_kind)kind;
    share_template(kubelet, &manifests.items[0]);
    return pods_add(&kubelet->pods, &manifests.items[0], name, uid, ret_pod);
}

static int parse_pod(json_t *entry, struct kubelet *kubelet)
{
    const char *namespace, *name, *reason = NULL, *message = NULL;
    int phase, scheduled, admitted, deleting, r;
    struct pod *pod;
    json_t *containers;

    if (json_unpack(entry, "{s:s, s:s, s:i, s?s, s?s, s:b, s:b, s:b, s:o}", "namespace", &namespace,
                    "name", &name, "phase", &phase, "reason", &reason, "message", &message,
                    "scheduled", &scheduled, "admitted", &admitted, "deleting", &deleting,
                    "containers", &containers) < 0 ||
        phase < POD_PENDING || phase > POD_FAILED)
        return -EBADMSG;
    r = make_pod(entry, kubelet, namespace, name, &pod);
    if (r < 0)
        return r;
    pod_set_phase(pod, (enum pod_phase)phase, reason, message);
    pod->scheduled = scheduled;
    pod->admitted = admitted;
    pod->deleting = deleting;
    if (json_array_size(containers) != pod->n_containers)
        return -EBADMSG;
    for (size_t i = 0; r == 0 && i < pod->n_containers; i++)
        r = parse_container(json_array_get(containers, i), kubelet, pod, &pod->containers[i]);
    /* A restarted kubelet admits every pod again, except for containers that still run. So after a
     * reboot, pods whose plugins are not back yet are rejected, as on a real node. */
    if (!pod_has_running(pod))
        pod->admitted = false;
    return r;
}

int savefile_load(const char *path, struct kubelet *kubelet, struct error *err)
{
    cleanup_free char *text = NULL;
    cleanup_json json_t *whole = NULL;
    json_t *entry;
    size_t size, i;
    int r = file_read(path, STATE_MAX_BYTES, &text, &size, err);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    whole = json_loadb(text, size, 0, NULL);
    if (!whole)
        return error_set(err, -EBADMSG, "%s is not JSON", path);
    json_array_foreach(json_object_get(whole, "workloads"), i, entry)
    {
        r = parse_workload(entry, kubelet);
        if (r < 0)
            return error_set_errno(err, r, "cannot restore workload %zu of %s", i, path);
    }
    json_array_foreach(json_object_get(whole, "pods"), i, entry)
    {
        r = parse_pod(entry, kubelet);
        if (r < 0)
            return error_set_errno(err, r, "cannot restore pod %zu of %s", i, path);
    }
    return 0;
}
