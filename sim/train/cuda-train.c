// SPDX-License-Identifier: Apache-2.0

/*
 * cuda-train: a small training loop, as a program of a user, for demos and tests.
 *
 * It knows nothing of slices and uses the CUDA driver API alone. Each step copies a batch to the
 * GPU, fills the gradients, launches a kernel, copies both back and compares them. With --grow it
 * takes more memory in each step, and tells what CUDA says when there is no more; with --when-asked
 * only from a SIGUSR1 on, until there is no more.
 *
 * It is built twice. cuda-train finds its functions as NVIDIA's runtime library does: dlopen of
 * libcuda.so.1, then cuGetProcAddress for a CUDA version. cuda-train-linked is linked with the
 * driver's library.
 */

#include <dlfcn.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim/cuda-abi.h"

#define CUDA_CALL(name, asked, since, variant, arguments, values) CUresult name arguments;
#define CUDA_SAME(name, other, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"

#define CALLS(CALL)                      \
    CALL(cuInit)                         \
    CALL(cuDriverGetVersion)             \
    CALL(cuGetErrorName)                 \
    CALL(cuDeviceGet)                    \
    CALL(cuDeviceGetName)                \
    CALL(cuDeviceTotalMem, _v2)          \
    CALL(cuDevicePrimaryCtxRetain)       \
    CALL(cuDevicePrimaryCtxRelease, _v2) \
    CALL(cuCtxSetCurrent)                \
    CALL(cuMemGetInfo, _v2)              \
    CALL(cuMemAlloc, _v2)                \
    CALL(cuMemFree, _v2)                 \
    CALL(cuMemcpyHtoDAsync, _v2)         \
    CALL(cuMemcpyDtoHAsync, _v2)         \
    CALL(cuMemsetD32Async)               \
    CALL(cuStreamCreate)                 \
    CALL(cuStreamSynchronize)            \
    CALL(cuModuleLoadData)               \
    CALL(cuModuleGetFunction)            \
    CALL(cuLaunchKernel)

static struct {
#define CALL(name, ...) __typeof__(name##__VA_ARGS__) *name;
    CALLS(CALL)
#undef CALL
} cu;

#ifdef CUDA_TRAIN_LINKED
static bool find_functions(void)
{
#define CALL(name, ...) cu.name = name##__VA_ARGS__;
    CALLS(CALL)
#undef CALL
    return true;
}
#else
enum { WRITTEN_FOR = 12000 }; /* the CUDA version whose functions it asks for */

static bool find_functions(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    __typeof__(cuGetProcAddress_v2) *get = NULL;
    CUdriverProcAddressQueryResult status;

    if (library)
        get = (__typeof__(get))dlsym(library, "cuGetProcAddress_v2");
    if (!get) {
        fprintf(stderr, "cuda-train: no CUDA driver: %s\n", dlerror());
        return false;
    }
#define CALL(name, ...)                                                                     \
    if (get(#name, (void **)&cu.name, WRITTEN_FOR, CU_GET_PROC_ADDRESS_DEFAULT, &status) || \
        !cu.name) {                                                                         \
        fprintf(stderr, "cuda-train: the driver has no %s\n", #name);                       \
        return false;                                                                       \
    }
    CALLS(CALL)
#undef CALL
    return true;
}
#endif

/* PTX, which a real GPU runs as well: it waits for so many microseconds. */
static const char kernels[] = ".version 6.0\n"
                              ".target sm_60\n"
                              ".address_size 64\n"
                              ".visible .entry spin_us(.param .u32 us)\n"
                              "{\n"
                              "    .reg .pred %p; .reg .u32 %u; .reg .u64 %begin, %now, %span;\n"
                              "    ld.param.u32 %u, [us];\n"
                              "    mul.wide.u32 %span, %u, 1000;\n"
                              "    mov.u64 %begin, %globaltimer;\n"
                              "again:\n"
                              "    mov.u64 %now, %globaltimer;\n"
                              "    sub.u64 %now, %now, %begin;\n"
                              "    setp.lt.u64 %p, %now, %span;\n"
                              "    @%p bra again;\n"
                              "    ret;\n"
                              "}\n";

#define MIB UINT64_C(1048576)

enum { BATCH = 4096 }; /* numbers */

static struct {
    unsigned long memory_mib, grow_mib, steps, step_ms;
    int device;
    bool goes_on, waits;
} wanted = {.memory_mib = 64, .step_ms = 100};

static volatile sig_atomic_t is_asked_to_end, is_asked_to_grow;

static struct {
    CUdevice device;
    CUstream stream;
    CUfunction kernel;
    CUdeviceptr weights, batch, gradients;
    unsigned host_batch[BATCH], host_gradients[BATCH];
} model;

static void end(int number)
{
    is_asked_to_end = 1;
}

static void begin_to_grow(int number)
{
    is_asked_to_grow = 1;
}

/* True when it was done; else it says what was not. */
static bool done(CUresult result, const char *what)
{
    const char *name = NULL;

    if (result == CUDA_SUCCESS)
        return true;
    if (cu.cuGetErrorName(result, &name) != CUDA_SUCCESS || !name)
        name = "an error without a name";
    printf("%s: %s (%d)\n", what, name, (int)result);
    return false;
}

#define DO(name, ...) done(cu.name(__VA_ARGS__), #name)

static void say_memory(const char *when)
{
    size_t free_bytes = 0, total = 0;

    if (DO(cuMemGetInfo, &free_bytes, &total))
        printf("%s: %zu MiB free of %zu MiB\n", when, free_bytes / (size_t)MIB,
               total / (size_t)MIB);
}

static bool start(void)
{
    CUcontext context;
    CUmodule module;
    char name[128];
    size_t total;

    if (!DO(cuInit, 0) || !DO(cuDeviceGet, &model.device, wanted.device) ||
        !DO(cuDeviceGetName, name, sizeof(name), model.device) ||
        !DO(cuDeviceTotalMem, &total, model.device) ||
        !DO(cuDevicePrimaryCtxRetain, &context, model.device) || !DO(cuCtxSetCurrent, context))
        return false;
    printf("%s, %zu MiB\n", name, total / (size_t)MIB);
    say_memory("at start");
    return DO(cuStreamCreate, &model.stream, CU_STREAM_NON_BLOCKING) &&
           DO(cuModuleLoadData, &module, kernels) &&
           DO(cuModuleGetFunction, &model.kernel, module, "spin_us") &&
           DO(cuMemAlloc, &model.weights, wanted.memory_mib * MIB) &&
           DO(cuMemAlloc, &model.batch, sizeof(model.host_batch)) &&
           DO(cuMemAlloc, &model.gradients, sizeof(model.host_gradients));
}

static bool is_right(unsigned step)
{
    for (unsigned i = 0; i < BATCH; i++)
        if (model.host_batch[i] != step * BATCH + i || model.host_gradients[i] != ~step)
            return false;
    return true;
}

static bool take_step(unsigned step)
{
    unsigned us = (unsigned)wanted.step_ms * 1000;
    void *parameters[] = {&us};

    for (unsigned i = 0; i < BATCH; i++)
        model.host_batch[i] = step * BATCH + i;
    if (!DO(cuMemcpyHtoDAsync, model.batch, model.host_batch, sizeof(model.host_batch),
            model.stream) ||
        !DO(cuMemsetD32Async, model.gradients, ~step, BATCH, model.stream) ||
        !DO(cuLaunchKernel, model.kernel, 1, 1, 1, 1, 1, 1, 0, model.stream, parameters, NULL))
        return false;
    memset(model.host_batch, 0, sizeof(model.host_batch));
    if (!DO(cuMemcpyDtoHAsync, model.host_batch, model.batch, sizeof(model.host_batch),
            model.stream) ||
        !DO(cuMemcpyDtoHAsync, model.host_gradients, model.gradients, sizeof(model.host_gradients),
            model.stream) ||
        !DO(cuStreamSynchronize, model.stream))
        return false;
    if (!is_right(step))
        printf("step %u: the GPU gave back something else\n", step);
    return is_right(step);
}

/* False when there is no more, and the program is to end then. */
static bool grow(unsigned step)
{
    CUdeviceptr more;
    char what[64];

    snprintf(what, sizeof(what), "step %u: cuMemAlloc of %lu MiB", step, wanted.grow_mib);
    if (!wanted.grow_mib || (wanted.waits && !is_asked_to_grow) ||
        done(cu.cuMemAlloc(&more, wanted.grow_mib * MIB), what))
        return true;
    is_asked_to_grow = 0;
    say_memory("then");
    return wanted.goes_on || wanted.waits;
}

static int train(void)
{
    unsigned step = 0;

    for (; !is_asked_to_end && (!wanted.steps || step < wanted.steps); step++) {
        if (!grow(step) || !take_step(step))
            return EXIT_FAILURE;
        if (step % 10 == 0)
            say_memory("training");
    }
    printf("%u steps done\n", step);
    return DO(cuMemFree, model.weights) && DO(cuDevicePrimaryCtxRelease, model.device)
               ? EXIT_SUCCESS
               : EXIT_FAILURE;
}

static const char usage[] =
    "usage: cuda-train [--memory MIB] [--grow MIB] [--go-on|--when-asked] [--steps N]\n"
    "                  [--step-ms MS] [--device N]\n"
    "\n"
    "  --memory MIB   what it has from the beginning (64)\n"
    "  --grow MIB     what it takes more in each step (0)\n"
    "  --go-on        it trains on when there is no more, and tries again in each step\n"
    "  --when-asked   it grows only once it gets SIGUSR1, until there is no more, and trains on\n"
    "  --steps N      ends after so many (0: when it gets SIGTERM)\n"
    "  --step-ms MS   how long the kernel of a step takes (100)\n"
    "  --device N     which GPU (0)\n";

static bool take_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"memory", required_argument, NULL, 'm'}, {"grow", required_argument, NULL, 'g'},
        {"go-on", no_argument, NULL, 'o'},        {"when-asked", no_argument, NULL, 'w'},
        {"steps", required_argument, NULL, 'n'},  {"step-ms", required_argument, NULL, 't'},
        {"device", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;

        if (option == 'm')
            wanted.memory_mib = value;
        else if (option == 'g')
            wanted.grow_mib = value;
        else if (option == 'o')
            wanted.goes_on = true;
        else if (option == 'w')
            wanted.waits = true;
        else if (option == 'n')
            wanted.steps = value;
        else if (option == 't')
            wanted.step_ms = value;
        else if (option == 'd')
            wanted.device = (int)value;
        else
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    if (!take_options(argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGUSR1, begin_to_grow);
    return find_functions() && start() ? train() : EXIT_FAILURE;
}
