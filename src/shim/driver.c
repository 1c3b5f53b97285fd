// SPDX-License-Identifier: Apache-2.0
#include "shim/driver.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/elf.h"

/* Where a name's function is kept. */
struct place {
    const char *name;
    size_t offset;
};

#define PLACE(name, arguments) {#name, offsetof(struct cuda_functions, name)},
static const struct place cuda_places[] = {
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(PLACE, name, arguments)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    DRIVER_##variant(PLACE, name, arguments)
#define CUDA_REST(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(PLACE, name, arguments)
#include "shim/cuda-calls.def"
};

static const struct place nvml_places[] = {
#define NVML_CALL(name, arguments) {#name, offsetof(struct nvml_functions, name)},
#include "gpu/nvml-calls.def"
};

static struct cuda_functions driver;
static struct nvml_functions nvml;
static bool has_driver, has_nvml;

static void *libc_function(const char *name)
{
    struct elf_library library;
    void *found = NULL;

    if (elf_find_loaded("libc.so.6", &library)) /* 2.34 and later have it there */
        found = elf_find(&library, name);
    if (!found && elf_find_loaded("libdl.so.2", &library))
        found = elf_find(&library, name);
    return found;
}

/* Found once; two threads that look at the same time find the same. */
static void *kept(void **where, const char *name)
{
    void *found = __atomic_load_n(where, __ATOMIC_RELAXED);

    if (!found && (found = libc_function(name)))
        __atomic_store_n(where, found, __ATOMIC_RELAXED);
    return found;
}

void *driver_dlsym(void)
{
    static void *found;

    return kept(&found, "dlsym");
}

void *driver_dlvsym(void)
{
    static void *found;

    return kept(&found, "dlvsym");
}

/* A library that is loaded now, kept from being closed; NULL: it is not. */
static const struct link_map *pin(const char *soname)
{
    static void *found;
    void *(*open_library)(const char *name, int mode);

    *(void **)&open_library = kept(&found, "dlopen");
    return open_library ? open_library(soname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) : NULL;
}

/* The first call that needs a table fills it, or several at once with the same. */
static bool fill(const char *soname, const struct place *places, size_t n, void *table)
{
    const struct link_map *map = pin(soname);
    struct elf_library library;

    if (!map)
        return false;
    elf_read(map, &library);
    for (size_t i = 0; i < n; i++)
        __atomic_store_n((void **)((char *)table + places[i].offset),
                         elf_find(&library, places[i].name), __ATOMIC_RELAXED);
    return true;
}

static bool is_there(bool *has, const char *soname, const struct place *places, size_t n,
                     void *table)
{
    if (__atomic_load_n(has, __ATOMIC_ACQUIRE))
        return true;
    if (!fill(soname, places, n, table))
        return false;
    __atomic_store_n(has, true, __ATOMIC_RELEASE);
    return true;
}

const struct cuda_functions *driver_get(void)
{
    const size_t n = sizeof(cuda_places) / sizeof(cuda_places[0]);

    return is_there(&has_driver, "libcuda.so.1", cuda_places, n, &driver) ? &driver : NULL;
}

const struct nvml_functions *driver_get_nvml(void)
{
    const size_t n = sizeof(nvml_places) / sizeof(nvml_places[0]);

    return is_there(&has_nvml, "libnvidia-ml.so.1", nvml_places, n, &nvml) ? &nvml : NULL;
}

void *driver_real(size_t offset)
{
    return driver_get() ? *(void **)((char *)&driver + offset) : NULL;
}

void *driver_real_nvml(size_t offset)
{
    return driver_get_nvml() ? *(void **)((char *)&nvml + offset) : NULL;
}
