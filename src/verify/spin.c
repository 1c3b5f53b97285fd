// SPDX-License-Identifier: Apache-2.0
#include "verify/spin.h"

#include <time.h>

#include "base/clock.h"
#include "verify/kernelimage.h"

enum {
    SCRATCH_BYTES = 256,
    BLOCKS = 132,
    THREADS = 128,
    TRIALS = 60, /* the first ones let the clocks rise; the quickest was least disturbed */
    TRIAL_ROUNDS = 200000,
    TRIAL_US = 1000, /* on the simulator */
};

#define US_NS UINT64_C(1000)

/* Nothing reads what it writes. */
static CUresult try_write(const struct cudalib *cuda, const struct spin *spin)
{
    CUresult r = CUDA_ERROR_NOT_SUPPORTED;

    if (cuda->cuStreamWriteValue32_v2)
        r = cuda->cuStreamWriteValue32_v2(spin->stream, spin->scratch, 1, 0);
    else if (cuda->cuStreamWriteValue32)
        r = cuda->cuStreamWriteValue32(spin->stream, spin->scratch, 1, 0);
    return r == CUDA_SUCCESS ? cuda->cuStreamSynchronize(spin->stream) : r;
}

CUresult spin_open(const struct cudalib *cuda, struct spin *spin)
{
    CUmodule module = NULL;
    CUresult r;

    if (spin->function)
        return CUDA_SUCCESS;
    r = kernelimage_load_spin(cuda, &module);
    if (r == CUDA_SUCCESS)
        r = cuda->cuStreamCreate(&spin->stream, CU_STREAM_NON_BLOCKING);
    if (r == CUDA_SUCCESS)
        r = cuda->cuMemAlloc_v2(&spin->scratch, SCRATCH_BYTES);
    if (r == CUDA_SUCCESS)
        r = try_write(cuda, spin);
    return r == CUDA_SUCCESS ? cuda->cuModuleGetFunction(&spin->function, module, "spin_us") : r;
}

static CUresult launch(const struct cudalib *cuda, const struct spin *spin, uint32_t us,
                       uint64_t rounds)
{
    CUdeviceptr stop = spin->scratch;
    void *parameters[] = {&us, &rounds, &stop};

    return cuda->cuLaunchKernel(spin->function, BLOCKS, 1, 1, THREADS, 1, 1, 0, spin->stream,
                                parameters, NULL);
}

static CUresult launch_order(const struct cudalib *cuda, const struct spin *spin,
                             const struct spin_order *order)
{
    return launch(cuda, spin, order->us, (uint64_t)(order->us * order->rounds_per_us) + 1);
}

CUresult spin_measure(const struct cudalib *cuda, const struct spin *spin, double *ret_per_us)
{
    uint64_t least_ns = UINT64_MAX;
    CUresult r = CUDA_SUCCESS;

    for (unsigned i = 0; r == CUDA_SUCCESS && i < TRIALS; i++) {
        const uint64_t begun_ns = clock_now_ns();
        uint64_t ns;

        r = launch(cuda, spin, TRIAL_US, TRIAL_ROUNDS);
        if (r == CUDA_SUCCESS)
            r = cuda->cuStreamSynchronize(spin->stream);
        ns = clock_now_ns() - begun_ns;
        least_ns = ns < least_ns ? ns : least_ns;
    }
    *ret_per_us = TRIAL_ROUNDS / ((double)least_ns / (double)US_NS);
    return r;
}

static CUresult make_events(const struct cudalib *cuda, unsigned n, CUevent events[])
{
    CUresult r = CUDA_SUCCESS;

    for (unsigned i = 0; r == CUDA_SUCCESS && i < n; i++)
        r = cuda->cuEventCreate(&events[i], CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING);
    return r;
}

static void end_events(const struct cudalib *cuda, unsigned n, const CUevent events[])
{
    for (unsigned i = 0; i < n; i++)
        if (events[i])
            cuda->cuEventDestroy_v2(events[i]);
}

static CUresult keep(const struct cudalib *cuda, const struct spin *spin,
                     const struct spin_order *order, const CUevent events[], uint64_t *ret_done)
{
    CUresult r = CUDA_SUCCESS;
    uint64_t now_ns = 0, done = 0;

    for (uint64_t n = 0; r == CUDA_SUCCESS && now_ns < order->end_ns; n++) {
        CUevent event = events[n % order->depth];

        if (n >= order->depth)
            r = cuda->cuEventSynchronize(event);
        now_ns = clock_now_ns();
        done += n >= order->depth && now_ns >= order->begin_ns && now_ns < order->end_ns;
        if (r == CUDA_SUCCESS)
            r = launch_order(cuda, spin, order);
        if (r == CUDA_SUCCESS)
            r = cuda->cuEventRecord(event, spin->stream);
    }
    *ret_done = done;
    return r == CUDA_SUCCESS ? cuda->cuStreamSynchronize(spin->stream) : r;
}

CUresult spin_keep(const struct cudalib *cuda, const struct spin *spin,
                   const struct spin_order *order, uint64_t *ret_done)
{
    CUevent events[SPIN_DEPTH_MAX] = {NULL};
    CUresult r;

    if (!order->depth || order->depth > SPIN_DEPTH_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    r = make_events(cuda, order->depth, events);
    if (r == CUDA_SUCCESS)
        r = keep(cuda, spin, order, events, ret_done);
    end_events(cuda, order->depth, events);
    return r;
}

static void think(unsigned us)
{
    const struct timespec pause = {.tv_sec = us / 1000000, .tv_nsec = (long)us % 1000000 * 1000};

    nanosleep(&pause, NULL);
}

CUresult spin_bursts(const struct cudalib *cuda, const struct spin *spin,
                     const struct spin_order *order, uint64_t *ret_ns, size_t *ret_n)
{
    CUresult r = CUDA_SUCCESS;
    size_t n = 0;

    while (r == CUDA_SUCCESS && n < SPIN_SAMPLES_MAX) {
        const uint64_t begun_ns = clock_now_ns();

        if (begun_ns >= order->end_ns)
            break;
        r = launch_order(cuda, spin, order);
        if (r == CUDA_SUCCESS)
            r = cuda->cuStreamSynchronize(spin->stream);
        if (begun_ns >= order->begin_ns)
            ret_ns[n++] = clock_now_ns() - begun_ns;
        think(order->think_us);
    }
    *ret_n = n;
    return r;
}
