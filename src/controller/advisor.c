// SPDX-License-Identifier: Apache-2.0
#include "controller/advisor.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "controller/nameadvice.h"
#include "controller/podneed.h"
#include "kube/watch.h"

struct question {
    json_t *pod;
    const char *resource; /* of the pod */
    json_t *other;        /* a Node that has such devices under another name */
    bool is_served;
};

struct advisor {
    struct advisor_setup setup;
    json_t *known; /* {uid: {"next": s, "wait": s}}: asked for again then; null = answered */
    struct question questions[ADVISOR_QUESTIONS_MAX];
    size_t n_questions;
    struct kube_watch *watch; /* NULL = nothing is asked */
    int64_t now;              /* of the last look */
};

/* -- what is asked ----------------------------------------------------------------------------- */

static bool is_due(const struct advisor *advisor, const json_t *pod, int64_t from)
{
    const json_t *known = json_object_get(advisor->known, podneed_uid(pod));

    return advisor->now >= from &&
           (!known || (json_is_object(known) &&
                       advisor->now >= json_integer_value(json_object_get(known, "next"))));
}

/* NULL = there is none, or the pod is served. */
static const json_t *find_other(const json_t *pod, const char *resource,
                                const struct kube_store *nodes)
{
    const json_t *other = NULL;

    for (size_t i = 0; i < kube_store_count(nodes); i++) {
        const json_t *node = kube_store_at(nodes, i);
        const enum nameadvice advice =
            json_object_size(node) ? nameadvice_judge(pod, resource, node) : NAMEADVICE_NOTHING;

        if (advice == NAMEADVICE_SERVED)
            return NULL;
        if (advice == NAMEADVICE_OTHER && !other)
            other = node;
    }
    return other;
}

static json_t *keep(const json_t *json)
{
    return json_incref((json_t *)(uintptr_t)json);
}

static void ask(struct advisor *advisor, const json_t *pod, const struct kube_store *nodes)
{
    int64_t from = 0;
    const char *resource = nameadvice_resource(pod, &from);
    const json_t *other =
        resource && is_due(advisor, pod, from) ? find_other(pod, resource, nodes) : NULL;

    if (other)
        advisor->questions[advisor->n_questions++] =
            (struct question){keep(pod), resource, keep(other), false};
}

static void forget_questions(struct advisor *advisor)
{
    for (size_t i = 0; i < advisor->n_questions; i++) {
        json_decref(advisor->questions[i].pod);
        json_decref(advisor->questions[i].other);
    }
    advisor->n_questions = 0;
}

/* -- the answers ------------------------------------------------------------------------------- */

static void answer(struct advisor *advisor, const struct question *question)
{
    const json_t *metadata = json_object_get(question->pod, "metadata");
    cleanup_text struct text message = TEXT_INIT;
    const struct correlator_event event = {
        .namespace_ = json_string_value(json_object_get(metadata, "namespace")),
        .pod = json_string_value(json_object_get(metadata, "name")),
        .reason = "MIGNameOfOtherStrategy",
        .warning = true,
        .is_once = true};
    struct correlator_event said = event;

    nameadvice_write(question->resource, question->other, &message);
    said.message = text_string(&message);
    if (!*said.message || !said.namespace_ || !said.pod)
        return;
    recorder_add(advisor->setup.recorder, &said);
    log_info("a pod requests MIG devices by a name of another strategy", "namespace",
             said.namespace_, "pod", said.pod, "resource", question->resource);
    ++*advisor->setup.n_answered;
}

static void ask_again(struct advisor *advisor, const char *uid)
{
    const json_t *known = json_object_get(advisor->known, uid);
    const json_int_t last = json_integer_value(json_object_get(known, "wait"));
    json_int_t wait_s = last ? last * 2 : ADVISOR_AGAIN_FIRST_S;

    wait_s = wait_s < ADVISOR_AGAIN_LAST_S ? wait_s : ADVISOR_AGAIN_LAST_S;
    json_object_set_new(
        advisor->known, uid,
        json_pack("{s:I,s:I}", "next", (json_int_t)advisor->now + wait_s, "wait", wait_s));
}

static void on_object(enum kube_change change, json_t *node, void *userdata)
{
    struct advisor *advisor = userdata;

    for (size_t i = 0; i < advisor->n_questions; i++) {
        struct question *question = &advisor->questions[i];

        if (!question->is_served)
            question->is_served =
                nameadvice_judge(question->pod, question->resource, node) == NAMEADVICE_SERVED;
    }
}

static void on_synced(void *userdata)
{
    struct advisor *advisor = userdata;

    kube_watch_free(TAKE_PTR(advisor->watch));
    for (size_t i = 0; i < advisor->n_questions; i++) {
        const struct question *question = &advisor->questions[i];
        const char *uid = podneed_uid(question->pod);

        if (question->is_served || !advisor->setup.may_write(advisor->setup.userdata)) {
            ask_again(advisor, uid);
            continue;
        }
        answer(advisor, question);
        json_object_set_new(advisor->known, uid, json_null());
    }
    forget_questions(advisor);
}

void advisor_look(struct advisor *advisor, const struct kube_store *pods,
                  const struct kube_store *nodes, int64_t now)
{
    static const struct kube_watch_events events = {.on_object = on_object, .on_synced = on_synced};
    struct error err = ERROR_INIT;

    if (advisor->watch)
        return;
    advisor->now = now;
    for (size_t i = 0; i < kube_store_count(pods) && advisor->n_questions < ADVISOR_QUESTIONS_MAX;
         i++)
        ask(advisor, kube_store_at(pods, i), nodes);
    if (advisor->n_questions &&
        kube_watch_new(advisor->setup.loop,
                       &(struct kube_watch_setup){.client = advisor->setup.client,
                                                  .path = "/api/v1/nodes",
                                                  .events = &events,
                                                  .userdata = advisor},
                       &advisor->watch, &err) < 0) {
        log_error(error_text(&err));
        forget_questions(advisor);
    }
}

void advisor_forget(struct advisor *advisor, const char *uid)
{
    json_object_del(advisor->known, uid);
}

/* -- life -------------------------------------------------------------------------------------- */

struct advisor *advisor_new(const struct advisor_setup *setup)
{
    struct advisor *advisor = calloc(1, sizeof(*advisor));

    if (!advisor)
        return NULL;
    advisor->setup = *setup;
    advisor->known = json_object();
    if (!advisor->known) {
        free(advisor);
        return NULL;
    }
    return advisor;
}

void advisor_free(struct advisor *advisor)
{
    if (!advisor)
        return;
    kube_watch_free(advisor->watch);
    forget_questions(advisor);
    json_decref(advisor->known);
    free(advisor);
}
