// SPDX-License-Identifier: Apache-2.0
#include "nodesync/program.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "kube/kubeconfig.h"
#include "kube/object.h"
#include "kube/watch.h"
#include "nodesync/agentlink.h"
#include "nodesync/nfdwatch.h"
#include "nodesync/node.h"
#include "nodesync/nodewriters.h"
#include "nodesync/opener.h"
#include "nodesync/shutdown.h"
#include "proc/role.h"
#include "proc/watchdog.h"

enum {
    ACCESS_FIRST_MS = 1000,
    ACCESS_LAST_MS = 60 * 1000,
    LAST_WORDS_MS =
        5000, /* for the agent's shutdown message, which is followed by SYNC_SHUTDOWN_MS at most */
};

struct program {
    uv_loop_t loop;
    struct agentlink *agent;
    struct sync_setup setup;
    struct observed observed;
    struct kube_client *client; /* NULL until the access is known */
    struct kube_watch *watch;
    struct owner owner;
    struct feature feature;
    struct nfdwatch nfdwatch;
    struct nodewriters nodewriters;
    struct opener opener;
    struct recorder *recorder;
    struct shutdown shutdown;
    uv_timer_t access;
    uv_timer_t last_words;
    struct watchdog watchdog; /* of a container */
    uv_signal_t signals[2];   /* of signal_numbers */
    bool is_child;
    bool is_terminated; /* by a signal */
    bool has_lasted;    /* the connection to the agent */
    bool has_role;      /* unneeded privileges were dropped */
    struct backoff access_backoff;
    struct lograte access_trouble, server_trouble;
    struct lograte notes; /* about labels that we may not set */
    bool is_listing;      /* a list is being read, not a watch */
    bool is_listed;       /* the current list contained it */
    bool is_reachable;    /* the API server is reachable */
    int status;
};

static void end(struct program *program, int status)
{
    program->status = status;
    uv_stop(&program->loop);
}

static void on_last_words_over(uv_timer_t *timer)
{
    end(timer->data, 0);
}

static bool is_running(const struct program *program)
{
    return program->client != NULL;
}

/* -- news for the agent ------------------------------------------------------------------------ */

static void log_notes(struct program *program, const struct labels_plan *plan)
{
    cleanup_text struct text text = TEXT_INIT;

    for (size_t i = 0; i < plan->n_held; i++)
        text_addf(&text, "%s%s", i ? ", " : "", plan->held[i]);
    for (size_t i = 0; i < plan->n_refused; i++)
        text_addf(&text, "%s%s", text.length ? "; " : "", plan->refused[i]);
    if (!text.length)
        lograte_end(&program->notes);
    if (!text.length || !lograte_change(&program->notes, text.data))
        return;
    if (plan->n_held)
        log_info("not setting labels that are owned by others", "labels", text_string(&text));
    for (size_t i = 0; i < plan->n_refused; i++)
        log_warning(plan->refused[i]);
}

static int fill_news(struct program *program, struct sync_news *news)
{
    cleanup_labels_plan struct labels_plan plan = {.object = NULL};
    const struct observed *observed = &program->observed;
    int r = node_news(observed->node, &program->setup, news);

    news->reachable = program->is_reachable;
    news->gone = !observed->node;
    if (r < 0 || !observed->node || !observed->has_state)
        return r;
    r = nodewriters_plan_labels(observed, &plan);
    if (r < 0)
        return r;
    log_notes(program, &plan);
    news->labels_held_by_others = TAKE_PTR(plan.held);
    news->n_labels_held = plan.n_held;
    news->labels_held_capacity = plan.held_capacity;
    plan.n_held = 0;
    return 0;
}

static void send_news(struct program *program)
{
    cleanup_sync_message struct sync_message message = {.kind = SYNC_NEWS};

    if (program->shutdown.is_begun || !program->observed.is_synced)
        return;
    if (!agentlink_is_up(program->agent))
        return;
    if (fill_news(program, &message.news) < 0 || agentlink_send(program->agent, &message) < 0)
        log_error("out of memory, cannot send the agent news about the Node");
}

/* -- the Node ---------------------------------------------------------------------------------- */

static void sync_all(struct program *program)
{
    nodewriters_sync(&program->nodewriters);
    opener_sync(&program->opener);
    writer_sync(&program->feature.writer);
    send_news(program);
}

static void watch_nfd(struct program *program)
{
    if (program->observed.is_synced && !program->shutdown.is_uninstall)
        nfdwatch_sync(&program->nfdwatch);
}

static void on_node(void *userdata)
{
    struct program *program = userdata;

    watch_nfd(program);
    sync_all(program);
}

static void on_nfd(void *userdata)
{
    sync_all(userdata);
}

static void lose_node(struct program *program)
{
    log_warning("the cluster has no Node of our name", "node", program->setup.node);
    json_decref(TAKE_PTR(program->observed.node));
    on_node(program);
}

static void on_relist(void *userdata)
{
    struct program *program = userdata;

    program->is_listing = true;
    program->is_listed = false;
}

static void on_object(enum kube_change change, json_t *object, void *userdata)
{
    struct program *program = userdata;

    program->is_listed = true;
    if (change == KUBE_DELETED)
        lose_node(program);
    else if (program->is_listing)
        observed_see_listed(&program->observed, object);
    else
        observed_update(&program->observed, object);
}

static void on_synced(void *userdata)
{
    struct program *program = userdata;
    const bool was_synced = program->observed.is_synced;

    program->is_listing = false;
    program->observed.is_synced = program->is_reachable = true;
    if (!program->is_listed && (program->observed.node || !was_synced))
        lose_node(program);
    else if (!was_synced)
        on_node(program);
}

static void on_trouble(const char *reason, void *userdata)
{
    struct program *program = userdata;

    program->is_reachable = !reason;
    send_news(program);
    if (reason) {
        if (lograte_begin(&program->server_trouble, reason, clock_now_ms()))
            log_warning("the API server is unreachable, retrying", "reason", reason);
        return;
    }
    if (lograte_end(&program->server_trouble))
        log_info("the API server is reachable again");
    writer_kick(&program->owner.writer);
    nodewriters_kick(&program->nodewriters);
    opener_kick(&program->opener);
    writer_kick(&program->feature.writer);
    recorder_kick(program->recorder);
}

/* -- idle -------------------------------------------------------------------------------------- */

static void on_idle(void *userdata)
{
    struct program *program = userdata;

    shutdown_sync(&program->shutdown);
}

/* The previous content of our NodeFeature may be known now. */
static void on_feature(void *userdata)
{
    struct program *program = userdata;

    watch_nfd(program);
    shutdown_sync(&program->shutdown);
}

static void on_owner(void *userdata)
{
    struct program *program = userdata;

    writer_sync(&program->feature.writer);
    shutdown_sync(&program->shutdown);
}

static void on_shutdown_done(void *userdata)
{
    struct program *program = userdata;
    const struct sync_message message = {.kind = SYNC_UNINSTALL};

    if (program->shutdown.is_uninstall && agentlink_send(program->agent, &message) < 0)
        log_error("out of memory, cannot notify the agent of its uninstall");
    end(program, 0);
}

/* -- the start --------------------------------------------------------------------------------- */

static int start_watch(struct program *program, struct error *err)
{
    static const struct kube_watch_events events = {on_relist, on_object, on_synced, on_trouble};
    cleanup_text struct text query = TEXT_INIT;

    text_add(&query, "fieldSelector=");
    kube_add_escaped(&query, "metadata.name=");
    kube_add_escaped(&query, program->setup.node);
    if (text_failed(&query))
        return error_set_errno(err, -ENOMEM, "cannot watch our Node");
    return kube_watch_new(&program->loop,
                          &(struct kube_watch_setup){.client = program->client,
                                                     .path = "/api/v1/nodes",
                                                     .query = text_string(&query),
                                                     .events = &events,
                                                     .userdata = program},
                          &program->watch, err);
}

static void on_opened(const char *sentence, void *userdata)
{
    struct program *program = userdata;

    recorder_add(program->recorder,
                 &(struct correlator_event){
                     .namespace_ = "", .pod = "", .reason = "NodeOpened", .message = sentence});
}

static void start_writers(struct program *program)
{
    uv_loop_t *loop = &program->loop;
    struct observed *observed = &program->observed;

    nodewriters_init(&program->nodewriters, loop, observed, on_idle, program);
    if (opener_init(&program->opener, loop, observed, on_opened, program) < 0)
        log_error("out of memory, this node is opened by a controller alone");
    owner_init(&program->owner, loop, observed, on_owner, program);
    feature_init(&program->feature, loop, observed, &program->owner, on_feature, program);
    nfdwatch_init(&program->nfdwatch, loop, observed, &program->feature, on_nfd, program);
    writer_sync(&program->owner.writer);
}

/*
 * The kubeconfig is parsed; files named in it are read for each request. If all of them are
 * world-readable, this program needs no privileged user.
 */
static int drop_rights(struct program *program, const struct kube_access *access, struct error *err)
{
    const char *const files[] = {
        access->ca_file,
        access->token_file,
        access->cert_file,
        access->key_file,
        program->is_child ? NULL : program->setup.kubeconfig, /* again with the next agent */
    };
    enum role role = ROLE_NODESYNC;
    int r;

    if (program->has_role)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(files) && geteuid() == 0; i++) {
        if (!files[i] || !*files[i] || role_check_readable(files[i]) == 0)
            continue;
        log_info("gpuslice-nodesync keeps running as root, without capabilities: its credentials "
                 "are readable by root only",
                 "file", files[i], "hint",
                 "make them readable by user 65534, and this program switches to that user");
        role = ROLE_NODESYNC_AS_ROOT;
        break;
    }
    r = role_enter(role, err);
    if (r < 0)
        return r;
    program->has_role = true;
    if (program->is_child)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* changing the user clears it */
    return 0;
}

static int start(struct program *program, struct error *err)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    int r = kube_access_load(program->setup.kubeconfig, &access, err);

    if (r == 0)
        r = drop_rights(program, &access, err);
    if (r < 0)
        return r;
    r = kube_client_new(&program->loop, &access, NODE_MANAGER, &program->client, err);
    if (r < 0)
        return r;
    r = start_watch(program, err);
    if (r < 0) {
        kube_client_free(TAKE_PTR(program->client));
        return r;
    }
    program->observed.client = program->client;
    log_info("maintaining our Node at the API server", "node", program->setup.node, "server",
             access.server);
    start_writers(program);
    recorder_start(program->recorder, program->client);
    return 0;
}

static void on_access(uv_timer_t *timer)
{
    struct program *program = timer->data;
    struct error err = ERROR_INIT;

    if (start(program, &err) == 0)
        return;
    if (lograte_begin(&program->access_trouble, error_text(&err), clock_now_ms()))
        log_error(error_text(&err));
    uv_timer_start(timer, on_access, backoff_next_ms(&program->access_backoff, 0), 0);
}

static void on_setup(struct program *program, struct sync_setup *setup)
{
    if (program->setup.node) {
        log_error("the agent sent its setup twice");
        end(program, 1);
        return;
    }
    program->setup = *setup;
    *setup = (struct sync_setup){.node = NULL};
    if (observed_init(&program->observed, NULL, &program->setup, on_node, program) < 0 ||
        recorder_new(&program->loop, program->setup.node, on_idle, program, &program->recorder,
                     NULL) < 0)
        end(program, 1);
    else
        on_access(&program->access);
}

/* -- the agent --------------------------------------------------------------------------------- */

static void on_state(struct program *program, struct sync_state *state)
{
    sync_state_deinit(&program->observed.state);
    program->observed.state = *state;
    *state = (struct sync_state){.labels = NULL};
    program->observed.has_state = true;
    program->observed.state_since = time(NULL);
    if (!is_running(program))
        return;
    on_node(program);
}

/* On the Node, unless it is of the pods alone, and on each listed pod. */
static void record(struct program *program, const struct sync_event *event)
{
    struct correlator_event one = {
        .namespace_ = "",
        .pod = "",
        .reason = event->reason,
        .message = event->message,
        .warning = event->warning,
    };

    if (!event->is_of_pods)
        recorder_add(program->recorder, &one);
    for (size_t i = 0; i < event->n_pods; i++) {
        one.namespace_ = event->pods[i].namespace_;
        one.pod = event->pods[i].name;
        recorder_add(program->recorder, &one);
    }
}

static void on_message(struct sync_message *message, void *userdata)
{
    struct program *program = userdata;

    if (message->kind != SYNC_SETUP && message->kind != SYNC_SHUTDOWN && !program->setup.node) {
        log_error("the agent's first message is not its setup");
        end(program, 1);
        return;
    }
    switch (message->kind) {
    case SYNC_SETUP:
        on_setup(program, &message->setup);
        break;
    case SYNC_STATE:
        if (!program->shutdown.is_begun)
            on_state(program, &message->state);
        break;
    case SYNC_EVENT:
        record(program, &message->event);
        break;
    case SYNC_SHUTDOWN:
        shutdown_begin(&program->shutdown, program->recorder);
        break;
    case SYNC_NEWS: /* ours */
    case SYNC_UNINSTALL:
        break;
    }
}

static void on_end(int r, const char *sentence, void *userdata)
{
    struct program *program = userdata;

    if (r < 0)
        log_error("the agent sent an invalid message", "reason", sentence);
    if (r < 0 || !program->shutdown.is_begun)
        end(program, r < 0);
}

/* As a container: the agent of our pod exits as well and may still send a shutdown, or this program
 * alone is to end. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;

    (void)number;
    program->is_terminated = true;
    if (!agentlink_is_up(program->agent))
        end(program, 0);
    else
        uv_timer_start(&program->last_words, on_last_words_over, LAST_WORDS_MS, 0);
}

/* -- life -------------------------------------------------------------------------------------- */

static void free_parts(struct program *program)
{
    shutdown_deinit(&program->shutdown);
    kube_watch_free(program->watch);
    recorder_free(program->recorder);
    if (is_running(program)) {
        nodewriters_deinit(&program->nodewriters);
        opener_deinit(&program->opener);
        nfdwatch_deinit(&program->nfdwatch);
        feature_deinit(&program->feature);
        owner_deinit(&program->owner);
    }
    kube_client_free(program->client);
    program->has_lasted = program->agent && agentlink_lasted(program->agent);
    agentlink_free(program->agent);
}

static const int signal_numbers[] = {SIGTERM, SIGINT};

/* Between two lives of the program a signal waits: by default it would be lost (process 1) or kill.
 */
static void mask_signals(int how)
{
    sigset_t signals;

    sigemptyset(&signals);
    for (size_t i = 0; i < ARRAY_SIZE(signal_numbers); i++)
        sigaddset(&signals, signal_numbers[i]);
    sigprocmask(how, &signals, NULL);
}

static void start_handles(struct program *program)
{
    uv_loop_init(&program->loop);
    uv_timer_init(&program->loop, &program->access);
    uv_timer_init(&program->loop, &program->last_words);
    program->access.data = program->last_words.data = program;
    for (size_t i = 0; i < ARRAY_SIZE(program->signals); i++) {
        uv_signal_init(&program->loop, &program->signals[i]);
        program->signals[i].data = program;
        if (!program->is_child)
            uv_signal_start(&program->signals[i], on_signal, signal_numbers[i]);
    }
    if (!program->is_child)
        watchdog_start(&program->watchdog, &program->loop, WATCHDOG_MS);
    mask_signals(SIG_UNBLOCK);
}

static void close_handles(struct program *program)
{
    mask_signals(SIG_BLOCK);
    if (!program->is_child)
        watchdog_stop(&program->watchdog);
    uv_close((uv_handle_t *)&program->access, NULL);
    uv_close((uv_handle_t *)&program->last_words, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(program->signals); i++)
        uv_close((uv_handle_t *)&program->signals[i], NULL);
    uv_run(&program->loop, UV_RUN_DEFAULT);
    uv_loop_close(&program->loop);
}

int program_run(const char *socket)
{
    static const struct agentlink_events events = {on_message, on_end};
    struct program program = {
        .access_backoff = {.first_ms = ACCESS_FIRST_MS, .last_ms = ACCESS_LAST_MS},
        .is_child = !socket};
    struct error err = ERROR_INIT;

    start_handles(&program);
    shutdown_init(&program.shutdown, &program.loop,
                  &(struct shutdown_setup){.observed = &program.observed,
                                           .owner = &program.owner,
                                           .nodewriters = &program.nodewriters,
                                           .feature = &program.feature,
                                           .on_done = on_shutdown_done,
                                           .userdata = &program});
    if (agentlink_new(&program.loop, socket, &events, &program, &program.agent, &err) == 0) {
        uv_run(&program.loop, UV_RUN_DEFAULT);
    } else {
        log_error(error_text(&err));
        program.status = 1;
    }
    free_parts(&program);
    close_handles(&program);
    observed_deinit(&program.observed);
    sync_setup_deinit(&program.setup);
    if (program.status || !socket || program.is_terminated)
        return program.status;
    return program.has_lasted ? PROGRAM_AGAIN : PROGRAM_AGAIN_LATER;
}
