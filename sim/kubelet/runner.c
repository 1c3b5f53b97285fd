// SPDX-License-Identifier: Apache-2.0
#include "runner.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "nodefiles.h"
#include "plugin.h"
#include "process.h"
#include "registry.h"

int runner_log_path(const struct kubelet *kubelet, const struct pod *pod, const char *container,
                    char *buffer, size_t size)
{
    int n = snprintf(buffer, size, "%s/pods/%s_%s_%s%s%s%s", kubelet->options->root_dir,
                     pod->namespace, pod->name, pod->uid, container ? "/" : "",
                     container ? container : "", container ? ".log" : "");

    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static struct container *container_of(struct kubelet *kubelet, const struct process *process,
                                      struct pod **ret_pod)
{
    for (size_t i = 0; i < kubelet->pods.n_items; i++)
        for (size_t k = 0; k < kubelet->pods.items[i]->n_containers; k++)
            if (kubelet->pods.items[i]->containers[k].process == process) {
                *ret_pod = kubelet->pods.items[i];
                return &kubelet->pods.items[i]->containers[k];
            }
    return NULL;
}

static bool has_apps_left(const struct pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++)
        if (pod->containers[i].spec->role == CONTAINER_APP &&
            pod->containers[i].state != CONTAINER_TERMINATED)
            return true;
    return false;
}

static bool should_restart(const struct pod *pod, const struct container *container)
{
    enum restart_policy policy = pod->template->restart_policy;

    if (pod->deleting || pod_is_terminal(pod))
        return false;
    switch (container->spec->role) {
    case CONTAINER_SIDECAR:
        return has_apps_left(pod);
    case CONTAINER_INIT:
        return container->exit_code && policy != RESTART_NEVER;
    case CONTAINER_APP:
        break;
    }
    return policy == RESTART_ALWAYS || (policy == RESTART_ON_FAILURE && container->exit_code);
}

static uint64_t back_off_ms(const struct kubelet *kubelet, unsigned n_restarts)
{
    uint64_t delay = n_restarts ? kubelet->options->restart_back_off_ms : 0;

    for (unsigned i = 1; i < n_restarts && delay < RUNNER_MAX_BACK_OFF_MS; i++)
        delay *= 2;
    return delay < RUNNER_MAX_BACK_OFF_MS ? delay : RUNNER_MAX_BACK_OFF_MS;
}

static void wait_for_restart(struct kubelet *kubelet, struct container *container,
                             const char *reason)
{
    uint64_t delay = back_off_ms(kubelet, container->n_restarts);

    container->state = CONTAINER_WAITING;
    container->n_pre_started = 0;
    container_set_reason(container, delay ? reason : NULL);
    container->not_before_ms = clock_now_ms() + delay;
    container->n_restarts++;
}

static void container_ended(struct kubelet *kubelet, struct pod *pod, struct container *container,
                            int exit_code)
{
    container->state = CONTAINER_TERMINATED;
    container->exit_code = exit_code == PROCESS_EXIT_UNKNOWN ? 137 : exit_code;
    container_set_reason(container, exit_code == PROCESS_EXIT_UNKNOWN ? "ContainerStatusUnknown"
                                    : exit_code                       ? "Error"
                                                                      : "Completed");
    container->kill_at_ms = 0;
    log_info("container exited", "namespace", pod->namespace, "pod", pod->name, "container",
             container->spec->name, "reason", container->reason, "exit_code",
             log_number(container->exit_code));
    if (should_restart(pod, container))
        wait_for_restart(kubelet, container, "CrashLoopBackOff");
    kubelet->state_dirty = true;
    kubelet_wake(kubelet);
}

static void handle_end(struct process *process, int exit_code, void *userdata)
{
    struct kubelet *kubelet = userdata;
    struct pod *pod;
    struct container *container = container_of(kubelet, process, &pod);

    nodefiles_remove(kubelet->options->node_root, process_pid(process));
    if (container) {
        container->process = NULL;
        container_ended(kubelet, pod, container, exit_code);
    }
    process_free(process);
}

void runner_adopt(struct kubelet *kubelet, struct pod *pod, struct container *container, pid_t pid,
                  uint64_t start_ticks)
{
    int r =
        process_adopt(kubelet->loop, pid, start_ticks, handle_end, kubelet, &container->process);

    if (r < 0) {
        container_ended(kubelet, pod, container, PROCESS_EXIT_UNKNOWN);
        return;
    }
    container->state = CONTAINER_RUNNING;
    log_info("container adopted", "namespace", pod->namespace, "pod", pod->name, "container",
             container->spec->name, "pid", log_number(pid));
}

/* A pending PreStartContainer; the pod may be gone when it completes. */
struct pre_start {
    struct kubelet *kubelet;
    size_t container, limit;
    char pod_uid[40];
};

static void start_container(struct kubelet *kubelet, struct pod *pod, struct container *container);

static void refuse_start(struct kubelet *kubelet, struct pod *pod, struct container *container,
                         const char *error)
{
    log_warning("cannot start container", "namespace", pod->namespace, "pod", pod->name,
                "container", container->spec->name, "error", error);
    wait_for_restart(kubelet, container, "CreateContainerConfigError");
}

static void handle_pre_started(const char *error, void *userdata)
{
    cleanup_free struct pre_start *pre_start = userdata;
    struct kubelet *kubelet = pre_start->kubelet;
    struct pod *pod = pods_find_uid(&kubelet->pods, pre_start->pod_uid);
    struct container *container = pod ? &pod->containers[pre_start->container] : NULL;

    if (!container)
        return;
    container->not_before_ms = 0;
    if (error)
        refuse_start(kubelet, pod, container, error);
    else
        container->n_pre_started = pre_start->limit + 1;
    kubelet_wake(kubelet);
}

static int ask_pre_start(struct kubelet *kubelet, struct pod *pod, struct container *container,
                         struct plugin *plugin, const struct allocation *allocation)
{
    struct pre_start *pre_start = calloc(1, sizeof(*pre_start));
    cleanup_ids struct ids ids = IDS_INIT;
    struct error err = ERROR_INIT;
    int r = pre_start ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < allocation->n_devices; i++)
        r = ids_add(&ids, allocation->devices[i].id);
    if (r == 0) {
        pre_start->kubelet = kubelet;
        pre_start->container = (size_t)(container - pod->containers);
        pre_start->limit = container->n_pre_started;
        r = str_copy(pre_start->pod_uid, sizeof(pre_start->pod_uid), pod->uid);
    }
    if (r == 0)
        r = plugin_pre_start(plugin, &ids, handle_pre_started, pre_start, &err);
    if (r < 0)
        free(pre_start);
    return r;
}

/*
 * True if no PreStartContainer call is needed or pending. One for each resource whose plugin asked
 * for it: also when that plugin has gone since, and then the container cannot start.
 */
static bool is_pre_started(struct kubelet *kubelet, struct pod *pod, struct container *container)
{
    for (; container->n_pre_started < container->spec->n_limits; container->n_pre_started++) {
        const char *name = container->spec->limits[container->n_pre_started].resource;
        const struct resource *resource = manager_find(&kubelet->manager, name);
        struct plugin *plugin = registry_find(kubelet->registry, name);
        const struct allocation *allocation =
            manager_find_allocation(&kubelet->manager, pod->uid, container->spec->name, name);

        if (!resource || !resource->wants_pre_start || !allocation)
            continue;
        /* No retry before the call completes, which resets this. */
        container->not_before_ms = UINT64_MAX;
        if (!plugin || !resource->connected)
            refuse_start(kubelet, pod, container,
                         "device plugin PreStartContainer rpc failed with err: endpoint has been "
                         "stopped");
        else if (ask_pre_start(kubelet, pod, container, plugin, allocation) < 0)
            refuse_start(kubelet, pod, container, "out of memory");
        return false;
    }
    return true;
}

/* It runs in any case: an arbiter takes it for a process of the node then. */
static void show_on_node(const struct kubelet *kubelet, const struct pod *pod,
                         const struct container *container)
{
    const struct nodefiles_container shown = {.namespace_ = pod->namespace,
                                              .pod = pod->name,
                                              .pod_uid = pod->uid,
                                              .name = container->spec->name,
                                              .pid = process_pid(container->process)};
    struct error err = ERROR_INIT;

    if (nodefiles_add(kubelet->options->node_root, &shown, &err) < 0)
        log_warning("it cannot be told which pod a process belongs to", "pod", pod->name, "error",
                    error_text(&err));
}

static int run(struct kubelet *kubelet, struct pod *pod, struct container *container,
               struct error *err)
{
    cleanup_command struct command command = COMMAND_INIT;
    struct process_command process = {.dies_with_us = !kubelet->options->keep_pods};
    char directory[PATH_MAX], path[PATH_MAX];
    int r = runner_log_path(kubelet, pod, NULL, directory, sizeof(directory));

    if (r == 0)
        r = runner_log_path(kubelet, pod, container->spec->name, path, sizeof(path));
    if (r < 0)
        return error_set_errno(err, r, "cannot write the log of %s", pod->name);
    r = file_make_directory(directory, err);
    if (r < 0)
        return r;
    answer_deinit(&container->answer);
    r = answer_collect(&kubelet->manager, pod->uid, container->spec->name, &container->answer);
    if (r == 0)
        r = command_build(&kubelet->options->command, pod, container->spec, &container->answer,
                          &command);
    if (r < 0)
        return error_set_errno(err, r, "cannot prepare %s", container->spec->name);
    process.argv = command.argv;
    process.environment = command.environment;
    process.log_path = path;
    r = process_start(kubelet->loop, &process, handle_end, kubelet, &container->process, err);
    if (r < 0)
        return r;
    /* Recorded before it runs: if the stand-in is killed now, the process is not orphaned. */
    kubelet->state_dirty = true;
    kubelet_save(kubelet);
    show_on_node(kubelet, pod, container);
    r = process_go(container->process, err);
    if (r < 0) {
        nodefiles_remove(kubelet->options->node_root, process_pid(container->process));
        process_free(container->process);
        container->process = NULL;
        return error_wrap(err, r, "cannot execute the command of %s", container->spec->name);
    }
    return 0;
}

static void start_container(struct kubelet *kubelet, struct pod *pod, struct container *container)
{
    struct error err = ERROR_INIT;
    int r = run(kubelet, pod, container, &err);

    if (container->answer.n_conflicts)
        log_warning("plugins disagree: the first response wins", "pod", pod->name, "container",
                    container->spec->name, "conflicts", log_number(container->answer.n_conflicts));
    if (r == 0) {
        container->state = CONTAINER_RUNNING;
        container_set_reason(container, NULL);
        log_info("container started", "namespace", pod->namespace, "pod", pod->name, "container",
                 container->spec->name, "pid", log_number(process_pid(container->process)));
        return;
    }
    log_warning("cannot start container", "namespace", pod->namespace, "pod", pod->name,
                "container", container->spec->name, "error", error_text(&err));
    container_ended(kubelet, pod, container, 128);
}

/* True if it was started or a start was attempted. */
static bool try_start(struct kubelet *kubelet, struct pod *pod, struct container *container)
{
    if (container->not_before_ms > clock_now_ms()) {
        if (container->not_before_ms != UINT64_MAX)
            kubelet_wake_at(kubelet, container->not_before_ms);
        return false;
    }
    if (!is_pre_started(kubelet, pod, container))
        return false;
    start_container(kubelet, pod, container);
    kubelet->state_dirty = true;
    return true;
}

static void end_container(struct kubelet *kubelet, struct pod *pod, struct container *container)
{
    uint64_t now_ms = clock_now_ms();

    if (!container->process)
        return;
    if (!container->kill_at_ms) {
        container->kill_at_ms = now_ms + (uint64_t)pod->template->grace_period_s * 1000;
        process_signal(container->process, SIGTERM);
    }
    if (container->kill_at_ms <= now_ms)
        process_signal(container->process, SIGKILL);
    else
        kubelet_wake_at(kubelet, container->kill_at_ms);
}

void runner_end(struct kubelet *kubelet, struct pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++)
        end_container(kubelet, pod, &pod->containers[i]);
}

static bool set_ended(struct kubelet *kubelet, struct pod *pod, enum pod_phase phase)
{
    pod_set_phase(pod, phase, NULL, NULL);
    log_info(phase == POD_SUCCEEDED ? "pod succeeded" : "pod failed", "namespace", pod->namespace,
             "pod", pod->name);
    workload_pod_ended(&kubelet->workloads, pod, clock_now_ms());
    kubelet->state_dirty = true;
    return true;
}

/* Nothing else will run: stop the sidecars, then set the phase. */
static bool finish(struct kubelet *kubelet, struct pod *pod)
{
    enum pod_phase phase = POD_SUCCEEDED;

    if (pod_has_running(pod)) {
        runner_end(kubelet, pod);
        return false;
    }
    for (size_t i = 0; i < pod->n_containers; i++)
        if (pod->containers[i].spec->role != CONTAINER_SIDECAR && pod->containers[i].exit_code)
            phase = POD_FAILED;
    return set_ended(kubelet, pod, phase);
}

bool runner_advance(struct kubelet *kubelet, struct pod *pod)
{
    bool changed = false, all_ended = true;

    for (size_t i = 0; i < pod->n_containers; i++) {
        struct container *container = &pod->containers[i];
        enum container_role role = container->spec->role;

        if (role == CONTAINER_SIDECAR && container->state == CONTAINER_TERMINATED)
            continue;
        if (container->state == CONTAINER_WAITING)
            changed |= try_start(kubelet, pod, container);
        if (role == CONTAINER_INIT && container->state == CONTAINER_TERMINATED &&
            container->exit_code)
            return finish(kubelet, pod) || changed;
        if (role == CONTAINER_INIT && container->state != CONTAINER_TERMINATED)
            return changed;
        if (role == CONTAINER_SIDECAR && container->state == CONTAINER_WAITING)
            return changed;
        if (role == CONTAINER_APP && container->state == CONTAINER_RUNNING &&
            pod->phase == POD_PENDING) {
            pod_set_phase(pod, POD_RUNNING, NULL, NULL);
            kubelet->state_dirty = changed = true;
        }
        if (role == CONTAINER_APP && container->state != CONTAINER_TERMINATED)
            all_ended = false;
    }
    return all_ended ? finish(kubelet, pod) || changed : changed;
}
