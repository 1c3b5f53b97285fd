// SPDX-License-Identifier: Apache-2.0
#include "plugin/podresources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "podresources/v1/api.pb.h"
#include "rpc/client.h"
#include "rpc/message.h"

struct question {
    char **ids; /* sorted; NULL = every pod */
    size_t n_ids;
    podresources_done_fn *on_done;
    podresources_list_fn *on_listed; /* instead of on_done */
    void *userdata;
};

struct podresources {
    uv_loop_t *loop;
    uv_timer_t timer; /* asks from the loop, so that no query completes inside podresources_ask */
    char *socket_path;
    struct rpc_client *client; /* while a call is pending */
    struct question *questions;
    size_t n_questions, capacity;
    uint64_t began_ms;      /* when the call was made */
    struct lograte silence; /* while the kubelet does not respond */
};

DEFINE_MESSAGE_CLEANUP(v1_ListPodResourcesResponse)

/* --- reading --- */

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool holds_one(const v1_ContainerResources *container, const char *const *ids, size_t n_ids)
{
    for (pb_size_t i = 0; i < container->devices_count; i++)
        for (pb_size_t k = 0; k < container->devices[i].device_ids_count; k++) {
            const char *id = message_text(container->devices[i].device_ids[k]);

            if (bsearch(&id, ids, n_ids, sizeof(*ids), compare_ids))
                return true;
        }
    return false;
}

static bool is_wanted(const v1_PodResources *pod, const char *const *ids, size_t n_ids)
{
    for (pb_size_t i = 0; n_ids && i < pod->containers_count; i++)
        if (holds_one(&pod->containers[i], ids, n_ids))
            return true;
    return !ids;
}

static void pick(const v1_ListPodResourcesResponse *list, const char *const *ids, size_t n_ids,
                 podresources_done_fn *on_done, void *userdata)
{
    struct podresources_pod pods[PODRESOURCES_PODS_MAX];
    size_t n = 0;

    for (pb_size_t i = 0; i < list->pod_resources_count && n < PODRESOURCES_PODS_MAX; i++) {
        const v1_PodResources *pod = &list->pod_resources[i];

        if (is_wanted(pod, ids, n_ids))
            pods[n++] = (struct podresources_pod){.namespace_ = message_text(pod->namespace),
                                                  .name = message_text(pod->name)};
    }
    on_done(pods, n, userdata);
}

int podresources_read(const void *data, size_t size, const char *const *ids, size_t n_ids,
                      podresources_done_fn *on_done, void *userdata)
{
    cleanup(v1_ListPodResourcesResponse_release_p) v1_ListPodResourcesResponse list =
        v1_ListPodResourcesResponse_init_zero;
    int r = message_decode(v1_ListPodResourcesResponse_fields, data, size, &list);

    if (r == 0)
        pick(&list, ids, n_ids, on_done, userdata);
    return r;
}

/* Every device of one container. */
static int add_devices(const struct podresources_pod *pod, const v1_ContainerResources *container,
                       struct podresources_device **devices, size_t *n, size_t *capacity)
{
    for (pb_size_t i = 0; i < container->devices_count; i++)
        for (pb_size_t k = 0; k < container->devices[i].device_ids_count; k++) {
            struct podresources_device *device = array_push(devices, n, capacity, sizeof(*device));

            if (!device)
                return -ENOMEM;
            *device = (struct podresources_device){
                .resource = message_text(container->devices[i].resource_name),
                .id = message_text(container->devices[i].device_ids[k]),
                .container = message_text(container->name),
                .pod = *pod};
        }
    return 0;
}

/* `list` NULL = the kubelet did not answer. */
static void pass_list(const v1_ListPodResourcesResponse *list, uint64_t began_ms,
                      podresources_list_fn *on_listed, void *userdata)
{
    cleanup_free struct podresources_device *devices = NULL;
    size_t n = 0, capacity = 0;
    int r = list ? 0 : -EAGAIN;

    for (pb_size_t i = 0; r == 0 && i < list->pod_resources_count; i++) {
        const v1_PodResources *pod = &list->pod_resources[i];
        const struct podresources_pod names = {message_text(pod->namespace),
                                               message_text(pod->name)};

        for (pb_size_t k = 0; r == 0 && k < pod->containers_count; k++)
            r = add_devices(&names, &pod->containers[k], &devices, &n, &capacity);
    }
    on_listed(&(struct podresources_list){.is_complete = r == 0,
                                          .began_ms = began_ms,
                                          .devices = devices,
                                          .n_devices = r == 0 ? n : 0},
              userdata);
}

/* --- questions --- */

static void question_deinit(struct question *question)
{
    for (size_t i = 0; i < question->n_ids; i++)
        free(question->ids[i]);
    free(question->ids);
}

static int question_copy(struct question *question, const char *const *ids, size_t n_ids)
{
    if (!ids)
        return 0;
    question->ids = calloc(n_ids + 1, sizeof(*question->ids));
    if (!question->ids)
        return -ENOMEM;
    for (; question->n_ids < n_ids; question->n_ids++) {
        question->ids[question->n_ids] = strdup(ids[question->n_ids]);
        if (!question->ids[question->n_ids])
            return -ENOMEM;
    }
    qsort(question->ids, n_ids, sizeof(*question->ids), compare_ids);
    return 0;
}

static void answer(const struct podresources *podresources, const struct question *question,
                   const v1_ListPodResourcesResponse *list)
{
    const v1_ListPodResourcesResponse nothing = v1_ListPodResourcesResponse_init_zero;

    if (question->on_listed)
        pass_list(list, podresources->began_ms, question->on_listed, question->userdata);
    else
        pick(list ? list : &nothing, (const char *const *)question->ids, question->n_ids,
             question->on_done, question->userdata);
}

/* Answers all that are open (list NULL = without one); what is asked from within an answer waits
 * for the next call. */
static void answer_all(struct podresources *podresources, const v1_ListPodResourcesResponse *list)
{
    struct question *questions = TAKE_PTR(podresources->questions);
    size_t n = podresources->n_questions;

    podresources->n_questions = podresources->capacity = 0;
    for (size_t i = 0; i < n; i++) {
        answer(podresources, &questions[i], list);
        question_deinit(&questions[i]);
    }
    free(questions);
}

static void answer_nothing(struct podresources *podresources)
{
    answer_all(podresources, NULL);
}

static void fail(struct podresources *podresources, const char *why)
{
    if (lograte_begin(&podresources->silence, why, clock_now_ms()))
        log_info("the kubelet does not report which pods hold devices, so they cannot be named",
                 "reason", why);
    answer_nothing(podresources);
}

static void on_due(uv_timer_t *timer);

/* From the loop; a pending call completes the queries made before it, and then calls again. */
static void ask_soon(struct podresources *podresources)
{
    if (!podresources->client && !uv_is_active((uv_handle_t *)&podresources->timer))
        uv_timer_start(&podresources->timer, on_due, 0, 0);
}

static void on_answered(struct rpc_request *request, enum rpc_status status, const char *text,
                        const void *message, size_t size, void *userdata)
{
    cleanup(v1_ListPodResourcesResponse_release_p) v1_ListPodResourcesResponse list =
        v1_ListPodResourcesResponse_init_zero;
    struct podresources *podresources = userdata;

    (void)request;
    if (status != RPC_OK)
        fail(podresources, *text ? text : rpc_status_name(status));
    else if (message_decode(v1_ListPodResourcesResponse_fields, message, size, &list) < 0)
        fail(podresources, "the response is not a list of pods");
    else {
        lograte_end(&podresources->silence);
        answer_all(podresources, &list);
    }
    rpc_client_free(TAKE_PTR(podresources->client));
    if (podresources->n_questions)
        ask_soon(podresources);
}

static void on_due(uv_timer_t *timer)
{
    struct podresources *podresources = timer->data;
    struct error err = ERROR_INIT;
    int r;

    if (!*podresources->socket_path) {
        answer_nothing(podresources); /* as configured by its owner */
        return;
    }
    podresources->began_ms = uv_now(podresources->loop);
    r = rpc_client_new(podresources->loop, podresources->socket_path, &podresources->client, &err);
    if (r == 0)
        r = rpc_client_call(podresources->client,
                            &(struct rpc_invocation){.method = "/v1.PodResourcesLister/List",
                                                     .message = "",
                                                     .deadline_ms = PODRESOURCES_DEADLINE_MS,
                                                     .on_done = on_answered,
                                                     .userdata = podresources},
                            NULL, &err);
    if (r == 0)
        return;
    rpc_client_free(TAKE_PTR(podresources->client));
    fail(podresources, error_text(&err));
}

static int ask(struct podresources *podresources, const struct question *asked,
               const char *const *ids, size_t n_ids)
{
    struct question *question;
    int r;

    if (podresources->n_questions >= PODRESOURCES_QUESTIONS_MAX)
        return -EAGAIN;
    question = array_push(&podresources->questions, &podresources->n_questions,
                          &podresources->capacity, sizeof(*question));
    if (!question)
        return -ENOMEM;
    *question = *asked;
    r = question_copy(question, ids, n_ids);
    if (r < 0) {
        question_deinit(question);
        podresources->n_questions--;
        return r;
    }
    ask_soon(podresources);
    return 0;
}

int podresources_ask(struct podresources *podresources, const char *const *ids, size_t n_ids,
                     podresources_done_fn *on_done, void *userdata)
{
    const struct question question = {.on_done = on_done, .userdata = userdata};

    return ask(podresources, &question, ids, n_ids);
}

int podresources_list(struct podresources *podresources, podresources_list_fn *on_listed,
                      void *userdata)
{
    const struct question question = {.on_listed = on_listed, .userdata = userdata};

    return ask(podresources, &question, NULL, 0);
}

/* --- life --- */

int podresources_new(uv_loop_t *loop, const char *socket_path,
                     struct podresources **ret_podresources, struct error *err)
{
    struct podresources *podresources = calloc(1, sizeof(*podresources));
    int r = -ENOMEM;

    if (podresources)
        podresources->socket_path = strdup(socket_path);
    if (podresources && podresources->socket_path)
        r = uv_timer_init(loop, &podresources->timer);
    if (r < 0) {
        if (podresources)
            free(podresources->socket_path);
        free(podresources);
        return error_set_errno(err, r, "cannot query the pods of this node");
    }
    podresources->loop = loop;
    podresources->timer.data = podresources;
    *ret_podresources = podresources;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct podresources *podresources = handle->data;

    free(podresources->socket_path);
    free(podresources);
}

void podresources_free(struct podresources *podresources)
{
    if (!podresources)
        return;
    rpc_client_free(TAKE_PTR(podresources->client));
    for (size_t i = 0; i < podresources->n_questions; i++)
        question_deinit(&podresources->questions[i]);
    free(TAKE_PTR(podresources->questions));
    podresources->n_questions = 0;
    uv_close((uv_handle_t *)&podresources->timer, on_closed);
}
