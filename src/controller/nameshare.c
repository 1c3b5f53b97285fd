// SPDX-License-Identifier: Apache-2.0
#include "controller/nameshare.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "controller/namenode.h"
#include "controller/nodefit.h"
#include "controller/podneed.h"
#include "kube/field.h"

struct place {
    const json_t *node;
    struct namedemand pool;
    unsigned left;  /* free slices that no pod counts for yet */
    bool is_told;   /* so far */
    json_t *wanted; /* {resource: count}; NULL = nothing */
};

struct plan {
    const struct nameshare *share;
    struct place *places;
    size_t n_places;
    json_t *turns;    /* ret_places */
    json_t *hopeless; /* pods that no Node has room for: those like them need not be tried */
};

enum { NOWHERE = -1 };

/* -- Nodes ------------------------------------------------------------------------------------- */

static bool has_name(const struct namedemand *pool, const char *name)
{
    for (size_t i = 0; i < pool->n_items; i++)
        if (str_equal(pool->items[i].name, name))
            return true;
    return false;
}

/* Both names have the same number. */
static unsigned free_of(const struct namedemand *pool)
{
    unsigned most = 0;

    for (size_t i = 0; i < pool->n_items; i++)
        if (pool->items[i].count > most)
            most = pool->items[i].count;
    return most;
}

static void add_places(struct plan *plan)
{
    for (size_t i = 0; i < plan->share->n_nodes; i++) {
        const json_t *node = plan->share->nodes[i];
        struct place place = {.node = node, .is_told = namenode_demand(node)};

        if (!namenode_is_ready(node) || !namenode_pool(node, &place.pool))
            continue;
        place.left = free_of(&place.pool);
        if (place.left)
            plan->places[plan->n_places++] = place;
    }
}

/* Slices that the pod needs of the pool; 0 = it cannot run there, or needs none of it. */
static json_int_t needs(const struct place *place, const json_t *pod)
{
    json_t *requests = podneed_requests(pod), *count;
    json_int_t sum = 0;
    const char *name;

    json_object_foreach(requests, name, count)
    {
        if (has_name(&place->pool, name))
            sum += json_integer_value(count);
        else if (namenode_capacity(place->node, name) < json_integer_value(count))
            return 0;
    }
    return sum;
}

static bool has_room(const struct place *place, const json_t *pod)
{
    const json_int_t needed = place->left ? needs(place, pod) : 0;

    return needed > 0 && needed <= (json_int_t)place->left &&
           nodefit_may_run(pod, place->node, NODEFIT_NOW);
}

/* From that one on, and around. */
static ssize_t find_room(const struct plan *plan, const json_t *pod, size_t from, bool told_only)
{
    for (size_t n = 0; n < plan->n_places; n++) {
        const size_t i = (from + n) % plan->n_places;

        if ((!told_only || plan->places[i].is_told) && has_room(&plan->places[i], pod))
            return (ssize_t)i;
    }
    return NOWHERE;
}

static ssize_t find_node(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_places; i++)
        if (str_equal(kube_name(plan->places[i].node), name))
            return (ssize_t)i;
    return NOWHERE;
}

/* -- one pod ----------------------------------------------------------------------------------- */

struct turn {
    const char *node; /* "" = it had none yet */
    int64_t since;
    json_int_t turns; /* that ended in vain */
};

static struct turn last_turn(const struct plan *plan, const json_t *pod)
{
    const json_t *last = json_object_get(plan->share->places, podneed_uid(pod));

    return (struct turn){kube_text(last, "node"),
                         json_integer_value(json_object_get(last, "since")),
                         json_integer_value(json_object_get(last, "turns"))};
}

static bool is_over(const struct turn *turn, int64_t now)
{
    const json_int_t n = turn->turns < NAMESHARE_TURNS_MAX ? turn->turns : NAMESHARE_TURNS_MAX;

    return now - turn->since >= (int64_t)NAMESHARE_PATIENCE_S << n;
}

/* A Node that devices were moved on for it already comes first. */
static ssize_t first_room(const struct plan *plan, const json_t *pod)
{
    const ssize_t told = find_room(plan, pod, 0, true);

    return told == NOWHERE ? find_room(plan, pod, 0, false) : told;
}

/* The Node of which the pod counts, and its turn there. */
static ssize_t choose(const struct plan *plan, const json_t *pod, struct turn *turn)
{
    const ssize_t last = *turn->node ? find_node(plan, turn->node) : NOWHERE;
    const bool stays = last != NOWHERE && has_room(&plan->places[last], pod);
    ssize_t next;

    if (stays && !is_over(turn, plan->share->now))
        return last;
    next = last == NOWHERE ? first_room(plan, pod) : find_room(plan, pod, (size_t)last + 1, false);
    if (stays && next != NOWHERE)
        turn->turns++;
    turn->since = plan->share->now;
    return next;
}

static void count(struct place *place, const json_t *pod)
{
    json_t *requests = podneed_requests(pod), *number;
    const char *name;

    if (!place->wanted)
        place->wanted = json_object();
    json_object_foreach(requests, name, number)
    {
        const json_int_t before = json_integer_value(json_object_get(place->wanted, name));

        if (has_name(&place->pool, name))
            json_object_set_new(place->wanted, name,
                                json_integer(before + json_integer_value(number)));
    }
    place->left -= (unsigned)needs(place, pod);
}

static bool is_hopeless(const struct plan *plan, const json_t *pod)
{
    for (size_t i = 0; i < json_array_size(plan->hopeless); i++) {
        const json_t *other = json_array_get(plan->hopeless, i);

        if (json_equal(podneed_requests(other), podneed_requests(pod)) &&
            json_equal(json_object_get(other, "spec"), json_object_get(pod, "spec")))
            return true;
    }
    return false;
}

static int place_pod(struct plan *plan, const json_t *pod)
{
    struct turn turn = last_turn(plan, pod);
    ssize_t at;

    if (is_hopeless(plan, pod))
        return 0;
    at = choose(plan, pod, &turn);
    if (at == NOWHERE)
        return json_array_append(plan->hopeless, (json_t *)(uintptr_t)pod) < 0 ? -ENOMEM : 0;
    count(&plan->places[at], pod);
    return json_object_set_new(plan->turns, podneed_uid(pod),
                               json_pack("{s:s,s:I,s:I}", "node", kube_name(plan->places[at].node),
                                         "since", (json_int_t)turn.since, "turns", turn.turns)) < 0
               ? -ENOMEM
               : 0;
}

/* -- the plan ---------------------------------------------------------------------------------- */

static int by_age(const void *a, const void *b)
{
    const json_t *const *one = a, *const *other = b;
    const int64_t x = podneed_since(*one), y = podneed_since(*other);

    return x != y ? (x < y ? -1 : 1) : strcmp(podneed_uid(*one), podneed_uid(*other));
}

/* In the order of the pool, so that the same demand is the same text. */
static int write_wanted(const struct place *place, json_t *wanted)
{
    cleanup_text struct text text = TEXT_INIT;

    for (size_t i = 0; i < place->pool.n_items; i++) {
        const char *name = place->pool.items[i].name;
        const json_t *count = json_object_get(place->wanted, name);

        if (count)
            text_addf(&text, "%s%s=%lld", text.length ? "," : "", name,
                      (long long)json_integer_value(count));
    }
    if (!text.length)
        return place->wanted ? -ENOMEM : 0;
    return json_object_set_new(wanted, kube_name(place->node), json_string(text_string(&text))) < 0
               ? -ENOMEM
               : 0;
}

static int make(struct plan *plan, json_t *wanted)
{
    const struct nameshare *share = plan->share;
    int r = 0;

    if (share->n_pods)
        qsort(share->pods, share->n_pods, sizeof(const json_t *), by_age);
    for (size_t i = 0; r == 0 && i < share->n_pods && i < NAMESHARE_PODS_MAX; i++)
        r = place_pod(plan, share->pods[i]);
    for (size_t i = 0; i < plan->n_places; i++) {
        if (r == 0)
            r = write_wanted(&plan->places[i], wanted);
        json_decref(plan->places[i].wanted);
    }
    return r;
}

int nameshare_plan(const struct nameshare *share, json_t **ret_wanted, json_t **ret_places)
{
    cleanup_free struct place *places = calloc(share->n_nodes + 1, sizeof(*places));
    struct plan plan = {
        .share = share, .places = places, .turns = json_object(), .hopeless = json_array()};
    json_t *wanted = json_object();
    int r = -ENOMEM;

    if (places && plan.turns && plan.hopeless && wanted) {
        add_places(&plan);
        r = make(&plan, wanted);
    }
    json_decref(plan.hopeless);
    if (r < 0) {
        json_decref(plan.turns);
        json_decref(wanted);
        return r;
    }
    *ret_wanted = wanted;
    *ret_places = plan.turns;
    return 0;
}
