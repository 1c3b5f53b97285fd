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

/* An nvmlReturn_t: "GPU_IS_LOST", "NVML_ERROR_GPU_IS_LOST" or "15"; success is not an error. */
bool word_error(const char *text, uint32_t *ret_code);

/* "GPU_IS_LOST", or "UNKNOWN". */
const char *word_error_name(uint32_t code);

/* NVML's own message for a code; never NULL. */
const char *word_error_sentence(uint32_t code);

/* True if it is an entry point of the simulated library. */
bool word_is_call(const char *name);

/* The entry point most similar to `name`, or NULL. */
const char *word_suggest_call(const char *name);
