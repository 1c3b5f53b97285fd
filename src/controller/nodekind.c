// SPDX-License-Identifier: Apache-2.0
#include "controller/nodekind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "karpenter/promise.h"
#include "karpenter/promisetext.h"
#include "kube/field.h"
#include "slice/name.h"

enum { NOT_HERE = 1 }; /* it does not tell */

/* -- life -------------------------------------------------------------------------------------- */

static bool copy(char **to, const char *from)
{
    *to = strdup(from);
    return *to != NULL;
}

struct nodekind *nodekind_new(const struct nodeview *view, const json_t *labels)
{
    struct nodekind *kind = calloc(1, sizeof(*kind));

    if (!kind)
        return NULL;
    kind->is_stale = true;
    kind->labels = json_deep_copy(labels);
    if (kind->labels && copy(&kind->pool, view->texts[NODEVIEW_POOL]) &&
        copy(&kind->profile, view->texts[NODEVIEW_PROFILE]) &&
        copy(&kind->hash, view->texts[NODEVIEW_HASH]) &&
        copy(&kind->type, view->texts[NODEVIEW_TYPE]) &&
        copy(&kind->annotation, view->texts[NODEVIEW_PROMISE]))
        return kind;
    nodekind_free(kind);
    return NULL;
}

void nodekind_free(struct nodekind *kind)
{
    if (!kind)
        return;
    free(kind->pool);
    free(kind->profile);
    free(kind->hash);
    free(kind->type);
    free(kind->annotation);
    json_decref(kind->labels);
    amounts_deinit(&kind->promised);
    amounts_deinit(&kind->believed);
    free(kind);
}

bool nodekind_has(const struct nodekind *kind, const struct nodeview *view)
{
    return str_equal(kind->hash, view->texts[NODEVIEW_HASH]) &&
           str_equal(kind->type, view->texts[NODEVIEW_TYPE]) &&
           str_equal(kind->pool, view->texts[NODEVIEW_POOL]) &&
           str_equal(kind->profile, view->texts[NODEVIEW_PROFILE]) &&
           str_equal(kind->annotation, view->texts[NODEVIEW_PROMISE]);
}

/* -- what was promised: 0, NOT_HERE with why in kind->unknown, or -ENOMEM ---------------------- */

static int not_here(struct nodekind *kind, const char *why)
{
    if (snprintf(kind->unknown, sizeof(kind->unknown), "%s", why) >= (int)sizeof(kind->unknown))
        str_mark_cut(kind->unknown, sizeof(kind->unknown));
    return NOT_HERE;
}

static int by_profile(struct nodekind *kind, const struct nodekind_world *world)
{
    const struct instance_type *type = catalog_find_type(world->catalog, kind->type);
    struct error err = ERROR_INIT;
    char hash[SLICEPROFILE_HASH];
    struct promise promise;
    int r;

    if (!world->profile)
        return not_here(kind, "there is no such SliceProfile");
    sliceprofile_hash(world->profile, hash);
    if (!str_equal(hash, kind->hash))
        return not_here(kind, "the SliceProfile has changed since");
    if (!type)
        return not_here(kind, "the catalog does not have the instance type");
    r = promise_make(world->profile, world->catalog, type, &promise, &err);
    if (r == PROMISE_IMPOSSIBLE)
        return not_here(kind, error_text(&err));
    for (size_t i = 0; i < promise.n_resources && r == 0; i++)
        r = amounts_set(&kind->promised, promise.resources[i].name,
                        (int64_t)promise.resources[i].count);
    kind->is_current = r == 0;
    return r;
}

/* Ours select by the profile's hash, those of others do not. */
static bool is_ours(const struct overlay *overlay)
{
    for (size_t i = 0; i < json_array_size(overlay->requirements); i++)
        if (kube_says(json_array_get(overlay->requirements, i), "key", SLICEPROFILE_HASH_LABEL))
            return true;
    return false;
}

/* What Karpenter makes of these. */
static int evaluate(const struct nodekind *kind, const struct overlay *overlays, size_t n,
                    struct amounts *amounts, json_t **ret_owners)
{
    cleanup_problems struct problems ignored = PROBLEMS_INIT;
    json_t *found, *owners = NULL;
    int r = overlay_evaluate(overlays, n, kind->labels, &ignored, &found, &owners);

    if (r < 0)
        return r;
    r = amounts_read(found, amounts);
    json_decref(found);
    if (r == 0 && ret_owners)
        *ret_owners = TAKE_PTR(owners);
    json_decref(owners);
    return r;
}

static int by_overlays(struct nodekind *kind, const struct nodekind_world *world)
{
    cleanup_free struct overlay *ours = calloc(world->n_overlays + 1, sizeof(*ours));
    size_t n = 0;
    int r;

    if (!ours)
        return -ENOMEM;
    for (size_t i = 0; i < world->n_overlays; i++)
        if (is_ours(&world->overlays[i]))
            ours[n++] = world->overlays[i];
    r = evaluate(kind, ours, n, &kind->promised, NULL);
    return r == 0 && !kind->promised.n_items ? NOT_HERE : r;
}

static int by_annotation(struct nodekind *kind, const struct nodekind_world *world)
{
    const struct instance_type *type = catalog_find_type(world->catalog, kind->type);
    struct namedemand counts;
    int r = NOT_HERE;

    if (type && *kind->annotation)
        r = promisetext_read(kind->annotation, world->catalog->models[type->model].name,
                             type->n_gpus, &counts, NULL);
    if (r != 0)
        return r == -ENOMEM ? r : NOT_HERE;
    for (size_t i = 0; i < counts.n_items && r == 0; i++)
        r = amounts_set(&kind->promised, counts.items[i].name, counts.items[i].count);
    return r;
}

static int find_promise(struct nodekind *kind, const struct nodekind_world *world)
{
    static int (*const sources[])(struct nodekind *, const struct nodekind_world *) = {
        by_profile, by_overlays, by_annotation};
    int r = NOT_HERE;

    amounts_deinit(&kind->promised);
    kind->is_current = false;
    for (size_t i = 0; i < ARRAY_SIZE(sources) && r == NOT_HERE; i++)
        r = sources[i](kind, world);
    kind->is_promised = r == 0;
    return r < 0 ? r : 0;
}

/* -- what Karpenter believes ------------------------------------------------------------------- */

/* Without an overlay: the GPUs of the type, and no resource that Karpenter does not know. */
static int believe_type(struct nodekind *kind, const struct nodekind_world *world)
{
    const struct instance_type *type = catalog_find_type(world->catalog, kind->type);

    return type ? amounts_set(&kind->believed, NAME_GPU, type->n_gpus) : 0;
}

static void name_owner(struct nodekind *kind, const json_t *owners)
{
    for (size_t i = 0; i < kind->promised.n_items; i++) {
        const struct amount *amount = &kind->promised.items[i];
        const char *owner = json_string_value(json_object_get(owners, amount->name));

        if (owner && amounts_get(&kind->believed, amount->name) != amount->count) {
            snprintf(kind->owner, sizeof(kind->owner), "%s", owner);
            return;
        }
    }
}

static int find_belief(struct nodekind *kind, const struct nodekind_world *world)
{
    json_t *owners = NULL;
    int r;

    amounts_deinit(&kind->believed);
    *kind->owner = '\0';
    kind->is_believed = *kind->pool && world->overlays;
    if (!kind->is_believed)
        return 0;
    r = believe_type(kind, world);
    if (r == 0)
        r = evaluate(kind, world->overlays, world->n_overlays, &kind->believed, &owners);
    if (r < 0)
        return r;
    name_owner(kind, owners);
    json_decref(owners);
    return 0;
}

int nodekind_compute(struct nodekind *kind, const struct nodekind_world *world)
{
    int r = find_promise(kind, world);

    kind->has_profile = world->profile;
    if (r == 0)
        r = find_belief(kind, world);
    kind->is_stale = r < 0;
    return r;
}
