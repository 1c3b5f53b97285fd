// SPDX-License-Identifier: Apache-2.0

/*
 * Launches of kernels: each passes the gate of its device (gate.h), which decides when, never
 * what. One for several devices passes that of the calling thread's.
 */

#include "shim/gate.h"
#include "shim/hook.h"

/* The whole of a function that launches into `stream`. */
#define LAUNCH(name, stream, is_per_thread, values)             \
    do {                                                        \
        const struct cuda_functions *driver;                    \
        struct gate_launch launch;                              \
                                                                \
        HOOK_DRIVER(driver, name);                              \
        launch = gate_enter(driver, stream, is_per_thread);     \
        if (!launch.lane)                                       \
            return driver->name values; /* by a jump */         \
        return gate_leave(driver, launch, driver->name values); \
    } while (0)

#define KERNEL(name, is_per_thread)                                                               \
    CUresult name(CUfunction f, unsigned gridDimX, unsigned gridDimY, unsigned gridDimZ,          \
                  unsigned blockDimX, unsigned blockDimY, unsigned blockDimZ,                     \
                  unsigned sharedMemBytes, CUstream hStream, void **kernelParams, void **extra)   \
    {                                                                                             \
        LAUNCH(name, hStream, is_per_thread,                                                      \
               (f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, \
                hStream, kernelParams, extra));                                                   \
    }

KERNEL(cuLaunchKernel, false)
KERNEL(cuLaunchKernel_ptsz, true)

#define KERNEL_EX(name, is_per_thread)                                                           \
    CUresult name(const CUlaunchConfig *config, CUfunction f, void **kernelParams, void **extra) \
    {                                                                                            \
        LAUNCH(name, config ? config->hStream : NULL, is_per_thread,                             \
               (config, f, kernelParams, extra));                                                \
    }

KERNEL_EX(cuLaunchKernelEx, false)
KERNEL_EX(cuLaunchKernelEx_ptsz, true)

#define COOPERATIVE(name, is_per_thread)                                                          \
    CUresult name(CUfunction f, unsigned gridDimX, unsigned gridDimY, unsigned gridDimZ,          \
                  unsigned blockDimX, unsigned blockDimY, unsigned blockDimZ,                     \
                  unsigned sharedMemBytes, CUstream hStream, void **kernelParams)                 \
    {                                                                                             \
        LAUNCH(name, hStream, is_per_thread,                                                      \
               (f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, \
                hStream, kernelParams));                                                          \
    }

COOPERATIVE(cuLaunchCooperativeKernel, false)
COOPERATIVE(cuLaunchCooperativeKernel_ptsz, true)

CUresult cuLaunchCooperativeKernelMultiDevice(CUDA_LAUNCH_PARAMS *launchParamsList,
                                              unsigned numDevices, unsigned flags)
{
    LAUNCH(cuLaunchCooperativeKernelMultiDevice, NULL, false,
           (launchParamsList, numDevices, flags));
}

/* Of CUDA 3: into the default stream, but for the last. */

CUresult cuLaunch(CUfunction f)
{
    LAUNCH(cuLaunch, NULL, false, (f));
}

CUresult cuLaunchGrid(CUfunction f, int grid_width, int grid_height)
{
    LAUNCH(cuLaunchGrid, NULL, false, (f, grid_width, grid_height));
}

CUresult cuLaunchGridAsync(CUfunction f, int grid_width, int grid_height, CUstream hStream)
{
    LAUNCH(cuLaunchGridAsync, hStream, false, (f, grid_width, grid_height, hStream));
}
