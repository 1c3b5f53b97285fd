// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Kinds of MIG device: a profile of GPU instances, and one of compute instances in it. */

#include <stdint.h>

#include "base/text.h"
#include "slice/mig.h"
#include "slice/migname.h"

/* Positions in the board's `profiles` and in that profile's `computes`. */
struct mig_kind {
    uint32_t profile, compute;
};

enum migkind_outcome {
    MIGKIND_ABSENT = 1, /* the board has no such profile */
};

/* 0 or MIGKIND_ABSENT. */
int migkind_find(const struct mig_board *board, const struct mig_name *name,
                 struct mig_kind *ret_kind);

/* "1g.5gb", "1c.3g.20gb". */
void migkind_format(const struct mig_board *board, struct mig_kind kind,
                    char ret_name[DEVICE_PROFILE_SIZE]);

/* What a MIG device is, by the position that migkind_find has for its name. 0 or MIGKIND_ABSENT.
 */
int migkind_of(const struct mig_board *board, const struct mig_instance *instance,
               const struct mig_compute *compute, struct mig_kind *ret_kind);

/* The compute instance that fills an instance of this profile; n_computes if there is none. */
uint32_t migkind_full_compute(const struct mig_profile *profile);

/* The end of a sentence: "1g.5gb (up to 7), 1g.5gb+me (1), ...". */
void migkind_add_profiles(const struct mig_board *board, struct text *text);
