// SPDX-License-Identifier: Apache-2.0
#include "verify/kernelimage.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/array.h"

/* From CUDA 13 on compilers know none before sm_75; a V100 is sm_70. */
static const char *const targets[] = {"sm_75", "sm_70"};

enum { IMAGE_SIZE = 2048 };

/* The multiplications depend on each other, so that no compiler shortens them. */
static const char spin[] = ".visible .entry spin_us(.param .u32 us, .param .u64 rounds,\n"
                           "                        .param .u64 stop)\n{\n"
                           "\t.reg .u64 %n, %at, %stop;\n"
                           "\t.reg .u32 %x;\n"
                           "\t.reg .pred %p;\n"
                           "\tld.param.u32 %x, [us];\n"
                           "\tld.param.u64 %n, [rounds];\n"
                           "\tld.param.u64 %stop, [stop];\n"
                           "\tmov.u64 %at, 0;\n"
                           "LOOP:\n"
                           "\tmad.lo.u32 %x, %x, 1664525, 1013904223;\n"
                           "\tmad.lo.u32 %x, %x, 1664525, 1013904223;\n"
                           "\tmad.lo.u32 %x, %x, 1664525, 1013904223;\n"
                           "\tmad.lo.u32 %x, %x, 1664525, 1013904223;\n"
                           "\tadd.u64 %at, %at, 1;\n"
                           "\tsetp.lt.u64 %p, %at, %n;\n"
                           "\t@%p bra LOOP;\n"
                           "\tsetp.ne.u32 %p, %x, 77;\n"
                           "\t@%p bra END;\n"
                           "\tst.global.u32 [%stop], %x;\n"
                           "END:\n"
                           "\tret;\n}\n";

static CUresult load(const struct cudalib *cuda, const char *body, CUmodule *ret_module)
{
    CUresult r = CUDA_ERROR_INVALID_IMAGE;
    char ptx[IMAGE_SIZE];

    for (size_t i = 0;
         i < ARRAY_SIZE(targets) && r != CUDA_SUCCESS && r != CUDA_ERROR_OUT_OF_MEMORY; i++) {
        snprintf(ptx, sizeof(ptx), ".version 6.3\n.target %s\n.address_size 64\n%s", targets[i],
                 body);
        r = cuda->cuModuleLoadData(ret_module, ptx);
    }
    return r;
}

CUresult kernelimage_load(const struct cudalib *cuda, uint64_t variable_bytes, CUmodule *ret_module)
{
    char variable[96] = "", body[256];

    if (variable_bytes)
        snprintf(variable, sizeof(variable),
                 ".visible .global .align 4 .b8 variable[%" PRIu64 "];\n", variable_bytes);
    snprintf(body, sizeof(body), "%s.visible .entry nothing()\n{\n\tret;\n}\n", variable);
    return load(cuda, body, ret_module);
}

CUresult kernelimage_load_spin(const struct cudalib *cuda, CUmodule *ret_module)
{
    return load(cuda, spin, ret_module);
}
