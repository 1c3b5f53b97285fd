// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Text formats shared by machine files and `gpuslice-sim`: addresses, times, names of errors. */

#include <stdbool.h>
#include <stdint.h>

struct pci_address {
    uint32_t domain, bus, device;
};

/* "0000:00:1b.0", also without domain or function, and NVML's form with eight digits of domain. */
bool word_pci(const char *text, struct pci_address *ret_address);

/* "3s", "500ms", "1m30s": nanoseconds. */
bool word_duration(const char *text, uint64_t *ret_ns);

/* "0-15,32-47" as bits. */
bool word_cpus(const char *text, uint64_t *bits, unsigned n_bits);

/*
 * What a call may fail with: an nvmlReturn_t ("GPU_IS_LOST", "NVML_ERROR_GPU_IS_LOST", "15"), or a
 * CUresult for a function of CUDA ("CUDA_ERROR_OUT_OF_MEMORY", "OUT_OF_MEMORY", "2"). Success is
 * not an error.
 */
bool word_error(const char *call, const char *text, uint32_t *ret_code);

/* "GPU_IS_LOST", or "UNKNOWN"; "CUDA_ERROR_OUT_OF_MEMORY" for a function of CUDA. */
const char *word_error_name(const char *call, uint32_t code);

/* "NVML" or "CUDA": where a function of that name belongs, and an example of its errors. */
const char *word_library(const char *call);
const char *word_error_example(const char *call);

/* NVML's own message for a code; never NULL. */
const char *word_error_sentence(uint32_t code);

/* True if it is an entry point of a simulated library. */
bool word_is_call(const char *name);

/* The entry point most similar to `name`, or NULL. */
const char *word_suggest_call(const char *name);
