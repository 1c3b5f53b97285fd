// SPDX-License-Identifier: Apache-2.0
#include "node/mignames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "slice/namedemand.h"

struct mignames {
    struct mignames_setup setup;
    uv_timer_t timer;          /* the next change that is due */
    uint64_t *left_ms;         /* of each device of the offer: when it left its last name; 0 = it
                                  had none */
    bool is_known;             /* what pods hold */
    uint64_t unknown_since_ms; /* while it is not */
    char *value;               /* of the annotation; NULL = none */
    struct namedemand demand;
    uint64_t demand_ms; /* when it changed; 0 = never */
    bool has_warned;    /* of the missing grant log */
};

/* --- the devices of the pool --- */

static bool has_pool(const struct offer *offer)
{
    for (size_t i = 0; offer && i < offer->plan->n_devices; i++)
        if (*offer->plan->devices[i].second)
            return true;
    return false;
}

static const char *resource_name(const struct offer *offer, size_t device, enum namepool_name name)
{
    return plan_resource_of(offer->plan, &offer->plan->devices[device], name == NAMEPOOL_SECOND)
        ->name;
}

static bool is_held_as(const struct facts *facts, size_t device, enum namepool_name name)
{
    return grants_hold_as(facts->grants, facts->offer->plan->devices[device].device.uuid,
                          resource_name(facts->offer, device, name));
}

static enum namepool_name holder_of(const struct facts *facts, size_t device)
{
    const bool first = is_held_as(facts, device, NAMEPOOL_FIRST);
    const bool second = is_held_as(facts, device, NAMEPOOL_SECOND);

    if (first && second) /* a log that was lost, and pods from before: it is given to no third */
        return facts->offer->names[device] == NAMEPOOL_SECOND ? NAMEPOOL_SECOND : NAMEPOOL_FIRST;
    return first ? NAMEPOOL_FIRST : second ? NAMEPOOL_SECOND : NAMEPOOL_NEITHER;
}

/* Of those without a second name only that they are not usable. */
static struct namepool_device look_at(const struct facts *facts, size_t i)
{
    const struct offer *offer = facts->offer;
    const struct plan_device *on = &offer->plan->devices[i];

    if (!*on->second)
        return (struct namepool_device){offer->names[i], NAMEPOOL_NEITHER, false};
    return (struct namepool_device){offer->names[i], holder_of(facts, i),
                                    offer->device_healthy[i] && !on->device.is_withheld};
}

/* Pods request slices; a device that is shared has several. */
static size_t count_wanted(const struct mignames *names, size_t device, enum namepool_name name)
{
    const struct offer *offer = names->setup.facts->offer;
    const size_t n_slices = offer->plan->devices[device].n_slices;

    return (namedemand_count(&names->demand, resource_name(offer, device, name)) + n_slices - 1) /
           n_slices;
}

static bool rests(const struct mignames *names, uint64_t now_ms)
{
    return names->demand_ms && now_ms - names->demand_ms < MIGNAMES_REST_MS;
}

static struct namepool_rule make_rule(const struct mignames *names, uint64_t now_ms)
{
    const struct offer *offer = names->setup.facts->offer;
    struct namepool_rule rule = {.split_permille = offer->config->policy.mig_split_permille,
                                 .keeps = rests(names, now_ms)};
    size_t i = 0;

    while (!*offer->plan->devices[i].second)
        i++;
    for (int name = 0; name < 2; name++)
        rule.n_wanted[name] = count_wanted(names, i, (enum namepool_name)name);
    return rule;
}

/* --- one step of each device --- */

static void on_due(uv_timer_t *timer)
{
    mignames_touch(timer->data);
}

static void wait_until(struct mignames *names, uint64_t due_ms, uint64_t now_ms)
{
    if (due_ms == UINT64_MAX)
        uv_timer_stop(&names->timer);
    else
        uv_timer_start(&names->timer, on_due, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* The name that a device has next, on its way to the wanted one. */
static enum namepool_name next_name(const struct mignames *names, size_t i,
                                    const struct namepool_device *device, enum namepool_name wanted,
                                    uint64_t now_ms)
{
    const bool has_settled = !names->left_ms[i] || now_ms - names->left_ms[i] >= MIGNAMES_SETTLE_MS;

    if (wanted == device->now || wanted == device->held)
        return wanted; /* at once: nobody else gets it */
    if (!names->is_known)
        return device->now;
    return device->now == NAMEPOOL_NEITHER && has_settled ? wanted : NAMEPOOL_NEITHER;
}

static void log_moves(const struct offer *offer, size_t device, const size_t n_moves[2])
{
    for (int to = 0; to < 2; to++)
        if (n_moves[to])
            log_info("MIG devices change their name", "from",
                     resource_name(offer, device, (enum namepool_name) !to), "to",
                     resource_name(offer, device, (enum namepool_name)to), "devices",
                     log_number(n_moves[to]));
}

/* Marks the devices of which something else is announced. Returns when to look again. */
static uint64_t take_steps(struct mignames *names, const struct namepool_device *devices,
                           const enum namepool_name *wanted, uint64_t now_ms, bool *changed)
{
    struct offer *offer = names->setup.facts->offer;
    size_t n_moves[3] = {0, 0, 0}, last = 0; /* by enum namepool_name */
    uint64_t due_ms = UINT64_MAX;

    for (size_t i = 0; i < offer->plan->n_devices; i++) {
        const enum namepool_name now = devices[i].now;
        const enum namepool_name next = next_name(names, i, &devices[i], wanted[i], now_ms);

        changed[i] = now != next;
        offer->names[i] = next;
        if (changed[i] && next == NAMEPOOL_NEITHER) {
            names->left_ms[i] = now_ms;
            n_moves[wanted[i]]++;
            last = i;
        }
        if (next != wanted[i] && names->is_known && names->left_ms[i] + MIGNAMES_SETTLE_MS < due_ms)
            due_ms = names->left_ms[i] + MIGNAMES_SETTLE_MS;
    }
    log_moves(offer, last, n_moves);
    return due_ms;
}

static void step_all(struct mignames *names, struct namepool_device *devices,
                     enum namepool_name *wanted, bool *changed)
{
    const struct offer *offer = names->setup.facts->offer;
    const size_t n = offer->plan->n_devices;
    const uint64_t now_ms = clock_now_ms();
    const struct namepool_rule rule = make_rule(names, now_ms);
    uint64_t rested_ms = rule.keeps ? names->demand_ms + MIGNAMES_REST_MS : UINT64_MAX, due_ms;
    bool any = false;

    for (size_t i = 0; i < n; i++)
        devices[i] = look_at(names->setup.facts, i);
    namepool_divide(devices, n, &rule, wanted);
    due_ms = take_steps(names, devices, wanted, now_ms, changed);
    for (size_t i = 0; i < n; i++)
        any |= changed[i];
    wait_until(names, due_ms < rested_ms ? due_ms : rested_ms, now_ms);
    if (any)
        names->setup.on_changed(changed, names->setup.userdata);
}

/* --- what pods hold --- */

static bool are_served(const struct mignames *names)
{
    const struct facts *facts = names->setup.facts;

    for (size_t i = 0; i < facts->offer->plan->n_devices; i++)
        if (*facts->offer->plan->devices[i].second)
            for (int name = 0; name < 2; name++)
                if (!serviceset_serves_resource(
                        facts->services, resource_name(facts->offer, i, (enum namepool_name)name)))
                    return false;
    return true;
}

/* A kubelet that does not tell what pods hold may be one that cannot. */
static void lose_patience(struct mignames *names)
{
    if (names->is_known || clock_now_ms() - names->unknown_since_ms < MIGNAMES_PATIENCE_MS)
        return;
    names->is_known = true;
    log_warning("the kubelet does not tell what pods hold; free MIG devices get their names by the "
                "grant log alone");
}

void mignames_touch(struct mignames *names)
{
    const struct facts *facts = names ? names->setup.facts : NULL;
    const size_t n = facts && facts->offer ? facts->offer->plan->n_devices : 0;
    cleanup_free struct namepool_device *devices = calloc(n + 1, sizeof(*devices));
    cleanup_free enum namepool_name *wanted = calloc(n + 1, sizeof(*wanted));
    cleanup_free bool *changed = calloc(n + 1, sizeof(*changed));

    if (!devices || !wanted || !changed || !n || !has_pool(facts->offer) || !names->left_ms)
        return;
    lose_patience(names);
    step_all(names, devices, wanted, changed);
    if (!names->is_known && !uv_is_active((uv_handle_t *)&names->timer))
        wait_until(names, names->unknown_since_ms + MIGNAMES_PATIENCE_MS, clock_now_ms());
}

void mignames_seen(struct mignames *names)
{
    const struct facts *facts = names ? names->setup.facts : NULL;

    if (!facts || !has_pool(facts->offer))
        return;
    names->is_known |= are_served(names);
    mignames_touch(names);
}

/* --- another offer --- */

static bool find_before(const struct offer *before, const struct device *device, size_t *ret_place)
{
    for (size_t i = 0; before && i < before->plan->n_devices; i++) {
        const struct device *other = &before->plan->devices[i].device;

        if (!str_equal(other->uuid, device->uuid) || !str_equal(other->profile, device->profile) ||
            *before->plan->devices[i].left_out)
            continue;
        *ret_place = i;
        return true;
    }
    return false;
}

/* The name that a device had, which may have been its only one. */
static enum namepool_name name_before(const struct offer *before, size_t place,
                                      const struct offer *next, size_t i)
{
    const struct plan_resource *was = offer_resource_of(before, place);

    for (int name = 0; was && name < 2; name++)
        if (str_equal(was->name, resource_name(next, i, (enum namepool_name)name)))
            return (enum namepool_name)name;
    return NAMEPOOL_NEITHER;
}

/* Of a device that the offer before has, too. Returns when it left the name that it had before. */
static uint64_t inherit(const struct offer *before, const uint64_t *left_before_ms,
                        struct offer *next, size_t i)
{
    size_t place;

    next->names[i] = NAMEPOOL_NEITHER;
    if (!find_before(before, &next->plan->devices[i].device, &place))
        return 0;
    next->names[i] = name_before(before, place, next, i);
    return left_before_ms ? left_before_ms[place] : 0;
}

static void warn_without_log(struct mignames *names)
{
    if (names->setup.facts->grants || names->has_warned)
        return;
    names->has_warned = true;
    log_warning("gpuslice.mig.names: both has no effect without --grant-dir: what pods hold must "
                "be known");
}

void mignames_begin(struct mignames *names, struct offer *next)
{
    const struct offer *before = names ? names->setup.facts->offer : NULL;
    cleanup_free uint64_t *left_before_ms = NULL;

    if (!names)
        return;
    left_before_ms = TAKE_PTR(names->left_ms);
    if (has_pool(next))
        warn_without_log(names);
    if (!has_pool(next) || !names->setup.facts->grants)
        return;
    names->left_ms = calloc(next->plan->n_devices + 1, sizeof(*names->left_ms));
    if (!left_before_ms) {
        names->is_known = false;
        names->unknown_since_ms = clock_now_ms();
    }
    for (size_t i = 0; names->left_ms && i < next->plan->n_devices; i++)
        if (*next->plan->devices[i].second)
            names->left_ms[i] = inherit(before, left_before_ms, next, i);
}

/* --- for the controller --- */

static bool is_free(const struct facts *facts, size_t i)
{
    const struct namepool_device device = look_at(facts, i);

    return device.is_usable && device.held == NAMEPOOL_NEITHER;
}

void mignames_add_free(const struct facts *facts, struct text *out)
{
    const struct offer *offer = facts->offer;
    size_t n_slices = 0, last = 0;

    if (!has_pool(offer) || !facts->grants)
        return;
    for (size_t i = 0; i < offer->plan->n_devices; i++) {
        if (!*offer->plan->devices[i].second)
            continue;
        last = i;
        if (is_free(facts, i))
            n_slices += offer->plan->devices[i].n_slices;
    }
    text_addf(out, "%s=%zu,%s=%zu", resource_name(offer, last, NAMEPOOL_FIRST), n_slices,
              resource_name(offer, last, NAMEPOOL_SECOND), n_slices);
}

/* --- what pods wait for --- */

static void read_value(struct mignames *names)
{
    struct error err = ERROR_INIT;

    names->demand = (struct namedemand){.n_items = 0};
    if (names->value && namedemand_parse(names->value, &names->demand, &err) < 0)
        log_warning("ignoring the Node's annotation " MIGNAMES_ANNOTATION, "reason",
                    error_text(&err));
}

void mignames_demand(struct mignames *names, const char *value)
{
    char *copy;

    if (!names || (!value && !names->value) ||
        (value && names->value && str_equal(value, names->value)))
        return;
    copy = value ? strdup(value) : NULL;
    if (value && !copy)
        return; /* with the next news */
    free(names->value);
    names->value = copy;
    names->demand_ms = clock_now_ms();
    read_value(names);
    mignames_touch(names);
}

/* --- life --- */

int mignames_new(const struct mignames_setup *setup, struct mignames **ret_names)
{
    struct mignames *names = calloc(1, sizeof(*names));

    if (!names)
        return -ENOMEM;
    names->setup = *setup;
    uv_timer_init(setup->loop, &names->timer);
    names->timer.data = names;
    *ret_names = names;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct mignames *names = handle->data;

    free(names->left_ms);
    free(names->value);
    free(names);
}

void mignames_free(struct mignames *names)
{
    if (names)
        uv_close((uv_handle_t *)&names->timer, on_closed);
}
