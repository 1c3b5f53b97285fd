// SPDX-License-Identifier: Apache-2.0
#include "arbiter/test-device.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* As measured; see test-device.h. */
enum { SLICE_US = 2048, SWITCH_IDLE_US = 127, SWITCH_BUSY_US = 170 };

/* The library and the arbiter. */
enum {
    WAKE_US = 30,    /* from a futex or a fence until the thread runs */
    FENCE_US = 100,  /* between fences of a stream, and looks at them */
    POLL_US = 2000,  /* a thread at the gate looks by itself */
    ARBITER_US = 20, /* until a timer's handler has run */
};

static uint64_t next_random(struct device *device)
{
    device->random = device->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return device->random >> 33;
}

/* A few percent around it: programs are no clocks, and sampling would see patterns. */
static uint64_t about_ns(struct device *device, uint32_t us)
{
    const uint64_t ns = us * US;

    return ns - ns / 32 + (ns ? next_random(device) % (ns / 16 + 1) : 0);
}

static const struct behaviour *get_behaviour(const struct tenant *tenant)
{
    return tenant->is_alternate ? &tenant->kind->other : &tenant->kind->behaviour;
}

static uint64_t get_queued(const struct tenant *tenant)
{
    return tenant->n_launched - tenant->n_done;
}

static bool has_context_work(const struct tenant *tenant)
{
    return get_queued(tenant) > 0;
}

/* --- the host --- */

static void fence(struct device *device, struct tenant *tenant)
{
    tenant->n_fenced = tenant->n_launched;
    tenant->fence_ns = device->now_ns;
}

static bool passes_gate(const struct device *device, const struct tenant *tenant)
{
    const struct turns_gate *gate;

    if (!tenant->unit || tenant->kind->is_lying)
        return true;
    gate = turns_gate(tenant->unit);
    return gate->gate == LIMITS_GATE_OPEN ||
           (gate->gate == LIMITS_GATE_TURN &&
            (!gate->turn_end_ns || device->now_ns < gate->turn_end_ns));
}

/* Whether one more command is more than the gate allows. */
static bool is_bounded(const struct tenant *tenant, uint64_t kernel_ns)
{
    const struct turns_gate *gate;

    if (!tenant->unit || tenant->kind->is_lying || !get_queued(tenant))
        return false;
    gate = turns_gate(tenant->unit);
    return gate->gate == LIMITS_GATE_TURN && gate->in_flight_us &&
           tenant->queued_ns + kernel_ns > gate->in_flight_us * US;
}

/* Whether it would begin after the turn. */
static bool is_beyond(const struct device *device, const struct tenant *tenant)
{
    const struct turns_gate *gate;

    if (!tenant->unit || tenant->kind->is_lying || !get_queued(tenant))
        return false;
    gate = turns_gate(tenant->unit);
    return gate->gate == LIMITS_GATE_TURN && !gate->in_flight_us && gate->turn_end_ns &&
           device->now_ns + tenant->ahead_ns >= gate->turn_end_ns;
}

static void wait_for(struct device *device, struct tenant *tenant, enum host what)
{
    fence(device, tenant);
    tenant->host = what;
    tenant->host_ns = UINT64_MAX;
    if (what == HOST_AT_GATE) {
        tenant->waiting_ns = device->now_ns;
        tenant->host_ns = device->now_ns + POLL_US * US;
    }
}

static void note_latency(struct device *device, struct tenant *tenant)
{
    tenant->latencies_us[tenant->n_latencies % DEVICE_LATENCIES] =
        (uint32_t)((device->now_ns - tenant->batch_ns) / US);
    tenant->n_latencies++;
    tenant->n_batches++;
}

/* When it may begin something: now, or after its pause. */
static uint64_t get_beginning(const struct device *device, const struct tenant *tenant)
{
    const struct tenant_kind *kind = tenant->kind;
    const uint64_t start_ns = kind->start_ms * MS, period_ns = (kind->on_ms + kind->off_ms) * MS;
    uint64_t in_period_ns;

    if (device->now_ns < start_ns)
        return start_ns;
    if (kind->end_ms && device->now_ns >= kind->end_ms * MS)
        return UINT64_MAX;
    if (!kind->off_ms)
        return device->now_ns;
    in_period_ns = (device->now_ns - start_ns) % period_ns;
    return in_period_ns < kind->on_ms * MS ? device->now_ns
                                           : device->now_ns + period_ns - in_period_ns;
}

static void launch(struct device *device, struct tenant *tenant)
{
    const struct behaviour *behaviour = get_behaviour(tenant);
    const uint64_t kernel_ns = about_ns(device, behaviour->kernel_us);

    if (!get_queued(tenant))
        tenant->queued_ns = 0;
    tenant->queued_ns += kernel_ns;
    tenant->ahead_ns += kernel_ns;
    tenant->left_ns[tenant->n_launched % DEVICE_QUEUE] = kernel_ns;
    tenant->n_launched++;
    tenant->n_seen = tenant->n_done;
    if (device->now_ns >= tenant->fence_ns + FENCE_US * US)
        fence(device, tenant);
    tenant->n_in_batch++;
    tenant->host_ns = device->now_ns + about_ns(device, behaviour->launch_us);
}

/* Its thread runs, and wants to launch. */
static void host_step(struct device *device, struct tenant *tenant)
{
    const struct behaviour *behaviour;
    const uint64_t beginning_ns = get_beginning(device, tenant);

    if (tenant->kind->stops_ms && device->now_ns >= tenant->kind->stops_ms * MS) {
        tenant->host = HOST_STOPPED;
        tenant->host_ns = UINT64_MAX;
        return;
    }
    if (tenant->host == HOST_AT_GATE && passes_gate(device, tenant)) {
        tenant->waited_ns += device->now_ns - tenant->waiting_ns;
        tenant->host = HOST_LAUNCHES;
    } else if (tenant->host == HOST_AT_GATE) {
        tenant->host_ns = device->now_ns + POLL_US * US;
        return;
    }
    if (!tenant->n_in_batch && beginning_ns > device->now_ns) {
        tenant->host_ns = beginning_ns;
        tenant->progress_ns = 0;
        return;
    }
    if (!tenant->n_in_batch) {
        tenant->is_alternate = tenant->kind->other.kernel_us && (device->now_ns / S) % 2 == 1;
        if (!tenant->batch_ns)
            tenant->batch_ns = device->now_ns;
    }
    if (!tenant->progress_ns)
        tenant->progress_ns = device->now_ns;
    behaviour = get_behaviour(tenant);
    if (behaviour->n_batch && tenant->n_in_batch >= behaviour->n_batch) {
        if (get_queued(tenant)) {
            wait_for(device, tenant, HOST_SYNCS);
            return;
        }
        note_latency(device, tenant);
        tenant->n_in_batch = 0;
        tenant->batch_ns = 0;
        tenant->host = HOST_LAUNCHES;
        tenant->host_ns = device->now_ns + about_ns(device, behaviour->think_us) + 1;
        return;
    }
    if (!passes_gate(device, tenant)) {
        wait_for(device, tenant, HOST_AT_GATE);
        return;
    }
    if (is_bounded(tenant, behaviour->kernel_us * US)) {
        wait_for(device, tenant, HOST_BOUNDED);
        return;
    }
    if (is_beyond(device, tenant)) {
        fence(device, tenant);
        tenant->n_seen = tenant->n_done;
        tenant->host_ns = device->now_ns + FENCE_US * US;
        return;
    }
    if (get_queued(tenant) >= behaviour->n_depth) {
        wait_for(device, tenant, HOST_FULL);
        return;
    }
    tenant->host = HOST_LAUNCHES;
    launch(device, tenant);
    if (!behaviour->n_batch)
        tenant->n_in_batch = 0; /* each one is a step of its own */
    if (!behaviour->n_batch)
        tenant->batch_ns = 0;
}

/* --- the hardware --- */

static bool is_other_ready(const struct device *device)
{
    for (size_t i = 0; i < device->n_tenants; i++)
        if (i != device->current && has_context_work(&device->tenants[i]))
            return true;
    return false;
}

/* Slices follow each other also while nobody else has work. */
static void renew_slice(struct device *device)
{
    if (device->now_ns >= device->slice_ns && !is_other_ready(device))
        device->slice_ns +=
            ((device->now_ns - device->slice_ns) / (SLICE_US * US) + 1) * SLICE_US * US;
}

static void switch_context(struct device *device)
{
    const bool is_busy = has_context_work(&device->tenants[device->current]);

    for (size_t i = 1; i <= device->n_tenants; i++) {
        const size_t next = (device->current + i) % device->n_tenants;

        if (!has_context_work(&device->tenants[next]))
            continue;
        device->current = next;
        break;
    }
    device->switched_ns = device->now_ns + (is_busy ? SWITCH_BUSY_US : SWITCH_IDLE_US) * US;
    device->slice_ns = device->switched_ns + SLICE_US * US;
}

/* The thread that waits for it goes on. */
static void tell_done(struct device *device, struct tenant *tenant)
{
    const bool is_empty = !get_queued(tenant);

    if (tenant->host == HOST_FULL || (is_empty && tenant->host == HOST_SYNCS))
        tenant->host_ns = device->now_ns + (tenant->host == HOST_FULL ? US : 10 * US);
    else if (is_empty && tenant->host == HOST_BOUNDED)
        tenant->host_ns = device->now_ns + WAKE_US * US;
    else
        return;
    tenant->host = tenant->host == HOST_SYNCS ? HOST_SYNCS : HOST_LAUNCHES;
}

/* Somebody got on. */
static void note_progress(struct device *device)
{
    if (device->now_ns - device->progress_ns > device->longest_ns)
        device->longest_ns = device->now_ns - device->progress_ns;
    device->progress_ns = device->now_ns;
}

static bool is_wanted(const struct device *device)
{
    for (size_t i = 0; i < device->n_tenants; i++)
        if (get_queued(&device->tenants[i]) || device->tenants[i].host == HOST_AT_GATE)
            return true;
    return false;
}

static void finish_command(struct device *device, struct tenant *tenant)
{
    tenant->n_done++;
    note_progress(device);
    if (tenant->progress_ns && device->now_ns - tenant->progress_ns > tenant->longest_ns)
        tenant->longest_ns = device->now_ns - tenant->progress_ns;
    tenant->progress_ns = device->now_ns;
    tell_done(device, tenant);
}

/* The current context ran for so long. */
static void advance(struct device *device, uint64_t ns)
{
    struct tenant *tenant = &device->tenants[device->current];
    uint64_t *left_ns;

    if (device->now_ns < device->switched_ns || !has_context_work(tenant)) {
        return;
    }
    left_ns = &tenant->left_ns[tenant->n_done % DEVICE_QUEUE];
    assert(ns <= *left_ns);
    *left_ns -= ns;
    tenant->ahead_ns -= ns;
    tenant->busy_ns += ns;
}

static void hardware_step(struct device *device)
{
    struct tenant *tenant = &device->tenants[device->current];

    if (device->now_ns < device->switched_ns)
        return;
    if (has_context_work(tenant) && !tenant->left_ns[tenant->n_done % DEVICE_QUEUE])
        finish_command(device, tenant);
    if (!is_other_ready(device))
        return;
    if (!has_context_work(tenant) || device->now_ns >= device->slice_ns)
        switch_context(device);
}

static uint64_t get_hardware_ns(const struct device *device)
{
    const struct tenant *tenant = &device->tenants[device->current];
    uint64_t next_ns;

    if (device->now_ns < device->switched_ns)
        return device->switched_ns;
    if (!has_context_work(tenant))
        return UINT64_MAX;
    next_ns = device->now_ns + tenant->left_ns[tenant->n_done % DEVICE_QUEUE];
    if (device->slice_ns > device->now_ns && device->slice_ns < next_ns && is_other_ready(device))
        next_ns = device->slice_ns;
    return next_ns;
}

/* --- the arbiter --- */

/* The library does, as long as the host waits in it. */
static bool looks(const struct tenant *tenant)
{
    return tenant->host == HOST_AT_GATE || tenant->host == HOST_BOUNDED;
}

static struct turns_sample get_sample(struct device *device, struct tenant *tenant)
{
    struct turns_sample sample = {0};

    if (device->now_ns < tenant->kind->start_ms * MS)
        return sample;
    if (tenant->kind->is_garbage) {
        sample.n_launched = next_random(device) << (next_random(device) % 34);
        sample.n_done = next_random(device) << (next_random(device) % 34);
        sample.n_passed = next_random(device) % 2;
        sample.n_waiting = next_random(device) % 2 ? (uint32_t)next_random(device) : 0;
        sample.is_in_flight = next_random(device) % 16 != 0;
        sample.waited_ns = next_random(device) << 31;
    } else if (!tenant->kind->is_lying) {
        sample.n_launched = tenant->n_launched;
        if (looks(tenant))
            tenant->n_seen = tenant->n_done;
        sample.n_done = tenant->n_seen;
        sample.n_passed = tenant->n_done;
        sample.n_waiting = tenant->host == HOST_AT_GATE;
        sample.is_in_flight = tenant->n_done < tenant->n_fenced;
        sample.waited_ns = tenant->waited_ns;
    }
    return sample;
}

static bool is_same(const struct turns_gate *a, const struct turns_gate *b)
{
    return a->gate == b->gate && a->in_flight_us == b->in_flight_us &&
           a->turn_end_ns == b->turn_end_ns;
}

static void look_after_gates(struct device *device, struct turns_gate *before)
{
    size_t n_turns = 0;

    for (size_t i = 0; i < device->n_tenants; i++) {
        struct tenant *tenant = &device->tenants[i];
        const struct turns_gate *gate = tenant->unit ? turns_gate(tenant->unit) : NULL;

        if (!gate)
            continue;
        n_turns += gate->gate == LIMITS_GATE_TURN;
        if (is_same(gate, &before[i]) || tenant->host != HOST_AT_GATE)
            continue;
        if (tenant->host_ns > device->now_ns + WAKE_US * US)
            tenant->host_ns = device->now_ns + WAKE_US * US;
    }
    device->had_two_turns = device->had_two_turns || n_turns > 1;
}

static void arbiter_step(struct device *device)
{
    struct turns_gate before[DEVICE_TENANTS];

    memset(before, 0, sizeof(before));
    for (size_t i = 0; i < device->n_tenants; i++) {
        struct tenant *tenant = &device->tenants[i];

        if (tenant->unit && tenant->kind->removed_ms &&
            device->now_ns >= tenant->kind->removed_ms * MS) {
            turns_remove(tenant->unit);
            tenant->unit = NULL;
            tenant->ahead_ns = 0;
            tenant->n_done = tenant->n_launched; /* the driver ends what its processes had */
            tenant->host = HOST_STOPPED;
            tenant->host_ns = UINT64_MAX;
        }
        if (!tenant->unit)
            continue;
        const struct turns_sample sample = get_sample(device, tenant);

        before[i] = *turns_gate(tenant->unit);
        turns_sample(tenant->unit, &sample);
    }
    device->run_ns = turns_run(device->turns, device->now_ns);
    assert(device->run_ns > device->now_ns);
    if (device->run_ns != UINT64_MAX)
        device->run_ns += ARBITER_US * US;
    /* What is not watched, somebody has to find. */
    if (device->run_ns > device->now_ns + S)
        device->run_ns = device->now_ns + S;
    device->n_runs++;
    look_after_gates(device, before);
}

/* --- life --- */

static void add_tenant(struct device *device, const struct tenant_kind *kind, size_t n_kinds)
{
    struct tenant *tenant = &device->tenants[device->n_tenants++];
    const struct turns_terms terms = {
        .share_ppm = kind->share_ppm ? kind->share_ppm : (uint32_t)(1000000 / n_kinds),
    };

    tenant->kind = kind;
    if (kind->is_garbage)
        tenant->host_ns = UINT64_MAX;
    if (device->turns && turns_add(device->turns, &terms, &tenant->unit) < 0)
        abort();
}

struct device *device_new(const struct tenant_kind *kinds, size_t n_kinds, enum limits_compute mode)
{
    struct device *device = calloc(1, sizeof(*device));

    if (!device || n_kinds > DEVICE_TENANTS)
        abort();
    device->random = n_kinds;
    device->run_ns = UINT64_MAX;
    if (mode != LIMITS_COMPUTE_NONE) {
        device->turns = turns_new();
        if (!device->turns)
            abort();
        turns_set_mode(device->turns, mode);
        device->run_ns = 0;
    }
    for (size_t i = 0; i < n_kinds; i++)
        add_tenant(device, &kinds[i], n_kinds);
    return device;
}

void device_free(struct device *device)
{
    if (!device)
        return;
    for (size_t i = 0; i < device->n_tenants; i++)
        if (device->tenants[i].unit)
            turns_remove(device->tenants[i].unit);
    turns_free(device->turns);
    free(device);
}

static uint64_t get_next_ns(const struct device *device)
{
    uint64_t next_ns = get_hardware_ns(device);

    if (device->run_ns < next_ns)
        next_ns = device->run_ns;
    for (size_t i = 0; i < device->n_tenants; i++)
        if (device->tenants[i].host_ns < next_ns)
            next_ns = device->tenants[i].host_ns;
    return next_ns;
}

void device_run(struct device *device, uint64_t until_ns)
{
    while (device->now_ns < until_ns) {
        uint64_t next_ns = get_next_ns(device);

        next_ns = next_ns > until_ns ? until_ns : next_ns;
        if (next_ns > device->now_ns)
            advance(device, next_ns - device->now_ns);
        device->now_ns = next_ns;
        if (!is_wanted(device))
            device->progress_ns = device->now_ns;
        renew_slice(device);
        for (size_t i = 0; i < device->n_tenants; i++)
            if (device->tenants[i].host_ns <= device->now_ns)
                host_step(device, &device->tenants[i]);
        if (device->run_ns <= device->now_ns)
            arbiter_step(device);
        hardware_step(device);
    }
}

void device_forget(struct device *device)
{
    device->longest_ns = 0;
    device->n_runs = 0;
    for (size_t i = 0; i < device->n_tenants; i++) {
        struct tenant *tenant = &device->tenants[i];

        tenant->busy_ns = tenant->n_batches = tenant->n_latencies = tenant->longest_ns = 0;
        tenant->n_before = tenant->n_done;
    }
}

double tenant_rate(const struct tenant *tenant, uint64_t ns)
{
    return (double)(tenant->n_done - tenant->n_before) * 1e9 / (double)ns;
}

static int compare(const void *a, const void *b)
{
    const uint32_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

uint32_t tenant_percentile_us(struct tenant *tenant, double percent)
{
    const size_t n =
        tenant->n_latencies < DEVICE_LATENCIES ? tenant->n_latencies : DEVICE_LATENCIES;

    if (!n)
        return 0;
    qsort(tenant->latencies_us, n, sizeof(*tenant->latencies_us), compare);
    return tenant->latencies_us[(size_t)((double)(n - 1) * percent / 100)];
}
