// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/environment.h"
#include "base/text.h"
#include "cli/computecheck.h"
#include "cli/probe.h"
#include "cli/target.h"
#include "cli/verdicts.h"

#define MIB     (UINT64_C(1) << 20)
#define GRANULE (2 * MIB)

enum {
    OUT_OF_MEMORY = 2,
    NOT_SUPPORTED = 801,
    ROUNDS = 5,
    PAIRS = 3,
    PAIRS_MAX = 12,
    BATCHES = 40,
    LAUNCH_NS = 60,        /* more than without the library, at most */
    ALLOCATION_NS = 50000, /* of 64 MiB, and back */
    RELEASE_MS = 1000,
};

static const char *const families[] = {"cuMemAlloc",
                                       "cuMemAllocPitch",
                                       "cuMemAllocManaged",
                                       "cuMemAllocAsync",
                                       "cuMemAllocFromPoolAsync",
                                       "cuMemCreate",
                                       "cuArrayCreate",
                                       "cuArray3DCreate",
                                       "cuMipmappedArrayCreate",
                                       "cuGraphAddMemAllocNode"};

struct verification {
    const char *device; /* as for `gpuslice run` */
    uint64_t limit_bytes;
    size_t gpu; /* position in the inventory */
    struct target target;
    struct verdicts verdicts;
    double launch_ns, allocation_ns; /* more with the library */
};

/* --- what the driver shows --- */

/* Of the processes, together; 0 with -ENOENT: the driver lists none of them here. */
static int read_used(const struct verification *all, const long pids[], unsigned n,
                     uint64_t *ret_bytes)
{
    cleanup_usage struct usage usage = USAGE_INIT;
    cleanup_target struct target target = TARGET_INIT;
    uint64_t bytes = 0;
    int r = target_observe_usage(&target, &usage, NULL);

    if (r < 0)
        return r;
    r = -ENOENT;
    for (size_t i = 0; all->gpu < usage.n && i < usage.of_gpus[all->gpu].list.n_items; i++) {
        const struct gpu_process *process = &usage.of_gpus[all->gpu].list.items[i];

        for (unsigned j = 0; j < n; j++) {
            if (process->pid != (uint32_t)pids[j] || process->mem_bytes == GPU_MEMORY_UNKNOWN)
                continue;
            bytes += process->mem_bytes;
            r = 0;
        }
    }
    *ret_bytes = bytes;
    return r;
}

static int read_pid(const struct probe *probe, unsigned process, long *ret_pid, struct error *err)
{
    char answer[PROBE_ANSWER_SIZE];
    const int code = probe_call(probe, process, "info", answer, err);

    if (code < 0)
        return code;
    *ret_pid = strtol(answer, NULL, 10);
    return code ? error_set(err, -EIO, "no context of CUDA can be made: error %d", code) : 0;
}

/* --- the limit --- */

static void format_fill(const struct verification *all, const char *family, char *line, size_t size)
{
    snprintf(line, size, "fill %s %" PRIu64 " %" PRIu64 " %" PRIu64, family, 512 * MIB, GRANULE,
             all->limit_bytes + 1024 * MIB);
}

static void check_family(struct verification *all, const struct probe *probe, const char *family,
                         long pid)
{
    char line[128], answer[PROBE_ANSWER_SIZE], ignored[PROBE_ANSWER_SIZE];
    struct error err = ERROR_INIT;
    uint64_t used = 0, got;
    int code, shown;

    format_fill(all, family, line, sizeof(line));
    code = probe_call(probe, 0, line, answer, &err);
    if (code < 0) {
        verdicts_broke(&all->verdicts, family, &err);
        return;
    }
    if (code == NOT_SUPPORTED) {
        verdicts_skip(family, "not supported here");
        return;
    }
    shown = read_used(all, &pid, 1, &used);
    got = strtoull(answer, NULL, 10);
    verdicts_add(
        &all->verdicts,
        code == OUT_OF_MEMORY && got && (shown < 0 || used <= all->limit_bytes + GRANULE), family,
        "error %d after %" PRIu64 " MiB; the driver shows %" PRIu64 " of %" PRIu64 " MiB%s", code,
        got / MIB, used / MIB, all->limit_bytes / MIB, shown < 0 ? " (not told here)" : "");
    probe_call(probe, 0, "drop", ignored, &err);
}

static void check_limit(struct verification *all)
{
    cleanup_probe struct probe probe = PROBE_INIT;
    struct error err = ERROR_INIT;
    long pid = 0;
    int r = probe_start(all->limit_bytes, all->device, 1, &probe, &err);

    if (r == 0)
        r = read_pid(&probe, 0, &pid, &err);
    if (r < 0) {
        verdicts_broke(&all->verdicts, "a process with a limit", &err);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        check_family(all, &probe, families[i], pid);
}

/* --- what it costs --- */

/* Nanoseconds of a call, at best: what is least disturbed. 0 = not measured yet. */
struct pace {
    double without, with; /* the library */
};

static int take_least(const struct probe *probe, const char *line, double *ns, struct error *err)
{
    char answer[PROBE_ANSWER_SIZE], *at = answer, *end;
    const int code = probe_call(probe, 0, line, answer, err);

    if (code)
        return code < 0 ? code : error_set(err, -EIO, "'%s' gives error %d", line, code);
    for (double value = strtod(at, &end); end != at; value = strtod(at, &end)) {
        *ns = *ns == 0 || value < *ns ? value : *ns;
        at = end;
    }
    return 0;
}

/* Rounds alternate, so that a slow moment of the machine meets both. */
static int measure(const struct probe *plain, const struct probe *limited, const char *line,
                   struct pace *pace, struct error *err)
{
    int r = 0;

    for (unsigned i = 0; i < ROUNDS && r == 0; i++) {
        r = take_least(plain, line, &pace->without, err);
        if (r == 0)
            r = take_least(limited, line, &pace->with, err);
    }
    return r;
}

static int measure_pair(const struct verification *all, struct pace *launch,
                        struct pace *allocation, struct error *err)
{
    cleanup_probe struct probe plain = PROBE_INIT, limited = PROBE_INIT;
    char line[64];
    long pid = 0;
    int r = probe_start(0, all->device, 1, &plain, err);

    if (r == 0)
        r = probe_start(all->limit_bytes, all->device, 1, &limited, err);
    if (r == 0)
        r = read_pid(&plain, 0, &pid, err);
    snprintf(line, sizeof(line), "launch %d", BATCHES);
    if (r == 0)
        r = measure(&plain, &limited, line, launch, err);
    snprintf(line, sizeof(line), "alloc %" PRIu64 " %d", 64 * MIB, BATCHES / 4);
    if (r == 0)
        r = measure(&plain, &limited, line, allocation, err);
    return r;
}

static double difference(const struct pace *pace)
{
    return pace->with - pace->without;
}

/* Several pairs of processes: one may be slower than another from its start to its end, by a
 * quarter on an H200 with nothing preloaded. More of them where a figure is too high: what the
 * library costs is there in all of them, bad luck is not. */
static void check_overhead(struct verification *all)
{
    struct pace launch = {0}, allocation = {0};
    struct error err = ERROR_INIT;
    int r = 0;

    for (unsigned i = 0;
         r == 0 && i < PAIRS_MAX &&
         (i < PAIRS || difference(&launch) > LAUNCH_NS || difference(&allocation) > ALLOCATION_NS);
         i++)
        r = measure_pair(all, &launch, &allocation, &err);
    all->launch_ns = difference(&launch);
    all->allocation_ns = difference(&allocation);
    if (r < 0) {
        verdicts_broke(&all->verdicts, "what the library costs", &err);
        return;
    }
    verdicts_add(&all->verdicts, all->launch_ns <= LAUNCH_NS, "launch of an empty kernel",
                 "%+.0f ns with the library; at most %d", all->launch_ns, LAUNCH_NS);
    verdicts_add(&all->verdicts, all->allocation_ns <= ALLOCATION_NS, "64 MiB allocated and freed",
                 "%+.0f us with the library; at most %d", all->allocation_ns / 1000,
                 ALLOCATION_NS / 1000);
}

/* --- several processes --- */

static int start_two(struct verification *all, struct probe *probe, long pids[2], struct error *err)
{
    int r = probe_start(all->limit_bytes, all->device, 2, probe, err);

    for (unsigned i = 0; i < 2 && r == 0; i++)
        r = read_pid(probe, i, &pids[i], err);
    return r;
}

static int race(struct verification *all, const struct probe *probe, const long pids[2],
                struct error *err)
{
    char line[128], answers[2][PROBE_ANSWER_SIZE];
    uint64_t used = 0;
    int codes[2] = {-1, -1}, shown, r = 0;

    format_fill(all, "cuMemAlloc", line, sizeof(line));
    for (unsigned i = 0; i < 2 && r == 0; i++)
        r = probe_ask(probe, i, line, err);
    for (unsigned i = 0; i < 2 && r == 0; i++) {
        codes[i] = probe_answer(probe, i, answers[i], err);
        r = codes[i] < 0 ? codes[i] : 0;
    }
    if (r < 0)
        return r;
    shown = read_used(all, pids, 2, &used);
    verdicts_add(&all->verdicts,
                 codes[0] == OUT_OF_MEMORY && codes[1] == OUT_OF_MEMORY &&
                     (shown < 0 || used <= all->limit_bytes + GRANULE),
                 "two processes racing",
                 "%s + %s bytes got; the driver shows %" PRIu64 " of %" PRIu64 " MiB%s",
                 answers[0] + 1, answers[1] + 1, used / MIB, all->limit_bytes / MIB,
                 shown < 0 ? " (not told here)" : "");
    return 0;
}

/* What the killed one had is the other's. */
static int release(struct verification *all, const struct probe *probe, const long pids[2],
                   struct error *err)
{
    const uint64_t begun_ms = clock_now_ms();
    char line[96], answer[PROBE_ANSWER_SIZE];
    uint64_t ms = 0;
    int code = probe_call(probe, 0, "drop", answer, err);

    if (code == 0)
        kill((pid_t)pids[1], SIGKILL);
    snprintf(line, sizeof(line), "take cuMemAlloc %" PRIu64, all->limit_bytes / 4 * 3);
    while (code >= 0 && ms < UINT64_C(10) * RELEASE_MS) {
        code = probe_call(probe, 0, line, answer, err);
        ms = clock_now_ms() - begun_ms;
        if (code == 0)
            break;
    }
    if (code < 0)
        return code;
    verdicts_add(&all->verdicts, code == 0 && ms <= RELEASE_MS, "memory of a killed process",
                 code ? "not free after %" PRIu64 " ms" : "another's after %" PRIu64 " ms", ms);
    return 0;
}

static void check_isolation(struct verification *all)
{
    cleanup_probe struct probe probe = PROBE_INIT;
    struct error err = ERROR_INIT;
    long pids[2];
    int r = start_two(all, &probe, pids, &err);

    if (r == 0)
        r = race(all, &probe, pids, &err);
    if (r == 0)
        r = release(all, &probe, pids, &err);
    if (r < 0)
        verdicts_broke(&all->verdicts, "several processes", &err);
}

/* --- in order --- */

static void print_row(const struct verification *all)
{
    const struct inventory *machine = &all->target.inventory;
    char date[32] = "";
    const time_t now = time(NULL);
    struct tm utc;

    if (gmtime_r(&now, &utc))
        strftime(date, sizeof(date), "%Y-%m-%d", &utc);
    printf(
        "\nFor doc/support.md:\n| %s%s | %s | %s (%u of %u) | %+.0f ns a launch, %+.0f us for 64 "
        "MiB | %s |\n",
        machine->gpus[all->gpu].model, environment_get("GPUSLICE_MACHINE") ? ", simulated" : "",
        machine->driver_version, all->verdicts.n_failed ? "FAIL" : "PASS",
        all->verdicts.n_checks - all->verdicts.n_failed, all->verdicts.n_checks, all->launch_ns,
        all->allocation_ns / 1000, date);
}

static int choose(const struct request *request, struct verification *all, struct error *err)
{
    const struct request this_node = {.node = true};
    int r = target_observe(&this_node, NULL, &all->target, err);

    if (r < 0)
        return r;
    all->device = request->device ? request->device : "0";
    for (size_t i = 0; i < all->target.inventory.n_gpus; i++) {
        const struct gpu *gpu = &all->target.inventory.gpus[i];
        char index[16];

        snprintf(index, sizeof(index), "%u", gpu->index);
        if (!str_equal(all->device, index) && !str_equal(all->device, gpu->uuid))
            continue;
        all->gpu = i;
        all->limit_bytes =
            gpu->mem_total_bytes / 4 < 4096 * MIB ? gpu->mem_total_bytes / 4 : 4096 * MIB;
        return all->limit_bytes >= 1024 * MIB
                   ? 0
                   : error_set(err, -ENOTSUP, "GPU %s is too small, or its size is unknown", index);
    }
    return error_set(err, -ENODEV, "there is no GPU '%.96s'", all->device);
}

enum exit_status verb_verify(const struct request *request)
{
    struct verification all = {.target = TARGET_INIT};
    struct error err = ERROR_INIT;

    if (choose(request, &all, &err) < 0) {
        complain("%s", error_text(&err));
        target_deinit(&all.target);
        return EXIT_UNREADABLE;
    }
    printf("%s%s, driver %s; a limit of %" PRIu64 " MiB\n",
           all.target.inventory.gpus[all.gpu].model,
           environment_get("GPUSLICE_MACHINE") ? " (simulated)" : "",
           all.target.inventory.driver_version, all.limit_bytes / MIB);
    setenv("CUDA_VISIBLE_DEVICES", all.target.inventory.gpus[all.gpu].uuid, 1);
    check_limit(&all);
    check_overhead(&all);
    check_isolation(&all);
    computecheck_run(all.target.inventory.gpus[all.gpu].uuid, all.limit_bytes, &all.verdicts);
    print_row(&all);
    target_deinit(&all.target);
    return all.verdicts.n_failed ? EXIT_ERRORS : EXIT_CLEAN;
}
