// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Splits an API server's stream into single objects, so that memory is bounded by the largest
 * object and not by their number: the items of a list, `{"metadata":{...},"items":[{...},...]}` in
 * any order of members, or a watch's events, one object after the other.
 *
 * Each object is passed on as its complete bytes, unparsed; anything else where an object is
 * expected is -EBADMSG. After any failure the splitter cannot be used any more.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum split_form { SPLIT_LIST, SPLIT_EVENTS };

/* One object. Nonzero stops the splitting; splitter_feed returns it. */
typedef int split_object_fn(const char *json, size_t size, void *userdata);

enum split_state {
    SPLIT_BEFORE,       /* before the list */
    SPLIT_FIRST_MEMBER, /* after `{` */
    SPLIT_MEMBER,       /* after `,` */
    SPLIT_COLON,
    SPLIT_VALUE,
    SPLIT_AFTER_VALUE,
    SPLIT_FIRST_ITEM, /* after `[` */
    SPLIT_ITEM,       /* after `,` */
    SPLIT_AFTER_ITEM,
    SPLIT_DONE,
    SPLIT_BETWEEN_EVENTS,
};

struct splitter {
    enum split_form form;
    size_t max_bytes; /* of one object; larger ones are -EMSGSIZE */
    split_object_fn *on_object;
    void *userdata;

    enum split_state state;
    bool has_items; /* the list's items were seen */
    bool in_value;  /* inside a value that is being collected */
    bool in_string, escaped;
    unsigned depth;
    struct text held; /* the part of the value received earlier */
    char *key;        /* of the member whose value follows */
    json_t *metadata; /* of the list; NULL until seen */
};

void splitter_init(struct splitter *splitter, enum split_form form, size_t max_bytes,
                   split_object_fn *on_object, void *userdata);
void splitter_deinit(struct splitter *splitter);

/* 0, -EBADMSG (not JSON, or not of this form), -EMSGSIZE, -ENOMEM, or what on_object returned. */
int splitter_feed(struct splitter *splitter, const char *data, size_t size);

/* End of the stream: 0 if it ended between objects and the list was complete, else -EBADMSG. */
int splitter_end(const struct splitter *splitter);

/* From the list's metadata: "resourceVersion", "continue"; NULL if absent or empty. */
const char *splitter_metadata(const struct splitter *splitter, const char *key);
