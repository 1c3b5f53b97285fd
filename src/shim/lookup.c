// SPDX-License-Identifier: Apache-2.0
#include "shim/lookup.h"

#include <dlfcn.h>
#include <stddef.h>

#include "shim/elf.h"
#include "shim/hook.h"

/* Where lookup.S has them. */
void lookup_dlsym_entry(void) __attribute__((visibility("hidden")));
void lookup_dlvsym_entry(void) __attribute__((visibility("hidden")));

static void *real_dlsym(size_t unused)
{
    return driver_dlsym();
}

static void *real_dlvsym(size_t unused)
{
    return driver_dlvsym();
}

static const struct hook {
    const char *name;
    void *function;
    void *(*real)(size_t offset); /* what it stands for; NULL: it is not there */
    size_t offset;
} hooks[] = {
#define HOOK(name) {#name, (void *)name, driver_real, offsetof(struct cuda_functions, name)},
#define NVML_HOOK(name) \
    {#name, (void *)name, driver_real_nvml, offsetof(struct nvml_functions, name)},
#include "shim/hooks.def"
    {"dlsym", (void *)lookup_dlsym_entry, real_dlsym, 0},
    {"dlvsym", (void *)lookup_dlvsym_entry, real_dlvsym, 0},
};

enum { N_HOOKS = sizeof(hooks) / sizeof(hooks[0]) };

/* Most names that programs look up end here. */
static bool may_be_ours(const char *name)
{
    return name && ((name[0] == 'c' && name[1] == 'u') || (name[0] == 'n' && name[1] == 'v') ||
                    (name[0] == 'd' && name[1] == 'l'));
}

static const struct hook *find(const char *name)
{
    for (size_t i = 0; may_be_ours(name) && i < N_HOOKS; i++)
        if (elf_is_same(hooks[i].name, name))
            return &hooks[i];
    return NULL;
}

/* libc's answer, as if we asked for ourselves: RTLD_NEXT is what stands behind us. */
static void *ask(void *handle, const char *name, const char *version)
{
    void *(*by_name)(void *handle, const char *name);
    void *(*by_version)(void *handle, const char *name, const char *version);

    *(void **)&by_name = driver_dlsym();
    *(void **)&by_version = driver_dlvsym();
    if (version)
        return by_version(handle, name, version);
    return by_name(handle, name);
}

/* Which library is meant does not matter for the two special handles: there is one driver, and our
 * exports stand before it. */
static void *resolve(const struct hook *hook, void *handle, const char *version)
{
    const bool is_special = handle == RTLD_DEFAULT || handle == RTLD_NEXT;
    void *real, *found;

    if (is_special && hook->real(hook->offset))
        return hook->function;
    found = ask(is_special ? RTLD_NEXT : handle, hook->name, version);
    if (!found || is_special)
        return found;
    real = hook->real(hook->offset);
    if (found == real)
        return hook->function;
    if (real)
        return found;
    /* Asked once more, for what dlerror says: nobody has it but us, or it is another library's. */
    return ask(found == hook->function ? RTLD_NEXT : handle, hook->name, version);
}

static struct lookup_answer answer(void *handle, const char *name, const char *version, void *next)
{
    const struct hook *hook = find(name);

    if (!hook || !next)
        return (struct lookup_answer){NULL, next};
    return (struct lookup_answer){resolve(hook, handle, version), NULL};
}

struct lookup_answer lookup_dlsym(void *handle, const char *name)
{
    return answer(handle, name, NULL, driver_dlsym());
}

struct lookup_answer lookup_dlvsym(void *handle, const char *name, const char *version)
{
    return answer(handle, name, version, driver_dlvsym());
}

/* cuMemAlloc_v2 and cuMemAlloc are cuMemAlloc; cuMemAllocAsync is not. */
static bool is_variant(const char *name, const char *asked)
{
    while (*asked && *name == *asked) {
        name++;
        asked++;
    }
    return !*asked && (!*name || *name == '_');
}

void *lookup_hook(const char *asked, void *function)
{
    for (size_t i = 0; function && i < N_HOOKS; i++)
        if (hooks[i].real == driver_real && is_variant(hooks[i].name, asked) &&
            driver_real(hooks[i].offset) == function)
            return hooks[i].function;
    return function;
}
