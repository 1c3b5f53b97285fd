// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How much memory the variables of a PTX text will take: what it declares in the space `.global`,
 * used or not, one after the other and each aligned, as ptxas lays them out. What is `.extern` is
 * elsewhere, and textures and surfaces are no variables in the end.
 *
 * Of the text words are read and no more: instructions are passed over. A declaration that is not
 * understood makes the whole text unknown, so that nothing is counted as less than it is.
 */

#include <stddef.h>
#include <stdint.h>

#include "shim/bytes.h"

enum ptx_outcome {
    PTX_UNKNOWN = 1, /* it is no PTX, or does not tell */
};

struct ptx {
    uint64_t variables_bytes; /* at most AMOUNT_MOST */
    size_t length;            /* of the text, without its NUL */
};

/* 0 or PTX_UNKNOWN. */
int ptx_read(const struct bytes *bytes, struct ptx *ret_ptx);
