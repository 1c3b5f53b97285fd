// SPDX-License-Identifier: Apache-2.0

/*
 * With libgpuslice.so preloaded: each function of hooks.def, looked up by each route that there is,
 * is ours, and reaches the driver when it is called. Linked to the driver, as a program may be;
 * prints TAP.
 *
 *     preload-routes LIBCUDA
 */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "shim/hook.h"

static const struct row {
    const char *name;
    void *linked;
    bool is_nvml;
} rows[] = {
#define HOOK(name)      {#name, (void *)name, false},
#define NVML_HOOK(name) {#name, (void *)name, true},
#include "shim/hooks.def"
#undef HOOK
#undef NVML_HOOK
};

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* Every name that cuGetProcAddress is asked for, with the version that is meant. */
static const struct asked {
    const char *name, *asked;
    int since;
    bool is_per_thread;
} asked[] = {
#define EARLY(name, asked, since) {#name, #asked, since, false},
#define EARLY_PTSZ(name, asked, since) \
    EARLY(name, asked, since){#name "_ptsz", #asked, since, true},
#define PLAIN(name, asked, since)                                        EARLY(name, asked, since)
#define PTSZ(name, asked, since)                                         EARLY_PTSZ(name, asked, since)
#define PTDS(name, asked, since)                                         EARLY(name, asked, since){#name "_ptds", #asked, since, true},
#define CUDA_CALL(name, asked, since, variant, arguments, values)        variant(name, asked, since)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) variant(name, asked, since)
#define CUDA_REST(name, asked, since, variant, arguments, values)        variant(name, asked, since)
#include "shim/cuda-calls.def"
};

enum { N_ASKED = sizeof(asked) / sizeof(asked[0]) };

static void *libcuda, *libnvml;
static unsigned n_failures, n_cases;

static bool is_hooked(const char *name)
{
    for (unsigned i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return true;
    return false;
}

/* In the preloaded library, under that name or one of the same function. */
static bool is_ours(void *function, const char *name)
{
    Dl_info info;

    return function && dladdr(function, &info) && strstr(info.dli_fname, "libgpuslice") &&
           info.dli_sname && strncmp(info.dli_sname, name, strcspn(name, "_")) == 0;
}

static void check(bool good, const char *name, const char *route)
{
    n_cases++;
    n_failures += !good;
    printf("%sok %u - %s by %s\n", good ? "" : "not ", n_cases, name, route);
}

/* Before cuInit the driver answers without looking at an argument; so do we. */
static bool reaches_the_driver(const struct row *row, void *function)
{
    int (*call)(void *, void *, void *, void *, void *);
    int r;

    *(void **)&call = function;
    r = call(NULL, NULL, NULL, NULL, NULL);
    if (row->is_nvml)
        return r == NVML_ERROR_UNINITIALIZED;
    if (strncmp(row->name, "cuGetProcAddress", 16) == 0)
        return r == CUDA_ERROR_INVALID_VALUE;
    return r == CUDA_ERROR_NOT_INITIALIZED;
}

static void check_row(const struct row *row)
{
    void *library = row->is_nvml ? libnvml : libcuda;
    void *self = dlopen(NULL, RTLD_LAZY);
    void *found = dlsym(library, row->name);

    check(is_ours(row->linked, row->name), row->name, "linking");
    check(is_ours(found, row->name), row->name, "dlsym");
    check(is_ours(dlsym(RTLD_DEFAULT, row->name), row->name), row->name, "RTLD_DEFAULT");
    check(is_ours(dlsym(RTLD_NEXT, row->name), row->name), row->name, "RTLD_NEXT");
    check(is_ours(dlsym(self, row->name), row->name), row->name, "the program's handle");
    check(!dlvsym(library, row->name, "NONE_1.0") ||
              is_ours(dlvsym(library, row->name, "NONE_1.0"), row->name),
          row->name, "dlvsym");
    if (found)
        check(reaches_the_driver(row, found), row->name, "a call");
}

static void check_asked(const struct asked *row)
{
    const uint64_t flags = row->is_per_thread ? CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM : 0;
    const int since = row->is_per_thread && row->since < 7000 ? 7000 : row->since;
    CUdriverProcAddressQueryResult status;
    void *first = NULL, *second = NULL;

    if (!is_hooked(row->name))
        return;
    if (cuGetProcAddress_v2(row->asked, &second, since, flags, &status) != CUDA_SUCCESS || !second)
        return; /* a later driver's */
    check(is_ours(second, row->asked), row->name, "cuGetProcAddress_v2");
    check(cuGetProcAddress(row->asked, &first, since, flags) == CUDA_SUCCESS && first == second,
          row->name, "cuGetProcAddress");
}

static void check_the_rest(void)
{
    int (*find_version)(const char *name, void **function, int version, uint64_t flags);
    void *function = NULL;

    check(dlsym(libcuda, "cuStreamGetFlags") && !is_ours(dlsym(libcuda, "cuStreamGetFlags"), "cu"),
          "cuStreamGetFlags", "dlsym is the driver's");
    check(cuGetProcAddress("cuStreamGetFlags", &function, 12000, 0) == CUDA_SUCCESS &&
              function == dlsym(libcuda, "cuStreamGetFlags"),
          "cuStreamGetFlags", "cuGetProcAddress is the driver's");
    check(cuGetProcAddress("cuGetProcAddress", (void **)&find_version, 11030, 0) == CUDA_SUCCESS &&
              find_version("cuMemAlloc", &function, 12000, 0) == CUDA_SUCCESS &&
              is_ours(function, "cuMemAlloc"),
          "cuGetProcAddress", "itself");
    check(!dlsym(libcuda, "cuMemAllocNowhere") && dlerror(), "an unknown name", "dlsym");
    check(dlsym(RTLD_DEFAULT, "dlsym") == dlsym(RTLD_NEXT, "dlsym"), "dlsym", "itself");
    check(dlsym(RTLD_NEXT, "strlen") && dlvsym(RTLD_DEFAULT, "dlsym", "GLIBC_2.34"), "libc's",
          "dlvsym");
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    libcuda = dlopen(argv[1], RTLD_LAZY);
    libnvml = dlopen("libnvidia-ml.so.1", RTLD_LAZY);
    for (unsigned i = 0; i < N_ROWS; i++)
        check_row(&rows[i]);
    for (unsigned i = 0; i < N_ASKED; i++)
        check_asked(&asked[i]);
    check_the_rest();
    printf("1..%u\n", n_cases);
    return n_failures ? 1 : 0;
}
