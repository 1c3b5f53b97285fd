// SPDX-License-Identifier: Apache-2.0
#include "nodesync/message.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

enum member_type { TEXT, NAME /* a non-empty text */, TRUTH, NUMBER, BY, LIST };

/* The layout of each list in its owner. */
struct list {
    void *items;
    size_t n_items, capacity;
};

struct member {
    const char *key;
    enum member_type type;
    size_t offset;
    /* of a list; item_members NULL = the items are texts */
    size_t item_size;
    const struct member *item_members;
    size_t n_item_members;
};

#define MEMBER(owner, field, key, type)                 \
    {                                                   \
        (key), (type), offsetof(struct owner, field), 0 \
    }
#define MEMBER_LIST(owner, field, key, members)                                          \
    {                                                                                    \
        (key), LIST, offsetof(struct owner, field), sizeof(*((struct owner *)0)->field), \
            (members), ARRAY_SIZE(members)                                               \
    }
#define MEMBER_TEXTS(owner, field, key)                                     \
    {                                                                       \
        (key), LIST, offsetof(struct owner, field), sizeof(char *), NULL, 0 \
    }
#define ASSERT_LIST(owner, field, n_field, capacity_field)                                      \
    static_assert(offsetof(struct owner, n_field) - offsetof(struct owner, field) ==            \
                          offsetof(struct list, n_items) &&                                     \
                      offsetof(struct owner, capacity_field) - offsetof(struct owner, field) == \
                          offsetof(struct list, capacity),                                      \
                  "a struct list in disguise")

ASSERT_LIST(sync_setup, watched_labels, n_watched_labels, watched_labels_capacity);
ASSERT_LIST(sync_setup, watched_annotations, n_watched_annotations, watched_annotations_capacity);
ASSERT_LIST(sync_state, labels, n_labels, labels_capacity);
ASSERT_LIST(sync_state, extra_labels, n_extra_labels, extra_labels_capacity);
ASSERT_LIST(sync_state, taints, n_taints, taints_capacity);
ASSERT_LIST(sync_state, promise, n_promise, promise_capacity);
ASSERT_LIST(sync_event, pods, n_pods, pods_capacity);
ASSERT_LIST(sync_news, labels, n_labels, labels_capacity);
ASSERT_LIST(sync_news, annotations, n_annotations, annotations_capacity);
ASSERT_LIST(sync_news, resources, n_resources, resources_capacity);
ASSERT_LIST(sync_news, labels_held_by_others, n_labels_held, labels_held_capacity);

static const struct member setup_members[] = {
    MEMBER(sync_setup, node, "node", NAME),
    MEMBER(sync_setup, kubeconfig, "kubeconfig", TEXT),
    MEMBER(sync_setup, namespace_, "namespace", TEXT),
    MEMBER(sync_setup, pod, "pod", TEXT),
    MEMBER(sync_setup, lease, "lease", TEXT),
    MEMBER_TEXTS(sync_setup, watched_labels, "watchedLabels"),
    MEMBER_TEXTS(sync_setup, watched_annotations, "watchedAnnotations"),
};

static const struct member label_members[] = {
    MEMBER(sync_label, key, "key", NAME),
    MEMBER(sync_label, value, "value", TEXT),
};

static const struct member taint_members[] = {
    MEMBER(sync_taint, key, "key", NAME),
    MEMBER(sync_taint, value, "value", TEXT),
    MEMBER(sync_taint, effect, "effect", NAME),
};

static const struct member count_members[] = {
    MEMBER(sync_count, name, "name", NAME),
    MEMBER(sync_count, count, "count", NUMBER),
};

static const struct member state_members[] = {
    MEMBER(sync_state, keeps_labels, "keepsLabels", TRUTH),
    MEMBER(sync_state, labels_by, "labelsBy", BY),
    MEMBER_LIST(sync_state, labels, "labels", label_members),
    MEMBER_LIST(sync_state, extra_labels, "extraLabels", label_members),
    MEMBER_LIST(sync_state, taints, "taints", taint_members),
    MEMBER_LIST(sync_state, promise, "promise", count_members),
    MEMBER(sync_state, handles_clients, "handlesClients", TRUTH),
    MEMBER(sync_state, pauses_clients, "pausesClients", TRUTH),
    MEMBER(sync_state, has_condition, "hasCondition", TRUTH),
    MEMBER(sync_state, ready, "ready", TRUTH),
    MEMBER(sync_state, reason, "reason", TEXT),
    MEMBER(sync_state, message, "message", TEXT),
    MEMBER(sync_state, mig_waits, "migWaits", TEXT),
    MEMBER(sync_state, advertises, "advertises", TEXT),
    MEMBER(sync_state, mig_names, "migNames", TEXT),
};

static const struct member pod_members[] = {
    MEMBER(sync_pod, namespace_, "namespace", NAME),
    MEMBER(sync_pod, name, "name", NAME),
};

static const struct member event_members[] = {
    MEMBER(sync_event, warning, "warning", TRUTH),
    MEMBER(sync_event, reason, "reason", NAME),
    MEMBER(sync_event, message, "message", TEXT),
    MEMBER_LIST(sync_event, pods, "pods", pod_members),
    MEMBER(sync_event, is_of_pods, "ofPods", TRUTH),
};

static const struct member resource_members[] = {
    MEMBER(sync_resource, name, "name", NAME),
    MEMBER(sync_resource, capacity, "capacity", NUMBER),
    MEMBER(sync_resource, allocatable, "allocatable", NUMBER),
};

static const struct member news_members[] = {
    MEMBER(sync_news, reachable, "heard", TRUTH),
    MEMBER(sync_news, gone, "gone", TRUTH),
    MEMBER_LIST(sync_news, labels, "labels", label_members),
    MEMBER_LIST(sync_news, annotations, "annotations", label_members),
    MEMBER_LIST(sync_news, resources, "resources", resource_members),
    MEMBER_TEXTS(sync_news, labels_held_by_others, "labelsHeldByOthers"),
};

static const struct kind {
    const char *name;
    const struct member *members;
    size_t n_members;
} kinds[] = {
    [SYNC_SETUP] = {"setup", setup_members, ARRAY_SIZE(setup_members)},
    [SYNC_STATE] = {"state", state_members, ARRAY_SIZE(state_members)},
    [SYNC_EVENT] = {"event", event_members, ARRAY_SIZE(event_members)},
    [SYNC_NEWS] = {"news", news_members, ARRAY_SIZE(news_members)},
    [SYNC_SHUTDOWN] = {"bye", NULL, 0},
    [SYNC_UNINSTALL] = {"uninstall", NULL, 0},
};

static const char *const by_names[] = {
    [SYNC_LABELS_AUTO] = "auto",
    [SYNC_LABELS_NODE] = "node",
    [SYNC_LABELS_NONE] = "none",
};

/* -- writing --------------------------------------------------------------------------------- */

static json_t *write_text(const char *text)
{
    cleanup_free char *ascii = NULL;
    json_t *json;

    if (!text)
        return json_string("");
    json = json_string(text);
    if (json)
        return json;
    ascii = strdup(text);
    for (char *c = ascii; c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return ascii ? json_string(ascii) : NULL;
}

static json_t *write_members(const struct member *members, size_t n_members, const char *owner);

static json_t *write_list(const struct member *member, const char *at)
{
    json_t *array = json_array();
    struct list list;
    int r = array ? 0 : -ENOMEM;

    memcpy(&list, at, sizeof(list));
    for (size_t i = 0; i < list.n_items && r == 0; i++) {
        const char *item = (const char *)list.items + i * member->item_size;
        const char *text;

        if (!member->item_members) {
            memcpy(&text, item, sizeof(text));
            r = json_array_append_new(array, write_text(text));
        } else {
            r = json_array_append_new(
                array, write_members(member->item_members, member->n_item_members, item));
        }
    }
    if (r == 0)
        return array;
    json_decref(array);
    return NULL;
}

/* NULL without memory, and for an absent text. */
static json_t *write_member(const struct member *member, const char *at)
{
    const char *text;
    enum sync_labels_by by;
    int64_t number;
    bool truth;

    switch (member->type) {
    case TEXT:
    case NAME:
        memcpy(&text, at, sizeof(text));
        return write_text(text);
    case TRUTH:
        memcpy(&truth, at, sizeof(truth));
        return json_boolean(truth);
    case NUMBER:
        memcpy(&number, at, sizeof(number));
        return json_integer(number);
    case BY:
        memcpy(&by, at, sizeof(by));
        return json_string(by_names[by]);
    case LIST:
        return write_list(member, at);
    }
    return NULL;
}

static json_t *write_members(const struct member *members, size_t n_members, const char *owner)
{
    json_t *object = json_object();

    for (size_t i = 0; i < n_members && object; i++) {
        const char *at = owner + members[i].offset;

        if (json_object_set_new(object, members[i].key, write_member(&members[i], at)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

int sync_message_write(const struct sync_message *message, struct text *out)
{
    const struct kind *kind = &kinds[message->kind];
    json_t *object = write_members(kind->members, kind->n_members, (const char *)&message->setup);
    cleanup_free char *line = NULL;

    if (object && json_object_set_new(object, "kind", json_string(kind->name)) == 0)
        line = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (!line)
        return -ENOMEM;
    if (strlen(line) > SYNC_MESSAGE_MAX)
        return -EMSGSIZE;
    text_add(out, line);
    return text_failed(out) ? -ENOMEM : 0;
}

/* -- reading --------------------------------------------------------------------------------- */

static int read_text(const struct member *member, const json_t *json, char *at, struct error *err)
{
    const char *text = json_string_value(json);
    char *copy = NULL;

    if (json && !text)
        return error_set(err, -EBADMSG, "%s should be a text", member->key);
    if (member->type == NAME && (!text || !*text))
        return error_set(err, -EBADMSG, "%s is missing", member->key);
    copy = strdup(text ? text : "");
    if (!copy)
        return error_set_errno(err, -ENOMEM, "cannot read %s", member->key);
    memcpy(at, &copy, sizeof(copy));
    return 0;
}

static int read_by(const struct member *member, const json_t *json, char *at, struct error *err)
{
    const char *text = json ? json_string_value(json) : by_names[SYNC_LABELS_AUTO];

    for (size_t i = 0; i < ARRAY_SIZE(by_names); i++) {
        const enum sync_labels_by by = (enum sync_labels_by)i;

        if (!text || !str_equal(text, by_names[i]))
            continue;
        memcpy(at, &by, sizeof(by));
        return 0;
    }
    return error_set(err, -EBADMSG, "%s should be auto, node or none", member->key);
}

static int read_members(const struct member *members, size_t n_members, const json_t *object,
                        char *owner, struct error *err);

static int read_item(const struct member *member, const json_t *json, char *item, struct error *err)
{
    const struct member text = {.key = member->key, .type = TEXT};

    if (!member->item_members)
        return read_text(&text, json, item, err);
    if (!json_is_object(json))
        return error_set(err, -EBADMSG, "%s should contain objects", member->key);
    return read_members(member->item_members, member->n_item_members, json, item, err);
}

static int read_list(const struct member *member, const json_t *json, char *at, struct error *err)
{
    struct list list = {.items = NULL};
    const json_t *element;
    size_t i;
    int r = 0;

    if (json && !json_is_array(json))
        return error_set(err, -EBADMSG, "%s should be a list", member->key);
    json_array_foreach(json, i, element)
    {
        char *item = array_push(&list.items, &list.n_items, &list.capacity, member->item_size);

        r = item ? read_item(member, element, item, err)
                 : error_set_errno(err, -ENOMEM, "cannot read %s", member->key);
        if (r < 0)
            break;
    }
    memcpy(at, &list, sizeof(list)); /* even if incomplete: the owner frees it */
    return r;
}

static int read_member(const struct member *member, const json_t *json, char *at, struct error *err)
{
    const bool truth = json_is_true(json);
    const int64_t number = json_integer_value(json);

    switch (member->type) {
    case TEXT:
    case NAME:
        return read_text(member, json, at, err);
    case TRUTH:
        if (json && !json_is_boolean(json))
            return error_set(err, -EBADMSG, "%s should be true or false", member->key);
        memcpy(at, &truth, sizeof(truth));
        return 0;
    case NUMBER:
        if (json && !json_is_integer(json))
            return error_set(err, -EBADMSG, "%s should be a whole number", member->key);
        memcpy(at, &number, sizeof(number));
        return 0;
    case BY:
        return read_by(member, json, at, err);
    case LIST:
        return read_list(member, json, at, err);
    }
    return -EBADMSG;
}

static int read_members(const struct member *members, size_t n_members, const json_t *object,
                        char *owner, struct error *err)
{
    for (size_t i = 0; i < n_members; i++) {
        int r = read_member(&members[i], json_object_get(object, members[i].key),
                            owner + members[i].offset, err);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_object(const json_t *object, struct sync_message *message, struct error *err)
{
    const char *name = json_string_value(json_object_get(object, "kind"));

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!name || !str_equal(name, kinds[i].name))
            continue;
        message->kind = (enum sync_message_kind)i;
        return read_members(kinds[i].members, kinds[i].n_members, object, (char *)&message->setup,
                            err);
    }
    return error_set(err, -EBADMSG, "kind should be setup, state, event, news or bye");
}

int sync_message_read(const char *line, size_t length, struct sync_message *ret_message,
                      struct error *err)
{
    struct sync_message message;
    json_error_t where;
    json_t *object;
    int r;

    if (length > SYNC_MESSAGE_MAX)
        return error_set(err, -EBADMSG, "the message is longer than %d bytes", SYNC_MESSAGE_MAX);
    object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
    if (!object)
        return error_set(err, -EBADMSG, "column %d: %s", where.column, where.text);
    memset(&message, 0, sizeof(message));
    r = read_object(object, &message, err);
    json_decref(object);
    if (r < 0)
        sync_message_deinit(&message);
    else
        *ret_message = message;
    return r;
}

/* -- freeing --------------------------------------------------------------------------------- */

static void free_members(const struct member *members, size_t n_members, char *owner);

static void free_list(const struct member *member, char *at)
{
    struct list list;

    memcpy(&list, at, sizeof(list));
    for (size_t i = 0; i < list.n_items; i++) {
        char *item = (char *)list.items + i * member->item_size;

        if (member->item_members)
            free_members(member->item_members, member->n_item_members, item);
        else
            cleanup_free_p(item);
    }
    free(list.items);
    memset(at, 0, sizeof(list));
}

static void free_members(const struct member *members, size_t n_members, char *owner)
{
    for (size_t i = 0; i < n_members; i++) {
        char *at = owner + members[i].offset;
        char *text;

        if (members[i].type == LIST)
            free_list(&members[i], at);
        if (members[i].type > NAME)
            continue;
        memcpy(&text, at, sizeof(text));
        free(text);
        text = NULL;
        memcpy(at, &text, sizeof(text));
    }
}

static void free_kind(enum sync_message_kind kind, void *owner)
{
    free_members(kinds[kind].members, kinds[kind].n_members, owner);
}

void sync_setup_deinit(struct sync_setup *setup)
{
    free_kind(SYNC_SETUP, setup);
}

void sync_state_deinit(struct sync_state *state)
{
    free_kind(SYNC_STATE, state);
}

void sync_news_deinit(struct sync_news *news)
{
    free_kind(SYNC_NEWS, news);
}

void sync_message_deinit(struct sync_message *message)
{
    free_kind(message->kind, &message->setup);
}

static const char *find_value(const struct sync_label *pairs, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(pairs[i].key, key))
            return pairs[i].value;
    return NULL;
}

const char *sync_news_label(const struct sync_news *news, const char *key)
{
    return find_value(news->labels, news->n_labels, key);
}

const char *sync_news_annotation(const struct sync_news *news, const char *key)
{
    return find_value(news->annotations, news->n_annotations, key);
}
