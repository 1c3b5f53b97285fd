// SPDX-License-Identifier: Apache-2.0

/*
 * What an API server, or something in its place, may stream. First byte: the format, and the size
 * of the pieces. The outcome does not depend on the pieces, objects respect the limit, and what
 * libjansson accepts as a list of objects is one to us, with the same count.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kube/splitter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 4096 };

struct outcome {
    int r;
    size_t n_objects, n_bytes;
    bool all_parse;
};

static int take(const char *json, size_t size, void *userdata)
{
    struct outcome *outcome = userdata;
    json_t *object = json_loadb(json, size, 0, NULL);

    if (size > MAX_BYTES || json[0] != '{')
        abort();
    outcome->n_objects++;
    outcome->n_bytes += size;
    outcome->all_parse = outcome->all_parse && object;
    json_decref(object);
    return 0;
}

static struct outcome split(enum split_form form, const char *data, size_t size, size_t step)
{
    struct outcome outcome = {.all_parse = true};
    struct splitter splitter;
    char *room = malloc(step);

    if (!room)
        abort();

    splitter_init(&splitter, form, MAX_BYTES, take, &outcome);
    for (size_t at = 0; outcome.r == 0 && at < size; at += step) {
        size_t n = size - at < step ? size - at : step;

        /* At the end of its allocation, so that reading past the piece is detected. */
        memcpy(room + step - n, data + at, n);
        outcome.r = splitter_feed(&splitter, room + step - n, n);
        if (splitter.held.length > MAX_BYTES)
            abort();
    }
    free(room);
    if (outcome.r == 0)
        outcome.r = splitter_end(&splitter);
    splitter_deinit(&splitter);
    return outcome;
}

/* Items of a list, all of them objects; -1 = not a list. */
static int n_items_of(const char *data, size_t size)
{
    /* Jansson skips NUL bytes between tokens; JSON does not allow them. */
    json_t *list =
        memchr(data, 0, size) ? NULL : json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *items = json_object_get(list, "items");
    const json_t *metadata = json_object_get(list, "metadata");
    int n = json_is_array(items) ? (int)json_array_size(items) : -1;

    if (metadata && !json_is_object(metadata))
        n = -1;
    for (size_t i = 0; i < json_array_size(items); i++)
        if (!json_is_object(json_array_get(items, i)))
            n = -1;
    json_decref(list);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome torn, whole;
    enum split_form form;
    const char *text = (const char *)data + 1;
    int n_items;

    if (size < 2)
        return 0;
    form = data[0] & 1 ? SPLIT_EVENTS : SPLIT_LIST;
    torn = split(form, text, size - 1, (size_t)(data[0] >> 1) + 1);
    whole = split(form, text, size - 1, size);
    if (torn.r != whole.r || torn.n_objects != whole.n_objects || torn.n_bytes != whole.n_bytes)
        abort();
    n_items = n_items_of(text, size - 1);
    if (form == SPLIT_LIST && size <= MAX_BYTES && n_items >= 0 &&
        (whole.r != 0 || whole.n_objects != (size_t)n_items || !whole.all_parse))
        abort();
    return 0;
}
