// SPDX-License-Identifier: Apache-2.0
#include "controller/poolplan.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/text.h"
#include "controller/owned.h"
#include "controller/templatemerge.h"
#include "karpenter/nodepool.h"
#include "karpenter/poolcheck.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"

/* It holds a node back in every version of Karpenter; `nodes` is younger. */
#define NO_NODES "cpu"

static const json_t *template_of(const json_t *pool)
{
    return json_object_get(json_object_get(pool, "spec"), "template");
}

static int make_token(const json_t *content, char ret_token[POOLPLAN_TOKEN_SIZE])
{
    cleanup_free char *text = content ? json_dumps(content, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    if (!text)
        return -ENOMEM;
    snprintf(ret_token, POOLPLAN_TOKEN_SIZE, "%012jx",
             (uintmax_t)(hash_text(HASH_INIT, text) >> 16));
    return 0;
}

/*
 * The content differs from what is there. Counts the write first, then has it sent, and stops when
 * it was undone too often.
 */
static void write_counted(const struct poolplan_setup *setup, struct poolplan *plan)
{
    const struct poolplan_count *counted = &setup->counted;
    bool is_known = str_equal(counted->token, plan->count.token);

    plan->count.writes = is_known ? counted->writes : 0;
    if (is_known && counted->writes > setup->n_sent) {
        plan->state = POOLPLAN_CHANGES;
        plan->change.is_counted = true;
        return;
    }
    change_deinit(&plan->change);
    if (plan->count.writes >= POOLPLAN_WRITES_MAX) {
        plan->state = POOLPLAN_REVERTED;
        return;
    }
    plan->count.writes++;
    plan->state = POOLPLAN_COUNTS;
}

/* -- a pool of its own ------------------------------------------------------------------------- */

static json_t *own_pool(const struct poolplan_setup *setup, char ret_token[POOLPLAN_TOKEN_SIZE])
{
    static const struct nodepool_options options = {.has_startup_taint = true};
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    json_t *pool;

    if (nodepool_make(setup->profile, setup->promises, &options, &documents) < 0 ||
        make_token(documents.items[0].tree, ret_token) < 0)
        return NULL;
    pool = json_incref(documents.items[0].tree);
    owned_claim(pool, setup->profile->name);
    json_object_set_new(json_object_get(pool, "metadata"), "annotations",
                        json_pack("{s:s}", POOLPLAN_TOKEN, ret_token));
    return pool;
}

/* It was left earlier, and has its profile back. */
static json_t *reopen(const json_t *pool)
{
    json_t *operations = json_array();
    const json_t *limit =
        json_object_get(json_object_get(json_object_get(pool, "spec"), "limits"), NO_NODES);
    int r = jsonpatch_annotation(operations, pool, POOLPLAN_RETIRED, NULL);

    if (r == 0 && limit)
        r = jsonpatch_change(operations, "/spec/limits/" NO_NODES, limit, NULL);
    if (r == 0)
        return operations;
    json_decref(operations);
    return NULL;
}

static int keep_own(const struct poolplan_setup *setup, const json_t *pool, json_t *wanted,
                    struct poolplan *plan)
{
    const char *name = setup->profile->name;
    int r;

    if (pool && !owned_is_ours(pool, name)) {
        plan->state = POOLPLAN_TAKEN;
        return 0;
    }
    if (pool && *owned_annotation(pool, POOLPLAN_RETIRED)) {
        plan->state = POOLPLAN_CHANGES;
        return change_patch(&plan->change, CHANGE_POOLS, name, reopen(pool));
    }
    if (pool && owned_has(pool, wanted)) {
        plan->state = POOLPLAN_KEPT;
        return 0;
    }
    r = change_apply(&plan->change, CHANGE_POOLS, json_incref(wanted),
                     pool ? KUBE_FORCE : KUBE_YIELD);
    if (r == 0)
        write_counted(setup, plan);
    return r;
}

static int plan_own(const struct poolplan_setup *setup, struct poolplan *plan)
{
    const struct fleet *fleet = setup->view->fleet;
    const char *name = setup->profile->name;
    char hash[SLICEPROFILE_HASH];
    json_t *wanted = own_pool(setup, plan->count.token);
    int r = wanted ? 0 : -ENOMEM;

    sliceprofile_hash(setup->profile, hash);
    plan->n_rolls = fleet_count(fleet, name, name, NULL) - fleet_count(fleet, name, name, hash);
    if (r == 0)
        r = keep_own(setup, owned_find(setup->view->pools, name), wanted, plan);
    json_decref(wanted);
    return r;
}

/* -- somebody else's --------------------------------------------------------------------------- */

static const char *pool_named_by(const json_t *profile)
{
    return kube_text(json_object_get(profile, "spec"), "nodePool");
}

/* Which other profile has the pool: the one that it was written for, else of those that name it
 * the first by name. NULL = none. */
static const char *other_owner(const struct poolplan_setup *setup, const json_t *record)
{
    const json_t *profiles = setup->view->profiles;
    const char *name = setup->profile->name, *recorded = templatemerge_profile(record);
    const json_t *holder = *recorded ? owned_find(profiles, recorded) : NULL;

    if (str_equal(recorded, name))
        return NULL;
    if (holder && str_equal(pool_named_by(holder), setup->profile->node_pool))
        return kube_name(holder);
    for (size_t i = 0; i < json_array_size(profiles); i++) {
        const json_t *one = json_array_get(profiles, i);

        if (str_equal(pool_named_by(one), setup->profile->node_pool) &&
            strcmp(kube_name(one), name) < 0)
            return kube_name(one);
    }
    return NULL;
}

static json_t *parts_of(const struct poolplan_setup *setup)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "labels", nodepool_labels(setup->profile),
                     "annotations", nodepool_annotations(setup->profile, setup->promises), "taints",
                     nodepool_taints(setup->profile), "startupTaints", nodepool_startup_taints());
}

/* Would the pool fit, once it is written? What it lacks now is no matter. */
static int check_fit(const struct poolplan_setup *setup, const json_t *pool, const json_t *template,
                     bool *ret_fits)
{
    size_t before = problems_count(setup->problems, PROBLEM_ERROR);
    json_t *written = json_deep_copy(pool), *pools = json_array();

    if (!written || !pools) {
        json_decref(written);
        json_decref(pools);
        return -ENOMEM;
    }
    json_object_set(json_object_get(written, "spec"), "template", (json_t *)(uintptr_t) template);
    json_array_append_new(pools, written);
    poolcheck_compare(setup->profile, setup->promises, false, setup->view->catalog, pools,
                      setup->problems);
    json_decref(pools);
    *ret_fits = problems_count(setup->problems, PROBLEM_ERROR) == before;
    return 0;
}

/* consent NULL: it was given for this one only, and is taken away with it. */
static int patch_pool(struct change *change, const json_t *pool, const json_t *template,
                      const json_t *record, bool ends_consent)
{
    json_t *operations = templatemerge_operations(template_of(pool), template);
    cleanup_free char *text = record ? json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    int r = operations && !record == !text ? 0 : -ENOMEM;

    if (r == 0)
        r = jsonpatch_annotation(operations, pool, TEMPLATEMERGE_RECORD, text);
    if (r == 0 && ends_consent)
        r = jsonpatch_annotation(operations, pool, POOLPLAN_CONSENT, NULL);
    if (r == 0)
        return change_patch(change, CHANGE_POOLS, kube_name(pool), operations);
    json_decref(operations);
    return r;
}

static bool is_consented(const struct planview *view, const json_t *pool, const char *token)
{
    return (!view->fleet->failed && fleet_count(view->fleet, kube_name(pool), NULL, NULL) == 0) ||
           str_equal(owned_annotation(pool, POOLPLAN_CONSENT), token);
}

static int keep_named(const struct poolplan_setup *setup, const json_t *pool, const json_t *record,
                      const json_t *template, const json_t *wanted_record, struct poolplan *plan)
{
    const struct fleet *fleet = setup->view->fleet;
    const char *name = kube_name(pool);
    bool is_written = json_equal(template_of(pool), template), fits;
    char hash[SLICEPROFILE_HASH];
    int r = check_fit(setup, pool, template, &fits);

    sliceprofile_hash(setup->profile, hash);
    plan->n_rolls = fleet_count(fleet, name, NULL, NULL);
    if (is_written)
        plan->n_rolls -= fleet_count(fleet, name, setup->profile->name, hash);
    if (r < 0)
        return r;
    if (!fits)
        plan->state = POOLPLAN_UNFIT;
    else if (is_written && (json_equal(record, wanted_record) || record == wanted_record))
        plan->state = POOLPLAN_KEPT;
    else if (!is_written && !is_consented(setup->view, pool, plan->count.token))
        plan->state = POOLPLAN_CONSENT_MISSING;
    else {
        r = patch_pool(&plan->change, pool, template, wanted_record, false);
        if (r == 0)
            write_counted(setup, plan);
    }
    return r;
}

static int merge_named(const struct poolplan_setup *setup, const json_t *pool, const json_t *record,
                       struct poolplan *plan)
{
    json_t *parts = parts_of(setup), *template = NULL, *wanted_record = NULL;
    int r = make_token(parts, plan->count.token);

    if (r == 0)
        r = templatemerge(template_of(pool),
                          str_equal(templatemerge_profile(record), setup->profile->name) ? record
                                                                                         : NULL,
                          parts, setup->profile->name, &template, &wanted_record);
    if (r == 0)
        r = keep_named(setup, pool, record, template, wanted_record, plan);
    json_decref(parts);
    json_decref(template);
    json_decref(wanted_record);
    return r;
}

static int plan_named(const struct poolplan_setup *setup, struct poolplan *plan)
{
    const json_t *pool = owned_find(setup->view->pools, setup->profile->node_pool);
    json_t *record = templatemerge_record(pool);
    const char *other = !pool                       ? NULL
                        : owned_is_ours(pool, NULL) ? owned_label(pool, SLICEPROFILE_LABEL)
                                                    : other_owner(setup, record);
    int r = 0;

    if (!pool) {
        plan->state = POOLPLAN_MISSING;
    } else if (other) {
        plan->state = POOLPLAN_TAKEN;
        snprintf(plan->owner, sizeof(plan->owner), "%s", other);
    } else {
        r = merge_named(setup, pool, record, plan);
    }
    json_decref(record);
    return r;
}

int poolplan_make(const struct poolplan_setup *setup, struct poolplan *ret_plan)
{
    struct poolplan plan = {.state = POOLPLAN_KEPT, .change = CHANGE_INIT};
    int r = *setup->profile->node_pool ? plan_named(setup, &plan) : plan_own(setup, &plan);

    if (plan.count.writes == 0 && str_equal(plan.count.token, setup->counted.token))
        plan.count.writes = setup->counted.writes;
    if (r < 0)
        change_deinit(&plan.change);
    else
        *ret_plan = plan;
    return r;
}

/* -- what is left ------------------------------------------------------------------------------ */

static json_t *retire(const json_t *pool)
{
    const json_t *limits = json_object_get(json_object_get(pool, "spec"), "limits");
    json_t *operations = json_array();
    int r = jsonpatch_annotation(operations, pool, POOLPLAN_RETIRED, "true");

    if (r == 0 && !limits)
        r = jsonpatch_change(operations, "/spec/limits", NULL, json_pack("{s:s}", NO_NODES, "0"));
    else if (r == 0)
        r = jsonpatch_change(operations, "/spec/limits/" NO_NODES,
                             json_object_get(limits, NO_NODES), json_string("0"));
    if (r == 0)
        return operations;
    json_decref(operations);
    return NULL;
}

/* Only a pool that can start no node can be found without one, and then be deleted. */
static int leave_own(const struct planview *view, const json_t *pool, struct poolplan_left *left)
{
    const char *name = kube_name(pool);

    left->is_ours = true;
    left->n_nodes = fleet_count(view->fleet, name, NULL, NULL);
    if (!*owned_annotation(pool, POOLPLAN_RETIRED))
        return change_patch(&left->change, CHANGE_POOLS, name, retire(pool));
    if (left->n_nodes == 0 && !view->fleet->failed)
        change_delete(&left->change, CHANGE_POOLS, pool);
    return 0;
}

static int leave_named(const struct planview *view, const json_t *pool, const json_t *record,
                       const char *name, struct poolplan_left *left)
{
    json_t *template = NULL, *none = NULL;
    char token[sizeof(POOLPLAN_WITHDRAW) + SLICEPROFILE_NAME];
    int r;

    left->is_ours = false;
    left->n_nodes = fleet_count(view->fleet, kube_name(pool), NULL, NULL);
    snprintf(token, sizeof(token), POOLPLAN_WITHDRAW "%s", name);
    r = templatemerge(template_of(pool), record, NULL, name, &template, &none);
    if (r == 0 && (is_consented(view, pool, token) || json_equal(template, template_of(pool))))
        r = patch_pool(&left->change, pool, template, NULL, true);
    json_decref(template);
    json_decref(none);
    return r;
}

static int leave(const struct planview *view, const char *name, const struct sliceprofile *profile,
                 const json_t *pool, struct poolplan_left *left)
{
    json_t *record = templatemerge_record(pool);
    bool has_own = profile && !*profile->node_pool,
         has_it = profile && str_equal(profile->node_pool, kube_name(pool));
    int r = 0;

    if (owned_is_ours(pool, name) && !has_own)
        r = leave_own(view, pool, left);
    else if (str_equal(templatemerge_profile(record), name) && !has_it)
        r = leave_named(view, pool, record, name, left);
    else
        left = NULL;
    if (left)
        snprintf(left->pool, sizeof(left->pool), "%s", kube_name(pool));
    json_decref(record);
    return r;
}

int poolplan_leave(const struct planview *view, const char *name,
                   const struct sliceprofile *profile, struct poolplan_left *ret_left)
{
    struct poolplan_left left = {.pool = "", .change = CHANGE_INIT};
    int r = 0;

    for (size_t i = 0; i < json_array_size(view->pools) && r == 0; i++) {
        struct poolplan_left one = {.pool = "", .change = CHANGE_INIT};

        r = leave(view, name, profile, json_array_get(view->pools, i), &one);
        /* One that can be left now comes before one that waits. */
        if (*one.pool && (!*left.pool || left.change.verb == CHANGE_NOTHING)) {
            change_deinit(&left.change);
            left = one;
        } else {
            change_deinit(&one.change);
        }
    }
    if (r < 0)
        change_deinit(&left.change);
    else
        *ret_left = left;
    return r;
}
