// SPDX-License-Identifier: Apache-2.0
#include "karpenter/promisetext.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"

#define PER_GPU   " per GPU"
#define NEXT      "; "
#define END_MODEL ": " /* no model has this in its name */

/* ---- Writing ---- */

static const char *model_of(const struct promises *promises, size_t i)
{
    return promises->catalog->models[promises->items[i].type->model].name;
}

/* The same resources, and of each the same number on each GPU. */
static bool is_alike(const struct promise *a, const struct promise *b)
{
    if (a->n_resources != b->n_resources)
        return false;
    for (size_t i = 0; i < a->n_resources; i++)
        if (a->resources[i].count * b->type->n_gpus != b->resources[i].count * a->type->n_gpus ||
            !str_equal(a->resources[i].name, b->resources[i].name))
            return false;
    return true;
}

static bool all_alike(const struct promises *promises)
{
    for (size_t i = 1; i < promises->n_items; i++)
        if (!is_alike(&promises->items[0], &promises->items[i]))
            return false;
    return true;
}

static int add_counts(const struct promise *promise, struct text *text)
{
    const uint32_t n_gpus = promise->type->n_gpus;

    for (size_t i = 0; i < promise->n_resources; i++) {
        const struct promise_resource *resource = &promise->resources[i];

        if (resource->count % n_gpus)
            return -ERANGE;
        text_addf(text, "%s%s=%zu", i ? "," : "", resource->name, resource->count / n_gpus);
    }
    text_add(text, PER_GPU);
    return 0;
}

/* The first promise of the model that comes after `last` by name; n_items = there is none. */
static size_t next_model(const struct promises *promises, const char *last)
{
    size_t next = promises->n_items;

    for (size_t i = promises->n_items; i-- > 0;) {
        const char *model = model_of(promises, i);

        if (strcmp(model, last) > 0 &&
            (next == promises->n_items || strcmp(model, model_of(promises, next)) <= 0))
            next = i;
    }
    return next;
}

static int add_group(const struct promises *promises, size_t first, struct text *text)
{
    const char *model = model_of(promises, first);

    for (size_t i = first + 1; i < promises->n_items; i++)
        if (str_equal(model_of(promises, i), model) &&
            !is_alike(&promises->items[first], &promises->items[i]))
            return -ERANGE;
    text_addf(text, "%s%s" END_MODEL, text->length ? NEXT : "", model);
    return add_counts(&promises->items[first], text);
}

int promisetext_add(const struct promises *promises, struct text *text)
{
    cleanup_text struct text groups = TEXT_INIT;
    int r = 0;

    if (all_alike(promises))
        return promises->n_items ? add_counts(&promises->items[0], text) : 0;
    for (size_t i = next_model(promises, ""); r == 0 && i < promises->n_items;
         i = next_model(promises, model_of(promises, i)))
        r = add_group(promises, i, &groups);
    text_add(text, text_string(&groups));
    return r;
}

/* ---- Reading ---- */

/* The text comes from the cluster: it is shown as one line. */
static int refuse(const char *text, const char *fault, struct error *err)
{
    char shown[120];

    if (snprintf(shown, sizeof(shown), "%s", text) >= (int)sizeof(shown))
        str_mark_cut(shown, sizeof(shown));
    str_make_line(shown);
    return error_set(err, -EINVAL,
                     "'%s' %s; write for example 'nvidia.com/gpu.shared=4" PER_GPU "'", shown,
                     fault);
}

/* Splits "model: counts per GPU". *ret_model: NULL = of every model. */
static int split(char *group, const char **ret_model, char **ret_counts, struct error *err)
{
    char *end = strstr(group, END_MODEL);
    char *counts = end ? end + strlen(END_MODEL) : group;

    if (!str_ends_with(counts, PER_GPU))
        return refuse(group, "does not end with" PER_GPU, err);
    counts[strlen(counts) - strlen(PER_GPU)] = '\0';
    if (end)
        *end = '\0';
    *ret_model = end ? group : NULL;
    *ret_counts = counts;
    return 0;
}

static int read_group(char *group, const char *model, struct namedemand *found, struct error *err)
{
    struct namedemand read;
    const char *of = NULL;
    char *counts = NULL;
    int r = split(group, &of, &counts, err);

    if (r < 0)
        return r;
    r = namedemand_parse(counts, &read, err);
    if (r < 0)
        return r;
    if (!read.n_items)
        return refuse(counts, "names no resource", err);
    if (of && !str_equal(of, model))
        return 0;
    if (found->n_items)
        return refuse(of ? of : counts, "is a second group of one model", err);
    *found = read;
    return 0;
}

int promisetext_read(const char *text, const char *model, size_t n_gpus,
                     struct namedemand *ret_counts, struct error *err)
{
    cleanup_free char *copy = strdup(text);
    struct namedemand found = {.n_items = 0};
    char *at = copy;
    int r = copy ? 0 : error_set_errno(err, -ENOMEM, "cannot read the promise");

    while (r == 0 && at) {
        char *next = strstr(at, NEXT);

        if (next)
            *next = '\0';
        r = read_group(at, model, &found, err);
        at = next ? next + strlen(NEXT) : NULL;
    }
    if (r == 0 && !found.n_items)
        r = error_set(err, -ENOENT, "the promise does not tell of the GPU %s", model);
    if (r < 0)
        return r;
    for (size_t i = 0; i < found.n_items; i++)
        found.items[i].count *= (unsigned)n_gpus;
    *ret_counts = found;
    return 0;
}
