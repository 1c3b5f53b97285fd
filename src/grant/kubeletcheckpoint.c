// SPDX-License-Identifier: Apache-2.0
#include "grant/kubeletcheckpoint.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"

enum { DEPTH_MAX = 32 };

static void entry_deinit(struct kubeletcheckpoint_entry *entry)
{
    free(entry->resource);
    for (size_t i = 0; i < entry->n_ids; i++)
        free(entry->ids[i]);
    free(entry->ids);
    names_deinit(&entry->mounts);
}

void kubeletcheckpoint_deinit(struct kubeletcheckpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->n_entries; i++)
        entry_deinit(&checkpoint->entries[i]);
    free(checkpoint->entries);
    for (size_t i = 0; i < checkpoint->n_shared; i++) {
        free(checkpoint->shared[i].resource);
        free(checkpoint->shared[i].uuid);
    }
    free(checkpoint->shared);
    *checkpoint = (struct kubeletcheckpoint)KUBELETCHECKPOINT_INIT;
}

void kubeletcheckpoint_annotation(const char *resource, char *buffer, size_t size)
{
    snprintf(buffer, size, GRANT_ANNOTATION_PREFIX "%s", resource);
    for (char *c = buffer + strnlen(buffer, strlen(GRANT_ANNOTATION_PREFIX)); *c; c++)
        if (*c == '/')
            *c = '.';
}

/* --- JSON, as far as it is needed: every function returns 0, -EBADMSG or -ENOMEM --- */

struct json {
    const char *at, *end;
};

static void skip_blanks(struct json *json)
{
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at)
        json->at++;
}

/* The next non-blank character, or 0. */
static char peek(struct json *json)
{
    skip_blanks(json);
    return json->at < json->end ? *json->at : '\0';
}

static bool accept(struct json *json, char c)
{
    if (peek(json) != c)
        return false;
    json->at++;
    return true;
}

static bool accept_word(struct json *json, const char *word)
{
    size_t length = strlen(word);

    skip_blanks(json);
    if ((size_t)(json->end - json->at) < length || memcmp(json->at, word, length) != 0)
        return false;
    json->at += length;
    return true;
}

static int take_hex(struct json *json, uint32_t *ret_unit)
{
    uint32_t unit = 0;

    if (json->end - json->at < 4)
        return -EBADMSG;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        char c = *json->at++;
        const char *digit = strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c);

        if (!c || !digit)
            return -EBADMSG;
        unit = unit << 4 | (uint32_t)(digit - digits);
    }
    *ret_unit = unit;
    return 0;
}

static void add_utf8(struct text *out, uint32_t point)
{
    if (point < 0x80) {
        text_add_char(out, (char)point);
        return;
    }
    if (point < 0x800) {
        text_add_char(out, (char)(0xc0 | point >> 6));
    } else {
        if (point < 0x10000) {
            text_add_char(out, (char)(0xe0 | point >> 12));
        } else {
            text_add_char(out, (char)(0xf0 | point >> 18));
            text_add_char(out, (char)(0x80 | (point >> 12 & 0x3f)));
        }
        text_add_char(out, (char)(0x80 | (point >> 6 & 0x3f)));
    }
    text_add_char(out, (char)(0x80 | (point & 0x3f)));
}

/* After "\u". */
static int take_code_point(struct json *json, struct text *out)
{
    uint32_t unit, low;

    if (take_hex(json, &unit) < 0 || unit == 0)
        return -EBADMSG;
    if (unit >= 0xd800 && unit < 0xe000) {
        if (unit >= 0xdc00 || !accept_word(json, "\\u") || take_hex(json, &low) < 0 ||
            low < 0xdc00 || low >= 0xe000)
            return -EBADMSG;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    add_utf8(out, unit);
    return 0;
}

static int take_escape(struct json *json, struct text *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *found;
    char c;

    if (json->at == json->end)
        return -EBADMSG;
    c = *json->at++;
    if (c == 'u')
        return take_code_point(json, out);
    found = c ? strchr(names, c) : NULL;
    if (!found)
        return -EBADMSG;
    text_add_char(out, values[found - names]);
    return 0;
}

/* Replaces the content of `out`. */
static int take_string(struct json *json, struct text *out)
{
    int r = 0;

    text_clear(out);
    if (!accept(json, '"'))
        return -EBADMSG;
    while (r == 0) {
        const char *from = json->at;

        while (json->at < json->end && *json->at != '"' && *json->at != '\\' &&
               (unsigned char)*json->at >= ' ')
            json->at++;
        text_add_bytes(out, from, (size_t)(json->at - from));
        if (json->at == json->end || (unsigned char)*json->at < ' ')
            return -EBADMSG;
        if (*json->at++ == '"')
            return text_failed(out) ? -ENOMEM : 0;
        r = take_escape(json, out);
    }
    return r;
}

typedef int member_fn(struct json *json, const char *key, void *data);

/* An object: `member` consumes the value of each key. */
static int take_object(struct json *json, member_fn *member, void *data)
{
    cleanup_text struct text key = TEXT_INIT;
    int r;

    if (!accept(json, '{'))
        return -EBADMSG;
    if (accept(json, '}'))
        return 0;
    do {
        r = take_string(json, &key);
        if (r == 0 && !accept(json, ':'))
            r = -EBADMSG;
        if (r == 0)
            r = member(json, text_string(&key), data);
        if (r < 0)
            return r;
    } while (accept(json, ','));
    return accept(json, '}') ? 0 : -EBADMSG;
}

/* An array, or Go's null for an empty one. */
static int take_array(struct json *json, int (*item)(struct json *, void *), void *data)
{
    int r = 0;

    if (accept_word(json, "null"))
        return 0;
    if (!accept(json, '['))
        return -EBADMSG;
    if (accept(json, ']'))
        return 0;
    do
        r = item(json, data);
    while (r == 0 && accept(json, ','));
    if (r < 0)
        return r;
    return accept(json, ']') ? 0 : -EBADMSG;
}

struct skip {
    unsigned depth;
};

static int skip_value(struct json *json, struct skip skip);

static int skip_member(struct json *json, const char *key, void *data)
{
    (void)key;
    return skip_value(json, *(const struct skip *)data);
}

static int skip_item(struct json *json, void *data)
{
    return skip_value(json, *(const struct skip *)data);
}

static int skip_number(struct json *json)
{
    const char *from = json->at;

    while (json->at < json->end && *json->at && strchr("+-.0123456789eE", *json->at))
        json->at++;
    return json->at > from ? 0 : -EBADMSG;
}

static int skip_value(struct json *json, struct skip skip)
{
    cleanup_text struct text string = TEXT_INIT;

    if (++skip.depth > DEPTH_MAX)
        return -EBADMSG;
    switch (peek(json)) {
    case '{':
        return take_object(json, skip_member, &skip);
    case '[':
        return take_array(json, skip_item, &skip);
    case '"':
        return take_string(json, &string);
    default:
        if (accept_word(json, "true") || accept_word(json, "false") || accept_word(json, "null"))
            return 0;
        return skip_number(json);
    }
}

/* --- the response in base64, and its annotation --- */

static int decode_base64(const char *text, struct text *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text), padding = 0;

    if (length % 4)
        return -EBADMSG;
    while (padding < 2 && length && text[length - 1] == '=') {
        length--;
        padding++;
    }
    for (size_t i = 0, group = 0; i < length; i++) {
        const char *digit = strchr(digits, text[i]);

        if (!digit)
            return -EBADMSG;
        group = group << 6 | (size_t)(digit - digits);
        if (i % 4 != 0)
            text_add_char(out, (char)(group >> (6 - 2 * (i % 4))));
        group &= 0xfff;
    }
    return text_failed(out) ? -ENOMEM : 0;
}

struct wire {
    const unsigned char *at;
    size_t left;
};

static bool take_varint(struct wire *wire, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && wire->left; shift += 7) {
        unsigned char byte = *wire->at++;

        wire->left--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* One field: its number, and its content if length-delimited. False if malformed. */
static bool take_field(struct wire *wire, uint64_t *ret_number, struct wire *ret_value)
{
    static const size_t fixed[8] = {[1] = 8, [5] = 4};
    uint64_t key, length = 0;

    if (!take_varint(wire, &key))
        return false;
    *ret_number = key >> 3;
    *ret_value = (struct wire){.at = wire->at};
    if ((key & 7) == 0)
        return take_varint(wire, &length);
    if ((key & 7) == 2) {
        if (!take_varint(wire, &length) || length > wire->left)
            return false;
        *ret_value = (struct wire){wire->at, (size_t)length};
    } else {
        length = fixed[key & 7];
        if (!length || length > wire->left)
            return false;
    }
    wire->at += length;
    wire->left -= (size_t)length;
    return true;
}

/* deviceplugin/v1beta1/api.proto */
enum { ANSWER_MOUNTS = 2, ANSWER_ANNOTATIONS = 4, MAP_KEY = 1, MAP_VALUE = 2, MOUNT_HOST_PATH = 2 };

/* Two fields of a message that has strings alone; an absent one is empty. */
static int read_pair(struct wire message, uint64_t first, struct wire *ret_first, uint64_t second,
                     struct wire *ret_second)
{
    struct wire value;
    uint64_t number;

    *ret_first = *ret_second = (struct wire){.at = NULL};
    while (message.left) {
        if (!take_field(&message, &number, &value))
            return -EBADMSG;
        if (number == first)
            *ret_first = value;
        else if (number == second)
            *ret_second = value;
    }
    return 0;
}

static int read_annotation(struct wire annotation, char grant[GRANT_ID_SIZE])
{
    const size_t prefix = strlen(GRANT_ANNOTATION_PREFIX);
    char copy[GRANT_ID_SIZE] = "";
    struct wire key, id;
    int r = read_pair(annotation, MAP_KEY, &key, MAP_VALUE, &id);

    if (r < 0)
        return r;
    if (key.left < prefix || memcmp(key.at, GRANT_ANNOTATION_PREFIX, prefix) != 0 ||
        id.left != GRANT_ID_SIZE - 1)
        return 0;
    memcpy(copy, id.at, id.left);
    if (grant_is_id(copy))
        memcpy(grant, copy, sizeof(copy));
    return 0;
}

static int read_mount(struct wire mount, struct names *mounts)
{
    struct wire path, unused;
    int r = read_pair(mount, MOUNT_HOST_PATH, &path, 0, &unused);

    if (r < 0 || mounts->n_items == KUBELETCHECKPOINT_MOUNTS_MAX)
        return -EBADMSG;
    return path.left ? names_add(mounts, (const char *)path.at, path.left) : 0;
}

static int read_answer(const char *encoded, struct kubeletcheckpoint_entry *entry)
{
    cleanup_text struct text answer = TEXT_INIT;
    int r = decode_base64(encoded, &answer);
    struct wire wire, value;
    uint64_t number;

    wire = (struct wire){(const unsigned char *)text_string(&answer), answer.length};
    while (r == 0 && wire.left) {
        if (!take_field(&wire, &number, &value))
            return -EBADMSG;
        if (number == ANSWER_ANNOTATIONS)
            r = read_annotation(value, entry->grant);
        else if (number == ANSWER_MOUNTS)
            r = read_mount(value, &entry->mounts);
    }
    return r;
}

/* --- the file --- */

static int take_device_id(struct json *json, void *data)
{
    struct kubeletcheckpoint_entry *entry = data;
    cleanup_text struct text id = TEXT_INIT;
    int r = take_string(json, &id);
    char **ids;

    if (r < 0)
        return r;
    if (entry->n_ids == GRANT_IDS_MAX)
        return -EBADMSG;
    ids = reallocarray(entry->ids, entry->n_ids + 1, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    entry->ids = ids;
    ids[entry->n_ids] = strdup(text_string(&id));
    if (!ids[entry->n_ids])
        return -ENOMEM;
    entry->n_ids++;
    return 0;
}

static int take_numa_node(struct json *json, const char *node, void *data)
{
    (void)node;
    return take_array(json, take_device_id, data);
}

static int take_into(struct json *json, char *buffer, size_t size)
{
    cleanup_text struct text value = TEXT_INIT;
    int r = take_string(json, &value);

    if (r < 0)
        return r;
    return str_copy(buffer, size, text_string(&value)) < 0 ? -EBADMSG : 0;
}

static int take_resource(struct json *json, struct kubeletcheckpoint_entry *entry)
{
    cleanup_text struct text value = TEXT_INIT;
    int r = take_string(json, &value);

    if (r < 0)
        return r;
    free(entry->resource);
    entry->resource = strdup(text_string(&value));
    return entry->resource ? 0 : -ENOMEM;
}

static int take_answer(struct json *json, struct kubeletcheckpoint_entry *entry)
{
    cleanup_text struct text value = TEXT_INIT;
    int r;

    if (accept_word(json, "null")) /* Go's empty []byte */
        return 0;
    r = take_string(json, &value);
    return r < 0 ? r : read_answer(text_string(&value), entry);
}

static int take_member(struct json *json, const char *key, void *data)
{
    struct kubeletcheckpoint_entry *entry = data;
    const struct skip skip = {.depth = 3};

    if (str_equal(key, "PodUID"))
        return take_into(json, entry->pod_uid, sizeof(entry->pod_uid));
    if (str_equal(key, "ContainerName"))
        return take_into(json, entry->container, sizeof(entry->container));
    if (str_equal(key, "ResourceName"))
        return take_resource(json, entry);
    if (str_equal(key, "DeviceIDs"))
        return accept_word(json, "null") ? 0 : take_object(json, take_numa_node, entry);
    if (str_equal(key, "AllocResp"))
        return take_answer(json, entry);
    return skip_value(json, skip);
}

static int take_entry(struct json *json, void *data)
{
    struct kubeletcheckpoint *checkpoint = data;
    struct kubeletcheckpoint_entry *entry;
    int r;

    if (checkpoint->n_entries == KUBELETCHECKPOINT_ENTRIES_MAX)
        return -EBADMSG;
    entry = array_push(&checkpoint->entries, &checkpoint->n_entries, &checkpoint->capacity,
                       sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    r = take_object(json, take_member, entry);
    return r == 0 && (!*entry->pod_uid || !entry->resource) ? -EBADMSG : r;
}

/* The registered ids of one resource. */
struct registered {
    struct kubeletcheckpoint *checkpoint;
    const char *resource;
};

/* Ids of one device mostly follow each other. */
static struct kubeletcheckpoint_shared *find_shared(const struct registered *registered,
                                                    const char *uuid)
{
    const struct kubeletcheckpoint *checkpoint = registered->checkpoint;

    for (size_t i = checkpoint->n_shared; i > 0; i--) {
        struct kubeletcheckpoint_shared *shared = &checkpoint->shared[i - 1];

        if (str_equal(shared->uuid, uuid) && str_equal(shared->resource, registered->resource))
            return shared;
    }
    return NULL;
}

static int add_shared(struct kubeletcheckpoint *checkpoint, const char *resource, const char *uuid)
{
    cleanup_free char *resource_copy = strdup(resource), *uuid_copy = strdup(uuid);
    struct kubeletcheckpoint_shared *shared;

    if (!resource_copy || !uuid_copy)
        return -ENOMEM;
    shared = array_push(&checkpoint->shared, &checkpoint->n_shared, &checkpoint->shared_capacity,
                        sizeof(*shared));
    if (!shared)
        return -ENOMEM;
    *shared = (struct kubeletcheckpoint_shared){TAKE_PTR(resource_copy), TAKE_PTR(uuid_copy), 1};
    return 0;
}

static int take_registered_id(struct json *json, void *data)
{
    const struct registered *registered = data;
    cleanup_text struct text id = TEXT_INIT;
    struct kubeletcheckpoint_shared *shared;
    int r = take_string(json, &id);
    char *end;

    if (r < 0)
        return r;
    end = id.data ? strstr(id.data, "::") : NULL;
    if (!end)
        return 0;
    *end = '\0';
    shared = find_shared(registered, id.data);
    if (shared)
        shared->n_ids++;
    else if (registered->checkpoint->n_shared < KUBELETCHECKPOINT_SHARED_MAX)
        return add_shared(registered->checkpoint, registered->resource, id.data);
    return 0;
}

static int take_registered(struct json *json, const char *resource, void *data)
{
    struct registered registered = {data, resource};

    return take_array(json, take_registered_id, &registered);
}

/* The result, and whether anything had the expected form. */
struct reading {
    struct kubeletcheckpoint checkpoint;
    bool has_data;
};

static int take_data_member(struct json *json, const char *key, void *data)
{
    struct reading *reading = data;
    const struct skip skip = {.depth = 1};

    if (str_equal(key, "PodDeviceEntries"))
        return take_array(json, take_entry, &reading->checkpoint);
    if (str_equal(key, "RegisteredDevices"))
        return accept_word(json, "null") ? 0
                                         : take_object(json, take_registered, &reading->checkpoint);
    return skip_value(json, skip);
}

static int take_top_member(struct json *json, const char *key, void *data)
{
    struct reading *reading = data;
    const struct skip skip = {.depth = 0};

    if (!str_equal(key, "Data"))
        return skip_value(json, skip);
    reading->has_data = true;
    return take_object(json, take_data_member, reading);
}

int kubeletcheckpoint_parse(const char *text, size_t size, struct kubeletcheckpoint *ret_checkpoint,
                            struct error *err)
{
    struct reading reading = {.checkpoint = KUBELETCHECKPOINT_INIT};
    struct json json = {text, text + size};
    int r = take_object(&json, take_top_member, &reading);

    if (r == 0 && (peek(&json) || json.at != json.end || !reading.has_data))
        r = -EBADMSG;
    if (r == 0) {
        *ret_checkpoint = reading.checkpoint;
        ret_checkpoint->is_there = true;
        return 0;
    }
    kubeletcheckpoint_deinit(&reading.checkpoint);
    if (r == -EBADMSG)
        return error_set(err, r, "not a device checkpoint of the kubelet, at byte %zu",
                         (size_t)(json.at - text));
    return error_set_errno(err, r, "cannot read the kubelet's device checkpoint");
}

int kubeletcheckpoint_load(const char *folder, struct kubeletcheckpoint *ret_checkpoint,
                           struct error *err)
{
    cleanup_free char *data = NULL;
    char path[PATH_MAX];
    size_t size = 0;
    int r;

    if (snprintf(path, sizeof(path), "%s/" KUBELETCHECKPOINT_NAME, folder) >= (int)sizeof(path))
        return error_set_errno(err, -ENAMETOOLONG, "cannot read the kubelet's device checkpoint");
    r = file_read(path, KUBELETCHECKPOINT_SIZE_MAX, &data, &size, err);
    if (r == -ENOENT) {
        *ret_checkpoint = (struct kubeletcheckpoint)KUBELETCHECKPOINT_INIT;
        return 0;
    }
    if (r < 0)
        return r;
    r = kubeletcheckpoint_parse(data, size, ret_checkpoint, err);
    return r < 0 ? error_wrap(err, r, "%s", path) : 0;
}
