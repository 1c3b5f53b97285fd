// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Names of MIG profiles: "1g.5gb", "1c.3g.20gb", "1g.5gb+me", "1g.24gb-me".
 *
 * <compute slices>c.<GPU slices>g.<memory>gb and attributes; the first part is left out where the
 * compute instance fills its GPU instance, so "1c.1g.5gb" and "1g.5gb" are one name, and so are
 * "+a,b" and "+b,a". A name is parsed by its syntax alone, as NVIDIA's mig-parted does it: whether
 * a GPU has such a profile is a question to its board (migkind.h).
 *
 * NVML has no names before R530, and NVIDIA's programs never ask for them: they compute a name from
 * the constant of the profile and from two sizes of memory, and so does this.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "slice/device.h"

enum { MIGNAME_SUFFIX_SIZE = 26 };

struct mig_name {
    uint32_t compute_slices, gpu_slices, gb;
    char suffix[MIGNAME_SUFFIX_SIZE]; /* "+me", "-me", "+gfx,me": attributes in order; "": none */
};

enum migname_outcome {
    MIGNAME_UNKNOWN = 1, /* a constant that has no name */
};

/* 0, or -EINVAL with a sentence that quotes the text. */
int migname_parse(const char *text, struct mig_name *ret_name, struct error *err);

/* Every parsed or computed name fits. */
void migname_format(const struct mig_name *name, char ret_text[DEVICE_PROFILE_SIZE]);

bool migname_equal(const struct mig_name *a, const struct mig_name *b);

/*
 * Of the profiles with these NVML constants, for an instance with that memory on a GPU with that
 * total (nvmlDeviceGetMemoryInfo). 0 or MIGNAME_UNKNOWN.
 */
int migname_compute(uint32_t gpu_index, uint32_t compute_index, uint64_t mem_mib,
                    uint64_t total_bytes, struct mig_name *ret_name);

/* Compute slices of a compute instance profile by its NVML constant; 0: not known. */
uint32_t migname_compute_slices(uint32_t compute_index);
