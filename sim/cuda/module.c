// SPDX-License-Identifier: Apache-2.0

/*
 * Modules: any image is taken. One that is PTX has the kernels that its text names; of others
 * nothing is known, and each name is a kernel of theirs.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cuda/kernel.h"

enum { IMAGE_MAX = 256 << 20 };

struct CUmod_st {
    char *ptx; /* or NULL */
    CUmodule next;
};

static CUmodule modules;

static CUmodule *find(CUmodule module)
{
    for (CUmodule *link = &modules; *link; link = &(*link)->next)
        if (*link == module)
            return link;
    return NULL;
}

/* PTX is text; other images begin with a magic number. */
static bool is_ptx(const char *image)
{
    for (; *image == ' ' || *image == '\n' || *image == '\r' || *image == '\t'; image++)
        ;
    return strncmp(image, ".version", 8) == 0 || strncmp(image, "//", 2) == 0;
}

static CUresult load(const char *image, CUmodule *to)
{
    CUmodule module;
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    module = calloc(1, sizeof(*module));
    if (!module)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (is_ptx(image) && !(module->ptx = strdup(image))) {
        free(module);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    module->next = modules;
    modules = module;
    *to = module;
    return CUDA_SUCCESS;
}

CUresult sim_cuModuleLoadData(CUmodule *to, const void *image)
{
    return to && image ? load(image, to) : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuModuleLoadDataEx(CUmodule *to, const void *image, unsigned n, CUjit_option *options,
                                void **values)
{
    return sim_cuModuleLoadData(to, image);
}

CUresult sim_cuModuleLoadFatBinary(CUmodule *to, const void *image)
{
    return sim_cuModuleLoadData(to, image);
}

CUresult sim_cuModuleLoad(CUmodule *to, const char *path)
{
    cleanup_free char *image = NULL;
    size_t size;

    if (!to || !path)
        return CUDA_ERROR_INVALID_VALUE;
    if (file_read(path, IMAGE_MAX, &image, &size, NULL) < 0)
        return CUDA_ERROR_FILE_NOT_FOUND;
    return load(image, to);
}

CUresult sim_cuModuleUnload(CUmodule module)
{
    CUmodule *link = find(module);

    if (!link)
        return CUDA_ERROR_INVALID_HANDLE;
    *link = module->next;
    kernel_end_module(module);
    free(module->ptx);
    free(module);
    return CUDA_SUCCESS;
}

static bool is_end_of_name(char c)
{
    return c == '(' || c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\0';
}

/* ".visible .entry NAME(" */
static bool names_kernel(const char *ptx, const char *name)
{
    for (const char *at = ptx; (at = strstr(at, ".entry")); at++) {
        const char *word = at + strlen(".entry");

        word += strspn(word, " \t\r\n");
        if (strncmp(word, name, strlen(name)) == 0 && is_end_of_name(word[strlen(name)]))
            return true;
    }
    return false;
}

CUresult sim_cuModuleGetFunction(CUfunction *to, CUmodule module, const char *name)
{
    if (!find(module))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!to || !name || !*name)
        return CUDA_ERROR_INVALID_VALUE;
    if (module->ptx && !names_kernel(module->ptx, name))
        return CUDA_ERROR_NOT_FOUND;
    return kernel_find(module, name, to);
}

CUresult sim_cuModuleGetLoadingMode(CUmoduleLoadingMode *to)
{
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    *to = CU_MODULE_LAZY_LOADING;
    return CUDA_SUCCESS;
}
