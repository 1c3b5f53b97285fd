// SPDX-License-Identifier: Apache-2.0
#include "kube/recorder.h"

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
#include "base/text.h"
#include "kube/test-fake-api.h"

#define BY        "?fieldManager=gpuslice-node"
#define NODE_POST "/api/v1/namespaces/default/events" BY
#define POD_GET   "/api/v1/namespaces/ml/pods/train"
#define POD_POST  "/api/v1/namespaces/ml/events" BY
#define EVENT     "{\"kind\":\"Event\"}"
#define POD       "{\"metadata\":{\"uid\":\"pod-uid\"}}"

static uv_loop_t loop;
static struct recorder *recorder;
static unsigned n_rests;

static void on_idle(void *userdata)
{
    n_rests++;
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    assert_int_equal(recorder_new(&loop, "gpu-1", on_idle, NULL, &recorder, NULL), 0);
    recorder_start(recorder, fake_api_client());
    n_rests = 0;
    return 0;
}

static int tear_down(void **state)
{
    recorder_free(recorder);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void say(const char *message)
{
    recorder_add(
        recorder,
        &(struct correlator_event){
            .namespace_ = "", .pod = "", .warning = true, .reason = "GPULost", .message = message});
}

static void say_to_pod(const char *namespace_, const char *name)
{
    say("gone");
    recorder_add(recorder, &(struct correlator_event){.namespace_ = namespace_,
                                                      .pod = name,
                                                      .warning = true,
                                                      .reason = "GPULost",
                                                      .message = "gone"});
}

static const char *text_at(const json_t *object, const char *outer, const char *inner)
{
    const json_t *at = outer ? json_object_get(object, outer) : object;
    const char *text = json_string_value(json_object_get(at, inner));

    return text ? text : "";
}

/* The path that changes the event which this request makes. */
static void path_of(const struct kube_call *post, char *path, size_t size)
{
    snprintf(path, size, "%.*s/%s" BY, (int)strcspn(post->path, "?"), post->path,
             text_at(post->body, "metadata", "name"));
}

static void our_node_gets_it(void **state)
{
    struct kube_call *post;

    say("GPU 0 is gone");
    assert_false(recorder_is_idle(recorder));
    post = fake_api_expect("POST", NODE_POST);
    assert_string_equal(text_at(post->body, NULL, "message"), "GPU 0 is gone");
    assert_string_equal(text_at(post->body, NULL, "reason"), "GPULost");
    assert_string_equal(text_at(post->body, NULL, "type"), "Warning");
    assert_string_equal(text_at(post->body, "metadata", "namespace"), "default");
    assert_string_equal(text_at(post->body, "involvedObject", "kind"), "Node");
    assert_string_equal(text_at(post->body, "involvedObject", "name"), "gpu-1");
    assert_string_equal(text_at(post->body, "involvedObject", "uid"), "gpu-1");
    fake_api_answer(post, 201, EVENT);
    assert_true(recorder_is_idle(recorder));
    assert_int_equal(n_rests, 1);
    assert_int_equal(fake_api_n_open(), 0);
}

static void an_object_of_another_kind_gets_it(void **state)
{
    struct kube_call *post;

    recorder_add(recorder, &(struct correlator_event){.node = "ts-4",
                                                      .api_version = "gpuslice.dev/v1alpha1",
                                                      .kind = "SliceProfile",
                                                      .uid = "u-1",
                                                      .namespace_ = "",
                                                      .pod = "",
                                                      .reason = "Kept",
                                                      .message = "fine"});
    post = fake_api_expect("POST", NODE_POST);
    assert_string_equal(text_at(post->body, "involvedObject", "apiVersion"),
                        "gpuslice.dev/v1alpha1");
    assert_string_equal(text_at(post->body, "involvedObject", "kind"), "SliceProfile");
    assert_string_equal(text_at(post->body, "involvedObject", "name"), "ts-4");
    assert_string_equal(text_at(post->body, "involvedObject", "uid"), "u-1");
    fake_api_answer(post, 201, EVENT);
}

/* In its own namespace, where `kubectl describe` looks; one that is going holds up no other. */
static void an_object_in_a_namespace_gets_it_there(void **state)
{
    struct kube_call *post;

    recorder_add(recorder, &(struct correlator_event){.node = "plugin",
                                                      .api_version = "v1",
                                                      .kind = "ConfigMap",
                                                      .uid = "u-1",
                                                      .namespace_ = "ml",
                                                      .pod = "",
                                                      .reason = "Made",
                                                      .message = "fine"});
    post = fake_api_expect("POST", POD_POST);
    assert_string_equal(text_at(post->body, "metadata", "namespace"), "ml");
    assert_string_equal(text_at(post->body, "involvedObject", "kind"), "ConfigMap");
    assert_string_equal(text_at(post->body, "involvedObject", "namespace"), "ml");
    assert_string_equal(text_at(post->body, "involvedObject", "name"), "plugin");
    say("gone");
    fake_api_answer(post, 403, "{}");
    fake_api_answer(fake_api_expect("POST", NODE_POST), 201, EVENT);
    assert_true(recorder_is_idle(recorder));
}

/* Also when it is another process that says it again. */
static void one_event_for_the_life_of_a_pod(void **state)
{
    const struct correlator_event event = {
        .namespace_ = "ml", .pod = "train", .reason = "Wrong", .message = "so", .is_once = true};
    char first[256] = "";

    for (int i = 0; i < 2; i++) {
        struct kube_call *post;

        recorder_add(recorder, &event);
        fake_api_serve("GET", POD_GET, 200, POD);
        post = fake_api_expect("POST", POD_POST);
        if (i == 0)
            snprintf(first, sizeof(first), "%s", text_at(post->body, "metadata", "name"));
        else
            assert_string_equal(text_at(post->body, "metadata", "name"), first);
        fake_api_answer(post, i == 0 ? 201 : 409, i == 0 ? EVENT : "{}");
        assert_int_equal(fake_api_n_open(), 0);
        assert_true(recorder_is_idle(recorder));
        assert_int_equal(tear_down(state) + set_up(state), 0);
    }
}

/* From a program that is of no Node. */
static void another_node_gets_it(void **state)
{
    struct kube_call *post;

    recorder_add(recorder, &(struct correlator_event){.node = "gpu-2",
                                                      .namespace_ = "",
                                                      .pod = "",
                                                      .reason = "MIGDrainBlocked",
                                                      .message = "not yet"});
    post = fake_api_expect("POST", NODE_POST);
    assert_string_equal(text_at(post->body, "involvedObject", "name"), "gpu-2");
    assert_string_equal(text_at(post->body, "involvedObject", "uid"), "gpu-2");
    assert_string_equal(text_at(post->body, "source", "host"), "gpu-1");
    assert_memory_equal(text_at(post->body, "metadata", "name"), "gpu-2.", 6);
    fake_api_answer(post, 201, EVENT);
}

static void events_before_the_start_wait(void **state)
{
    struct recorder *early;

    assert_int_equal(recorder_new(&loop, "gpu-1", on_idle, NULL, &early, NULL), 0);
    recorder_add(early, &(struct correlator_event){
                            .namespace_ = "", .pod = "", .reason = "Started", .message = "hello"});
    assert_int_equal(fake_api_n_sent(), 0);
    recorder_start(early, fake_api_client());
    assert_string_equal(text_at(fake_api_expect("POST", NODE_POST)->body, NULL, "type"), "Normal");
    recorder_free(early); /* and takes back what is open */
    assert_int_equal(fake_api_n_open(), 0);
}

/* kubectl describe pod looks for the uid. */
static void a_pod_gets_it_by_its_uid(void **state)
{
    struct kube_call *post;

    say_to_pod("ml", "train");
    fake_api_serve("POST", NODE_POST, 201, EVENT);
    fake_api_serve("GET", POD_GET, 200, POD);
    post = fake_api_expect("POST", POD_POST);
    assert_string_equal(text_at(post->body, "involvedObject", "kind"), "Pod");
    assert_string_equal(text_at(post->body, "involvedObject", "name"), "train");
    assert_string_equal(text_at(post->body, "involvedObject", "uid"), "pod-uid");
    fake_api_answer(post, 201, EVENT);
    assert_true(recorder_is_idle(recorder));
}

static void a_deleted_pod_gets_nothing(void **state)
{
    say_to_pod("ml", "train");
    fake_api_serve("POST", NODE_POST, 201, EVENT);
    fake_api_serve("GET", POD_GET, 404, "{\"details\":{\"name\":\"train\"}}");
    assert_int_equal(fake_api_n_open(), 0);
    assert_true(recorder_is_idle(recorder));
}

/* A webhook that always fails in one namespace. */
static void one_that_cannot_be_written_holds_up_no_other(void **state)
{
    say_to_pod("ml", "train");
    fake_api_serve("POST", NODE_POST, 201, EVENT);
    fake_api_serve("GET", POD_GET, 200, POD);
    fake_api_serve("POST", POD_POST, 500, "{}");
    assert_int_equal(fake_api_n_open(), 0);
    recorder_add(recorder, &(struct correlator_event){.namespace_ = "ml",
                                                      .pod = "train",
                                                      .warning = true,
                                                      .reason = "GPULost",
                                                      .message = "gone"});
    assert_int_equal(fake_api_n_open(), 0); /* that it fails is known */
    recorder_add(recorder, &(struct correlator_event){
                               .namespace_ = "web", .pod = "shop", .reason = "X", .message = "y"});
    fake_api_serve("GET", "/api/v1/namespaces/web/pods/shop", 200, POD);
    fake_api_serve("POST", "/api/v1/namespaces/web/events" BY, 201, EVENT);
    fake_api_expect("POST", POD_POST); /* once something works it has another turn */
}

static void what_the_whole_server_refuses_is_waited_out(void **state)
{
    say("gone");
    fake_api_serve("POST", NODE_POST, 503, "{}");
    say_to_pod("web", "shop");
    assert_int_equal(fake_api_n_open(), 0);
}

/* What the process logs from here to log_end(). */
static int terminal, logged;

static void log_start(void)
{
    terminal = dup(STDERR_FILENO);
    logged = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(terminal >= 0 && logged >= 0 && dup2(logged, STDERR_FILENO) >= 0);
}

static unsigned log_end(const char *sentence)
{
    static char log[4096];
    ssize_t size = pread(logged, log, sizeof(log) - 1, 0);
    unsigned n = 0;

    dup2(terminal, STDERR_FILENO);
    close(terminal);
    close(logged);
    assert_true(size >= 0);
    log[size] = '\0';
    for (const char *at = log; (at = strstr(at, sentence)); at++)
        n++;
    return n;
}

static void a_lasting_refusal_of_pods_is_logged_once(void **state)
{
    char pod[16], path[80];

    log_start();
    for (int i = 0; i < 5; i++) {
        snprintf(pod, sizeof(pod), "p%d", i);
        snprintf(path, sizeof(path), "/api/v1/namespaces/ml/pods/%s", pod);
        recorder_add(recorder, &(struct correlator_event){
                                   .namespace_ = "ml", .pod = pod, .reason = "X", .message = "y"});
        fake_api_serve("GET", path, 403, "{}");
        fake_api_serve("POST", POD_POST, 201, EVENT);
    }
    assert_int_equal(log_end("level="), 1);
}

/* Without permission to get pods, they get the event anyway. */
static void a_uid_that_may_not_be_read_is_left_out(void **state)
{
    struct kube_call *post;

    say_to_pod("ml", "train");
    fake_api_serve("POST", NODE_POST, 201, EVENT);
    fake_api_serve("GET", POD_GET, 403, "{}");
    post = fake_api_expect("POST", POD_POST);
    assert_null(json_object_get(json_object_get(post->body, "involvedObject"), "uid"));
}

static void a_name_is_one_step_of_the_path(void **state)
{
    say_to_pod("a/b", "../x?y");
    fake_api_serve("POST", NODE_POST, 201, EVENT);
    fake_api_expect("GET", "/api/v1/namespaces/a%2Fb/pods/..%2Fx%3Fy");
}

/* A part of a name that ends with anything but a letter or a digit is none for the API server. */
static void a_long_name_is_cut_where_a_name_may_end(void **state)
{
    const char *name, *stamp;
    char pod[254], path[300];

    memset(pod, 'a', sizeof(pod) - 1);
    pod[sizeof(pod) - 1] = '\0';
    memcpy(pod + 197, ".--", 3);
    snprintf(path, sizeof(path), "/api/v1/namespaces/ml/pods/%s", pod);
    say_to_pod("ml", pod);
    fake_api_serve("POST", NODE_POST, 201, EVENT);
    fake_api_serve("GET", path, 200, POD);
    name = text_at(fake_api_expect("POST", POD_POST)->body, "metadata", "name");
    stamp = strchr(name, '.');
    assert_int_equal(stamp - name, 197);
    assert_true(stamp[1] && strspn(stamp + 1, "0123456789abcdef") == strlen(stamp + 1));
}

static void a_repetition_is_counted(void **state)
{
    char path[512];
    struct kube_call *call;

    say("gone");
    call = fake_api_expect("POST", NODE_POST);
    path_of(call, path, sizeof(path));
    say("gone"); /* while it is being written */
    fake_api_answer(call, 201, EVENT);
    call = fake_api_expect("PATCH", path);
    assert_string_equal(call->content_type, "application/json-patch+json");
    assert_string_equal(text_at(json_array_get(call->body, 0), NULL, "path"), "/count");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(call->body, 0), "value")),
                     2);
    fake_api_answer(call, 200, EVENT);
    assert_int_equal(fake_api_n_open(), 0);
}

/* Events live for an hour at the server. */
static void an_expired_event_is_created_again(void **state)
{
    char path[512], again[512];
    struct kube_call *call;

    say("gone");
    call = fake_api_expect("POST", NODE_POST);
    path_of(call, path, sizeof(path));
    fake_api_answer(call, 201, EVENT);
    say("gone");
    fake_api_serve("PATCH", path, 404, "{}");
    call = fake_api_expect("POST", NODE_POST);
    path_of(call, again, sizeof(again));
    assert_string_not_equal(path, again);
    assert_int_equal(json_integer_value(json_object_get(call->body, "count")), 2);
}

/* The answer was lost, the event was not: a later try bears its name. */
static void an_event_is_not_made_twice(void **state)
{
    char path[512], again[512];
    struct kube_call *call;

    say("gone");
    call = fake_api_expect("POST", NODE_POST);
    path_of(call, path, sizeof(path));
    fake_api_answer(call, 0, "");
    assert_int_equal(fake_api_n_open(), 0);
    recorder_kick(recorder);
    call = fake_api_expect("POST", NODE_POST);
    path_of(call, again, sizeof(again));
    assert_string_equal(path, again);
    fake_api_answer(call, 409, "{}");
    fake_api_serve("PATCH", path, 200, EVENT);
    assert_int_equal(fake_api_n_open(), 0);
    assert_true(recorder_is_idle(recorder));
}

/* Refused for good or not, what the server does not take now is not sent again at once. */
static void a_failure_is_waited_out(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
    } answers[] = {{403, "{}"}, {404, "{}"}, {401, "{}"},     {429, "{}"},
                   {503, "{}"}, {0, ""},     {200, "<html>"}, {200, "{\"kind\":\"Status\"}"}};

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        const unsigned n_sent = fake_api_n_sent();

        say("gone");
        fake_api_serve("POST", NODE_POST, answers[i].status, answers[i].body);
        say("gone");
        assert_int_equal(fake_api_n_sent(), n_sent + 1);
        assert_true(recorder_is_idle(recorder)); /* an end need not wait for it */
        recorder_kick(recorder);
        fake_api_serve("POST", NODE_POST, 201, EVENT);
        tear_down(state);
        set_up(state);
    }
}

static void what_is_only_wrong_with_one_holds_up_no_other(void **state)
{
    static const unsigned statuses[] = {403, 404, 422};

    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        say_to_pod("ml", "train");
        fake_api_serve("POST", NODE_POST, 201, EVENT);
        fake_api_serve("GET", POD_GET, 200, POD);
        fake_api_serve("POST", POD_POST, statuses[i], "{}"); /* a namespace that ends, for one */
        assert_int_equal(fake_api_n_open(), 0);
        say("another");
        fake_api_serve("POST", NODE_POST, 201, EVENT);
        assert_true(recorder_is_idle(recorder));
        tear_down(state);
        set_up(state);
    }
}

static void a_token_that_cannot_be_read_is_waited_for(void **state)
{
    fake_api_break(-EACCES);
    say("gone");
    assert_int_equal(fake_api_n_sent(), 0);
    assert_int_equal(n_rests, 1);
    fake_api_break(0);
    recorder_kick(recorder);
    fake_api_expect("POST", NODE_POST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(our_node_gets_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_object_of_another_kind_gets_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_object_in_a_namespace_gets_it_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_event_for_the_life_of_a_pod, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_node_gets_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_before_the_start_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pod_gets_it_by_its_uid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_deleted_pod_gets_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_cannot_be_written_holds_up_no_other, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_the_whole_server_refuses_is_waited_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lasting_refusal_of_pods_is_logged_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_uid_that_may_not_be_read_is_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_one_step_of_the_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_name_is_cut_where_a_name_may_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_repetition_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_expired_event_is_created_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_event_is_not_made_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_waited_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_only_wrong_with_one_holds_up_no_other, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_token_that_cannot_be_read_is_waited_for, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("kube/recorder", tests, NULL, NULL);
}
