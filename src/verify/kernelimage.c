// SPDX-License-Identifier: Apache-2.0
#include "verify/kernelimage.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/array.h"

/* From CUDA 13 on compilers know none before sm_75; a V100 is sm_70. */
static const char *const targets[] = {"sm_75", "sm_70"};

CUresult kernelimage_load(const struct cudalib *cuda, uint64_t variable_bytes, CUmodule *ret_module)
{
    CUresult r = CUDA_ERROR_INVALID_IMAGE;
    char variable[96] = "", ptx[384];

    if (variable_bytes)
        snprintf(variable, sizeof(variable),
                 ".visible .global .align 4 .b8 variable[%" PRIu64 "];\n", variable_bytes);
    for (size_t i = 0;
         i < ARRAY_SIZE(targets) && r != CUDA_SUCCESS && r != CUDA_ERROR_OUT_OF_MEMORY; i++) {
        snprintf(ptx, sizeof(ptx),
                 ".version 6.3\n.target %s\n.address_size 64\n%s"
                 ".visible .entry nothing()\n{\n\tret;\n}\n",
                 targets[i], variable);
        r = cuda->cuModuleLoadData(ret_module, ptx);
    }
    return r;
}
