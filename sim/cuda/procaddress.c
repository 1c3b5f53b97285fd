// SPDX-License-Identifier: Apache-2.0

/* cuGetProcAddress: which export a name means for a CUDA version and a default stream. */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "cuda/cuda.h"

static const struct entry {
    const char *asked, *name;
    unsigned since;
    enum cuda_when variant;
} entries[] = {
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    {#asked, #name, since, CUDA_##variant},
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    {#asked, #name, since, CUDA_##variant},
#define ABSENT(name, asked, since, variant) {#asked, #name, since, CUDA_##variant},
#include "cuda/absent.def"
#include "shim/cuda-calls.def"
};

/* Per-thread default streams came with CUDA 7. */
enum { PER_THREAD_SINCE = 7000 };

/* The newest function of that name that the version has; *ret_is_known: a later one has the name.
 */
static const struct entry *find(const char *asked, unsigned version, bool *ret_is_known)
{
    const struct entry *best = NULL;

    *ret_is_known = false;
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        if (strcmp(entries[i].asked, asked) != 0 || entries[i].since > cuda_version() ||
            cuda_is_missing(entries[i].name))
            continue;
        *ret_is_known = true;
        if (entries[i].since <= version && (!best || entries[i].since > best->since))
            best = &entries[i];
    }
    return best;
}

static const char *suffix(const struct entry *entry, unsigned version, uint64_t flags)
{
    if (!(flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) || version < PER_THREAD_SINCE)
        return "";
    if (entry->variant == CUDA_PTDS)
        return "_ptds";
    return entry->variant == CUDA_PTSZ || entry->variant == CUDA_EARLY_PTSZ ? "_ptsz" : "";
}

static void *own_symbol(const char *name, const char *ending)
{
    static void *self; /* not RTLD_DEFAULT: a preloaded library may have the name, too */
    char full[128];
    Dl_info info;

    if (!self && dladdr((void *)(uintptr_t)sim_cuGetProcAddress, &info))
        self = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (!self)
        return NULL;
    snprintf(full, sizeof(full), "%s%s", name, ending);
    return dlsym(self, full);
}

CUresult sim_cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                                 CUdriverProcAddressQueryResult *status)
{
    const struct entry *entry;
    bool is_known;

    if (!symbol || !function || version < 0 || (unsigned)version > cuda_version() || flags > 3)
        return CUDA_ERROR_INVALID_VALUE;
    if (flags == CU_GET_PROC_ADDRESS_DEFAULT && cuda_is_per_thread())
        flags = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    entry = find(symbol, (unsigned)version, &is_known);
    *function = entry ? own_symbol(entry->name, suffix(entry, (unsigned)version, flags)) : NULL;
    if (status)
        *status = *function  ? CU_GET_PROC_ADDRESS_SUCCESS
                  : is_known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                             : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return CUDA_SUCCESS;
}

/* The first version has no status, and an error instead. */
CUresult sim_cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags)
{
    CUresult r = sim_cuGetProcAddress_v2(symbol, function, version, flags, NULL);

    return r == CUDA_SUCCESS && !*function ? CUDA_ERROR_NOT_FOUND : r;
}
