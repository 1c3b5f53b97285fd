// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How much memory the variables of a module will take, by its image: PTX, a cubin (ELF), or
 * several of both (a fatbin, from which the driver chooses what fits the device).
 *
 * Variables are what is in the space `.global`, managed ones as well. Kernels and constants are
 * the rest, of which the image tells no more than a bound.
 *
 * An image in memory comes without its size (bytes.h). Of a text its NUL is the end; of the others
 * what its first header says, as for the driver. What they refer to beyond that is not followed.
 * One that is cut off where nothing can be read does not tell.
 */

#include <stddef.h>
#include <stdint.h>

#include "shim/bytes.h"

enum moduleimage_outcome {
    MODULEIMAGE_UNKNOWN = 1, /* it does not tell: compressed, of another kind, or broken */
};

/* Least and most differ where the driver may choose. Nothing is above 2^48. */
struct moduleimage {
    uint64_t least_bytes, most_bytes; /* of variables */
    uint64_t rest_bytes;              /* what all else takes at most */
};

/* size: BYTES_UNTOLD of one in memory; sm: of the device, as 90; 0 = any. 0 or MODULEIMAGE_UNKNOWN.
 */
int moduleimage_read(const void *image, size_t size, unsigned sm, struct moduleimage *ret_image);

/* Of a file; one that is no regular file, or huge, does not tell. */
int moduleimage_read_file(const char *path, unsigned sm, struct moduleimage *ret_image);
