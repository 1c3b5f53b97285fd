// SPDX-License-Identifier: Apache-2.0
#include "cluster/program.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "cluster/events.h"
#include "cluster/feature.h"
#include "cluster/labels.h"
#include "cluster/nfd.h"
#include "cluster/node.h"
#include "cluster/owner.h"
#include "cluster/pair.h"
#include "cluster/upkeep.h"
#include "kube/access.h"
#include "kube/object.h"
#include "kube/watch.h"

enum {
    ACCESS_FIRST_MS = 1000,
    ACCESS_LAST_MS = 60 * 1000,
    NFD_LAG_MS = 60 * 1000, /* so long may NFD take to set what we told it */
    NFD_CHECK_MS = 10 * 60 * 1000,
    FAREWELL_MS = CLUSTER_FAREWELL_MS - 200, /* the rest is for ending */
};

enum { LABELS, TAINTS, CONDITION, N_WRITERS };

struct program {
    uv_loop_t loop;
    struct pair *pair;
    struct cluster_setup setup;
    struct scene scene;
    struct kube_client *client; /* NULL until the access is known */
    struct kube_watch *watch;
    struct owner owner;
    struct feature feature;
    struct nfd nfd;
    struct writer writers[N_WRITERS];
    struct events *events;
    uv_timer_t access, nfd_lag, nfd_check, farewell;
    struct backoff access_backoff;
    struct kube_call *farewell_call;
    char access_trouble[512]; /* as it was said; "" = none */
    char *notes;              /* what was said of labels that are not ours to set */
    bool is_synced;           /* the Node was read, or is known not to be there */
    bool is_listed;           /* the list that runs has shown it */
    bool is_heard;            /* the API server */
    bool is_leaving;          /* the agent said bye */
    bool is_uninstalled;
    bool is_farewell_known; /* whether it is an uninstall */
    int status;
};

static void end(struct program *program, int status)
{
    program->status = status;
    uv_stop(&program->loop);
}

static bool is_running(const struct program *program)
{
    return program->client != NULL;
}

/* -- what the agent hears ---------------------------------------------------------------------- */

static void say_notes(struct program *program, const struct labels_plan *plan)
{
    cleanup_text struct text text = TEXT_INIT;

    for (size_t i = 0; i < plan->n_held; i++)
        text_addf(&text, "%s%s", i ? ", " : "", plan->held[i]);
    for (size_t i = 0; i < plan->n_refused; i++)
        text_addf(&text, "%s%s", text.length ? "; " : "", plan->refused[i]);
    if (str_equal(text_string(&text), program->notes ? program->notes : ""))
        return;
    if (plan->n_held)
        log_info("labels are left to who holds them", "labels", text_string(&text));
    for (size_t i = 0; i < plan->n_refused; i++)
        log_warning(plan->refused[i]);
    free(program->notes);
    program->notes = text_take(&text);
}

static int fill_news(struct program *program, struct cluster_news *news)
{
    cleanup_labels_plan struct labels_plan plan = {.object = NULL};
    const struct scene *scene = &program->scene;
    int r = node_tell(scene->node, program->setup.config_label, news);

    news->heard = program->is_heard;
    news->gone = !scene->node;
    if (r < 0 || !scene->node || !scene->has_state)
        return r;
    r = labels_make_plan(scene->node, program->setup.node, &scene->state, scene->nfd_left,
                         scene->yielded, &plan);
    if (r < 0)
        return r;
    say_notes(program, &plan);
    news->labels_held_by_others = TAKE_PTR(plan.held);
    news->n_labels_held = plan.n_held;
    news->labels_held_capacity = plan.held_capacity;
    plan.n_held = 0;
    return 0;
}

static void tell_news(struct program *program)
{
    cleanup_cluster_message struct cluster_message message = {.kind = CLUSTER_NEWS};

    if (program->is_leaving || !program->is_synced)
        return;
    if (fill_news(program, &message.news) < 0 || pair_say(program->pair, &message) < 0)
        log_error("cannot tell the agent about the Node for want of memory");
}

/* -- node-feature-discovery -------------------------------------------------------------------- */

static void look_all(struct program *program)
{
    for (size_t i = 0; i < N_WRITERS; i++)
        writer_look(&program->writers[i]);
    writer_look(&program->feature.writer);
}

static void hurry_all(struct program *program)
{
    for (size_t i = 0; i < N_WRITERS; i++)
        writer_hurry(&program->writers[i]);
    writer_hurry(&program->feature.writer);
}

static void on_nfd_lag(uv_timer_t *timer)
{
    struct program *program = timer->data;

    log_warning("node-feature-discovery does not set our labels, setting them on the Node", "node",
                program->setup.node);
    nfd_give_up(&program->nfd, program->scene.node);
    program->scene.nfd_left = nfd_left(&program->nfd);
    look_all(program);
    tell_news(program);
}

static void on_nfd_check(uv_timer_t *timer)
{
    struct program *program = timer->data;

    if (!program->feature.is_offered)
        feature_check(&program->feature);
}

static void await_nfd(struct program *program)
{
    uv_timer_t *lag = &program->nfd_lag;

    if (!program->nfd.lags || program->nfd.is_silent)
        uv_timer_stop(lag);
    else if (!uv_is_active((uv_handle_t *)lag))
        uv_timer_start(lag, on_nfd_lag, NFD_LAG_MS, 0);
}

static void watch_nfd(struct program *program)
{
    struct nfd *nfd = &program->nfd;
    const struct nfd before = *nfd;

    if (!program->is_synced || program->is_uninstalled)
        return;
    nfd_look(nfd, program->scene.node, &program->scene.state, program->feature.found);
    program->scene.nfd_left = nfd_left(nfd);
    await_nfd(program);
    if ((nfd->n_served > 0) != (before.n_served > 0))
        log_info(nfd->n_served ? "our labels are set by node-feature-discovery now"
                               : "node-feature-discovery does not set our labels any more",
                 "node", program->setup.node);
    if (nfd->n_served < before.n_served || (nfd->was_here && !before.was_here))
        feature_check(&program->feature);
}

/* -- the Node ---------------------------------------------------------------------------------- */

static void on_node(void *userdata)
{
    struct program *program = userdata;

    watch_nfd(program);
    look_all(program);
    tell_news(program);
}

static void lose_node(struct program *program)
{
    log_warning("the cluster has no Node of our name", "node", program->setup.node);
    json_decref(TAKE_PTR(program->scene.node));
    on_node(program);
}

static void on_relist(void *userdata)
{
    struct program *program = userdata;

    program->is_listed = false;
}

static void on_object(enum kube_change change, json_t *object, void *userdata)
{
    struct program *program = userdata;

    program->is_listed = true;
    if (change == KUBE_DELETED)
        lose_node(program);
    else
        scene_see(&program->scene, object);
}

static void on_synced(void *userdata)
{
    struct program *program = userdata;
    const bool was_synced = program->is_synced;

    program->is_synced = program->is_heard = true;
    if (!program->is_listed && (program->scene.node || !was_synced))
        lose_node(program);
    else if (!was_synced)
        on_node(program);
}

static void on_trouble(const char *reason, void *userdata)
{
    struct program *program = userdata;

    program->is_heard = !reason;
    tell_news(program);
    if (reason) {
        log_warning("the API server cannot be heard, trying again", "reason", reason);
        return;
    }
    log_info("the API server is heard again");
    writer_hurry(&program->owner.writer);
    hurry_all(program);
    events_hurry(program->events);
}

/* -- farewell ---------------------------------------------------------------------------------- */

static bool is_at_rest(const struct program *program)
{
    for (size_t i = 0; i < N_WRITERS; i++)
        if (!program->writers[i].at_rest)
            return false;
    return program->feature.writer.at_rest;
}

static void end_when_done(struct program *program)
{
    if (!program->is_leaving || !program->is_farewell_known || !events_are_at_rest(program->events))
        return;
    if (!program->is_uninstalled || (program->is_synced && is_at_rest(program)))
        end(program, 0);
}

static void on_writer(void *userdata)
{
    end_when_done(userdata);
}

/* What our NodeFeature said before we came may be known now. */
static void on_feature(void *userdata)
{
    watch_nfd(userdata);
    end_when_done(userdata);
}

/* A restart loses nothing by it; an uninstall leaves things behind. */
static void say_unknown(const struct program *program, const char *reason)
{
    log_warning("cannot find out whether this is an uninstall, so what is ours stays on the Node",
                "node", program->setup.node, "reason", reason);
}

static void on_limit(uv_timer_t *timer)
{
    struct program *program = timer->data;

    if (!program->is_farewell_known)
        say_unknown(program, "the API server does not answer in time");
    if (program->is_uninstalled)
        log_warning("what we wrote on the Node could not be removed in time", "node",
                    program->setup.node);
    end(program, 0);
}

static void remove_everything(struct program *program)
{
    log_info("uninstalled: removing what is ours from the Node", "node", program->setup.node);
    program->is_uninstalled = true;
    cluster_state_deinit(&program->scene.state);
    program->scene.state = (struct cluster_state){.labels_by = CLUSTER_LABELS_NONE};
    program->scene.has_state = true;
    hurry_all(program); /* there is no time to wait out what failed before */
}

static void on_daemonset(const struct kube_response *response, void *userdata)
{
    struct program *program = userdata;

    program->farewell_call = NULL;
    if (*response->reason && response->http_status != 404)
        say_unknown(program, response->reason);
    if (owner_leaves(&program->owner, response))
        remove_everything(program);
    program->is_farewell_known = true; /* not before each writer has looked: some were at rest */
    end_when_done(program);
}

static int ask_daemonset(struct program *program)
{
    struct kube_request request = {.method = "GET", .on_done = on_daemonset};
    cleanup_text struct text path = TEXT_INIT;
    int r = owner_path(&program->owner, &path);

    if (r < 0)
        return r;
    request.path = text_string(&path);
    return kube_send(program->client, &request, program, &program->farewell_call, NULL);
}

/* Who owns us may be unknown yet, when the agent ends right after its start. */
static void ask_when_known(struct program *program)
{
    if (!program->is_leaving || program->is_farewell_known || program->farewell_call ||
        !owner_is_settled(&program->owner))
        return;
    program->is_farewell_known = ask_daemonset(program) < 0;
    end_when_done(program);
}

static void on_owner(void *userdata)
{
    struct program *program = userdata;

    writer_look(&program->feature.writer);
    ask_when_known(program);
}

static void on_bye(struct program *program)
{
    if (program->is_leaving)
        return;
    program->is_leaving = true;
    if (!is_running(program)) {
        end(program, 0);
        return;
    }
    uv_timer_start(&program->farewell, on_limit, FAREWELL_MS, 0);
    ask_when_known(program);
}

/* -- the start --------------------------------------------------------------------------------- */

static int start_watch(struct program *program, struct error *err)
{
    static const struct kube_watch_events events = {on_relist, on_object, on_synced, on_trouble};
    char name[1024], query[1100];

    kube_escape(program->setup.node, name, sizeof(name));
    snprintf(query, sizeof(query), "fieldSelector=metadata.name%%3D%s", name);
    return kube_watch_new(&program->loop, program->client, "/api/v1/nodes", query, &events, program,
                          &program->watch, err);
}

static void start_writers(struct program *program)
{
    static const struct writer_job *const jobs[N_WRITERS] = {
        [LABELS] = &upkeep_labels, [TAINTS] = &upkeep_taints, [CONDITION] = &upkeep_condition};

    for (size_t i = 0; i < N_WRITERS; i++)
        writer_init(&program->writers[i], &program->loop, jobs[i], on_writer, program,
                    &program->scene);
    owner_init(&program->owner, &program->loop, &program->scene, on_owner, program);
    feature_init(&program->feature, &program->loop, &program->scene, &program->owner, on_feature,
                 program);
    writer_look(&program->owner.writer);
    uv_timer_start(&program->nfd_check, on_nfd_check, NFD_CHECK_MS, NFD_CHECK_MS);
}

static int start(struct program *program, struct error *err)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    int r = kube_access_load(program->setup.kubeconfig, &access, err);

    if (r < 0)
        return r;
    r = kube_client_new(&program->loop, &access, &program->client, err);
    if (r < 0)
        return r;
    program->scene.client = program->client;
    r = start_watch(program, err);
    if (r < 0) {
        kube_client_free(TAKE_PTR(program->client));
        return r;
    }
    log_info("keeping our Node at the API server", "node", program->setup.node, "server",
             access.server);
    start_writers(program);
    events_start(program->events, program->client);
    return 0;
}

static void on_access(uv_timer_t *timer)
{
    struct program *program = timer->data;
    struct error err = ERROR_INIT;

    if (start(program, &err) == 0)
        return;
    if (!str_equal(program->access_trouble, error_text(&err)))
        log_error(error_text(&err));
    snprintf(program->access_trouble, sizeof(program->access_trouble), "%s", error_text(&err));
    uv_timer_start(timer, on_access, backoff_next_ms(&program->access_backoff, 0), 0);
}

static void on_setup(struct program *program, struct cluster_setup *setup)
{
    if (program->setup.node) {
        log_error("the agent said its setup twice");
        end(program, 1);
        return;
    }
    program->setup = *setup;
    *setup = (struct cluster_setup){.node = NULL};
    if (scene_init(&program->scene, NULL, &program->setup, on_node, program) < 0 ||
        events_new(&program->loop, program->setup.node, on_writer, program, &program->events,
                   NULL) < 0)
        end(program, 1);
    else
        on_access(&program->access);
}

/* -- the agent --------------------------------------------------------------------------------- */

static void on_state(struct program *program, struct cluster_state *state)
{
    cluster_state_deinit(&program->scene.state);
    program->scene.state = *state;
    *state = (struct cluster_state){.labels = NULL};
    program->scene.has_state = true;
    program->scene.state_since = time(NULL);
    if (!is_running(program))
        return;
    on_node(program);
}

static void on_message(struct cluster_message *message, void *userdata)
{
    struct program *program = userdata;

    if (message->kind != CLUSTER_SETUP && message->kind != CLUSTER_BYE && !program->setup.node) {
        log_error("the agent did not say its setup first");
        end(program, 1);
        return;
    }
    switch (message->kind) {
    case CLUSTER_SETUP:
        on_setup(program, &message->setup);
        break;
    case CLUSTER_STATE:
        if (!program->is_leaving)
            on_state(program, &message->state);
        break;
    case CLUSTER_EVENT:
        events_say(program->events, &message->event);
        break;
    case CLUSTER_BYE:
        on_bye(program);
        break;
    case CLUSTER_NEWS: /* ours */
        break;
    }
}

static void on_end(int r, const struct error *err, void *userdata)
{
    struct program *program = userdata;

    if (r < 0)
        log_error("the agent cannot be understood", "reason", error_text(err));
    if (r < 0 || !program->is_leaving)
        end(program, r < 0);
}

/* -- life -------------------------------------------------------------------------------------- */

static void free_parts(struct program *program)
{
    kube_cancel(TAKE_PTR(program->farewell_call));
    kube_watch_free(program->watch);
    events_free(program->events);
    if (is_running(program)) {
        for (size_t i = 0; i < N_WRITERS; i++)
            writer_deinit(&program->writers[i]);
        feature_deinit(&program->feature);
        owner_deinit(&program->owner);
    }
    kube_client_free(program->client);
    pair_free(program->pair);
}

int program_run(int fd)
{
    static const struct pair_events events = {on_message, on_end};
    struct program program = {
        .access_backoff = {.first_ms = ACCESS_FIRST_MS, .last_ms = ACCESS_LAST_MS}};
    uv_timer_t *timers[] = {&program.access, &program.nfd_lag, &program.nfd_check,
                            &program.farewell};
    struct error err = ERROR_INIT;

    uv_loop_init(&program.loop);
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
        uv_timer_init(&program.loop, timers[i]);
        timers[i]->data = &program;
    }
    if (pair_new(&program.loop, fd, &events, &program, &program.pair, &err) == 0) {
        uv_run(&program.loop, UV_RUN_DEFAULT);
    } else {
        log_error(error_text(&err));
        program.status = 1;
    }
    free_parts(&program);
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        uv_close((uv_handle_t *)timers[i], NULL);
    uv_run(&program.loop, UV_RUN_DEFAULT);
    uv_loop_close(&program.loop);
    nfd_deinit(&program.nfd);
    scene_deinit(&program.scene);
    cluster_setup_deinit(&program.setup);
    free(program.notes);
    return program.status;
}
