// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Cuts what an API server streams into single objects, so that memory is bounded by the largest
 * object and not by their number: the items of a list, `{"metadata":{...},"items":[{...},...]}` in
 * any order of members, or a watch's events, one object after the other.
 *
 * Each object comes as its bytes, whole, and still has to be parsed; what is not an object where
 * one should be is -EBADMSG at once. After any failure the splitter wants no more.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum split_form { SPLIT_LIST, SPLIT_EVENTS };

/* One object. Nonzero ends the splitting; splitter_feed returns it. */
typedef int split_object_fn(const char *json, size_t size, void *userdata);

enum split_state {
    SPLIT_BEFORE,       /* nothing of the list yet */
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
    size_t max_bytes; /* of one object; more is -EMSGSIZE */
    split_object_fn *on_object;
    void *userdata;

    enum split_state state;
    bool has_items; /* the list's items were seen */
    bool in_value;  /* the cursor is within a value that is being collected */
    bool in_string, escaped;
    unsigned depth;
    struct text held; /* the part of the value that came in earlier pieces */
    char *key;        /* of the member whose value comes */
    json_t *metadata; /* of the list; NULL until seen */
};

void splitter_init(struct splitter *splitter, enum split_form form, size_t max_bytes,
                   split_object_fn *on_object, void *userdata);
void splitter_deinit(struct splitter *splitter);

/* 0, -EBADMSG (no JSON, or not of this form), -EMSGSIZE, -ENOMEM, or what on_object returned. */
int splitter_feed(struct splitter *splitter, const char *data, size_t size);

/* The stream is over: 0 when it ended between objects and the list was whole, else -EBADMSG. */
int splitter_end(const struct splitter *splitter);

/* Of the list's metadata: "resourceVersion", "continue"; NULL when it is absent or empty. */
const char *splitter_metadata(const struct splitter *splitter, const char *key);
