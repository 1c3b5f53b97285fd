// SPDX-License-Identifier: Apache-2.0

/*
 * gpuslice-prober: a program that uses a GPU as lines on standard input say, one after the
 * other; for `gpuslice verify` and tests/bench/gpu, which run it with and without the library. It
 * answers each line with one: CUDA's code, and what is named below. It ends with its input.
 *
 *     info                    pid, driver's CUDA version, total and free bytes, name
 *     mem                     total and free bytes
 *     graphmem                what the driver says that graphs of the device use, and have reserved
 *     take FAMILY BYTES       takes them at once
 *     fill FAMILY BYTES LEAST MOST
 *                             takes as many as it gets, at most MOST bytes in all; pieces are
 *                             halved down to LEAST. Bytes
 *     drop [N]                gives back what was taken, or the last N pieces of it. How many
 *     launch N, graph N       nanoseconds a call, of each batch
 *     alloc BYTES N           the same for a pair of cuMemAlloc and cuMemFree
 *     speed                   rounds per microsecond of a kernel that counts (verify/spin.h), on a
 *                             device that is idle otherwise. 801: there can be no turns
 *     keep SPEED US DEPTH BEGIN END
 *                             has DEPTH kernels of US microseconds queued, from now until END, in
 *                             nanoseconds of CLOCK_MONOTONIC. How many were done since BEGIN
 *     bursts SPEED US THINK BEGIN END
 *                             one such kernel after the other, with THINK microseconds between.
 *                             How many since BEGIN, and the microseconds that half of them and 99 %
 *                             took at most, from launch to end
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "verify/family.h"
#include "verify/pace.h"
#include "verify/spin.h"

enum { PIECES_MAX = 65536, BATCHES_MAX = 4096, LINE_SIZE = 256, NO_COMMAND = -1 };

static struct cudalib cuda;
static struct family_site site = {.cuda = &cuda};
static struct spin spin;
static bool is_ready;

static struct {
    const struct family *family;
    struct family_piece piece;
} pieces[PIECES_MAX];
static size_t n_pieces;

static CUresult prepare(void)
{
    CUcontext context;
    CUresult r = CUDA_SUCCESS;

    if (is_ready)
        return CUDA_SUCCESS;
    r = cuda.cuInit(0);
    if (r == CUDA_SUCCESS)
        r = cuda.cuDeviceGet(&site.device, 0);
    if (r == CUDA_SUCCESS)
        r = cuda.cuDevicePrimaryCtxRetain(&context, site.device);
    if (r == CUDA_SUCCESS)
        r = cuda.cuCtxSetCurrent(context);
    is_ready = r == CUDA_SUCCESS;
    return r;
}

/* --- commands; each prints what follows the code --- */

static CUresult run_mem(const char *words, struct text *out)
{
    size_t free_bytes = 0, total_bytes = 0;
    CUresult r = cuda.cuMemGetInfo_v2(&free_bytes, &total_bytes);

    (void)words;
    text_addf(out, " %zu %zu", total_bytes, free_bytes);
    return r;
}

static CUresult run_graphmem(const char *words, struct text *out)
{
    uint64_t used = 0, reserved = 0;
    CUresult r =
        cuda.cuDeviceGetGraphMemAttribute(site.device, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used);

    (void)words;
    if (r == CUDA_SUCCESS)
        r = cuda.cuDeviceGetGraphMemAttribute(site.device, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT,
                                              &reserved);
    text_addf(out, " %" PRIu64 " %" PRIu64, used, reserved);
    return r;
}

static CUresult run_info(const char *words, struct text *out)
{
    char name[128] = "";
    int version = 0;
    CUresult r = cuda.cuDriverGetVersion(&version);

    if (r == CUDA_SUCCESS)
        r = cuda.cuDeviceGetName(name, sizeof(name), site.device);
    text_addf(out, " %d %d", (int)getpid(), version);
    if (r == CUDA_SUCCESS)
        r = run_mem(words, out);
    text_addf(out, " %s", name);
    return r;
}

static CUresult take(const struct family *family, uint64_t bytes)
{
    struct family_piece piece = {.bytes = bytes};
    CUresult r;

    if (n_pieces == PIECES_MAX)
        return CUDA_ERROR_UNKNOWN;
    r = family->take(&site, bytes, &piece);
    if (r == CUDA_SUCCESS) {
        pieces[n_pieces].family = family;
        pieces[n_pieces++].piece = piece;
    }
    return r;
}

static CUresult run_take(const char *words, struct text *out)
{
    const struct family *family;
    char name[64];
    uint64_t bytes;

    (void)out;
    if (sscanf(words, "%63s %" SCNu64, name, &bytes) != 2 || !(family = family_find(name)))
        return CUDA_ERROR_INVALID_VALUE;
    return take(family, bytes);
}

static CUresult run_fill(const char *words, struct text *out)
{
    uint64_t bytes, least, most, taken = 0;
    const struct family *family;
    CUresult r = CUDA_SUCCESS;
    char name[64];

    if (sscanf(words, "%63s %" SCNu64 " %" SCNu64 " %" SCNu64, name, &bytes, &least, &most) != 4 ||
        !least || !(family = family_find(name)))
        return CUDA_ERROR_INVALID_VALUE;
    for (; bytes >= least; bytes /= 2)
        while (taken + bytes <= most && (r = take(family, bytes)) == CUDA_SUCCESS)
            taken += bytes;
    text_addf(out, " %" PRIu64, taken);
    return r;
}

static CUresult run_drop(const char *words, struct text *out)
{
    const size_t n = n_pieces;
    CUresult r = CUDA_SUCCESS;
    size_t wanted;

    if (sscanf(words, "%zu", &wanted) != 1)
        wanted = n;
    while (n_pieces > 0 && n - n_pieces < wanted && r == CUDA_SUCCESS) {
        n_pieces--;
        r = pieces[n_pieces].family->give(&site, &pieces[n_pieces].piece);
    }
    if (r == CUDA_SUCCESS && site.pool)
        r = cuda.cuMemPoolTrimTo(site.pool, 0);
    text_addf(out, " %zu", n - n_pieces);
    return r;
}

static void add_samples(const double *ns, unsigned n, struct text *out)
{
    for (unsigned i = 0; i < n; i++)
        text_addf(out, " %.1f", ns[i]);
}

static CUresult run_paced(const char *words,
                          CUresult (*pace)(const struct cudalib *, unsigned, double *),
                          struct text *out)
{
    static double ns[BATCHES_MAX];
    unsigned n;
    CUresult r;

    if (sscanf(words, "%u", &n) != 1 || n > BATCHES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    r = pace(&cuda, n, ns);
    add_samples(ns, r == CUDA_SUCCESS ? n : 0, out);
    return r;
}

static CUresult run_launch(const char *words, struct text *out)
{
    return run_paced(words, pace_launch, out);
}

static CUresult run_graph(const char *words, struct text *out)
{
    return run_paced(words, pace_graph, out);
}

static CUresult run_alloc(const char *words, struct text *out)
{
    static double ns[BATCHES_MAX];
    uint64_t bytes;
    unsigned n;
    CUresult r;

    if (sscanf(words, "%" SCNu64 " %u", &bytes, &n) != 2 || n > BATCHES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    r = pace_alloc(&cuda, bytes, n, ns);
    add_samples(ns, r == CUDA_SUCCESS ? n : 0, out);
    return r;
}

/* --- kernels of a known time --- */

static CUresult run_speed(const char *words, struct text *out)
{
    double per_us = 0;
    CUresult r = spin_open(&cuda, &spin);

    (void)words;
    if (r == CUDA_SUCCESS)
        r = spin_measure(&cuda, &spin, &per_us);
    text_addf(out, " %.3f", per_us);
    return r;
}

/* third: what the number between the kernels' time and BEGIN means is the command's. */
static CUresult read_order(const char *words, unsigned *third, struct spin_order *order)
{
    if (sscanf(words, "%lf %u %u %" SCNu64 " %" SCNu64, &order->rounds_per_us, &order->us, third,
               &order->begin_ns, &order->end_ns) != 5)
        return CUDA_ERROR_INVALID_VALUE;
    return spin_open(&cuda, &spin);
}

static CUresult run_keep(const char *words, struct text *out)
{
    struct spin_order order = {.depth = 0};
    uint64_t done = 0;
    CUresult r = read_order(words, &order.depth, &order);

    if (r == CUDA_SUCCESS)
        r = spin_keep(&cuda, &spin, &order, &done);
    text_addf(out, " %" PRIu64, done);
    return r;
}

static int compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static CUresult run_bursts(const char *words, struct text *out)
{
    static uint64_t ns[SPIN_SAMPLES_MAX];
    struct spin_order order = {.depth = 0};
    size_t n = 0;
    CUresult r = read_order(words, &order.think_us, &order);

    if (r == CUDA_SUCCESS)
        r = spin_bursts(&cuda, &spin, &order, ns, &n);
    qsort(ns, n, sizeof(*ns), compare);
    text_addf(out, " %zu", n);
    if (n) {
        const uint64_t p50_ns = ns[n / 2], p99_ns = ns[n * 99 / 100];

        text_addf(out, " %.1f %.1f", (double)p50_ns / 1000, (double)p99_ns / 1000);
    }
    return r;
}

static const struct {
    const char *word;
    CUresult (*run)(const char *words, struct text *out);
} commands[] = {{"info", run_info},     {"mem", run_mem},     {"graphmem", run_graphmem},
                {"take", run_take},     {"fill", run_fill},   {"drop", run_drop},
                {"launch", run_launch}, {"graph", run_graph}, {"alloc", run_alloc},
                {"speed", run_speed},   {"keep", run_keep},   {"bursts", run_bursts}};

static int answer(const char *line, struct text *out)
{
    const size_t length = strcspn(line, " ");

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        CUresult r;

        if (strlen(commands[i].word) != length || strncmp(commands[i].word, line, length) != 0)
            continue;
        r = prepare();
        return r == CUDA_SUCCESS ? (int)commands[i].run(line + length, out) : (int)r;
    }
    return NO_COMMAND;
}

int main(void)
{
    struct error err = ERROR_INIT;
    char line[LINE_SIZE];

    if (cudalib_load(&cuda, &err) < 0) {
        fprintf(stderr, "gpuslice-prober: %s\n", error_text(&err));
        return 1;
    }
    while (fgets(line, sizeof(line), stdin)) {
        cleanup_text struct text out = TEXT_INIT;
        int code;

        line[strcspn(line, "\n")] = '\0';
        code = answer(line, &out);
        printf("%d%s\n", code, text_string(&out));
        fflush(stdout);
    }
    return 0;
}
