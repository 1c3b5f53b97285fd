// SPDX-License-Identifier: Apache-2.0
#include "controller/configplan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/hash.h"
#include "base/text.h"
#include "controller/owned.h"
#include "karpenter/configprofile.h"
#include "kube/field.h"

struct planner {
    const char *namespace_;
    const json_t *config_maps, *profiles;
    struct configplan *plan;
    bool failed; /* without memory */
};

void configplan_deinit(struct configplan *plan)
{
    for (size_t i = 0; i < plan->n_items; i++)
        change_deinit(&plan->items[i].change);
    free(plan->items);
    free(plan->remarks);
    *plan = (struct configplan)CONFIGPLAN_INIT;
}

/* -- remarks ------------------------------------------------------------------------------ */

static void remark(struct planner *planner, const json_t *config_map, const char *reason,
                   bool is_warning, const char *format, ...) __attribute__((format(printf, 5, 6)));

static void remark(struct planner *planner, const json_t *config_map, const char *reason,
                   bool is_warning, const char *format, ...)
{
    struct configplan *plan = planner->plan;
    struct configplan_remark *added =
        array_push(&plan->remarks, &plan->n_remarks, &plan->remarks_capacity, sizeof(*added));
    va_list args;

    if (!added) {
        planner->failed = true;
        return;
    }
    added->config_map = config_map;
    added->reason = reason;
    added->is_warning = is_warning;
    va_start(args, format);
    if (vsnprintf(added->message, sizeof(added->message), format, args) >=
        (int)sizeof(added->message))
        str_mark_cut(added->message, sizeof(added->message));
    va_end(args);
}

static void remark_problems(struct planner *planner, const json_t *config_map,
                            const struct problems *problems, enum problem_severity severity)
{
    const bool is_error = severity == PROBLEM_ERROR;
    const struct problem *problem = NULL;
    char line[CONFIGPLAN_MESSAGE];

    while ((problem = problems_next(problems, problem))) {
        if (problem->severity != severity)
            continue;
        problem_format(problems, problem, line, sizeof(line));
        remark(planner, config_map, is_error ? "NoSliceProfile" : "SliceProfileDiffers", is_error,
               "%s", line);
    }
}

/* -- which object is whose --------------------------------------------------------------------- */

/* A copy under another name says the same of itself, and is its copier's. That of a ConfigMap of
 * another namespace is another controller's. */
static bool is_made(const struct planner *planner, const json_t *profile)
{
    const char *of = owned_label(profile, CONFIGPROFILE_OF);
    cleanup_text struct text name = TEXT_INIT;

    text_addf(&name, "%s-%s", of, owned_annotation(profile, CONFIGPROFILE_OF_KEY));
    return str_equal(owned_label(profile, OWNED_MANAGED_LABEL), OWNED_MANAGER) && *of &&
           str_equal(owned_annotation(profile, CONFIGPROFILE_OF_NAMESPACE), planner->namespace_) &&
           str_equal(kube_name(profile), text_string(&name));
}

/* It is made of another ConfigMap and key, which are there. */
static bool is_of_another(const struct planner *planner, const json_t *existing,
                          const json_t *config_map, const char *key)
{
    const char *of = owned_label(existing, CONFIGPROFILE_OF);
    const char *of_key = owned_annotation(existing, CONFIGPROFILE_OF_KEY);
    const json_t *other = owned_find(planner->config_maps, of);

    return !(str_equal(of, kube_name(config_map)) && str_equal(of_key, key)) &&
           json_object_get(json_object_get(other, "data"), of_key);
}

static bool is_planned(const struct configplan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_items; i++)
        if (str_equal(plan->items[i].name, name))
            return true;
    return false;
}

/* Says so if the name is another's. */
static bool is_taken(struct planner *planner, const json_t *config_map, const char *key,
                     const char *name)
{
    const json_t *existing = owned_find(planner->profiles, name);
    const bool is_another = is_planned(planner->plan, name) ||
                            (existing && is_of_another(planner, existing, config_map, key));

    if (existing && !is_made(planner, existing))
        remark(planner, config_map, "NoSliceProfile", true,
               "%s/%s: somebody's own SliceProfile has the name %s, and stays as it is; rename or "
               "delete one of them",
               kube_name(config_map), key, name);
    else if (is_another)
        remark(planner, config_map, "NoSliceProfile", true,
               "%s/%s: another ConfigMap and key make the SliceProfile %s; rename one of them",
               kube_name(config_map), key, name);
    return is_another || (existing && !is_made(planner, existing));
}

/* -- what is written --------------------------------------------------------------------------- */

/* Its uid, so that nothing is written into what came after it under its name. */
static void set_metadata(json_t *profile, const json_t *existing, const char *namespace_)
{
    json_t *metadata = kube_metadata(profile);
    json_t *annotations = json_object_get(metadata, "annotations");
    cleanup_free char *text = NULL;

    json_object_set_new(json_object_get(metadata, "labels"), OWNED_MANAGED_LABEL,
                        json_string(OWNED_MANAGER));
    json_object_set_new(annotations, CONFIGPROFILE_OF_NAMESPACE, json_string(namespace_));
    text = json_dumps(profile, JSON_COMPACT | JSON_SORT_KEYS);
    json_object_set_new(annotations, CONFIGPLAN_CONTENT,
                        json_sprintf("%016" PRIx64, hash_text(HASH_INIT, text ? text : "")));
    if (existing)
        json_object_set_new(metadata, "uid", json_string(kube_uid(existing)));
}

static struct configplan_item *add_item(struct planner *planner, const char *name,
                                        const json_t *config_map, const char *key)
{
    struct configplan *plan = planner->plan;
    struct configplan_item *item =
        array_push(&plan->items, &plan->n_items, &plan->items_capacity, sizeof(*item));

    if (!item) {
        planner->failed = true;
        return NULL;
    }
    *item = (struct configplan_item){.change = CHANGE_INIT, .config_map = config_map, .key = key};
    snprintf(item->name, sizeof(item->name), "%s", name);
    return item;
}

static const json_t *find_slice(const json_t *slices, const char *name)
{
    for (size_t i = 0; i < json_array_size(slices); i++)
        if (kube_says(json_array_get(slices, i), "name", name))
            return json_array_get(slices, i);
    return NULL;
}

/* The API server merges them by their names, and keeps those that others added. */
static bool has_slices(const json_t *all, const json_t *part)
{
    for (size_t i = 0; i < json_array_size(part); i++) {
        const json_t *slice = json_array_get(part, i);

        if (!owned_has(find_slice(all, kube_text(slice, "name")), slice))
            return false;
    }
    return true;
}

static bool has_spec(const json_t *all, json_t *part)
{
    const char *field;
    json_t *value;

    json_object_foreach(part, field, value)
    {
        const json_t *is = json_object_get(all, field);

        if (str_equal(field, "slices") ? !has_slices(is, value) : !owned_has(is, value))
            return false;
    }
    return true;
}

/* Not compared as a whole: what a list has does not name its kind. */
static bool is_written(const json_t *existing, const json_t *profile)
{
    return owned_has(kube_metadata(existing), kube_metadata(profile)) &&
           has_spec(json_object_get(existing, "spec"), json_object_get(profile, "spec"));
}

/* Takes the profile over; NULL = the key is wrong: what is there stays. */
static void plan_profile(struct planner *planner, const json_t *config_map, const char *key,
                         const char *name, json_t *profile)
{
    const json_t *existing = owned_find(planner->profiles, name);
    struct configplan_item *item = add_item(planner, name, config_map, key);

    if (profile)
        set_metadata(profile, existing, planner->namespace_);
    if (item && profile && !is_written(existing, profile))
        planner->failed |=
            change_apply(&item->change, CONFIGPLAN_PROFILES, json_incref(profile), KUBE_FORCE) < 0;
    json_decref(profile);
}

static void remark_whole(struct planner *planner, const json_t *config_map, const char *key)
{
    remark(
        planner, config_map, "NothingSliced", false,
        "%s/%s: offers each GPU whole, which Karpenter knows by itself: it makes no SliceProfile",
        kube_name(config_map), key);
}

static void plan_key(struct planner *planner, const json_t *config_map, const char *key)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char name[CONFIGPROFILE_NAME];
    json_t *profile = NULL;
    int r = configprofile_make(config_map, key, &problems, &profile);

    configprofile_name(config_map, key, name);
    if (r == CONFIGPROFILE_WHOLE)
        remark_whole(planner, config_map, key);
    if (r > 0)
        return;
    planner->failed |= r == -ENOMEM;
    remark_problems(planner, config_map, &problems, PROBLEM_ERROR);
    if (strlen(name) >= CHANGE_NAME_SIZE || is_taken(planner, config_map, key, name)) {
        json_decref(profile);
        return;
    }
    if (profile)
        remark_problems(planner, config_map, &problems, PROBLEM_WARNING);
    plan_profile(planner, config_map, key, name, profile);
}

static void plan_config_map(struct planner *planner, const json_t *config_map)
{
    const char *key;
    json_t *text;

    json_object_foreach(json_object_get(config_map, "data"), key, text)
    {
        plan_key(planner, config_map, key);
    }
    if (!json_object_size(json_object_get(config_map, "data")))
        remark(planner, config_map, "NoSliceProfile", true,
               "%s has no data; each of its keys would be a SliceProfile", kube_name(config_map));
}

static void plan_removals(struct planner *planner)
{
    for (size_t i = 0; i < json_array_size(planner->profiles); i++) {
        const json_t *profile = json_array_get(planner->profiles, i);
        struct configplan_item *item;

        if (!is_made(planner, profile) || is_planned(planner->plan, kube_name(profile)))
            continue;
        item = add_item(planner, kube_name(profile), NULL, "");
        /* A finalizer of somebody else may hold it. */
        if (item && !*kube_text(kube_metadata(profile), "deletionTimestamp"))
            change_delete(&item->change, CONFIGPLAN_PROFILES, profile);
    }
}

int configplan_make(const char *namespace_, const json_t *config_maps, const json_t *profiles,
                    struct configplan *ret_plan)
{
    cleanup_configplan struct configplan plan = CONFIGPLAN_INIT;
    struct planner planner = {
        .namespace_ = namespace_, .config_maps = config_maps, .profiles = profiles, .plan = &plan};

    for (size_t i = 0; i < json_array_size(config_maps); i++)
        plan_config_map(&planner, json_array_get(config_maps, i));
    plan_removals(&planner);
    if (planner.failed)
        return -ENOMEM;
    *ret_plan = plan;
    plan = (struct configplan)CONFIGPLAN_INIT;
    return 0;
}
