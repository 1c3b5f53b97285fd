// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of the simulated libnvidia-ml.so.1: how an entry point begins.
 *
 * Each one passes its name and, if any, its device. Everything that may prevent the call is then
 * decided in one place: not initialised, a fault becoming due, a rule that makes the call hang or
 * fail, an invalid handle, a lost GPU. Only then are its arguments checked.
 */

#include "gpu/nvml-abi.h"
#include "gpu/rm-abi.h"
#include "nvml/migdevice.h"
#include "nvml/state.h"

/* Exported symbols; everything else is hidden. */
#pragma GCC visibility push(default)
#define NVML_CALL(name, arguments) nvmlReturn_t name arguments;
#include "gpu/nvml-calls.def"
const char *nvmlErrorString(nvmlReturn_t result);
extern const struct rm_kernel gpuslice_rm_kernel; /* kernelmodule.c: who looks for RM_KERNEL */
#pragma GCC visibility pop

/* A device as an entry point sees it. */
struct view {
    unsigned index;
    struct state_file *file;
    const struct state *state;
    const struct machine_gpu *gpu;
    const struct gpu_model *model;
    struct state_gpu *now;
    bool is_mig; /* the handle is of a MIG device, this one: */
    struct migdevice mig;
};

/* NVML_SUCCESS and the state, or the status that the call must return. */
nvmlReturn_t library_enter(const char *call, struct state_file **ret_file);
nvmlReturn_t library_enter_device(const char *call, nvmlDevice_t device, struct view *ret_view);

/* The same for entry points that also describe MIG devices; the one above refuses their handles. */
nvmlReturn_t library_enter_any(const char *call, nvmlDevice_t device, struct view *ret_view);

/* Handles are constant for the lifetime of the process; NULL if there is no such GPU. */
nvmlDevice_t library_handle(const struct state *state, unsigned index);

/* The handle, whether there is such a GPU or not. */
nvmlDevice_t library_handle_at(unsigned index);

/* Copies a text into the caller's buffer. */
nvmlReturn_t library_give_text(char *to, unsigned length, const char *text);

/* True if the driver is at least of this branch ("570" of 570.172.08). */
bool library_driver_since(const struct state *state, unsigned branch);

/* Microseconds since 1970, as NVML stamps samples. */
unsigned long long library_now_us(void);

/* load.c: the load of a device, which determines power, clocks and temperature. */
unsigned load_percent(const struct view *view);
unsigned load_power_mw(const struct view *view);
unsigned load_celsius(const struct view *view);
unsigned long long load_energy_mj(const struct view *view);

/* Of each direction. */
unsigned load_pcie_kbps(const struct view *view);

/* In MHz: of now, or the highest; 0 for a clock that there is not. */
unsigned load_clock_mhz(const struct view *view, nvmlClockType_t type, bool highest);
enum { LOAD_IDLE_MEMORY_MHZ = 405 }; /* of models that idle in P8 */

/* event.c: forgets every set when the library shuts down. */
void event_shutdown(void);
