// SPDX-License-Identifier: Apache-2.0
#include "cuda/module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cuda/kernel.h"
#include "cuda/stream.h"

enum { IMAGE_MAX = 256 << 20, SMALL_BYTES = 1 << 20 };

struct CUmod_st {
    char *ptx;               /* or NULL */
    uint64_t variable_bytes; /* in whole granules */
    CUcontext context;       /* in whose memory they are; NULL: in none yet */
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

/* --- variables --- */

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Bytes of one element of a type as ".b8" or ".f64"; 0: it is none. */
static uint64_t type_bytes(const char *type)
{
    return *type == '.' && strchr("bsuf", type[1]) ? strtoull(type + 2, NULL, 10) / 8 : 0;
}

/* What is behind ".global": ".align 4 .b8 name[64]", where an array may have several dimensions. */
static uint64_t declared_bytes(const char *at)
{
    uint64_t bytes;

    at = skip_space(at);
    if (strncmp(at, ".align", strlen(".align")) == 0) {
        at = skip_space(at + strlen(".align"));
        at = skip_space(at + strspn(at, "0123456789"));
    }
    bytes = type_bytes(at);
    at = skip_space(at + strcspn(at, " \t\r\n"));
    for (at += strcspn(at, "[;=,)"); *at == '['; at = skip_space(strchr(at, ']') + 1)) {
        bytes *= strtoull(at + 1, NULL, 10);
        if (!strchr(at, ']'))
            return 0;
    }
    return bytes;
}

/* Small ones find room in what a context has anyway. */
static uint64_t count_variables(const char *ptx)
{
    uint64_t bytes = 0;

    for (const char *at = ptx; (at = strstr(at, ".global")); at++)
        if (at == ptx || strchr(" \t\r\n", at[-1]))
            bytes += declared_bytes(at + strlen(".global"));
    return bytes < SMALL_BYTES ? 0 : cuda_round_up(bytes, CUDA_GRANULE);
}

static void leave(CUmodule module)
{
    if (module->context)
        cuda_refund(module->context->device, module->variable_bytes);
    module->context = NULL;
}

static void end_modules(CUcontext context)
{
    for (CUmodule module = modules; module; module = module->next)
        if (module->context == context)
            leave(module);
}

CUresult module_place(CUmodule module)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS || module->context || !module->variable_bytes)
        return r;
    r = cuda_charge(context->device, module->variable_bytes);
    if (r != CUDA_SUCCESS)
        return r;
    module->context = context;
    context->end_modules = end_modules;
    return CUDA_SUCCESS;
}

/* --- life --- */

CUresult module_new(const char *image, CUmodule *to)
{
    CUmodule module = calloc(1, sizeof(*module));

    if (!module)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (is_ptx(image)) {
        module->ptx = strdup(image);
        if (!module->ptx) {
            free(module);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        module->variable_bytes = count_variables(module->ptx);
    }
    module->next = modules;
    modules = module;
    *to = module;
    return CUDA_SUCCESS;
}

static CUresult end(CUmodule module)
{
    CUmodule *link = find(module);

    if (!link)
        return CUDA_ERROR_INVALID_HANDLE;
    *link = module->next;
    leave(module);
    kernel_end_module(module);
    free(module->ptx);
    free(module);
    return CUDA_SUCCESS;
}

/* Its variables are there when it is loaded, its kernels when they are asked for. */
static CUresult placed(CUmodule module, CUmodule *to)
{
    CUresult r = module_place(module);

    if (r == CUDA_SUCCESS)
        *to = module;
    else
        (void)end(module);
    return r;
}

CUresult sim_cuModuleLoadData(CUmodule *to, const void *image)
{
    CUmodule module = NULL;
    CUresult r = to && image ? module_new(image, &module) : CUDA_ERROR_INVALID_VALUE;

    return r == CUDA_SUCCESS ? placed(module, to) : r;
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

CUresult module_read(const char *path, CUmodule *to)
{
    cleanup_free char *image = NULL;
    size_t size;

    if (file_read(path, IMAGE_MAX, &image, &size, NULL) < 0)
        return CUDA_ERROR_FILE_NOT_FOUND;
    return module_new(image, to);
}

CUresult sim_cuModuleLoad(CUmodule *to, const char *path)
{
    CUmodule module = NULL;
    CUresult r = to && path ? module_read(path, &module) : CUDA_ERROR_INVALID_VALUE;

    return r == CUDA_SUCCESS ? placed(module, to) : r;
}

/* What was launched may be at work in it. */
CUresult sim_cuModuleUnload(CUmodule module)
{
    CUcontext context;

    if (find(module) && context_current(&context) == CUDA_SUCCESS)
        stream_wait_context(context);
    return end(module);
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
    return kernel_find(module, name, module_place, to);
}

CUresult sim_cuModuleGetLoadingMode(CUmoduleLoadingMode *to)
{
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    *to = CU_MODULE_LAZY_LOADING;
    return CUDA_SUCCESS;
}
