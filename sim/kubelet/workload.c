// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

static void workload_free(struct workload *workload)
{
    podmanifest_deinit(&workload->manifest);
    free(workload);
}

void workloads_deinit(struct workloads *workloads)
{
    for (size_t i = 0; i < workloads->n_items; i++)
        workload_free(workloads->items[i]);
    free(workloads->items);
    *workloads = (struct workloads){.items = NULL};
}

struct workload *workloads_find(const struct workloads *workloads, enum manifest_kind kind,
                                const char *namespace, const char *name)
{
    for (size_t i = 0; i < workloads->n_items; i++) {
        struct workload *workload = workloads->items[i];

        if (workload->manifest.kind == kind && str_equal(workload->manifest.name, name) &&
            str_equal(workload->manifest.namespace, namespace))
            return workload;
    }
    return NULL;
}

static bool is_same(const struct podmanifest *a, const struct podmanifest *b)
{
    return a->replicas == b->replicas && a->completions == b->completions &&
           a->backoff_limit == b->backoff_limit &&
           str_equal(a->template->source, b->template->source);
}

int workloads_apply(struct workloads *workloads, struct podmanifest *manifest)
{
    struct workload *workload =
        workloads_find(workloads, manifest->kind, manifest->namespace, manifest->name);
    int r = WORKLOAD_CONFIGURED;

    if (workload && !workload->gone && is_same(&workload->manifest, manifest))
        return WORKLOAD_UNCHANGED;
    if (!workload) {
        struct workload **slot;

        workload = calloc(1, sizeof(*workload));
        slot = workload ? array_push(&workloads->items, &workloads->n_items, &workloads->capacity,
                                     sizeof(struct workload *))
                        : NULL;
        if (!slot) {
            free(workload);
            return -ENOMEM;
        }
        *slot = workload;
        r = WORKLOAD_CREATED;
    }
    /* An equal template keeps its pods: from here on templates are compared by address. */
    if (workload->manifest.template &&
        str_equal(workload->manifest.template->source, manifest->template->source)) {
        pod_template_unref(manifest->template);
        manifest->template = pod_template_ref(workload->manifest.template);
    }
    podmanifest_deinit(&workload->manifest);
    workload->manifest = *manifest;
    workload->gone = false;
    workload->n_succeeded = workload->n_failed = 0;
    workload->not_before_ms = workload->delay_ms = 0;
    *manifest = (struct podmanifest){.name = NULL};
    return r;
}

static bool owns(const struct workload *workload, const struct pod *pod)
{
    return pod->owner_kind == workload->manifest.kind &&
           str_equal(pod->owner, workload->manifest.name) &&
           str_equal(pod->namespace, workload->manifest.namespace);
}

static uint64_t fnv1a(const char *text, uint64_t hash)
{
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    return hash;
}

/* The alphabet of generated names: no vowels, so that no word appears by accident. */
static void add_suffix(struct text *name, uint64_t hash, unsigned length)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";

    hash ^= hash >> 29;
    for (; length; length--, hash /= sizeof(letters) - 1)
        text_add_char(name, letters[hash % (sizeof(letters) - 1)]);
}

static void format_name(const struct workload *workload, struct text *name)
{
    const struct podmanifest *manifest = &workload->manifest;
    char counter[24];

    text_clear(name);
    text_add(name, manifest->name);
    if (manifest->kind == MANIFEST_POD)
        return;
    if (manifest->kind == MANIFEST_DEPLOYMENT) {
        text_add_char(name, '-');
        add_suffix(name, fnv1a(manifest->template->source, 14695981039346656037u), 10);
    }
    text_add_char(name, '-');
    snprintf(counter, sizeof(counter), "%llu", (unsigned long long)workload->n_made);
    add_suffix(name, fnv1a(counter, fnv1a(manifest->name, 14695981039346656037u)), 5);
}

static bool make_pod(struct workload *workload, struct pods *pods)
{
    cleanup_text struct text name = TEXT_INIT;
    struct pod *pod;
    int r;

    do {
        format_name(workload, &name);
        workload->n_made++;
        r = text_failed(&name)
                ? -ENOMEM
                : pods_add(pods, &workload->manifest, text_string(&name), NULL, &pod);
    } while (r == -EEXIST && workload->manifest.kind != MANIFEST_POD);
    return r == 0;
}

/* How many pods should be running. */
static int64_t wanted(const struct workload *workload)
{
    const struct podmanifest *manifest = &workload->manifest;
    int64_t missing = manifest->completions - workload->n_succeeded;

    if (workload->gone)
        return 0;
    if (manifest->kind != MANIFEST_JOB)
        return manifest->replicas;
    if (workload->n_failed > manifest->backoff_limit)
        return 0;
    return missing < manifest->replicas ? missing : manifest->replicas;
}

static bool mark_deleting(struct pod *pod)
{
    bool changed = !pod->deleting;

    pod->deleting = true;
    return changed;
}

/* Deletes pods: excess ones (newest first), outdated ones, and those of a Job that failed too
 * often. */
static bool end_pods(struct workload *workload, struct pods *pods, int64_t *n_under_way)
{
    int64_t want = wanted(workload), failures = 0;
    bool changed = false;

    *n_under_way = 0;
    for (size_t i = 0; i < pods->n_items; i++) {
        struct pod *pod = pods->items[i];

        if (!owns(workload, pod) || pod->deleting)
            continue;
        if (workload->gone || pod->template != workload->manifest.template)
            changed |= mark_deleting(pod);
        else if (!pod_is_terminal(pod) && ++*n_under_way > want) {
            changed |= mark_deleting(pod);
            --*n_under_way;
        }
    }
    for (size_t i = pods->n_items; i-- > 0;) {
        struct pod *pod = pods->items[i];

        if (owns(workload, pod) && pod->phase == POD_FAILED && !pod->deleting &&
            ++failures > WORKLOAD_KEPT_FAILURES)
            changed |= mark_deleting(pod);
    }
    return changed;
}

static bool has_pods(const struct workload *workload, const struct pods *pods)
{
    for (size_t i = 0; i < pods->n_items; i++)
        if (owns(workload, pods->items[i]))
            return true;
    return false;
}

/* Returns when to look again, 0 = no timer needed. */
static uint64_t reconcile_one(struct workload *workload, struct pods *pods, uint64_t now_ms,
                              bool *changed)
{
    int64_t n_under_way;
    uint64_t again_ms = 0;

    *changed |= end_pods(workload, pods, &n_under_way);
    /* A bare pod is created once, however it ends; a new template waits until the old pod is
     * gone. */
    if (workload->manifest.kind == MANIFEST_POD && has_pods(workload, pods))
        return 0;
    for (; n_under_way < wanted(workload); n_under_way++) {
        if (workload->not_before_ms > now_ms) {
            again_ms = workload->not_before_ms;
            break;
        }
        if (!make_pod(workload, pods))
            break;
        *changed = true;
    }
    return again_ms;
}

uint64_t workloads_reconcile(struct workloads *workloads, struct pods *pods, uint64_t now_ms,
                             bool *ret_changed)
{
    uint64_t again_ms = 0;
    size_t kept = 0;

    for (size_t i = 0; i < workloads->n_items; i++) {
        struct workload *workload = workloads->items[i];
        uint64_t at_ms = reconcile_one(workload, pods, now_ms, ret_changed);

        if (at_ms && (!again_ms || at_ms < again_ms))
            again_ms = at_ms;
        if (workload->gone && !has_pods(workload, pods))
            workload_free(workload);
        else
            workloads->items[kept++] = workload;
    }
    workloads->n_items = kept;
    return again_ms;
}

void workload_pod_ended(struct workloads *workloads, const struct pod *pod, uint64_t now_ms)
{
    struct workload *workload =
        workloads_find(workloads, pod->owner_kind, pod->namespace, pod->owner);

    if (!workload || pod->template != workload->manifest.template)
        return;
    if (pod->phase == POD_SUCCEEDED) {
        workload->n_succeeded++;
        return;
    }
    workload->n_failed++;
    if (workload->not_before_ms + WORKLOAD_MAX_DELAY_MS < now_ms)
        workload->delay_ms = 0;
    workload->delay_ms = workload->delay_ms ? workload->delay_ms * 2 : 10;
    if (workload->delay_ms > WORKLOAD_MAX_DELAY_MS)
        workload->delay_ms = WORKLOAD_MAX_DELAY_MS;
    workload->not_before_ms = now_ms + workload->delay_ms;
}
