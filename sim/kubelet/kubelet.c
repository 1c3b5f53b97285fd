// SPDX-License-Identifier: Apache-2.0
#include "kubelet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "checkpoint.h"
#include "control.h"
#include "nodefiles.h"
#include "podlister.h"
#include "process.h"
#include "registry.h"
#include "rootdir.h"
#include "runner.h"
#include "savefile.h"
#include "scheduler.h"

static int path_in_root(const struct kubelet *kubelet, const char *name, struct text *path)
{
    text_clear(path);
    text_addf(path, "%s/%s", kubelet->options->root_dir, name);
    return text_failed(path) ? -ENOMEM : 0;
}

/* A file in the folder where plugins register, or that folder itself. */
static int path_in_plugins(const struct kubelet *kubelet, const char *name, struct text *path)
{
    if (kubelet->options->plugin_dir) {
        text_clear(path);
        text_add(path, kubelet->options->plugin_dir);
    } else if (path_in_root(kubelet, "device-plugins", path) < 0) {
        return -ENOMEM;
    }
    if (name)
        text_addf(path, "/%s", name);
    return text_failed(path) ? -ENOMEM : 0;
}

bool kubelet_is_active(const char *pod_uid, void *userdata)
{
    const struct kubelet *kubelet = userdata;
    const struct pod *pod = pods_find_uid(&kubelet->pods, pod_uid);

    return pod && pod_is_active(pod);
}

size_t kubelet_allocated(const struct kubelet *kubelet, const char *resource)
{
    const struct manager *manager = &kubelet->manager;
    cleanup_ids struct ids held = IDS_INIT;

    for (size_t i = 0; i < manager->n_allocations; i++) {
        const struct allocation *one = &manager->allocations[i];
        const struct pod *pod = pods_find_uid(&kubelet->pods, one->pod_uid);

        if (!str_equal(one->resource, resource) || !pod || !pod_is_active(pod))
            continue;
        for (size_t k = 0; k < one->n_devices; k++)
            ids_add(&held, one->devices[k].id);
    }
    return held.n_items;
}

/* ---- sync ---- */

/* Pods being deleted: stop them, and remove them once nothing of them runs. */
static bool remove_pods(struct kubelet *kubelet)
{
    bool changed = false;
    size_t i = 0;

    while (i < kubelet->pods.n_items) {
        struct pod *pod = kubelet->pods.items[i];

        if (!pod->deleting || admission_is_of(&kubelet->admission, pod)) {
            i++;
        } else if (pod_has_running(pod)) {
            runner_end(kubelet, pod);
            i++;
        } else {
            log_info("pod removed", "namespace", pod->namespace, "pod", pod->name);
            pods_remove(&kubelet->pods, pod);
            changed = true;
        }
    }
    return changed;
}

static void admit_next(struct kubelet *kubelet)
{
    for (size_t i = 0; i < kubelet->pods.n_items; i++) {
        struct pod *pod = kubelet->pods.items[i];

        if (admission_is_busy(&kubelet->admission))
            return;
        if (pod->scheduled && !pod->admitted && !pod->deleting && !pod_is_terminal(pod))
            admission_begin(kubelet, pod);
    }
}

static bool advance_pods(struct kubelet *kubelet)
{
    bool changed = false;

    for (size_t i = 0; i < kubelet->pods.n_items; i++) {
        struct pod *pod = kubelet->pods.items[i];

        if (pod->admitted && !pod->deleting && !pod_is_terminal(pod))
            changed |= runner_advance(kubelet, pod);
    }
    return changed;
}

void kubelet_save(struct kubelet *kubelet)
{
    cleanup_text struct text path = TEXT_INIT;
    struct error err = ERROR_INIT;
    int r = 0;

    if (kubelet->checkpoint_dirty) {
        r = path_in_plugins(kubelet, CHECKPOINT_NAME, &path);
        if (r == 0)
            r = checkpoint_store(text_string(&path), &kubelet->manager, &err);
    }
    if (r == 0 && kubelet->state_dirty) {
        r = path_in_root(kubelet, STATE_NAME, &path);
        if (r == 0)
            r = savefile_store(text_string(&path), kubelet, &err);
    }
    if (r < 0)
        log_error("cannot save", "error", error_text(&err));
    kubelet->checkpoint_dirty = kubelet->state_dirty = false;
}

static void expire_resources(struct kubelet *kubelet)
{
    uint64_t next_ms;
    size_t n = manager_expire(&kubelet->manager, clock_now_ms(), &next_ms);

    if (n) {
        log_info("resources of stopped plugins forgotten", "count", log_number(n));
        kubelet->checkpoint_dirty = true;
    }
    if (next_ms)
        kubelet_wake_at(kubelet, next_ms);
}

static void kubelet_sync(struct kubelet *kubelet)
{
    bool changed = false;
    uint64_t again_ms;

    expire_resources(kubelet);
    if (!kubelet->stopping || !kubelet->options->keep_pods) {
        changed |= remove_pods(kubelet);
        again_ms =
            workloads_reconcile(&kubelet->workloads, &kubelet->pods, clock_now_ms(), &changed);
        if (again_ms)
            kubelet_wake_at(kubelet, again_ms);
        changed |= scheduler_run(&kubelet->manager, &kubelet->pods);
        admit_next(kubelet);
        changed |= advance_pods(kubelet);
    }
    kubelet->state_dirty |= changed;
    if (changed)
        kubelet_wake(kubelet);
    kubelet_save(kubelet);
    if (kubelet->control)
        control_notify(kubelet->control);
    if (kubelet->stopping && kubelet->on_stopped &&
        (kubelet->options->keep_pods || (!kubelet->pods.n_items && !kubelet->workloads.n_items))) {
        void (*on_stopped)(struct kubelet *) = TAKE_PTR(kubelet->on_stopped);

        on_stopped(kubelet);
    }
}

static void handle_timer(uv_timer_t *timer)
{
    struct kubelet *kubelet = timer->data;

    kubelet->due_ms = 0;
    kubelet_sync(kubelet);
}

void kubelet_wake_at(struct kubelet *kubelet, uint64_t at_ms)
{
    uint64_t now_ms = clock_now_ms();

    if (kubelet->due_ms && kubelet->due_ms <= at_ms)
        return;
    kubelet->due_ms = at_ms;
    uv_update_time(kubelet->loop);
    uv_timer_start(&kubelet->timer, handle_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

void kubelet_wake(struct kubelet *kubelet)
{
    kubelet_wake_at(kubelet, 1);
}

/* ---- life ---- */

static void take_over(struct kubelet *kubelet)
{
    cleanup_text struct text path = TEXT_INIT;
    struct error err = ERROR_INIT;
    int r = path_in_plugins(kubelet, CHECKPOINT_NAME, &path);

    if (r == 0)
        r = checkpoint_load(text_string(&path), clock_now_ms(), &kubelet->manager, &err);
    if (r < 0)
        log_warning("ignoring the checkpoint", "error", error_text(&err));
    r = path_in_root(kubelet, STATE_NAME, &path);
    if (r == 0)
        r = savefile_load(text_string(&path), kubelet, &err);
    if (r < 0)
        log_warning("ignoring the saved pods", "error", error_text(&err));
}

static int listen_all(struct kubelet *kubelet, struct error *err)
{
    cleanup_text struct text path = TEXT_INIT;
    int r = path_in_root(kubelet, "pod-resources", &path);

    if (r == 0)
        r = podlister_new(kubelet, text_string(&path), &kubelet->podlister, err);
    if (r == 0)
        r = path_in_plugins(kubelet, NULL, &path);
    if (r == 0)
        r = registry_new(kubelet, text_string(&path), &kubelet->registry, err);
    return r;
}

static int make_node_files(const struct kubelet *kubelet, struct error *err)
{
    cleanup_text struct text pods = TEXT_INIT;
    const int r = path_in_root(kubelet, "pods", &pods);

    return r < 0 ? error_set_errno(err, r, "cannot start")
                 : nodefiles_make(kubelet->options->node_root, text_string(&pods), err);
}

int kubelet_new(uv_loop_t *loop, const struct kubelet_options *options,
                struct kubelet **ret_kubelet, struct error *err)
{
    struct kubelet *kubelet = calloc(1, sizeof(*kubelet));
    cleanup_text struct text path = TEXT_INIT;
    int r;

    if (!kubelet)
        return error_set_errno(err, -ENOMEM, "cannot start");
    kubelet->loop = loop;
    kubelet->options = options;
    kubelet->timer.data = kubelet;
    uv_timer_init(loop, &kubelet->timer);
    r = rootdir_check(options->root_dir, options->plugin_dir, err);
    if (r == 0)
        r = file_make_directory(options->root_dir, err);
    if (r == 0)
        r = make_node_files(kubelet, err);
    if (r == 0)
        r = path_in_root(kubelet, CONTROL_NAME, &path);
    if (r == 0)
        r = control_new(kubelet, text_string(&path), &kubelet->control, err);
    if (r == 0) {
        take_over(kubelet);
        r = listen_all(kubelet, err);
    }
    if (r < 0) {
        kubelet_free(kubelet);
        return r;
    }
    kubelet->checkpoint_dirty = kubelet->state_dirty = true;
    kubelet_wake(kubelet);
    *ret_kubelet = kubelet;
    return 0;
}

/* From now on grace periods are not waited for. */
static void end_at_once(struct kubelet *kubelet)
{
    for (size_t i = 0; i < kubelet->pods.n_items; i++)
        for (size_t k = 0; k < kubelet->pods.items[i]->n_containers; k++)
            if (kubelet->pods.items[i]->containers[k].kill_at_ms)
                kubelet->pods.items[i]->containers[k].kill_at_ms = 1;
    kubelet_wake(kubelet);
}

void kubelet_stop(struct kubelet *kubelet, void (*on_stopped)(struct kubelet *kubelet))
{
    if (kubelet->stopping) {
        end_at_once(kubelet);
        return;
    }
    kubelet->stopping = true;
    kubelet->on_stopped = on_stopped;
    if (!kubelet->options->keep_pods)
        for (size_t i = 0; i < kubelet->workloads.n_items; i++)
            kubelet->workloads.items[i]->gone = true;
    kubelet->state_dirty = true;
    kubelet_wake(kubelet);
}

static void kubelet_released(uv_handle_t *handle)
{
    struct kubelet *kubelet = handle->data;

    admission_deinit(&kubelet->admission);
    pods_deinit(&kubelet->pods);
    workloads_deinit(&kubelet->workloads);
    manager_deinit(&kubelet->manager);
    free(kubelet);
}

void kubelet_free(struct kubelet *kubelet)
{
    /* Nothing may be answered or written any more: just close what is open. */
    for (size_t i = 0; i < kubelet->pods.n_items; i++)
        for (size_t k = 0; k < kubelet->pods.items[i]->n_containers; k++) {
            process_free(kubelet->pods.items[i]->containers[k].process);
            kubelet->pods.items[i]->containers[k].process = NULL;
        }
    control_free(kubelet->control);
    registry_free(kubelet->registry);
    podlister_free(kubelet->podlister);
    uv_close((uv_handle_t *)&kubelet->timer, kubelet_released);
}
