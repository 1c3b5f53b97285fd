// SPDX-License-Identifier: Apache-2.0

/*
 * src/kube as a program that tests can drive: one command per line on standard input, one JSON
 * object per line on standard output. It exits at the end of input.
 *
 *     watch PATH [QUERY]        events of the collection; one watch at a time
 *     unwatch                   frees it
 *     unwatch-at NAME           frees it from within the event of this object
 *     get PATH
 *     apply PATH yield|force JSON
 *     patch PATH JSON
 *     create PATH JSON
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kube/kubeconfig.h"
#include "kube/object.h"
#include "kube/watch.h"

#define MANAGER "kube-probe"

/* Which request a response belongs to. */
static char get_name[] = "get", apply_name[] = "apply", patch_name[] = "patch",
            create_name[] = "create";

static struct {
    uv_loop_t loop;
    uv_pipe_t input;
    struct text line;
    struct kube_client *client;
    struct kube_watch *watch;
    unsigned idle_ms;
    char *unwatch_at;
    char chunk[4096];
} probe;

/* ---- output ---- */

/* Consumes the object. */
static void print(json_t *object)
{
    char *line = json_dumps(object, JSON_COMPACT);

    puts(line ? line : "null");
    fflush(stdout);
    free(line);
    json_decref(object);
}

static void on_conflict(const char *field, const char *manager, void *userdata)
{
    json_array_append_new(userdata, json_pack("[ss]", field, manager));
}

static void on_answer(const struct kube_response *response, void *userdata)
{
    json_t *conflicts = json_array();
    const char *what = userdata;

    kube_each_conflict(response, on_conflict, conflicts);
    print(json_pack("{sssisisisssIso}", "answer", what, "error", response->error, "status",
                    (int)response->http_status, "retry_after_s", (int)response->retry_after_s,
                    "reason", response->reason, "size", (json_int_t)response->size, "conflicts",
                    conflicts));
}

static void on_relist(void *userdata)
{
    (void)userdata;
    print(json_pack("{ss}", "event", "relist"));
}

static void on_object(enum kube_change change, json_t *object, void *userdata)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED"};
    const json_t *metadata = json_object_get(object, "metadata");
    const char *name = json_string_value(json_object_get(metadata, "name"));
    const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));

    (void)userdata;
    print(json_pack("{sssssssI}", "event", names[change], "name", name ? name : "", "version",
                    version ? version : "", "size",
                    (json_int_t)json_dumpb(object, NULL, 0, JSON_COMPACT)));
    if (probe.unwatch_at && name && str_equal(name, probe.unwatch_at)) {
        kube_watch_free(probe.watch);
        probe.watch = NULL;
    }
}

static void on_synced(void *userdata)
{
    (void)userdata;
    print(json_pack("{ss}", "event", "synced"));
}

static void on_trouble(const char *reason, void *userdata)
{
    (void)userdata;
    print(json_pack("{ssss?}", "event", "trouble", "reason", reason));
}

/* ---- commands ---- */

/* Splits off the next word; "" at the end. */
static char *next_word(char **rest)
{
    char *word = *rest;

    *rest += strcspn(word, " ");
    if (**rest)
        *(*rest)++ = '\0';
    return word;
}

static int begin_watch(char *path, char *query, struct error *err)
{
    const struct kube_watch_events events = {.on_relist = on_relist,
                                             .on_object = on_object,
                                             .on_synced = on_synced,
                                             .on_trouble = on_trouble,
                                             .idle_ms = probe.idle_ms};

    return kube_watch_new(&probe.loop,
                          &(struct kube_watch_setup){.client = probe.client,
                                                     .path = path,
                                                     .query = query[0] ? query : NULL,
                                                     .events = &events},
                          &probe.watch, err);
}

static int send_object(const char *verb, char *path, char *rest, struct error *err)
{
    bool forced = str_equal(verb, "apply") && str_equal(next_word(&rest), "force");
    json_t *object = json_loads(rest, 0, NULL);
    int r;

    if (str_equal(verb, "apply"))
        r = kube_apply(probe.client, path, forced ? KUBE_FORCE : KUBE_YIELD, object,
                       &(struct kube_waiter){.on_done = on_answer, .userdata = apply_name}, err);
    else if (str_equal(verb, "patch"))
        r = kube_json_patch(probe.client, path, object,
                            &(struct kube_waiter){.on_done = on_answer, .userdata = patch_name},
                            err);
    else
        r = kube_create(probe.client, path, object,
                        &(struct kube_waiter){.on_done = on_answer, .userdata = create_name}, err);
    json_decref(object);
    return r;
}

static int get(char *path, struct error *err)
{
    return kube_send(probe.client,
                     &(struct kube_request){
                         .method = "GET", .path = path, .timeout_ms = 3000, .on_done = on_answer},
                     get_name, NULL, err);
}

static void obey(char *line)
{
    struct error err = ERROR_INIT;
    const char *verb = next_word(&line);
    int r = 0;

    if (str_equal(verb, "unwatch")) {
        kube_watch_free(probe.watch);
        probe.watch = NULL;
        print(json_pack("{ss}", "event", "unwatched"));
        return;
    }
    if (str_equal(verb, "unwatch-at")) {
        free(probe.unwatch_at);
        probe.unwatch_at = strdup(line);
        return;
    }
    char *path = next_word(&line);

    if (str_equal(verb, "watch"))
        r = begin_watch(path, line, &err);
    else if (str_equal(verb, "get"))
        r = get(path, &err);
    else
        r = send_object(verb, path, line, &err);
    if (r < 0)
        print(json_pack("{sssiss}", "answer", verb, "error", r, "reason", error_text(&err)));
}

static void end(void)
{
    kube_watch_free(probe.watch);
    probe.watch = NULL;
    kube_client_free(probe.client);
    probe.client = NULL;
    uv_close((uv_handle_t *)&probe.input, NULL);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(probe.chunk, sizeof(probe.chunk));
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    (void)stream;
    if (size < 0) {
        end();
        return;
    }
    for (ssize_t i = 0; i < size; i++) {
        if (buffer->base[i] != '\n') {
            text_add_char(&probe.line, buffer->base[i]);
            continue;
        }
        text_add(&probe.line, "");
        obey(probe.line.data);
        text_clear(&probe.line);
    }
}

static int start(int argc, char *argv[], struct error *err)
{
    static const struct option options[] = {{"kubeconfig", required_argument, NULL, 'k'},
                                            {"pod-folder", required_argument, NULL, 'p'},
                                            {"idle-ms", required_argument, NULL, 'i'},
                                            {NULL, 0, NULL, 0}};
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    const char *kubeconfig = NULL, *folder = NULL;
    int option, r;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (option == 'k')
            kubeconfig = optarg;
        else if (option == 'p')
            folder = optarg;
        else if (option == 'i')
            probe.idle_ms = (unsigned)strtoul(optarg, NULL, 10);
        else
            return error_set(err, -EINVAL, "there is no such option");
    }
    r = folder ? kube_access_of_pod(folder, &access, err)
               : kube_access_load(kubeconfig, &access, err);
    if (r < 0)
        return r;
    return kube_client_new(&probe.loop, &access, MANAGER, &probe.client, err);
}

int main(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    int r;

    uv_loop_init(&probe.loop);
    r = start(argc, argv, &err);
    if (r < 0) {
        fprintf(stderr, "%s\n", error_text(&err));
        return EXIT_FAILURE;
    }
    uv_pipe_init(&probe.loop, &probe.input, 0);
    uv_pipe_open(&probe.input, STDIN_FILENO);
    uv_read_start((uv_stream_t *)&probe.input, on_alloc, on_input);
    uv_run(&probe.loop, UV_RUN_DEFAULT);
    free(probe.unwatch_at);
    text_deinit(&probe.line);
    return uv_loop_close(&probe.loop) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
