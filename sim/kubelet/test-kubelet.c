// SPDX-License-Identifier: Apache-2.0

/* The whole stand-in with a fake plugin, in one loop: real sockets, real processes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "checkpoint.h"
#include "control.h"
#include "fake-plugin.h"
#include "kubelet.h"
#include "objectview.h"
#include "podresources/v1/api.pb.h"
#include "process.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "runner.h"

enum { TIMEOUT_MS = 10000 };

static const char gpu[] = "example.com/gpu";

/* A fresh root directory and a running stand-in for each test. */
struct bed {
    uv_loop_t loop;
    char root[64], plugins[96];
    struct kubelet_options options;
    struct run_rule rules[2];
    struct kubelet *kubelet;
    struct fake_plugin *plugin;
    bool stopped;
};

static void start_kubelet(struct bed *bed)
{
    struct error err = ERROR_INIT;

    bed->stopped = false;
    if (kubelet_new(&bed->loop, &bed->options, &bed->kubelet, &err) < 0)
        fail_msg("%s", error_text(&err));
}

static int set_up(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    log_setup(LOG_ERROR, LOG_LOGFMT);
    uv_loop_init(&bed->loop);
    strcpy(bed->root, "/tmp/gpuslice-kubelet-XXXXXX");
    assert_non_null(mkdtemp(bed->root));
    snprintf(bed->plugins, sizeof(bed->plugins), "%s/device-plugins", bed->root);
    bed->rules[0] = (struct run_rule){"*", "env; exec sleep 1000"};
    bed->options = (struct kubelet_options){
        .root_dir = bed->root,
        .restart_back_off_ms = 1,
        .command = {.rules = bed->rules, .n_rules = 1, .node_name = "node-1"},
    };
    start_kubelet(bed);
    *state = bed;
    return 0;
}

/* Runs the loop until the condition holds; fails after TIMEOUT_MS. */
#define await(bed, condition)                                                                 \
    do {                                                                                      \
        uint64_t end_ms_ = clock_now_ms() + TIMEOUT_MS;                                       \
        uv_timer_t alarm_;                                                                    \
        uv_timer_init(&(bed)->loop, &alarm_);                                                 \
        uv_timer_start(&alarm_, nothing, 5, 5); /* to notice what happens outside the loop */ \
        while (!(condition)) {                                                                \
            if (clock_now_ms() > end_ms_)                                                     \
                fail_msg("never came true: %s", #condition);                                  \
            uv_run(&(bed)->loop, UV_RUN_ONCE);                                                \
        }                                                                                     \
        uv_close((uv_handle_t *)&alarm_, NULL);                                               \
        uv_run(&(bed)->loop, UV_RUN_NOWAIT);                                                  \
    } while (0)

static void nothing(uv_timer_t *timer)
{
}

static struct bed *stopping_bed;

static void handle_stopped(struct kubelet *kubelet)
{
    stopping_bed->stopped = true;
}

static void stop_kubelet(struct bed *bed)
{
    stopping_bed = bed;
    kubelet_stop(bed->kubelet, handle_stopped);
    await(bed, bed->stopped);
    kubelet_free(bed->kubelet);
    bed->kubelet = NULL;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    struct bed *bed = *state;

    bed->options.keep_pods = false;
    if (bed->kubelet)
        stop_kubelet(bed);
    fake_plugin_free(bed->plugin);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bed->loop), 0);
    nftw(bed->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(bed);
    return 0;
}

static struct fake_plugin *start_plugin(struct bed *bed, const char *resource, bool preference)
{
    struct fake_plugin_options options = {
        .directory = bed->plugins, .resource = resource, .offers_preference = preference};
    struct fake_plugin *plugin;

    assert_int_equal(fake_plugin_new(&bed->loop, &options, &plugin), 0);
    return plugin;
}

/* Devices d0, d1 ... of NUMA node 1. */
static void list_devices(struct fake_plugin *plugin, size_t n, size_t n_healthy)
{
    static int64_t node[] = {1};
    struct managed_device devices[32];
    char ids[32][8];

    for (size_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof(ids[i]), "d%02zu", i);
        devices[i] = (struct managed_device){
            .id = ids[i], .healthy = i < n_healthy, .numa_nodes = node, .n_numa_nodes = 1};
    }
    fake_plugin_list(plugin, devices, n);
}

static int check(struct bed *bed, const char *condition)
{
    return control_check(bed->kubelet, condition, NULL);
}

static void start_registered_plugin(struct bed *bed, size_t n_devices)
{
    bed->plugin = start_plugin(bed, gpu, true);
    list_devices(bed->plugin, n_devices, n_devices);
    assert_int_equal(fake_plugin_register(bed->plugin), 0);
    await(bed, manager_find(&bed->kubelet->manager, gpu) &&
                   manager_allocatable(manager_find(&bed->kubelet->manager, gpu)) == n_devices);
}

static void apply(struct bed *bed, const char *text)
{
    struct problems problems = PROBLEMS_INIT;
    struct podmanifests manifests = MANIFESTS_INIT;

    assert_int_equal(podmanifests_parse(text, strlen(text), "default", &problems, &manifests), 0);
    for (size_t i = 0; i < manifests.n_items; i++)
        assert_true(workloads_apply(&bed->kubelet->workloads, &manifests.items[i]) >= 0);
    podmanifests_deinit(&manifests);
    problems_deinit(&problems);
    kubelet_wake(bed->kubelet);
}

static const char deployment[] = "apiVersion: apps/v1\n"
                                 "kind: Deployment\n"
                                 "metadata: {name: demo, namespace: gpu-demo}\n"
                                 "spec:\n"
                                 "  replicas: 3\n"
                                 "  template:\n"
                                 "    spec:\n"
                                 "      containers:\n"
                                 "      - name: c\n"
                                 "        image: any\n"
                                 "        resources: {limits: {example.com/gpu: 2}}\n";

static void test_deployment_runs(void **state)
{
    struct bed *bed = *state;
    const struct pod *pod;

    start_registered_plugin(bed, 8);
    assert_string_equal(fake_plugin_registered(bed->plugin), "OK");
    apply(bed, deployment);
    await(bed, check(bed, "pods=3") == 1);
    assert_int_equal(check(bed, "allocated:example.com/gpu=6"), 1);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_allocates, 3);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_preferences, 3);
    /* The plugin's preference was used: the last ids. */
    pod = bed->kubelet->pods.items[0];
    assert_string_equal(pod->namespace, "gpu-demo");
    assert_string_equal(pod->containers[0].answer.envs[0].value, "d06,d07");
    assert_string_equal(pod->containers[0].answer.mounts[0].host_path, "/host/example.com/gpu");
    assert_string_equal(pod->containers[0].answer.nodes[0].permissions, "rw");
    assert_string_equal(pod->containers[0].answer.cdi_devices[0].key, "fake.example/device=all");
}

static bool log_has(struct bed *bed, const struct pod *pod, const char *line)
{
    char path[512];
    char *text;
    size_t size;
    bool found;

    assert_int_equal(
        runner_log_path(bed->kubelet, pod, pod->containers[0].spec->name, path, sizeof(path)), 0);
    if (file_read(path, 1 << 20, &text, &size, NULL) < 0)
        return false;
    found = strstr(text, line);
    free(text);
    return found;
}

static void test_container_gets_environment(void **state)
{
    struct bed *bed = *state;
    struct pod *pod;

    bed->rules[0].command = "env";
    start_registered_plugin(bed, 2);
    apply(bed, "kind: Pod\n"
               "metadata: {name: one}\n"
               "spec:\n"
               "  restartPolicy: Never\n"
               "  containers:\n"
               "  - name: c\n"
               "    image: any\n"
               "    env: [{name: WHO, value: $(HOSTNAME)-$(FAKE_DEVICES)},\n"
               "          {name: WHERE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]\n"
               "    resources: {limits: {example.com/gpu: 1}}\n");
    await(bed, check(bed, "pods.Succeeded=1") == 1);
    pod = bed->kubelet->pods.items[0];
    assert_true(log_has(bed, pod, "FAKE_DEVICES=d01\n"));
    assert_true(log_has(bed, pod, "HOSTNAME=one\n"));
    assert_true(log_has(bed, pod, "WHO=one-d01\n"));
    assert_true(log_has(bed, pod, "WHERE=default\n"));
}

static void test_pending_until_there_is_room(void **state)
{
    struct bed *bed = *state;

    start_registered_plugin(bed, 4);
    apply(bed, deployment);
    await(bed, check(bed, "pods=2") == 1);
    assert_int_equal(check(bed, "pods.Pending=1"), 1);
    assert_string_equal(bed->kubelet->pods.items[2]->message,
                        "0/1 nodes are available: 1 Insufficient example.com/gpu. no new claims to "
                        "deallocate, preemption: 0/1 nodes are available: 1 No preemption victims "
                        "found for incoming pod.");
    list_devices(bed->plugin, 6, 6);
    await(bed, check(bed, "pods=3") == 1);
}

static void test_devices_return(void **state)
{
    struct bed *bed = *state;

    start_registered_plugin(bed, 6);
    apply(bed, deployment);
    await(bed, check(bed, "pods=3") == 1);
    bed->kubelet->workloads.items[0]->manifest.replicas = 1;
    kubelet_wake(bed->kubelet);
    await(bed, check(bed, "pods.all=1") == 1);
    bed->kubelet->workloads.items[0]->manifest.replicas = 3;
    kubelet_wake(bed->kubelet);
    await(bed, check(bed, "pods=3") == 1);
    assert_int_equal(check(bed, "allocated:example.com/gpu=6"), 1);
}

static void test_failed_allocate_rejects_pod(void **state)
{
    struct bed *bed = *state;

    start_registered_plugin(bed, 2);
    fake_plugin_fail_allocate(bed->plugin, "no such luck");
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {containers: [{name: c, image: any,\n"
               "  resources: {limits: {example.com/gpu: 1}}}]}\n");
    await(bed, check(bed, "pods.Failed=1") == 1);
    assert_string_equal(bed->kubelet->pods.items[0]->reason, "UnexpectedAdmissionError");
    assert_string_equal(bed->kubelet->pods.items[0]->message,
                        "Pod was rejected: Allocate failed due to rpc error: code = Unknown desc = "
                        "no such luck, which is unexpected");
    assert_int_equal(check(bed, "allocated:example.com/gpu=0"), 1);
}

static void test_failed_preference_rejects_pod(void **state)
{
    struct bed *bed = *state;

    start_registered_plugin(bed, 2);
    fake_plugin_fail_preference(bed->plugin, "no opinion");
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {containers: [{name: c, image: any,\n"
               "  resources: {limits: {example.com/gpu: 1}}}]}\n");
    await(bed, check(bed, "pods.Failed=1") == 1);
    assert_string_equal(bed->kubelet->pods.items[0]->message,
                        "Pod was rejected: Allocate failed due to device plugin "
                        "GetPreferredAllocation rpc failed with err: rpc error: code = Unknown "
                        "desc = no opinion, which is unexpected");
}

static void test_failed_pods_are_replaced_slowly(void **state)
{
    struct bed *bed = *state;

    start_registered_plugin(bed, 8);
    fake_plugin_fail_allocate(bed->plugin, "not now");
    apply(bed, deployment);
    await(bed, fake_plugin_counters(bed->plugin)->n_allocates >= 6);
    fake_plugin_fail_allocate(bed->plugin, NULL);
    await(bed, check(bed, "pods=3") == 1);
    assert_true(fake_plugin_counters(bed->plugin)->n_allocates < 40);
}

static void test_init_containers_hand_devices_on(void **state)
{
    struct bed *bed = *state;

    bed->rules[0] = (struct run_rule){"quick", "true"};
    bed->rules[1] = (struct run_rule){"*", "exec sleep 1000"};
    bed->options.command.n_rules = 2;
    start_registered_plugin(bed, 3);
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec:\n"
               "  initContainers:\n"
               "  - {name: first, image: quick, resources: {limits: {example.com/gpu: 2}}}\n"
               "  - {name: side, image: stays, restartPolicy: Always,\n"
               "     resources: {limits: {example.com/gpu: 1}}}\n"
               "  containers:\n"
               "  - {name: app, image: stays, resources: {limits: {example.com/gpu: 2}}}\n");
    await(bed, check(bed, "pods=1") == 1);
    /* 2 + 1 + 2 fit into 3: the sidecar reuses one of the first container's devices, the app the
     * other. */
    assert_int_equal(check(bed, "allocated:example.com/gpu=3"), 1);
    assert_int_equal(bed->kubelet->pods.items[0]->containers[0].state, CONTAINER_TERMINATED);
    assert_int_equal(bed->kubelet->pods.items[0]->containers[1].state, CONTAINER_RUNNING);
    assert_int_equal(fake_plugin_counters(bed->plugin)->last_must_include, 1);
    assert_int_equal(fake_plugin_counters(bed->plugin)->last_available, 2);
    assert_int_equal(fake_plugin_counters(bed->plugin)->last_size, 2);
}

static void test_restart_keeps_devices(void **state)
{
    struct bed *bed = *state;
    struct container *container;

    bed->rules[0].command = "exit 3";
    start_registered_plugin(bed, 2);
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {containers: [{name: c, image: any,\n"
               "  resources: {limits: {example.com/gpu: 1}}}]}\n");
    await(bed, bed->kubelet->pods.n_items == 1 &&
                   bed->kubelet->pods.items[0]->containers[0].n_restarts >= 3);
    container = &bed->kubelet->pods.items[0]->containers[0];
    assert_int_equal(container->exit_code, 3);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_allocates, 1);
}

static void test_command_that_does_not_exist(void **state)
{
    struct bed *bed = *state;

    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {restartPolicy: Never,\n"
               "  containers: [{name: c, image: any, command: [/no/such/program]}]}\n");
    await(bed, check(bed, "pods.Failed=1") == 1);
    assert_int_equal(bed->kubelet->pods.items[0]->containers[0].exit_code, 128);
    assert_null(bed->kubelet->pods.items[0]->containers[0].process);
}

static void test_bad_registrations(void **state)
{
    static const struct {
        const char *version, *resource, *answer;
    } cases[] = {
        {"v1alpha", "example.com/gpu",
         "requested API version \"v1alpha\" is not supported by kubelet. Supported version is "
         "[\"v1beta1\"]"},
        {"v1beta1", "gpu", "the ResourceName \"gpu\" is invalid"},
        {"v1beta1", "kubernetes.io/gpu", "the ResourceName \"kubernetes.io/gpu\" is invalid"},
        {"v1beta1", "example.com/", "the ResourceName \"example.com/\" is invalid"},
    };
    struct bed *bed = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fake_plugin_options options = {
            .directory = bed->plugins, .resource = cases[i].resource, .version = cases[i].version};

        assert_int_equal(fake_plugin_new(&bed->loop, &options, &bed->plugin), 0);
        fake_plugin_register(bed->plugin);
        await(bed, *fake_plugin_registered(bed->plugin));
        assert_string_equal(fake_plugin_registered(bed->plugin), cases[i].answer);
        fake_plugin_free(bed->plugin);
        bed->plugin = NULL;
    }
    assert_int_equal(bed->kubelet->manager.n_resources, 0);
}

static void test_plugin_gone_and_back(void **state)
{
    struct bed *bed = *state;

    start_registered_plugin(bed, 6);
    apply(bed, deployment);
    await(bed, check(bed, "pods=3") == 1);
    fake_plugin_free(bed->plugin);
    await(bed, check(bed, "example.com/gpu=0") == 1);
    /* Still listed for the grace period, and running containers are not affected. */
    assert_int_equal(check(bed, "capacity:example.com/gpu=6"), 1);
    assert_int_equal(check(bed, "pods=3"), 1);
    start_registered_plugin(bed, 6);
    assert_int_equal(check(bed, "allocated:example.com/gpu=6"), 1);
}

/* As in kubelet 1.36: the older plugin's stream is still read, and its end disconnects the newer
 * one. */
static void test_the_newest_registration_is_called(void **state)
{
    struct bed *bed = *state;
    struct fake_plugin *old;

    start_registered_plugin(bed, 6);
    old = bed->plugin;
    start_registered_plugin(bed, 4);
    await(bed, check(bed, "example.com/gpu=4") == 1);
    apply(bed, deployment);
    await(bed, check(bed, "pods=2") == 1);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_allocates, 2);
    list_devices(old, 6, 6);
    await(bed, check(bed, "example.com/gpu=6") == 1 && check(bed, "pods=3") == 1);
    fake_plugin_free(old);
    await(bed, check(bed, "example.com/gpu=0") == 1);
    assert_int_equal(check(bed, "pods=3"), 1);
}

static void test_pre_start(void **state)
{
    struct bed *bed = *state;
    struct fake_plugin_options options = {
        .directory = bed->plugins, .resource = gpu, .wants_pre_start = true};

    assert_int_equal(fake_plugin_new(&bed->loop, &options, &bed->plugin), 0);
    fake_plugin_fail_pre_start(bed->plugin, "not reset yet");
    list_devices(bed->plugin, 2, 2);
    fake_plugin_register(bed->plugin);
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {containers: [{name: c, image: any,\n"
               "  resources: {limits: {example.com/gpu: 1}}}]}\n");
    await(bed, fake_plugin_counters(bed->plugin)->n_pre_starts >= 2);
    assert_int_equal(check(bed, "pods=0"), 1);
    fake_plugin_fail_pre_start(bed->plugin, NULL);
    await(bed, check(bed, "pods=1") == 1);
}

/* Each resource of the container is asked, and each start; while a plugin is away nothing starts.
 */
static void test_pre_start_of_every_resource_and_start(void **state)
{
    struct bed *bed = *state;
    struct fake_plugin_options options = {
        .directory = bed->plugins, .resource = gpu, .wants_pre_start = true};
    struct fake_plugin_options other = {
        .directory = bed->plugins, .resource = "example.com/nic", .wants_pre_start = true};
    const struct container *container;
    struct fake_plugin *nic;

    assert_int_equal(fake_plugin_new(&bed->loop, &options, &bed->plugin), 0);
    assert_int_equal(fake_plugin_new(&bed->loop, &other, &nic), 0);
    list_devices(bed->plugin, 1, 1);
    list_devices(nic, 1, 1);
    fake_plugin_register(bed->plugin);
    fake_plugin_register(nic);
    await(bed, check(bed, "example.com/gpu=1") == 1 && check(bed, "example.com/nic=1") == 1);
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {containers: [{name: c, image: any,\n"
               "  resources: {limits: {example.com/gpu: 1, example.com/nic: 1}}}]}\n");
    await(bed, check(bed, "pods=1") == 1);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_pre_starts, 1);
    assert_int_equal(fake_plugin_counters(nic)->n_pre_starts, 1);
    container = &bed->kubelet->pods.items[0]->containers[0];
    fake_plugin_free(TAKE_PTR(bed->plugin));
    await(bed, check(bed, "example.com/gpu=0") == 1);
    kill(-process_pid(container->process), SIGKILL);
    await(bed, container->n_restarts >= 2);
    assert_null(container->process);
    assert_string_equal(container->reason, "CreateContainerConfigError");
    assert_int_equal(fake_plugin_new(&bed->loop, &options, &bed->plugin), 0);
    list_devices(bed->plugin, 1, 1);
    fake_plugin_register(bed->plugin);
    await(bed, container->process);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_pre_starts, 1);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_allocates, 0);
    fake_plugin_free(nic);
}

static void test_kubelet_restart_keeps_pods(void **state)
{
    struct bed *bed = *state;
    struct pod *pod;
    char *uid, *ids;
    pid_t pid;

    stop_kubelet(bed);
    bed->options.keep_pods = true;
    start_kubelet(bed);
    start_registered_plugin(bed, 6);
    apply(bed, deployment);
    await(bed, check(bed, "pods=3") == 1);
    pod = bed->kubelet->pods.items[1];
    pid = process_pid(pod->containers[0].process);
    uid = strdup(pod->uid);
    ids = strdup(pod->containers[0].answer.envs[0].value);
    stop_kubelet(bed);
    start_kubelet(bed);
    assert_int_equal(check(bed, "pods=3"), 1);
    /* No capacity before the plugin is back, but the allocations are complete. */
    assert_int_equal(check(bed, "capacity:example.com/gpu=0"), 1);
    assert_int_equal(check(bed, "allocated:example.com/gpu=6"), 1);
    fake_plugin_free(bed->plugin);
    start_registered_plugin(bed, 6);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_allocates, 0);
    pod = bed->kubelet->pods.items[1];
    assert_string_equal(pod->uid, uid);
    assert_string_equal(pod->containers[0].answer.envs[0].value, ids);
    assert_int_equal(process_pid(pod->containers[0].process), pid);
    /* The exit of an adopted process is still noticed, and it is replaced in its pod. */
    kill(-pid, SIGKILL);
    await(bed, pod->containers[0].n_restarts == 1 && pod->containers[0].process);
    assert_int_not_equal(process_pid(pod->containers[0].process), pid);
    assert_int_equal(fake_plugin_counters(bed->plugin)->n_allocates, 0);
    free(uid);
    free(ids);
}

/* The PID that the pod's container printed first. */
static bool read_child_pid(struct bed *bed, pid_t *ret_pid)
{
    const struct pod *pod = bed->kubelet->pods.items[0];
    char path[512], *text = NULL;
    size_t size;

    runner_log_path(bed->kubelet, pod, pod->containers[0].spec->name, path, sizeof(path));
    if (file_read(path, 1 << 20, &text, &size, NULL) < 0)
        return false;
    *ret_pid = atoi(text);
    free(text);
    uv_run(&bed->loop, UV_RUN_NOWAIT);
    return *ret_pid > 0;
}

/* An unreaped zombie is not alive. */
static bool is_alive(pid_t pid)
{
    char path[64], *text, state;
    size_t size;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read(path, 4096, &text, &size, NULL) < 0)
        return false;
    state = strrchr(text, ')')[2];
    free(text);
    return state != 'Z' && state != 'X';
}

static void test_reboot_rejects_pods_of_late_plugins(void **state)
{
    struct bed *bed = *state;
    pid_t pids[3];

    stop_kubelet(bed);
    bed->options.keep_pods = true;
    start_kubelet(bed);
    start_registered_plugin(bed, 6);
    apply(bed, deployment);
    await(bed, check(bed, "pods=3") == 1);
    for (size_t i = 0; i < 3; i++)
        pids[i] = process_pid(bed->kubelet->pods.items[i]->containers[0].process);
    stop_kubelet(bed);
    for (size_t i = 0; i < 3; i++) {
        kill(-pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    start_kubelet(bed);
    await(bed, check(bed, "pods.Failed=3") == 1);
    assert_string_equal(bed->kubelet->pods.items[0]->message,
                        "Pod was rejected: Allocate failed due to no healthy devices present; "
                        "cannot allocate unhealthy devices example.com/gpu, which is unexpected");
    /* Their controller replaces them once the plugin is back. */
    fake_plugin_free(bed->plugin);
    start_registered_plugin(bed, 6);
    await(bed, check(bed, "pods=3") == 1);
}

static void test_second_stop_kills(void **state)
{
    struct bed *bed = *state;

    bed->rules[0].command = "trap '' TERM; echo $$; while :; do sleep 1000; done";
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {containers: [{name: c, image: any}]}\n");
    await(bed, check(bed, "pods=1") == 1);
    await(bed, read_child_pid(bed, &(pid_t){0}));
    stopping_bed = bed;
    kubelet_stop(bed->kubelet, handle_stopped);
    await(bed, bed->kubelet->pods.items[0]->containers[0].kill_at_ms);
    assert_false(bed->stopped);
    stop_kubelet(bed);
}

static void test_stop_leaves_nothing(void **state)
{
    struct bed *bed = *state;
    pid_t pid;

    /* The first process ignores no signal, its child ignores SIGTERM. */
    bed->rules[0].command = "sh -c 'trap \"\" TERM; echo $$; sleep 1000' & wait";
    apply(bed, "kind: Pod\nmetadata: {name: one}\n"
               "spec: {containers: [{name: c, image: any}]}\n");
    await(bed, check(bed, "pods=1") == 1);
    await(bed, read_child_pid(bed, &pid));
    stop_kubelet(bed);
    await(bed, !is_alive(pid));
}

static void leave_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

/* Sockets go, files and folders of others stay. */
static void test_start_wipes_the_folder(void **state)
{
    struct bed *bed = *state;
    char stale[108], file[128], folder[128];
    struct stat info;

    stop_kubelet(bed);
    snprintf(stale, sizeof(stale), "%s/stale.sock", bed->plugins);
    snprintf(folder, sizeof(folder), "%s/folder", bed->plugins);
    snprintf(file, sizeof(file), "%s/config.json", bed->plugins);
    leave_socket(stale);
    assert_int_equal(file_write_atomic(file, "", 0, 0600, NULL), 0);
    assert_int_equal(mkdir(folder, 0755), 0);
    start_kubelet(bed);
    assert_int_equal(stat(stale, &info), -1);
    assert_int_equal(stat(file, &info), 0);
    assert_int_equal(stat(folder, &info), 0);
}

/* A kubelet whose root lies elsewhere: plugins and the checkpoint do not move with it. */
static void test_plugins_beside_the_root(void **state)
{
    struct bed *bed = *state;
    char path[160];
    struct stat info;

    stop_kubelet(bed);
    snprintf(bed->plugins, sizeof(bed->plugins), "%s/elsewhere", bed->root);
    bed->options.plugin_dir = bed->plugins;
    start_kubelet(bed);
    snprintf(path, sizeof(path), "%s/kubelet.sock", bed->plugins);
    assert_int_equal(stat(path, &info), 0);
    snprintf(path, sizeof(path), "%s/" CHECKPOINT_NAME, bed->plugins);
    await(bed, stat(path, &info) == 0);
    snprintf(path, sizeof(path), "%s/pod-resources/kubelet.sock", bed->root);
    assert_int_equal(stat(path, &info), 0);
}

/* ---- pod-resources ---- */

struct reply {
    bool done;
    enum rpc_status status;
    char text[256];
    void *data;
    size_t size;
};

static void handle_reply(struct rpc_request *request, enum rpc_status status, const char *text,
                         const void *message, size_t size, void *userdata)
{
    struct reply *reply = userdata;

    reply->done = true;
    reply->status = status;
    snprintf(reply->text, sizeof(reply->text), "%s", text);
    reply->data = malloc(size + 1);
    if (size)
        memcpy(reply->data, message, size);
    reply->size = size;
}

static void call_podresources(struct bed *bed, const char *method, const pb_msgdesc_t *fields,
                              const void *message, struct reply *reply)
{
    struct rpc_client *client;
    char path[160];
    void *data;
    size_t size;

    snprintf(path, sizeof(path), "%s/pod-resources/kubelet.sock", bed->root);
    assert_int_equal(rpc_client_new(&bed->loop, path, &client, NULL), 0);
    assert_int_equal(message_encode(fields, message, &data, &size), 0);
    *reply = (struct reply){.done = false};
    assert_int_equal(rpc_client_call(client,
                                     &(struct rpc_invocation){.method = method,
                                                              .message = data,
                                                              .size = size,
                                                              .deadline_ms = 5000,
                                                              .on_done = handle_reply,
                                                              .userdata = reply},
                                     NULL, NULL),
                     0);
    free(data);
    await(bed, reply->done);
    rpc_client_free(client);
}

static void test_podresources(void **state)
{
    struct bed *bed = *state;
    v1_ListPodResourcesRequest none = v1_ListPodResourcesRequest_init_zero;
    v1_ListPodResourcesResponse list;
    v1_AllocatableResourcesResponse allocatable;
    char name[] = "nobody", namespace[] = "gpu-demo";
    v1_GetPodResourcesRequest get = {.pod_name = name, .pod_namespace = namespace};
    struct reply reply;

    start_registered_plugin(bed, 8);
    apply(bed, deployment);
    await(bed, check(bed, "pods=3") == 1);
    call_podresources(bed, "/v1.PodResourcesLister/List", v1_ListPodResourcesRequest_fields, &none,
                      &reply);
    assert_int_equal(
        message_decode(v1_ListPodResourcesResponse_fields, reply.data, reply.size, &list), 0);
    assert_int_equal(list.pod_resources_count, 3);
    assert_string_equal(list.pod_resources[0].namespace, "gpu-demo");
    assert_int_equal(list.pod_resources[0].containers_count, 1);
    /* One entry per device. */
    assert_int_equal(list.pod_resources[0].containers[0].devices_count, 2);
    assert_string_equal(list.pod_resources[0].containers[0].devices[0].resource_name, gpu);
    assert_string_equal(list.pod_resources[0].containers[0].devices[0].device_ids[0], "d06");
    assert_int_equal(list.pod_resources[0].containers[0].devices[0].topology.nodes[0].ID, 1);
    message_release(v1_ListPodResourcesResponse_fields, &list);
    free(reply.data);

    list_devices(bed->plugin, 8, 7);
    await(bed, check(bed, "example.com/gpu=7") == 1);
    call_podresources(bed, "/v1.PodResourcesLister/GetAllocatableResources",
                      v1_ListPodResourcesRequest_fields, &none, &reply);
    assert_int_equal(message_decode(v1_AllocatableResourcesResponse_fields, reply.data, reply.size,
                                    &allocatable),
                     0);
    assert_int_equal(allocatable.devices_count, 7);
    message_release(v1_AllocatableResourcesResponse_fields, &allocatable);
    free(reply.data);

    call_podresources(bed, "/v1.PodResourcesLister/Get", v1_GetPodResourcesRequest_fields, &get,
                      &reply);
    assert_int_equal(reply.status, RPC_UNKNOWN);
    assert_string_equal(reply.text, "pod nobody in namespace gpu-demo not found");
    free(reply.data);
}

static void test_view(void **state)
{
    struct bed *bed = *state;
    cleanup_text struct text json = TEXT_INIT, table = TEXT_INIT, node = TEXT_INIT;

    start_registered_plugin(bed, 8);
    apply(bed, deployment);
    await(bed, check(bed, "pods=3") == 1);
    assert_int_equal(objectview_pods(bed->kubelet, VIEW_JSON, &json), 0);
    assert_non_null(strstr(text_string(&json), "\"FAKE_DEVICES\": \"d06,d07\""));
    assert_non_null(strstr(text_string(&json), "\"phase\": \"Running\""));
    assert_int_equal(objectview_pods(bed->kubelet, VIEW_TABLE, &table), 0);
    assert_non_null(strstr(text_string(&table), "d06,d07"));
    assert_int_equal(objectview_node(bed->kubelet, VIEW_JSON, &node), 0);
    assert_non_null(strstr(text_string(&node), "\"example.com/gpu\": 8"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_deployment_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_container_gets_environment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pending_until_there_is_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_devices_return, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_allocate_rejects_pod, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_preference_rejects_pod, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_pods_are_replaced_slowly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_init_containers_hand_devices_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart_keeps_devices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_command_that_does_not_exist, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_registrations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_plugin_gone_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_newest_registration_is_called, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pre_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pre_start_of_every_resource_and_start, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_kubelet_restart_keeps_pods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reboot_rejects_pods_of_late_plugins, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_second_stop_kills, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_start_wipes_the_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_plugins_beside_the_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_podresources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_view, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
