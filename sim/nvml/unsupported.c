// SPDX-License-Identifier: Apache-2.0

/*
 * The rest of NVML's entry points. They ignore their arguments: on the supported processors, a
 * function may be called with more arguments than it declares.
 */

#include "nvml/library.h"

static nvmlReturn_t refuse(const char *call)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(call, &file);

    return r ? r : NVML_ERROR_NOT_SUPPORTED;
}

#pragma GCC visibility push(default)
#define UNSUPPORTED(name) nvmlReturn_t name(void);
#include "nvml/unsupported.def"
#pragma GCC visibility pop

#define UNSUPPORTED(name)        \
    nvmlReturn_t name(void)      \
    {                            \
        return refuse(__func__); \
    }
#include "nvml/unsupported.def"
