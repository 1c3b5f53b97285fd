// SPDX-License-Identifier: Apache-2.0
#include "kube/object.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "kube/field.h"

/* ---- names in URLs ---- */

void kube_add_escaped(struct text *url, const char *value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *value; value++) {
        if (strchr(plain, *value))
            text_add_char(url, *value);
        else
            text_addf(url, "%%%02X", (unsigned char)*value);
    }
}

static void add_step(struct text *path, const char *name)
{
    text_add_char(path, '/');
    kube_add_escaped(path, name);
}

char *kube_path(const struct kube_place *place)
{
    cleanup_text struct text path = TEXT_INIT;

    text_add(&path, place->api);
    if (place->namespace_) {
        text_add(&path, "/namespaces");
        add_step(&path, place->namespace_);
    }
    add_step(&path, place->collection);
    if (place->name)
        add_step(&path, place->name);
    return text_take(&path);
}

/* ---- requests ---- */

struct writing {
    const char *method, *path, *content_type;
    bool force;
    const json_t *body;
};

static char *url_of(const struct kube_client *client, const struct writing *writing)
{
    cleanup_text struct text url = TEXT_INIT;

    text_addf(&url, "%s%cfieldManager=", writing->path, strchr(writing->path, '?') ? '&' : '?');
    kube_add_escaped(&url, kube_client_manager(client));
    if (writing->force)
        text_add(&url, "&force=true");
    return text_take(&url);
}

static int write_object(struct kube_client *client, const struct writing *writing,
                        const struct kube_waiter *waiter, struct error *err)
{
    cleanup_free char *url = url_of(client, writing);
    cleanup_free char *body = json_dumps(writing->body, JSON_COMPACT);

    if (!url || !body)
        return error_set_errno(err, -ENOMEM, "cannot write to %s", writing->path);
    return kube_send(client,
                     &(struct kube_request){
                         .method = writing->method,
                         .path = url,
                         .content_type = writing->content_type,
                         .body = body,
                         .body_size = strlen(body),
                         .timeout_ms = waiter->timeout_ms,
                         .on_done = waiter->on_done,
                     },
                     waiter->userdata, waiter->ret_call, err);
}

int kube_apply(struct kube_client *client, const char *path, enum kube_conflict conflict,
               const json_t *object, const struct kube_waiter *waiter, struct error *err)
{
    if (!json_is_string(json_object_get(object, "apiVersion")) ||
        !json_is_string(json_object_get(object, "kind")) ||
        !json_is_string(json_object_get(json_object_get(object, "metadata"), "name")))
        return error_set(err, -EINVAL, "an object applied to %s lacks apiVersion, kind or a name",
                         path);
    /* JSON is YAML, and all API servers since 1.16 accept this type. */
    return write_object(client,
                        &(struct writing){"PATCH", path, "application/apply-patch+yaml",
                                          conflict == KUBE_FORCE, object},
                        waiter, err);
}

int kube_json_patch(struct kube_client *client, const char *path, const json_t *operations,
                    const struct kube_waiter *waiter, struct error *err)
{
    if (!json_is_array(operations))
        return error_set(err, -EINVAL, "a JSON patch of %s is not a list", path);
    return write_object(
        client, &(struct writing){"PATCH", path, "application/json-patch+json", false, operations},
        waiter, err);
}

int kube_create(struct kube_client *client, const char *path, const json_t *object,
                const struct kube_waiter *waiter, struct error *err)
{
    return write_object(client, &(struct writing){"POST", path, "application/json", false, object},
                        waiter, err);
}

int kube_replace(struct kube_client *client, const char *path, const json_t *object,
                 const struct kube_waiter *waiter, struct error *err)
{
    return write_object(client, &(struct writing){"PUT", path, "application/json", false, object},
                        waiter, err);
}

int kube_delete(struct kube_client *client, const char *path, const char *uid,
                const struct kube_waiter *waiter, struct error *err)
{
    json_t *options = json_pack("{s:s,s:s,s:{s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
                                "preconditions", "uid", uid);
    int r = write_object(
        client, &(struct writing){"DELETE", path, "application/json", false, options}, waiter, err);

    json_decref(options);
    return r;
}

/* ---- conflicts ---- */

/* `conflict with "nfd-master" using v1 at 2026-01-01T00:00:00Z`: the quoted part. */
static char *manager_of(const char *message)
{
    const char *begin = message ? strchr(message, '"') : NULL;
    const char *end = begin ? strchr(begin + 1, '"') : NULL;

    return end ? strndup(begin + 1, (size_t)(end - begin - 1)) : strdup("somebody");
}

void kube_each_conflict(const struct kube_response *response,
                        void (*visit)(const char *field, const char *manager, void *userdata),
                        void *userdata)
{
    json_t *status = json_loadb(response->body, response->size, 0, NULL);
    const json_t *causes = json_object_get(json_object_get(status, "details"), "causes");

    for (size_t i = 0; i < json_array_size(causes); i++) {
        const json_t *cause = json_array_get(causes, i);
        const char *field = json_string_value(json_object_get(cause, "field"));
        cleanup_free char *manager =
            manager_of(json_string_value(json_object_get(cause, "message")));

        if (kube_says(cause, "reason", "FieldManagerConflict") && field && manager)
            visit(field, manager, userdata);
    }
    json_decref(status);
}

void kube_time_format(time_t when, char buffer[KUBE_TIME_SIZE])
{
    struct tm utc;

    gmtime_r(&when, &utc);
    strftime(buffer, KUBE_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void kube_microtime_format(const struct timespec *when, char buffer[KUBE_TIME_SIZE])
{
    struct tm utc;
    size_t length;

    gmtime_r(&when->tv_sec, &utc);
    length = strftime(buffer, KUBE_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(buffer + length, KUBE_TIME_SIZE - length, ".%06ldZ", when->tv_nsec / 1000);
}

static bool has_text(const struct kube_response *response, const char *outer, const char *key,
                     const char *text)
{
    json_t *object = json_loadb(response->body, response->size, 0, NULL);
    const bool is_equal = kube_says(outer ? json_object_get(object, outer) : object, key, text);

    json_decref(object);
    return is_equal;
}

bool kube_is_kind(const struct kube_response *response, const char *kind)
{
    return kube_is_success(response->http_status) && has_text(response, NULL, "kind", kind);
}

bool kube_is_gone(const struct kube_response *response, const char *name)
{
    return response->http_status == 404 && has_text(response, "details", "name", name);
}
