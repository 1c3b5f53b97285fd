// SPDX-License-Identifier: Apache-2.0

/*
 * Libraries: modules that belong to no context until they are used in one. A kernel of one is
 * launched as it is, as if it were a function: so it is one here, with another type.
 */

#include <stdlib.h>

#include "cuda/kernel.h"
#include "cuda/module.h"

struct CUlib_st {
    CUmodule module;
    CUlibrary next;
};

static CUlibrary libraries;

static CUlibrary *find(CUlibrary library)
{
    for (CUlibrary *link = &libraries; *link; link = &(*link)->next)
        if (*link == library)
            return link;
    return NULL;
}

static CUfunction function_of(CUkernel kernel)
{
    return (CUfunction)(void *)kernel;
}

/* Gives the module to a new library; it ends when that is impossible. */
static CUresult give(CUmodule module, CUlibrary *to)
{
    CUlibrary library = calloc(1, sizeof(*library));

    if (!library) {
        (void)sim_cuModuleUnload(module);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *library = (struct CUlib_st){.module = module, .next = libraries};
    libraries = library;
    *to = library;
    return CUDA_SUCCESS;
}

CUresult sim_cuLibraryLoadData(CUlibrary *to, const void *image, CUjit_option *options,
                               void **values, unsigned n, CUlibraryOption *library_options,
                               void **library_values, unsigned n_library)
{
    CUmodule module;
    CUresult r = to && image ? module_new(image, &module) : CUDA_ERROR_INVALID_VALUE;

    return r == CUDA_SUCCESS ? give(module, to) : r;
}

CUresult sim_cuLibraryLoadFromFile(CUlibrary *to, const char *path, CUjit_option *options,
                                   void **values, unsigned n, CUlibraryOption *library_options,
                                   void **library_values, unsigned n_library)
{
    CUmodule module;
    CUresult r = to && path ? module_read(path, &module) : CUDA_ERROR_INVALID_VALUE;

    return r == CUDA_SUCCESS ? give(module, to) : r;
}

CUresult sim_cuLibraryUnload(CUlibrary library)
{
    CUlibrary *link = find(library);

    if (!link)
        return CUDA_ERROR_INVALID_HANDLE;
    *link = library->next;
    (void)sim_cuModuleUnload(library->module);
    free(library);
    return CUDA_SUCCESS;
}

CUresult sim_cuLibraryGetKernel(CUkernel *to, CUlibrary library, const char *name)
{
    CUfunction function;
    CUresult r;

    if (!find(library))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    r = sim_cuModuleGetFunction(&function, library->module, name);
    if (r == CUDA_SUCCESS)
        *to = (CUkernel)(void *)function;
    return r;
}

CUresult sim_cuLibraryGetModule(CUmodule *to, CUlibrary library)
{
    CUresult r = !find(library) ? CUDA_ERROR_INVALID_HANDLE
                 : !to          ? CUDA_ERROR_INVALID_VALUE
                                : module_place(library->module);

    if (r == CUDA_SUCCESS)
        *to = library->module;
    return r;
}

CUresult sim_cuKernelGetFunction(CUfunction *to, CUkernel kernel)
{
    CUresult r = sim_cuFuncLoad(function_of(kernel));

    if (r == CUDA_SUCCESS)
        r = to ? function_of(kernel)->place(function_of(kernel)->module) : CUDA_ERROR_INVALID_VALUE;
    if (r == CUDA_SUCCESS)
        *to = function_of(kernel);
    return r;
}

CUresult sim_cuKernelGetLibrary(CUlibrary *to, CUkernel kernel)
{
    CUmodule module;
    CUresult r = sim_cuFuncGetModule(&module, function_of(kernel));

    if (r != CUDA_SUCCESS)
        return r;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    for (CUlibrary library = libraries; library; library = library->next)
        if (library->module == module) {
            *to = library;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult sim_cuKernelGetName(const char **to, CUkernel kernel)
{
    return sim_cuFuncGetName(to, function_of(kernel));
}

CUresult sim_cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel,
                                  CUdevice ordinal)
{
    return cuda_device(ordinal) ? sim_cuFuncGetAttribute(value, attribute, function_of(kernel))
                                : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sim_cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel,
                                  CUdevice ordinal)
{
    return cuda_device(ordinal) ? sim_cuFuncSetAttribute(function_of(kernel), attribute, value)
                                : CUDA_ERROR_INVALID_DEVICE;
}
