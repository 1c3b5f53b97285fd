// SPDX-License-Identifier: Apache-2.0

/*
 * PreStartContainer between the kubelet's stand-in and a resource that wants it: sockets, the grant
 * log, its directories and the containers are real. No configuration asks for it before limits are
 * enforced, so the endpoint is set up here.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "control.h"
#include "kubelet.h"
#include "plugin/endpoint.h"
#include "plugin/grants.h"
#include "plugin/podresources.h"
#include "plugin/registration.h"
#include "plugin/test-bed.h"
#include "process.h"

enum { TIMEOUT_MS = 30000 };

#define GPU "nvidia.com/gpu"

struct world {
    uv_loop_t loop;
    uv_timer_t alarm; /* of await */
    char root[64], plugins[96], kubelet_path[128], podresources_path[128];
    char log_folder[96];
    char seen_path[96]; /* the container writes the grants' directories there when it starts */
    char command[512];
    struct run_rule rule;
    struct kubelet_options options;
    struct kubelet *kubelet;
    bool is_stopped, is_registered;
    struct offer *now;
    const struct offer *offer, *earlier;
    struct podresources *podresources;
    struct grants *grants;
    struct endpoint endpoint;
    struct registration registration;
};

static void nothing(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until the condition holds; fails after TIMEOUT_MS. The timer notices what happens
 * outside the loop. */
#define await(world, condition)                              \
    do {                                                     \
        uint64_t end_ms_ = clock_now_ms() + TIMEOUT_MS;      \
        uv_timer_start(&(world)->alarm, nothing, 5, 5);      \
        while (!(condition)) {                               \
            if (clock_now_ms() > end_ms_)                    \
                fail_msg("never came true: %s", #condition); \
            uv_run(&(world)->loop, UV_RUN_ONCE);             \
        }                                                    \
        uv_timer_stop(&(world)->alarm);                      \
    } while (0)

static bool is_ours(const struct grant *held, void *userdata)
{
    (void)userdata;
    return strcmp(held->resource, GPU) == 0;
}

static void ignore(void *userdata)
{
    (void)userdata;
}

static void on_registered(const char *why, void *userdata)
{
    struct world *world = userdata;

    if (why)
        fail_msg("%s", why);
    world->is_registered = true;
}

static void start_grants(struct world *world)
{
    const struct grants_setup setup = {
        .loop = &world->loop,
        .folder = world->log_folder,
        .kubelet_folder = world->plugins,
        .list = podresources_list,
        .podresources = world->podresources,
        .keeps_directories = true,
        .is_ours = is_ours,
        .on_state = ignore,
        .on_stale_checkpoint = ignore,
        .userdata = world,
    };

    assert_int_equal(grants_new(&setup, &world->grants, NULL), 0);
    await(world, grants_is_ready(world->grants));
    assert_string_equal(grants_problem(world->grants), "");
}

static void start_plugin(struct world *world)
{
    const struct endpoint_setup endpoint = {
        .loop = &world->loop,
        .folder = world->plugins,
        .resource = GPU,
        .offer = &world->offer,
        .earlier = &world->earlier,
        .grants = &world->grants,
        .wants_pre_start = true,
        .on_let_go = ignore,
        .userdata = world,
    };
    const struct registration_setup registration = {
        .loop = &world->loop,
        .kubelet_path = world->kubelet_path,
        .endpoint = world->endpoint.name,
        .resource = GPU,
        .wants_pre_start = true,
        .on_done = on_registered,
        .userdata = world,
    };

    world->offer = world->now = bed_offer(BED_SHARED_BY_4);
    assert_int_equal(
        podresources_new(&world->loop, world->podresources_path, &world->podresources, NULL), 0);
    start_grants(world);
    endpoint_init(&world->endpoint, &endpoint);
    assert_int_equal(endpoint_listen(&world->endpoint, NULL), 0);
    assert_int_equal(registration_call(&world->registration, &registration, NULL), 0);
    await(world, world->is_registered);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct error err = ERROR_INIT;

    log_setup(LOG_ERROR, LOG_LOGFMT);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    uv_timer_init(&world->loop, &world->alarm);
    snprintf(world->root, sizeof(world->root), "/tmp/gpuslice-prestart-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->plugins, sizeof(world->plugins), "%s/device-plugins", world->root);
    snprintf(world->kubelet_path, sizeof(world->kubelet_path), "%s/kubelet.sock", world->plugins);
    snprintf(world->podresources_path, sizeof(world->podresources_path),
             "%s/pod-resources/kubelet.sock", world->root);
    snprintf(world->log_folder, sizeof(world->log_folder), "%s/gpuslice", world->root);
    snprintf(world->seen_path, sizeof(world->seen_path), "%s/seen", world->root);
    snprintf(world->command, sizeof(world->command),
             "ls %s/grants > %s.new; mv %s.new %s; exec sleep 1000", world->log_folder,
             world->seen_path, world->seen_path, world->seen_path);
    assert_int_equal(mkdir(world->log_folder, 0755), 0);
    world->rule = (struct run_rule){"*", world->command};
    world->options = (struct kubelet_options){
        .root_dir = world->root,
        .restart_back_off_ms = 1,
        .command = {.rules = &world->rule, .n_rules = 1, .node_name = "node-1"},
    };
    if (kubelet_new(&world->loop, &world->options, &world->kubelet, &err) < 0)
        fail_msg("%s", error_text(&err));
    start_plugin(world);
    *state = world;
    return 0;
}

static struct world *stopping;

static void on_stopped(struct kubelet *kubelet)
{
    (void)kubelet;
    stopping->is_stopped = true;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct world *world = *state;

    stopping = world;
    kubelet_stop(world->kubelet, on_stopped);
    await(world, world->is_stopped);
    registration_cancel(&world->registration);
    endpoint_deinit(&world->endpoint);
    grants_free(world->grants);
    podresources_free(world->podresources);
    kubelet_free(world->kubelet);
    uv_close((uv_handle_t *)&world->alarm, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    bed_offer_free(world->now);
    nftw(world->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(world);
    return 0;
}

/* What the newest container saw of the grants' directories when it started. */
static void take_seen(struct world *world, char grant_id[GRANT_ID_SIZE])
{
    cleanup_free char *text = NULL;
    size_t size;

    await(world, access(world->seen_path, F_OK) == 0);
    assert_int_equal(file_read(world->seen_path, 4096, &text, &size, NULL), 0);
    assert_int_equal(unlink(world->seen_path), 0);
    assert_int_equal(size, GRANT_ID_SIZE); /* one name and a line's end */
    memcpy(grant_id, text, GRANT_ID_SIZE - 1);
    grant_id[GRANT_ID_SIZE - 1] = '\0';
}

/* A pod with one slice runs; its container, and the grant that it saw. */
static const struct container *run_pod(struct world *world, char grant_id[GRANT_ID_SIZE])
{
    static const char text[] = "kind: Pod\nmetadata: {name: one}\n"
                               "spec: {containers: [{name: c, image: any,\n"
                               "  resources: {limits: {nvidia.com/gpu: 1}}}]}\n";
    struct problems problems = PROBLEMS_INIT;
    struct podmanifests manifests = MANIFESTS_INIT;

    assert_int_equal(podmanifests_parse(text, strlen(text), "default", &problems, &manifests), 0);
    assert_true(workloads_apply(&world->kubelet->workloads, &manifests.items[0]) >= 0);
    podmanifests_deinit(&manifests);
    problems_deinit(&problems);
    kubelet_wake(world->kubelet);
    await(world, control_check(world->kubelet, "pods=1", NULL) == 1);
    take_seen(world, grant_id);
    assert_int_equal(grants_counters(world->grants).grants.n_current, 1);
    return &world->kubelet->pods.items[0]->containers[0];
}

static void end_container(struct world *world, const struct container *container)
{
    unsigned n_restarts = container->n_restarts;

    kill(-process_pid(container->process), SIGKILL);
    await(world, container->n_restarts > n_restarts);
}

static void remove_directory(const struct world *world, const char *grant_id)
{
    cleanup_text struct text path = TEXT_INIT;

    text_addf(&path, "%s/grants/%s/limits", world->log_folder, grant_id);
    assert_int_equal(unlink(text_string(&path)), 0);
    text_clear(&path);
    text_addf(&path, "%s/grants/%s", world->log_folder, grant_id);
    assert_int_equal(rmdir(text_string(&path)), 0);
}

static void a_lost_directory_is_there_when_the_container_starts_again(void **state)
{
    char before[GRANT_ID_SIZE], after[GRANT_ID_SIZE];
    struct world *world = *state;
    const struct container *container = run_pod(world, before);

    remove_directory(world, before);
    end_container(world, container);
    take_seen(world, after);
    assert_string_equal(after, before);
    assert_int_equal(endpoint_counters(&world->endpoint).allocations, 1);
    assert_int_equal(container->n_restarts, 1); /* no try failed */
}

/* The log is lost. The first try is refused, and makes us look who holds the device; the next one
 * finds it adopted. */
static void a_refused_start_is_tried_again_until_the_grant_is_known(void **state)
{
    char before[GRANT_ID_SIZE], after[GRANT_ID_SIZE];
    struct world *world = *state;
    const struct container *container = run_pod(world, before);
    char path[128];

    grants_free(TAKE_PTR(world->grants));
    remove_directory(world, before);
    snprintf(path, sizeof(path), "%s/grants-v1.log", world->log_folder);
    assert_int_equal(unlink(path), 0);
    start_grants(world);
    end_container(world, container);
    await(world, container->reason && strcmp(container->reason, "CreateContainerConfigError") == 0);
    take_seen(world, after);
    assert_string_equal(after, before); /* the kubelet's checkpoint has its name */
    assert_int_equal(grants_counters(world->grants).grants.n_adopted, 1);
    assert_int_equal(endpoint_counters(&world->endpoint).allocations, 1);
    assert_true(container->n_restarts > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lost_directory_is_there_when_the_container_starts_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_start_is_tried_again_until_the_grant_is_known,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests_name("plugin/prestart", tests, NULL, NULL);
}
