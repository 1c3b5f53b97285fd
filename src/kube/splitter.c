// SPDX-License-Identifier: Apache-2.0
#include "kube/splitter.h"

#include <errno.h>
#include <string.h>

void splitter_init(struct splitter *splitter, enum split_form form, size_t max_bytes,
                   split_object_fn *on_object, void *userdata)
{
    *splitter = (struct splitter){
        .form = form,
        .max_bytes = max_bytes,
        .on_object = on_object,
        .userdata = userdata,
        .state = form == SPLIT_LIST ? SPLIT_BEFORE : SPLIT_BETWEEN_EVENTS,
    };
}

void splitter_deinit(struct splitter *splitter)
{
    text_deinit(&splitter->held);
    free(splitter->key);
    json_decref(splitter->metadata);
    splitter->key = NULL;
    splitter->metadata = NULL;
}

/* ---- whole values ---- */

static int take_key(struct splitter *splitter, const char *json, size_t size)
{
    json_t *key = json_loadb(json, size, JSON_DECODE_ANY, NULL);

    if (!json_is_string(key)) {
        json_decref(key);
        return -EBADMSG;
    }
    free(splitter->key);
    splitter->key = strdup(json_string_value(key));
    json_decref(key);
    splitter->state = SPLIT_COLON;
    return splitter->key ? 0 : -ENOMEM;
}

/* A member of the list other than its items. Go sometimes writes an empty list of items as null. */
static int take_member(struct splitter *splitter, const char *json, size_t size)
{
    json_t *value = json_loadb(json, size, JSON_DECODE_ANY, NULL);
    int r = value ? 0 : -EBADMSG;

    if (r == 0 && str_equal(splitter->key, "items")) {
        r = json_is_null(value) && !splitter->has_items ? 0 : -EBADMSG;
        splitter->has_items = true;
    }
    if (r == 0 && str_equal(splitter->key, "metadata")) {
        r = json_is_object(value) && !splitter->metadata ? 0 : -EBADMSG;
        if (r == 0)
            splitter->metadata = json_incref(value);
    }
    json_decref(value);
    splitter->state = SPLIT_AFTER_VALUE;
    return r;
}

static int take_object(struct splitter *splitter, const char *json, size_t size)
{
    splitter->state = splitter->form == SPLIT_EVENTS ? SPLIT_BETWEEN_EVENTS : SPLIT_AFTER_ITEM;
    return splitter->on_object(json, size, splitter->userdata);
}

static int take_value(struct splitter *splitter, const char *json, size_t size)
{
    switch (splitter->state) {
    case SPLIT_FIRST_MEMBER:
    case SPLIT_MEMBER:
        return take_key(splitter, json, size);
    case SPLIT_VALUE:
        return take_member(splitter, json, size);
    default:
        return take_object(splitter, json, size);
    }
}

/* ---- collecting a value ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * Scans the value at *data. True if it is complete: *data is after it. Brackets are only counted:
 * the parser checks whether they match.
 */
static bool scan_value(struct splitter *splitter, const char **data, const char *end)
{
    for (const char *at = *data; at < end; at++) {
        if (splitter->escaped) {
            splitter->escaped = false;
        } else if (splitter->in_string) {
            splitter->escaped = *at == '\\';
            splitter->in_string = *at != '"';
        } else if (*at == '"') {
            splitter->in_string = true;
        } else if (*at == '{' || *at == '[') {
            splitter->depth++;
        } else if (splitter->depth == 0 && (is_space(*at) || strchr(",]}:", *at))) {
            *data = at; /* the end of a number or a word */
            return true;
        } else if (*at == '}' || *at == ']') {
            splitter->depth--;
        }
        if (splitter->depth == 0 && !splitter->in_string && strchr("}]\"", *at)) {
            *data = at + 1;
            return true;
        }
    }
    *data = end;
    return false;
}

/* Combines the held part and the new data into one run of bytes; without a held part nothing is
 * copied. */
static int collect(struct splitter *splitter, const char **data, const char *end)
{
    const char *begin = *data;
    bool is_whole = scan_value(splitter, data, end);
    size_t size = (size_t)(*data - begin);
    int r;

    if (size > splitter->max_bytes - splitter->held.length)
        return -EMSGSIZE;
    if (is_whole && splitter->held.length == 0) {
        splitter->in_value = false;
        return take_value(splitter, begin, size);
    }
    text_add_bytes(&splitter->held, begin, size);
    if (text_failed(&splitter->held))
        return -ENOMEM;
    if (!is_whole)
        return 0;
    splitter->in_value = false;
    r = take_value(splitter, splitter->held.data, splitter->held.length);
    text_clear(&splitter->held);
    return r;
}

/* ---- between values ---- */

static void begin_value(struct splitter *splitter)
{
    splitter->in_value = true;
    splitter->in_string = splitter->escaped = false;
    splitter->depth = 0;
}

static bool begins_value(const struct splitter *splitter, char c)
{
    switch (splitter->state) {
    case SPLIT_FIRST_MEMBER:
    case SPLIT_MEMBER:
        return c == '"';
    case SPLIT_VALUE:
        return !strchr(",:]}", c) && !(c == '[' && str_equal(splitter->key, "items"));
    case SPLIT_FIRST_ITEM:
    case SPLIT_ITEM:
    case SPLIT_BETWEEN_EVENTS:
        return c == '{';
    default:
        return false;
    }
}

/* A character of the list's own syntax. */
static int step(struct splitter *splitter, char c)
{
    static const struct {
        enum split_state from;
        char c;
        enum split_state to;
    } steps[] = {
        {SPLIT_BEFORE, '{', SPLIT_FIRST_MEMBER},
        {SPLIT_FIRST_MEMBER, '}', SPLIT_DONE},
        {SPLIT_COLON, ':', SPLIT_VALUE},
        {SPLIT_VALUE, '[', SPLIT_FIRST_ITEM},
        {SPLIT_AFTER_VALUE, ',', SPLIT_MEMBER},
        {SPLIT_AFTER_VALUE, '}', SPLIT_DONE},
        {SPLIT_FIRST_ITEM, ']', SPLIT_AFTER_VALUE},
        {SPLIT_AFTER_ITEM, ',', SPLIT_ITEM},
        {SPLIT_AFTER_ITEM, ']', SPLIT_AFTER_VALUE},
    };

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i].from != splitter->state || steps[i].c != c)
            continue;
        splitter->state = steps[i].to;
        if (steps[i].to == SPLIT_FIRST_ITEM) {
            if (splitter->has_items)
                return -EBADMSG;
            splitter->has_items = true;
        }
        return 0;
    }
    return -EBADMSG;
}

int splitter_feed(struct splitter *splitter, const char *data, size_t size)
{
    const char *end = data + size;
    int r = 0;

    while (r == 0 && data < end) {
        if (splitter->in_value)
            r = collect(splitter, &data, end);
        else if (is_space(*data))
            data++;
        else if (begins_value(splitter, *data))
            begin_value(splitter);
        else
            r = step(splitter, *data++);
    }
    return r;
}

int splitter_end(const struct splitter *splitter)
{
    if (splitter->in_value)
        return -EBADMSG;
    if (splitter->form == SPLIT_EVENTS)
        return 0;
    return splitter->state == SPLIT_DONE && splitter->has_items ? 0 : -EBADMSG;
}

const char *splitter_metadata(const struct splitter *splitter, const char *key)
{
    const char *value = json_string_value(json_object_get(splitter->metadata, key));

    return value && value[0] ? value : NULL;
}
