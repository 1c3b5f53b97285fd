// SPDX-License-Identifier: Apache-2.0
#include "nvml/timeslice.h"

#include <assert.h>
#include <stddef.h>

#define US UINT64_C(1000)

static const uint64_t slice_ns = TIMESLICE_SLICE_US * US;
static const uint64_t sample_ns = TIMESLICE_SAMPLE_MS * (1000 * US);

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void timeslice_init(struct timeslices *s)
{
    *s = (struct timeslices){.current = TIMESLICE_NONE};
}

void timeslice_repair(struct timeslices *s)
{
    if (s->n_contexts > TIMESLICE_CONTEXTS)
        s->n_contexts = 0;
    if (s->current >= s->n_contexts)
        s->current = TIMESLICE_NONE;
    if (s->current == TIMESLICE_NONE)
        s->change_ns = 0;
    s->slice_ns = least(s->slice_ns, slice_ns);
    for (unsigned i = 0; i < s->n_contexts; i++) {
        struct timeslice_context *c = &s->contexts[i];

        if (!c->client || c->wanted_ns <= c->received_ns)
            c->place = 0;
        else if (!c->place)
            c->place = ++s->last_place;
    }
}

/* The context that has the device, and work for it; NULL while there is none, or it is changed. */
static struct timeslice_context *running(struct timeslices *s)
{
    if (s->current == TIMESLICE_NONE || s->change_ns > 0 || !s->contexts[s->current].place)
        return NULL;
    return &s->contexts[s->current];
}

bool timeslice_is_contested(const struct timeslices *s, unsigned context)
{
    for (unsigned i = 0; i < s->n_contexts; i++)
        if (i != context && s->contexts[i].place)
            return true;
    return false;
}

static unsigned first_in_queue(const struct timeslices *s)
{
    unsigned first = TIMESLICE_NONE;

    for (unsigned i = 0; i < s->n_contexts; i++)
        if (s->contexts[i].place &&
            (first == TIMESLICE_NONE || s->contexts[i].place < s->contexts[first].place))
            first = i;
    return first;
}

static void begin_slice(struct timeslices *s)
{
    s->slice_ns = 0;
    s->n_slices++;
    s->contexts[s->current].n_slices++;
    for (unsigned i = 0; i < s->n_contexts; i++)
        if (i != s->current && s->contexts[i].place)
            s->contexts[i].n_foreign++;
}

/* To the first of the queue. It costs nothing where that is the last one again. */
static void change(struct timeslices *s, unsigned cost_us)
{
    unsigned next = first_in_queue(s);

    if (next == TIMESLICE_NONE)
        return;
    if (next != s->current) {
        s->current = next;
        s->change_ns = cost_us * US;
    } else {
        begin_slice(s);
    }
}

/* Time passes, at most to the end of a sample. */
static void pass(struct timeslices *s, uint64_t ns, bool is_active)
{
    s->now_ns += ns;
    s->active_ns += is_active ? ns : 0;
    if (s->now_ns % sample_ns == 0) {
        s->percent = (uint32_t)(s->active_ns * 100 / sample_ns);
        s->active_ns = 0;
    }
}

/* Nothing to do until then. */
static void idle(struct timeslices *s, uint64_t until_ns)
{
    uint64_t to_sample = sample_ns - s->now_ns % sample_ns;

    if (until_ns - s->now_ns >= to_sample + sample_ns) { /* a whole sample of it */
        s->now_ns = until_ns;
        s->percent = 0;
        s->active_ns = 0;
    } else {
        pass(s, least(until_ns - s->now_ns, to_sample), false);
    }
}

static void run(struct timeslices *s, struct timeslice_context *c, uint64_t ns)
{
    pass(s, ns, true);
    c->received_ns += ns;
    s->busy_ns += ns;
    s->slice_ns += ns;
    if (c->received_ns == c->wanted_ns) {
        c->place = 0;
        change(s, TIMESLICE_SWITCH_US);
    } else if (s->slice_ns >= slice_ns) {
        c->place = ++s->last_place;
        change(s, TIMESLICE_PREEMPT_US);
    }
}

/* One thing that happens, or a part of it. `target` of a context's clock: not beyond that. */
static void step(struct timeslices *s, unsigned context, uint64_t target, uint64_t limit_ns)
{
    struct timeslice_context *c = running(s);
    uint64_t most = least(limit_ns - s->now_ns, sample_ns - s->now_ns % sample_ns);

    if (s->change_ns > 0) {
        most = least(most, s->change_ns);
        pass(s, most, true);
        s->switch_ns += most;
        s->change_ns -= most;
        if (s->change_ns == 0)
            begin_slice(s);
    } else if (c) {
        most = least(most, least(c->wanted_ns - c->received_ns, slice_ns - s->slice_ns));
        if (s->current == context)
            most = least(most, target - c->received_ns);
        run(s, c, most);
    } else if (first_in_queue(s) != TIMESLICE_NONE) {
        change(s, TIMESLICE_SWITCH_US);
    } else {
        idle(s, limit_ns);
    }
}

void timeslice_advance_until(struct timeslices *s, unsigned context, uint64_t clock_ns,
                             uint64_t limit_ns)
{
    while (s->now_ns < limit_ns &&
           (context == TIMESLICE_NONE || s->contexts[context].received_ns < clock_ns))
        step(s, context, clock_ns, limit_ns);
}

void timeslice_advance(struct timeslices *s, uint64_t now_ns)
{
    timeslice_advance_until(s, TIMESLICE_NONE, 0, now_ns);
}

unsigned timeslice_join(struct timeslices *s, const struct timeslice_context *context)
{
    unsigned i = 0;

    while (i < s->n_contexts && s->contexts[i].client)
        i++;
    if (i == TIMESLICE_CONTEXTS)
        return TIMESLICE_NONE;
    if (i == s->n_contexts)
        s->n_contexts++;
    s->contexts[i] = (struct timeslice_context){.client = context->client,
                                                .number = context->number,
                                                .slot = context->slot,
                                                .origin_ns = context->origin_ns,
                                                .received_ns = context->origin_ns,
                                                .wanted_ns = context->origin_ns,
                                                .n_before = context->n_before};
    return i;
}

void timeslice_leave(struct timeslices *s, unsigned context)
{
    const bool is_current = context == s->current;

    s->contexts[context] = (struct timeslice_context){0};
    while (s->n_contexts > 0 && !s->contexts[s->n_contexts - 1].client)
        s->n_contexts--;
    if (!is_current)
        return;
    s->current = TIMESLICE_NONE;
    s->change_ns = 0;
    change(s, TIMESLICE_SWITCH_US);
}

void timeslice_give(struct timeslices *s, unsigned context, uint64_t wanted_ns)
{
    struct timeslice_context *c = &s->contexts[context];

    if (wanted_ns <= c->wanted_ns)
        return;
    c->wanted_ns = wanted_ns;
    if (c->place)
        return;
    c->place = ++s->last_place;
    if (s->change_ns > 0)
        return;
    if (s->current != TIMESLICE_NONE && s->current != context && running(s))
        c->n_foreign++;
    else
        change(s, TIMESLICE_SWITCH_US);
}

unsigned timeslice_percent(const struct timeslices *s)
{
    return s->percent < 100 ? s->percent : 100;
}
