// SPDX-License-Identifier: Apache-2.0
#include "control.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "kubelet.h"
#include "objectview.h"
#include "runner.h"

DEFINE_CLEANUP(json_t *, json_decref)
#define cleanup_json cleanup(json_decref_p)

struct peer {
    uv_pipe_t pipe;
    uv_timer_t deadline;
    struct control *control;
    struct peer *next;
    struct text input;
    char *answer;
    uv_write_t write;
    char *condition; /* of a pending wait */
    unsigned n_handles;
    bool closing;
};

struct control {
    uv_pipe_t listener;
    struct kubelet *kubelet;
    char *path;
    struct peer *peers;
};

/* What a verb returns; `deferred`: the response is sent later. */
struct answer_out {
    int status;
    struct text text;
    bool deferred;
};

static void handle_released(uv_handle_t *handle)
{
    struct peer *peer = handle->data;

    if (--peer->n_handles)
        return;
    text_deinit(&peer->input);
    free(peer->answer);
    free(peer->condition);
    free(peer);
}

static void peer_close(struct peer *peer)
{
    struct peer **link = &peer->control->peers;

    if (peer->closing)
        return;
    peer->closing = true;
    while (*link != peer)
        link = &(*link)->next;
    *link = peer->next;
    uv_close((uv_handle_t *)&peer->pipe, handle_released);
    uv_close((uv_handle_t *)&peer->deadline, handle_released);
}

static void handle_written(uv_write_t *write, int status)
{
    struct peer *peer = write->data;

    if (!peer->closing)
        peer_close(peer);
}

static void answer_peer(struct peer *peer, int status, const char *output)
{
    cleanup_json json_t *json = json_pack("{s:i, s:s}", "status", status, "output", output);
    uv_buf_t buffer;

    free(peer->condition);
    peer->condition = NULL;
    peer->answer = json ? json_dumps(json, JSON_COMPACT) : strdup("{\"status\":1}");
    peer->write.data = peer;
    buffer = uv_buf_init(peer->answer, peer->answer ? (unsigned)strlen(peer->answer) : 0);
    if (!peer->answer ||
        uv_write(&peer->write, (uv_stream_t *)&peer->pipe, &buffer, 1, handle_written) < 0)
        peer_close(peer);
}

static const char *field(const json_t *request, const char *name, const char *fallback)
{
    const char *value = json_string_value(json_object_get(request, name));

    return value ? value : fallback;
}

static void apply_all(struct kubelet *kubelet, struct podmanifests *manifests,
                      struct answer_out *out)
{
    static const char *const words[] = {[WORKLOAD_CREATED] = "created",
                                        [WORKLOAD_CONFIGURED] = "configured",
                                        [WORKLOAD_UNCHANGED] = "unchanged"};

    for (size_t i = 0; i < manifests->n_items; i++) {
        struct podmanifest *manifest = &manifests->items[i];
        cleanup_free char *name = strdup(manifest->name);
        const char *kind = podmanifest_kind_name(manifest->kind);
        int r = workloads_apply(&kubelet->workloads, manifest);

        if (r < 0 || !name) {
            out->status = 1;
            text_addf(&out->text, "cannot apply %s: %s\n", kind, strerror(ENOMEM));
            return;
        }
        text_addf(&out->text, "%s/%s %s\n", kind, name, words[r]);
    }
}

static void do_apply(struct kubelet *kubelet, struct peer *peer, const json_t *request,
                     struct answer_out *out)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podmanifests struct podmanifests manifests = MANIFESTS_INIT;
    const char *text = field(request, "text", "");
    const struct problem *problem = NULL;
    char line[1024];
    int r;

    problems_set_source(&problems, field(request, "source", "-"));
    r = podmanifests_parse(text, strlen(text), field(request, "namespace", "default"), &problems,
                           &manifests);
    problems_sort(&problems);
    while ((problem = problems_next(&problems, problem))) {
        problem_format(&problems, problem, line, sizeof(line));
        text_addf(&out->text, "%s: %s\n", problem_severity_name(problem->severity), line);
    }
    out->status = r < 0;
    if (r == 0 && !manifests.n_items) {
        text_add(&out->text, "no objects passed to apply\n");
        out->status = 1;
    }
    if (r == 0 && !json_is_true(json_object_get(request, "dry_run")))
        apply_all(kubelet, &manifests, out);
}

/* "Deployment/name", "deployment/name" or just "name". */
static bool is_named(const struct workload *workload, const char *namespace, const char *name)
{
    const char *slash = strchr(name, '/');
    const char *kind = podmanifest_kind_name(workload->manifest.kind);

    if (slash && (strlen(kind) != (size_t)(slash - name) ||
                  strncasecmp(kind, name, (size_t)(slash - name)) != 0))
        return false;
    return !workload->gone && str_equal(workload->manifest.name, slash ? slash + 1 : name) &&
           str_equal(workload->manifest.namespace, namespace);
}

/* `get pods` shows all namespaces: where the name is in another one, that is what is missing. */
static void not_found(const struct kubelet *kubelet, const char *what, const char *namespace,
                      const char *name, struct answer_out *out)
{
    const char *slash = strchr(name, '/'), *there = NULL;

    for (size_t i = 0; !there && i < kubelet->workloads.n_items; i++) {
        const char *other = kubelet->workloads.items[i]->manifest.namespace;

        there = is_named(kubelet->workloads.items[i], other, name) ? other : NULL;
    }
    for (size_t i = 0; !there && i < kubelet->pods.n_items; i++)
        if (str_equal(kubelet->pods.items[i]->name, slash ? slash + 1 : name))
            there = kubelet->pods.items[i]->namespace;
    out->status = 1;
    text_addf(&out->text, "Error from server (NotFound): %s\"%s\" not found", what, name);
    if (!*what)
        text_addf(&out->text, " in namespace %s", namespace);
    if (there && !str_equal(there, namespace))
        text_addf(&out->text, "; there is one in %s: add -n %s", there, there);
    text_add(&out->text, "\n");
}

static void do_delete(struct kubelet *kubelet, struct peer *peer, const json_t *request,
                      struct answer_out *out)
{
    const char *name = field(request, "name", ""), *slash = strchr(name, '/');
    const char *namespace = field(request, "namespace", "default");
    struct pod *pod = pods_find(&kubelet->pods, namespace, slash ? slash + 1 : name);

    for (size_t i = 0; i < kubelet->workloads.n_items; i++)
        if (is_named(kubelet->workloads.items[i], namespace, name)) {
            kubelet->workloads.items[i]->gone = true;
            text_addf(&out->text, "%s/%s deleted\n",
                      podmanifest_kind_name(kubelet->workloads.items[i]->manifest.kind),
                      kubelet->workloads.items[i]->manifest.name);
            return;
        }
    /* A pod owned by a workload: its controller replaces it. */
    if (pod && (!slash || !strncasecmp(name, "pod/", 4))) {
        pod->deleting = true;
        text_addf(&out->text, "Pod/%s deleted\n", pod->name);
        return;
    }
    not_found(kubelet, "", namespace, name, out);
}

static void do_scale(struct kubelet *kubelet, struct peer *peer, const json_t *request,
                     struct answer_out *out)
{
    const char *name = field(request, "name", "");
    const char *namespace = field(request, "namespace", "default");
    json_int_t replicas = json_integer_value(json_object_get(request, "replicas"));

    for (size_t i = 0; i < kubelet->workloads.n_items; i++) {
        struct podmanifest *manifest = &kubelet->workloads.items[i]->manifest;

        if (!is_named(kubelet->workloads.items[i], namespace, name) ||
            manifest->kind == MANIFEST_POD || manifest->kind == MANIFEST_JOB)
            continue;
        if (replicas < 0 || replicas > MANIFEST_MAX_PODS) {
            out->status = 1;
            text_addf(&out->text, "the number of replicas must be 0 to %d\n", MANIFEST_MAX_PODS);
            return;
        }
        manifest->replicas = replicas;
        text_addf(&out->text, "%s/%s scaled\n", podmanifest_kind_name(manifest->kind),
                  manifest->name);
        return;
    }
    not_found(kubelet, "", namespace, name, out);
}

static void do_get(struct kubelet *kubelet, struct peer *peer, const json_t *request,
                   struct answer_out *out)
{
    const char *what = field(request, "what", "");
    enum view_format format;
    int r = -EINVAL;

    if (objectview_format_parse(field(request, "format", "table"), &format)) {
        if (str_equal(what, "node") || str_equal(what, "nodes"))
            r = objectview_node(kubelet, format, &out->text);
        else if (str_equal(what, "pods") || str_equal(what, "pod"))
            r = objectview_pods(kubelet, format, &out->text);
    }
    if (r == -EINVAL)
        text_add(&out->text, "usage: get pods|node [-o table|json]\n");
    out->status = r < 0;
}

/* Returns the path of the log: the client reads the file, which may be large. */
static void do_logs(struct kubelet *kubelet, struct peer *peer, const json_t *request,
                    struct answer_out *out)
{
    const char *name = field(request, "name", ""), *container = field(request, "container", NULL);
    const char *namespace = field(request, "namespace", "default");
    struct pod *pod = pods_find(&kubelet->pods, namespace, name);
    char path[PATH_MAX];

    for (size_t i = 0; pod && !container && i < pod->n_containers; i++)
        if (pod->containers[i].spec->role == CONTAINER_APP)
            container = pod->containers[i].spec->name;
    if (pod && runner_log_path(kubelet, pod, container, path, sizeof(path)) == 0) {
        text_add(&out->text, path);
        return;
    }
    not_found(kubelet, "pods ", namespace, name, out);
}

static int64_t count_pods(const struct kubelet *kubelet, const char *phase)
{
    int64_t n = 0;

    for (size_t i = 0; i < kubelet->pods.n_items; i++)
        n += str_equal(phase, "all") ||
             (!kubelet->pods.items[i]->deleting &&
              str_equal(phase, pod_phase_name(kubelet->pods.items[i]->phase)));
    return n;
}

/* Nothing is in progress: each pod runs, has finished, or is known to be blocked. */
static bool is_settled(const struct kubelet *kubelet)
{
    for (size_t i = 0; i < kubelet->pods.n_items; i++) {
        const struct pod *pod = kubelet->pods.items[i];
        bool waits = pod->phase == POD_PENDING && !pod->scheduled && pod->message;

        if (pod->deleting || (pod->phase == POD_PENDING && !waits))
            return false;
    }
    return true;
}

/* The current value of the left-hand side; -EINVAL if it has none. */
static int64_t measure(const struct kubelet *kubelet, const char *what)
{
    const struct resource *resource;
    const char *colon = strchr(what, ':'), *name = colon ? colon + 1 : what;

    if (str_equal(what, "pods"))
        return count_pods(kubelet, "Running");
    if (str_starts_with(what, "pods."))
        return count_pods(kubelet, what + strlen("pods."));
    if (str_equal(what, "settled"))
        return is_settled(kubelet);
    if (!strchr(name, '/'))
        return -EINVAL;
    resource = manager_find(&kubelet->manager, name);
    if (str_starts_with(what, "allocated:"))
        return (int64_t)kubelet_allocated(kubelet, name);
    if (colon && !str_starts_with(what, "capacity:") && !str_starts_with(what, "allocatable:"))
        return -EINVAL;
    if (!resource)
        return 0;
    return (int64_t)(str_starts_with(what, "capacity:") ? manager_capacity(resource)
                                                        : manager_allocatable(resource));
}

int control_check(const struct kubelet *kubelet, const char *condition, struct error *err)
{
    const char *equals = strrchr(condition, '=');
    cleanup_free char *what = equals ? strndup(condition, (size_t)(equals - condition)) : NULL;
    char *end = NULL;
    long wanted = equals ? strtol(equals + 1, &end, 10) : 0;
    int64_t value = what ? measure(kubelet, what) : -EINVAL;

    if (value < 0 || wanted < 0 || !end || *end || end == equals + 1)
        return error_set(err, -EINVAL,
                         "\"%s\" is not a condition: use pods=N, pods.PHASE=N, settled=1, "
                         "RESOURCE=N, capacity:RESOURCE=N or allocated:RESOURCE=N",
                         condition);
    return value == wanted;
}

static void handle_deadline(uv_timer_t *timer)
{
    struct peer *peer = timer->data;
    cleanup_text struct text text = TEXT_INIT;

    text_addf(&text, "timed out waiting for %s\n", peer->condition);
    answer_peer(peer, 1, text_string(&text));
}

static void do_wait(struct kubelet *kubelet, struct peer *peer, const json_t *request,
                    struct answer_out *out)
{
    const char *condition = field(request, "for", "");
    json_int_t timeout_ms = json_integer_value(json_object_get(request, "timeout_ms"));
    struct error err = ERROR_INIT;
    int r = control_check(kubelet, condition, &err);

    if (r < 0) {
        out->status = 2;
        text_addf(&out->text, "%s\n", error_text(&err));
        return;
    }
    if (r)
        return;
    peer->condition = strdup(condition);
    out->deferred = peer->condition;
    uv_timer_start(&peer->deadline, handle_deadline, timeout_ms > 0 ? (uint64_t)timeout_ms : 0, 0);
}

static const struct {
    const char *name;
    void (*run)(struct kubelet *kubelet, struct peer *peer, const json_t *request,
                struct answer_out *out);
    bool changes; /* changes the objects: needs a sync and a new state file */
} verbs[] = {
    {"apply", do_apply, true}, {"delete", do_delete, true}, {"scale", do_scale, true},
    {"get", do_get, false},    {"logs", do_logs, false},    {"wait", do_wait, false},
};

static void serve(struct peer *peer, const json_t *request)
{
    struct kubelet *kubelet = peer->control->kubelet;
    struct answer_out out = {.status = 0};
    const char *verb = field(request, "verb", "");

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!str_equal(verbs[i].name, verb))
            continue;
        verbs[i].run(kubelet, peer, request, &out);
        if (verbs[i].changes) {
            kubelet->state_dirty = true;
            kubelet_save(kubelet);
            kubelet_wake(kubelet);
        }
        if (!out.deferred)
            answer_peer(peer, out.status, text_string(&out.text));
        text_deinit(&out.text);
        return;
    }
    answer_peer(peer, 2, "unknown verb\n");
}

static void handle_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct peer *peer = stream->data;
    cleanup_json json_t *request = NULL;
    cleanup_free char *data = buffer->base;

    if (n == 0)
        return;
    if (n < 0 || peer->input.length + (size_t)n > CONTROL_MAX_BYTES || peer->answer) {
        peer_close(peer);
        return;
    }
    text_add_bytes(&peer->input, data, (size_t)n);
    if (data[n - 1] != '\n' || text_failed(&peer->input))
        return;
    uv_timer_stop(&peer->deadline);
    request = json_loadb(peer->input.data, peer->input.length, 0, NULL);
    serve(peer, request);
}

static void handle_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    buffer->base = malloc(size);
    buffer->len = buffer->base ? size : 0;
}

static void handle_connection(uv_stream_t *stream, int status)
{
    struct control *control = stream->data;
    struct peer *peer = status == 0 ? calloc(1, sizeof(*peer)) : NULL;

    if (!peer)
        return;
    peer->control = control;
    peer->pipe.data = peer->deadline.data = peer;
    uv_pipe_init(control->kubelet->loop, &peer->pipe, 0);
    uv_timer_init(control->kubelet->loop, &peer->deadline);
    peer->n_handles = 2;
    peer->next = control->peers;
    control->peers = peer;
    if (uv_accept(stream, (uv_stream_t *)&peer->pipe) < 0 ||
        uv_read_start((uv_stream_t *)&peer->pipe, handle_alloc, handle_read) < 0)
        peer_close(peer);
}

static void control_released(uv_handle_t *handle)
{
    struct control *control = handle->data;

    free(control->path);
    free(control);
}

int control_new(struct kubelet *kubelet, const char *path, struct control **ret_control,
                struct error *err)
{
    struct control *control;
    int r;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return error_set(err, -ENAMETOOLONG,
                         "%s is too long for a socket path: choose a shorter --root-dir", path);
    unlink(path); /* a killed stand-in left it: rootdir_check found nobody there */
    control = calloc(1, sizeof(*control));
    if (!control || !(control->path = strdup(path))) {
        free(control);
        return error_set_errno(err, -ENOMEM, "cannot listen on %s", path);
    }
    control->kubelet = kubelet;
    control->listener.data = control;
    uv_pipe_init(kubelet->loop, &control->listener, 0);
    r = uv_pipe_bind(&control->listener, path);
    if (r == 0 && chmod(path, 0600) < 0)
        r = -errno;
    if (r == 0)
        r = uv_listen((uv_stream_t *)&control->listener, 64, handle_connection);
    if (r < 0) {
        uv_close((uv_handle_t *)&control->listener, control_released);
        return error_set_errno(err, r, "cannot listen on %s", path);
    }
    *ret_control = control;
    return 0;
}

void control_notify(struct control *control)
{
    struct peer *next;

    for (struct peer *peer = control->peers; peer; peer = next) {
        next = peer->next;
        if (!peer->condition || control_check(control->kubelet, peer->condition, NULL) != 1)
            continue;
        uv_timer_stop(&peer->deadline);
        answer_peer(peer, 0, "");
    }
}

void control_free(struct control *control)
{
    if (!control)
        return;
    while (control->peers)
        peer_close(control->peers);
    unlink(control->path);
    uv_close((uv_handle_t *)&control->listener, control_released);
}
