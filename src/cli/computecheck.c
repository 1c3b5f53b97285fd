// SPDX-License-Identifier: Apache-2.0
#include "cli/computecheck.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter/localgrant.h"
#include "base/array.h"
#include "base/clock.h"
#include "cli/probe.h"
#include "cli/runarbiter.h"

enum { SMALL, LARGE, LIGHT, N_TENANTS };

enum {
    NOT_SUPPORTED = 801,
    HEAVY_US = 1000,
    HEAVY_DEPTH = 8,
    LIGHT_US = 80,
    LIGHT_THINK_US = 200,
    PAIRS = 3,
    LINE_SIZE = 160,
};

/* Who is heavy, and what is best, is found out in the time before a window. */
enum {
    AHEAD_MS = 100, /* an order is there before it begins */
    ALONE_MS = 1000,
    NATIVE_SETTLE_MS = 500,
    NATIVE_MS = 2500,
    TURNS_SETTLE_MS = 3000,
    TURNS_MS = 4000,
};

#define ERROR_MOST     0.05
#define PROGRESS_LEAST 0.99

static const unsigned permille[N_TENANTS] = {[SMALL] = 250, [LARGE] = 750, [LIGHT] = 100};

/* The same tenants twice, since a process has its grant for life. */
struct computecheck {
    struct runarbiter arbiter;
    struct probe native[N_TENANTS], turns[N_TENANTS];
    double rounds_per_us;
};

/* --- the tenants --- */

static void end_all(struct computecheck *check)
{
    for (unsigned i = 0; i < N_TENANTS; i++) {
        probe_end(&check->native[i]);
        probe_end(&check->turns[i]);
    }
    runarbiter_end(&check->arbiter, NULL);
}

static struct localgrant make_grant(unsigned i, const struct probe *probe, const char *gpu_uuid,
                                    uint64_t limit_bytes)
{
    struct localgrant grant = {.id = LOCALGRANT_ID, .tree = probe->pid, .n_limits = 1};

    grant.id[strlen(LOCALGRANT_ID) - 1] = (char)('0' + i); /* the first one keeps it */
    snprintf(grant.limits[0].uuid, sizeof(grant.limits[0].uuid), "%s", gpu_uuid);
    grant.limits[0].bytes = limit_bytes;
    grant.limits[0].share_permille = permille[i];
    return grant;
}

/* Grants name their processes, and these look for their grant when they begin. */
static int start_arbiter(struct computecheck *check, const char *gpu_uuid, uint64_t limit_bytes,
                         struct localgrant grants[], struct error *err)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < N_TENANTS; i++) {
        r = probe_hold(&check->turns[i], err);
        if (r == 0)
            grants[i] = make_grant(i, &check->turns[i], gpu_uuid, limit_bytes);
    }
    return r < 0
               ? r
               : runarbiter_start(grants, N_TENANTS, LIMITS_COMPUTE_ELASTIC, &check->arbiter, err);
}

static int begin(const struct probe *probe, const char *folder, struct error *err)
{
    char answer[PROBE_ANSWER_SIZE];
    int r = probe_release(probe, folder, err);

    if (r == 0)
        r = probe_call(probe, 0, "info", answer, err);
    return r > 0 ? error_set(err, -EIO, "no context of CUDA can be made: error %d", r) : r;
}

static int begin_all(struct computecheck *check, const struct localgrant grants[],
                     struct error *err)
{
    char folder[PATH_MAX];
    int r = 0;

    for (unsigned i = 0; r == 0 && i < N_TENANTS; i++) {
        r = runarbiter_grant_folder(&check->arbiter, grants[i].id, folder);
        if (r == 0)
            r = begin(&check->turns[i], folder, err);
        if (r == 0)
            r = probe_hold(&check->native[i], err);
        if (r == 0)
            r = begin(&check->native[i], "", err);
    }
    return r;
}

/* 0, NOT_SUPPORTED: the device can have no turns; or a negative errno. */
static int read_speed(struct computecheck *check, struct error *err)
{
    char answer[PROBE_ANSWER_SIZE];
    const int code = probe_call(&check->native[SMALL], 0, "speed", answer, err);

    if (code < 0 || code == NOT_SUPPORTED)
        return code;
    check->rounds_per_us = strtod(answer, NULL);
    return code || check->rounds_per_us <= 0
               ? error_set(err, -EIO, "a kernel cannot be measured: error %d", code)
               : 0;
}

/* --- windows, in which some of them work --- */

struct part {
    const struct probe *probe;
    bool is_light;
    uint64_t n;            /* kernels */
    double p50_ms, p99_ms; /* of a light one */
};

static int ask(const struct computecheck *check, const struct part *part, uint64_t begin_ns,
               uint64_t end_ns, struct error *err)
{
    char line[LINE_SIZE];

    snprintf(line, sizeof(line), "%s %.3f %d %d %" PRIu64 " %" PRIu64,
             part->is_light ? "bursts" : "keep", check->rounds_per_us,
             part->is_light ? LIGHT_US : HEAVY_US, part->is_light ? LIGHT_THINK_US : HEAVY_DEPTH,
             begin_ns, end_ns);
    return probe_ask(part->probe, 0, line, err);
}

static int take_answer(struct part *part, struct error *err)
{
    char answer[PROBE_ANSWER_SIZE];
    double p50_us = 0, p99_us = 0;
    const int code = probe_answer(part->probe, 0, answer, err);

    if (code)
        return code < 0 ? code : error_set(err, -EIO, "kernels end by error %d", code);
    part->n = 0;
    sscanf(answer, "%" SCNu64 " %lf %lf", &part->n, &p50_us, &p99_us);
    part->p50_ms = p50_us / 1000;
    part->p99_ms = p99_us / 1000;
    return part->n ? 0 : error_set(err, -EIO, "no kernel was done in the time");
}

static int work(const struct computecheck *check, struct part parts[], size_t n, unsigned settle_ms,
                unsigned ms, struct error *err)
{
    const uint64_t begin_ns = clock_now_ns() + (AHEAD_MS + settle_ms) * UINT64_C(1000000);
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = ask(check, &parts[i], begin_ns, begin_ns + ms * UINT64_C(1000000), err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = take_answer(&parts[i], err);
    return r;
}

/* --- the checks --- */

/* They alternate, and the best of each counts: the least disturbed. */
static int check_alone(const struct computecheck *check, struct verdicts *verdicts,
                       struct error *err)
{
    struct part native = {.probe = &check->native[SMALL]}, turns = {.probe = &check->turns[SMALL]};
    uint64_t best_native = 1, best_turns = 0;
    double progress;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < PAIRS; i++) {
        r = work(check, &native, 1, 0, ALONE_MS, err);
        if (r == 0)
            r = work(check, &turns, 1, 0, ALONE_MS, err);
        best_native = native.n > best_native ? native.n : best_native;
        best_turns = turns.n > best_turns ? turns.n : best_turns;
    }
    if (r < 0)
        return r;
    progress = (double)best_turns / (double)best_native;
    verdicts_add(verdicts, progress >= PROGRESS_LEAST, "turns: a heavy task alone",
                 "progress %.1f %% of that without turns; at least %.0f", progress * 100,
                 PROGRESS_LEAST * 100);
    return 0;
}

/* A share is given in whole commands. */
static double allowed_error(double share)
{
    const double one = HEAVY_US / 1000.0 / (share * TURNS_MS);

    return one > ERROR_MOST ? one : ERROR_MOST;
}

static int check_shares(const struct computecheck *check, struct verdicts *verdicts,
                        struct error *err)
{
    struct part parts[] = {{.probe = &check->turns[SMALL]}, {.probe = &check->turns[LARGE]}};
    const double share = permille[SMALL] / 1000.0;
    double got, error; /* of the smaller one: the larger one's is a third of that */
    int r = work(check, parts, ARRAY_SIZE(parts), TURNS_SETTLE_MS, TURNS_MS, err);

    if (r < 0)
        return r;
    got = (double)parts[SMALL].n / (double)(parts[SMALL].n + parts[LARGE].n);
    error = got > share ? got / share - 1 : 1 - got / share;
    verdicts_add(verdicts, error <= allowed_error(share), "turns: shares of 25 % and 75 %",
                 "%.1f %% and %.1f %% in %d s: error %.1f %%; at most %.1f", got * 100,
                 (1 - got) * 100, TURNS_MS / 1000, error * 100, allowed_error(share) * 100);
    return 0;
}

static int measure_light(const struct computecheck *check, const struct probe probes[],
                         unsigned settle_ms, struct part *ret_light, struct error *err)
{
    struct part parts[N_TENANTS];
    int r;

    for (unsigned i = 0; i < N_TENANTS; i++)
        parts[i] = (struct part){.probe = &probes[i], .is_light = i == LIGHT};
    r = work(check, parts, N_TENANTS, settle_ms, NATIVE_MS, err);
    *ret_light = parts[LIGHT];
    return r;
}

static int check_light(const struct computecheck *check, struct verdicts *verdicts,
                       struct error *err)
{
    struct part native = {.n = 0}, turns = {.n = 0};
    int r = measure_light(check, check->native, NATIVE_SETTLE_MS, &native, err);

    if (r == 0)
        r = measure_light(check, check->turns, TURNS_SETTLE_MS, &turns, err);
    if (r < 0)
        return r;
    verdicts_add(verdicts, turns.p99_ms <= native.p99_ms, "turns: a light task beside two",
                 "p50 %.2f ms, p99 %.2f ms; without turns %.2f and %.2f, p99 at most that",
                 turns.p50_ms, turns.p99_ms, native.p50_ms, native.p99_ms);
    return 0;
}

/* --- in order --- */

static int check_all(const struct computecheck *check, struct verdicts *verdicts, struct error *err)
{
    int r = check_alone(check, verdicts, err);

    if (r == 0)
        r = check_shares(check, verdicts, err);
    return r < 0 ? r : check_light(check, verdicts, err);
}

void computecheck_run(const char *gpu_uuid, uint64_t limit_bytes, struct verdicts *verdicts)
{
    struct computecheck check = {.arbiter = RUNARBITER_INIT};
    struct localgrant grants[N_TENANTS];
    struct error err = ERROR_INIT;
    int r;

    for (unsigned i = 0; i < N_TENANTS; i++)
        check.native[i] = check.turns[i] = (struct probe)PROBE_INIT;
    r = start_arbiter(&check, gpu_uuid, limit_bytes, grants, &err);
    if (r == 0)
        r = begin_all(&check, grants, &err);
    if (r == 0)
        r = read_speed(&check, &err);
    if (r == NOT_SUPPORTED)
        verdicts_skip("turns", "not available: this driver and GPU cannot tell, in the order of a "
                               "stream, what is done");
    else if (r == 0)
        r = check_all(&check, verdicts, &err);
    if (r < 0)
        verdicts_broke(verdicts, "turns", &err);
    end_all(&check);
}
