// SPDX-License-Identifier: Apache-2.0
#include "verify/cudalib.h"

#include <dlfcn.h>
#include <errno.h>

int cudalib_load(struct cudalib *ret_lib, struct error *err)
{
    void *handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);

    if (!handle)
        return error_set(err, -ENOENT, "%s", dlerror());
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    *(void **)&ret_lib->name = dlsym(handle, #name);
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    CUDA_CALL(name, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
    return 0;
}
