// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The real functions of NVIDIA's two libraries, as the process has loaded them.
 *
 * They are found when they are first asked for, and from then on the library stays loaded: a
 * program may close it, and open it again, and our pointers into it are kept.
 *
 * For each export that cuda-calls.def knows, also of default streams per thread, there is a type
 * cuda_NAME and a member of struct cuda_functions; the same for nvml-calls.def.
 */

#include <stddef.h>

#include "gpu/nvml-abi.h"
#include "shim/cuda-abi.h"

/* Applies E(name, arguments) to every export of a row. */
#define DRIVER_EARLY(E, name, arguments)      E(name, arguments)
#define DRIVER_EARLY_PTSZ(E, name, arguments) E(name, arguments) E(name##_ptsz, arguments)
#define DRIVER_PLAIN(E, name, arguments)      E(name, arguments)
#define DRIVER_PTSZ(E, name, arguments)       E(name, arguments) E(name##_ptsz, arguments)
#define DRIVER_PTDS(E, name, arguments)       E(name, arguments) E(name##_ptds, arguments)

#define DRIVER_TYPE(name, arguments)   typedef CUresult cuda_##name arguments;
#define DRIVER_MEMBER(name, arguments) cuda_##name *name;

#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(DRIVER_TYPE, name, arguments)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    DRIVER_##variant(DRIVER_TYPE, name, arguments)
#define CUDA_REST(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(DRIVER_TYPE, name, arguments)
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
#undef CUDA_REST

/* NULL: this driver does not have it. */
struct cuda_functions {
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(DRIVER_MEMBER, name, arguments)
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) \
    DRIVER_##variant(DRIVER_MEMBER, name, arguments)
#define CUDA_REST(name, asked, since, variant, arguments, values) \
    DRIVER_##variant(DRIVER_MEMBER, name, arguments)
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
#undef CUDA_REST
};

#define NVML_CALL(name, arguments) typedef nvmlReturn_t nvml_##name arguments;
#include "gpu/nvml-calls.def"

struct nvml_functions {
#define NVML_CALL(name, arguments) nvml_##name *name;
#include "gpu/nvml-calls.def"
};

/* NULL: it is not loaded. */
const struct cuda_functions *driver_get(void);
const struct nvml_functions *driver_get_nvml(void);

/* The address behind a member of either, found or not. */
void *driver_real(size_t offset);
void *driver_real_nvml(size_t offset);

/* libc's own; NULL: there is none, in a program that opens no libraries. Calls no function of
 * libc. */
void *driver_dlsym(void);
void *driver_dlvsym(void);
