// SPDX-License-Identifier: Apache-2.0
#include "controller/demandwriter.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "controller/namenode.h"
#include "kube/backoff.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"
#include "kube/object.h"

enum { RETRY_FIRST_MS = 1000, RETRY_LAST_MS = 60000 };

struct demandwriter {
    struct demandwriter_setup setup;
    uv_timer_t timer; /* the next round, after a failure */
    struct backoff backoff;
    struct lograte trouble;
    const struct kube_store *nodes; /* NULL before the first round */
    json_t *wanted;                 /* {node: text} */
    json_t *left;    /* {node: object} of those to take it off that are selected no more */
    json_t *written; /* {node: text, "" = taken off}: what was accepted and not seen yet */
    size_t next;     /* Node of this round */
    struct kube_call *call;
    char *node; /* ... about this one */
};

static void write_next(struct demandwriter *writer);

/* -- one Node ---------------------------------------------------------------------------------- */

/* NULL = nothing, as for what is there. */
static const char *wanted_of(const struct demandwriter *writer, const char *node)
{
    return json_string_value(json_object_get(writer->wanted, node));
}

static const char *current_of(const struct demandwriter *writer, const json_t *node)
{
    const char *written = json_string_value(json_object_get(writer->written, kube_name(node)));

    if (written)
        return *written ? written : NULL;
    return namenode_demand(node);
}

static bool is_as_wanted(const struct demandwriter *writer, const json_t *node)
{
    const char *wanted = wanted_of(writer, kube_name(node));
    const char *current = current_of(writer, node);

    return wanted ? current && str_equal(current, wanted) : !current;
}

static void retry(struct demandwriter *writer, const char *reason, unsigned status,
                  unsigned retry_after_s);

/* Somebody else was faster, or the Node has gone: the next round sees it. */
static bool is_passing(unsigned status)
{
    return status == 404 || status == 409 || status == 422;
}

static void on_written(const struct kube_response *response, void *userdata)
{
    struct demandwriter *writer = userdata;
    cleanup_free char *node = TAKE_PTR(writer->node);
    const bool is_node = kube_is_kind(response, "Node");
    json_t *object;

    writer->call = NULL;
    if (!is_node && !is_passing(response->http_status)) {
        retry(writer, response->reason, response->http_status, response->retry_after_s);
        return;
    }
    backoff_reset(&writer->backoff);
    if (lograte_end(&writer->trouble))
        log_info("telling Nodes again what pods wait for");
    json_object_del(writer->left, node);
    if (is_node) {
        object = json_loadb(response->body, response->size, 0, NULL);
        json_object_set_new(writer->written, node,
                            json_string(namenode_demand(object) ? namenode_demand(object) : ""));
        json_decref(object);
    }
    write_next(writer);
}

static int send_patch(struct demandwriter *writer, const char *path, const json_t *patch,
                      struct error *err)
{
    return kube_json_patch(
        writer->setup.client, path, patch,
        &(struct kube_waiter){.on_done = on_written, .userdata = writer, .ret_call = &writer->call},
        err);
}

static int write_node(struct demandwriter *writer, const json_t *node, struct error *err)
{
    const char *name = kube_name(node);
    const char *value = json_object_get(writer->left, name) ? NULL : wanted_of(writer, name);
    cleanup_free char *path = kube_path(&(struct kube_place){"/api/v1", NULL, "nodes", name});
    json_t *patch = json_array();
    int r;

    free(writer->node);
    writer->node = strdup(name);
    if (!path || !patch || !writer->node ||
        jsonpatch_annotation(patch, node, NAMENODE_DEMAND, value) < 0)
        r = error_set_errno(err, -ENOMEM, "cannot annotate a Node");
    else
        r = send_patch(writer, path, patch, err);
    json_decref(patch);
    return r;
}

/* -- a round ----------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct demandwriter *writer = timer->data;

    writer->next = 0;
    write_next(writer);
}

static void retry(struct demandwriter *writer, const char *reason, unsigned status,
                  unsigned retry_after_s)
{
    if (lograte_begin(&writer->trouble, reason, clock_now_ms()))
        log_warning("cannot tell Nodes what pods wait for", "reason",
                    *reason ? reason : "the server gave no reason", "hint",
                    status == 403 ? "let our service account patch nodes" : NULL);
    uv_timer_start(&writer->timer, on_timer, backoff_next_ms(&writer->backoff, retry_after_s), 0);
}

/* NULL = the round is over. */
static const json_t *next_node(struct demandwriter *writer)
{
    const json_t *left = json_object_iter_value(json_object_iter(writer->left));

    if (left)
        return left;
    while (writer->next < kube_store_count(writer->nodes)) {
        const json_t *node = kube_store_at(writer->nodes, writer->next++);

        if (!is_as_wanted(writer, node) && *kube_name(node))
            return node;
    }
    return NULL;
}

static void write_next(struct demandwriter *writer)
{
    const json_t *node = next_node(writer);
    struct error err = ERROR_INIT;

    if (!node || !writer->setup.may_write(writer->setup.userdata))
        return; /* another leader does it */
    if (write_node(writer, node, &err) < 0)
        retry(writer, error_text(&err), 0, 0);
}

void demandwriter_begin(struct demandwriter *writer, const struct kube_store *nodes, json_t *wanted)
{
    json_decref(writer->wanted);
    writer->wanted = wanted;
    writer->nodes = nodes;
    writer->next = 0;
    if (!writer->call && !uv_is_active((uv_handle_t *)&writer->timer))
        write_next(writer);
}

void demandwriter_left(struct demandwriter *writer, const json_t *node)
{
    if (namenode_demand(node))
        json_object_set(writer->left, kube_name(node), (json_t *)(uintptr_t)node);
}

void demandwriter_seen(struct demandwriter *writer, const char *node)
{
    json_object_del(writer->written, node);
    json_object_del(writer->left, node);
}

size_t demandwriter_count(const struct demandwriter *writer)
{
    return writer ? json_object_size(writer->wanted) : 0;
}

/* -- life -------------------------------------------------------------------------------------- */

struct demandwriter *demandwriter_new(const struct demandwriter_setup *setup)
{
    struct demandwriter *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return NULL;
    writer->setup = *setup;
    writer->written = json_object();
    writer->left = json_object();
    if (!writer->written || !writer->left) {
        json_decref(writer->written);
        json_decref(writer->left);
        free(writer);
        return NULL;
    }
    writer->backoff = (struct backoff){.first_ms = RETRY_FIRST_MS, .last_ms = RETRY_LAST_MS};
    uv_timer_init(setup->loop, &writer->timer);
    writer->timer.data = writer;
    return writer;
}

static void on_closed(uv_handle_t *handle)
{
    struct demandwriter *writer = handle->data;

    json_decref(writer->wanted);
    json_decref(writer->written);
    json_decref(writer->left);
    free(writer->node);
    free(writer);
}

void demandwriter_free(struct demandwriter *writer)
{
    if (!writer)
        return;
    kube_cancel(TAKE_PTR(writer->call));
    uv_close((uv_handle_t *)&writer->timer, on_closed);
}
