// SPDX-License-Identifier: Apache-2.0
#include "controller/profileplan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "controller/overlayplan.h"
#include "controller/owned.h"
#include "karpenter/nodeclass.h"
#include "karpenter/overlaycheck.h"
#include "kube/field.h"

/* What is known of one profile while it is planned. */
struct planner {
    const struct profileplan_setup *setup;
    struct sliceprofiles profiles; /* one, or none where it is invalid */
    struct promises promises;
    struct problems problems; /* warnings, and what refuses it */
    struct overlayplan overlays;
    struct poolplan pool;
    struct profileplan *plan;
    bool is_decided; /* `plan` has its reason */
};

static const struct sliceprofile *profile_of(const struct planner *p)
{
    return &p->profiles.items[0];
}

static const char *pool_of(const struct planner *p)
{
    return *profile_of(p)->node_pool ? profile_of(p)->node_pool : profile_of(p)->name;
}

/* The first reason is the one that is reported. */
static void decide(struct planner *p, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void decide(struct planner *p, const char *reason, const char *format, ...)
{
    va_list arguments;
    int n;

    if (p->is_decided)
        return;
    p->is_decided = true;
    p->plan->ready = "False";
    snprintf(p->plan->reason, sizeof(p->plan->reason), "%s", reason);
    va_start(arguments, format);
    n = vsnprintf(p->plan->message, sizeof(p->plan->message), format, arguments);
    va_end(arguments);
    if (n >= (int)sizeof(p->plan->message))
        str_mark_cut(p->plan->message, sizeof(p->plan->message));
}

static void decide_by_problems(struct planner *p, const char *reason)
{
    char text[PROFILEPLAN_MESSAGE];

    problems_describe(&p->problems, text, sizeof(text));
    decide(p, reason, "%s", text);
}

/* -- the profile by itself --------------------------------------------------------------------- */

/* Without the status: that is ours, and no part of what is parsed. */
static char *text_of(const json_t *object)
{
    json_t *metadata = json_pack("{s:s}", "name", kube_name(object));
    json_t *bare =
        json_pack("{s:s, s:s, s:o, s:O?}", "apiVersion", SLICEPROFILE_API_VERSION, "kind",
                  SLICEPROFILE_KIND, "metadata", metadata, "spec", json_object_get(object, "spec"));
    char *text = bare ? json_dumps(bare, JSON_COMPACT) : NULL;

    json_decref(bare);
    return text;
}

static int read_profile(struct planner *p)
{
    cleanup_free char *text = text_of(p->setup->object);
    int r = text ? sliceprofiles_parse(text, strlen(text), &p->problems, &p->profiles) : -ENOMEM;

    if (r != -EBADMSG)
        return r;
    decide_by_problems(p, "Invalid");
    sliceprofiles_deinit(&p->profiles);
    return 0;
}

static int promise(struct planner *p)
{
    int r;

    if (!p->profiles.n_items)
        return 0;
    if (profile_of(p)->mode == SLICEPROFILE_MPS) {
        decide(p, "NotServed",
               "no agent serves MPS yet, so that no node would ever have these slices; use "
               "timeSlicing");
        return 0;
    }
    r = promises_make(profile_of(p), p->setup->view->catalog, NULL, &p->problems, &p->promises);
    if (r != -EBADMSG)
        return r;
    decide_by_problems(p, "Impossible");
    return 0;
}

/* -- its objects ------------------------------------------------------------------------------- */

static void decide_by_pool(struct planner *p)
{
    const char *pool = pool_of(p);
    const struct poolplan *plan = &p->pool;

    switch (plan->state) {
    case POOLPLAN_TAKEN:
        if (*plan->owner)
            decide(p, "PoolTaken", "the NodePool %s belongs to the profile %s already", pool,
                   plan->owner);
        else
            decide(p, "PoolTaken",
                   "there is a NodePool %s that gpuslice did not make; write nodePool: %s to have "
                   "that one, or give the profile another name",
                   pool, pool);
        return;
    case POOLPLAN_MISSING:
        decide(p, "PoolMissing", "there is no NodePool %s; make one, or write nodePool: create",
               pool);
        return;
    case POOLPLAN_UNFIT:
        decide_by_problems(p, "PoolUnfit");
        return;
    case POOLPLAN_CONSENT_MISSING:
        decide(p, "ConsentMissing",
               "writing the profile to the NodePool %s makes Karpenter replace its %zu nodes; to "
               "have that, kubectl annotate --overwrite nodepool %s " POOLPLAN_CONSENT "=%s",
               pool, plan->n_rolls, pool, plan->count.token);
        return;
    case POOLPLAN_REVERTED:
        decide(p, "Reverted",
               "somebody undid what the profile needs in the NodePool %s %d times, and it is not "
               "written again; stop them, and then change the profile",
               pool, POOLPLAN_WRITES_MAX);
        return;
    case POOLPLAN_KEPT:
    case POOLPLAN_CHANGES:
    case POOLPLAN_COUNTS:
        return;
    }
}

/* A write that fails is reported before one that is only under way. */
static void decide_by_changes(struct planner *p)
{
    if (p->setup->failure && *p->setup->failure)
        decide(p, "WriteFailed", "%s", p->setup->failure);
    if (p->overlays.state == OVERLAYPLAN_TAKEN)
        decide(p, "OverlayTaken",
               "there is a NodeOverlay %s that gpuslice did not make, and that says something "
               "else; remove it",
               p->overlays.name);
    if (p->overlays.state == OVERLAYPLAN_CHANGES || p->pool.state == POOLPLAN_CHANGES ||
        p->pool.state == POOLPLAN_COUNTS)
        decide(p, "Writing", "NodeOverlays and the NodePool are being written");
}

/* What others' overlays do to ours. */
static int decide_by_others(struct planner *p)
{
    size_t before = problems_count(&p->problems, PROBLEM_ERROR);
    int r = overlaycheck_compare(profile_of(p), &p->promises, p->overlays.all, &p->problems);

    if (r == 0 && problems_count(&p->problems, PROBLEM_ERROR) > before)
        decide_by_problems(p, "Outweighed");
    return r;
}

/* What Karpenter believes of the pool's GPUs beside our overlays. */
static void decide_by_class(struct planner *p)
{
    const struct planview *view = p->setup->view;
    const char *name = nodeclass_of(owned_find(view->pools, pool_of(p)));
    const char *shares = nodeclass_dra_shares(owned_find(view->classes, name));

    if (!*shares)
        return;
    nodeclass_add_problem(name, shares, pool_of(p), p->setup->name, &p->problems);
    decide_by_problems(p, "PromisedTwice");
}

static void decide_by_karpenter(struct planner *p)
{
    const json_t *pool = owned_find(p->setup->view->pools, pool_of(p));
    const json_t *ready = kube_condition(pool, "Ready");
    const char *message = json_string_value(json_object_get(ready, "message"));

    switch (p->overlays.state) {
    case OVERLAYPLAN_REJECTED:
        decide(p, "OverlayRejected", "Karpenter rejects the NodeOverlay %s: %s", p->overlays.name,
               p->overlays.message && *p->overlays.message ? p->overlays.message
                                                           : "it does not say why");
        break;
    case OVERLAYPLAN_SILENT:
        decide(p, "OverlaysNotServed",
               "Karpenter does not look at NodeOverlays: it does not run, or its feature gate is "
               "off; set settings.featureGates.nodeOverlay=true in its chart");
        break;
    case OVERLAYPLAN_WAITS:
        p->plan->is_waiting = true;
        decide(p, "Waiting", "Karpenter has not evaluated the NodeOverlay %s yet",
               p->overlays.name);
        break;
    case OVERLAYPLAN_HEEDED:
    case OVERLAYPLAN_CHANGES:
    case OVERLAYPLAN_TAKEN:
        break;
    }
    if (kube_says(ready, "status", "False"))
        decide(p, "PoolNotReady", "Karpenter says of the NodePool %s: %s", pool_of(p),
               message && *message ? message : "it is not ready");
}

/* New overlays come before nodes could need them, and old ones go last. */
static void choose_change(struct planner *p)
{
    struct change *first = &p->overlays.change, *second = &p->pool.change;

    if (first->verb == CHANGE_NOTHING || (first->verb == CHANGE_DELETE && second->verb)) {
        struct change *other = first;

        first = second;
        second = other;
    }
    change_deinit(second);
    p->plan->change = *first;
    *first = (struct change)CHANGE_INIT;
}

static int plan_objects(struct planner *p)
{
    const struct profileplan_setup *setup = p->setup;
    struct poolplan_setup pool = {.view = setup->view,
                                  .profile = profile_of(p),
                                  .promises = &p->promises,
                                  .problems = &p->problems};
    int64_t generation = kube_generation(setup->object);
    int r;

    profileplan_counted(setup->object, &pool.counted);
    if (profileplan_generation(setup->object) != generation)
        pool.counted.writes = 0;
    if (str_equal(setup->sent.token, pool.counted.token) && setup->sent_generation == generation)
        pool.n_sent = setup->sent.writes;
    r = poolplan_make(&pool, &p->pool);
    if (r < 0)
        return r;
    decide_by_pool(p);
    /* A pool that cannot be had has no use for overlays. */
    if (p->pool.state == POOLPLAN_TAKEN || p->pool.state == POOLPLAN_UNFIT)
        return 0;
    r = overlayplan_make(setup->view, profile_of(p), &p->promises, &p->overlays);
    if (r < 0)
        return r;
    decide_by_changes(p);
    r = decide_by_others(p);
    decide_by_class(p);
    decide_by_karpenter(p);
    choose_change(p);
    return r;
}

/* What it has in pools that it had before. */
static int plan_left(struct planner *p)
{
    struct profileplan *plan = p->plan;
    int r = poolplan_leave(p->setup->view, p->setup->name,
                           p->profiles.n_items ? profile_of(p) : NULL, &plan->left);

    if (r == 0 && plan->change.verb == CHANGE_NOTHING)
        plan->change = plan->left.change;
    else
        change_deinit(&plan->left.change);
    plan->left.change = (struct change)CHANGE_INIT;
    return r;
}

/* -- the status -------------------------------------------------------------------------------- */

static json_t *condition(const char *type, const char *status, const char *reason,
                         const char *message, json_int_t generation)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I}", "type", type, "status", status, "reason", reason,
                     "message", message, "observedGeneration", generation);
}

/* The warnings that are no reason to refuse it. */
static void add_warnings(const struct planner *p, struct text *text)
{
    char line[PROFILEPLAN_MESSAGE];

    for (const struct problem *one = problems_next(&p->problems, NULL); one;
         one = problems_next(&p->problems, one))
        if (one->severity == PROBLEM_WARNING) {
            problem_format(&p->problems, one, line, sizeof(line));
            text_addf(text, "%s%s", text->length ? "; " : "", line);
        }
}

static json_t *conditions(const struct planner *p, json_int_t generation)
{
    const struct profileplan *plan = p->plan;
    cleanup_text struct text warnings = TEXT_INIT;
    json_t *list = json_array();

    add_warnings(p, &warnings);
    json_array_append_new(list,
                          condition("Ready", plan->ready, plan->reason, plan->message, generation));
    json_array_append_new(
        list, warnings.length
                  ? condition("Warned", "True", "Hygiene", text_string(&warnings), generation)
                  : condition("Warned", "False", "Hygiene", "", generation));
    return list;
}

static int make_status(struct planner *p)
{
    struct profileplan *plan = p->plan;
    const json_t *object = p->setup->object;
    json_int_t generation = kube_generation(object);
    bool is_planned = p->overlays.all != NULL;
    char hash[SLICEPROFILE_HASH] = "";

    if (p->profiles.n_items)
        sliceprofile_hash(profile_of(p), hash);
    plan->n_nodes = fleet_count(p->setup->view->fleet, NULL, p->setup->name, NULL);
    plan->n_rolls = p->pool.n_rolls;
    plan->n_overlays = p->overlays.n_overlays;
    plan->status =
        json_pack("{s:I, s:s, s:s, s:I, s:I, s:I, s:s, s:i, s:o}", "observedGeneration", generation,
                  "profileHash", hash, "nodePool", p->profiles.n_items ? pool_of(p) : "", "nodes",
                  (json_int_t)plan->n_nodes, "nodesToReplace", (json_int_t)plan->n_rolls,
                  "nodeOverlays", (json_int_t)plan->n_overlays, "consent", p->pool.count.token,
                  "poolWrites", (int)p->pool.count.writes, "conditions", conditions(p, generation));
    /* What cannot be planned now is not forgotten. */
    if (plan->status && !is_planned && !*p->pool.count.token) {
        struct poolplan_count counted;

        profileplan_counted(object, &counted);
        json_object_set_new(plan->status, "consent", json_string(counted.token));
        json_object_set_new(plan->status, "poolWrites", json_integer(counted.writes));
    }
    return plan->status ? 0 : -ENOMEM;
}

/* -- all of it --------------------------------------------------------------------------------- */

static int plan_profile(struct planner *p)
{
    const struct profileplan_trouble *trouble = &p->setup->trouble;
    int r = read_profile(p);

    if (r == 0)
        r = promise(p);
    if (r == 0 && trouble->message && *trouble->message)
        decide(p, trouble->reason, "%s", trouble->message);
    if (r == 0 && !p->is_decided)
        r = plan_objects(p);
    if (r == 0 && p->promises.n_items && !(trouble->message && *trouble->message))
        r = plan_left(p);
    if (r == 0 && !p->is_decided) {
        p->plan->ready = "True";
        snprintf(p->plan->reason, sizeof(p->plan->reason), "Kept");
        snprintf(p->plan->message, sizeof(p->plan->message),
                 "Karpenter starts nodes with these slices, in the NodePool %s", pool_of(p));
    }
    return r == 0 ? make_status(p) : r;
}

/* Nothing of it is left, or only what waits for its nodes. */
static int plan_gone(struct planner *p)
{
    const struct profileplan_trouble *trouble = &p->setup->trouble;

    if (trouble->message && *trouble->message && !trouble->has_pools)
        return 0;
    p->plan->n_overlays = overlayplan_leave(p->setup->view, p->setup->name, &p->plan->change);
    return plan_left(p);
}

int profileplan_make(const struct profileplan_setup *setup, struct profileplan *ret_plan)
{
    struct profileplan plan = {.ready = "", .change = CHANGE_INIT};
    struct planner p = {.setup = setup, .plan = &plan, .problems = PROBLEMS_INIT};
    int r = setup->object && !setup->view->is_leaving ? plan_profile(&p) : plan_gone(&p);

    sliceprofiles_deinit(&p.profiles);
    promises_deinit(&p.promises);
    problems_deinit(&p.problems);
    overlayplan_deinit(&p.overlays);
    change_deinit(&p.pool.change);
    if (r < 0)
        profileplan_deinit(&plan);
    else
        *ret_plan = plan;
    return r;
}

void profileplan_deinit(struct profileplan *plan)
{
    change_deinit(&plan->change);
    change_deinit(&plan->left.change);
    json_decref(plan->status);
    plan->status = NULL;
}

/* -- reading and comparing a status ------------------------------------------------------------ */

static const json_t *status_of(const json_t *object)
{
    return json_object_get(object, "status");
}

void profileplan_counted(const json_t *object, struct poolplan_count *ret_count)
{
    const char *token = json_string_value(json_object_get(status_of(object), "consent"));
    json_int_t writes = json_integer_value(json_object_get(status_of(object), "poolWrites"));

    *ret_count = (struct poolplan_count){.writes = writes > 0 ? (unsigned)writes : 0};
    if (token)
        (void)str_copy(ret_count->token, sizeof(ret_count->token), token);
}

int64_t profileplan_generation(const json_t *object)
{
    return json_integer_value(json_object_get(status_of(object), "observedGeneration"));
}

/* Kubernetes' rule: the time is that of the last change of `status`. */
static void set_time(json_t *one, const json_t *before, const char *now)
{
    const char *type = json_string_value(json_object_get(one, "type"));
    const json_t *wrapped = json_pack("{s:O?}", "status", before);
    const json_t *was = kube_condition(wrapped, type);
    const json_t *time = json_object_get(was, "lastTransitionTime");

    if (json_is_string(time) &&
        json_equal(json_object_get(was, "status"), json_object_get(one, "status")))
        json_object_set(one, "lastTransitionTime", (json_t *)time);
    else
        json_object_set_new(one, "lastTransitionTime", json_string(now));
    json_decref((json_t *)wrapped);
}

json_t *profileplan_timed(const json_t *status, const json_t *before, const char *now)
{
    json_t *timed = json_deep_copy(status);
    json_t *all = json_object_get(timed, "conditions");

    for (size_t i = 0; i < json_array_size(all); i++)
        set_time(json_array_get(all, i), before, now);
    return timed;
}
