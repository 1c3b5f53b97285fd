// SPDX-License-Identifier: Apache-2.0

/*
 * Containers with slices of several devices, whose kernels wait for each other, in a model of the
 * hardware: time goes on in steps of 20 us, each device works for one context, for a slice of it
 * while others have work, and does nothing for a moment when it changes. A kernel that waits for
 * its counterparts spins: it takes time of its device and gets on only while all of them run.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/gangs.h"
#include "arbiter/test-bounds.h"
#include "base/array.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum {
    DEVICES = 4,
    CONTAINERS = 8,
    STEP_US = 20,
    SLICE_US = 2048,
    SWITCH_LEAST_US = 110,
    SWITCH_MORE_US = 60,
    WAKE_US = 30,
    BEAT_MS = 10,
    SKEW_MS = 10, /* between the first kernels of a container on its devices */
    LONGEST_MS = 200,
};

struct kind {
    bool is_on[DEVICES];
    uint32_t kernel_us;      /* 0: it does nothing */
    uint32_t n_joint;        /* each so many'th kernel waits for its counterparts; 0: none does */
    uint32_t n_depth;        /* kernels that are queued at most */
    uint32_t gap_us;         /* of the host, after each launch */
    bool has_one_thread;     /* for all devices, one after the other */
    bool is_garbage;         /* it claims nonsense, and uses nothing */
    bool is_silent[DEVICES]; /* it launches nothing there */
    uint32_t on_ms, off_ms;
    uint32_t removed_ms, stops_ms;
    uint32_t share_ppm[DEVICES]; /* 0: an equal one */
};

/* A container on a device. */
struct stream {
    struct turns_unit *unit;
    uint64_t n_launched, n_done, left_us;
    uint64_t host_ns, passes_ns; /* when its thread goes on; since when its gate lets it pass */
    bool is_at_gate;
    uint64_t received_us, wants_ns, longest_ns; /* without getting on, while it wanted to */
};

struct container {
    const struct kind *kind;
    bool is_gone;
    struct stream streams[DEVICES];
    size_t next; /* device of its only thread */
};

struct node {
    uint64_t now_ns, random, due_ns[DEVICES];
    struct container containers[CONTAINERS];
    size_t n, n_devices;
    struct turns *turns[DEVICES];
    size_t current[DEVICES], slice_us[DEVICES], switch_us[DEVICES];
    bool is_together, had_two_turns;
    uint64_t progress_ns[DEVICES], longest_ns[DEVICES]; /* of anybody who wants to get on */
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

/* --- hosts --- */

static uint32_t get_queued(const struct stream *stream)
{
    return (uint32_t)(stream->n_launched - stream->n_done);
}

static bool passes(const struct node *node, const struct stream *stream)
{
    const struct turns_gate *gate = turns_gate(stream->unit);

    return gate->gate == LIMITS_GATE_OPEN ||
           (gate->gate == LIMITS_GATE_TURN &&
            (!gate->turn_end_ns || node->now_ns < gate->turn_end_ns));
}

/* Whether one more is more than its gate allows, or would begin after its turn. */
static bool is_too_much(const struct node *node, const struct stream *stream, uint32_t kernel_us)
{
    const struct turns_gate *gate = turns_gate(stream->unit);
    const uint64_t ahead_us = (uint64_t)get_queued(stream) * kernel_us;

    if (gate->gate != LIMITS_GATE_TURN || !ahead_us)
        return false;
    if (gate->in_flight_us)
        return ahead_us + kernel_us > gate->in_flight_us;
    return gate->turn_end_ns && node->now_ns + ahead_us * US >= gate->turn_end_ns;
}

static bool is_stopped(const struct node *node, const struct kind *kind)
{
    return kind->stops_ms && node->now_ns >= kind->stops_ms * MS;
}

/* It pauses with the same number of kernels launched on all devices, or what waits for counterparts
 * would be in flight. */
static bool is_paused(const struct node *node, const struct container *container,
                      const struct stream *stream)
{
    const struct kind *kind = container->kind;
    const uint64_t ms = node->now_ns / MS;
    bool is_last = true;

    for (size_t d = 0; kind->n_joint && d < node->n_devices; d++)
        is_last = is_last && container->streams[d].n_launched <= stream->n_launched;
    return !kind->kernel_us ||
           (is_last && kind->off_ms && ms % (kind->on_ms + kind->off_ms) >= kind->on_ms);
}

/* No two are the same, and now and then a host does something else for a moment. */
static uint64_t about_us(struct node *node, uint32_t us)
{
    return us - us / 8 + next_random(&node->random) % (us / 4 + 1);
}

/* Of the n'th one; counterparts take as long as each other. */
static uint64_t kernel_us(struct node *node, const struct kind *kind, uint64_t n)
{
    uint64_t seed = n;

    if (!kind->n_joint || n % kind->n_joint)
        return about_us(node, kind->kernel_us);
    return kind->kernel_us - kind->kernel_us / 8 + next_random(&seed) % (kind->kernel_us / 4 + 1);
}

static uint64_t host_us(struct node *node, uint32_t gap_us)
{
    const uint64_t away_us =
        next_random(&node->random) % 500 ? 0 : next_random(&node->random) % 1000;

    return 5 + about_us(node, gap_us) + away_us;
}

/* Whether it launched one. */
static bool launch(struct node *node, struct container *container, struct stream *stream)
{
    const struct kind *kind = container->kind;

    if (node->now_ns < stream->host_ns || is_stopped(node, kind) ||
        (is_paused(node, container, stream) && !stream->is_at_gate))
        return false;
    if (!passes(node, stream)) {
        stream->is_at_gate = true;
        stream->passes_ns = 0;
        return false;
    }
    if (stream->is_at_gate && !stream->passes_ns)
        stream->passes_ns = node->now_ns;
    if (stream->is_at_gate && node->now_ns < stream->passes_ns + WAKE_US * US)
        return false;
    stream->is_at_gate = false;
    if (get_queued(stream) >= kind->n_depth || is_too_much(node, stream, kind->kernel_us))
        return false;
    if (!get_queued(stream))
        stream->left_us = kernel_us(node, kind, stream->n_launched);
    stream->n_launched++;
    stream->host_ns = node->now_ns + host_us(node, kind->gap_us) * US;
    return true;
}

static void host_step(struct node *node, struct container *container)
{
    const struct kind *kind = container->kind;
    bool has_launched = true;

    for (size_t i = 0; !kind->has_one_thread && i < node->n_devices; i++)
        if (kind->is_on[i] && !kind->is_silent[i])
            (void)launch(node, container, &container->streams[i]);
    for (size_t i = 0; kind->has_one_thread && has_launched && i < node->n_devices; i++) {
        if (kind->is_on[container->next] && !kind->is_silent[container->next])
            has_launched = launch(node, container, &container->streams[container->next]);
        if (has_launched)
            container->next = (container->next + 1) % node->n_devices;
    }
}

/* --- hardware --- */

static bool has_work(const struct node *node, size_t device, size_t i)
{
    return i < node->n && get_queued(&node->containers[i].streams[device]) > 0;
}

static size_t find_other(const struct node *node, size_t device)
{
    for (size_t i = 1; i < node->n; i++)
        if (has_work(node, device, (node->current[device] + i) % node->n))
            return (node->current[device] + i) % node->n;
    return node->n;
}

/* Now and then something else takes a moment: else two devices would change contexts in step
 * forever, or out of step. */
static size_t get_switch_us(struct node *node)
{
    const uint64_t more_us =
        next_random(&node->random) % 50 ? 0 : next_random(&node->random) % 1000;

    return SWITCH_LEAST_US + more_us + next_random(&node->random) % SWITCH_MORE_US;
}

static void switch_step(struct node *node, size_t device)
{
    const size_t other = find_other(node, device);

    if (other < node->n &&
        (!has_work(node, device, node->current[device]) || !node->slice_us[device])) {
        node->current[device] = other;
        node->switch_us[device] = get_switch_us(node);
        node->slice_us[device] = SLICE_US;
    }
}

static bool runs(const struct node *node, size_t device, size_t i)
{
    return node->current[device] == i && !node->switch_us[device] && has_work(node, device, i);
}

/* Whether its first kernel gets on. */
static bool gets_on(const struct node *node, size_t device, size_t i)
{
    const struct container *container = &node->containers[i];
    const struct kind *kind = container->kind;
    const uint64_t n = container->streams[device].n_done;

    for (size_t k = 0; kind->n_joint && n % kind->n_joint == 0 && k < node->n_devices; k++)
        if (kind->is_on[k] && !kind->is_silent[k] && container->streams[k].n_done == n &&
            !runs(node, k, i))
            return false;
        else if (kind->is_on[k] && !kind->is_silent[k] && container->streams[k].n_done < n)
            return false;
    return true;
}

static void note_wants(struct node *node, struct stream *stream, bool has_got_on)
{
    if (has_got_on || !stream->wants_ns || (!stream->is_at_gate && !get_queued(stream)))
        stream->wants_ns = node->now_ns;
    else if (node->now_ns - stream->wants_ns > stream->longest_ns)
        stream->longest_ns = node->now_ns - stream->wants_ns;
}

/* Somebody gets on, or nobody wants to. */
static void note_progress(struct node *node, size_t device, const bool *does)
{
    bool is_wanted = false, is_any = false;

    for (size_t i = 0; i < node->n; i++) {
        const struct stream *stream = &node->containers[i].streams[device];

        is_any = is_any || does[i];
        is_wanted = is_wanted || stream->is_at_gate || get_queued(stream);
    }
    if (is_any || !is_wanted || !node->progress_ns[device])
        node->progress_ns[device] = node->now_ns;
    else if (node->now_ns - node->progress_ns[device] > node->longest_ns[device])
        node->longest_ns[device] = node->now_ns - node->progress_ns[device];
}

static void hardware_step(struct node *node)
{
    bool does[DEVICES][CONTAINERS] = {0};

    for (size_t d = 0; d < node->n_devices; d++)
        switch_step(node, d);
    for (size_t d = 0; d < node->n_devices; d++)
        for (size_t i = 0; i < node->n; i++)
            does[d][i] = runs(node, d, i) && gets_on(node, d, i);
    for (size_t d = 0; d < node->n_devices; d++) {
        for (size_t i = 0; i < node->n; i++) {
            struct stream *stream = &node->containers[i].streams[d];

            if (runs(node, d, i))
                stream->received_us += STEP_US;
            stream->left_us -= !does[d][i]                 ? 0
                               : stream->left_us < STEP_US ? stream->left_us
                                                           : STEP_US;
            if (does[d][i] && !stream->left_us) {
                stream->n_done++;
                stream->left_us = kernel_us(node, node->containers[i].kind, stream->n_done);
            }
            note_wants(node, stream, does[d][i]);
        }
        note_progress(node, d, does[d]);
        node->switch_us[d] -= node->switch_us[d] < STEP_US ? node->switch_us[d] : STEP_US;
        node->slice_us[d] -= node->slice_us[d] < STEP_US ? node->slice_us[d] : STEP_US;
    }
}

/* --- the arbiter --- */

static void remove_container(struct node *node, struct container *container)
{
    container->is_gone = true;
    for (size_t d = 0; d < node->n_devices; d++) {
        struct stream *stream = &container->streams[d];

        if (stream->unit)
            turns_remove(stream->unit);
        *stream = (struct stream){.unit = NULL};
    }
}

static struct turns_sample get_sample(struct node *node, const struct kind *kind,
                                      const struct stream *stream)
{
    const uint64_t random = next_random(&node->random);

    if (kind->is_garbage)
        return (struct turns_sample){
            .n_launched = random << random % 34,
            .n_done = random << random % 30,
            .n_passed = random % 2,
            .n_waiting = random / 2 % 2 ? (uint32_t)random : 0,
            .is_in_flight = random % 16 != 0,
        };
    return (struct turns_sample){
        .n_launched = stream->n_launched,
        .n_done = stream->n_done,
        .n_passed = stream->n_done,
        .n_waiting = stream->is_at_gate,
        .is_in_flight = get_queued(stream) > 0,
    };
}

static void tell(struct node *node)
{
    for (size_t i = 0; i < node->n; i++) {
        struct container *container = &node->containers[i];

        if (!container->is_gone && container->kind->removed_ms &&
            node->now_ns >= container->kind->removed_ms * MS)
            remove_container(node, container);
        for (size_t d = 0; d < node->n_devices; d++) {
            const struct stream *stream = &container->streams[d];
            const struct turns_sample sample = get_sample(node, container->kind, stream);

            if (stream->unit)
                turns_sample(stream->unit, &sample);
        }
    }
}

/* Pages with a closed gate have a beat. */
static uint64_t get_due(struct node *node, uint64_t due_ns)
{
    const uint64_t beat_ns = node->now_ns + BEAT_MS * MS;

    return (due_ns < beat_ns ? due_ns : beat_ns) + next_random(&node->random) % 60 * US;
}

static void arbiter_step(struct node *node)
{
    struct turns *devices[DEVICES];

    tell(node);
    for (size_t d = 0; !node->is_together && d < node->n_devices; d++)
        if (node->due_ns[d] <= node->now_ns)
            node->due_ns[d] = get_due(node, turns_run(node->turns[d], node->now_ns));
    memcpy(devices, node->turns, sizeof(devices));
    if (node->is_together && node->due_ns[0] <= node->now_ns)
        node->due_ns[0] = get_due(node, gangs_run(devices, node->n_devices, node->now_ns));
    for (size_t d = 0; d < node->n_devices; d++) {
        size_t n_turns = 0;

        for (size_t i = 0; i < node->n; i++)
            n_turns += node->containers[i].streams[d].unit &&
                       turns_gate(node->containers[i].streams[d].unit)->gate == LIMITS_GATE_TURN;
        node->had_two_turns = node->had_two_turns || n_turns > 1;
    }
}

static void node_run(struct node *node, uint64_t until_ns)
{
    for (; node->now_ns < until_ns; node->now_ns += STEP_US * US) {
        for (size_t i = 0; i < node->n; i++)
            if (!node->containers[i].is_gone)
                host_step(node, &node->containers[i]);
        arbiter_step(node);
        hardware_step(node);
    }
}

/* --- life --- */

static void add(struct node *node, const struct kind *kind, size_t n_kinds)
{
    struct container *container = &node->containers[node->n++];
    struct turns_unit *first = NULL;

    container->kind = kind;
    for (size_t d = 0; d < node->n_devices; d++) {
        const struct turns_terms terms = {
            .share_ppm = kind->share_ppm[d] ? kind->share_ppm[d] : (uint32_t)(1000000 / n_kinds)};

        if (!kind->is_on[d])
            continue;
        assert_int_equal(turns_add(node->turns[d], &terms, &container->streams[d].unit), 0);
        if (first && node->is_together)
            turns_tie(first, container->streams[d].unit);
        first = first ? first : container->streams[d].unit;
        container->streams[d].host_ns = node->now_ns + next_random(&node->random) % SKEW_MS * MS;
    }
}

static struct node *node_new(const struct kind *kinds, size_t n, size_t n_devices, bool is_together)
{
    struct node *node = calloc(1, sizeof(*node));

    assert_non_null(node);
    node->now_ns = S;
    node->random = n;
    node->n_devices = n_devices;
    node->is_together = is_together;
    for (size_t d = 0; d < n_devices; d++) {
        node->turns[d] = turns_new();
        assert_non_null(node->turns[d]);
        turns_set_mode(node->turns[d], LIMITS_COMPUTE_ELASTIC);
    }
    for (size_t i = 0; i < n; i++)
        add(node, &kinds[i], n);
    return node;
}

static void node_free(struct node *node)
{
    for (size_t i = 0; i < node->n; i++)
        remove_container(node, &node->containers[i]);
    for (size_t d = 0; d < node->n_devices; d++)
        turns_free(node->turns[d]);
    free(node);
}

/* Kernels per second, on the first of its devices; device time of all; overdue turns. */
struct result {
    double rate[CONTAINERS], part[CONTAINERS][DEVICES], sum;
    uint64_t n_overdue, longest_ns;
};

enum { WARM_S = 4, MEASURED_S = 6 };

static struct result measure(struct node *node, uint64_t warm_s)
{
    static uint64_t done[CONTAINERS][DEVICES], received_us[CONTAINERS][DEVICES],
        overdue[CONTAINERS][DEVICES];
    struct result result = {.sum = 0};

    node_run(node, node->now_ns + warm_s * S);
    for (size_t i = 0; i < node->n; i++)
        for (size_t d = 0; d < node->n_devices; d++) {
            struct stream *stream = &node->containers[i].streams[d];
            struct turns_view view = {0};

            if (stream->unit)
                turns_view(stream->unit, &view);
            done[i][d] = stream->n_done;
            received_us[i][d] = stream->received_us;
            overdue[i][d] = view.n_overdue;
            stream->longest_ns = 0;
        }
    node_run(node, node->now_ns + MEASURED_S * S);
    for (size_t i = 0; i < node->n; i++) {
        for (size_t d = node->n_devices; d-- > 0;) {
            struct stream *stream = &node->containers[i].streams[d];
            struct turns_view view;

            if (!stream->unit)
                continue;
            turns_view(stream->unit, &view);
            result.n_overdue += view.n_overdue - overdue[i][d];
            if (!node->containers[i].kind->is_silent[d])
                result.rate[i] = (double)(stream->n_done - done[i][d]) / MEASURED_S;
            result.part[i][d] =
                (double)(stream->received_us - received_us[i][d]) / 1e6 / MEASURED_S;
            result.longest_ns =
                stream->longest_ns > result.longest_ns ? stream->longest_ns : result.longest_ns;
        }
        result.sum += result.rate[i];
    }
    assert_false(node->had_two_turns);
    return result;
}

static struct result play(const struct kind *kinds, size_t n, size_t n_devices, bool is_together)
{
    struct node *node = node_new(kinds, n, n_devices, is_together);
    const struct result result = measure(node, WARM_S);

    node_free(node);
    return result;
}

#define assert_about(value, expected)                                              \
    do {                                                                           \
        const double _value = (value), _expected = (expected);                     \
        if (!(_value > _expected * 0.92 && _value < _expected * 1.08))             \
            fail_msg("%s is %.4f, and not about %.4f", #value, _value, _expected); \
    } while (0)

#define GANG(kernel, joint, depth) \
    .is_on = {true, true}, .kernel_us = (kernel), .n_joint = (joint), .n_depth = (depth)
#define FOUR(kernel, joint, depth) \
    .is_on = {true, true, true, true}, .kernel_us = (kernel), .n_joint = (joint), .n_depth = (depth)
#define PAIR(first, second) \
    .is_on = {[first] = true, [second] = true}, .kernel_us = 1400, .n_joint = 1, .n_depth = 32
#define LONE(device, kernel) .is_on = {[device] = true}, .kernel_us = (kernel), .n_depth = 32

/* --- two of a kind --- */

/* Together they have 97 to 100 % of it here. Where each device gives turns by itself, they mostly
 * have nothing: what has the turn on one device waits for what does not have it on the other, turns
 * end with both in flight, and slices of the hardware of these do not overlap. Now and then they
 * fall into step by themselves, as those of one thread do. */
static void test_two_have_what_one_has_alone(void **state)
{
    static const struct {
        struct kind kind;
        size_t n_devices;
        double apart; /* in sum, by what one has alone, at most */
    } rows[] = {
        {{GANG(1400, 1, 32)}, 2, 0.5},
        {{GANG(1400, 1, 2)}, 2, 0.5},
        {{GANG(300, 10, 32)}, 2, 0.5},
        {{GANG(100, 1, 64)}, 2, 0.5},
        {{GANG(5700, 1, 8)}, 2, 0.5},
        {{GANG(30000, 1, 4)}, 2, 0.5},
        {{GANG(300, 1, 1), .gap_us = 300}, 2, 0.5},
        {{GANG(1400, 1, 1), .gap_us = 1600}, 2, 0.5},
        {{FOUR(1400, 1, 32)}, 4, 1},
        {{FOUR(700, 4, 32)}, 4, 1},
        {{GANG(1400, 1, 32), .has_one_thread = true}, 2, 1},
        {{GANG(300, 10, 32), .has_one_thread = true}, 2, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kind kinds[] = {rows[i].kind, rows[i].kind};
        const double alone = play(kinds, 1, rows[i].n_devices, true).sum;
        const struct result apart = play(kinds, 2, rows[i].n_devices, false);
        const struct result together = play(kinds, 2, rows[i].n_devices, true);

        assert_at_least(together.sum, 0.9 * alone);
        assert_at_least(rows[i].apart * alone, apart.sum);
        assert_about(together.rate[0], together.sum / 2);
        assert_int_equal(together.n_overdue, 0);
    }
}

static void test_shares_hold(void **state)
{
    static const struct kind kinds[] = {{GANG(1400, 1, 32), .share_ppm = {250000, 250000}},
                                        {GANG(1400, 1, 32), .share_ppm = {750000, 750000}}};
    const double alone = play(kinds, 1, 2, true).sum;
    const struct result together = play(kinds, 2, 2, true);

    (void)state;
    assert_about(together.rate[0], 0.25 * alone);
    assert_about(together.rate[1], 0.75 * alone);
    assert_int_equal(together.n_overdue, 0);
}

/* --- beside those of one device --- */

/* Each of three has a third of what it has alone, on whichever device the lone one is. */
static void test_a_lone_one_beside_two(void **state)
{
    static const uint32_t kernels_us[] = {100, 1400, 5700};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(kernels_us); i++) {
        const struct kind kinds[] = {
            {GANG(1400, 1, 32)},
            {GANG(1400, 1, 32)},
            {.is_on = {i % 2 == 0, i % 2 == 1}, .kernel_us = kernels_us[i / 2], .n_depth = 32}};
        const double alone = play(kinds, 1, 2, true).sum, lone = play(&kinds[2], 1, 2, true).sum;
        const struct result together = play(kinds, 3, 2, true);

        assert_about(together.rate[0], alone / 3);
        assert_about(together.rate[1], alone / 3);
        assert_about(together.rate[2], lone / 3);
        assert_int_equal(together.n_overdue, 0);
    }
}

/* Both use their devices while those have neither of the two. */
static void test_a_lone_one_on_each_device(void **state)
{
    static const struct kind kinds[] = {
        {GANG(1400, 1, 32)}, {GANG(1400, 1, 32)}, {LONE(0, 1400)}, {LONE(1, 1400)}};
    const double alone = play(kinds, 1, 2, true).sum;
    const struct result together = play(kinds, ARRAY_SIZE(kinds), 2, true);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_about(together.rate[i], alone / 3); /* of four, on devices that have three each */
    assert_int_equal(together.n_overdue, 0);
}

/* The device that has least for them decides, whichever it is. */
static void test_shares_hold_where_a_lone_one_has_half(void **state)
{
    (void)state;
    for (size_t device = 0; device < 2; device++) {
        const struct kind kinds[] = {
            {GANG(1400, 1, 32), .share_ppm = {250000, 250000}},
            {GANG(1400, 1, 32), .share_ppm = {250000, 250000}},
            {.is_on = {device == 0, device == 1},
             .kernel_us = 1400,
             .n_depth = 32,
             .share_ppm = {500000, 500000}},
        };
        const double alone = play(kinds, 1, 2, true).sum;
        const struct result together = play(kinds, 3, 2, true);

        assert_about(together.rate[0], alone / 4);
        assert_about(together.rate[1], alone / 4);
        assert_about(together.rate[2], alone / 2);
    }
}

/* A chain of four, each two of which share a device. */
static void test_each_two_share_another_device(void **state)
{
    static const struct kind kinds[] = {{PAIR(0, 1)}, {PAIR(1, 2)}, {PAIR(2, 3)}, {PAIR(3, 0)}};
    const double alone = play(kinds, 1, DEVICES, true).sum;
    const struct result together = play(kinds, ARRAY_SIZE(kinds), DEVICES, true);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_at_least(together.rate[i], 0.45 * alone);
    assert_int_equal(together.n_overdue, 0);
}

/* The lone one on the last device has had more than its share when turns begin, and waits for long
 * therefore: that is no reason for that device to decide when the others have their turns. */
static void test_one_that_owes_is_no_reason_for_others_to_wait(void **state)
{
    static const struct kind kinds[] = {
        {LONE(2, 15000), .share_ppm = {[2] = 100000}},
        {PAIR(0, 1), .share_ppm = {300000, 300000}},
        {PAIR(1, 2), .share_ppm = {[1] = 300000, 300000}},
    };
    struct node *node = node_new(kinds, ARRAY_SIZE(kinds), 3, true);

    (void)state;
    node_run(node, node->now_ns + 4 * S);
    for (size_t d = 0; d < node->n_devices; d++)
        assert_true(node->longest_ns[d] < LONGEST_MS * MS);
    node_free(node);
}

/* The first device has one ring, and others that leave gaps; its plan is that of the second one, on
 * which two rings meet. */
static void test_no_plan_lets_two_rings_run_free_elsewhere(void **state)
{
    static const struct kind gaps = {LONE(0, 1400), .gap_us = 1700};
    const struct kind kinds[] = {{PAIR(0, 1)}, {PAIR(1, 2)}, gaps, gaps};
    struct node *node = node_new(kinds, ARRAY_SIZE(kinds), 3, true);
    struct turns_state before, after;

    (void)state;
    node_run(node, node->now_ns + 2 * S);
    turns_state(node->turns[1], &before);
    node_run(node, node->now_ns + 10 * S);
    turns_state(node->turns[1], &after);
    assert_int_equal(after.plan_ns[TURNS_FREE], before.plan_ns[TURNS_FREE]);
    assert_int_equal(after.plan_ns[TURNS_FULL], before.plan_ns[TURNS_FULL]);
    assert_true(node->longest_ns[1] < LONGEST_MS * MS);
    node_free(node);
}

/* --- those that do nothing on a device, or go away --- */

/* Also on the device that would lead. */
static void test_who_is_idle_on_a_device_waits_for_nobody_there(void **state)
{
    (void)state;
    for (size_t device = 0; device < 2; device++) {
        struct kind kinds[] = {{GANG(1400, 1, 32)}, {GANG(1400, 1, 32)}};
        const double alone = play(kinds, 1, 2, true).sum;
        struct result together;

        kinds[0].is_silent[device] = true;
        together = play(kinds, 2, 2, true);
        assert_at_least(together.rate[0], 0.45 * alone);
        assert_at_least(together.rate[1], 0.45 * alone);
        assert_int_equal(together.n_overdue, 0);
        kinds[1].is_silent[device] = true;
        together = play(kinds, 2, 2, true);
        assert_at_least(together.rate[0], 0.45 * alone);
        assert_at_least(together.rate[1], 0.45 * alone);
        assert_int_equal(together.n_overdue, 0);
    }
}

/* Killed, at any moment of its turn or of another's: others have what is left. */
static void test_others_go_on_when_one_is_killed(void **state)
{
    (void)state;
    for (uint32_t offset_ms = 0; offset_ms < 40; offset_ms += 7) {
        const struct kind kinds[] = {{GANG(1400, 1, 32), .removed_ms = 4000 + offset_ms},
                                     {GANG(1400, 1, 32)},
                                     {LONE(0, 1400)}};
        const double alone = play(&kinds[1], 1, 2, true).sum;
        const struct result left = play(kinds, ARRAY_SIZE(kinds), 2, true);

        assert_about(left.rate[1], alone / 2);
        assert_about(left.rate[2], alone / 2);
        assert_true(left.longest_ns < LONGEST_MS * MS);
    }
}

/* What it has in flight waits forever for what it does not launch any more. */
static void test_others_go_on_when_one_is_stopped(void **state)
{
    (void)state;
    for (uint32_t offset_ms = 0; offset_ms < 40; offset_ms += 7) {
        const struct kind kinds[] = {{GANG(1400, 1, 32), .stops_ms = 3000 + offset_ms},
                                     {GANG(1400, 1, 32)},
                                     {LONE(0, 1400)}};
        const double alone = play(&kinds[1], 1, 2, true).sum;
        const struct result left = play(kinds, ARRAY_SIZE(kinds), 2, true);

        assert_at_least(left.rate[1], 0.35 * alone);
        assert_at_least(left.rate[2], 0.35 * alone);
    }
}

/* --- any --- */

static struct kind make_random(uint64_t *seed, size_t n_devices)
{
    static const uint32_t kernels_us[] = {100, 400, 1400, 5700, 15000};
    static const uint32_t joints[] = {0, 1, 1, 4, 10};
    struct kind kind = {.kernel_us = kernels_us[next_random(seed) % ARRAY_SIZE(kernels_us)],
                        .n_joint = joints[next_random(seed) % ARRAY_SIZE(joints)],
                        .n_depth = 1 + (uint32_t)(next_random(seed) % 32)};

    kind.is_on[next_random(seed) % n_devices] = true;
    for (size_t d = 0; d < n_devices; d++) {
        kind.is_on[d] = kind.is_on[d] || next_random(seed) % 2;
        kind.is_silent[d] = next_random(seed) % 8 == 0;
        kind.share_ppm[d] = 50000 + (uint32_t)(next_random(seed) % 450000);
    }
    kind.has_one_thread = next_random(seed) % 3 == 0;
    kind.gap_us = next_random(seed) % 3 ? 0 : (uint32_t)(next_random(seed) % 2000);
    if (next_random(seed) % 3 == 0) {
        kind.on_ms = 1 + (uint32_t)(next_random(seed) % 1000);
        kind.off_ms = 1 + (uint32_t)(next_random(seed) % 1000);
    }
    if (next_random(seed) % 6 == 0)
        kind.removed_ms = 1000 + (uint32_t)(next_random(seed) % 4000);
    return kind;
}

static struct node *play_random(uint64_t round, bool is_joint, bool is_together)
{
    static struct kind kinds[CONTAINERS];
    uint64_t seed = round;
    const size_t n_devices = 2 + next_random(&seed) % (DEVICES - 1),
                 n = 2 + next_random(&seed) % (CONTAINERS - 2);
    struct node *node;

    for (size_t i = 0; i < n; i++) {
        kinds[i] = make_random(&seed, n_devices);
        kinds[i].n_joint = is_joint ? kinds[i].n_joint : 0;
        kinds[i].is_garbage = !is_joint && next_random(&seed) % 8 == 0;
        kinds[i].kernel_us = kinds[i].is_garbage ? 0 : kinds[i].kernel_us;
    }
    node = node_new(kinds, n, n_devices, is_together);
    node_run(node, node->now_ns + 4 * S);
    assert_false(node->had_two_turns);
    return node;
}

/* On some device nobody got on, while somebody wanted to. */
static bool has_stood_still(const struct node *node)
{
    for (size_t d = 0; d < node->n_devices; d++)
        if (node->longest_ns[d] >= LONGEST_MS * MS)
            return true;
    return false;
}

/* Nobody's kernels wait for others, and some claim what is not so: no device stands still. */
static void test_random_ones_never_block_a_device(void **state)
{
    enum { ROUNDS = 20 };

    (void)state;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        struct node *node = play_random(round, false, true);

        if (has_stood_still(node))
            fail_msg("round %u: a device stood still", (unsigned)round);
        node_free(node);
    }
}

/* Kernels of several containers that are in flight at once may wait for each other's slices of the
 * hardware, whatever gates do: in 3 of 100 such rounds, and in 31 where each device gives turns by
 * itself. */
static void test_random_ones_that_wait_for_each_other_seldom_do_so_long(void **state)
{
    enum { ROUNDS = 20 };
    unsigned n_apart = 0, n_together = 0;

    (void)state;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        struct node *apart = play_random(round, true, false);
        const bool is_apart = has_stood_still(apart);
        struct node *together;

        node_free(apart);
        together = play_random(round, true, true);
        n_apart += is_apart;
        n_together += has_stood_still(together);
        node_free(together);
    }
    assert_true(n_together * 3 <= n_apart);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_have_what_one_has_alone),
        cmocka_unit_test(test_shares_hold),
        cmocka_unit_test(test_a_lone_one_beside_two),
        cmocka_unit_test(test_a_lone_one_on_each_device),
        cmocka_unit_test(test_shares_hold_where_a_lone_one_has_half),
        cmocka_unit_test(test_each_two_share_another_device),
        cmocka_unit_test(test_one_that_owes_is_no_reason_for_others_to_wait),
        cmocka_unit_test(test_no_plan_lets_two_rings_run_free_elsewhere),
        cmocka_unit_test(test_who_is_idle_on_a_device_waits_for_nobody_there),
        cmocka_unit_test(test_others_go_on_when_one_is_killed),
        cmocka_unit_test(test_others_go_on_when_one_is_stopped),
        cmocka_unit_test(test_random_ones_never_block_a_device),
        cmocka_unit_test(test_random_ones_that_wait_for_each_other_seldom_do_so_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
