// SPDX-License-Identifier: Apache-2.0
#include "nodesync/shutdown.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "kube/test-fake-api.h"

#define POD_PATH       "/api/v1/namespaces/gpus/pods/agent-x"
#define DAEMONSET_PATH "/apis/apps/v1/namespaces/gpus/daemonsets/agents"
#define GROUP          "/apis/nfd.k8s-sigs.io/v1alpha1"
#define FEATURE_PATH   GROUP "/namespaces/gpus/nodefeatures/nvidia-features-for-gpu-1"
#define OUR_FEATURE                                                                                \
    "{\"metadata\":{\"managedFields\":[{\"manager\":\"gpuslice-node\",\"operation\":\"Apply\","    \
    "\"fieldsV1\":{\"f:spec\":{}}}],\"labels\":{\"nfd.node.kubernetes.io/node-name\":\"gpu-1\"},"  \
    "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"DaemonSet\",\"name\":\"agents\"," \
    "\"uid\":\"u\"}]},\"spec\":{\"labels\":{\"a\":\"1\"}}}"
#define LABELS_PATH "/api/v1/nodes/gpu-1?fieldManager=gpuslice-node"
#define POD                                                                                  \
    "{\"kind\":\"Pod\",\"metadata\":{\"ownerReferences\":[{\"kind\":\"DaemonSet\",\"name\":" \
    "\"agents\",\"uid\":\"u\"}]}}"
#define STAYS "{\"metadata\":{\"uid\":\"u\"}}"
#define GOES  "{\"metadata\":{\"uid\":\"u\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}"
/* A Node with our label a. */
#define LABELLED                                                                                  \
    "{\"kind\":\"Node\",\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"7\",\"labels\":{\"a\":" \
    "\"1\"},\"managedFields\":[{\"manager\":\"gpuslice-node\",\"operation\":\"Apply\","           \
    "\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\"f:a\":{}}}}}]}}"
#define BARE "{\"kind\":\"Node\",\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"8\"}}"

/* The parts involved in a shutdown, wired as in the program. */
static uv_loop_t loop;
static struct sync_setup setup;
static struct observed observed;
static struct owner owner;
static struct nodewriters nodewriters;
static struct feature feature;
static struct recorder *events;
static struct shutdown ending;
static unsigned n_done;

static void on_node(void *userdata)
{
    nodewriters_sync(&nodewriters);
}

static void on_idle(void *userdata)
{
    shutdown_sync(&ending);
}

static void on_done(void *userdata)
{
    n_done++;
}

static int set_up(void **state)
{
    fake_api_reset();
    n_done = 0;
    setup =
        (struct sync_setup){.node = own("gpu-1"), .namespace_ = own("gpus"), .pod = own("agent-x")};
    uv_loop_init(&loop);
    assert_int_equal(observed_init(&observed, fake_api_client(), &setup, on_node, NULL), 0);
    shutdown_init(&ending, &loop,
                  &(struct shutdown_setup){.observed = &observed,
                                           .owner = &owner,
                                           .nodewriters = &nodewriters,
                                           .feature = &feature,
                                           .on_done = on_done});
    nodewriters_init(&nodewriters, &loop, &observed, on_idle, NULL);
    owner_init(&owner, &loop, &observed, on_idle, NULL);
    feature_init(&feature, &loop, &observed, &owner, on_idle, NULL);
    assert_int_equal(recorder_new(&loop, setup.node, on_idle, NULL, &events, NULL), 0);
    recorder_start(events, fake_api_client());
    return 0;
}

static int tear_down(void **state)
{
    shutdown_deinit(&ending);
    recorder_free(events);
    nodewriters_deinit(&nodewriters);
    feature_deinit(&feature);
    owner_deinit(&owner);
    observed_deinit(&observed);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* The agent has said that a=1 should be, and it is. */
static void want_a_label(enum sync_labels_by by)
{
    struct sync_label *label = calloc(1, sizeof(*label));
    json_t *node = json_loads(LABELLED, 0, NULL);

    assert_true(label && node);
    *label = (struct sync_label){strdup("a"), strdup("1")};
    writer_sync(&owner.writer);
    fake_api_serve("GET", POD_PATH, 200, POD);
    observed.state = (struct sync_state){.labels_by = by, .labels = label, .n_labels = 1};
    observed.has_state = observed.is_synced = true;
    observed_update(&observed, node);
    writer_sync(&feature.writer);
    json_decref(node);
}

static void be_idle(void)
{
    want_a_label(SYNC_LABELS_NODE);
    fake_api_serve("GET", GROUP, 404, "{}"); /* there is no NFD */
    assert_int_equal(fake_api_n_open(), 0);
}

/* So that a test need not wait for the limit. */
static void let_time_pass(void)
{
    assert_true(uv_is_active((uv_handle_t *)&ending.limit));
    assert_in_range(uv_timer_get_due_in(&ending.limit), 1, SYNC_SHUTDOWN_MS - 1);
    uv_timer_set_repeat(&ending.limit, 1);
    uv_timer_again(&ending.limit);
    while (!n_done)
        uv_run(&loop, UV_RUN_ONCE);
}

/* Also with a server that cannot be asked, forbids it or fails: nothing is lost by what stays. */
static void all_stays_at_a_restart(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
    } answers[] = {{200, STAYS}, {404, "<html>"}, {403, "{}"}, {500, "{}"}, {0, ""}};

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        be_idle();
        shutdown_begin(&ending, events);
        shutdown_begin(&ending, events); /* an agent may say it twice */
        assert_int_equal(n_done, 0);
        fake_api_serve("GET", DAEMONSET_PATH, answers[i].status, answers[i].body);
        assert_int_equal(n_done, 1);
        assert_int_equal(fake_api_n_open(), 0);
        assert_false(ending.is_uninstall);
        tear_down(state);
        set_up(state);
    }
}

static void nothing_stays_at_an_uninstall(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
    } answers[] = {{200, GOES}, {404, "{\"details\":{\"name\":\"agents\"}}"}};
    struct kube_call *call;

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        be_idle();
        shutdown_begin(&ending, events);
        fake_api_serve("GET", DAEMONSET_PATH, answers[i].status, answers[i].body);
        assert_int_equal(n_done, 0);
        call = fake_api_expect("PATCH", LABELS_PATH);
        assert_int_equal(
            json_object_size(json_object_get(json_object_get(call->body, "metadata"), "labels")),
            0);
        fake_api_answer(call, 200, BARE);
        assert_in_range(n_done, 1, 9);
        assert_int_equal(fake_api_n_open(), 0);
        tear_down(state);
        set_up(state);
    }
}

/* The labels were published twice, on the Node and through node-feature-discovery. */
static void nor_does_our_node_feature(void **state)
{
    want_a_label(SYNC_LABELS_AUTO);
    fake_api_serve("GET", GROUP, 200, "{\"resources\":[{\"name\":\"nodefeatures\"}]}");
    fake_api_serve("GET", FEATURE_PATH, 404, "{}");
    fake_api_serve("PATCH", FEATURE_PATH "?fieldManager=gpuslice-node", 200, OUR_FEATURE);
    shutdown_begin(&ending, events);
    fake_api_serve("GET", DAEMONSET_PATH, 200, GOES);
    fake_api_serve("PATCH", LABELS_PATH, 200, BARE);
    assert_int_equal(n_done, 0);
    fake_api_serve("DELETE", FEATURE_PATH, 200, "{}");
    assert_in_range(n_done, 1, 9);
    assert_int_equal(fake_api_n_open(), 0);
}

/* What was refused a moment ago is not waited out: there is no later. */
static void an_uninstall_is_in_a_hurry(void **state)
{
    be_idle();
    observed.state.labels[0].value[0] = '2';
    nodewriters_sync(&nodewriters);
    fake_api_serve("PATCH", LABELS_PATH, 503, "{}");
    assert_int_equal(fake_api_n_open(), 0);
    shutdown_begin(&ending, events);
    fake_api_serve("GET", DAEMONSET_PATH, 200, GOES);
    fake_api_serve("PATCH", LABELS_PATH, 200, BARE);
    assert_in_range(n_done, 1, 9);
}

/* An agent that ends right after its start. */
static void the_owner_is_waited_for(void **state)
{
    writer_sync(&owner.writer);
    shutdown_begin(&ending, events);
    fake_api_serve("GET", POD_PATH, 200, POD);
    fake_api_serve("GET", DAEMONSET_PATH, 200, STAYS);
    assert_int_equal(n_done, 1);
}

/* Of a Node that was not read yet nobody knows what of ours stands on it. */
static void an_uninstall_waits_for_the_node(void **state)
{
    json_t *node = json_loads(LABELLED, 0, NULL);

    writer_sync(&owner.writer);
    shutdown_begin(&ending, events);
    fake_api_serve("GET", POD_PATH, 200, POD);
    fake_api_serve("GET", DAEMONSET_PATH, 200, GOES);
    fake_api_serve("GET", GROUP, 404, "{}");
    assert_int_equal(n_done, 0);
    observed.is_synced = true;
    observed_update(&observed, node);
    fake_api_serve("PATCH", LABELS_PATH, 200, BARE);
    assert_in_range(n_done, 1, 9);
    json_decref(node);
}

/* What the process logs while `act` runs. */
static const char *log_of(void (*act)(void))
{
    static char log[2048];
    const int terminal = dup(STDERR_FILENO);
    const int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    ssize_t n;

    assert_true(terminal >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    act();
    dup2(terminal, STDERR_FILENO);
    n = pread(file, log, sizeof(log) - 1, 0);
    assert_true(n >= 0);
    log[n] = '\0';
    close(terminal);
    close(file);
    return log;
}

static void begin(void)
{
    shutdown_begin(&ending, events);
}

/* The token cannot be read any more, for one. */
static void a_question_that_cannot_be_sent_is_logged(void **state)
{
    be_idle();
    fake_api_break(-EACCES);
    assert_non_null(strstr(log_of(begin), "cannot determine whether this is an uninstall"));
    assert_int_equal(n_done, 1);
    assert_false(ending.is_uninstall);
}

static void without_a_daemonset_nobody_is_asked(void **state)
{
    setup.pod = own("");
    writer_sync(&owner.writer);
    assert_string_equal(log_of(begin), "");
    assert_int_equal(n_done, 1);
    assert_int_equal(fake_api_n_sent(), 0);
}

static void without_a_server_it_is_over_at_once(void **state)
{
    observed.client = NULL;
    shutdown_begin(&ending, events);
    assert_int_equal(n_done, 1);
}

/* "Ended" is an event too. */
static void the_last_events_are_still_written(void **state)
{
    be_idle();
    recorder_add(events, &(struct correlator_event){
                             .namespace_ = "", .pod = "", .reason = "Ended", .message = "bye"});
    shutdown_begin(&ending, events);
    fake_api_serve("GET", DAEMONSET_PATH, 200, STAYS);
    assert_int_equal(n_done, 0);
    fake_api_serve("POST", "/api/v1/namespaces/default/events?fieldManager=gpuslice-node", 201,
                   "{\"kind\":\"Event\"}");
    assert_in_range(n_done, 1, 9);
}

static void a_server_that_says_nothing_is_not_waited_for(void **state)
{
    be_idle();
    shutdown_begin(&ending, events);
    let_time_pass();
    assert_false(ending.is_uninstall);
}

static void nor_one_that_does_not_remove(void **state)
{
    be_idle();
    shutdown_begin(&ending, events);
    fake_api_serve("GET", DAEMONSET_PATH, 200, GOES);
    fake_api_serve("PATCH", LABELS_PATH, 403, "{}");
    assert_int_equal(n_done, 0);
    let_time_pass();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_stays_at_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_stays_at_an_uninstall, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nor_does_our_node_feature, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_uninstall_is_in_a_hurry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_owner_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_uninstall_waits_for_the_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_question_that_cannot_be_sent_is_logged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_a_daemonset_nobody_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_server_it_is_over_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_events_are_still_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_says_nothing_is_not_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nor_one_that_does_not_remove, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/shutdown", tests, NULL, NULL);
}
