// SPDX-License-Identifier: Apache-2.0

/*
 * Every entry point, made from its row: what is acted out, its second name for a per-thread default
 * stream, and what only says that it is not supported.
 *
 * The last ignore their arguments: on the supported processors, a function may be called with more
 * arguments than it declares.
 */

#include <stdatomic.h>
#include <stdio.h>

#include "cuda/cuda.h"

#define ENTRY(name, call, other, when, per_thread, arguments, values)        \
    CUresult name arguments                                                  \
    {                                                                        \
        CUresult result = cuda_enter(#name, #call, CUDA_##when, per_thread); \
                                                                             \
        if (result == CUDA_SUCCESS) {                                        \
            result = sim_##other values;                                     \
            cuda_leave();                                                    \
        }                                                                    \
        return result;                                                       \
    }

#define VARIANTS_EARLY(name, other, arguments, values)
#define VARIANTS_EARLY_PTSZ(name, other, arguments, values) \
    ENTRY(name##_ptsz, name, other, EARLY_PTSZ, true, arguments, values)
#define VARIANTS_PLAIN(name, other, arguments, values)
#define VARIANTS_PTSZ(name, other, arguments, values) \
    ENTRY(name##_ptsz, name, other, PTSZ, true, arguments, values)
#define VARIANTS_PTDS(name, other, arguments, values) \
    ENTRY(name##_ptds, name, other, PTDS, true, arguments, values)

#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    CUDA_SAME(name, name, asked, since, variant, arguments, values)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    ENTRY(name, name, other, variant, false, arguments, values)          \
    VARIANTS_##variant(name, other, arguments, values)

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wmissing-declarations"
#pragma GCC visibility push(default)
#include "shim/cuda-calls.def"

/* Said once for each, so that a program that goes another way is understood. */
static CUresult refuse(const char *call, atomic_flag *is_said)
{
    CUresult r = cuda_enter(call, call, CUDA_PLAIN, false);

    if (r != CUDA_SUCCESS)
        return r;
    cuda_leave();
    if (!atomic_flag_test_and_set(is_said))
        fprintf(stderr, "gpuslice-sim: %s is not acted out, and returns CUDA_ERROR_NOT_SUPPORTED\n",
                call);
    return CUDA_ERROR_NOT_SUPPORTED;
}

#define REFUSAL(name)                                  \
    CUresult name(void)                                \
    {                                                  \
        static atomic_flag is_said = ATOMIC_FLAG_INIT; \
                                                       \
        return refuse(#name, &is_said);                \
    }
#define ABSENT_PLAIN(name)
#define ABSENT_PTSZ(name)                   REFUSAL(name##_ptsz)
#define ABSENT_PTDS(name)                   REFUSAL(name##_ptds)
#define ABSENT(name, asked, since, variant) REFUSAL(name) ABSENT_##variant(name)
#include "cuda/absent.def"
#pragma GCC visibility pop
