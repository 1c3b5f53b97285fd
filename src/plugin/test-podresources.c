// SPDX-License-Identifier: Apache-2.0
#include "plugin/podresources.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "podresources/v1/api.pb.h"
#include "rpc/message.h"
#include "rpc/server.h"

/* --- a list as the kubelet sends it --- */

struct row {
    const char *namespace, *name, *resource;
    const char *ids[3];
};

static const struct row rows[] = {
    {"default", "demo-1", "nvidia.com/gpu", {"GPU-a::0", "GPU-b::3"}},
    {"default", "demo-2", "nvidia.com/gpu", {"GPU-a::1"}},
    {"default", "demo-3", "nvidia.com/gpu-half", {"GPU-c::0"}},
    {"kube-system", "nvdp-nvidia-device-plugin-x", NULL, {NULL}},
};

static void fill_device(v1_ContainerDevices *devices, const char *resource, const char *id)
{
    devices->resource_name = strdup(resource);
    message_entries(&devices->device_ids, &devices->device_ids_count, 1, sizeof(char *));
    devices->device_ids[0] = strdup(id);
}

/* The real kubelet makes an entry for each device. */
static void fill_pod(v1_PodResources *pod, const struct row *row)
{
    size_t n = 0;

    while (n < ARRAY_SIZE(row->ids) && row->ids[n])
        n++;
    pod->name = strdup(row->name);
    pod->namespace = strdup(row->namespace);
    message_entries(&pod->containers, &pod->containers_count, 1, sizeof(*pod->containers));
    pod->containers[0].name = strdup("main");
    message_entries(&pod->containers[0].devices, &pod->containers[0].devices_count, n,
                    sizeof(*pod->containers[0].devices));
    for (size_t i = 0; i < n; i++)
        fill_device(&pod->containers[0].devices[i], row->resource, row->ids[i]);
}

static void *encode_rows(size_t times, size_t *ret_size)
{
    v1_ListPodResourcesResponse list = v1_ListPodResourcesResponse_init_zero;
    void *data = NULL;

    message_entries(&list.pod_resources, &list.pod_resources_count, ARRAY_SIZE(rows) * times,
                    sizeof(*list.pod_resources));
    for (size_t i = 0; i < list.pod_resources_count; i++)
        fill_pod(&list.pod_resources[i], &rows[i % ARRAY_SIZE(rows)]);
    assert_int_equal(message_encode(v1_ListPodResourcesResponse_fields, &list, &data, ret_size), 0);
    message_release(v1_ListPodResourcesResponse_fields, &list);
    return data;
}

/* What an answer said, as one line. */
struct answer {
    struct text text;
    unsigned n_answers;
    size_t n_pods;
};

static void take_answer(const struct podresources_pod *pods, size_t n_pods, void *userdata)
{
    struct answer *answer = userdata;

    answer->n_answers++;
    answer->n_pods = n_pods;
    for (size_t i = 0; i < n_pods; i++)
        text_addf(&answer->text, "%s/%s ", pods[i].namespace_, pods[i].name);
}

static void assert_read(const char *const *ids, size_t n_ids, const char *wanted)
{
    struct answer answer = {.n_answers = 0};
    size_t size;
    cleanup_free void *data = encode_rows(1, &size);

    assert_int_equal(podresources_read(data, size, ids, n_ids, take_answer, &answer), 0);
    assert_int_equal(answer.n_answers, 1);
    assert_string_equal(text_string(&answer.text), wanted);
    text_deinit(&answer.text);
}

static void finds_who_holds_a_device(void **state)
{
    static const char *const a[] = {"GPU-a::0", "GPU-a::1", "GPU-a::2"};
    static const char *const b[] = {"GPU-b::3"}, *const nobodys[] = {"GPU-a", "GPU-d::0"};

    (void)state;
    assert_read(a, 3, "default/demo-1 default/demo-2 ");
    assert_read(b, 1, "default/demo-1 ");
    assert_read(nobodys, 2, "");
    assert_read(nobodys, 0, "");
    assert_read(NULL, 0,
                "default/demo-1 default/demo-2 default/demo-3 "
                "kube-system/nvdp-nvidia-device-plugin-x ");
}

static void refuses_what_is_no_list(void **state)
{
    struct answer answer = {.n_answers = 0};

    (void)state;
    assert_int_equal(podresources_read("\x0a\x7f", 2, NULL, 0, take_answer, &answer), -EBADMSG);
    assert_int_equal(answer.n_answers, 0);
    assert_int_equal(podresources_read("", 0, NULL, 0, take_answer, &answer), 0);
    assert_int_equal(answer.n_answers, 1);
    assert_int_equal(answer.n_pods, 0);
}

static void answers_are_bounded(void **state)
{
    struct answer answer = {.n_answers = 0};
    size_t size;
    cleanup_free void *data = encode_rows(100, &size);

    (void)state;
    assert_int_equal(podresources_read(data, size, NULL, 0, take_answer, &answer), 0);
    assert_int_equal(answer.n_pods, PODRESOURCES_PODS_MAX);
    text_deinit(&answer.text);
}

/* --- over the socket --- */

struct world {
    uv_loop_t loop;
    char path[64];
    struct rpc_server *server; /* the kubelet's; NULL = there is none */
    struct podresources *podresources;
    unsigned n_calls;
    bool hangs;
};

static void handle_list(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct world *world = userdata;
    cleanup_free void *data = encode_rows(1, &size);

    (void)request;
    world->n_calls++;
    if (!world->hangs)
        rpc_call_reply(call, data, size);
}

static const struct rpc_method methods[] = {{"/v1.PodResourcesLister/List", handle_list}};

static void serve(struct world *world)
{
    static const struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    struct error err = ERROR_INIT;

    if (rpc_server_new(
            &world->loop, world->path,
            &(struct rpc_service){
                .methods = methods, .n_methods = 1, .limits = &limits, .userdata = world},
            &world->server, &err) < 0)
        fail_msg("%s", error_text(&err));
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct error err = ERROR_INIT;

    log_setup(LOG_ERROR, LOG_LOGFMT);
    snprintf(world->path, sizeof(world->path), "/tmp/gpuslice-holders-%d.sock", getpid());
    assert_int_equal(uv_loop_init(&world->loop), 0);
    assert_int_equal(podresources_new(&world->loop, world->path, &world->podresources, &err), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    podresources_free(world->podresources);
    rpc_server_free(world->server);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    free(world);
    return 0;
}

static void await_answers(struct world *world, const struct answer *answer, unsigned n)
{
    while (answer->n_answers < n)
        uv_run(&world->loop, UV_RUN_ONCE);
}

static void questions_share_a_call(void **state)
{
    static const char *const a[] = {"GPU-a::1"}, *const c[] = {"GPU-c::0"};
    struct world *world = *state;
    struct answer answer = {.n_answers = 0};

    serve(world);
    assert_int_equal(podresources_ask(world->podresources, a, 1, take_answer, &answer), 0);
    assert_int_equal(podresources_ask(world->podresources, c, 1, take_answer, &answer), 0);
    assert_int_equal(answer.n_answers, 0); /* never inside the question */
    await_answers(world, &answer, 2);
    assert_string_equal(text_string(&answer.text), "default/demo-2 default/demo-3 ");
    assert_int_equal(world->n_calls, 1);
    assert_int_equal(podresources_ask(world->podresources, a, 1, take_answer, &answer), 0);
    await_answers(world, &answer, 3);
    assert_int_equal(world->n_calls, 2);
    text_deinit(&answer.text);
}

struct chain {
    struct world *world;
    struct answer *answer;
};

static void ask_again(const struct podresources_pod *pods, size_t n_pods, void *userdata)
{
    struct chain *chain = userdata;

    (void)pods, (void)n_pods;
    assert_int_equal(
        podresources_ask(chain->world->podresources, NULL, 0, take_answer, chain->answer), 0);
}

static void an_answer_may_ask(void **state)
{
    struct world *world = *state;
    struct answer answer = {.n_answers = 0};
    struct chain chain = {world, &answer};

    assert_int_equal(podresources_ask(world->podresources, NULL, 0, ask_again, &chain), 0);
    await_answers(world, &answer, 1); /* nobody serves */
    assert_int_equal(answer.n_pods, 0);
    serve(world);
    assert_int_equal(podresources_ask(world->podresources, NULL, 0, ask_again, &chain), 0);
    await_answers(world, &answer, 2);
    assert_int_equal(answer.n_pods, ARRAY_SIZE(rows));
    text_deinit(&answer.text);
}

static void too_many_questions_are_refused(void **state)
{
    struct world *world = *state;
    struct answer answer = {.n_answers = 0};

    for (int i = 0; i < PODRESOURCES_QUESTIONS_MAX; i++)
        assert_int_equal(podresources_ask(world->podresources, NULL, 0, take_answer, &answer), 0);
    assert_int_equal(podresources_ask(world->podresources, NULL, 0, take_answer, &answer), -EAGAIN);
    await_answers(world, &answer, PODRESOURCES_QUESTIONS_MAX);
    assert_int_equal(podresources_ask(world->podresources, NULL, 0, take_answer, &answer), 0);
    await_answers(world, &answer, PODRESOURCES_QUESTIONS_MAX + 1);
}

/* The deadline is the test's whole duration. */
static void a_hanging_kubelet_is_given_up(void **state)
{
    struct world *world = *state;
    struct answer answer = {.n_answers = 0};

    serve(world);
    world->hangs = true;
    assert_int_equal(podresources_ask(world->podresources, NULL, 0, take_answer, &answer), 0);
    await_answers(world, &answer, 1);
    assert_int_equal(answer.n_pods, 0);
    assert_int_equal(podresources_ask(world->podresources, NULL, 0, take_answer, &answer), 0);
    while (world->n_calls < 2)
        uv_run(&world->loop, UV_RUN_ONCE);
    /* The open question goes with its owner. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_who_holds_a_device),
        cmocka_unit_test(refuses_what_is_no_list),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test_setup_teardown(questions_share_a_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_may_ask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_questions_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hanging_kubelet_is_given_up, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("plugin/podresources", tests, NULL, NULL);
}
